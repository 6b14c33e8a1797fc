"""Writes audit events to auditstored, streams more of them, and lists them all again."""

import argparse
import json
import pathlib
import queue
import random
import sys
import time
import uuid

import grpc
from google.rpc import code_pb2, error_details_pb2
from grpc_status import rpc_status

from auditstore.v1 import audit_store_pb2, audit_store_pb2_grpc, event_pb2

BATCH_EVENTS = 100
WINDOW = 8  # batches sent and not answered yet
TIMEOUT_S = 30
ATTEMPTS = 5
TLS_ADVICE = "\n  TLS is on; a daemon without it needs --plaintext"

# gRPC repeats these calls by itself when the store is away. That is safe: the events carry ids.
SERVICE_CONFIG = json.dumps({"methodConfig": [{
    "name": [{"service": "auditstore.v1.AuditStore", "method": "WriteEvents"},
             {"service": "auditstore.v1.AuditStore", "method": "ListEvents"}],
    "retryPolicy": {"maxAttempts": ATTEMPTS, "initialBackoff": "1s", "maxBackoff": "5s",
                    "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]})


class Refused(Exception):
    """The store's answer was no."""

    def __init__(self, method, code, message, details=()):
        lines = [f"{method}: {code}: {message}"]
        for detail in details:
            bad_request = error_details_pb2.BadRequest()
            if detail.Unpack(bad_request):
                lines += [f"  {v.field}: {v.description}" for v in bad_request.field_violations]
        super().__init__("\n".join(lines))

    @classmethod
    def by(cls, method, error):
        status = rpc_status.from_call(error)
        return cls(method, error.code().name, error.details(), status.details if status else ())


def make_event(correlation_id, number):
    """The id and the time are chosen once: an event that is sent again with both is stored once."""
    event = event_pb2.AuditEvent(
        event_id=str(uuid.uuid4()), event_type="order.placed", event_category="order",
        event_action="place", outcome=event_pb2.OUTCOME_SUCCESS, correlation_id=correlation_id,
        actor=event_pb2.Actor(type="service", id="python-example"),
        resource=event_pb2.Resource(type="order", id=str(number)),
        event_data=json.dumps({"number": number}))
    event.event_time.FromMicroseconds(time.time_ns() // 1000)
    return event


def count(receipts):
    """Stored is what receipts speak of, and nothing else."""
    return sum(receipt.count for receipt in receipts)


def write(store, events):
    """One batch by one call. Returns how many events are stored."""
    try:
        answer = store.WriteEvents(audit_store_pb2.WriteEventsRequest(events=events),
                                   timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        raise Refused.by("WriteEvents", error) from error
    return count(answer.receipts)


def stream_once(store, batches, stored):
    """Sends the batches that `stored` (batch_id to number of events) lacks, and fills it."""
    waiting = (batch for batch in batches if batch.batch_id not in stored)
    requests = queue.SimpleQueue()  # None ends the stream
    for _ in range(WINDOW):
        requests.put(next(waiting, None))
    try:
        for answer in store.StreamEvents(iter(requests.get, None), timeout=TIMEOUT_S):
            if answer.status.code == code_pb2.OK:
                stored[answer.batch_id] = count(answer.receipts)
            elif answer.status.code != code_pb2.UNAVAILABLE:
                raise Refused(f"StreamEvents: batch {answer.batch_id}",
                              code_pb2.Code.Name(answer.status.code), answer.status.message,
                              answer.status.details)
            requests.put(next(waiting, None))
    finally:
        requests.put(None)


def stream(store, batches):
    """Sends batches until each has its answer. Returns how many events are stored."""
    stored = {}
    for attempt in range(ATTEMPTS):
        time.sleep(random.uniform(0, 0.2 * 2**attempt) if attempt else 0)
        try:
            stream_once(store, batches, stored)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE or attempt == ATTEMPTS - 1:
                raise Refused.by("StreamEvents", error) from error
        if len(stored) == len(batches):
            return sum(stored.values())
    raise Refused("StreamEvents", "UNAVAILABLE", f"{len(batches) - len(stored)} batches unanswered")


def list_ids(store, correlation_id):
    """The ids of the events that the store has of this run, page by page."""
    request = audit_store_pb2.ListEventsRequest(page_size=100)
    request.filter.correlation_ids.append(correlation_id)
    while True:
        try:
            page = store.ListEvents(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            raise Refused.by("ListEvents", error) from error
        yield from (stored.event.event_id for stored in page.events)
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def connect(options):
    settings = [("grpc.service_config", SERVICE_CONFIG)]
    if options.plaintext:
        return grpc.insecure_channel(options.target, settings)
    credentials = grpc.ssl_channel_credentials(options.ca.read_bytes() if options.ca else None)
    if options.token_file:
        token = grpc.access_token_call_credentials(options.token_file.read_text().strip())
        credentials = grpc.composite_channel_credentials(credentials, token)
    return grpc.secure_channel(options.target, credentials, settings)


def run(store, number_of_events):
    run_id = f"example-{uuid.uuid4()}"
    first = [make_event(run_id, number) for number in range(3)]
    more = [make_event(run_id, number) for number in range(3, 3 + number_of_events)]
    batches = [audit_store_pb2.StreamEventsRequest(batch_id=str(i), events=more[i:i + BATCH_EVENTS])
               for i in range(0, len(more), BATCH_EVENTS)]
    wrote, streamed = write(store, first), stream(store, batches)
    listed = list(list_ids(store, run_id))
    print(f"wrote {wrote}, streamed {streamed} in {len(batches)} batches, listed {len(listed)}")
    if sorted(listed) != sorted(event.event_id for event in first + more):
        raise Refused("ListEvents", "DATA_LOSS", "what was listed is not what was stored")


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="localhost:7443", metavar="HOST:PORT")
    parser.add_argument("--ca", type=pathlib.Path, metavar="FILE", help="default: the system's")
    parser.add_argument("--token-file", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--plaintext", action="store_true", help="no TLS, to try things out")
    parser.add_argument("--events", type=int, default=300, metavar="N", help="to stream")
    options = parser.parse_args()
    if options.plaintext and options.token_file:
        parser.error("a token is sent over TLS alone: leave out --plaintext or --token-file")
    return options


def main():
    options = parse_options()
    try:
        with connect(options) as channel:
            run(audit_store_pb2_grpc.AuditStoreStub(channel), options.events)
    except (Refused, OSError) as error:
        is_away = not options.plaintext and ": UNAVAILABLE: " in str(error)
        sys.exit(f"example: {error}" + (TLS_ADVICE if is_away else ""))


if __name__ == "__main__":
    main()
