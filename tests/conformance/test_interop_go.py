"""grpc-go's interoperability client against our server."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import foreign  # noqa: E402
import interop_server  # noqa: E402


class GoTest(interop_server.InteropCase):
    @classmethod
    def setUpClass(cls):
        cls.client = foreign.grpc_go("client")
        super().setUpClass()

    def run_case(self, case, server, *options):
        return self.run_client(self.client, "--server_host=127.0.0.1",
                               f"--server_port={server.port}", f"--test_case={case}", *options)

    def run_cases(self, server, *options):
        for case in interop_server.CASES:
            with self.subTest(case):
                self.run_case(case, server, *options)

    def test_cases(self):
        self.run_cases(self.plain)

    def test_cases_by_tls(self):
        self.run_cases(self.tls, "--use_tls", "--use_test_ca", f"--ca_file={self.authority.cert}")

    def test_soak(self):
        self.run_case("rpc_soak", self.plain, "--soak_iterations=200",
                      "--soak_max_failures=0", "--soak_overall_timeout_seconds=60")
        self.run_case("channel_soak", self.plain, "--soak_iterations=50",
                      "--soak_max_failures=0", "--soak_overall_timeout_seconds=60")

    def test_pick_first(self):
        self.run_case("pick_first_unary", self.plain)


if __name__ == "__main__":
    unittest.main(verbosity=2)
