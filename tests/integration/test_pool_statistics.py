"""What the pool counts: waits, refusals, their order and their texts."""

import collections
import pathlib
import re
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from support import harness, slow_store  # noqa: E402
from support.effects import effect_of  # noqa: E402


class WaitsTest(slow_store.PoolCase):
    def test_waits_add_up(self):
        daemon = self.start({"database.max_open_conns": 2, "database.max_idle_conns": 2,
                             "database.min_idle_conns": 2})
        self.wait_count(daemon, 2)
        self.gate(seconds=0.4)
        before = daemon.metrics()
        futures = self.lists(daemon, 10)
        harness.wait_until(lambda: self.pool(daemon, "waiters") == 8, what="8 waiters")
        self.finish(futures)
        after = daemon.metrics()

        def grown(name):
            return after["auditstore_pool_" + name] - before["auditstore_pool_" + name]
        self.assertEqual(8, grown("waits_total"))
        # Two at a time: 0.4 s twice, 0.8 s twice, 1.2 s twice, 1.6 s twice.
        self.assertGreater(grown("wait_seconds_total"), 8.0 * 0.9)
        self.assertLess(grown("wait_seconds_total"), 8.0 * 1.6)
        self.assertEqual(10, grown("acquire_seconds_count"))
        self.assertEqual(10, grown("hold_seconds_count"))
        self.assertEqual(10, grown('acquires_total{result="ok"}'))
        self.assertAlmostEqual(grown("wait_seconds_total"), grown("acquire_seconds_sum"), delta=0.1)

    @effect_of("database.acquire_timeout")
    def test_a_timeout_tells_what_the_pool_was_doing(self):
        daemon = self.start({"database.max_open_conns": 1, "database.acquire_timeout": "300ms"})
        with self.closed_gate():
            holder = self.lists(daemon, 1)
            harness.wait_until(lambda: self.pool(daemon, "in_use") == 1)
            start = time.monotonic()
            refused = [future.exception() for future in self.lists(daemon, 5)]
            took = time.monotonic() - start
        self.finish(holder)
        self.assertGreaterEqual(took, 0.3)
        self.assertLess(took, 4)
        for error in refused:
            self.assertEqual(grpc.StatusCode.RESOURCE_EXHAUSTED, error.code())
        # Details are the operator's business, once for all of them.
        self.assertEqual(1, daemon.log().count("no connection in time"))
        line = next(line for line in daemon.log().splitlines() if "no connection in time" in line)
        self.assertRegex(line, r"WARN +no connection in time holder=\w+ seconds=0\.3\d* "
                         r'pool="open 1 of 1, in use 1 \(the longest by \w+, for 0\.\d s\), '
                         r'idle 0, connecting 0, closing 0, waiting 5"')
        self.assertEqual(5, self.pool(daemon, 'acquires_total{result="timeout"}'))
        self.finish(self.lists(daemon, 3))
        self.assertEqual(1, self.pool(daemon, "opened_total"))

    @effect_of("database.max_waiters")
    def test_a_full_queue_refuses_at_once(self):
        daemon = self.start({"database.max_open_conns": 1, "database.max_waiters": 10})
        with self.closed_gate():
            futures = self.lists(daemon, 30)
            harness.wait_until(lambda: sum(future.done() for future in futures) == 19)
            self.assertEqual(10, self.pool(daemon, "waiters"))
            self.assertEqual(1, self.pool(daemon, "in_use"))
        done = collections.Counter(
            grpc.StatusCode.OK if error is None else error.code()
            for error in (future.exception() for future in futures))
        self.assertEqual({grpc.StatusCode.OK: 11, grpc.StatusCode.RESOURCE_EXHAUSTED: 19}, done)
        self.assertEqual(19, self.pool(daemon, 'acquires_total{result="queue_full"}'))

    def ordered(self, daemon, count, cancel=()):
        """The order in which queries end that were asked one after the other."""
        order = []
        futures = []
        with self.closed_gate():
            for number in range(count):
                future = self.lists(daemon, 1)[0]
                future.add_done_callback(lambda _, number=number: order.append(number))
                futures.append(future)
                harness.wait_until(lambda: self.pool(daemon, "waiters") + self.pool(daemon, "in_use")
                                   == len(futures))
            for number in cancel:
                futures[number].cancel()
            harness.wait_until(lambda: self.pool(daemon, "waiters") == count - 1 - len(cancel))
        harness.wait_until(lambda: len(order) == count)
        return [number for number in order if number not in cancel]

    def test_the_first_to_ask_is_the_first_served(self):
        daemon = self.start({"database.max_open_conns": 1})
        self.assertEqual(list(range(12)), self.ordered(daemon, 12))

    def test_a_waiter_that_gives_up_costs_nobody_his_place(self):
        daemon = self.start({"database.max_open_conns": 1})
        self.assertEqual([0, 1, 2, 4, 5], self.ordered(daemon, 6, cancel=[3]))
        self.assertEqual(1, self.pool(daemon, 'acquires_total{result="canceled"}'))
        self.assertEqual(1, self.pool(daemon, "opened_total"))

    def test_nobody_starves(self):
        daemon = self.start({"database.max_open_conns": 5, "database.max_idle_conns": 5})
        self.gate(seconds=0.02)
        served = collections.Counter()
        end = time.monotonic() + 5

        def ask(worker):
            while time.monotonic() < end:
                self.finish(self.lists(daemon, 1))
                served[worker] += 1
        workers = [threading.Thread(target=ask, args=(n,)) for n in range(40)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        mean = sum(served.values()) / 40
        self.assertGreater(mean, 5)
        self.assertGreaterEqual(min(served.values()), mean * 0.5)
        self.assertLessEqual(max(served.values()), mean * 1.5)

    @effect_of("database.leak_warn_after", "database.slow_acquire_after")
    def test_a_connection_in_use_for_long_is_named(self):
        daemon = self.start({"database.leak_warn_after": "300ms", "database.max_open_conns": 2,
                             "database.slow_acquire_after": "100ms"})
        named = "connection in use for long holder=ListEvents"
        with self.closed_gate():
            futures = self.lists(daemon, 3)
            harness.wait_until(lambda: daemon.log().count(named) == 2)
            # Three times the setting: each is named once.
            harness.wait_until(lambda: self.pool(daemon, "oldest_in_use_seconds") > 0.9)
            self.assertEqual(2, daemon.log().count(named))
            self.assertGreater(self.pool(daemon, "oldest_wait_seconds"), 0.1)
        self.finish(futures)
        line = next(line for line in daemon.log().splitlines() if named in line)
        self.assertIn(" WARN ", line)
        self.assertGreaterEqual(float(re.search(r"seconds=([\d.]+)", line).group(1)), 0.3)
        harness.wait_until(lambda: "slow wait for a connection" in daemon.log())
        self.assertEqual(0, self.pool(daemon, "oldest_in_use_seconds"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
