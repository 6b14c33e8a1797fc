"""Tests of what becomes of calls to a server that does wrong.

    class SomeTest(fault_case.FaultCase):
        @fault("INTERNAL", "reset")       # how the call ends: its code, and what its message says
        def a_reset_after_headers(peer):  # the server's script, see fault_server
            ...

Each becomes a test, test_a_reset_after_headers, that runs the calls blocking and in a loop of the
program's own; then one more call must succeed.
"""

import dataclasses
import re
import ssl
import subprocess
import unittest

from support import certificates, fault_server, harness

PROGRAM = harness.BUILD / "tests" / "fault_client"
# No call of these tests has a longer deadline.
CLIENT_DEADLINE_S = 60


@dataclasses.dataclass
class Fault:
    script: object
    outcomes: list  # (codes, text) of each call
    options: list  # for the client
    tls: bool  # by TLS as well
    modes: list
    connections: int | None


MODES = ([], ["--poll"])


def fault(code, text="", *options, calls=1, tls=False, modes=MODES, connections=None):
    """`code` may be several, separated by "|"; `calls` how many end so."""
    def make(script):
        return Fault(script, [(code.split("|"), text)] * calls, [f"--calls={calls}", *options], tls,
                     modes, connections)
    return make


def stream_fault(code, text="", *options, **more):
    return fault(code, text, "--stream", *options, modes=([],), **more)


def run_client(address, *options):
    """[(code, messages, text)] of the calls. Fails when the sanitizers have something to say."""
    done = subprocess.run([str(PROGRAM), address, *map(str, options)], capture_output=True, text=True,
                          timeout=CLIENT_DEADLINE_S, check=False)
    if done.returncode != 0 or done.stderr:
        raise AssertionError(f"fault_client: {done.returncode}\n{done.stdout}{done.stderr}")
    lines = [line.split("\t", 2) for line in done.stdout.splitlines()]
    return [(code, int(messages), text) for code, messages, text in lines]


class FaultCase(unittest.TestCase):
    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        for name, found in list(vars(cls).items()):
            if isinstance(found, Fault):
                delattr(cls, name)
                setattr(cls, f"test_{name}", lambda self, found=found: self.run_fault(found))

    @classmethod
    def setUpClass(cls):
        temporary = harness.TemporaryFolder()
        cls.addClassCleanup(temporary.remove)
        cls.authority = certificates.Authority(temporary.path)
        cert, key = cls.authority.issue("server")
        cls.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        cls.tls.load_cert_chain(cert, key)
        cls.tls.set_alpn_protocols(["h2"])

    def tls_options(self):
        return [f"--ca-file={self.authority.cert}"]

    def run_fault(self, found):
        for mode in found.modes:
            with self.subTest(mode=mode):
                self.check(found, mode, fault_server.FaultServer(found.script))
            if found.tls:
                with self.subTest(mode=mode, tls=True):
                    self.check(found, [*mode, *self.tls_options()],
                               fault_server.FaultServer(found.script, tls=self.tls))

    def outcomes(self, script, *options, **more):
        """[(code, messages, text)] of a client's calls to a server with that script."""
        server = fault_server.FaultServer(script, **more)
        try:
            return run_client(server.address, *options)
        finally:
            server.close()

    def check(self, found, options, server):
        try:
            got = run_client(server.address, "--again", *found.options, *options)
        finally:
            server.close()
        self.assertEqual(len(found.outcomes) + 1, len(got), got)
        for (codes, text), (code, _, message) in zip(found.outcomes, got):
            self.assertIn(code, codes, got)
            if code != "OK":
                self.assertTrue(re.search(text, message, re.IGNORECASE),
                                f"{text!r} isn't in {message!r}")
        self.assertEqual("OK", got[-1][0], got)
        if found.connections is not None:
            self.assertEqual(found.connections, server.connections)
