"""Clients that write while everything breaks, and journal what they were told.

A batch is sent again, with the same ids, until it is answered OK. An answer that the faults of that time
don't explain is a failure.
"""

import collections
import random
import threading
import time

import grpc

from support import events

PATIENCE_S = 60
# A writer that gets one of these sends the same events again.
RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED,
           grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED)
# The same while PostgreSQL refuses some rows.
REFUSED = (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT)
# Resources of events that a fault may treat in its own way.
ODD = "odd"

Place = collections.namedtuple("Place", "ledger sequence committed_us")
Content = collections.namedtuple("Content", "actor resource data")
# What was sent, where it is said to be, and from when to when the call took that said so.
Entry = collections.namedtuple("Entry", "place content began ended")
Proof = collections.namedtuple("Proof", "ledger sequence size root path")


def content_of(event):
    return Content(event.actor.id, event.resource.id, event.event_data)


class Client(threading.Thread):
    """Writes batches until it is told to stop; then it finishes what it has begun."""

    def __init__(self, world, number, seed):
        super().__init__(daemon=True)
        self.world = world
        self.number = number
        self.random = random.Random(seed)
        self.is_streaming = number % 2 == 1
        self.journal = {}  # event id: Entry
        self.proofs = []
        self.failure = None
        self.retries = 0
        self.answers = 0  # of any kind
        self.start()

    def run(self):
        try:
            while not self.world.is_stopping:
                self.settle([self.make_batch() for _ in range(8 if self.is_streaming else 1)])
                time.sleep(self.world.pause_s)
        except Exception as error:  # pylint: disable=broad-except
            self.failure = error

    def make_batch(self):
        event = self.world.stubs.event
        count = self.random.choice((1, 1, 2, 5, 20, 60))
        odd_share = self.random.choice((0, 0, 0.3))
        return [events.make(self.world.stubs, number, event_id=events.new_id(),
                            actor=event.Actor(type="user", id=f"alice{self.number}"),
                            resource=event.Resource(type="test", id=ODD if self.random.random() < odd_share
                                                    else f"r{number}"))
                for number in range(count)]

    def settle(self, batches):
        """Sends the batches until each is acknowledged."""
        open_batches = dict(enumerate(batches))
        end = time.monotonic() + 2 * PATIENCE_S
        while open_batches:
            if time.monotonic() > end:
                raise TimeoutError("a batch wasn't acknowledged in time")
            began = time.monotonic()
            try:
                self.send(open_batches, began)
            except grpc.RpcError as error:
                self.judge(error.code(), began, error.details())
            if open_batches:
                self.retries += 1
                time.sleep(0.01)

    def judge(self, code, began, text):
        """Whether this is an answer after which the same is sent again."""
        self.answers += 1
        if code in RETRIED:
            return
        if code in REFUSED and self.world.was("refusing", began, time.monotonic()):
            return
        raise RuntimeError(f"{code}: {text}")

    def send(self, open_batches, began):
        store, stub = self.world.stubs.store, self.world.stub(self.number)
        wants_proof = self.random.random() < 0.3
        if not self.is_streaming:
            reply = stub.WriteEvents(store.WriteEventsRequest(
                events=open_batches[0], want_proof=wants_proof), timeout=PATIENCE_S)
            self.note(open_batches.pop(0), reply, began)
            return
        requests = [store.StreamEventsRequest(batch_id=str(number), events=batch,
                                              want_proof=wants_proof)
                    for number, batch in open_batches.items()]
        for ack in stub.StreamEvents(iter(requests), timeout=PATIENCE_S):
            if ack.status.code == 0:
                self.note(open_batches.pop(int(ack.batch_id)), ack, began)
            else:
                self.judge(CODES.get(ack.status.code), began, ack.status.message)

    def note(self, batch, reply, began):
        self.answers += 1
        ended = time.monotonic()
        told = 0
        for receipt in reply.receipts:
            for i in range(receipt.count):
                event = batch[receipt.first_index + i]
                place = Place(receipt.ledger_id, receipt.first_sequence + i,
                              receipt.committed_at.ToMicroseconds())
                self.journal[event.event_id] = Entry(place, content_of(event), began, ended)
                told += 1
            for proof in receipt.proofs:
                self.proofs.append(Proof(receipt.ledger_id, proof.sequence,
                                         receipt.checkpoint.tree_size, receipt.checkpoint.root_hash,
                                         list(proof.path)))
        if told != len(batch):
            raise RuntimeError(f"{told} of {len(batch)} events have a receipt")


def write_one(world, stub, **options):
    """One event by a call of its own, outside all journals: whoever calls knows what may become of it."""
    event_id = events.new_id()
    world.unjournaled.add(event_id)
    stub.WriteEvents(world.stubs.store.WriteEventsRequest(
        events=[events.make(world.stubs, event_id=event_id)]), **options)


CODES = {code.value[0]: code for code in grpc.StatusCode}
