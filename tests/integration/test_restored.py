"""A database that has lost what was committed, by a restore or otherwise: who notices, and how an
intended restore is told."""

import json
import pathlib
import shutil
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import events, harness  # noqa: E402
from support.effects import effect_of  # noqa: E402

TABLES = ("store", "ledgers", "ledger_batches", "ledger_nodes", "audit_events", "schema_migrations")


class StoreTest(harness.PostgresCase):
    def setUp(self):
        self.postgres.empty()
        self.memory = self.folder / f"{self.id()}.memory"

    def start(self, settings=None, **options):
        daemon = self.start_daemon({"ingest.lanes": 1, "ledger.memory_file": self.memory,
                                    **(settings or {})}, **options)
        daemon.stub = self.open_stub(daemon)
        return daemon

    def write(self, daemon, count=1):
        """Each in a batch of its own. Returns the ledger of the last."""
        for n in range(count):
            reply = daemon.stub.WriteEvents(self.stubs.store.WriteEventsRequest(
                events=[events.make(self.stubs, n)]), timeout=60)
        return reply.receipts[0].ledger_id

    def run_daemon(self, *args, settings=None):
        return harness.run_daemon(*args, settings={
            **self.postgres.daemon_settings(), "ingest.lanes": 1, "server.listen": "127.0.0.1:0",
            "http.listen": "off", "ledger.memory_file": self.memory, **(settings or {})})

    def refuses(self, code, *words, settings=None, command=()):
        done = self.run_daemon(*command, settings=settings)
        self.assertEqual(code, done.returncode, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)

    def dump(self):
        """All rows of all tables, with what changes when one is written anew."""
        return {table: self.postgres.sql(f"SELECT xmin, ctid, t FROM {table} t ORDER BY t::text")
                for table in TABLES}

    def remember(self, lines):
        """Writes the memory's file: [(ledger id, size, root in base64)]."""
        origin = self.postgres.value("SELECT origin FROM store")
        text = f"auditstore/memory/v1\n{origin}\nlast {max(line[0] for line in lines)}\n"
        text += "".join(f"{ledger} {size} {root}\n" for ledger, size, root in lines)
        digest = subprocess.run(["sha256sum"], input=text, capture_output=True, text=True,
                                check=True).stdout.split()[0]
        self.memory.write_text(f"{text}{digest}\n", encoding="ascii")

    def heads(self):
        return [(int(ledger), int(size), root) for ledger, size, root in self.postgres.sql(
            "SELECT ledger_id, first_sequence + event_count, encode(root, 'base64')"
            " FROM ledger_batches b WHERE first_sequence = (SELECT max(first_sequence)"
            " FROM ledger_batches WHERE ledger_id = b.ledger_id) ORDER BY 1")]


class NameTest(StoreTest):
    def test_a_new_store_has_a_name_of_its_own(self):
        self.start()
        store_id, origin = self.postgres.sql("SELECT store_id, origin FROM store")[0]
        self.assertEqual("auditstore/" + store_id.replace("-", "")[:16], origin)

    def test_the_first_daemon_sets_the_name_for_good(self):
        self.start({"ledger.origin": "audit.example.com/prod"}).stop()
        self.start().stop()
        daemon = self.start({"ledger.origin": "audit.example.com/prod"})
        self.assertEqual("audit.example.com/prod", self.postgres.value("SELECT origin FROM store"))
        self.write(daemon)

    def test_another_name_is_refused_before_anything_changes(self):
        daemon = self.start({"ledger.origin": "audit.example.com/prod"})
        self.write(daemon, 3)
        daemon.stop()
        before = self.dump()
        self.refuses(2, "audit.example.com/test", "audit.example.com/prod", "ledger.origin",
                     settings={"ledger.origin": "audit.example.com/test"})
        self.refuses(2, "audit.example.com/prod", command=("restored",),
                     settings={"ledger.origin": "audit.example.com/test"})
        self.assertEqual(before, self.dump())

    def test_a_reload_keeps_the_name(self):
        config = self.folder / f"{self.id()}.yaml"
        harness.write_config(config, {"ledger.origin": "audit.example.com/prod"})
        daemon = self.start(config=config)
        self.write(daemon)
        harness.write_config(config, {"ledger.origin": "audit.example.com/test"})
        daemon.signal(signal.SIGHUP)
        harness.wait_until(lambda: "settings reloaded" in daemon.log())
        self.write(daemon)
        self.assertEqual("audit.example.com/prod", self.postgres.value("SELECT origin FROM store"))
        daemon.stop()

    def test_a_store_without_its_row_is_refused(self):
        row = self.postgres.value("SELECT store_id FROM store")
        self.postgres.sql("DELETE FROM store")
        try:
            self.refuses(1, "0 rows instead of one")
        finally:
            self.postgres.sql(f"INSERT INTO store (store_id) VALUES ('{row}')")

    def test_there_is_never_a_second_row(self):
        with self.assertRaisesRegex(RuntimeError, "store_one_row"):
            self.postgres.sql("INSERT INTO store DEFAULT VALUES")


class MemoryTest(StoreTest):
    @effect_of("ledger.memory_file")
    def test_a_database_that_lost_a_batch_is_refused(self):
        daemon = self.start()
        ledger = self.write(daemon, 3)
        daemon.stop()
        ((_, size, root),) = self.heads()
        self.assertEqual(3, size)
        self.remember([(ledger, 3, root)])
        self.start().stop()
        self.remember([(ledger, 4, root)])
        self.refuses(1, f"ledger {ledger}: 4 events", "has 3 of them", "auditstored restored")

    def test_a_database_that_lost_a_ledger_is_refused(self):
        daemon = self.start()
        ledger = self.write(daemon)
        daemon.stop()
        ((_, size, root),) = self.heads()
        self.remember([(ledger, size, root), (ledger + 7, 1, root)])
        self.refuses(1, f"ledger {ledger + 7}: 1 events", "doesn't have it", "(1 ledgers")

    def test_a_database_with_another_history_is_refused(self):
        daemon = self.start()
        ledger = self.write(daemon, 3)
        daemon.stop()
        ((_, size, root),) = self.heads()
        other = self.postgres.value(
            "SELECT encode(root, 'base64') FROM ledger_batches WHERE first_sequence = 0")
        self.remember([(ledger, size, other)])
        self.refuses(1, "has others in their place", "auditstored restored")
        # Also where the ledger has grown behind that.
        self.remember([(ledger, size - 1, root)])
        self.refuses(1, "has others in their place")
        # And where no batch ends.
        self.postgres.sql("UPDATE ledger_batches SET first_sequence = 7 WHERE first_sequence = 1")
        self.remember([(ledger, size - 1, root)])
        self.refuses(1, "has others in their place")

    def test_a_database_that_is_ahead_is_fine(self):
        daemon = self.start()
        ledger = self.write(daemon, 5)
        daemon.stop()
        first = self.postgres.value(
            "SELECT encode(root, 'base64') FROM ledger_batches WHERE first_sequence = 1")
        self.remember([(ledger, 2, first)])
        self.write(self.start())

    def test_a_torn_memory_is_no_first_run(self):
        self.start().stop()
        self.memory.write_bytes(self.memory.read_bytes()[:-1])
        self.refuses(1, str(self.memory), "torn", "move the file away")
        self.memory.write_text("", encoding="ascii")
        self.refuses(1, str(self.memory), "torn")
        self.memory.unlink()
        self.start()

    def test_two_daemons_do_not_share_a_memory(self):
        self.start()
        self.refuses(1, f"{self.memory}.lock", "another process", "a file of its own")

    def test_a_memory_of_another_store_is_refused(self):
        self.start({"ledger.origin": "audit.example.com/prod"}).stop()
        self.postgres.empty()
        self.refuses(1, "audit.example.com/prod", "audit.example.com/test",
                     settings={"ledger.origin": "audit.example.com/test"})

    def test_many_ledgers_are_checked(self):
        self.start().stop()
        self.postgres.sql(
            "INSERT INTO ledgers (ledger_id, tree_size) SELECT n, n FROM generate_series(1, 100000) n;"
            "INSERT INTO ledger_batches (ledger_id, first_sequence, event_count, leaf_hashes, root,"
            " committed_at) SELECT n, n - 1, 1, sha256('x'), sha256(n::text::bytea), now()"
            " FROM generate_series(1, 100000) n; ANALYZE")
        heads = self.heads()
        self.assertEqual(100000, len(heads))
        self.remember(heads)
        self.start().stop()
        ledger, size, root = heads[99998]
        heads[99998] = (ledger, size + 1, root)
        self.remember(heads)
        self.refuses(1, "ledger 99999: 100000 events", "has 99999 of them")


class RestoredTest(StoreTest):
    def restored(self, code=0):
        done = self.run_daemon("restored")
        self.assertEqual(code, done.returncode, done.stderr)
        return done.stderr

    def cut(self, ledger, size):
        """The database as it was at that size, by the records' own account."""
        self.postgres.sql(
            f"DELETE FROM audit_events WHERE ledger_id = {ledger} AND sequence >= {size};"
            f"DELETE FROM ledger_batches WHERE ledger_id = {ledger} AND first_sequence >= {size}")
        self.postgres.sql(f"UPDATE ledgers SET tree_size = {size}, owner = NULL, leased_until = NULL"
                          f" WHERE ledger_id = {ledger}")

    def lose(self, keep=4, written=6):
        """A ledger of `written` events of which the database has only `keep`, and a daemon that knows
        better. Returns its id."""
        daemon = self.start()
        ledger = self.write(daemon, written)
        daemon.stop()
        self.remember(self.heads())
        self.cut(ledger, keep)
        return ledger

    def recorded(self):
        ((principal, category, ledger, data),) = self.postgres.sql(
            "SELECT principal, event_category, ledger_id, event_data FROM audit_events"
            " WHERE event_type = 'auditstore.store.restored' ORDER BY event_time DESC LIMIT 1")
        self.assertEqual(("auditstore:self", "ledger"), (principal, category))
        return int(ledger), json.loads(data)

    def test_nothing_goes_on_under_a_name_that_was_used(self):
        ledger = self.lose()
        self.refuses(1, "auditstored restored")
        self.restored()
        self.assertEqual([["4", "t", ""]], self.postgres.sql(
            "SELECT tree_size, closed_since IS NOT NULL, suspect_since FROM ledgers"
            f" WHERE ledger_id = {ledger}"))
        self.assertEqual("1", self.postgres.value("SELECT epoch FROM store"))
        daemon = self.start()
        self.assertEqual(1000001, self.write(daemon))
        daemon.stop()
        self.assertEqual("4", self.postgres.value(
            f"SELECT tree_size FROM ledgers WHERE ledger_id = {ledger}"))

    def test_what_was_lost_is_recorded(self):
        ledger = self.lose()
        remembered = self.memory.read_text(encoding="ascii").splitlines()[3].split()
        self.restored()
        where, data = self.recorded()
        self.assertEqual(1000001, where)
        self.assertEqual({"old_epoch": 0, "epoch": 1, "ledgers_closed": 1, "ledgers_found": 1,
                          "ledgers_remembered": 1, "ledgers_behind": 1,
                          "behind": [{"ledger_id": ledger, "remembered_size": 6,
                                      "remembered_root": remembered[2], "found_size": 4}]}, data)

    def test_a_second_run_begins_another_epoch_and_says_so(self):
        self.lose()
        self.restored()
        log = self.restored()
        self.assertIn("restored before: another epoch begins", log)
        self.assertEqual(2, self.recorded()[1]["epoch"])
        self.assertEqual([["1000001", "t"], ["2000001", "f"]], self.postgres.sql(
            "SELECT ledger_id, closed_since IS NOT NULL FROM ledgers WHERE ledger_id > 1000000"
            " ORDER BY 1"))
        self.assertEqual(2000001, self.write(self.start()))

    def test_ids_of_an_epoch_that_the_backup_has_not_heard_of_stay_used(self):
        """The same backup is restored twice: the row's epoch goes back, the memory's doesn't."""
        self.lose()
        self.restored()
        daemon = self.start()
        self.write(daemon)
        daemon.stop()
        self.postgres.empty()
        self.postgres.sql("UPDATE store SET origin = 'auditstore/' ||"
                          " left(replace(store_id::text, '-', ''), 16)")
        self.restored()
        self.assertEqual(2000001, self.write(self.start()))

    def test_nothing_is_changed_while_a_daemon_holds_a_lease(self):
        daemon = self.start({"ledger.memory_file": "", "ledger.lease": "10m"})
        self.write(daemon, 2)
        before = self.dump()
        self.refuses(1, "nothing was changed", "1 ledgers are leased", "stop all daemons",
                     command=("restored",))
        self.assertEqual(before, self.dump())
        daemon.stop()
        self.restored()

    def test_nothing_is_changed_while_an_idle_daemon_has_the_memory(self):
        self.start()
        before = self.dump()
        self.refuses(1, "nothing was changed", "another process", "stop it first",
                     command=("restored",))
        self.assertEqual(before, self.dump())

    def test_nothing_is_changed_when_the_memory_cannot_be_relied_on(self):
        self.lose()
        self.memory.write_bytes(self.memory.read_bytes()[1:])
        before = self.dump()
        self.refuses(1, "nothing was changed", "torn", command=("restored",))
        self.assertEqual(before, self.dump())

    def test_one_that_was_cut_short_can_be_run_again(self):
        """The event can't be stored: the ledgers are closed, and a daemon still refuses to start."""
        self.lose()
        self.postgres.sql("ALTER TABLE audit_events ADD CONSTRAINT no_restore"
                          " CHECK (event_type <> 'auditstore.store.restored')")
        try:
            self.assertIn("run it again", self.restored(code=1))
            self.refuses(1, "auditstored restored")
        finally:
            self.postgres.sql("ALTER TABLE audit_events DROP CONSTRAINT no_restore")
        self.restored()
        self.assertEqual(2000001, self.write(self.start()))

    def test_without_a_memory_it_works_and_warns(self):
        daemon = self.start({"ledger.memory_file": ""})
        self.write(daemon)
        daemon.stop()
        done = self.run_daemon("restored", settings={"ledger.memory_file": ""})
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn("set ledger.memory_file", done.stderr)
        self.assertEqual(0, self.recorded()[1]["ledgers_remembered"])


class BackupTest(StoreTest):
    def test_a_restored_copy_of_the_whole_server_is_noticed(self):
        """PostgreSQL's own files go back, as a backup of the volume would."""
        daemon = self.start()
        ledger = self.write(daemon, 2)
        daemon.stop()
        self.postgres.stop()
        data = self.postgres.folder / "data"
        backup = self.folder / "backup"
        subprocess.run(["cp", "-a", data, backup], check=True)
        self.postgres.restart()
        daemon = self.start()
        self.write(daemon, 3)
        daemon.stop()
        self.remember(self.heads())
        self.postgres.stop()
        shutil.rmtree(data)
        subprocess.run(["cp", "-a", backup, data], check=True)
        self.postgres.restart()
        self.refuses(1, f"ledger {ledger}: 5 events", "has 2 of them", "auditstored restored")
        done = self.run_daemon("restored")
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertEqual(1000001, self.write(self.start()))


if __name__ == "__main__":
    unittest.main()
