"""Signals at any moment of the daemon's life, and what a parent left of them."""

import pathlib
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from support import events, harness  # noqa: E402

HARMLESS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGPIPE,
            signal.SIGIO, signal.SIGPWR, signal.SIGXFSZ, signal.SIGRTMIN, signal.SIGRTMAX)


def bits(status, name):
    (line,) = (line for line in status.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1], 16)


def has(mask, signum):
    return bool(mask & 1 << (signum - 1))


class SignalsCase(harness.PostgresCase):
    count = 0

    def begin(self, settings=None, preexec_fn=None):
        """A daemon that is just starting: main() has begun and no more is known."""
        SignalsCase.count += 1
        self.port_file = self.folder / f"signals{self.count}.port"
        self.log_file = self.folder / f"signals{self.count}.log"
        options = harness.options_of({
            **self.postgres.daemon_settings(), "server.listen": "127.0.0.1:0", "http.listen": "off",
            "server.port_file": self.port_file, **(settings or {})})
        with open(self.log_file, "w", encoding="utf-8") as log:
            process = subprocess.Popen([str(harness.DAEMON), *options], stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log, preexec_fn=preexec_fn)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def log(self):
        return self.log_file.read_text(encoding="utf-8")

    def status(self, process, task=None):
        folder = pathlib.Path(f"/proc/{process.pid}")
        return (folder / "task" / task if task else folder).joinpath("status").read_text()

    def wait_for_main(self, process):
        """Polled without a pause: the start is short. The last signal is seen to last."""
        harness.wait_until(lambda: has(bits(self.status(process), "SigIgn"), signal.SIGRTMAX),
                           what="main() sees to the signals", every_s=0)

    def wait_log(self, text):
        harness.wait_until(lambda: text in self.log(), harness.START_DEADLINE_S, text)

    def stop(self, process):
        process.send_signal(signal.SIGTERM)
        self.assertEqual(0, process.wait(harness.STOP_DEADLINE_S), self.log())


class RunningTest(SignalsCase):
    def test_what_means_nothing_does_nothing(self):
        process = self.begin()
        self.wait_log("serving")
        for signum in HARMLESS:
            process.send_signal(signum)
        process.send_signal(signal.SIGHUP)
        self.wait_log("settings reloaded")
        self.stop(process)

    def test_threads_take_no_signals(self):
        process = self.begin()
        self.wait_log("serving")
        tasks = [task.name for task in pathlib.Path(f"/proc/{process.pid}/task").iterdir()
                 if task.name != str(process.pid)]
        self.assertTrue(tasks)
        for task in tasks:
            blocked = bits(self.status(process, task), "SigBlk")
            for signum in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
                self.assertTrue(has(blocked, signum), (task, signum))
        self.assertEqual(0, bits(self.status(process), "SigBlk"))
        self.stop(process)


class StartTest(SignalsCase):
    def test_a_hail_of_signals_at_the_start_changes_nothing(self):
        process = self.begin()
        self.wait_for_main(process)
        while "serving" not in self.log():
            self.assertIsNone(process.poll(), self.log())
            for signum in (*HARMLESS, signal.SIGHUP):
                process.send_signal(signum)
        self.wait_log("settings reloaded")
        self.stop(process)

    def test_a_reload_asked_for_before_main_counts(self):
        def ask():
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
            signal.raise_signal(signal.SIGHUP)
        process = self.begin(preexec_fn=ask)
        self.wait_log("settings reloaded")
        self.stop(process)

    def test_what_a_parent_blocked_or_ignored_counts_all_the_same(self):
        ours = [signal.SIGHUP, signal.SIGTERM, signal.SIGINT]

        def block():
            signal.pthread_sigmask(signal.SIG_BLOCK, ours)

        def ignore():
            for signum in ours:
                signal.signal(signum, signal.SIG_IGN)
        for deafen in (block, ignore):
            with self.subTest(deafen.__name__):
                process = self.begin(preexec_fn=deafen)
                self.wait_for_main(process)
                process.send_signal(signal.SIGHUP)
                self.wait_log("settings reloaded")
                self.stop(process)

    def test_an_end_at_any_moment_of_the_start_is_a_clean_one(self):
        for number in range(24):
            with self.subTest(number):
                process = self.begin()
                self.wait_for_main(process)
                for _ in range(number * 200):
                    process.poll()
                process.send_signal(signal.SIGINT if number % 2 else signal.SIGTERM)
                self.assertEqual(0, process.wait(harness.STOP_DEADLINE_S), self.log())

    def test_an_end_before_main_is_a_clean_one(self):
        def ask():
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            signal.raise_signal(signal.SIGTERM)
        process = self.begin(preexec_fn=ask)
        self.assertEqual(0, process.wait(harness.STOP_DEADLINE_S))
        self.assertEqual("", self.log())

    def test_an_end_while_postgresql_is_away_is_a_clean_one(self):
        process = self.begin({"database.port": 1})
        self.wait_log("waiting for PostgreSQL")
        self.stop(process)


class StopTest(SignalsCase):
    def test_reloads_asked_for_during_the_stop_do_not_kill(self):
        process = self.begin()
        self.wait_log("serving")
        process.send_signal(signal.SIGTERM)
        while process.poll() is None:
            process.send_signal(signal.SIGHUP)
        self.assertEqual(0, process.returncode, self.log())

    def test_a_second_end_ends_it_at_once(self):
        process = self.begin()
        self.wait_log("serving")
        address = f"127.0.0.1:{int(self.port_file.read_text())}"
        with self.postgres.locked("audit_events"), \
                grpc.insecure_channel(address, options=harness.GRPC_CHANNEL_OPTIONS) as channel:
            request = self.stubs.store.WriteEventsRequest(events=[events.make(self.stubs)])
            call = self.stubs.store_grpc.AuditStoreStub(channel).WriteEvents.future(
                request, timeout=60, wait_for_ready=True)
            harness.wait_until(lambda: self.postgres.value(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") != "0")
            process.send_signal(signal.SIGTERM)
            self.wait_log("stopping")
            process.send_signal(signal.SIGTERM)
            self.assertEqual(1, process.wait(harness.STOP_DEADLINE_S), self.log())
            self.assertIn("second signal", self.log())
            call.cancel()

    def test_a_hail_of_ends_ends_it_by_itself(self):
        process = self.begin()
        self.wait_log("serving")
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
        # The first one may be obeyed before the second comes.
        self.assertEqual(int("second signal" in self.log()), process.returncode, self.log())


class CommandsTest(SignalsCase):
    def test_an_end_of_a_command_is_no_success(self):
        with self.postgres.locked("schema_migrations"):
            process = subprocess.Popen(
                [str(harness.DAEMON), "migrate",
                 *harness.options_of(self.postgres.daemon_settings())],
                stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.wait_for_main(process)
            process.send_signal(signal.SIGHUP)
            process.send_signal(signal.SIGTERM)
            self.assertEqual(-signal.SIGTERM, process.wait(harness.STOP_DEADLINE_S))


if __name__ == "__main__":
    unittest.main()
