"""Programs that are started without standard input, output or error."""

import itertools
import os
import pathlib
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness  # noqa: E402

COMBINATIONS = [fds for count in (1, 2, 3) for fds in itertools.combinations(range(3), count)]


def close_all(fds):
    for fd in fds:
        os.close(fd)


class DaemonTest(harness.PostgresCase):
    def test_what_is_missing_becomes_the_null_device(self):
        for fds in COMBINATIONS:
            with self.subTest(fds):
                self.run_without(fds)

    def run_without(self, fds):
        port_file = self.folder / f"port{''.join(map(str, fds))}"
        log_file = self.folder / "log"
        settings = {**self.postgres.daemon_settings(), "server.listen": "127.0.0.1:0",
                    "server.port_file": port_file, "http.listen": "off", "log.level": "debug"}
        with open(log_file, "w", encoding="utf-8") as log:
            process = subprocess.Popen(
                [str(harness.DAEMON), *harness.options_of(settings)], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=log, preexec_fn=lambda: close_all(fds))
        self.addCleanup(process.kill)
        harness.wait_until(port_file.exists, harness.START_DEADLINE_S)
        address = f"127.0.0.1:{int(port_file.read_text())}"
        harness.wait_until(lambda: harness.run_tool(address, "health").returncode == 0)
        opened = [os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in fds]
        self.assertEqual(["/dev/null"] * len(fds), opened)
        for signum in (signal.SIGHUP, signal.SIGTERM):
            process.send_signal(signum)
        self.assertEqual(0, process.wait(harness.STOP_DEADLINE_S))


class ToolTest(harness.StoreCase):
    def run_without(self, fds, *args):
        return subprocess.run([str(harness.TOOL), "--server", self.daemon.address, *args],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False, timeout=60,
                              preexec_fn=lambda: close_all(fds))

    def test_texts_stay_out_of_the_connection(self):
        for fds in COMBINATIONS:
            with self.subTest(fds):
                done = self.run_without(fds, "get", "01890a5d-ac96-774b-bcce-b302099a8057")
                self.assertEqual(1, done.returncode)  # the server's answer: there is none
        self.daemon.stop()
        self.assertNotIn("connection closed by rule", self.daemon.log())

    def test_what_can_not_be_written_is_no_success(self):
        self.assertNotEqual(0, self.run_without((1,), "info").returncode)


if __name__ == "__main__":
    unittest.main()
