"""Lists tell the order of events, also of those that happened at one time."""

import base64
import hashlib
import pathlib
import struct
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402
from google.protobuf.timestamp_pb2 import Timestamp  # noqa: E402

from support import events, harness  # noqa: E402

PAGE_SIZES = (1, 2, 3, 7, 13, 50, 99, 100, 233, 350, 700, 701)
TIED = 700


def changed(token, at, value):
    """A token with some of its bytes replaced, and a check that fits them."""
    data = bytearray(base64.b64decode(token + "=" * (-len(token) % 4)))
    data[at:at + len(value)] = value
    data[-4:] = hashlib.sha256(bytes(data[:-4])).digest()[:4]
    return base64.b64encode(bytes(data)).decode().rstrip("=")


AT_VERSION, AT_TIME, AT_LEDGER, AT_SEQUENCE = 0, 18, 26, 34


class ListCase(harness.StoreCase):
    def setUp(self):
        self.now = Timestamp()
        self.now.GetCurrentTime()
        self.name = events.new_id()

    def event(self, action, **fields):
        return events.make(self.stubs, event_id=events.new_id(), event_time=self.now,
                           event_action=action, correlation_id=self.name, **fields)

    def operation(self):
        """What began and how it ended, at one time. Of such pairs, half have ids that descend."""
        return [self.event("begin", outcome=self.stubs.event.OUTCOME_PENDING),
                self.event("end", outcome=self.stubs.event.OUTCOME_SUCCESS)]

    def write(self, batch):
        return self.stub.WriteEvents(self.stubs.store.WriteEventsRequest(events=batch), timeout=60)

    def stream(self, operations):
        """Each event by a message of its own, without waiting for answers."""
        batch = [event for _ in range(operations) for event in self.operation()]
        requests = (self.stubs.store.StreamEventsRequest(events=[event]) for event in batch)
        acks = list(self.stub.StreamEvents(requests, timeout=60))
        self.assertEqual({0}, {ack.status.code for ack in acks})
        return batch

    def request(self, oldest_first=False, **fields):
        order = (self.stubs.store.LIST_ORDER_OLDEST_FIRST if oldest_first
                 else self.stubs.store.LIST_ORDER_NEWEST_FIRST)
        request = self.stubs.store.ListEventsRequest(order=order, **fields)
        request.filter.correlation_ids.append(self.name)
        return request

    def list(self, **fields):
        """All pages."""
        request = self.request(**fields)
        found = []
        while True:
            page = self.stub.ListEvents(request, timeout=60)
            found.extend(page.events)
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    def assert_told_in_order(self, sent):
        """`sent`: ids in the order in which they were written."""
        for size in (1, 2, 5, 1000):
            oldest = [s.event.event_id for s in self.list(oldest_first=True, page_size=size)]
            self.assertEqual(sent, oldest)
            self.assertEqual(sent[::-1],
                             [s.event.event_id for s in self.list(page_size=size)])


class OneLedgerTest(ListCase):
    settings = {"ingest.lanes": 1}

    def test_in_one_request_the_end_follows_its_beginning(self):
        batch = [event for _ in range(10) for event in self.operation()]
        self.write(batch)
        self.assert_told_in_order([event.event_id for event in batch])

    def test_over_several_requests_too(self):
        batch = [event for _ in range(10) for event in self.operation()]
        for event in batch:
            self.write([event])
        self.assert_told_in_order([event.event_id for event in batch])

    def test_on_a_stream_too(self):
        self.assert_told_in_order([event.event_id for event in self.stream(100)])

    def test_the_tool_shows_them_so(self):
        batch = [event for _ in range(10) for event in self.operation()]
        self.write(batch)
        for args, expected in ((("--oldest-first",), batch), ((), batch[::-1])):
            done = harness.run_tool(self.daemon.address, "list", "--json", "--correlation", self.name,
                                    *args)
            self.assertEqual(0, done.returncode, done.stderr)
            shown = [line for line in done.stdout.splitlines() if line]
            self.assertEqual(len(batch), len(shown))
            for line, event in zip(shown, expected):
                self.assertIn(event.event_id, line)


class ManyLedgersTest(ListCase):
    settings = {"ingest.lanes": 4, "ingest.min_split_events": 1}

    def test_what_a_stream_wrote_to_a_ledger_keeps_its_order(self):
        batch = self.stream(200)
        sent = {event.event_id: number for number, event in enumerate(batch)}
        listed = self.list(oldest_first=True)
        self.assertEqual(len(batch), len(listed))
        for ledger in {s.ledger_id for s in listed}:
            numbers = [sent[s.event.event_id] for s in listed if s.ledger_id == ledger]
            self.assertEqual(sorted(numbers), numbers)

    def write_at_once(self, count):
        """Single events at one time, by as many callers as there are lanes."""
        def run():
            for _ in range(count // 4):
                self.write([self.event("one")])
        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def test_events_of_several_ledgers_have_one_order_however_they_are_paged(self):
        self.write_at_once(80)
        every = self.list(page_size=1000)
        self.assertEqual(80, len(every))
        self.assertGreater(len({s.ledger_id for s in every}), 1)
        places = [(s.ledger_id, s.sequence) for s in every]
        self.assertEqual(sorted(places, reverse=True), places)
        for size in PAGE_SIZES[:6]:
            self.assertEqual(every, self.list(page_size=size))
            self.assertEqual(every[::-1], self.list(page_size=size, oldest_first=True))

    def test_seven_hundred_events_of_one_time_are_listed_once_while_more_are_written(self):
        known = [event for _ in range(TIED // 2) for event in self.operation()]
        self.write(known)
        known = [event.event_id for event in known]
        is_over = threading.Event()

        def go_on():
            while not is_over.is_set():
                self.write([self.event("later")])
        writer = threading.Thread(target=go_on)
        writer.start()
        try:
            for size in PAGE_SIZES[4:]:
                for oldest_first in (False, True):
                    listed = [s.event.event_id for s in self.list(page_size=size,
                                                                  oldest_first=oldest_first)]
                    self.assertEqual(len(set(listed)), len(listed))
                    wanted = set(known)
                    old = [event_id for event_id in listed if event_id in wanted]
                    self.assertEqual(known if oldest_first else known[::-1], old)
        finally:
            is_over.set()
            writer.join()


class TokenTest(ListCase):
    def setUp(self):
        super().setUp()
        self.write([self.event("one") for _ in range(5)])
        self.token = self.stub.ListEvents(self.request(page_size=2), timeout=60).next_page_token

    def refusal(self, token, **fields):
        with self.assertRaises(grpc.RpcError) as caught:
            self.stub.ListEvents(self.request(page_size=2, page_token=token, **fields), timeout=60)
        self.assertEqual(grpc.StatusCode.INVALID_ARGUMENT, caught.exception.code())
        [details] = harness.status_details(caught.exception, self.stubs.details.BadRequest)
        [violation] = details.field_violations
        self.assertEqual("page_token", violation.field)
        return violation.description

    def test_a_token_of_another_version_is_refused_by_that_name(self):
        for version in (0, 1, 3, 255):
            self.assertIn("another version",
                          self.refusal(changed(self.token, AT_VERSION, bytes([version]))))

    def test_a_token_that_was_tampered_with_is_refused(self):
        for bad in (self.token[:-1], self.token + "A", self.token.lower(), "A" * len(self.token),
                    "=" * 62, "x", "\N{SNOWMAN}" * 20, self.token[::-1], self.token * 1000):
            self.assertIn("is no token", self.refusal(bad))
        self.assertIn("another order", self.refusal(self.token, oldest_first=True))

    def test_a_place_where_no_event_can_be_is_refused(self):
        for at, value in ((AT_LEDGER, 0), (AT_LEDGER, -1), (AT_LEDGER, -2**63), (AT_SEQUENCE, -1),
                          (AT_SEQUENCE, -2**63), (AT_TIME, 2**63 - 1), (AT_TIME, -2**63)):
            self.assertIn("is no token",
                          self.refusal(changed(self.token, at, struct.pack(">q", value))))

    def test_a_made_up_place_shows_what_lies_behind_it_and_no_more(self):
        every = self.list(page_size=1000)

        def behind(at, value):
            token = changed(self.token, at, struct.pack(">q", value))
            return list(self.stub.ListEvents(self.request(page_size=1000, page_token=token),
                                             timeout=60).events)
        self.assertEqual(every, behind(AT_LEDGER, 2**63 - 1))
        self.assertEqual(every, behind(AT_SEQUENCE, 2**63 - 1))
        self.assertEqual([], behind(AT_SEQUENCE, 0))
        self.assertEqual([], behind(AT_TIME, 0))


if __name__ == "__main__":
    unittest.main()
