"""grpc-java's interoperability client against our server, with the cases about compression."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import foreign  # noqa: E402
import interop_server  # noqa: E402


class JavaTest(interop_server.InteropCase):
    @classmethod
    def setUpClass(cls):
        cls.class_path = foreign.java_class_path("io.grpc", "grpc-interop-testing", "1.79.0")
        super().setUpClass()

    def run_cases(self, server, *options, java=()):
        for case in interop_server.CASES + interop_server.COMPRESSION_CASES:
            with self.subTest(case):
                self.run_client("java", "-XX:TieredStopAtLevel=1", *java, "-cp", self.class_path,
                                "io.grpc.testing.integration.TestServiceClient",
                                "--server_host=localhost", f"--server_port={server.port}",
                                f"--test_case={case}", *options)

    def test_cases(self):
        self.run_cases(self.plain, "--use_tls=false")

    def test_cases_by_tls(self):
        store = self.folder / "authority.p12"
        self.run_client("keytool", "-importcert", "-noprompt", "-alias", "authority", "-file",
                        self.authority.cert, "-keystore", store, "-storepass", "changeit",
                        "-storetype", "PKCS12")
        self.run_cases(self.tls, "--use_tls=true",
                       java=(f"-Djavax.net.ssl.trustStore={store}",
                             "-Djavax.net.ssl.trustStorePassword=changeit"))

    def test_cases_of_okhttp(self):
        self.run_cases(self.plain, "--use_tls=false", "--use_okhttp=true")


if __name__ == "__main__":
    unittest.main(verbosity=2)
