"""Streams the sample events in batches with several of them unanswered, by grpcio.

    client_grpcio.py SERVER EVENTS BATCH IN_FLIGHT

The events are made before the clock starts. Prints one JSON line, as bench_client does.
"""

import json
import pathlib
import resource
import sys
import threading
import time
import uuid

# In the place of this script's own folder, whose grpc.py isn't the one that is meant.
sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from support import harness  # noqa: E402
import grpc  # noqa: E402


def make_event(stubs, number):
    event = stubs.event.AuditEvent(
        event_id=str(uuid.uuid4()), event_type="payment.captured", event_category="payment",
        event_action="capture", outcome=stubs.event.OUTCOME_SUCCESS,
        severity=stubs.event.SEVERITY_INFO, correlation_id=f"order-{number // 4:08d}",
        actor=stubs.event.Actor(type="service", id=f"checkout-{number % 20:02d}", ip="192.0.2.7"),
        resource=stubs.event.Resource(type="payment", id=f"pay-{number:012d}", namespace="payments"),
        event_data=f'{{"amount":{number % 100000},"currency":"EUR","method":"card","attempt":1,'
                   '"risk":0.12}')
    event.event_time.FromMicroseconds(int(time.time() * 1e6))
    event.duration.FromMicroseconds(1500)
    return event


def cpu_s():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def requests(stubs, events, batch, slots):
    for at in range(0, len(events), batch):
        slots.acquire()
        yield stubs.store.StreamEventsRequest(
            batch_id=str(at), events=events[at:at + batch],
            mode=stubs.store.WRITE_MODE_PARTIAL)


def main():
    server, count, batch, in_flight = sys.argv[1], *map(int, sys.argv[2:5])
    stubs = harness.load_stubs()
    events = [make_event(stubs, number) for number in range(count)]
    slots = threading.Semaphore(in_flight)
    stored = 0
    with grpc.insecure_channel(server) as channel:
        grpc.channel_ready_future(channel).result(timeout=30)
        stub = stubs.store_grpc.AuditStoreStub(channel)
        began, cpu_before = time.monotonic(), cpu_s()
        for answer in stub.StreamEvents(requests(stubs, events, batch, slots)):
            stored += sum(receipt.count for receipt in answer.receipts)
            slots.release()
        took_s, used_s = time.monotonic() - began, cpu_s() - cpu_before
    if stored != count:
        raise RuntimeError(f"{stored} of {count} stored")
    print(json.dumps({"events_per_s": round(count / took_s),
                      "cpu_us_per_event": round(used_s * 1e6 / count, 3)}))


if __name__ == "__main__":
    main()
