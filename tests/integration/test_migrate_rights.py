"""`auditstored migrate` by a role that lacks a right: what it says can be run as it stands."""

import pathlib
import re
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness  # noqa: E402


class MigrateRightsTest(harness.PostgresCase):
    @classmethod
    def prepare_database(cls):
        cls.postgres.sql('CREATE ROLE "Some-one" LOGIN; CREATE ROLE other LOGIN')

    def migrate(self, user):
        return harness.run_daemon("migrate", settings={**self.postgres.daemon_settings(), "database.user": user})

    def test_the_grant_that_is_named_is_the_one_that_helps(self):
        done = self.migrate("Some-one")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("permission denied for schema public", done.stderr)
        grant = re.search(r"who owns the database runs: (GRANT .*? TO \S+Some-one\S+?\")", done.stderr).group(1)
        self.postgres.sql(grant.replace('\\"', '"'))
        done = self.migrate("Some-one")
        self.assertEqual(done.returncode, 0, done.stderr)
        # The tables are theirs who made them.
        done = self.migrate("other")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("run migrate as Some-one, who owns the tables", done.stderr)
        self.assertNotIn("GRANT", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
