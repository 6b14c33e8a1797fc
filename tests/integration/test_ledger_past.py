"""Ledgers that aren't as they were: forged tails, older copies, keys that changed. Nothing that was signed is
signed again with other events behind it, and no honest history raises an alarm."""

import pathlib
import shutil
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import events, harness, ledgers, proxy  # noqa: E402
from support.ledger_case import LedgerCase, keygen  # noqa: E402

SUSPECTS = "auditstore_ledger_suspects_total"


class ForgedTailTest(LedgerCase):
    """Whoever can write to the database but has no key appends an event with hashes that are right."""

    def forge(self, note="NULL", ledger=1):
        size = int(self.postgres.value(f"SELECT tree_size FROM ledgers WHERE ledger_id = {ledger}"))
        stored = self.stubs.event.StoredEvent(ledger_id=ledger, sequence=size, principal="cn:billing")
        event = stored.event
        event.event_id, event.outcome = events.new_id(), 1
        event.event_type, event.event_category, event.event_action = "paid", "money", "pay"
        now_us = int(time.time() * 1e6)
        event.event_time.FromMicroseconds(now_us)
        stored.received_at.FromMicroseconds(now_us)
        leaf = ledgers.leaf_hash(stored.SerializeToString(deterministic=True))
        log = ledgers.check_batches(self, self.postgres, ledger)
        log.append(leaf)
        edge = b"".join(root for _, root in reversed(log.edge)).hex()
        moment = f"timestamptz 'epoch' + interval '1 microsecond' * {now_us}"
        self.postgres.sql(
            "BEGIN; INSERT INTO audit_events (event_id, event_time, received_at, ledger_id, sequence,"
            f" event_type, event_category, event_action, outcome, principal) VALUES ('{event.event_id}',"
            f" {moment}, {moment}, {ledger}, {size}, 'paid', 'money', 'pay', 1, 'cn:billing');"
            f" UPDATE ledgers SET tree_size = {size + 1}, edge = '\\x{edge}' WHERE ledger_id = {ledger};"
            f" INSERT INTO ledger_batches VALUES ({ledger}, {size}, 1, '\\x{leaf.hex()}',"
            f" '\\x{log.root().hex()}', now(), {note}); COMMIT")
        return log

    def assert_not_adopted(self, daemon, size):
        for _ in range(2):
            self.assertEqual(2, self.ledger_of(self.write(daemon, 2)))
        self.assertEqual([[str(size), "t"]], self.postgres.sql(
            "SELECT tree_size, suspect_since IS NOT NULL FROM ledgers WHERE ledger_id = 1"))
        self.assertIn("suspect ledger", daemon.log())
        self.assertEqual(1, daemon.metrics()[SUSPECTS])

    def test_an_unsigned_tail_is_not_adopted(self):
        daemon = self.start()
        self.write(daemon, 3)
        self.forge()
        self.assert_not_adopted(daemon, 4)

    def test_nor_is_it_after_a_restart(self):
        daemon = self.start()
        self.write(daemon, 3)
        self.assertEqual(0, daemon.stop())
        self.forge()
        self.assert_not_adopted(self.start(), 4)

    def test_a_note_that_was_used_before_signs_no_tail(self):
        daemon = self.start()
        self.write(daemon, 3)
        self.assertEqual(0, daemon.stop())
        self.forge(note="(SELECT checkpoint FROM ledger_batches LIMIT 1)")
        self.assert_not_adopted(self.start(), 4)

    def test_a_tail_signed_with_another_key_is_not_adopted(self):
        daemon = self.start()
        self.write(daemon, 3)
        self.assertEqual(0, daemon.stop())
        log = self.forge()
        self.postgres.sql(f"UPDATE ledger_batches SET checkpoint = '{self.sign(log)}'"
                          " WHERE first_sequence = 3")
        self.assert_not_adopted(self.start(), 4)

    def sign(self, log):
        """A note of the log's state under a key of the forger's own."""
        key, body = self.folder / f"{self.id()}.foreign.pem", self.folder / "body"
        public = ledgers.raw_public_key(keygen(key))
        name = self.last_name()
        text = f"{name}\n{log.size}\n{ledgers.base64.b64encode(log.root()).decode()}\n"
        body.write_text(text)
        signature = subprocess.run(
            ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", body],
            capture_output=True, check=True).stdout
        key_id = ledgers.hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4]
        line = ledgers.base64.b64encode(key_id + signature).decode()
        return f"{text}\n{ledgers.MARK}{name} {line}\n"

    def last_name(self):
        return self.postgres.value("SELECT split_part(checkpoint, E'\\n', 1) FROM ledger_batches"
                                   " WHERE first_sequence = 0")

    def test_a_note_that_was_taken_away_is_noticed(self):
        daemon = self.start()
        self.write(daemon, 3)
        self.write(daemon, 2)
        self.assertEqual(0, daemon.stop())
        self.postgres.sql("UPDATE ledger_batches SET checkpoint = NULL WHERE first_sequence = 3")
        self.assert_not_adopted(self.start(), 5)


class KeysTest(LedgerCase):
    def restart_with_fresh_key(self, **settings):
        fresh = self.folder / f"{self.id()}.fresh.pem"
        self.fresh_public = keygen(fresh)
        return self.start({"ledger.signing_key_file": fresh, **settings})

    def test_a_key_can_be_changed_without_an_alarm(self):
        daemon = self.start()
        self.write(daemon, 3)
        self.assertEqual(0, daemon.stop())
        trusted = self.folder / f"{self.id()}.trusted"
        trusted.write_text(self.public_key)
        daemon = self.restart_with_fresh_key(**{"ledger.trusted_keys_file": trusted})
        self.assertEqual(1, self.ledger_of(self.write(daemon, 2)))
        ledgers.verify_note(self, self.last_note(), self.fresh_public, self.folder)
        self.assertEqual(0, daemon.metrics()[SUSPECTS])
        ledgers.check(self, self.postgres)

    def test_a_store_that_gets_its_first_key_raises_no_alarm(self):
        daemon = self.start({"ledger.signing_key_file": ""})
        self.write(daemon, 3)
        self.assertEqual(0, daemon.stop())
        daemon = self.start()
        self.assertEqual(2, self.ledger_of(self.write(daemon, 2)))
        self.assertEqual(0, daemon.metrics()[SUSPECTS])
        self.assertNotIn("ERROR", daemon.log())
        ledgers.check(self, self.postgres)

    def test_what_the_memory_file_knows_needs_no_trusted_key(self):
        memory = self.folder / f"{self.id()}.memory"
        daemon = self.start({"ledger.memory_file": memory})
        self.write(daemon, 3)
        self.assertEqual(0, daemon.stop())
        daemon = self.restart_with_fresh_key(**{"ledger.memory_file": memory})
        self.assertEqual(1, self.ledger_of(self.write(daemon, 2)))
        self.assertEqual(0, daemon.metrics()[SUSPECTS])


class OlderCopyTest(LedgerCase):
    """The server that answers now is an older copy of the one that answered before."""

    def setUp(self):
        super().setUp()
        self.copy = self.folder / f"{self.id()}.copy"

    def take_copy(self):
        self.postgres.stop()
        subprocess.run(["cp", "-a", self.postgres.folder / "data", self.copy], check=True)
        self.postgres.restart()

    def put_back(self):
        self.postgres.stop("immediate")
        shutil.rmtree(self.postgres.folder / "data")
        subprocess.run(["cp", "-a", self.copy, self.postgres.folder / "data"], check=True)
        self.postgres.restart()

    def prove(self, daemon, deadline_s=60):
        """(ledger, tree size, root) that one write is given, once the store takes one."""
        def attempt():
            try:
                return daemon.stub.WriteEvents(self.stubs.store.WriteEventsRequest(
                    events=[events.make(self.stubs)], want_proof=True), timeout=10)
            except harness.grpc.RpcError as err:
                self.assertEqual("UNAVAILABLE", err.code().name, err.details())
                return None
        reply = harness.wait_until(attempt, deadline_s, "a write is taken")
        checkpoint = reply.receipts[0].checkpoint
        return checkpoint.ledger_id, checkpoint.tree_size, checkpoint.root_hash

    def test_no_size_is_signed_twice_under_a_running_daemon(self):
        daemon = self.start()
        signed = [self.prove(daemon) for _ in range(5)]
        self.take_copy()
        signed += [self.prove(daemon) for _ in range(5)]
        self.put_back()
        signed += [self.prove(daemon) for _ in range(5)]
        self.assertEqual(15, len({(ledger, size) for ledger, size, _ in signed}))
        self.assertEqual({1, 1000001}, {ledger for ledger, _, _ in signed})
        self.assertIn("smaller than this daemon knew it", daemon.log())
        self.assertEqual(1, daemon.metrics()[SUSPECTS])

    def test_nor_by_one_that_starts_on_it_and_remembers(self):
        memory = self.folder / f"{self.id()}.memory"
        daemon = self.start({"ledger.memory_file": memory})
        self.prove(daemon)
        self.assertEqual(0, daemon.stop())
        self.take_copy()
        daemon = self.start({"ledger.memory_file": memory})
        self.prove(daemon)
        self.assertEqual(0, daemon.stop())
        self.put_back()
        done = harness.run_daemon(settings={
            **self.postgres.daemon_settings(), "ledger.signing_key_file": self.key,
            "ledger.memory_file": memory, "server.listen": "127.0.0.1:0", "http.listen": "off"})
        self.assertEqual(1, done.returncode, done.stderr)
        self.assertIn("auditstored restored", done.stderr)


class LostClaimTest(LedgerCase):
    def test_a_lane_whose_first_claim_is_not_answered_goes_on(self):
        between = proxy.Proxy(self.postgres.port)
        self.addCleanup(between.close)
        daemon = self.start({"database.port": between.port})
        lost = 0
        while self.postgres.value("SELECT count(*) FROM ledgers") == "0" and lost < 50:
            between.cut_in = 200 + 400 * lost
            lost += 1
            try:
                self.write(daemon)
            except harness.grpc.RpcError as err:
                self.assertEqual("UNAVAILABLE", err.code().name, err.details())
        between.cut_in = None
        for _ in range(5):
            harness.wait_until(lambda: self.takes(daemon))
        self.assertEqual("1", self.postgres.value("SELECT count(*) FROM ledgers"))

    def takes(self, daemon):
        try:
            return self.write(daemon)
        except harness.grpc.RpcError as err:
            self.assertEqual("UNAVAILABLE", err.code().name, err.details())
            return None


if __name__ == "__main__":
    unittest.main(verbosity=2)
