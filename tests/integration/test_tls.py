"""TLS and client certificates, seen by stock clients, by OpenSSL and in the log."""

import pathlib
import re
import shutil
import signal
import socket
import ssl
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from support import events, harness, raw_h2  # noqa: E402
from support.effects import effect_of  # noqa: E402
from support.tls_case import TlsCase  # noqa: E402


class CallsTest(TlsCase):
    @effect_of("tls.cert_file", "tls.key_file")
    def test_each_kind_of_call_goes_through_tls(self):
        self.make_calls(self.start(self.tls()))

    def test_each_kind_of_call_goes_through_mutual_tls(self):
        settings = self.tls(client_ca_file=self.authority.cert, client_certificates="required")
        self.make_calls(self.start(settings, self.client))

    def make_calls(self, daemon):
        stub = self.open_stub(daemon)
        store = self.stubs.store
        requests = (store.StreamEventsRequest(batch_id=str(number),
                                              events=[events.make(self.stubs, number)])
                    for number in range(300))
        answers = list(stub.StreamEvents(requests, timeout=60))
        self.assertEqual({str(number) for number in range(300)},
                         {answer.batch_id for answer in answers})
        batch = [events.make(self.stubs, event_data='{"x": "' + "y" * 200_000 + '"}')
                 for _ in range(10)]
        stub.WriteEvents(store.WriteEventsRequest(events=batch), timeout=30)
        page = stub.ListEvents(store.ListEventsRequest(page_size=10), timeout=30)
        self.assertGreater(page.ByteSize(), 1_000_000)
        with daemon.channel() as channel:
            watch = self.stubs.health_grpc.HealthStub(channel).Watch(
                self.stubs.health.HealthCheckRequest(), timeout=30)
            self.assertEqual(1, next(watch).status)
            watch.cancel()

    def test_what_takes_long_to_read_is_read_in_order(self):
        """So long that others have their turn amid a call, while more of it has come."""
        daemon = self.start(self.tls())
        stubs = [self.open_stub(daemon) for _ in range(2)]
        text = '{"x": [' + ",".join(["[0]"] * 10_000) + "]}"
        request = self.stubs.store.WriteEventsRequest(
            events=[events.make(self.stubs, number, event_data=text) for number in range(10)])
        for _ in range(2):
            calls = [stub.WriteEvents.future(request, timeout=60) for stub in stubs for _ in range(12)]
            for call in calls:
                self.assertEqual(grpc.StatusCode.OK, call.code(), call.details())

    def test_a_reader_that_is_slow_gets_everything(self):
        daemon = self.start(self.tls())
        batch = [events.make(self.stubs, event_data='{"x": "' + "y" * 250_000 + '"}')
                 for _ in range(12)]
        self.open_stub(daemon).WriteEvents(self.stubs.store.WriteEventsRequest(events=batch),
                                           timeout=30)
        plain = socket.socket()
        self.addCleanup(plain.close)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        plain.settimeout(20)
        plain.connect(("127.0.0.1", daemon.port))
        sock = self.wrap(plain)
        connection = raw_h2.Connection(sock=sock)
        widest = raw_h2.window_update(0, 2**30) + raw_h2.frame(
            raw_h2.SETTINGS, payload=raw_h2.setting(raw_h2.INITIAL_WINDOW_SIZE, 2**30))
        page = self.stubs.store.ListEventsRequest(page_size=12).SerializeToString()
        sock.sendall(widest + raw_h2.grpc_call(1, "/auditstore.v1.AuditStore/ListEvents", page))
        got = b""
        while True:
            kind, flags, stream, payload = connection.receive()
            if stream == 1 and kind == raw_h2.DATA:
                got += payload
            if stream == 1 and kind == raw_h2.HEADERS and flags & raw_h2.END_STREAM:
                break
        answer = self.stubs.store.ListEventsResponse.FromString(got[5:])
        self.assertEqual(12, len(answer.events))


class HandshakeTest(TlsCase):
    def test_a_handshake_may_come_byte_by_byte(self):
        daemon = self.start(self.tls())
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        sock = self.connect_plain(daemon)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def send_all():
            for byte in outgoing.read():
                sock.sendall(bytes([byte]))

        def run(step):
            while True:
                try:
                    result = step()
                    send_all()
                    return result
                except ssl.SSLWantReadError:
                    send_all()
                    incoming.write(sock.recv(1))
        run(tls.do_handshake)
        run(lambda: tls.write(raw_h2.PREFACE + raw_h2.frame(raw_h2.SETTINGS)))
        self.assertEqual(raw_h2.SETTINGS, run(lambda: tls.read(9))[3])

    def test_clients_have_to_name_h2(self):
        daemon = self.start(self.tls())
        self.assertEqual("h2", self.connect(daemon).selected_alpn_protocol())
        refusal = self.refusal(daemon, self.context(alpn=("http/1.1",)))
        self.assertIn("no application protocol", refusal.lower())
        self.refusal(daemon, self.context(alpn=()))
        harness.wait_until(lambda: "doesn't name h2 by ALPN" in daemon.log())

    def test_tls_before_1_2_is_refused(self):
        daemon = self.start(self.tls())
        old = self.context()
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = ssl.TLSVersion.TLSv1_1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        self.refusal(daemon, old)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.context()
            context.minimum_version = context.maximum_version = version
            self.connect(daemon, context)
        weak = self.context()
        weak.maximum_version = ssl.TLSVersion.TLSv1_2
        weak.set_ciphers("ECDHE-ECDSA-AES128-SHA")
        self.refusal(daemon, weak)

    def test_sessions_are_resumed_also_with_client_certificates(self):
        daemon = self.start(self.tls(client_ca_file=self.authority.cert,
                                     client_certificates="required"), self.client)
        context = self.context(self.client)
        first = self.connect(daemon, context)
        first.sendall(raw_h2.PREFACE + raw_h2.frame(raw_h2.SETTINGS))
        first.recv(1)  # the tickets come in front of it
        plain = self.connect_plain(daemon)
        again = self.wrap(plain, context, session=first.session)
        self.assertTrue(again.session_reused)

    def test_clients_without_tls_are_turned_away(self):
        daemon = self.start(self.tls())
        sock = self.connect_plain(daemon)
        sock.sendall(raw_h2.PREFACE + raw_h2.frame(raw_h2.SETTINGS))
        while sock.recv(1000):
            pass
        self.assertIn("TLS handshake failed", daemon.log())
        self.assertTrue(self.is_served(daemon))

    def test_a_handshake_that_does_not_go_on_is_ended(self):
        daemon = self.start({**self.tls(), "server.handshake_timeout": "1s"})
        sock = self.connect_plain(daemon)
        sock.sendall(b"\x16\x03\x01")
        self.assertEqual(b"", sock.recv(1))

    @effect_of("tls.max_handshakes")
    def test_handshakes_wait_for_their_turn(self):
        """A turn of one that doesn't go on is over after 100 ms, if others wait for theirs."""
        waits_s = []
        for max_handshakes in (1, 100):
            daemon = self.start({**self.tls(max_handshakes=max_handshakes), "server.handshake_timeout": "1m"})
            for _ in range(20):
                self.connect_plain(daemon).sendall(b"\x16")
            began = time.monotonic()
            self.connect(daemon)
            waits_s.append(time.monotonic() - began)
        self.assertGreater(waits_s[0], 0.2)
        self.assertGreater(*waits_s)

    def test_a_handshake_goes_on_when_its_turn_comes_again(self):
        daemon = self.start({**self.tls(max_handshakes=1), "server.handshake_timeout": "1m"})
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        late = self.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with self.assertRaises(ssl.SSLWantReadError):
            late.do_handshake()
        hello = outgoing.read()
        sock = self.connect_plain(daemon)
        sock.sendall(hello[:40])
        for _ in range(2):
            self.connect(daemon)
        sock.sendall(hello[40:])
        while True:
            incoming.write(sock.recv(65536))
            try:
                late.do_handshake()
                break
            except ssl.SSLWantReadError:
                continue

    def test_the_end_is_announced(self):
        daemon = self.start(self.tls())
        plain = self.connect_plain(daemon)
        # An end without close_notify would be an error.
        sock = self.wrap(plain, suppress_ragged_eofs=False)
        sock.sendall(raw_h2.PREFACE + raw_h2.frame(raw_h2.SETTINGS))
        sock.recv(1)
        daemon.signal(signal.SIGTERM)
        while sock.recv(1000):
            pass
        self.assertEqual(0, daemon.wait())


class ClientCertificatesTest(TlsCase):
    @effect_of("tls.client_certificates", "tls.client_ca_file")
    def test_who_may_connect(self):
        ca = self.authority.cert
        cases = {"required": (False, False), "optional": (True, False), "off": (True, True)}
        for setting, (without, with_unknown) in cases.items():
            with self.subTest(setting):
                more = {} if setting == "off" else {"client_ca_file": ca}
                daemon = self.start(self.tls(client_certificates=setting, **more), self.client)
                self.assertTrue(self.is_served(daemon, self.client))
                self.assertEqual(without, self.is_served(daemon))
                self.assertEqual(with_unknown, self.is_served(daemon, self.unknown_client))

    def test_the_log_says_whose_certificate_was_refused_and_why(self):
        expired = self.authority.issue("late", days=-1)
        daemon = self.start(self.tls(client_ca_file=self.authority.cert,
                                     client_certificates="optional"))
        for client, said in ((expired, "certificate has expired.*/CN=late"),
                             (self.unknown_client, "unable to get local issuer.*/CN=unknown")):
            self.refusal(daemon, self.context(client))
            harness.wait_until(lambda said=said: re.search(said, daemon.log()), what=said)

    def test_the_log_names_the_client(self):
        daemon = self.start({**self.tls(client_ca_file=self.authority.cert,
                                        client_certificates="optional"), "log.level": "debug"})
        self.assertTrue(self.is_served(daemon, self.client))
        self.assertRegex(daemon.log(), "TLS established.*/CN=client.*TLSv1.3")


class FilesTest(TlsCase):
    def test_new_files_are_for_new_connections(self):
        folder = self.folder / "renewed"
        folder.mkdir()
        cert, key = folder / "cert.pem", folder / "key.pem"

        def put(pair):
            for path, target in zip(pair, (cert, key)):
                shutil.copy(path, target)
        put((self.cert, self.key))
        daemon = self.start({"tls.cert_file": cert, "tls.key_file": key})

        def seen():
            return self.connect(daemon).getpeercert()["subject"][0][0][1]

        stub = self.open_stub(daemon)
        request = self.stubs.store.WriteEventsRequest(events=[events.make(self.stubs)])
        stub.WriteEvents(request, timeout=30)
        self.assertEqual("server", seen())
        put(self.authority.issue("renewed"))
        daemon.signal(signal.SIGHUP)
        harness.wait_until(lambda: daemon.log().count("TLS certificate read") == 2)
        self.assertEqual("renewed", seen())
        stub.WriteEvents(request, timeout=30)
        key.write_text("no key")
        daemon.signal(signal.SIGHUP)
        harness.wait_until(lambda: "TLS certificate not reloaded" in daemon.log())
        self.assertEqual("renewed", seen())
        stub.WriteEvents(request, timeout=30)

    def refused_start(self, settings):
        done = harness.run_daemon(settings={**self.postgres.daemon_settings(), **settings})
        self.assertEqual(1, done.returncode, done.stderr)
        return done.stderr

    def test_files_that_are_no_use_are_named(self):
        text = self.folder / "text.pem"
        text.write_text("no PEM")
        _, other_key = self.authority.issue("other")
        for settings, expected in (
                ({"cert_file": "/nowhere.pem"}, "/nowhere.pem.*No such file"),
                ({"cert_file": text}, "certificate .*text.pem"),
                ({"key_file": text}, "key .*text.pem"),
                ({"key_file": other_key}, "certificate .*server.pem.* isn't for the key .*other-key.pem"),
                ({"client_ca_file": text, "client_certificates": "required"},
                 "clients' authorities.* .*text.pem")):
            with self.subTest(settings):
                self.assertRegex(self.refused_start(self.tls(**settings)), expected)

    def test_an_expired_certificate_is_warned_of(self):
        cert, key = self.authority.issue("expired", days=-1)
        daemon = self.start_daemon({"tls.cert_file": cert, "tls.key_file": key},
                                   wait_serving=False)
        self.assertIn("the TLS certificate has expired", daemon.log())

    def test_a_key_that_everybody_reads_is_warned_of(self):
        cert, key = self.authority.issue("exposed")
        key.chmod(0o644)
        daemon = self.start({"tls.cert_file": cert, "tls.key_file": key})
        self.assertIn("everybody may read or change", daemon.log())


if __name__ == "__main__":
    unittest.main()
