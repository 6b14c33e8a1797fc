"""How long connections live: by the server's clock."""

import pathlib
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness, slow_store  # noqa: E402
from support.effects import effect_of  # noqa: E402


class LifetimeTest(slow_store.PoolCase):
    def trickle(self, daemon, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.finish(self.lists(daemon, 1))

    @effect_of("database.conn_max_lifetime")
    def test_a_connection_is_replaced_at_its_lifetime(self):
        daemon = self.start({"database.conn_max_lifetime": "1s",
                             "database.conn_lifetime_jitter": "off"})
        with self.watch(daemon) as seen:
            self.trickle(daemon, 5)
        self.assertGreaterEqual(len(seen.ends), 4)
        self.assertLessEqual(len(seen.ends), 8)
        self.assertLess(seen.oldest, 2)
        self.assertGreaterEqual(self.closed(daemon, "lifetime"), 3)

    def test_it_is_replaced_when_it_is_never_idle(self):
        daemon = self.start({"database.conn_max_lifetime": "1s", "database.max_open_conns": 2})
        self.gate(seconds=0.05)
        with self.watch(daemon) as seen:
            end = time.monotonic() + 5
            running = self.lists(daemon, 8)
            while time.monotonic() < end:
                running = [*running[1:], *self.lists(daemon, 1)]
                running[0].result()
            self.finish(running)
        self.assertEqual(2, seen.most)
        self.assertGreaterEqual(len(seen.ends), 6)
        self.assertLess(seen.oldest, 2)

    def ends_of_twenty(self, jitter):
        """How far apart the ends of 20 connections lie that were opened together."""
        daemon = self.start({"database.max_open_conns": 20, "database.max_idle_conns": 20,
                             "database.conn_max_lifetime": "3s",
                             "database.conn_lifetime_jitter": jitter})
        with self.watch(daemon) as seen:
            self.burst(daemon, 20)
            self.wait_count(daemon, 0)
        self.assertLess(seen.oldest, 4.5)
        last = sorted(seen.ends.values())[-20:]
        return last[-1] - last[0]

    @effect_of("database.conn_lifetime_jitter")
    def test_jitter_spreads_the_ends(self):
        self.assertLess(self.ends_of_twenty("off") * 1.5, self.ends_of_twenty("50%"))

    def test_connections_kept_ready_are_replaced_few_at_a_time(self):
        daemon = self.start({"database.max_open_conns": 22, "database.max_idle_conns": 20,
                             "database.min_idle_conns": 20, "database.conn_max_lifetime": "3s",
                             "database.conn_lifetime_jitter": "30%"})
        harness.wait_until(lambda: self.observer.count(daemon.application) >= 20)
        with self.watch(daemon) as seen:
            end = time.monotonic() + 5
            harness.wait_until(lambda: time.monotonic() > end)
        self.assertGreaterEqual(seen.least, 18)
        self.assertLessEqual(seen.most, 22)
        self.assertGreaterEqual(len(seen.ends), 40)

    def test_without_idle_time_lifetime_works_alone(self):
        daemon = self.start({"database.conn_max_idle_time": "off",
                             "database.conn_max_lifetime": "1s"})
        self.burst(daemon, 5)
        self.wait_count(daemon, 0)
        self.assertEqual(5, self.closed(daemon, "lifetime"))
        self.assertEqual(float("inf"), self.pool(daemon, "conn_max_idle_time_seconds"))


class IdleTimeTest(slow_store.PoolCase):
    def test_without_lifetime_idle_time_works_alone(self):
        daemon = self.start({"database.conn_max_idle_time": "1s",
                             "database.conn_max_lifetime": "off"})
        self.burst(daemon, 5)
        self.wait_count(daemon, 0)
        self.assertEqual(5, self.closed(daemon, "idle_time"))
        self.assertEqual(float("inf"), self.pool(daemon, "conn_max_lifetime_seconds"))

    @effect_of("database.conn_max_idle_time")
    def test_unused_ones_go_and_a_used_one_stays(self):
        daemon = self.start({"database.max_idle_conns": 10, "database.conn_max_idle_time": "2s"})
        self.burst(daemon, 8)
        start = time.monotonic()
        while self.observer.count(daemon.application) > 1:
            self.finish(self.lists(daemon, 1))
            self.assertLess(time.monotonic() - start, 30)
        self.assertGreater(time.monotonic() - start, 1.9)
        self.assertEqual(7, self.closed(daemon, "idle_time"))
        self.assertEqual(8, self.pool(daemon, "opened_total"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
