"""Calls that are given up, and a daemon that stops, amid load: what the server sees."""

import pathlib
import random
import signal
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from support import events, harness, slow_store  # noqa: E402


class CancelTest(slow_store.PoolCase):
    def test_many_cancels_stay_below_the_limit_and_end_nobody_elses_query(self):
        daemon = self.start({"database.max_open_conns": 5, "database.max_idle_conns": 5,
                             "database.acquire_timeout": "60s", "database.statement_timeout": "60s",
                             "database.client_check_interval": "100ms", "query.timeout": "60s"})
        self.gate(seconds=0.05)
        innocent = []
        is_over = threading.Event()

        def ask():
            while not is_over.is_set():
                innocent.append(self.lists(daemon, 1)[0].exception())
        workers = [threading.Thread(target=ask) for _ in range(4)]
        rng = random.Random(11)
        with self.watch(daemon) as seen:
            for worker in workers:
                worker.start()
            given_up = 0
            end = time.monotonic() + 5
            while time.monotonic() < end:
                futures = self.lists(daemon, 10)
                at = time.monotonic() + rng.random() * 0.05
                harness.wait_until(lambda at=at: time.monotonic() > at, every_s=0.002)
                given_up += sum(future.cancel() for future in futures)
            is_over.set()
            for worker in workers:
                worker.join()
        self.assertEqual(5, seen.most)
        self.assertGreater(given_up, 200)
        self.assertGreater(len(innocent), 20)
        self.assertEqual([], [error for error in innocent if error])
        self.assertGreater(daemon.metrics()["auditstore_queries_abandoned_total"], 10)
        self.assertEqual(0, self.pool(daemon, "close_timeouts_total"))


class StopTest(slow_store.PoolCase):
    def test_a_stop_amid_load_flushes_what_was_taken_and_leaves_no_connection(self):
        daemon = self.start({"database.max_open_conns": 8, "ingest.lanes": 2,
                             "shutdown.timeout": "20s"})
        before = int(self.observer.rows("SELECT count(*) FROM audit_events")[0][0])
        acknowledged = 0
        is_stopping = False
        futures = []
        with self.watch(daemon) as seen:
            for round_ in range(30):
                for _ in range(10):
                    request = self.stubs.store.WriteEventsRequest(
                        events=[events.make(self.stubs, n) for n in range(20)])
                    futures.append(daemon.stub.WriteEvents.future(request, timeout=60))
                futures.extend(self.lists(daemon, 5))
                if round_ == 15:
                    daemon.signal(signal.SIGTERM)
                    is_stopping = True
            self.assertTrue(is_stopping)
            self.assertEqual(0, daemon.wait())
        for future in futures:
            error = future.exception()
            if error is None:
                acknowledged += len(getattr(future.result(), "receipts", ())) and 20
            else:
                self.assertEqual(grpc.StatusCode.UNAVAILABLE, error.code(), error.details())
        self.assertLessEqual(seen.most, 8)
        self.wait_count(daemon, 0)
        after = int(self.observer.rows("SELECT count(*) FROM audit_events")[0][0])
        self.assertGreater(acknowledged, 0)
        # Superuser's count isn't gated. What was stored and not acknowledged was cut off by the stop.
        self.assertGreaterEqual(after - before, acknowledged)


if __name__ == "__main__":
    unittest.main(verbosity=2)
