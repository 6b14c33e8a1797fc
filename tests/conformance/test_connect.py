"""The Connect project's conformance suite against our server: gRPC, plain, TLS and mutual TLS."""

import pathlib
import re
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import foreign  # noqa: E402

from support import harness  # noqa: E402

VERSION = "v1.0.7"
# What the suite of that version has for these features.
CASES = 570
SERVER = harness.BUILD / "tests" / "conformance" / "connect" / "connect_server"

FEATURES = """features:
  versions: [HTTP_VERSION_2]
  protocols: [PROTOCOL_GRPC]
  codecs: [CODEC_PROTO]
  compressions: [COMPRESSION_IDENTITY, COMPRESSION_GZIP]
  supportsH2c: true
  supportsTls: true
  supportsTlsClientCerts: true
  supportsTrailers: true
  supportsMessageReceiveLimit: true
"""


class ConnectTest(unittest.TestCase):
    def test_all_of_it(self):
        suite = foreign.go_tool("connectrpc.com/conformance/cmd/connectconformance", VERSION)
        temporary = harness.TemporaryFolder()
        self.addCleanup(temporary.remove)
        config = temporary.path / "features.yaml"
        config.write_text(FEATURES, encoding="ascii")
        done = subprocess.run([str(suite), "--mode", "server", "--conf", str(config), "-v", "--",
                               str(SERVER)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=500, check=False)
        found = re.search(r"(\d+) passed, (\d+) failed", done.stdout)
        self.assertTrue(found, done.stdout[-20000:])
        passed, failed = map(int, found.groups())
        print(f"connectconformance: {passed} passed, {failed} failed")
        failures = re.findall(r"^FAILED: .*$(?:\n\s.*$)*", done.stdout, re.MULTILINE)
        self.assertEqual((0, []), (failed, failures), done.stdout[-20000:])
        self.assertEqual(CASES, passed, "the suite of this version has more")
        self.assertEqual(0, done.returncode, done.stdout[-20000:])


if __name__ == "__main__":
    unittest.main()
