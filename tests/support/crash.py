"""Kills and cuts under load, and what must hold afterwards.

Clients write events of their own and journal what they were told; a batch is sent again, with the
same ids, until it is answered OK. Meanwhile the daemon, PostgreSQL and the connections between them
are killed at random moments. Afterwards the journals are compared with the tables, and every ledger
is computed anew: nothing lost, nothing twice, nothing missing in between.
"""

import collections
import contextlib
import os
import random
import signal
import threading
import time

import grpc

from support import events, harness, ledgers, proxy

CLIENTS = 4
# A writer that gets one of these sends the same events again; any other answer is a failure.
RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED,
           grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED)
PATIENCE_S = 60

Place = collections.namedtuple("Place", "ledger sequence committed_us")
Proof = collections.namedtuple("Proof", "ledger sequence size root path")


class Client(threading.Thread):
    """Writes batches until it is told to stop; then it finishes what it has begun."""

    def __init__(self, world, number, seed):
        super().__init__(daemon=True)
        self.world = world
        self.random = random.Random(seed)
        self.is_streaming = number % 2 == 1
        self.journal = {}  # event id: Place
        self.proofs = []
        self.failure = None
        self.retries = 0
        self.start()

    def run(self):
        try:
            while not self.world.is_stopping:
                self.settle([self.make_batch() for _ in range(8 if self.is_streaming else 1)])
        except Exception as error:  # pylint: disable=broad-except
            self.failure = error

    def make_batch(self):
        count = self.random.choice((1, 1, 2, 5, 20, 60))
        return [events.make(self.world.stubs, number, event_id=events.new_id())
                for number in range(count)]

    def settle(self, batches):
        """Sends the batches until each is acknowledged."""
        open_batches = dict(enumerate(batches))
        began = time.monotonic()
        while open_batches:
            if time.monotonic() > began + 2 * PATIENCE_S:
                raise TimeoutError("a batch wasn't acknowledged in time")
            try:
                self.send(open_batches)
            except grpc.RpcError as error:
                if error.code() not in RETRIED:
                    raise
            if open_batches:
                self.retries += 1
                time.sleep(0.01)

    def send(self, open_batches):
        store, stub = self.world.stubs.store, self.world.stub
        wants_proof = self.random.random() < 0.3
        if not self.is_streaming:
            reply = stub.WriteEvents(store.WriteEventsRequest(
                events=open_batches[0], want_proof=wants_proof), timeout=PATIENCE_S)
            self.note(open_batches.pop(0), reply)
            return
        requests = [store.StreamEventsRequest(batch_id=str(number), events=batch,
                                              want_proof=wants_proof)
                    for number, batch in open_batches.items()]
        for ack in stub.StreamEvents(iter(requests), timeout=PATIENCE_S):
            if ack.status.code == 0:
                self.note(open_batches.pop(int(ack.batch_id)), ack)
            elif ack.status.code not in [code.value[0] for code in RETRIED]:
                raise RuntimeError(f"batch {ack.batch_id}: {ack.status}")

    def note(self, batch, reply):
        told = 0
        for receipt in reply.receipts:
            for i in range(receipt.count):
                event = batch[receipt.first_index + i]
                self.journal[event.event_id] = Place(
                    receipt.ledger_id, receipt.first_sequence + i,
                    receipt.committed_at.ToMicroseconds())
                told += 1
            for proof in receipt.proofs:
                self.proofs.append(Proof(receipt.ledger_id, proof.sequence,
                                         receipt.checkpoint.tree_size, receipt.checkpoint.root_hash,
                                         list(proof.path)))
        if told != len(batch):
            raise RuntimeError(f"{told} of {len(batch)} events have a receipt")


class World:
    """PostgreSQL behind a proxy, a daemon that is started again whenever it dies, and its clients."""

    def __init__(self, case, seed):
        self.case = case
        self.stubs = case.stubs
        self.random = random.Random(seed)
        self.is_stopping = False
        self.counts = collections.Counter()
        self.proxy = proxy.Proxy(case.postgres.port)
        case.addCleanup(self.proxy.close)
        self.start_daemon()
        self.clients = [Client(self, n, self.random.random()) for n in range(CLIENTS)]
        case.addCleanup(self.stop_clients)

    def start_daemon(self):
        self.daemon = self.case.start_daemon({
            "database.port": self.proxy.port, "ledger.lease": "2s",
            "ingest.lanes": self.random.choice((2, 2, 3)),
            "ledger.signing_key_file": self.case.key})
        self.stub = self.case.open_stub(self.daemon)

    def stop_clients(self):
        self.is_stopping = True
        for client in self.clients:
            client.join(3 * PATIENCE_S)

    def acknowledged(self):
        return sum(len(client.journal) for client in self.clients)

    # ---- faults ----

    def backends(self):
        with contextlib.suppress(RuntimeError):
            return [int(row[0]) for row in self.case.postgres.sql(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'auditstored'"
                " ORDER BY state, random()")]
        return []

    def cut(self):
        """A connection ends in the middle of some message."""
        before = self.proxy.cuts
        self.proxy.cut_in = self.random.randrange(100000)
        harness.wait_until(lambda: self.proxy.cuts > before, PATIENCE_S, "a cut")

    def end_backend(self):
        for pid in self.backends()[:1]:
            self.case.postgres.sql(f"SELECT pg_terminate_backend({pid})")

    def kill_backend(self):
        """PostgreSQL ends all others as well, and recovers."""
        for pid in self.backends()[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_server(self):
        self.case.postgres.restart("immediate")

    def kill_daemon(self):
        self.daemon.kill()
        self.daemon.check_log()
        self.start_daemon()

    def strike(self, fault):
        """Once every client has got on since the last one, so that there is work under way."""
        goal = self.acknowledged() + self.random.randrange(1, 200)
        harness.wait_until(lambda: self.acknowledged() > goal or self.failures(), 2 * PATIENCE_S,
                           "writes go on")
        getattr(self, fault)()
        self.counts[fault] += 1

    def failures(self):
        return [client.failure for client in self.clients if client.failure]

    # ---- the oracle ----

    def check(self):
        case, postgres = self.case, self.case.postgres
        self.stop_clients()
        case.assertEqual([], self.failures())
        case.assertEqual([False] * CLIENTS, [client.is_alive() for client in self.clients])
        told = {event_id: place for client in self.clients
                for event_id, place in client.journal.items()}
        stored = {row[0]: Place(*map(int, row[1:])) for row in postgres.sql(
            "SELECT e.event_id, e.ledger_id, e.sequence,"
            " (extract(epoch FROM b.committed_at) * 1000000)::int8"
            " FROM audit_events e JOIN ledger_batches b ON b.ledger_id = e.ledger_id"
            " AND e.sequence >= b.first_sequence AND e.sequence < b.first_sequence + b.event_count")}
        case.assertEqual(len(told), int(postgres.value("SELECT count(*) FROM audit_events")))
        case.assertEqual([], [event_id for event_id in told if event_id not in stored])
        case.assertEqual([], [(event_id, place, stored[event_id]) for event_id, place in told.items()
                              if stored[event_id] != place])
        ledgers.check(case, postgres)
        harness.wait_until(lambda: self.daemon.health() == "SERVING")
        ledgers.check_leaves(case, postgres, self.stub, self.stubs)
        self.check_proofs(ledgers.leaves(postgres))

    def check_proofs(self, leaves):
        for client in self.clients:
            for proof in client.proofs:
                leaf = leaves[proof.ledger, proof.sequence]
                self.case.assertEqual(proof.root, ledgers.root_of_proof(
                    leaf, proof.sequence, proof.size, proof.path))

    def report(self):
        retries = sum(client.retries for client in self.clients)
        proofs = sum(len(client.proofs) for client in self.clients)
        faults = ", ".join(f"{fault} {count}" for fault, count in sorted(self.counts.items()))
        return (f"{sum(self.counts.values())} faults ({faults}), {self.acknowledged()} events"
                f" acknowledged, {retries} times something was sent again, {proofs} proofs")
