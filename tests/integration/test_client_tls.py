"""The C client against the real daemon by TLS: certificates, tokens, restarts."""

import hashlib
import pathlib
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness, tls_case  # noqa: E402

CLIENT = harness.BUILD / "tests" / "stream_client"
EVENTS = 5000


class ClientTlsTest(tls_case.TlsCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client_cert, cls.client_key = cls.client
        cls.mutual = [f"ca={cls.authority.cert}", f"cert={cls.client_cert}",
                      f"key={cls.client_key}"]

    def setUp(self):
        self.postgres.sql("DELETE FROM audit_events")

    def start_required(self, **settings):
        """Only clients with a certificate of the authority are served."""
        return self.start({**self.tls(client_ca_file=self.authority.cert, client_certificates="required"),
                           "ingest.max_event_age": "off", **settings}, self.client)

    def launch(self, daemon, *options):
        process = subprocess.Popen([str(CLIENT), daemon.address, str(EVENTS), "50", *options],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def finish(self, process):
        out, err = process.communicate(timeout=120)
        self.assertEqual((0, ""), (process.returncode, err))
        return out

    def refusal(self, daemon, *options):
        done = subprocess.run([str(CLIENT), daemon.address, "1", "1", *options],
                              capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(1, done.returncode, done.stderr)
        return done.stderr

    def stored(self):
        return int(self.postgres.value("SELECT count(DISTINCT event_id) FROM audit_events"
                                       " WHERE event_type = 'test.numbered'"))

    def test_streams_go_through_mutual_tls_plain_and_compressed(self):
        daemon = self.start_required()
        self.finish(self.launch(daemon, *self.mutual))
        self.assertEqual(EVENTS, self.stored())
        self.assertIn("done", self.finish(self.launch(daemon, "compress=1", *self.mutual)))
        self.assertEqual(EVENTS, self.stored())

    def test_a_daemon_that_restarts_is_found_again(self):
        daemon = self.start_required()
        process = self.launch(daemon, *self.mutual)
        self.assertIn("acked", process.stdout.readline())
        port = daemon.port
        daemon.signal(signal.SIGTERM)
        daemon.wait()
        self.start_required(**{"server.listen": f"127.0.0.1:{port}"})
        self.finish(process)
        self.assertEqual(EVENTS, self.stored())

    def test_a_token_makes_the_caller(self):
        token_file, known_file = self.folder / "token", self.folder / "known"
        token_file.write_text("a-secret\n")
        known_file.write_text(f"streamer {hashlib.sha256(b'a-secret').hexdigest()}\n")
        known_file.chmod(0o600)
        daemon = self.start_required(**{"access.token_file": known_file, "access.anonymous_roles": "off",
                                        "access.writers": "token:streamer"})
        self.finish(self.launch(daemon, f"token={token_file}", *self.mutual))
        self.assertEqual(EVENTS, self.stored())
        principals = self.postgres.sql("SELECT DISTINCT principal FROM audit_events")
        self.assertEqual([["token:streamer"]], principals)
        token_file.write_text("another\n")
        self.assertIn("UNAUTHENTICATED", self.refusal(daemon, f"token={token_file}", *self.mutual))


if __name__ == "__main__":
    unittest.main()
