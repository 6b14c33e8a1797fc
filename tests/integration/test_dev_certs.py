"""`auditstored dev-certs`: one command, and a daemon with TLS answers a tool with a certificate."""

import os
import pathlib
import shlex
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness  # noqa: E402
from support.tool_case import lines  # noqa: E402

FILES = {f"{name}{end}.pem" for name in ("ca", "server", "client") for end in ("", "-key")}


def dev_certs(*args):
    return harness.run_daemon("dev-certs", *map(str, args))


def section(text, title):
    """The indented lines below the title, without what they have in common."""
    block = text.split(f"\n{title}\n\n")[1].split("\n\n")[0]
    return "".join(f"{one[2:]}\n" for one in block.splitlines())


class UseTest(harness.PostgresCase):
    def test_what_it_prints_is_all_that_daemon_and_tool_need(self):
        folder = self.folder / "certs"
        done = dev_certs(folder)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        config = self.folder / "tls.yaml"
        config.write_text(section(done.stdout, "For auditstored:"), encoding="utf-8")
        daemon = self.start_daemon({"ingest.max_event_age": "off"}, config=config, wait_serving=False)
        command = section(done.stdout, "For the tool:").replace("\\\n", "")
        command = shlex.split(command.replace("localhost:7443", f"localhost:{daemon.port}"))
        self.assertEqual((command[0], command[-1]), ("auditstore", "info"))
        tool = [str(harness.TOOL), *command[1:-1]]

        def ask(*args, stdin=""):
            return subprocess.run([*tool, *args], input=stdin, capture_output=True, text=True,
                                  check=False, timeout=harness.START_DEADLINE_S)
        harness.wait_until(lambda: ask("health").returncode == 0, what="SERVING by TLS")
        for args, stdin in (("info",), ""), (("send",), lines(3)), (("list",), ""):
            done = ask(*args, stdin=stdin)
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("cn:test-client", done.stdout)
        # By the number, and by nobody without the authority or the certificate.
        by_number = harness.run_tool(f"127.0.0.1:{daemon.port}", *command[3:-1], "list")
        self.assertEqual(by_number.returncode, 0, by_number.stderr)
        stranger = harness.run_tool(f"localhost:{daemon.port}", "--tls", "list")
        self.assertEqual(stranger.returncode, 3, stranger.stderr)
        nobody = harness.run_tool(f"localhost:{daemon.port}", "--ca", folder / "ca.pem", "list")
        self.assertIn("UNAUTHENTICATED", nobody.stderr)


class FilesTest(unittest.TestCase):
    def setUp(self):
        temporary = harness.TemporaryFolder()
        self.addCleanup(temporary.remove)
        self.folder = temporary.path / "certs"

    def openssl(self, *args):
        done = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_keys_are_their_owners_alone(self):
        old = os.umask(0)
        try:
            self.assertEqual(dev_certs(self.folder).returncode, 0)
        finally:
            os.umask(old)
        self.assertEqual({path.name for path in self.folder.iterdir()}, FILES)
        self.assertEqual(self.folder.stat().st_mode & 0o777, 0o700)
        for path in self.folder.iterdir():
            self.assertEqual(path.stat().st_mode & 0o777, 0o600 if "-key" in path.name else 0o644)

    def test_the_certificates_are_what_others_take_too(self):
        done = dev_certs(self.folder, "audit.example.com", "2001:db8::7", "LOCALHOST")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.openssl("verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", self.folder / "ca.pem",
                     self.folder / "server.pem")
        self.openssl("verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", self.folder / "ca.pem",
                     self.folder / "client.pem")
        names = self.openssl("x509", "-in", self.folder / "server.pem", "-noout", "-ext", "subjectAltName")
        wanted = ["DNS:localhost", "IP Address:127.0.0.1", "IP Address:0:0:0:0:0:0:0:1",
                  "DNS:audit.example.com", "IP Address:2001:DB8:0:0:0:0:0:7"]
        if socket.gethostname() != "localhost":
            wanted.insert(3, f"DNS:{socket.gethostname()}")
        self.assertEqual(names.split("\n")[1].strip(), ", ".join(wanted))
        for name in ("ca", "server", "client"):
            cert = self.folder / f"{name}.pem"
            self.openssl("x509", "-in", cert, "-noout", "-checkend", 89 * 86400)
            done = subprocess.run(["openssl", "x509", "-in", str(cert), "-noout", "-checkend",
                                   str(91 * 86400)], capture_output=True, check=False)
            self.assertEqual(done.returncode, 1)

    def test_nothing_that_is_there_is_touched(self):
        self.folder.mkdir()
        mine = self.folder / "client.pem"
        mine.write_text("mine")
        done = dev_certs(self.folder)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn(f"{mine} is there already", done.stderr)
        # All or none.
        self.assertEqual([path.name for path in self.folder.iterdir()], ["client.pem"])
        self.assertEqual(mine.read_text(), "mine")

    def test_what_is_no_name_or_folder_is_refused(self):
        for args, code, told in (((), 2, "name the DIR"), ((self.folder, "a,b"), 2, '"a,b" is neither'),
                                 ((self.folder, "-x.example"), 2, "neither a host's name nor an address"),
                                 ((self.folder, *["a"] * 33), 2, "at most 32 names"),
                                 ((self.folder / "no" / "such",), 1, "No such file or directory"),
                                 (("/dev/null",), 1, "Not a directory")):
            with self.subTest(args=args):
                done = harness.run_daemon("dev-certs", "--", *map(str, args)) if args else dev_certs()
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(told, done.stderr)
        self.assertFalse(self.folder.exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)
