"""The interoperability cases from gRPC's C++, with those about compression."""

import pathlib
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import foreign  # noqa: E402
import interop_server  # noqa: E402

FOLDER = pathlib.Path(__file__).resolve().parent / "interop"


class CppTest(interop_server.InteropCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        foreign.run("protoc", f"-I{FOLDER}", f"--cpp_out={cls.folder}",
                    f"--grpc_out={cls.folder}",
                    f"--plugin=protoc-gen-grpc={shutil.which('grpc_cpp_plugin')}", "interop.proto")
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "grpc++", "protobuf"],
                               capture_output=True, text=True, check=True).stdout.split()
        cls.client = cls.folder / "client"
        foreign.run("g++", "-std=c++17", f"-I{cls.folder}", "-o", cls.client, FOLDER / "client.cc",
                    cls.folder / "interop.pb.cc", cls.folder / "interop.grpc.pb.cc", *flags)

    def run_cases(self, server, *files):
        output = self.run_client(self.client, server.port, *files)
        self.assertEqual(18, output.count("passed "), output)

    def test_cases(self):
        self.run_cases(self.plain)

    def test_cases_by_tls(self):
        self.run_cases(self.tls, self.authority.cert)

    def test_cases_by_mutual_tls(self):
        self.run_cases(self.mutual, self.authority.cert, *self.authority.issue("client"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
