"""What OpenSSL lets a peer do to a server, and the daemon doesn't."""

import itertools
import pathlib
import socket
import ssl
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness, hellos, raw_h2  # noqa: E402
from support.openssl import TLS1_2, TLS1_3, Session  # noqa: E402
from support.tls_case import TlsCase  # noqa: E402

TOO_LONG = "the ClientHello is longer than 16 KiB"
LONG_HEADER = hellos.header(hellos.MAX_BYTES)
CHANGE_CIPHER = b"\x14\x03\x03\x00\x01\x01"


class HostileCase(TlsCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.patient = {**cls.tls(cls), "server.handshake_timeout": "2m"}

    def setUp(self):
        self.addresses = (f"127.0.1.{number}" for number in itertools.count(1))

    def start_patient(self, **more):
        """Nothing but what is sent ends its connections while a test waits."""
        self.daemon = self.start({**self.patient, **more})

    def said(self, sent, half_closes=False):
        """Why a peer who sends this is thrown out. Each has an address of its own: lines of one are sampled."""
        address = next(self.addresses)
        sock = socket.create_connection(("127.0.0.1", self.daemon.port), timeout=20, source_address=(address, 0))
        self.addCleanup(sock.close)
        sock.sendall(sent)
        if half_closes:
            sock.shutdown(socket.SHUT_WR)
        self.received(sock)
        return self.reason(address)

    def reason(self, address):
        def lines():
            return [line for line in self.daemon.log().splitlines()
                    if f"{address}:" in line and "TLS handshake failed" in line]
        harness.wait_until(lines, what="the line in the log")
        return lines()[0]


class HelloTest(HostileCase):
    def setUp(self):
        super().setUp()
        self.start_patient()

    def test_a_hello_that_declares_much_is_refused_before_it_has_come(self):
        self.assertIn(TOO_LONG, self.said(hellos.records(LONG_HEADER)))
        self.assertIn(TOO_LONG, self.said(hellos.records(hellos.header(16385))))
        self.assertTrue(self.is_served(self.daemon))

    def test_a_hello_whose_length_is_not_in_its_first_record_is_refused(self):
        for first in (b"", b"\x01", LONG_HEADER[:3]):
            sent = b"\x16\x03\x01" + len(first).to_bytes(2, "big") + first + hellos.records(LONG_HEADER)
            self.assertIn("too short", self.said(sent))

    def test_nothing_hides_a_hello_that_declares_much(self):
        hello = hellos.records(LONG_HEADER)
        for before in (hellos.records(b"\x01\x5a", 21), hellos.records(b"\x01\x00", 21), CHANGE_CIPHER,
                       b"\x14\x03\x01\x00\x00", hellos.records(b"x", 23), hellos.records(b"\x00\x00\x00\x00")):
            with self.subTest(before=before):
                self.said(before + hello)

    def test_the_second_hello_is_looked_at_as_the_first(self):
        for between in (b"", CHANGE_CIPHER):
            with self.subTest(between=between), Session(TLS1_3, "X448:P-256") as session:
                session.shake_hands()
                sent = session.take()
                # All at once, and after the daemon asked for it.
                self.assertIn(TOO_LONG, self.said(sent + between + hellos.records(LONG_HEADER)))
                sock = self.connect_plain(self.daemon)
                sock.sendall(sent)
                self.assertEqual(b"\x16\x03\x03", sock.recv(1000)[:3])
                sock.sendall(between + hellos.records(LONG_HEADER))
                self.received(sock)

    def test_nothing_but_a_change_of_ciphers_comes_in_front_of_the_second_hello(self):
        for between in (2 * CHANGE_CIPHER, hellos.records(b"early data", 23), hellos.records(b"\x01\x5a", 21)):
            with self.subTest(between=between), Session(TLS1_3, "X448:P-256") as session:
                session.shake_hands()
                sent = session.take() + between + hellos.records(LONG_HEADER)
                self.assertIn("in the place of a ClientHello", self.said(sent))

    def test_the_second_hello_is_in_a_record_of_its_own(self):
        with Session(TLS1_3, "X448:P-256") as session:
            session.shake_hands()
            hello = session.take()[5:]
        self.said(hellos.records(hello + LONG_HEADER))

    def test_a_second_hello_is_taken(self):
        with Session(TLS1_3, "X448:P-256") as session:
            self.assertTrue(session.connect(self.connect_plain(self.daemon)))

    def test_a_hello_that_ends_early_is_told_from_one_that_goes_on(self):
        for sent in (b"", b"\x16", hellos.records(LONG_HEADER)[:8], CHANGE_CIPHER, b"\x15\x03"):
            with self.subTest(sent=sent):
                self.said(sent, half_closes=True)

    def test_what_is_not_tls_is_told_as_it_was(self):
        self.assertIn("http request", self.said(b"GET /"))
        self.assertIn("wrong version number", self.said(b"\x16\x04\x01\x00\x05\x01\x00\x00\x01\x00"))
        self.assertIn("unexpected message", self.said(hellos.records(b"\x02\x28", 21)))


class GroupsTest(HostileCase):
    def is_accepted(self, *options):
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{self.daemon.port}", "-alpn", "h2",
                               *options], input=b"", capture_output=True, timeout=20, check=False)
        return b"ALPN protocol: h2" in done.stdout

    def test_keys_that_are_dear_to_check_are_not_taken(self):
        self.start_patient()
        for groups in ("X25519", "P-256", "P-384", "P-521", "X448:P-256", "ffdhe8192:X25519"):
            self.assertTrue(self.is_accepted("-groups", groups), groups)
        for group in ("X25519", "P-384", "P-521"):
            # The certificate's key, too, has to be of a group that the client knows.
            self.assertTrue(self.is_accepted("-groups", f"{group}:P-256", "-tls1_2"), group)
        for group in ("ffdhe2048", "ffdhe8192", "X448"):
            self.assertFalse(self.is_accepted("-groups", group), group)
        self.assertFalse(self.is_accepted("-tls1_2", "-cipher", "DHE"))
        self.assertIn("no suitable key share", self.said(hellos.of_finite_field()))


class SessionsTest(HostileCase):
    def resumes(self, **more):
        context = self.context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        for name, value in more.items():
            setattr(context, name, getattr(context, name) | value)
        first = self.connect(self.daemon, context)
        return self.wrap(self.connect_plain(self.daemon), context, session=first.session).session_reused

    def test_sessions_are_resumed_by_tickets_alone(self):
        self.start_patient()
        self.assertTrue(self.resumes())
        self.assertFalse(self.resumes(options=ssl.OP_NO_TICKET))

    def test_a_second_handshake_ends_the_connection_as_it_begins(self):
        self.start_patient(**{"log.level": "debug"})
        for hello in (Session.hello_again, Session.half_hello_again):
            with self.subTest(hello.__name__), Session(TLS1_2) as session:
                sock = self.connect_plain(self.daemon)
                self.assertTrue(session.connect(sock))
                sock.sendall(hello(session))
                self.received(sock)
        harness.wait_until(lambda: "TLS renegotiation, which HTTP/2 forbids" in self.daemon.log())

    def test_keys_may_be_updated(self):
        self.start_patient()
        with Session(TLS1_3) as session:
            sock = self.connect_plain(self.daemon)
            self.assertTrue(session.connect(sock))
            sock.sendall(session.update_key() + session.records(raw_h2.PREFACE + raw_h2.frame(raw_h2.SETTINGS)) +
                         session.update_key() + session.records(raw_h2.frame(raw_h2.PING, payload=b"behind it")))
            # Of 9 bytes, which is one too many: it was read, and is answered.
            self.received(sock)

    def test_long_chains_of_client_certificates_are_refused(self):
        fits, too_long = (self.authority.issue(name, san=",".join(f"DNS:{n:060}.test" for n in range(count)))
                          for name, count in (("fits", 150), ("long", 300)))
        self.start_patient(**{"tls.client_ca_file": self.authority.cert, "tls.client_certificates": "optional"})
        self.assertTrue(self.is_served(self.daemon, fits))
        self.assertFalse(self.is_served(self.daemon, too_long))
        self.assertIn("excessive message size", self.daemon.log())


if __name__ == "__main__":
    unittest.main()
