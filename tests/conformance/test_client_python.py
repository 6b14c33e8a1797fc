"""Our client against a server on Python's grpcio."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import interop_client  # noqa: E402
import interop_server  # noqa: E402


class PythonServer(interop_server.InteropServer):
    def command(self, *files):
        folder = interop_server.generate_python(self.port_file.parent)
        return [sys.executable, "-B", interop_client.SOURCES / "server.py", folder,
                self.port_file, *files]


class PythonTest(interop_client.ClientCase):
    server = PythonServer
    # grpcio doesn't tell whether a message came compressed.
    compression_cases = ("client_compressed_unary_noprobe", "client_compressed_streaming_noprobe",
                         "server_compressed_unary", "server_compressed_streaming")
    more_cases = ("pick_first_unary",)


if __name__ == "__main__":
    unittest.main(verbosity=2)
