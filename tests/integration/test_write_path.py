"""Streams and calls at their limits: a full queue, a peer that doesn't read, a cancelled call."""

import pathlib
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from support import events, harness, ledgers  # noqa: E402

BATCHES = 300


class WritePathTest(harness.StoreCase):
    settings = {"ingest.max_request_events": "8", "ingest.max_queue_events": "8",
                "ingest.max_batch_events": "8", "ingest.min_split_events": "1",
                "server.stream_window_bytes": "64KiB"}

    def count(self, correlation_id):
        return int(self.postgres.value(
            f"SELECT count(*) FROM audit_events WHERE correlation_id = '{correlation_id}'"))

    def batches(self, correlation_id, count=BATCHES, **fields):
        for i in range(count):
            yield self.stubs.store.StreamEventsRequest(batch_id=f"{i:04}", events=[
                events.make(self.stubs, number=i, correlation_id=correlation_id, **fields)
                for _ in range(3)])

    def lock_ledgers(self):
        """Holds up every write of the daemon for a while; the returned function waits for the end."""
        thread = threading.Thread(target=self.postgres.sql, args=(
            "DO $$ BEGIN PERFORM 1 FROM ledgers FOR UPDATE; PERFORM pg_sleep(1.5); END $$",))
        thread.start()
        harness.wait_until(lambda: self.postgres.value(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") != "0",
            what="the lock")
        return thread.join

    def open_ledgers(self):
        for i in range(4):
            self.stub.WriteEvents(self.stubs.store.WriteEventsRequest(
                events=[events.make(self.stubs, correlation_id="open")]), timeout=30)

    def test_a_stream_goes_on_where_a_full_queue_stopped_it(self):
        acks = list(self.stub.StreamEvents(self.batches("queue"), timeout=60))
        self.assertEqual(sorted(a.batch_id for a in acks), [f"{i:04}" for i in range(BATCHES)])
        self.assertEqual({a.status.code for a in acks}, {0})
        self.assertEqual(self.count("queue"), 3 * BATCHES)
        for ledger in {r.ledger_id for a in acks for r in a.receipts}:
            numbers = [int(row[0]) for row in self.postgres.sql(
                "SELECT event_data->>'number' FROM audit_events WHERE correlation_id = 'queue'"
                f" AND ledger_id = {ledger} ORDER BY sequence")]
            self.assertEqual(numbers, sorted(numbers))

    def test_many_streams_share_a_small_queue(self):
        results = []

        def run(number):
            acks = self.stub.StreamEvents(self.batches(f"share-{number}", 60), timeout=60)
            results.append([ack.status.code for ack in acks])

        threads = [threading.Thread(target=run, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(results, [[0] * 60] * 6)
        ledgers.check(self, self.postgres)

    def test_a_unary_call_on_a_full_queue_is_refused_with_a_delay(self):
        self.open_ledgers()
        join = self.lock_ledgers()
        store = self.stubs.store
        calls = [self.stub.WriteEvents.future(
            store.WriteEventsRequest(events=[events.make(self.stubs) for _ in range(4)]),
            timeout=30) for _ in range(12)]
        codes = []
        delays = 0
        for call in calls:
            error = call.exception(timeout=30)
            codes.append(error.code() if error else grpc.StatusCode.OK)
            if error:
                delays += len(harness.status_details(error, self.stubs.details.RetryInfo))
        join()
        self.assertIn(grpc.StatusCode.OK, codes)
        refused = codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertGreater(refused, 0)
        self.assertEqual(refused + codes.count(grpc.StatusCode.OK), 12)
        self.assertEqual(delays, refused)

    def test_a_reader_that_stops_reading_still_gets_every_answer(self):
        # Each batch is refused with many violations, so the answers outgrow what is kept for a peer.
        store = self.stubs.store
        bad = [self.stubs.event.AuditEvent() for _ in range(8)]
        requests = (store.StreamEventsRequest(batch_id=str(i), events=bad) for i in range(2000))
        stream = self.stub.StreamEvents(requests, timeout=120)
        first = next(stream)
        self.assertEqual(first.status.code, 3)
        # Another call is served while this one's answers wait.
        self.stub.WriteEvents(store.WriteEventsRequest(
            events=[events.make(self.stubs, correlation_id="meanwhile")]), timeout=30)
        rest = list(stream)
        self.assertEqual([first.batch_id] + [a.batch_id for a in rest],
                         [str(i) for i in range(2000)])

    def test_a_cancelled_stream_leaves_the_daemon_well(self):
        stream = self.stub.StreamEvents(self.batches("cancel", 3000), timeout=60)
        seen = {next(stream).batch_id for _ in range(20)}
        stream.cancel()
        self.assertEqual(len(seen), 20)
        stored = self.postgres.sql(
            "SELECT DISTINCT event_data->>'number' FROM audit_events"
            " WHERE correlation_id = 'cancel'")
        self.assertLessEqual({int(s) for s in seen}, {int(row[0]) for row in stored})
        acks = list(self.stub.StreamEvents(self.batches("after", 10), timeout=30))
        self.assertEqual(len(acks), 10)
        ledgers.check(self, self.postgres)

    def test_receipts_ids_and_rejections_line_up(self):
        store = self.stubs.store
        known = events.make(self.stubs, event_id=events.new_id())
        self.stub.WriteEvents(store.WriteEventsRequest(events=[known]), timeout=30)
        other = self.stubs.event.AuditEvent()
        other.CopyFrom(known)
        other.event_action = "other"
        broken = events.make(self.stubs, event_id=events.new_id(), event_type="")
        batch = [events.make(self.stubs), broken, self.stubs.event.AuditEvent(), known, other,
                 events.make(self.stubs), events.make(self.stubs)]
        reply = self.stub.WriteEvents(store.WriteEventsRequest(
            events=batch, mode=store.WRITE_MODE_PARTIAL), timeout=30)
        self.assertEqual([(r.first_index, r.count, r.duplicate) for r in reply.receipts],
                         [(0, 1, False), (3, 1, True), (5, 2, False)])
        self.assertEqual([(r.index, r.status.code) for r in reply.rejected],
                         [(1, 3), (2, 3), (4, 6)])
        self.assertEqual(len(reply.event_ids), 7)
        self.assertEqual(reply.event_ids[1], broken.event_id)
        self.assertEqual(reply.event_ids[2], "")
        self.assertEqual(reply.event_ids[3], known.event_id)
        for receipt in reply.receipts:
            for i in range(receipt.count):
                self.assertEqual(self.postgres.value(
                    f"SELECT event_id FROM audit_events WHERE ledger_id = {receipt.ledger_id}"
                    f" AND sequence = {receipt.first_sequence + i}"),
                    reply.event_ids[receipt.first_index + i])

    def test_a_receipt_doesnt_reach_over_a_rejected_event(self):
        store = self.stubs.store
        batch = [events.make(self.stubs), self.stubs.event.AuditEvent(), events.make(self.stubs)]
        reply = self.stub.WriteEvents(store.WriteEventsRequest(
            events=batch, mode=store.WRITE_MODE_PARTIAL), timeout=30)
        self.assertEqual([(r.first_index, r.count) for r in reply.receipts], [(0, 1), (2, 1)])

    def test_partial_with_nothing_good_is_ok_and_empty(self):
        store = self.stubs.store
        reply = self.stub.WriteEvents(store.WriteEventsRequest(
            events=[self.stubs.event.AuditEvent()] * 2, mode=store.WRITE_MODE_PARTIAL), timeout=30)
        self.assertEqual(len(reply.receipts), 0)
        self.assertEqual([r.index for r in reply.rejected], [0, 1])
        self.assertEqual(len(reply.event_ids), 0)

    def test_the_request_itself_is_checked(self):
        store = self.stubs.store
        good = events.make(self.stubs)
        for request, field in ((store.WriteEventsRequest(), "events"),
                               (store.WriteEventsRequest(events=[good] * 9), "events"),
                               (store.WriteEventsRequest(events=[good], mode=9), "mode")):
            with self.subTest(field=field), self.assertRaises(grpc.RpcError) as caught:
                self.stub.WriteEvents(request, timeout=30)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
            (bad,) = harness.status_details(caught.exception, self.stubs.details.BadRequest)
            self.assertEqual([v.field for v in bad.field_violations], [field])
        requests = [store.StreamEventsRequest(batch_id="x" * 129, events=[good]),
                    store.StreamEventsRequest(batch_id="y" * 128, events=[good])]
        acks = {a.batch_id: a.status for a in self.stub.StreamEvents(iter(requests), timeout=30)}
        self.assertEqual(acks[""].code, 3)
        self.assertEqual(acks["y" * 128].code, 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
