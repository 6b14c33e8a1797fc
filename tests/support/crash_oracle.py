"""What must hold after a world (crash_world.py) was struck: the journals beside the tables.

    each event that was acknowledged is there once, as it was sent, at the place of its receipt, on the
      server that acknowledged it; and none that nobody sent
    every ledger is dense, with the roots that follow from its leaves, and its leaves from its events
    no size of a ledger was ever signed with two roots, and no ledger goes on in two ways, on whatever server
    nothing is acknowledged while commits wait for a standby that is away
    every daemon takes writes, by ledgers that are no more than lanes that were at work
"""

import collections
import concurrent.futures

from support import harness, ledgers
from support.crash_client import PATIENCE_S, Content, Place, write_one

LEASE_SLACK_S = 2
BURST = 60

# Batch by batch it would look at all of a ledger's for each event: hours for a million of them.
STORED = ("SELECT e.event_id, e.actor_id, e.resource_id, e.event_data, e.ledger_id, e.sequence,"
          " (extract(epoch FROM b.committed_at) * 1000000)::int8"
          " FROM audit_events e CROSS JOIN LATERAL (SELECT * FROM ledger_batches b"
          " WHERE b.ledger_id = e.ledger_id AND b.first_sequence <= e.sequence"
          " ORDER BY b.first_sequence DESC LIMIT 1) b"
          " WHERE e.sequence < b.first_sequence + b.event_count"
          " AND e.principal IS DISTINCT FROM 'auditstore:self'")


class Server:
    """What a database has. `window`: when it answered in the place of the real one."""

    def __init__(self, postgres, window=None):
        self.window = window
        rows = postgres.sql(STORED)
        self.stored = {row[0]: (Place(*map(int, row[4:])), Content(*row[1:4])) for row in rows}
        self.count = int(postgres.value("SELECT count(*) FROM audit_events"
                                        " WHERE principal IS DISTINCT FROM 'auditstore:self'"))
        self.leaves = ledgers.leaves(postgres)
        self.notes = [row[0] for row in postgres.sql(
            "SELECT checkpoint FROM ledger_batches WHERE checkpoint IS NOT NULL")]

    def may_have_said(self, entry):
        return self.window is None or self.window.touches(entry.began, entry.ended)

    def alone_can_have_said(self, entry):
        return self.window is not None and self.window.holds(entry.began, entry.ended)


def check(world):
    case = world.case
    case.assertEqual([], world.failures())
    case.assertEqual([], [client.number for client in world.clients if client.is_alive()])
    told = {event_id: entry for client in world.clients for event_id, entry in client.journal.items()}
    real = Server(world.postgres)
    check_acknowledged(world, told, real)
    check_signed_once(world, real)
    check_no_fork(world, real)
    check_ledgers(world, real)
    check_standby(world, told)
    check_lanes(world)


def check_acknowledged(world, told, real):
    case = world.case
    wrong = []
    for event_id, entry in told.items():
        servers = [s for s in world.copies if s.alone_can_have_said(entry)] or \
                  [s for s in [real, *world.copies] if s.may_have_said(entry)]
        found = [s.stored.get(event_id) for s in servers]
        if (entry.place, entry.content) not in found:
            wrong.append((event_id, entry, found))
    case.assertEqual([], wrong[:3], f"{len(wrong)} of {len(told)} acknowledged events are wrong")
    # What a copy acknowledged the real one may have, too, from before the client was told.
    journaled = real.stored.keys() - world.unjournaled
    case.assertEqual([], list(journaled - told.keys())[:3])
    case.assertEqual(len(real.stored), real.count)
    if not world.copies:
        case.assertEqual(len(told), len(journaled))


def check_ledgers(world, real):
    case = world.case
    # What lay about a commit is seen only afterwards, and then a ledger may have to be given up.
    may_be_suspect = bool(world.copies) or "deletes later" in world.triggers
    ledgers.check(case, world.postgres, may_be_suspect)
    daemon = next(iter(world.daemons.values()))
    harness.wait_until(lambda: daemon.health() == "SERVING", PATIENCE_S, "a daemon that serves")
    if not may_be_suspect:
        ledgers.check_leaves(case, world.postgres, world.stub(0), world.stubs)
    wrong = [proof for client in world.clients for proof in client.proofs
             if not any(holds(proof, server) for server in [real, *world.copies])]
    case.assertEqual([], wrong[:1], f"{len(wrong)} proofs don't hold")
    case.assertTrue(real.notes)


def holds(proof, server):
    leaf = server.leaves.get((proof.ledger, proof.sequence))
    return leaf is not None and proof.root == ledgers.root_of_proof(
        leaf, proof.sequence, proof.size, proof.path)


def check_signed_once(world, real):
    """Also what only a receipt had, of a batch that is gone from every server."""
    roots = collections.defaultdict(set)
    for text in real.notes + [note for copy in world.copies for note in copy.notes]:
        note = ledgers.Note(text)
        roots[int(note.origin.rpartition("/")[2]), note.size].add(note.root)
    for client in world.clients:
        for proof in client.proofs:
            roots[proof.ledger, proof.size].add(proof.root)
    forks = sorted(place for place, found in roots.items() if len(found) > 1)
    world.case.assertEqual([], forks[:3], f"{len(forks)} sizes of ledgers have two roots")


def check_no_fork(world, real):
    """Each batch is signed, so where two servers' leaves differ, what was signed does."""
    servers = [real, *world.copies]
    for number, one in enumerate(servers):
        for other in servers[:number]:
            forks = sorted(place for place in one.leaves.keys() & other.leaves.keys()
                           if one.leaves[place] != other.leaves[place])
            world.case.assertEqual([], forks[:1], f"{len(forks)} places of ledgers hold two events")


def check_standby(world, told):
    early = [(event_id, entry) for event_id, entry in told.items()
             if any(w.kind == "standby" and w.holds(entry.began, entry.ended) for w in world.windows)]
    world.case.assertEqual([], early[:3], f"{len(early)} events were acknowledged that no standby had")


# ---- lanes ----


def burst(world):
    """Writes side by side on all daemons; each must be OK."""
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(write_one, world, stub, timeout=PATIENCE_S)
                     for _ in range(BURST) for stub in world.client_stubs.values()]:
            done.result()


def most_ledgers(world):
    """Lanes that were at work within one lease, of daemons that were killed included."""
    def at_work(life, now):
        return life.began <= now <= life.ended + world.lease_s + LEASE_SLACK_S
    return max(sum(other.lanes for other in world.lives if at_work(other, life.began))
               for life in world.lives)


def unknown_leases(world):
    """Ledgers with a lease that no lane can know of: it knows of one, and there are so many lanes."""
    leased = [int(row[0]) for row in world.postgres.sql(
        "SELECT count(*) FROM ledgers WHERE leased_until > now() GROUP BY owner")]
    lanes = sum(life.lanes for life in world.lives_now.values())
    return max(sum(count - 1 for count in leased), len(leased) - lanes)


def check_lanes(world):
    case, postgres = world.case, world.postgres
    for daemon in world.daemons.values():
        daemon.wait_health("SERVING")
    burst(world)
    harness.wait_until(lambda: unknown_leases(world) <= 0, world.lease_s + LEASE_SLACK_S + 1,
                       "each lease is one that a lane knows of")
    burst(world)
    case.assertLessEqual(unknown_leases(world), 0)
    left = int(postgres.value("SELECT count(*) FROM ledgers WHERE suspect_since IS NOT NULL"
                              " OR closed_since IS NOT NULL"))
    case.assertLessEqual(int(postgres.value("SELECT count(*) FROM ledgers")),
                         most_ledgers(world) + left)
