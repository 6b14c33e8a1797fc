"""As many events as the settings allow are taken, however small they are; more are told with the numbers."""

import datetime
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from support import harness  # noqa: E402

MAX_EVENTS = 1000  # of ingest.max_request_events


class RequestLimitsTest(harness.StoreCase):
    def event(self, **fields):
        event = self.stubs.event.AuditEvent(**fields)
        event.event_time.FromDatetime(datetime.datetime.now(datetime.timezone.utc))
        return event

    def smallest(self):
        return self.event(event_type="a", event_category="a", event_action="a",
                          outcome=1, correlation_id="a")

    def readme(self):
        return self.event(event_type="door.opened", event_category="door", event_action="open",
                          outcome=1, correlation_id="visit-1")

    def write(self, event, count):
        request = self.stubs.store.WriteEventsRequest(events=[event] * count)
        return self.stub.WriteEvents(request, timeout=60)

    def refusal(self, event, count):
        with self.assertRaises(grpc.RpcError) as caught:
            self.write(event, count)
        return caught.exception

    def test_a_request_holds_as_many_of_the_smallest_events_as_of_any(self):
        for event in (self.smallest(), self.readme()):
            self.assertEqual(MAX_EVENTS, sum(r.count for r in self.write(event, MAX_EVENTS).receipts))

    def test_a_batch_of_a_stream_does_too(self):
        batch = self.stubs.store.StreamEventsRequest(events=[self.smallest()] * MAX_EVENTS)
        acks = list(self.stub.StreamEvents(iter([batch] * 3), timeout=60))
        self.assertEqual([0] * 3, [ack.status.code for ack in acks])

    def test_one_more_and_a_hundred_times_more_are_refused_with_the_numbers(self):
        for count in (MAX_EVENTS + 1, 100 * MAX_EVENTS):
            error = self.refusal(self.smallest(), count)
            self.assertEqual(grpc.StatusCode.INVALID_ARGUMENT, error.code(), count)
            self.assertIn(f"has {count} events; at most {MAX_EVENTS} are allowed", error.details())

    def test_a_message_of_more_parts_than_its_length_should_hold_says_so(self):
        # Unknown fields of two bytes, each with an allocation of its own.
        call = self.channel.unary_unary("/auditstore.v1.AuditStore/WriteEvents")
        with self.assertRaises(grpc.RpcError) as caught:
            call(b"\x78\x00" * 1_000_000, timeout=60)
        self.assertEqual(grpc.StatusCode.INVALID_ARGUMENT, caught.exception.code())
        self.assertIn("far more parts than its 2000000 bytes should hold", caught.exception.details())


if __name__ == "__main__":
    unittest.main(verbosity=2)
