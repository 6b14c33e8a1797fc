"""What must hold before a daemon appends: the store's name, and that the database has all that is
known to be committed."""

import pathlib
import signal
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness  # noqa: E402
from support.effects import effect_of  # noqa: E402
from support.memory_case import MemoryCase  # noqa: E402


class NameTest(MemoryCase):
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


class MemoryTest(MemoryCase):
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


if __name__ == "__main__":
    unittest.main()
