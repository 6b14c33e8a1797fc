"""Attacks on memory beside an honest client; see abuse_case.py."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import abuse_case, attacks_memory  # noqa: E402


class MemoryTest(abuse_case.AbuseCase):
    def prepare(self):
        self.rig.add_large_events()

    def test_memory_stays_within_the_limits_and_comes_back(self):
        self.check_each(attacks_memory.ATTACKS)


if __name__ == "__main__":
    unittest.main(verbosity=2)
