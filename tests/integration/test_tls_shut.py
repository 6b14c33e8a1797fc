"""The port for TLS speaks TLS or nothing, whatever of OpenSSL fails."""

import contextlib
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness, raw_h2  # noqa: E402
from support.tls_case import TlsCase  # noqa: E402

FAILING = harness.BUILD / "tests" / "libfailing_tls.so"


class FailingTlsTest(TlsCase):
    def received_in_plain(self, daemon):
        """All that a client without TLS gets until the port closes its connection."""
        sock = self.connect_plain(daemon)
        with contextlib.suppress(ConnectionError):
            sock.sendall(raw_h2.PREFACE + raw_h2.frame(raw_h2.SETTINGS))
        return self.received(sock)

    def test_without_its_tls_a_connection_gets_no_byte(self):
        failing = self.folder / "failing"
        failing.write_text("none")
        daemon = self.start(self.tls(), env={
            "LD_PRELOAD": str(FAILING), "FAILING_TLS": str(failing),
            "ASAN_OPTIONS": "verify_asan_link_order=0"})
        for function in ("SSL_new", "SSL_set_fd", "BIO_new", "CRYPTO_zalloc"):
            with self.subTest(function):
                before = daemon.log().count("there is no memory for it")
                failing.write_text(function)
                self.assertEqual(b"", self.received_in_plain(daemon))
                failing.write_text("none")
                self.assertTrue(self.is_served(daemon))
                # It did fail.
                self.assertGreater(daemon.log().count("there is no memory for it"), before)


if __name__ == "__main__":
    unittest.main()
