"""What the settings of writing, reading and storage do: seen in replies, tables and metrics."""

import datetime
import json
import pathlib
import signal
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from support import events, harness, slow_store  # noqa: E402
from support.effects import effect_of  # noqa: E402


class StoreCase(harness.PostgresCase):
    def start(self, settings=None):
        daemon = self.start_daemon(settings)
        daemon.stub = self.open_stub(daemon)
        return daemon

    def request(self, count=1, **fields):
        return self.stubs.store.WriteEventsRequest(
            events=[events.make(self.stubs, n, **fields) for n in range(count)])

    def write(self, daemon, count=1, timeout=60, **fields):
        return daemon.stub.WriteEvents.future(self.request(count, **fields), timeout=timeout)

    def code_of(self, future):
        error = future.exception()
        return grpc.StatusCode.OK if error is None else error.code()

    def committed(self, daemon):
        return daemon.metrics()['auditstore_ingest_batches_total{result="committed"}']


class BatchTest(StoreCase):
    @effect_of("ingest.lanes")
    def test_each_lane_writes_a_ledger_of_its_own(self):
        def ledgers(lanes):
            self.postgres.sql("TRUNCATE audit_events, ledgers, ledger_batches, ledger_nodes")
            daemon = self.start({"ingest.lanes": lanes, "ingest.min_split_events": 1})
            for _ in range(10):
                self.assertEqual({grpc.StatusCode.OK},
                                 {self.code_of(f) for f in [self.write(daemon) for _ in range(30)]})
            return int(self.postgres.value("SELECT count(DISTINCT ledger_id) FROM audit_events"))
        self.assertEqual(1, ledgers(1))
        self.assertEqual(4, ledgers(4))

    def batches_of_queued(self, settings, **fields):
        """How many transactions 40 requests take that were queued behind a lock."""
        daemon = self.start({"ingest.lanes": 1, "ingest.write_timeout": "1m", **settings})
        before = self.committed(daemon)
        with self.postgres.locked("audit_events"):
            calls = [self.write(daemon, **fields)]
            harness.wait_until(lambda: daemon.metrics()["auditstore_pool_in_use"] == 1)
            calls += [self.write(daemon, **fields) for _ in range(40)]
            harness.wait_until(lambda: daemon.metrics()["auditstore_ingest_queue_events"] == 40)
        self.assertEqual({grpc.StatusCode.OK}, {self.code_of(call) for call in calls})
        return self.committed(daemon) - before

    @effect_of("ingest.max_batch_events")
    def test_a_transaction_takes_so_many_events_at_most(self):
        few, many = self.batches_of_queued({}), self.batches_of_queued({"ingest.max_batch_events": 4})
        self.assertGreaterEqual(many, 10)
        self.assertLess(few, many / 2)

    @effect_of("ingest.max_batch_bytes")
    def test_a_transaction_takes_so_many_bytes_at_most(self):
        data = json.dumps({"x": "y" * 1500})
        few = self.batches_of_queued({}, event_data=data)
        many = self.batches_of_queued({"ingest.max_batch_bytes": "4KiB"}, event_data=data)
        self.assertGreaterEqual(many, 15)
        self.assertLess(few, many / 2)

    @effect_of("ingest.min_split_events")
    def test_few_queued_events_are_not_split(self):
        def batches(least):
            daemon = self.start({"ingest.lanes": 4, "ingest.min_split_events": least})
            self.assertEqual(grpc.StatusCode.OK, self.code_of(self.write(daemon)))
            before = self.committed(daemon)
            for _ in range(5):
                # What is sent meanwhile is read in one turn of the loop.
                daemon.signal(signal.SIGSTOP)
                calls = [self.write(daemon) for _ in range(12)]
                sent = time.monotonic()
                harness.wait_until(lambda sent=sent: time.monotonic() > sent + 0.2)
                daemon.signal(signal.SIGCONT)
                self.assertEqual({grpc.StatusCode.OK}, {self.code_of(call) for call in calls})
            return self.committed(daemon) - before
        split, together = batches(1), batches(1000)
        self.assertGreater(split, together * 1.5)

    def refused_behind_lock(self, settings, **fields):
        daemon = self.start({"ingest.lanes": 1, **settings})
        with self.postgres.locked("audit_events"):
            calls = [self.write(daemon, timeout=3, **fields) for _ in range(20)]
            codes = [self.code_of(call) for call in calls]
        return codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED)

    @effect_of("ingest.max_queue_events")
    def test_so_many_events_may_wait(self):
        self.assertEqual(0, self.refused_behind_lock({}))
        self.assertGreaterEqual(self.refused_behind_lock(
            {"ingest.max_queue_events": 5, "ingest.max_request_events": 5}), 10)

    @effect_of("ingest.max_queue_bytes")
    def test_so_many_bytes_may_wait(self):
        data = json.dumps({"x": "y" * 20_000})
        self.assertEqual(0, self.refused_behind_lock({}, event_data=data))
        self.assertGreaterEqual(self.refused_behind_lock(
            {"ingest.max_queue_bytes": "64KiB", "server.max_message_bytes": "64KiB"},
            event_data=data), 10)


class RequestTest(StoreCase):
    @effect_of("ingest.max_request_events")
    def test_a_request_holds_so_many_events_at_most(self):
        self.assertEqual(grpc.StatusCode.OK, self.code_of(self.write(self.start(), 6)))
        few = self.start({"ingest.max_request_events": 5})
        self.assertEqual(grpc.StatusCode.OK, self.code_of(self.write(few, 5)))
        self.assertEqual(grpc.StatusCode.INVALID_ARGUMENT, self.code_of(self.write(few, 6)))

    @effect_of("ingest.max_event_data_bytes")
    def test_event_data_has_so_many_bytes_at_most(self):
        def data(size):
            return '{"x": "' + "y" * (size - 9) + '"}'
        default, small = self.start(), self.start({"ingest.max_event_data_bytes": "1KiB"})
        large = self.start({"ingest.max_event_data_bytes": "1MiB"})
        for daemon, limit in ((small, 1024), (default, 256 * 1024), (large, 1024 * 1024)):
            with self.subTest(limit=limit):
                self.assertIsNone(self.write(daemon, event_data=data(limit)).exception())
                error = self.write(daemon, event_data=data(limit + 1)).exception()
                self.assertEqual(grpc.StatusCode.INVALID_ARGUMENT, error.code())
                self.assertIn(f"events[0].event_data: has {limit + 1} bytes; at most {limit} are",
                              error.details())
        # A whole transaction of its own, above ingest.max_batch_bytes, and answers that clients take.
        events_of_it = large.stub.WriteEvents(self.request(3, event_data=data(1024 * 1024)), timeout=60)
        self.assertEqual(3, sum(receipt.count for receipt in events_of_it.receipts))
        page = large.stub.ListEvents(self.stubs.store.ListEventsRequest(page_size=1000), timeout=60)
        self.assertTrue(page.next_page_token)
        self.assertTrue(any(len(s.event.event_data) == 1024 * 1024 for s in page.events))
        found = large.stub.GetEvent(self.stubs.store.GetEventRequest(
            event_id=page.events[0].event.event_id), timeout=60)
        self.assertEqual(page.events[0], found.event)

    @effect_of("ingest.write_timeout")
    def test_a_write_without_a_deadline_ends_at_its_timeout(self):
        def took(timeout):
            daemon = self.start({"ingest.write_timeout": timeout})
            with self.postgres.locked("audit_events"):
                start = time.monotonic()
                self.assertNotEqual(grpc.StatusCode.OK, self.code_of(self.write(daemon, timeout=None)))
                return time.monotonic() - start
        self.assertLess(took("300ms"), 2.5)
        self.assertGreater(took("3s"), 2.5)

    def code_at(self, settings, **ago):
        event = events.make(self.stubs)
        when = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(**ago)
        event.event_time.FromDatetime(when.replace(tzinfo=None))
        request = self.stubs.store.WriteEventsRequest(events=[event])
        return self.code_of(self.start(settings).stub.WriteEvents.future(request, timeout=60))

    @effect_of("ingest.max_event_age")
    def test_older_events_are_refused(self):
        self.assertEqual(grpc.StatusCode.OK, self.code_at({}, hours=2))
        self.assertEqual(grpc.StatusCode.INVALID_ARGUMENT,
                         self.code_at({"ingest.max_event_age": "1h"}, hours=2))

    @effect_of("ingest.max_event_ahead")
    def test_events_further_ahead_are_refused(self):
        self.assertEqual(grpc.StatusCode.OK, self.code_at({}, minutes=-30))
        self.assertEqual(grpc.StatusCode.INVALID_ARGUMENT,
                         self.code_at({"ingest.max_event_ahead": "10m"}, minutes=-30))


class QueryTest(StoreCase):
    def page(self, settings, size):
        daemon = self.start(settings)
        self.assertEqual(grpc.StatusCode.OK, self.code_of(self.write(daemon, 5)))
        request = self.stubs.store.ListEventsRequest(page_size=size)
        return len(daemon.stub.ListEvents(request, timeout=30).events)

    @effect_of("query.default_page_size")
    def test_a_page_without_a_size_has_the_default(self):
        self.assertGreaterEqual(self.page({}, 0), 5)
        self.assertEqual(3, self.page({"query.default_page_size": 3}, 0))

    @effect_of("query.max_page_size")
    def test_a_page_is_no_larger_than_the_most(self):
        self.assertEqual(5, self.page({}, 5))
        self.assertEqual(2, self.page({"query.default_page_size": 2, "query.max_page_size": 2}, 5))


class QueryTimeTest(slow_store.PoolCase):
    @effect_of("query.timeout")
    def test_a_query_ends_at_its_timeout(self):
        quick, patient = self.start({"query.timeout": "200ms"}), self.start({})
        self.gate(seconds=1)
        error = self.lists(quick, 1)[0].exception()
        self.assertEqual(grpc.StatusCode.DEADLINE_EXCEEDED, error.code())
        self.finish(self.lists(patient, 1))


class StorageTest(StoreCase):
    def months(self):
        return {row[0] for row in self.postgres.sql(
            "SELECT relid::text FROM pg_partition_tree('audit_events') WHERE isleaf")}

    @effect_of("storage.partitions_ahead")
    def test_so_many_months_are_ready(self):
        self.start()
        few = len(self.months())
        self.start({"storage.partitions_ahead": 7})
        self.assertEqual(few + 4, len(self.months()))

    @effect_of("storage.partition_check_every")
    def test_missing_months_are_made_at_the_next_check(self):
        self.start({"storage.partition_check_every": "1s"})
        last = max(self.months())
        self.postgres.sql(f"DROP TABLE {last}")
        self.assertNotIn(last, self.months())
        harness.wait_until(lambda: last in self.months(), what=f"{last} is back")


class SeldomCheckedTest(StoreCase):
    @effect_of("storage.partition_check_every")
    def test_the_default_is_seldom(self):
        self.start()
        last = max(StorageTest.months(self))
        self.postgres.sql(f"DROP TABLE {last}")
        end = time.monotonic() + 3
        harness.wait_until(lambda: time.monotonic() > end)
        self.assertNotIn(last, StorageTest.months(self))


if __name__ == "__main__":
    unittest.main(verbosity=2)
