"""Our client against grpc-go's interoperability server."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import foreign  # noqa: E402
import interop_client  # noqa: E402
import interop_server  # noqa: E402


class GoServer(interop_server.InteropServer):
    exit_code = -15

    def command(self, *files):
        self.chosen_port = interop_server.free_port()
        tls = [f"--tls_cert_file={files[0]}", f"--tls_key_file={files[1]}"] if files else []
        return [foreign.grpc_go("server"), f"--port={self.chosen_port}",
                f"--use_tls={'true' if files else 'false'}", *tls]

    def find_port(self):
        self.check_alive()
        return self.chosen_port if interop_server.accepts(self.chosen_port) else None


class GoTest(interop_client.ClientCase):
    server = GoServer
    has_mutual = False


if __name__ == "__main__":
    unittest.main(verbosity=2)
