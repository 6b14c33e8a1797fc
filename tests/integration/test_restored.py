"""A database that came back from a backup: how that is told, and that nothing goes on under a name
that was used."""

import json
import pathlib
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.memory_case import MemoryCase  # noqa: E402


class RestoredTest(MemoryCase):
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

    def test_one_whose_memory_cannot_be_written_says_so(self):
        self.lose()
        in_the_way = self.memory.with_name(self.memory.name + ".tmp")
        in_the_way.mkdir()
        self.postgres.sql("UPDATE ledgers SET owner = gen_random_uuid(),"
                          " leased_until = now() + interval '10 minutes'")
        told = self.restored(code=1)
        self.assertIn("1 ledgers are leased", told)
        self.assertNotIn("daemons would", told)
        self.postgres.sql("UPDATE ledgers SET owner = NULL, leased_until = NULL")
        told = self.restored(code=1)
        self.assertIn("daemons would still refuse to start", told)
        self.assertIn(str(in_the_way), told)
        self.refuses(1, "auditstored restored")
        in_the_way.rmdir()
        self.restored()
        self.write(self.start())

    def test_without_a_memory_it_works_and_warns(self):
        daemon = self.start({"ledger.memory_file": ""})
        self.write(daemon)
        daemon.stop()
        done = self.run_daemon("restored", settings={"ledger.memory_file": ""})
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn("set ledger.memory_file", done.stderr)
        self.assertEqual(0, self.recorded()[1]["ledgers_remembered"])


class BackupTest(MemoryCase):
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
