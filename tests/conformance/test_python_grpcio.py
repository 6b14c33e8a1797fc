"""Python's grpcio, with code generated from proto/, writes, streams, reads and lists."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from support import events, harness  # noqa: E402


class PythonClientTest(harness.StoreCase):
    settings = {"server.max_message_bytes": "64KiB"}

    def write(self, *batch, mode="WRITE_MODE_ATOMIC", timeout=30):
        store = self.stubs.store
        return self.stub.WriteEvents(
            store.WriteEventsRequest(events=batch, mode=store.WriteMode.Value(mode)),
            timeout=timeout)

    def refusal(self, call):
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        return caught.exception

    def fields_of(self, error):
        return [violation.field
                for detail in harness.status_details(error, self.stubs.details.BadRequest)
                for violation in detail.field_violations]

    def count(self, correlation_id):
        return int(self.postgres.value(
            f"SELECT count(*) FROM audit_events WHERE correlation_id = '{correlation_id}'"))

    def test_written_events_are_in_postgresql_and_come_back_byte_for_byte(self):
        data = '{"b": 1,  "a": 12345678901234567890, "t": "\u00e9 \\u00e9"}'
        event = events.make(
            self.stubs, event_id=events.new_id(), correlation_id="roundtrip", event_data=data,
            actor=self.stubs.event.Actor(type="user", id="alice", ip="2001:DB8::0:1"),
            resource=self.stubs.event.Resource(type="t", id="i", name="n", namespace="ns",
                                               cluster="c"),
            error=self.stubs.event.EventError(code="E1", message="broken"),
            severity=self.stubs.event.SEVERITY_ERROR, retention_days=30, sensitive=True,
            trace_id="4BF92F3577B34DA6A3CE929D0E0E4736", span_id="00F067AA0BA902B7",
            parent_event_id=events.new_id().upper())
        event.duration.FromMicroseconds(1500000)
        reply = self.write(event)
        self.assertEqual(list(reply.event_ids), [])
        self.assertEqual([(r.first_index, r.count, r.duplicate) for r in reply.receipts],
                         [(0, 1, False)])
        self.assertEqual(self.count("roundtrip"), 1)
        got = self.stub.GetEvent(
            self.stubs.store.GetEventRequest(event_id=event.event_id), timeout=30).event
        expected = self.stubs.event.AuditEvent()
        expected.CopyFrom(event)
        expected.actor.ip = "2001:db8::1"
        expected.trace_id = event.trace_id.lower()
        expected.span_id = event.span_id.lower()
        expected.parent_event_id = event.parent_event_id.lower()
        self.assertEqual(got.event, expected)
        self.assertEqual(got.sequence, reply.receipts[0].first_sequence)
        self.assertEqual(got.ledger_id, reply.receipts[0].ledger_id)

    def test_an_event_without_id_gets_a_version_7(self):
        reply = self.write(events.make(self.stubs))
        self.assertEqual(len(reply.event_ids), 1)
        self.assertEqual(reply.event_ids[0][14], "7")
        self.stub.GetEvent(self.stubs.store.GetEventRequest(event_id=reply.event_ids[0]),
                           timeout=30)

    def test_atomic_refuses_all_and_names_each_field(self):
        good = events.make(self.stubs, correlation_id="atomic")
        bad = events.make(self.stubs, correlation_id="atomic", event_type="", event_data="[1]",
                          actor=self.stubs.event.Actor(ip="nowhere"))
        error = self.refusal(lambda: self.write(good, bad))
        self.assertEqual(error.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertEqual(sorted(self.fields_of(error)),
                         ["events[1].actor.ip", "events[1].event_data", "events[1].event_type"])
        self.assertEqual(self.count("atomic"), 0)

    def test_partial_stores_the_good_ones_and_reports_the_bad(self):
        batch = [events.make(self.stubs, number=i, correlation_id="partial") for i in range(4)]
        batch[2].event_action = "x" * 256
        reply = self.write(*batch, mode="WRITE_MODE_PARTIAL")
        self.assertEqual([r.index for r in reply.rejected], [2])
        self.assertEqual(reply.rejected[0].status.code, 3)
        details = harness.details_of(reply.rejected[0].status, self.stubs.details.BadRequest)
        self.assertEqual(details[0].field_violations[0].field, "events[2].event_action")
        self.assertEqual(sum(r.count for r in reply.receipts), 3)
        self.assertEqual(self.count("partial"), 3)

    def test_the_same_event_again_is_a_duplicate_and_other_content_is_refused(self):
        event = events.make(self.stubs, event_id=events.new_id(), correlation_id="again")
        first = self.write(event).receipts[0]
        second = self.write(event).receipts[0]
        self.assertTrue(second.duplicate)
        self.assertEqual((second.ledger_id, second.first_sequence),
                         (first.ledger_id, first.first_sequence))
        event.event_action = "other"
        error = self.refusal(lambda: self.write(event))
        self.assertEqual(error.code(), grpc.StatusCode.ALREADY_EXISTS)
        resource = harness.status_details(error, self.stubs.details.ResourceInfo)[0]
        self.assertEqual(resource.resource_name, event.event_id)
        self.assertEqual(self.count("again"), 1)

    def test_streamed_batches_are_acknowledged_in_order_of_sequence(self):
        store = self.stubs.store

        def batches():
            for i in range(50):
                yield store.StreamEventsRequest(batch_id=f"b{i}", events=[
                    events.make(self.stubs, number=n, correlation_id=f"stream-{i:02}")
                    for n in range(10)])

        acks = {ack.batch_id: ack for ack in self.stub.StreamEvents(batches(), timeout=60)}
        self.assertEqual(len(acks), 50)
        self.assertEqual({ack.status.code for ack in acks.values()}, {0})
        rows = self.postgres.sql(
            "SELECT correlation_id, (event_data->>'number')::int FROM audit_events"
            " WHERE correlation_id LIKE 'stream-%' ORDER BY received_at, ledger_id, sequence")
        self.assertEqual(len(rows), 500)
        for ledger in {r.ledger_id for ack in acks.values() for r in ack.receipts}:
            inside = self.postgres.sql(
                "SELECT correlation_id, event_data->>'number' FROM audit_events WHERE correlation_id"
                f" LIKE 'stream-%' AND ledger_id = {ledger} ORDER BY sequence")
            self.assertEqual(inside, sorted(inside))

    def test_a_bad_batch_is_refused_in_its_answer_and_the_stream_goes_on(self):
        store = self.stubs.store
        good = events.make(self.stubs, correlation_id="mixed")
        requests = [store.StreamEventsRequest(batch_id="1", events=[good]),
                    store.StreamEventsRequest(batch_id="2", events=[self.stubs.event.AuditEvent()]),
                    store.StreamEventsRequest(batch_id="3"),
                    store.StreamEventsRequest(batch_id="4", events=[
                        events.make(self.stubs, correlation_id="mixed")])]
        acks = {a.batch_id: a.status.code for a in self.stub.StreamEvents(iter(requests), timeout=60)}
        self.assertEqual(acks, {"1": 0, "2": 3, "3": 3, "4": 0})
        self.assertEqual(self.count("mixed"), 2)

    def test_an_empty_stream_ends_ok(self):
        self.assertEqual(list(self.stub.StreamEvents(iter([]), timeout=30)), [])

    def test_pages_cover_all_events_once(self):
        self.write(*[events.make(self.stubs, number=i, correlation_id="pages") for i in range(25)])
        store = self.stubs.store
        seen = []
        token = ""
        while True:
            page = self.stub.ListEvents(store.ListEventsRequest(
                filter=store.EventFilter(correlation_ids=["pages"]), page_size=10,
                page_token=token), timeout=30)
            seen += [e.event.event_id for e in page.events]
            token = page.next_page_token
            if not token:
                break
        self.assertEqual((len(seen), len(set(seen))), (25, 25))

    def test_filters_select(self):
        made = []
        for i, (actor, outcome) in enumerate([("a", 1), ("b", 2), ("c", 1)]):
            made.append(events.make(
                self.stubs, number=i, correlation_id="filters", outcome=outcome,
                actor=self.stubs.event.Actor(type="user", id=actor),
                resource=self.stubs.event.Resource(type="doc", id=str(i))))
        self.write(*made)
        store = self.stubs.store

        def listed(**fields):
            request = store.ListEventsRequest(
                filter=store.EventFilter(correlation_ids=["filters"], **fields),
                order=store.LIST_ORDER_OLDEST_FIRST)
            return [e.event.resource.id for e in self.stub.ListEvents(request, timeout=30).events]

        self.assertEqual(sorted(listed()), ["0", "1", "2"])
        self.assertEqual(sorted(listed(actor_ids=["a", "b"])), ["0", "1"])
        self.assertEqual(listed(outcomes=[2]), ["1"])
        self.assertEqual(listed(resource_types=["doc"], resource_ids=["2"]), ["2"])
        self.assertEqual(listed(end_time=made[0].event_time), [])
        self.assertEqual(listed(event_types=["other"]), [])

    def test_what_is_not_there_is_not_found(self):
        error = self.refusal(lambda: self.stub.GetEvent(
            self.stubs.store.GetEventRequest(event_id=events.new_id()), timeout=30))
        self.assertEqual(error.code(), grpc.StatusCode.NOT_FOUND)

    def test_a_message_above_the_limit_is_refused_at_its_length(self):
        event = events.make(self.stubs, event_data='{"x": "' + "y" * 70000 + '"}')
        error = self.refusal(lambda: self.write(event))
        self.assertEqual(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)

    def raw_unary(self, payload):
        call = self.channel.unary_unary("/auditstore.v1.AuditStore/WriteEvents",
                                        request_serializer=None, response_deserializer=None)
        return self.refusal(lambda: call(payload, timeout=30))

    def test_bytes_that_are_no_message_are_internal(self):
        self.assertEqual(self.raw_unary(b"\xff\xff\xff").code(), grpc.StatusCode.INTERNAL)

    def test_an_unknown_method_is_unimplemented(self):
        call = self.channel.unary_unary("/auditstore.v1.AuditStore/Nothing")
        error = self.refusal(lambda: call(b"", timeout=30))
        self.assertEqual(error.code(), grpc.StatusCode.UNIMPLEMENTED)

    def test_health_answers_check_and_watch(self):
        health = self.stubs.health
        stub = self.stubs.health_grpc.HealthStub(self.channel)
        for service in ("", "auditstore.v1.AuditStore"):
            reply = stub.Check(health.HealthCheckRequest(service=service), timeout=30)
            self.assertEqual(reply.status, health.HealthCheckResponse.SERVING)
        error = self.refusal(lambda: stub.Check(health.HealthCheckRequest(service="no"), timeout=30))
        self.assertEqual(error.code(), grpc.StatusCode.NOT_FOUND)
        watch = stub.Watch(health.HealthCheckRequest(), timeout=30)
        self.assertEqual(next(watch).status, health.HealthCheckResponse.SERVING)
        watch.cancel()

    def test_texts_with_nul_or_bad_utf8_never_reach_postgresql(self):
        error = self.refusal(lambda: self.write(events.make(self.stubs, event_version="a\0b")))
        self.assertEqual(self.fields_of(error), ["events[0].event_version"])
        event = events.make(self.stubs, event_version="MARK").SerializeToString()
        broken = event.replace(b"MARK", b"\xc3(AB")
        payload = b"\x0a" + bytes([len(broken) & 0x7f | 0x80, len(broken) >> 7]) + broken
        error = self.raw_unary(payload)
        self.assertEqual(error.code(), grpc.StatusCode.INVALID_ARGUMENT)


if __name__ == "__main__":
    unittest.main(verbosity=2)
