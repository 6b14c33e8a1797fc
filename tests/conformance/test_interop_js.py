"""The interoperability cases from grpc-js, plain, by TLS and with a client's certificate."""

import os
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import foreign  # noqa: E402
import interop_server  # noqa: E402

FOLDER = pathlib.Path(__file__).resolve().parent / "interop"


class JavaScriptTest(interop_server.InteropCase):
    @classmethod
    def setUpClass(cls):
        cls.modules = foreign.grpc_js()
        super().setUpClass()

    def run_cases(self, server, *files):
        output = self.run_client("node", FOLDER / "client.js", FOLDER / "interop.proto",
                                 server.port, *files,
                                 env={**os.environ, "NODE_PATH": str(self.modules)})
        self.assertEqual(14, output.count("passed "), output)

    def test_cases(self):
        self.run_cases(self.plain)

    def test_cases_by_tls(self):
        self.run_cases(self.tls, self.authority.cert)

    def test_cases_by_mutual_tls(self):
        self.run_cases(self.mutual, self.authority.cert, *self.authority.issue("client"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
