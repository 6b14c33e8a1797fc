"""What the settings of the two listening ports, the log and the stop do: seen on the wire and in files."""

import json
import pathlib
import re
import signal
import socket
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from support import events, harness, raw_h2  # noqa: E402
from support.effects import effect_of  # noqa: E402


def is_closed_within(sock, seconds):
    """Whether the other side closes so soon."""
    sock.settimeout(seconds)
    try:
        while sock.recv(65536):
            pass
        return True
    except TimeoutError:
        return False
    except ConnectionError:
        return True


class PortsTest(harness.PostgresCase):
    def connect(self, port, host="127.0.0.1"):
        sock = socket.create_connection((host, port), timeout=10)
        self.addCleanup(sock.close)
        return sock

    @effect_of("server.listen")
    def test_listen_is_where_calls_are_taken(self):
        daemon = self.start_daemon({"server.listen": "127.0.0.5:0"}, wait_serving=False)
        self.connect(daemon.port, "127.0.0.5")
        with self.assertRaises(ConnectionRefusedError):
            self.connect(daemon.port)

    @effect_of("server.port_file", "http.port_file")
    def test_port_files_hold_the_ports(self):
        daemon = self.start_daemon()
        self.connect(int(daemon.port_file.read_text()))
        self.connect(int(daemon.http_port_file.read_text()))
        other = self.folder / "elsewhere.port"
        daemon = self.start_daemon({"http.port_file": other})
        self.assertFalse(daemon.http_port_file.exists())
        self.connect(int(other.read_text()))

    @effect_of("http.listen")
    def test_the_pages_are_where_the_setting_says_or_nowhere(self):
        daemon = self.start_daemon({"http.listen": "127.0.0.6:0"})
        port = int(daemon.http_port_file.read_text())
        self.connect(port, "127.0.0.6")
        with self.assertRaises(ConnectionRefusedError):
            self.connect(port)
        off = self.start_daemon({"http.listen": "off"})
        self.assertFalse(off.http_port_file.exists())
        self.assertNotIn("listening for HTTP", off.log())

    def most_connections(self, daemon, port):
        """How many of six connections are kept."""
        sockets = [self.connect(port) for _ in range(6)]
        return sum(not is_closed_within(sock, 0.5) for sock in sockets)

    @effect_of("server.max_connections")
    def test_so_many_clients_may_be_connected(self):
        few = self.start_daemon({"server.max_connections": 4}, wait_serving=False)
        self.assertEqual(4, self.most_connections(few, few.port))
        many = self.start_daemon(wait_serving=False)
        self.assertEqual(6, self.most_connections(many, many.port))

    @effect_of("http.max_connections")
    def test_so_many_readers_of_pages_may_be_connected(self):
        few = self.start_daemon({"http.max_connections": 3})
        self.assertEqual(3, self.most_connections(few, int(few.http_port_file.read_text())))
        many = self.start_daemon()
        self.assertEqual(6, self.most_connections(many, int(many.http_port_file.read_text())))

    @effect_of("http.timeout")
    def test_a_silent_reader_of_pages_is_closed(self):
        quick = self.start_daemon({"http.timeout": "1s"})
        self.assertTrue(is_closed_within(self.connect(int(quick.http_port_file.read_text())), 5))
        patient = self.start_daemon({"http.timeout": "1m"})
        self.assertFalse(is_closed_within(self.connect(int(patient.http_port_file.read_text())), 3))

    @effect_of("server.handshake_timeout")
    def test_a_client_that_says_nothing_is_closed(self):
        quick = self.start_daemon({"server.handshake_timeout": "200ms"})
        self.assertTrue(is_closed_within(self.connect(quick.port), 5))
        patient = self.start_daemon({"server.handshake_timeout": "1m"})
        self.assertFalse(is_closed_within(self.connect(patient.port), 2))

    @effect_of("server.max_concurrent_streams", "server.stream_window_bytes",
               "server.connection_window_bytes")
    def test_the_settings_frame_says_what_the_settings_say(self):
        def told(settings):
            daemon = self.start_daemon(settings)
            connection = raw_h2.Connection("127.0.0.1", daemon.port)
            self.addCleanup(connection.close)
            found, window = connection.settings()
            return found[3], found[4], window + 65535
        self.assertEqual((256, 1 << 20, 16 << 20), told({}))
        self.assertEqual((77, 128 << 10, 2 << 20), told({
            "server.max_concurrent_streams": 77, "server.stream_window_bytes": "128KiB",
            "server.connection_window_bytes": "2MiB"}))

    @effect_of("server.max_message_bytes")
    def test_larger_messages_are_refused(self):
        request = self.stubs.store.WriteEventsRequest(events=[
            events.make(self.stubs, event_data=json.dumps({"x": "y" * 100_000}))])
        self.open_stub(self.start_daemon()).WriteEvents(request, timeout=30)
        small = self.open_stub(self.start_daemon({"server.max_message_bytes": "64KiB"}))
        with self.assertRaises(grpc.RpcError) as refused:
            small.WriteEvents(request, timeout=30)
        self.assertEqual(grpc.StatusCode.RESOURCE_EXHAUSTED, refused.exception.code())

    @effect_of("server.compress_answers_above")
    def test_longer_answers_are_compressed(self):
        def flag_of_answer(settings):
            """Of the answer to a client that accepts gzip."""
            daemon = self.start_daemon(settings, wait_serving=False)
            connection = raw_h2.Connection("127.0.0.1", daemon.port)
            self.addCleanup(connection.close)
            connection.sock.sendall(raw_h2.grpc_call(
                1, "/auditstore.v1.Admin/GetServerInfo", b"", ("grpc-accept-encoding", "gzip")))
            while True:
                kind, _, _, payload = connection.receive()
                if kind == raw_h2.DATA and payload:
                    return payload[0]
        self.assertEqual(0, flag_of_answer({}))
        self.assertEqual(1, flag_of_answer({"server.compress_answers_above": "1KiB"}))
        self.assertEqual(0, flag_of_answer({"server.compress_answers_above": "10MiB"}))

    @effect_of("server.write_timeout")
    def test_a_client_that_takes_nothing_is_cut_off(self):
        def ends_within(settings, seconds):
            daemon = self.start_daemon(settings)
            request = self.stubs.store.WriteEventsRequest(events=[
                events.make(self.stubs, event_data=json.dumps({"x": "y" * 200_000}))])
            self.open_stub(daemon).WriteEvents(request, timeout=30)
            connection = raw_h2.Connection("127.0.0.1", daemon.port)
            self.addCleanup(connection.close)
            page = self.stubs.store.ListEventsRequest(page_size=5).SerializeToString()
            connection.sock.sendall(raw_h2.grpc_call(
                1, "/auditstore.v1.AuditStore/ListEvents", page))
            # The stream's window is never widened: most of the answer can't be sent.
            end = time.monotonic() + seconds
            connection.sock.settimeout(seconds)
            try:
                while time.monotonic() < end:
                    got = connection.receive()
                    if got is None or got[0] in (raw_h2.RST_STREAM, raw_h2.GOAWAY):
                        return True
            except TimeoutError:
                pass
            return False
        self.assertTrue(ends_within({"server.write_timeout": "1s"}, 10))
        self.assertFalse(ends_within({}, 3))


class LogTest(harness.PostgresCase):
    @effect_of("log.level")
    def test_level_is_what_is_told(self):
        for level, seen in (("error", set()), ("warn", {"WARN"}), ("info", {"INFO", "WARN"}),
                            ("debug", {"INFO", "WARN", "DEBUG"})):
            daemon = self.start_daemon({"log.level": level, "database.conn_max_idle_time": "1s"})
            self.open_stub(daemon).ListEvents(self.stubs.store.ListEventsRequest(), timeout=30)
            if level == "debug":
                harness.wait_until(lambda daemon=daemon: "reason=idle_time" in daemon.log())
            self.assertEqual(seen, {line.split()[1] for line in daemon.log().splitlines()})

    @effect_of("log.format")
    def test_format_is_how_it_is_told(self):
        daemon = self.start_daemon({"log.format": "json"})
        told = [json.loads(line)["event"] for line in daemon.log().splitlines()]
        self.assertIn("db pool ready", told)
        lines = self.start_daemon().log().splitlines()
        self.assertTrue(any(re.search(r" listening address=\S+ port=\d+$", line) for line in lines))


class StopTest(harness.PostgresCase):
    @effect_of("shutdown.timeout")
    def test_a_stop_takes_so_long_at_most(self):
        def stops_within(timeout, seconds):
            daemon = self.start_daemon({"shutdown.timeout": timeout, "ingest.write_timeout": "1m",
                                 "database.lock_timeout": "1m"})
            with self.postgres.locked("audit_events"):
                request = self.stubs.store.WriteEventsRequest(events=[events.make(self.stubs)])
                call = self.open_stub(daemon).WriteEvents.future(request, timeout=60)
                harness.wait_until(lambda: daemon.metrics()["auditstore_pool_in_use"] > 0)
                daemon.signal(signal.SIGTERM)
                end = time.monotonic() + seconds
                harness.wait_until(lambda: daemon.process.poll() is not None
                                   or time.monotonic() > end, seconds + 10)
                code = daemon.process.poll()
            call.exception()
            daemon.wait()
            return code
        self.assertEqual(1, stops_within("1s", 10))
        self.assertIsNone(stops_within("1m", 3))


if __name__ == "__main__":
    unittest.main(verbosity=2)
