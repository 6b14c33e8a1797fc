"""Programs that are started without standard input, output or error."""

import itertools
import os
import pathlib
import signal
import socket
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
    def start_without(self, fds, address, *args):
        tool = subprocess.Popen([str(harness.TOOL), "--server", address, *args], stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                preexec_fn=lambda: close_all(fds))
        self.addCleanup(tool.wait)
        self.addCleanup(tool.kill)
        return tool

    def opened_without(self, fds):
        """What it has there when it has connected, to a server that says nothing."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            silent.settimeout(harness.START_DEADLINE_S)
            tool = self.start_without(fds, f"127.0.0.1:{silent.getsockname()[1]}", "health")
            with silent.accept()[0]:
                return [os.readlink(f"/proc/{tool.pid}/fd/{fd}") for fd in fds]

    def test_what_is_missing_becomes_the_null_device(self):
        for fds in COMBINATIONS:
            with self.subTest(fds):
                self.assertEqual(["/dev/null"] * len(fds), self.opened_without(fds))

    def test_what_can_not_be_written_is_no_success(self):
        tool = self.start_without((1,), self.daemon.address, "info")
        self.assertNotEqual(0, tool.wait(60))


if __name__ == "__main__":
    unittest.main()
