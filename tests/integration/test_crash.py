"""Everything that can be killed is killed under load; afterwards all that was acknowledged is there once.

As a test each kind of fault strikes a few times. `test_crash.py FAULTS [SEED]` goes on for FAULTS of them.
"""

import pathlib
import random
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import crash, harness  # noqa: E402

# How often each strikes, of a hundred.
KINDS = {"cut": 52, "end_backend": 24, "kill_daemon": 14, "kill_backend": 6, "kill_server": 4}


class CrashTest(harness.PostgresCase):
    faults = None  # each kind, twice
    seed = None

    def setUp(self):
        self.key = self.folder / "key.pem"
        subprocess.run([str(harness.DAEMON), "keygen", str(self.key)], check=True,
                       stdout=subprocess.DEVNULL)

    def test_nothing_acknowledged_is_lost_or_doubled(self):
        seed = self.seed or random.randrange(1 << 30)
        began = time.monotonic()
        with self.subTest(seed=seed):
            world = crash.World(self, seed)
            faults = list(KINDS) * 2
            if self.faults:
                faults = world.random.choices(list(KINDS), KINDS.values(), k=self.faults)
            else:
                world.random.shuffle(faults)
            for fault in faults:
                world.strike(fault)
            world.check()
            print(f"seed {seed}: {world.report()}, {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].isdigit():
        CrashTest.faults = int(sys.argv.pop(1))
        if sys.argv[1:]:
            CrashTest.seed = int(sys.argv.pop(1))
    unittest.main(verbosity=2)
