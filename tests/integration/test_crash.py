"""Everything that can break breaks under load; afterwards all that was acknowledged is there once.

As a test each kind of fault strikes twice, or once in each of its ways. `test_crash.py FAULTS [SEED]`
goes on for FAULTS of them, mixed.
"""

import pathlib
import random
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import crash_faults, crash_world, harness  # noqa: E402
from support.ledger_case import keygen  # noqa: E402

# How often each strikes, of a hundred and twenty.
KINDS = {"cut": 52, "end_backend": 24, "kill_daemon": 14, "kill_backend": 6, "kill_server": 4,
         "trigger": 6, "rule": 3, "lock": 5, "sync_wait": 3, "old_copy": 3}
TABLES = "audit_events, ledgers, ledger_batches, ledger_nodes"


class CrashTest(harness.PostgresCase):
    seed = None

    def setUp(self):
        self.postgres.sql(f"TRUNCATE {TABLES}")
        self.key = self.folder / f"{self.id()}.pem"
        keygen(self.key)

    def strike(self, choose, **options):
        """`choose` gives the faults, from a source of chance."""
        seed = self.seed or random.randrange(1 << 30)
        began = time.monotonic()
        with self.subTest(seed=seed):
            world = crash_world.World(self, seed, **options)
            try:
                for fault in choose(world.random):
                    world.strike(fault)
                world.check()
            finally:
                print(f"seed {seed}: {world.report()}, {time.monotonic() - began:.0f} s", flush=True)

    def twice(self, *kinds, **options):
        self.strike(lambda chance: chance.sample(kinds * 2, len(kinds) * 2), **options)


class EachKind(CrashTest):
    def test_kills_and_cuts_lose_nothing(self):
        self.twice("cut", "end_backend", "kill_daemon", "kill_backend", "kill_server")

    def test_triggers_that_come_and_go_change_nothing_that_was_acknowledged(self):
        self.strike(lambda _: ["trigger"] * len(crash_faults.TRIGGERS))

    def test_rules_that_come_and_go_swallow_nothing_that_was_acknowledged(self):
        self.twice("rule")

    def test_an_old_copy_of_the_database_forks_no_ledger(self):
        self.twice("old_copy")

    def test_nothing_is_acknowledged_that_waits_for_a_standby(self):
        self.twice("sync_wait")

    def test_locks_leave_every_lane_at_work(self):
        self.twice("lock", daemons=2)


class Mixed(CrashTest):
    faults = 0

    def test_nothing_acknowledged_is_lost_or_doubled(self):
        self.strike(lambda chance: chance.choices(list(KINDS), KINDS.values(), k=self.faults))


def load_tests(loader, _tests, _pattern):
    return loader.loadTestsFromTestCase(Mixed if Mixed.faults else EachKind)


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].isdigit():
        Mixed.faults = int(sys.argv.pop(1))
        if sys.argv[1:]:
            CrashTest.seed = int(sys.argv.pop(1))
    unittest.main(verbosity=2)
