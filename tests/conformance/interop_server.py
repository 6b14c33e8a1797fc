"""Our server with grpc.testing.TestService, for a test's clients."""

import os
import pathlib
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


class InteropServer:
    """With `authority`, by TLS; with `mutual`, for clients with its certificates alone."""

    count = 0

    def __init__(self, folder, authority=None, mutual=False):
        InteropServer.count += 1
        port_file = folder / f"interop{InteropServer.count}.port"
        self.log_file = folder / f"interop{InteropServer.count}.log"
        args = [*authority.issue(f"server{InteropServer.count}")] if authority else []
        args += [authority.cert] if mutual else []
        with open(self.log_file, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([str(PROGRAM), str(port_file), *map(str, args)],
                                            stderr=log, stdin=subprocess.DEVNULL)
        harness.wait_until(port_file.exists, harness.START_DEADLINE_S, "interop_server listens")
        self.port = int(port_file.read_text())
        self.address = f"127.0.0.1:{self.port}"

    def stop(self):
        """Raises when it doesn't end well: sanitizers make it fail."""
        self.process.terminate()
        code = self.process.wait(harness.STOP_DEADLINE_S)
        if code != 0:
            log = self.log_file.read_text(encoding="utf-8", errors="replace")
            raise AssertionError(f"interop_server ended with {code}\n{log[-10000:]}")


class InteropCase(unittest.TestCase):
    """Three servers: cls.plain, cls.tls, cls.mutual; certificates of cls.authority."""

    @classmethod
    def setUpClass(cls):
        temporary = harness.TemporaryFolder()
        cls.addClassCleanup(temporary.remove)
        cls.folder = temporary.path
        cls.authority = certificates.Authority(cls.folder)
        cls.plain = cls.start()
        cls.tls = cls.start(cls.authority)
        cls.mutual = cls.start(cls.authority, mutual=True)

    @classmethod
    def start(cls, *args, **options):
        server = InteropServer(cls.folder, *args, **options)
        cls.addClassCleanup(server.stop)
        return server

    def run_client(self, *command, **options):
        """Its output; it has to succeed."""
        done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
                              **{"env": os.environ, **options})
        self.assertEqual(0, done.returncode, done.stdout)
        return done.stdout
