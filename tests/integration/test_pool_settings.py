"""How many connections: what the file says is what the server sees."""

import pathlib
import random
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness, slow_store  # noqa: E402
from support.effects import effect_of  # noqa: E402


class MaxOpenTest(slow_store.PoolCase):
    def most_under_load(self, daemon, limit, calls=60):
        """None of the calls ends before there are `limit` connections, however long dialling takes."""
        with self.watch(daemon) as seen:
            with self.closed_gate():
                futures = self.lists(daemon, calls)
                self.wait_count(daemon, limit)
            self.finish(futures)
        return seen.most

    @effect_of("database.max_open_conns")
    def test_the_server_sees_exactly_the_limit(self):
        for limit in (1, 2, 7, 25):
            with self.subTest(limit=limit):
                daemon = self.start({"database.max_open_conns": limit,
                                     "database.acquire_timeout": "1m"})
                self.gate(seconds=0.05)
                self.assertEqual(limit, self.most_under_load(daemon, limit))
                self.gate(seconds=0)

    def test_a_higher_limit_serves_sooner(self):
        took = {}
        for limit in (3, 9):
            daemon = self.start({"database.max_open_conns": limit, "database.max_idle_conns": limit,
                                 "database.min_idle_conns": limit})
            self.wait_count(daemon, limit)
            self.gate(seconds=0.2)
            start = time.monotonic()
            self.assertEqual(limit, self.most_under_load(daemon, limit, 36))
            took[limit] = time.monotonic() - start
            self.gate(seconds=0)
        self.assertLess(took[9] * 1.5, took[3])

    def test_camel_case_names_the_same_setting(self):
        daemon = self.start({"database.maxOpenConns": 4, "database.maxIdleConns": 2,
                             "database.acquireTimeout": "1m"})
        self.gate(seconds=0.05)
        self.assertEqual(4, self.most_under_load(daemon, 4, 30))
        self.gate(seconds=0)
        self.wait_count(daemon, 2)
        self.assertEqual(4, self.pool(daemon, "max_open"))

    def test_the_limit_holds_while_connections_come_and_go(self):
        daemon = self.start({"database.max_open_conns": 10, "database.conn_max_lifetime": "1s"})
        self.gate(seconds=0.02)
        rng = random.Random(7)
        start = time.monotonic()
        kills = 0
        with self.watch(daemon) as seen:
            while time.monotonic() < start + 8:
                futures = self.lists(daemon, 20)
                rng.choice(futures).cancel()
                # One makes all the others suspect: seldom enough for some to grow old.
                if time.monotonic() > start + 2.5 * kills:
                    kills += self.observer.kill(daemon.application, 1)
                for future in futures:
                    try:
                        future.exception()
                    except Exception:  # pylint: disable=broad-except
                        pass  # the cancelled one
            self.gate(seconds=0)
        self.assertEqual(10, seen.most)
        self.assertGreater(len(seen.ends), 30)
        self.assertEqual(0, self.pool(daemon, "close_timeouts_total"))
        for reason in ("lifetime", "server_shutdown"):
            self.assertGreater(self.closed(daemon, reason), 0, reason)


class MaxIdleTest(slow_store.PoolCase):
    @effect_of("database.max_idle_conns")
    def test_what_stayed_unused_for_the_delay_is_closed(self):
        daemon = self.start({"database.max_open_conns": 20, "database.max_idle_conns": 4})
        self.burst(daemon, 20)
        self.wait_count(daemon, 4, deadline_s=20)
        self.assertEqual(16, self.closed(daemon, "max_idle"))
        self.stays(daemon, 4, seconds=2.5)

    @effect_of("database.idle_shrink_delay")
    def test_a_longer_delay_keeps_them_longer_and_off_closes_at_once(self):
        slow = self.start({"database.max_open_conns": 20, "database.max_idle_conns": 4,
                           "database.idle_shrink_delay": "5m"})
        exact = self.start({"database.max_open_conns": 20, "database.max_idle_conns": 4,
                            "database.idle_shrink_delay": "off"})
        self.burst(slow, 20)
        self.burst(exact, 20)
        # Nothing waits for a timer: what comes back above the limit goes with the same turn.
        self.wait_count(exact, 4, deadline_s=20)
        self.assertEqual(16, self.closed(exact, "max_idle"))
        self.stays(slow, 20, seconds=1.5)

    def test_off_keeps_none(self):
        daemon = self.start({"database.max_idle_conns": "off"})
        self.burst(daemon, 3)
        self.wait_count(daemon, 0)
        self.assertEqual(0, self.pool(daemon, "max_idle"))

    def dials_of_bursts(self, delay):
        daemon = self.start({"database.max_open_conns": 25, "database.max_idle_conns": 5,
                             "database.idle_shrink_delay": delay})
        for _ in range(15):
            self.burst(daemon, 15)
        return self.pool(daemon, "opened_total"), self.closed(daemon, "max_idle")

    def test_bursts_do_not_dial_anew_each_time(self):
        opened, closed = self.dials_of_bursts("5s")
        self.assertLessEqual(opened, 16)
        self.assertEqual(0, closed)
        opened, closed = self.dials_of_bursts("off")
        self.assertGreater(opened, 100)
        self.assertGreater(closed, 100)

    def test_more_idle_than_open_is_clamped_and_said_once(self):
        daemon = self.start({"database.max_open_conns": 4, "database.max_idle_conns": 9})
        self.assertEqual(1, daemon.log().count("above max_open_conns: clamped to it"))
        self.assertEqual(4, self.pool(daemon, "max_idle"))
        self.assertIn("clamped from 9, ", self.ready_lines(daemon)[0]["max_idle_conns_source"])
        self.burst(daemon, 4)
        self.stays(daemon, 4, seconds=1.5)


class MinIdleTest(slow_store.PoolCase):
    @effect_of("database.min_idle_conns")
    def test_connections_are_ready_without_a_request(self):
        daemon = self.start({"database.min_idle_conns": 3, "database.max_idle_conns": 3})
        self.wait_count(daemon, 3)
        before = set(self.observer.backends(daemon.application)[3])
        self.assertEqual(3, self.observer.kill(daemon.application))

        def are_replaced():
            now = set(self.observer.backends(daemon.application)[3])
            return len(now) == 3 and not now & before
        harness.wait_until(are_replaced, what="three others")


class WarningsTest(slow_store.PoolCase):
    def test_an_idle_time_that_can_never_fire_is_named(self):
        daemon = self.start({"database.conn_max_lifetime": "5m",
                             "database.conn_max_idle_time": "10m"})
        self.assertIn("can never fire", daemon.log())
        self.assertIn(" WARN ", next(line for line in daemon.log().splitlines()
                                     if "can never fire" in line))

    def test_more_than_the_server_gives_is_named(self):
        daemon = self.start({"database.max_open_conns": 58})
        self.assertIn("above what the server allows", daemon.log())
        ready = self.ready_lines(daemon)[0]
        self.assertEqual(("60", "57", "0"),
                         (ready["server_max_connections"], ready["server_usable_connections"],
                          ready["daemons_that_fit"]))
        self.assertEqual(57, self.pool(daemon, "server_usable_connections"))
        fitting = self.start({"database.max_open_conns": 19})
        self.assertNotIn("above what the server allows", fitting.log())
        self.assertEqual("3", self.ready_lines(fitting)[0]["daemons_that_fit"])

    def test_a_misspelled_key_is_refused_and_the_right_one_named(self):
        path = self.folder / "misspelled.yaml"
        harness.write_config(path, {"database.max_open_con": 7})
        done = harness.run_daemon("--config", str(path))
        self.assertEqual(2, done.returncode)
        self.assertEqual(f"{path}:2: database.max_open_con: unknown key"
                         " (did you mean max_open_conns?)\n", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
