"""What the settings of gRPC's connections do: their number, memory, pings and age, on the wire."""

import pathlib
import socket
import struct
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness, raw_h2  # noqa: E402
from support.effects import effect_of  # noqa: E402

ENHANCE_YOUR_CALM, NO_ERROR, SETTINGS_TIMEOUT = 11, 0, 4
LAST_STREAM = 2**31 - 1
WATCH = "/grpc.health.v1.Health/Watch"
CHECK = "/grpc.health.v1.Health/Check"


class ConnectionsTest(harness.PostgresCase):
    def start(self, settings=None):
        return self.start_daemon(settings, wait_serving=False)

    def connect(self, daemon, **options):
        connection = raw_h2.Connection("127.0.0.1", daemon.port, **options)
        self.addCleanup(connection.close)
        return connection

    def watch(self, daemon):
        """A connection with a call that goes on, and has its first answer."""
        connection = self.connect(daemon)
        connection.send(raw_h2.grpc_call(1, WATCH, b""))
        connection.receive_until(lambda kind, *_: kind == raw_h2.DATA)
        return connection

    def assert_not_within(self, seconds, wait, *args):
        with self.assertRaises(TimeoutError):
            wait(*args, seconds)

    @effect_of("server.max_connections_per_address")
    def test_so_many_clients_of_an_address_may_be_connected(self):
        def kept(daemon, address):
            found = 0
            for _ in range(4):
                sock = socket.create_connection(("127.0.0.1", daemon.port), timeout=10,
                                                source_address=(address, 0))
                self.addCleanup(sock.close)
                connection = raw_h2.Connection(sock=sock)
                connection.send(raw_h2.frame(raw_h2.PING, payload=b"8 bytes."))
                found += connection.receive_until(lambda kind, *_: kind == raw_h2.PING) is not None
            return found
        few = self.start({"server.max_connections_per_address": 2})
        self.assertEqual(2, kept(few, "127.0.0.1"))
        self.assertEqual(2, kept(few, "127.0.0.9"))
        refused = 'auditstore_grpc_connections_refused_total{setting="max_connections_per_address"}'
        self.assertEqual(4, few.metrics()[refused])
        self.assertEqual(4, kept(self.start(), "127.0.0.1"))

    @effect_of("server.max_inbound_bytes")
    def test_unfinished_messages_take_so_much_memory(self):
        def shed(settings):
            """Whether a call that holds 600 KiB of a message is ended."""
            daemon = self.start_daemon(settings)
            connection = self.connect(daemon)
            connection.send(raw_h2.grpc_headers(1, "/auditstore.v1.AuditStore/WriteEvents"))
            harness.wait_until(lambda: daemon.metrics()["auditstore_grpc_calls"] > 0)
            connection.send(raw_h2.frame(raw_h2.DATA, stream=1,
                                         payload=struct.pack("!BI", 0, 1 << 20)))
            for _ in range(60):
                connection.send(raw_h2.frame(raw_h2.DATA, stream=1, payload=bytes(10 << 10)))
            # Answered behind all of that.
            connection.send(raw_h2.frame(raw_h2.PING, payload=b"8 bytes."))
            connection.receive_until(lambda kind, flags, *_: (kind, flags) == (raw_h2.PING,
                                                                               raw_h2.ACK))
            return daemon.metrics()["auditstore_grpc_calls_shed_total"]
        self.assertEqual(1, shed({"server.max_inbound_bytes": "1MiB"}))
        self.assertEqual(0, shed({}))

    @effect_of("server.min_ping_interval")
    def test_pings_in_quick_succession_end_the_connection(self):
        ping = raw_h2.frame(raw_h2.PING, payload=b"8 bytes.")
        strict = self.connect(self.start())
        strict.send(ping * 4)
        self.assertEqual((0, ENHANCE_YOUR_CALM, "too_many_pings"), strict.receive_goaway())
        self.assertTrue(strict.is_closed_within(10))
        lenient = self.connect(self.start({"server.min_ping_interval": "10ms"}))
        for _ in range(10):
            self.assertFalse(lenient.is_closed_within(0.03))
            lenient.send(ping)
        self.assertFalse(lenient.is_closed_within(0.5))

    def test_answers_in_between_pay_for_pings(self):
        connection = self.connect(self.start())
        for i in range(20):
            connection.send(raw_h2.frame(raw_h2.PING, payload=b"8 bytes."))
            stream = 2 * i + 1
            connection.send(raw_h2.grpc_call(stream, CHECK, b""))
            got = connection.receive_until(
                lambda kind, flags, at, _, stream=stream: kind == raw_h2.GOAWAY or (
                    kind == raw_h2.HEADERS and at == stream and flags & raw_h2.END_STREAM))
            self.assertEqual(raw_h2.HEADERS, got[0])

    def is_ping(self, kind, flags, *_):
        return kind == raw_h2.PING and not flags & raw_h2.ACK

    @effect_of("server.keepalive_time")
    def test_a_silent_client_is_pinged(self):
        quick = self.connect(self.start({"server.keepalive_time": "300ms"}))
        for _ in range(3):
            _, _, _, payload = quick.receive_until(self.is_ping)
            quick.send(raw_h2.frame(raw_h2.PING, raw_h2.ACK, payload=payload))
        for settings in ({}, {"server.keepalive_time": "off"}):
            patient = self.connect(self.start(settings))
            self.assert_not_within(1.5, patient.receive_until, self.is_ping)

    @effect_of("server.keepalive_timeout")
    def test_a_client_that_answers_no_ping_is_cut_off(self):
        settings = {"server.keepalive_time": "300ms", "server.keepalive_timeout": "300ms"}
        quick = self.connect(self.start(settings))
        quick.receive_until(self.is_ping)
        self.assertTrue(quick.is_closed_within(5))
        settings["server.keepalive_timeout"] = "1m"
        patient = self.connect(self.start(settings))
        patient.receive_until(self.is_ping)
        self.assertFalse(patient.is_closed_within(2))

    @effect_of("server.max_connection_idle")
    def test_a_connection_without_calls_is_ended(self):
        daemon = self.start({"server.max_connection_idle": "300ms"})
        idle = self.connect(daemon)
        self.assertEqual((LAST_STREAM, NO_ERROR, ""), idle.receive_goaway())
        self.assertEqual((0, NO_ERROR, "max_idle"), idle.receive_goaway())
        self.assertTrue(idle.is_closed_within(10))
        busy = self.watch(daemon)
        self.assertFalse(busy.is_closed_within(2))
        unlimited = self.connect(self.start())
        self.assertFalse(unlimited.is_closed_within(2))

    @effect_of("server.max_connection_age")
    def test_an_old_connection_is_ended_and_its_calls_go_on(self):
        old = self.watch(self.start({"server.max_connection_age": "500ms"}))
        self.assertEqual((LAST_STREAM, NO_ERROR, ""), old.receive_goaway())
        old.send(raw_h2.grpc_call(3, CHECK, b""))
        answer = old.receive_until(lambda kind, _, stream, __: (kind, stream) == (raw_h2.DATA, 3))
        self.assertIsNotNone(answer)
        self.assertEqual((3, NO_ERROR, "max_age"), old.receive_goaway())
        self.assertFalse(old.is_closed_within(2))
        unlimited = self.watch(self.start())
        self.assert_not_within(2, unlimited.receive_goaway)

    @effect_of("server.max_connection_age_grace")
    def test_calls_of_an_old_connection_have_their_time(self):
        settings = {"server.max_connection_age": "300ms", "server.write_timeout": "2s",
                    "server.max_connection_age_grace": "500ms"}
        old = self.watch(self.start(settings))
        end = old.receive_until(lambda kind, flags, *_: kind == raw_h2.HEADERS and
                                flags & raw_h2.END_STREAM)
        self.assertEqual(1, end[2])
        self.assertTrue(old.is_closed_within(10))
        for grace in ("off", "1m"):
            settings["server.max_connection_age_grace"] = grace
            lasting = self.watch(self.start(settings))
            self.assertFalse(lasting.is_closed_within(4))

    def test_settings_that_arent_acknowledged_end_the_connection(self):
        daemon = self.start({"server.handshake_timeout": "300ms"})
        deaf = self.connect(daemon, acks_settings=False)
        self.assertEqual(SETTINGS_TIMEOUT, deaf.receive_goaway()[1])
        self.assertTrue(deaf.is_closed_within(10))
        polite = self.connect(daemon)
        self.assertFalse(polite.is_closed_within(1.5))

    def test_a_connection_out_of_streams_is_ended(self):
        connection = self.connect(self.start())
        stream = (3 << 29) + 1
        connection.send(raw_h2.grpc_call(stream, CHECK, b""))
        self.assertEqual((LAST_STREAM, NO_ERROR, ""), connection.receive_goaway())
        self.assertEqual((stream, NO_ERROR, "max_streams"), connection.receive_goaway())

    def test_a_stream_id_that_was_passed_over_is_an_error(self):
        connection = self.connect(self.start())
        connection.send(raw_h2.grpc_call(1, CHECK, b"") + raw_h2.grpc_call(7, CHECK, b"") +
                        raw_h2.grpc_call(5, CHECK, b""))
        self.assertEqual((7, 1, "stream ids must grow"), connection.receive_goaway())


if __name__ == "__main__":
    unittest.main(verbosity=2)
