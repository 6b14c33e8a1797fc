"""libauditstore's interoperability client, for tests against one server or another."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import interop_server  # noqa: E402

from support import harness  # noqa: E402

PROGRAM = harness.BUILD / "tests" / "conformance" / "interop_client"
SOURCES = pathlib.Path(__file__).resolve().parent / "interop"

# Those of one message for one, which can be made in a loop of the program's own too.
UNARY_CASES = ("empty_unary", "large_unary", "custom_metadata", "status_code_and_message",
               "special_status_message", "unimplemented_method", "unimplemented_service")
CASES = (*interop_server.CASES, "half_duplex")


class ClientCase(interop_server.InteropCase):
    """All cases against cls.server, plain, by TLS, and with a client's certificate."""

    # What the server has of these: see interop_server.COMPRESSION_CASES; "_noprobe" leaves out the
    # question whether the server sees what came compressed.
    compression_cases = ()
    more_cases = ()

    def run_case(self, case, server, *options):
        output = self.run_client(PROGRAM, f"--server_port={server.port}", f"--test_case={case}",
                                 *options)
        self.assertEqual(f"passed {case}\n", output)

    def run_cases(self, server, *options):
        for case in (*CASES, *self.compression_cases, *self.more_cases):
            with self.subTest(case):
                self.run_case(case, server, *options)

    def tls_options(self):
        return ["--use_tls", f"--ca_file={self.authority.cert}"]

    def test_cases(self):
        self.run_cases(self.plain)

    def test_cases_by_tls(self):
        self.run_cases(self.tls, *self.tls_options())

    def test_another_name_by_tls(self):
        self.run_case("empty_unary", self.tls, *self.tls_options(),
                      "--server_host_override=localhost")
        with self.assertRaisesRegex(AssertionError, "UNAVAILABLE instead of OK"):
            self.run_case("empty_unary", self.tls, *self.tls_options(),
                          "--server_host_override=example.com")

    def test_cases_by_mutual_tls(self):
        if not self.has_mutual:
            self.skipTest("the server doesn't ask for certificates")
        cert, key = self.authority.issue("client")
        self.run_cases(self.mutual, *self.tls_options(), f"--cert_file={cert}",
                       f"--key_file={key}")
        with self.assertRaisesRegex(AssertionError, "UNAVAILABLE instead of OK"):
            self.run_case("empty_unary", self.mutual, *self.tls_options())

    def test_unary_cases_in_a_loop(self):
        for case in UNARY_CASES:
            for server, options in ((self.plain, ()), (self.tls, self.tls_options())):
                with self.subTest(case, options=options):
                    self.run_case(case, server, "--poll", *options)

    def test_large_calls_at_once(self):
        """A thousand in a loop; from twenty threads."""
        self.run_case("concurrent_large_unary", self.plain, "--poll")
        self.run_case("concurrent_large_unary", self.plain)

    def test_soak(self):
        self.run_case("rpc_soak", self.plain, "--soak_iterations=200")
        self.run_case("channel_soak", self.plain, "--soak_iterations=50")
        self.run_case("channel_soak", self.tls, "--soak_iterations=20", *self.tls_options())
