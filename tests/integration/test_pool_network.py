"""What the pool does when the network or the resolver misbehaves: through a proxy and a stand-in resolver."""

import os
import pathlib
import signal
import struct
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from support import events, harness, slow_store  # noqa: E402
from support.effects import effect_of  # noqa: E402
from support.proxy import Proxy  # noqa: E402

RESOLVER = harness.BUILD / "tests" / "libfake_resolver.so"


class ProxyCase(slow_store.PoolCase):
    def proxy(self, **options):
        proxy = Proxy(self.postgres.port, **options)
        self.addCleanup(proxy.close)
        return proxy

    def start_behind(self, proxy, settings=None):
        return self.start(settings, port=proxy.port)

    def livez_s(self, daemon):
        """How long /livez takes to answer."""
        start = time.monotonic()
        self.assertEqual(200, daemon.http_get("/livez")[0])
        return time.monotonic() - start


class BlackHoleTest(ProxyCase):
    def test_an_idle_connection_into_the_void_is_found_out_before_use(self):
        proxy = self.proxy()
        daemon = self.start_behind(proxy, {
            "database.validate_after_idle": "100ms", "database.ping_timeout": "300ms",
            "database.close_timeout": "300ms"})
        proxy.freeze()
        unused_from = time.monotonic()
        harness.wait_until(lambda: time.monotonic() > unused_from + 0.2)
        frozen = self.pool(daemon, "open")
        self.finish(self.lists(daemon, 3, timeout=20))
        harness.wait_until(lambda: self.closed(daemon, "ping_failed") == frozen)
        harness.wait_until(lambda: self.pool(daemon, "close_timeouts_total") == frozen)
        proxy.cut()  # the server learns that the lost one is gone

    def test_a_query_into_the_void_ends_at_its_deadline_and_harms_no_other(self):
        proxy = self.proxy()
        daemon = self.start_behind(proxy, {"query.timeout": "1s", "database.close_timeout": "300ms"})
        with self.closed_gate():
            lost = self.lists(daemon, 3)
            self.wait_count(daemon, 3)
            harness.wait_until(lambda: self.pool(daemon, "in_use") == 3)
            proxy.freeze()
        self.finish(self.lists(daemon, 10, timeout=20))
        self.assertEqual({grpc.StatusCode.DEADLINE_EXCEEDED},
                         {future.exception().code() for future in lost})
        self.assertEqual(3, self.closed(daemon, "deadline"))
        proxy.cut()

    @effect_of("database.connect_timeout")
    def test_a_dial_into_the_void_ends_at_connect_timeout(self):
        proxy = self.proxy()
        daemon = self.start_behind(proxy, {
            "database.connect_timeout": "300ms", "database.close_timeout": "300ms",
            "database.connect_backoff_max": "200ms"})
        proxy.hold_new = True
        proxy.cut()
        harness.wait_until(lambda: self.pool(daemon, 'open_failures_total{class="timeout"}') > 1)
        self.assertLess(self.livez_s(daemon), 2)
        self.assertEqual(grpc.StatusCode.UNAVAILABLE, self.lists(daemon, 1)[0].exception().code())
        proxy.unfreeze()
        harness.wait_until(lambda: daemon.http_get("/readyz")[0] == 200)
        self.finish(self.lists(daemon, 10))

    def test_a_stopped_postmaster_delays_dials_alone(self):
        daemon = self.start({"database.connect_timeout": "300ms", "database.close_timeout": "300ms",
                             "database.connect_backoff_max": "200ms"})
        postmaster = int((self.folder / "pg" / "data" / "postmaster.pid").read_text().split()[0])
        with self.closed_gate():
            os.kill(postmaster, signal.SIGSTOP)
            try:
                futures = self.lists(daemon, 3)
                harness.wait_until(
                    lambda: self.pool(daemon, 'open_failures_total{class="timeout"}') > 1)
                self.assertLess(self.livez_s(daemon), 2)
            finally:
                os.kill(postmaster, signal.SIGCONT)
        self.finish(futures)

    def test_the_servers_own_idle_timeout_is_told_once(self):
        proxy = self.proxy()
        daemon = self.start_behind(proxy)
        self.burst(daemon, 3)
        fields = b"SFATAL\0VFATAL\0C57P05\0Mterminating connection due to idle-session timeout\0\0"
        proxy.inject(b"E" + struct.pack("!i", len(fields) + 4) + fields)
        harness.wait_until(lambda: self.closed(daemon, "server_idle") == 3)
        self.assertEqual(1, daemon.log().count("server closes idle connections"))
        self.finish(self.lists(daemon, 10))


class BuffersTest(ProxyCase):
    def test_large_requests_and_answers_pass_small_buffers(self):
        proxy = self.proxy(buffer_bytes=16384)
        daemon = self.start_behind(proxy, {"ingest.lanes": 2, "query.timeout": "60s"})
        filler = '{"x":"' + "y" * 200_000 + '"}'
        requests = [self.stubs.store.WriteEventsRequest(
            events=[events.make(self.stubs, event_data=filler) for _ in range(15)]) for _ in range(6)]
        written = [daemon.stub.WriteEvents.future(request, timeout=120) for request in requests]
        self.finish(written)
        page = daemon.stub.ListEvents(self.stubs.store.ListEventsRequest(page_size=6), timeout=60)
        self.assertGreater(sum(len(stored.event.event_data) for stored in page.events), 1_000_000)
        self.assertEqual(0, self.closed(daemon, "deadline"))

    def test_large_answers_pass_tls_in_large_records(self):
        key, cert = self.folder / "proxy.key", self.folder / "proxy.crt"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                        "-keyout", key, "-out", cert], check=True, capture_output=True)
        proxy = self.proxy(tls=(cert, key))
        daemon = self.start({}, port=proxy.port, sslmode="require")
        filler = '{"x":"' + "y" * 200_000 + '"}'
        for _ in range(6):
            daemon.stub.WriteEvents(self.stubs.store.WriteEventsRequest(
                events=[events.make(self.stubs, event_data=filler)]), timeout=60)
        for _ in range(20):
            page = daemon.stub.ListEvents(self.stubs.store.ListEventsRequest(page_size=6), timeout=60)
            self.assertGreater(sum(len(stored.event.event_data) for stored in page.events), 1_000_000)


class HostsTest(ProxyCase):
    def test_the_first_host_that_answers_is_taken(self):
        proxy = self.proxy()
        port = self.postgres.port
        daemon = self.start({}, host=f"127.0.0.1:1,127.0.0.1:{port},127.0.0.1:{proxy.port}",
                            sslmode="prefer")
        self.burst(daemon, 3)
        self.assertEqual(0, proxy.accepted)

    def resolver(self, answer):
        path = self.folder / "resolver"
        path.write_text(answer + "\n")
        return path

    @effect_of("database.dns_refresh")
    def test_connections_follow_a_name_that_moves_and_a_slow_resolver_stops_nothing(self):
        old = self.proxy(host="127.0.0.2")
        new = self.proxy(host="127.0.0.3", port=old.port)
        answer = self.resolver("127.0.0.2")
        daemon = self.start({"database.dns_refresh": "200ms", "database.conn_max_idle_time": "off"},
                            host="db.test", port=old.port,
                            env={"LD_PRELOAD": str(RESOLVER), "FAKE_RESOLVER": str(answer),
                                 "ASAN_OPTIONS": "verify_asan_link_order=0"})
        self.burst(daemon, 3)
        self.assertGreaterEqual(old.accepted, 3)
        self.assertEqual(0, new.accepted)
        accepted = old.accepted
        self.resolver("127.0.0.3")
        harness.wait_until(lambda: self.closed(daemon, "address") >= 3)
        self.burst(daemon, 3)
        self.assertEqual(accepted, old.accepted)
        self.assertGreaterEqual(new.accepted, 3)
        self.resolver("hang")
        with self.closed_gate():
            futures = self.lists(daemon, 5)
            harness.wait_until(lambda: self.pool(daemon, "connecting") > 0)
            self.assertLess(max(self.livez_s(daemon) for _ in range(20)), 2)
            self.resolver("127.0.0.3")
        self.finish(futures)


if __name__ == "__main__":
    unittest.main(verbosity=2)
