"""How often, how many at a time and how long the daemon tries to connect."""

import pathlib
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness, slow_store  # noqa: E402
from support.effects import effect_of  # noqa: E402
from support.fatal_server import FatalServer  # noqa: E402
from support.proxy import Proxy  # noqa: E402


class DialTest(slow_store.PoolCase):
    """How often, and how many at a time, the daemon tries."""

    def dials(self, sqlstate, settings, seconds):
        server = FatalServer(sqlstate)
        self.addCleanup(server.close)
        self.start(settings, wait_serving=False, port=server.port)
        end = time.monotonic() + seconds
        harness.wait_until(lambda: time.monotonic() > end and server.refused > 0, seconds + 30)
        return server.refused

    @effect_of("database.starting_backoff_max")
    def test_a_starting_server_is_asked_again_soon(self):
        slow = {"database.connect_backoff_min": "1m", "database.connect_backoff_max": "10m"}
        soon = self.dials("57P03", {**slow, "database.starting_backoff_max": "20ms"}, 2)
        late = self.dials("57P03", {**slow, "database.starting_backoff_max": "1m"}, 2)
        self.assertGreater(soon, 5 * late)

    @effect_of("database.refused_backoff_min")
    def test_a_refused_log_in_is_not_tried_again_soon(self):
        self.assertEqual(1, self.dials("28P01", {}, 2))
        self.assertGreater(self.dials("28P01", {"database.refused_backoff_min": "10ms"}, 2), 10)

    @effect_of("database.connect_backoff_min", "database.connect_backoff_max")
    def test_the_pauses_lie_within_their_bounds(self):
        def within(low, high, seconds):
            return self.dials("XX000", {"database.connect_backoff_min": low,
                                        "database.connect_backoff_max": high}, seconds)
        short = within("10ms", "20ms", 2)
        growing = within("10ms", "10m", 2)
        long = within("1m", "10m", 2)
        self.assertGreater(short, 2 * growing)
        self.assertGreater(growing, 2 * long)

    @effect_of("database.max_connecting")
    def test_so_many_dials_go_on_at_once(self):
        for most in (1, 2, 5):
            proxy = Proxy(self.postgres.port)
            self.addCleanup(proxy.close)
            daemon = self.start({"database.max_connecting": most, "database.connect_timeout": "20s",
                                 "database.acquire_timeout": "20s"}, port=proxy.port)
            proxy.hold_new = True
            with self.closed_gate():
                futures = self.lists(daemon, 12)
                harness.wait_until(lambda most=most: self.pool(daemon, "connecting") == most)
                end = time.monotonic() + 0.3
                harness.wait_until(lambda end=end: time.monotonic() > end)
                self.assertEqual(most, self.pool(daemon, "connecting"))
                proxy.unfreeze()
            self.finish(futures)

    @effect_of("database.connect_backoff_reset")
    def test_the_pauses_begin_anew_after_a_time_without_failure(self):
        after = {}
        for reset in ("10ms", "10m"):
            proxy = Proxy(self.postgres.port)
            self.addCleanup(proxy.close)
            daemon = self.start({"database.connect_backoff_reset": reset,
                                 "database.connect_backoff_min": "10ms",
                                 "database.connect_backoff_max": "2s",
                                 "database.validate_after_idle": "off"}, port=proxy.port)
            after[reset] = sum(self.pause_after_recovery(daemon, proxy) for _ in range(3))
        self.assertLess(after["10ms"] * 2, after["10m"])

    def pause_after_recovery(self, daemon, proxy):
        """An outage until the pauses have grown, a recovery, and the first pause of the next outage."""
        self.outage(proxy, True)
        failed = self.failures(daemon)
        harness.wait_until(lambda: self.failures(daemon) >= failed + 7)
        self.outage(proxy, False)
        harness.wait_until(lambda: self.pool(daemon, "open") > 0)
        stable_from = time.monotonic()
        harness.wait_until(lambda: time.monotonic() > stable_from + 0.1)
        failed = self.failures(daemon)
        self.outage(proxy, True)
        harness.wait_until(lambda: self.failures(daemon) > failed, every_s=0.002)
        first = time.monotonic()
        harness.wait_until(lambda: self.failures(daemon) > failed + 1, every_s=0.002)
        pause = time.monotonic() - first
        self.outage(proxy, False)
        harness.wait_until(lambda: self.pool(daemon, "open") > 0)
        return pause

    def failures(self, daemon):
        return sum(value for key, value in daemon.metrics().items()
                   if key.startswith("auditstore_pool_open_failures_total"))

    def outage(self, proxy, is_out):
        """While it lasts, the proxy leads to a port where nobody listens."""
        proxy.target_port = 1 if is_out else self.postgres.port
        if is_out:
            proxy.cut()


class OutageTest(slow_store.PoolCase):
    @effect_of("database.fail_fast_after")
    def test_requests_fail_at_once_after_so_long_or_wait(self):
        proxy = Proxy(self.postgres.port)
        self.addCleanup(proxy.close)
        took = {}
        daemons = {value: self.start({"database.fail_fast_after": value,
                                      "database.acquire_timeout": "3s"}, port=proxy.port)
                   for value in ("100ms", "off")}
        proxy.target_port = 1
        proxy.cut()
        for value, daemon in daemons.items():
            harness.wait_until(lambda daemon=daemon: self.pool(daemon, 'state{state="down"}') == 1)
        down_from = time.monotonic()
        harness.wait_until(lambda: time.monotonic() > down_from + 0.3)
        for value, daemon in daemons.items():
            start = time.monotonic()
            self.assertIsNotNone(self.lists(daemon, 1)[0].exception())
            took[value] = time.monotonic() - start
        self.assertLess(took["100ms"], 1.5)
        self.assertGreater(took["off"], 2.9)


if __name__ == "__main__":
    unittest.main(verbosity=2)
