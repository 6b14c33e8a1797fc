"""Ledgers: who may append to them, and that what they record can be proved with the standards alone."""

import pathlib
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import events, harness, ledgers  # noqa: E402
from support.effects import effect_of  # noqa: E402
from support.ledger_case import LedgerCase, keygen  # noqa: E402


class RecordTest(LedgerCase):
    def test_all_that_is_recorded_can_be_computed_from_what_is_read(self):
        daemon = self.start({"ingest.lanes": 3})
        event = self.stubs.event
        rich = {"actor": event.Actor(type="user", id="alice", ip="2001:db8::7"),
                "resource": event.Resource(type="t", id="i", name="n", namespace="ns", cluster="c"),
                "error": event.EventError(code="E", message="what went wrong: \N{SNOWMAN}"),
                "correlation_id": "order-1", "parent_event_id": events.new_id(),
                "trace_id": "4BF92F3577B34DA6A3CE929D0E0E4736", "span_id": "00f067aa0ba902b7",
                "severity": event.SEVERITY_ALERT, "retention_days": 2555, "sensitive": True,
                "event_version": "1.0", "event_data": '{ "as":"sent" }'}
        calls = [daemon.stub.WriteEvents.future(self.stubs.store.WriteEventsRequest(
            events=[events.make(self.stubs, n, **(rich if n % 3 else {})) for n in range(count)]),
            timeout=60) for count in [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987] * 2]
        for call in calls:
            call.result()
        ledgers.check(self, self.postgres)
        ledgers.check_leaves(self, self.postgres, daemon.stub, self.stubs)
        self.assertGreater(int(self.postgres.value("SELECT count(*) FROM ledger_nodes")), 3)
        for ledger in self.postgres.sql("SELECT ledger_id FROM ledgers"):
            ledgers.verify_note(self, self.last_note(ledger[0]), self.public_key, self.folder)

    def test_receipts_say_the_time_that_is_recorded(self):
        daemon = self.start()
        reply = self.write(daemon, 2, event_id=events.new_id())
        for receipt in reply.receipts:
            self.assertEqual(self.postgres.value(
                "SELECT (extract(epoch FROM committed_at) * 1000000)::int8 FROM ledger_batches"),
                str(receipt.committed_at.ToMicroseconds()))
        self.assertLessEqual(
            int(self.postgres.value("SELECT max(extract(epoch FROM received_at) * 1000000)::int8"
                                    " FROM audit_events")),
            reply.receipts[0].committed_at.ToMicroseconds())

    def proven(self, receipts):
        """The sequences that the receipts prove, by what is read back."""
        stored = {(event.ledger_id, event.sequence): event.SerializeToString(deterministic=True)
                  for event in ledgers.stored_events(self.reader, self.stubs)}
        found = []
        for receipt in receipts:
            checkpoint = receipt.checkpoint
            self.assertEqual(receipt.ledger_id, checkpoint.ledger_id)
            self.assertEqual(receipt.count, len(receipt.proofs))
            note = ledgers.Note(checkpoint.note)
            self.assertEqual((note.size, note.root), (checkpoint.tree_size, checkpoint.root_hash))
            for i, proof in enumerate(receipt.proofs):
                self.assertEqual(receipt.first_sequence + i, proof.sequence)
                leaf = ledgers.leaf_hash(stored[receipt.ledger_id, proof.sequence])
                self.assertEqual(checkpoint.root_hash, ledgers.root_of_proof(
                    leaf, proof.sequence, checkpoint.tree_size, proof.path))
                found.append((receipt.ledger_id, proof.sequence))
            self.notes.append(note)
        return found

    def test_receipts_prove_what_was_written_if_asked_to(self):
        daemon = self.start({"ingest.lanes": 2, "ingest.max_batch_events": 300})
        self.reader, self.notes = daemon.stub, []
        store = self.stubs.store
        written = [events.make(self.stubs, n, event_id=events.new_id()) for n in range(600)]
        calls = [daemon.stub.WriteEvents.future(store.WriteEventsRequest(
            events=written[n:n + 1 + n % 7], want_proof=True), timeout=60) for n in range(0, 600, 7)]
        receipts = [receipt for call in calls for receipt in call.result().receipts]
        stream = daemon.stub.StreamEvents((store.StreamEventsRequest(
            events=[events.make(self.stubs, n) for n in range(n % 40 + 1)], want_proof=True)
            for n in range(100)), timeout=60)
        receipts += [receipt for ack in stream for receipt in ack.receipts]
        found = self.proven(receipts)
        self.assertEqual(sorted(found), sorted(ledgers.leaves(self.postgres)))
        ledgers.verify_note(self, self.notes[-1], self.public_key, self.folder)
        reply = daemon.stub.WriteEvents(store.WriteEventsRequest(
            events=[written[0], events.make(self.stubs), events.make(self.stubs, event_type="")],
            mode=store.WRITE_MODE_PARTIAL, want_proof=True), timeout=60)
        self.assertEqual([(True, 0), (False, 1)], [(r.duplicate, len(r.proofs)) for r in reply.receipts])
        self.assertEqual([False, True], [r.HasField("checkpoint") for r in reply.receipts])
        self.proven(reply.receipts[1:])

    def test_nobody_gets_proofs_unasked(self):
        (receipt,) = self.write(self.start(), 5).receipts
        self.assertEqual((0, False), (len(receipt.proofs), receipt.HasField("checkpoint")))

    def test_without_a_key_nothing_is_signed_and_the_log_says_so(self):
        daemon = self.start({"ledger.signing_key_file": ""})
        self.write(daemon, 3)
        self.assertEqual("1", self.postgres.value(
            "SELECT count(*) FROM ledger_batches WHERE checkpoint IS NULL"))
        self.assertIn("checkpoints are not signed", daemon.log())
        reply = daemon.stub.WriteEvents(self.stubs.store.WriteEventsRequest(
            events=[events.make(self.stubs)], want_proof=True), timeout=60)
        self.assertEqual("", reply.receipts[0].checkpoint.note)
        self.assertEqual(reply.receipts[0].checkpoint.root_hash.hex(), self.postgres.value(
            "SELECT encode(root, 'hex') FROM ledger_batches WHERE first_sequence = 3"))
        ledgers.check(self, self.postgres)


class SettingsTest(LedgerCase):
    @effect_of("ledger.origin")
    def test_checkpoints_bear_the_name(self):
        self.write(self.start({"ledger.origin": "audit.example.com/prod"}))
        note = self.last_note()
        self.assertEqual("audit.example.com/prod/1", note.origin)
        ledgers.verify_note(self, note, self.public_key, self.folder)

    @effect_of("ledger.signing_key_file")
    def test_another_key_signs_after_a_reload_and_a_bad_one_changes_nothing(self):
        daemon = self.start()
        self.write(daemon)
        ledgers.verify_note(self, self.last_note(), self.public_key, self.folder)
        self.key.rename(self.key.with_suffix(".old"))
        daemon.signal(signal.SIGHUP)
        harness.wait_until(lambda: "keys of checkpoints not reloaded" in daemon.log())
        self.write(daemon)
        ledgers.verify_note(self, self.last_note(), self.public_key, self.folder)
        fresh = keygen(self.key)
        daemon.signal(signal.SIGHUP)
        harness.wait_until(lambda: daemon.log().count("checkpoints are signed") == 2)
        self.write(daemon)
        ledgers.verify_note(self, self.last_note(), fresh, self.folder)
        self.assertEqual("3", self.postgres.value("SELECT tree_size FROM ledgers"))
        ledgers.check(self, self.postgres)

    @effect_of("ledger.lease")
    def test_a_dead_daemons_ledger_is_claimed_once_its_lease_is_over(self):
        self.claim_after_death("10m", 2)
        self.claim_after_death("1s", 1)

    def claim_after_death(self, lease, ledger):
        self.postgres.empty()
        first = self.start({"ledger.lease": lease})
        self.assertEqual(1, self.ledger_of(self.write(first)))
        first.kill()
        if lease == "1s":
            harness.wait_until(lambda: self.postgres.value(
                "SELECT leased_until < now() FROM ledgers") == "t")
        second = self.start({"ledger.lease": lease})
        self.assertEqual(ledger, self.ledger_of(self.write(second)))
        ledgers.check(self, self.postgres)

    def test_keygen_never_writes_over_a_key(self):
        before = self.key.read_text()
        done = subprocess.run([str(harness.DAEMON), "keygen", str(self.key)], capture_output=True,
                              text=True, check=False)
        self.assertEqual(1, done.returncode)
        self.assertIn("File exists", done.stderr)
        self.assertEqual(before, self.key.read_text())
        self.assertEqual(0o600, self.key.stat().st_mode & 0o777)
        self.assertIn("BEGIN PUBLIC KEY", self.public_key)


class OwnersTest(LedgerCase):
    def test_daemons_on_one_database_never_share_a_ledger(self):
        daemons = [self.start({"ingest.lanes": 2}) for _ in range(3)]
        calls = [daemon.stub.WriteEvents.future(self.stubs.store.WriteEventsRequest(
            events=[events.make(self.stubs, n) for n in range(7)]), timeout=60)
            for _ in range(40) for daemon in daemons]
        owners = {}
        for i, call in enumerate(calls):
            owners.setdefault(self.ledger_of(call.result()), set()).add(i % len(daemons))
        self.assertEqual([1], sorted({len(who) for who in owners.values()}))
        self.assertEqual(str(7 * len(calls)),
                         self.postgres.value("SELECT count(*) FROM audit_events"))
        for daemon in daemons:
            self.assertEqual(0, daemon.metrics()[
                'auditstore_ingest_batches_total{result="stale"}'])
        ledgers.check(self, self.postgres)

    def test_an_idle_daemon_lets_go_and_goes_on_elsewhere(self):
        idle, busy = (self.start({"ledger.lease": "1s"}) for _ in range(2))
        self.assertEqual(1, self.ledger_of(self.write(idle)))
        harness.wait_until(lambda: self.postgres.value("SELECT leased_until < now() FROM ledgers")
                           == "t")
        self.assertEqual(1, self.ledger_of(self.write(busy)))
        self.assertEqual(2, self.ledger_of(self.write(idle)))
        self.assertIn("ledger was taken by another writer", idle.log())
        self.assertEqual(2, idle.metrics()["auditstore_ledger_claims_total"])
        ledgers.check(self, self.postgres)

    def test_a_daemon_that_stops_gives_its_ledgers_back(self):
        for _ in range(3):
            daemon = self.start({"ledger.lease": "10m"})
            self.assertEqual(1, self.ledger_of(self.write(daemon)))
            self.assertEqual(0, daemon.stop())
        self.assertEqual("t", self.postgres.value("SELECT owner IS NULL FROM ledgers"))
        ledgers.check(self, self.postgres)

    def test_nothing_is_appended_to_a_ledger_that_was_tampered_with(self):
        daemon = self.start()
        self.write(daemon, 5)
        self.assertEqual(0, daemon.stop())
        self.postgres.sql("UPDATE ledger_batches SET root = sha256('forged')")
        daemon = self.start()
        self.assertEqual(2, self.ledger_of(self.write(daemon)))
        self.assertIn("suspect ledger", daemon.log())
        self.assertEqual(1, daemon.metrics()["auditstore_ledger_suspects_total"])
        self.assertEqual("5", self.postgres.value("SELECT tree_size FROM ledgers WHERE ledger_id = 1"))
        self.assertEqual(0, daemon.stop())
        daemon = self.start()
        self.assertEqual(2, self.ledger_of(self.write(daemon)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
