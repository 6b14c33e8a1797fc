"""Our client against a server on grpc-js."""

import os
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import foreign  # noqa: E402
import interop_client  # noqa: E402
import interop_server  # noqa: E402


class JavaScriptServer(interop_server.InteropServer):
    def command(self, *files):
        return ["node", interop_client.SOURCES / "server.js",
                interop_client.SOURCES / "interop.proto", self.port_file, *files]

    def environment(self):
        return {**os.environ, "NODE_PATH": str(foreign.grpc_js())}


class JavaScriptTest(interop_client.ClientCase):
    server = JavaScriptServer
    # grpc-js doesn't compress answers, and doesn't tell whether a message came compressed.
    compression_cases = ("client_compressed_unary_noprobe", "client_compressed_streaming_noprobe")
    more_cases = ("pick_first_unary",)


if __name__ == "__main__":
    unittest.main(verbosity=2)
