"""Attacks on memory beside an honest client; see abuse_case.py."""

import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import abuse_case, attacks_memory, events  # noqa: E402

# A page of these is as large as a page may be.
LARGE_EVENTS = 14
LARGE_DATA = json.dumps({"x": "y" * 262000})


class MemoryTest(abuse_case.AbuseCase):
    def prepare(self):
        for _ in range(LARGE_EVENTS):
            self.rig.stub.WriteEvents(self.stubs.store.WriteEventsRequest(
                events=[events.make(self.stubs, event_data=LARGE_DATA)]), timeout=30)

    def test_memory_stays_within_the_limits_and_comes_back(self):
        self.check_each(attacks_memory.ATTACKS)


if __name__ == "__main__":
    unittest.main(verbosity=2)
