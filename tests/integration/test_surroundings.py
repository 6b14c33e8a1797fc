"""What a DBA puts onto the tables, and databases of another encoding: the daemon's start and
migrate say so, and refuse what would endanger rows."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness  # noqa: E402

TRIGGER = ("CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
           "CREATE TRIGGER theirs BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION look()")


class SurroundingsTest(harness.PostgresCase):
    def setUp(self):
        self.settings = {"server.listen": "127.0.0.1:0", **self.postgres.daemon_settings()}

    def do(self, statement, undo):
        self.postgres.sql(statement)
        self.addCleanup(self.postgres.sql, undo)

    def assert_refused(self, *texts):
        """By the start and by migrate."""
        for verb in ([], ["migrate"]):
            done = harness.run_daemon(*verb, settings=self.settings)
            self.assertEqual(done.returncode, 1, done.stderr)
            for text in texts:
                self.assertIn(text, done.stderr)

    def test_a_trigger_is_told_and_the_daemon_serves(self):
        self.do(TRIGGER.format(table="audit_events"), "DROP FUNCTION look() CASCADE")
        done = harness.run_daemon("migrate", settings=self.settings)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("trigger theirs on audit_events (enabled, before insert", done.stderr)
        self.assertIn("drop or disable it", done.stderr)
        daemon = self.start_daemon()
        self.assertIn("trigger theirs on audit_events (enabled, before insert", daemon.log())
        self.assertIn("on the tables stands what isn't ours", daemon.log())

    def test_nothing_is_told_of_our_own_tables(self):
        daemon = self.start_daemon()
        self.assertNotIn("isn't ours", daemon.log())

    def test_a_rule_is_refused_with_the_command_that_drops_it(self):
        self.do("CREATE RULE nothing AS ON INSERT TO audit_events DO INSTEAD NOTHING",
                "DROP RULE IF EXISTS nothing ON audit_events")
        self.assert_refused("DROP RULE nothing ON audit_events")
        self.postgres.sql("DROP RULE nothing ON audit_events")
        self.start_daemon()

    def test_an_unlogged_table_is_refused_with_the_command_that_mends_it(self):
        self.do("ALTER TABLE ledger_batches SET UNLOGGED", "ALTER TABLE ledger_batches SET LOGGED")
        self.assert_refused("ALTER TABLE ledger_batches SET LOGGED")

    def test_another_type_is_refused(self):
        self.do("ALTER TABLE audit_events ALTER event_data TYPE jsonb",
                "ALTER TABLE audit_events ALTER event_data TYPE json")
        self.assert_refused("ALTER TABLE audit_events ALTER COLUMN event_data TYPE json")

    def test_a_column_that_was_renamed_is_named(self):
        self.do("ALTER TABLE audit_events RENAME principal TO who",
                "ALTER TABLE audit_events RENAME who TO principal")
        self.assert_refused("principal", "restore it or rename it back")

    def test_row_security_that_meets_the_daemon_is_refused(self):
        self.do("CREATE ROLE guest LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO guest;"
                "ALTER TABLE ledgers ENABLE ROW LEVEL SECURITY",
                "ALTER TABLE ledgers DISABLE ROW LEVEL SECURITY; DROP OWNED BY guest;"
                "DROP ROLE guest")
        self.settings["database.user"] = "guest"
        self.assert_refused("row security on ledgers", "ALTER ROLE guest BYPASSRLS")


class MigrationTest(harness.PostgresCase):
    @classmethod
    def prepare_database(cls):
        pass

    def test_what_can_be_migrated_is_before_the_refusal(self):
        settings = self.postgres.daemon_settings()
        self.postgres.sql("CREATE TABLE schema_migrations (version int4 PRIMARY KEY CHECK (version"
                          " > 0), name text NOT NULL, checksum bytea NOT NULL,"
                          " applied_at timestamptz(0) NOT NULL DEFAULT now())")
        done = harness.run_daemon("migrate", settings=settings)
        self.assertEqual(done.returncode, 1)
        self.assertIn("ALTER TABLE schema_migrations ALTER COLUMN applied_at TYPE", done.stderr)
        self.assertGreater(int(self.postgres.value("SELECT max(version) FROM schema_migrations")), 0)
        self.postgres.sql("ALTER TABLE schema_migrations ALTER COLUMN applied_at TYPE timestamptz")
        harness.migrate(self.postgres)


class EncodingTest(harness.PostgresCase):
    @classmethod
    def prepare_database(cls):
        pass

    def check_encoding(self, name):
        database = name.lower()
        self.postgres.sql(f"CREATE DATABASE {database} ENCODING {name} LOCALE 'C' TEMPLATE template0")
        settings = {"server.listen": "127.0.0.1:0", **self.postgres.daemon_settings(),
                    "database.name": database}
        for verb in (["migrate"], []):
            done = harness.run_daemon(*verb, settings=settings)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"encoding is {name}", done.stderr)
            self.assertIn("createdb -E UTF8 --template template0", done.stderr)
        # Nothing was made.
        self.postgres.sql(f"DROP DATABASE {database}")

    def test_latin1_is_refused(self):
        self.check_encoding("LATIN1")

    def test_sql_ascii_is_refused(self):
        self.check_encoding("SQL_ASCII")

    def test_another_encoding_of_many_bytes_is_refused(self):
        self.check_encoding("EUC_JP")


if __name__ == "__main__":
    unittest.main(verbosity=2)
