"""What a crash leaves of the keys in memory."""

import http.client
import os
import pathlib
import pwd
import resource
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness  # noqa: E402
from support.effects import effect_of  # noqa: E402

NOBODY = pwd.getpwnam("nobody")


class CoreDumpsTest(harness.PostgresCase):
    def begin(self, setting):
        """A daemon that could leave a core, by an ordinary user where the test may have one."""
        self.count = getattr(self, "count", 0) + 1
        folder = self.folder / f"{self.id().rpartition('.')[2]}_{self.count}"
        folder.mkdir()
        folder.chmod(0o777)
        port_file = folder / "port"
        # Out of a folder that everybody can enter.
        program = folder / "auditstored"
        program.write_bytes(harness.DAEMON.read_bytes())
        program.chmod(0o755)

        def become_nobody():
            hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
            resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY.pw_gid)
                os.setuid(NOBODY.pw_uid)
        settings = {**self.postgres.daemon_settings(), "server.listen": "127.0.0.1:0",
                    "server.port_file": port_file, "http.listen": "127.0.0.1:0",
                    "http.port_file": folder / "http_port", "server.core_dumps": setting}
        process = subprocess.Popen([str(program), *harness.options_of(settings)], cwd=folder,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, preexec_fn=become_nobody,
                                   env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0:disable_coredump=0"})

        def end():
            process.kill()
            process.wait()
        self.addCleanup(end)
        harness.wait_until(port_file.exists, harness.START_DEADLINE_S)
        process.folder = folder
        return process

    def core_limit(self, process):
        limits = pathlib.Path(f"/proc/{process.pid}/limits").read_text()
        (line,) = (line for line in limits.splitlines() if line.startswith("Max core file size"))
        return line.split()[4]

    def owner_in_proc(self, process):
        """root when the process isn't dumpable, or is root's."""
        return os.stat(f"/proc/{process.pid}/environ").st_uid

    @effect_of("server.core_dumps")
    def test_off_leaves_nothing_and_on_what_the_system_allows(self):
        off, on = self.begin("off"), self.begin("on")
        self.assertEqual("0", self.core_limit(off))
        self.assertEqual(0, self.owner_in_proc(off))
        if resource.getrlimit(resource.RLIMIT_CORE)[1] != 0:
            self.assertNotEqual("0", self.core_limit(on))
        if os.geteuid() == 0:
            self.assertEqual(NOBODY.pw_uid, self.owner_in_proc(on))
        off.send_signal(signal.SIGQUIT)
        self.assertEqual(-signal.SIGQUIT, off.wait(harness.STOP_DEADLINE_S))
        self.assertEqual([], [path for path in off.folder.iterdir() if "core" in path.name])

    def test_the_daemon_still_counts_its_descriptors(self):
        port = int((self.begin("off").folder / "http_port").read_text())
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.addCleanup(connection.close)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        self.assertRegex(text, r"(?m)^process_open_fds [1-9]")


class ToolTest(harness.StoreCase):
    def test_the_tool_leaves_no_core(self):
        tool = subprocess.Popen([str(harness.TOOL), "--server", self.daemon.address, "send", "-"],
                                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)

        def limits():
            text = pathlib.Path(f"/proc/{tool.pid}/limits").read_text()
            (line,) = (line for line in text.splitlines() if line.startswith("Max core file size"))
            return line.split()[4:6]
        harness.wait_until(lambda: limits() == ["0", "0"])
        tool.communicate(timeout=60)


if __name__ == "__main__":
    unittest.main()
