"""h2spec, the conformance tests of HTTP/2 and HPACK, against auditstored's gRPC port."""

import pathlib
import re
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import foreign  # noqa: E402

from support import certificates, harness  # noqa: E402


class Nowhere:
    """In the place of a PostgreSQL that is away: "/" is answered without."""

    @staticmethod
    def daemon_settings():
        return {"database.host": "127.0.0.1", "database.port": 1}


class H2specTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.h2spec = foreign.go_tool("github.com/summerwind/h2spec/cmd/h2spec",
                                     "v2.2.1+incompatible")
        temporary = harness.TemporaryFolder()
        cls.addClassCleanup(temporary.remove)
        cls.folder = temporary.path
        cls.daemon = cls.start({})

    @classmethod
    def start(cls, settings):
        daemon = harness.Daemon(cls.folder, Nowhere, settings, wait_serving=False)
        cls.addClassCleanup(daemon.stop)
        return daemon

    def check(self, daemon, *options):
        done = subprocess.run([str(self.h2spec), "-h", "127.0.0.1", "-p", str(daemon.port), "-o",
                               "5", *options], capture_output=True, text=True, timeout=500,
                              check=False)
        found = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", done.stdout)
        self.assertTrue(found, done.stdout + done.stderr)
        total, passed, _, _ = map(int, found.groups())
        print(f"h2spec {' '.join(options)}: {passed} of {total}")
        self.assertGreaterEqual(total, 145)
        self.assertEqual(total, passed, done.stdout[done.stdout.find("Failures:"):])

    def test_all_of_it(self):
        self.check(self.daemon)

    def test_all_of_it_strictly(self):
        self.check(self.daemon, "--strict")

    def test_all_of_it_by_tls(self):
        cert, key = certificates.Authority(self.folder).issue("server")
        self.check(self.start({"tls.cert_file": cert, "tls.key_file": key}), "-t", "-k")


if __name__ == "__main__":
    unittest.main()
