"""Kills, cuts and worse under load: what stands around the clients (crash_client.py).

    world = World(case, seed, daemons=1)
    world.strike("cut")      # one of FAULTS of crash_faults.py
    world.check()            # what must hold afterwards: crash_oracle.py

PostgreSQL stands behind a proxy; a daemon that dies is started again. Faults note from when to when they
are in effect, since the oracle judges answers by their time.
"""

import collections
import random
import time

from support import crash_faults, crash_oracle, harness, proxy
from support.crash_client import PATIENCE_S, Client

CLIENTS = 4


class Window:
    """A time in which something holds: it may hold between `began` and `ended`, and surely does between
    `settled` and `leaving`. Those that aren't over lie in the future."""

    def __init__(self, kind):
        self.kind = kind
        self.began = time.monotonic()
        self.settled = self.leaving = self.ended = float("inf")

    def settle(self):
        self.settled = time.monotonic()

    def leave(self):
        self.leaving = time.monotonic()

    def end(self):
        self.ended = time.monotonic()

    def touches(self, began, ended):
        return self.began <= ended and began <= self.ended

    def holds(self, began, ended):
        return self.settled <= began and ended <= self.leaving


class Life:
    """One daemon, from its start to its end."""

    def __init__(self, lanes):
        self.lanes = lanes
        self.began = time.monotonic()
        self.ended = float("inf")


class World:
    lease_s = 2

    def __init__(self, case, seed, daemons=1):
        self.case = case
        self.postgres = case.postgres
        self.stubs = case.stubs
        self.random = random.Random(seed)
        self.is_stopping = False
        self.pause_s = 0  # of clients between two writes
        self.counts = collections.Counter()
        self.triggers = collections.Counter()
        self.windows = []
        self.copies = []  # crash_oracle.Server, of databases that answered for a while
        self.doomed = []  # backends that end because kill_backend ended one of them
        self.unjournaled = set()  # events of which it isn't known whether they are stored
        self.lives = []
        self.proxy = proxy.Proxy(self.postgres.port)
        case.addCleanup(self.proxy.close)
        self.daemons, self.lives_now, self.client_stubs = {}, {}, {}
        for slot in range(daemons):
            self.start_daemon(slot)
        self.clients = [Client(self, n, self.random.random()) for n in range(CLIENTS)]
        case.addCleanup(self.stop_clients)

    # ---- daemons ----

    def start_daemon(self, slot, wait_serving=True):
        self.client_stubs[slot] = self.launch(slot, wait_serving)

    def launch(self, slot, wait_serving=True):
        """Clients don't speak to it until client_stubs has what this returns."""
        lanes = self.random.choice((2, 2, 3))
        self.lives_now[slot] = Life(lanes)
        self.lives.append(self.lives_now[slot])
        self.daemons[slot] = self.case.start_daemon({"ingest.lanes": lanes, **self.settings(slot)},
                                                    wait_serving=wait_serving)
        return self.case.open_stub(self.daemons[slot])

    def memory_file(self, slot):
        return self.case.folder / f"{self.case.id()}.memory{slot}"

    def settings(self, slot):
        return {"database.port": self.proxy.port, "ledger.lease": f"{self.lease_s}s",
                "ledger.signing_key_file": self.case.key, "ledger.memory_file": self.memory_file(slot)}

    def end_daemon(self, slot, is_killed):
        daemon = self.daemons[slot]
        if is_killed:
            daemon.kill()
        else:
            daemon.stop()
        daemon.check_log()
        self.lives_now[slot].ended = time.monotonic()

    def tell_of_restore(self, slot):
        """What the operator does when a daemon doesn't start on a database that lacks what it wrote to another:
        all stop, one's settings tell of it, and what the others remember is put away."""
        for each in self.daemons:
            self.end_daemon(each, is_killed=False)
        for each in set(self.daemons) - {slot}:
            self.memory_file(each).unlink(missing_ok=True)
        harness.wait_until(lambda: self.is_told(slot), PATIENCE_S, "the ledgers of who was killed are let go")
        for each in self.daemons:
            self.start_daemon(each, wait_serving=False)

    def is_told(self, slot):
        told = harness.run_daemon("restored", settings={
            **self.postgres.daemon_settings(), **self.settings(slot)})
        self.case.assertTrue(told.returncode == 0 or " leased: " in told.stderr, told.stderr)
        return told.returncode == 0

    def any_slot(self):
        return self.random.choice(list(self.daemons))

    def stub(self, number):
        return self.client_stubs[number % len(self.client_stubs)]

    # ---- time ----

    def open_window(self, kind):
        self.windows.append(Window(kind))
        return self.windows[-1]

    def was(self, kind, began, ended):
        return any(w.kind == kind and w.touches(began, ended) for w in self.windows)

    def acknowledged(self):
        return sum(len(client.journal) for client in self.clients)

    def answers(self):
        return sum(client.answers for client in self.clients)

    def failures(self):
        return [client.failure for client in self.clients if client.failure]

    def wait_for_writes(self, count):
        goal = self.acknowledged() + count
        harness.wait_until(lambda: self.acknowledged() > goal or self.failures(), 2 * PATIENCE_S,
                           "writes go on")

    def linger(self, seconds, answers=None):
        """Lets the clients meet what there is: for so long, or until so many answers came."""
        end = time.monotonic() + seconds
        goal = self.answers() + answers if answers else float("inf")
        harness.wait_until(lambda: time.monotonic() > end or self.answers() >= goal, seconds + 30)

    # ---- faults and afterwards ----

    def strike(self, fault):
        """Once the clients have got on since the last one, so that there is work under way."""
        self.wait_for_writes(self.random.randrange(1, 200))
        self.case.assertEqual([], self.failures())
        crash_faults.FAULTS[fault](self)
        self.counts[fault] += 1

    def stop_clients(self):
        self.is_stopping = True
        for client in self.clients:
            client.join(3 * PATIENCE_S)

    def check(self):
        self.stop_clients()
        crash_oracle.check(self)

    def report(self):
        retries = sum(client.retries for client in self.clients)
        proofs = sum(len(client.proofs) for client in self.clients)
        triggers = [f"trigger that {kind} {count}" for kind, count in sorted(self.triggers.items())]
        faults = ", ".join([f"{fault} {count}" for fault, count in sorted(self.counts.items())] + triggers)
        return (f"{sum(self.counts.values())} faults ({faults}), {self.acknowledged()} events"
                f" acknowledged, {retries} times something was sent again, {proofs} proofs")
