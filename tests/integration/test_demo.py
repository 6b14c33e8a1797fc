"""The first hour: ./dev demo --keep, cmake --install, and the README's program in C, by the pages' own lines."""

import os
import pathlib
import pwd
import re
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness  # noqa: E402

DEMO = harness.ROOT / "tests" / "support" / "demo"
BUILD_DEADLINE_S = 1000


def run(*args, **more):
    return subprocess.run([str(arg) for arg in args], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, **more)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def indented_line(page, beginning):
    """The one line of the page that is code and begins so, without a comment behind it."""
    text = (harness.ROOT / page).read_text(encoding="utf-8")
    (found,) = set(re.findall(rf"^    ({re.escape(beginning)}.*)$", text, re.MULTILINE))
    return found


class Demo:
    """One that is left running."""

    def __init__(self, build, port):
        done = run(DEMO, "--keep", "--build", build, "--port", port, cwd="/", timeout=BUILD_DEADLINE_S)
        self.text = done.stdout
        if done.returncode != 0:
            raise AssertionError(done.stdout + done.stderr)
        self.address = self.find(r"export AUDITSTORE_SERVER=(\S+)")
        self.folder = pathlib.Path(self.find(r"sh (\S+)/stop"))
        # How many there are depends on the machine: a fresh one has a short package history.
        self.acknowledged = int(self.find(r"(\d+) events acknowledged"))

    def find(self, pattern):
        return re.search(pattern, self.text).group(1)

    def stop(self):
        done = run("sh", self.folder / "stop", timeout=60)
        if done.returncode != 0 or self.folder.exists():
            raise AssertionError(done.stdout + done.stderr)


class DemoTest(unittest.TestCase):
    """Two demos at once, from one build, which both were told the same port."""

    @classmethod
    def setUpClass(cls):
        temporary = harness.TemporaryFolder()
        cls.addClassCleanup(temporary.remove)
        cls.folder = temporary.path
        cls.build = cls.folder / "build"
        cls.port = free_port()
        cls.first = Demo(cls.build, cls.port)
        cls.addClassCleanup(cls.first.stop)
        cls.second = Demo(cls.build, cls.port)
        cls.addClassCleanup(cls.second.stop)
        cls.tool = cls.build / "clients" / "c" / "tool" / "auditstore"

    def count(self, demo):
        done = run(self.tool, "--server", demo.address, "count")
        self.assertEqual(done.returncode, 0, done.stderr)
        return int(done.stdout)

    def test_a_second_demo_takes_another_port_and_says_so(self):
        self.assertEqual(self.first.address, f"127.0.0.1:{self.port}")
        self.assertNotEqual(self.second.address, self.first.address)
        self.assertIn(f"port {self.port} is taken", self.second.text)
        for demo in (self.first, self.second):
            self.assertGreater(demo.acknowledged, 0)
            self.assertGreaterEqual(self.count(demo), demo.acknowledged)

    def test_the_readmes_program_runs_against_it_by_the_pages_own_lines(self):
        home = self.folder / "home"
        source = home / "source"
        source.mkdir(parents=True)
        readme = (harness.ROOT / "README.md").read_text(encoding="utf-8")
        (program,) = re.findall(r"^```c\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
        (source / "door.c").write_text(program, encoding="utf-8")
        page = "docs/clients.md"
        install = indented_line(page, "cmake --install build/release --prefix $HOME")
        script = "\n".join((install.replace("build/release", str(self.build)),
                            indented_line(page, "export PKG_CONFIG_PATH=$HOME"),
                            indented_line(page, "cc door.c $(pkg-config --cflags --libs auditstore) -Wl,-rpath")))
        env = {key: value for key, value in os.environ.items() if key != "LD_LIBRARY_PATH"}
        done = run("bash", "-e", "-c", script, cwd=source, env={**env, "HOME": str(home)})
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for demo in (self.first, self.second):
            before = self.count(demo)
            done = run(source / "door", env={**env, "AUDITSTORE_SERVER": demo.address})
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            event_id = re.fullmatch(r"stored as (\S+)\n", done.stdout).group(1)
            self.assertEqual(self.count(demo), before + 1)
            shown = run(self.tool, "--server", demo.address, "get", event_id)
            self.assertIn("door.opened", shown.stdout)

    def test_all_of_it_can_be_installed_afterwards(self):
        prefix = self.folder / "all"
        done = run("cmake", "--install", self.build, "--prefix", prefix)
        self.assertEqual(done.returncode, 0, done.stderr)
        for name in ("auditstored", "auditstore", "protoc-gen-auditstore-c"):
            self.assertTrue((prefix / "bin" / name).exists(), name)

    def test_its_postgresql_is_for_its_own_user_alone(self):
        psql = self.first.find(r"(psql .*?) -c ").split()
        self.assertEqual(run(*psql, "-c", "SELECT 1").stdout, "1\n")
        if os.geteuid() != 0:
            self.skipTest("only root can become somebody else")
        nobody = pwd.getpwnam("nobody")
        done = run("setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups",
                   *psql, "-c", "SELECT 1", cwd="/")
        self.assertIn("Permission denied", done.stderr)
        by_port = ["127.0.0.1" if arg == psql[psql.index("-h") + 1] else arg for arg in psql]
        self.assertIn("refused", run(*by_port, "-c", "SELECT 1").stderr)


class UsageTest(unittest.TestCase):
    def test_an_unknown_option_is_refused(self):
        for args in (["--kept"], ["--port"]):
            self.assertNotEqual(run(DEMO, *args).returncode, 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
