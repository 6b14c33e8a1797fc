"""Servers with grpc.testing.TestService, ours or another project's, for a test's clients."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import certificates, harness  # noqa: E402

PROGRAM = harness.BUILD / "tests" / "conformance" / "interop" / "interop_server"

# The official cases that concern a server (interop-test-descriptions in the grpc repository), but for
# those about compression, which not all clients have.
CASES = ("empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong",
         "empty_stream", "timeout_on_sleeping_server", "cancel_after_begin",
         "cancel_after_first_response", "status_code_and_message", "special_status_message",
         "custom_metadata", "unimplemented_method", "unimplemented_service")
COMPRESSION_CASES = ("client_compressed_unary", "server_compressed_unary",
                     "client_compressed_streaming", "server_compressed_streaming")


def generate_python(folder):
    """The folder, with the modules interop_pb2 and interop_pb2_grpc."""
    source = pathlib.Path(__file__).resolve().parent / "interop"
    plugin = shutil.which("grpc_python_plugin")
    subprocess.run(["protoc", f"-I{source}", f"--python_out={folder}",
                    f"--plugin=protoc-gen-grpc_python={plugin}", f"--grpc_python_out={folder}",
                    "interop.proto"], check=True)
    return folder


def free_port():
    """For a program that can't be asked which one it got; it ends with an error if it lost it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def accepts(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


class InteropServer:
    """Ours. With `authority`, by TLS; with `mutual`, for clients with its certificates alone."""

    count = 0
    exit_code = 0

    def __init__(self, folder, authority=None, mutual=False):
        InteropServer.count += 1
        name = f"interop{InteropServer.count}"
        self.port_file = folder / f"{name}.port"
        self.log_file = folder / f"{name}.log"
        files = [*authority.issue(f"server{InteropServer.count}")] if authority else []
        files += [authority.cert] if mutual else []
        with open(self.log_file, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([str(part) for part in self.command(*files)],
                                            stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            env=self.environment())
        self.port = harness.wait_until(self.find_port, harness.START_DEADLINE_S, f"{name} listens")
        self.address = f"127.0.0.1:{self.port}"

    def command(self, *files):
        """With [certificate, key [, authority of clients]]."""
        return [PROGRAM, self.port_file, *files]

    def environment(self):
        return os.environ

    def check_alive(self):
        if self.process.poll() is not None:
            raise AssertionError(f"ended with {self.process.returncode}\n{self.log()}")

    def find_port(self):
        """None: not yet."""
        self.check_alive()
        return int(self.port_file.read_text()) if self.port_file.exists() else None

    def log(self):
        return self.log_file.read_text(encoding="utf-8", errors="replace")[-10000:]

    def stop(self):
        """Raises when it doesn't end well: sanitizers make it fail."""
        self.process.terminate()
        code = self.process.wait(harness.STOP_DEADLINE_S)
        if code != self.exit_code:
            raise AssertionError(f"ended with {code}\n{self.log()}")


class InteropCase(unittest.TestCase):
    """Three servers: cls.plain, cls.tls, cls.mutual; certificates of cls.authority."""

    server = InteropServer
    has_mutual = True

    @classmethod
    def setUpClass(cls):
        temporary = harness.TemporaryFolder()
        cls.addClassCleanup(temporary.remove)
        cls.folder = temporary.path
        cls.authority = certificates.Authority(cls.folder)
        cls.plain = cls.start()
        cls.tls = cls.start(cls.authority)
        cls.mutual = cls.start(cls.authority, mutual=True) if cls.has_mutual else None

    @classmethod
    def start(cls, *args, **options):
        server = cls.server(cls.folder, *args, **options)
        cls.addClassCleanup(server.stop)
        return server

    def run_client(self, *command, **options):
        """Its output; it has to succeed."""
        done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
                              **{"env": os.environ, **options})
        self.assertEqual(0, done.returncode, done.stdout)
        return done.stdout
