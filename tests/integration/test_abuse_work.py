"""Attacks that make much work beside an honest client; see abuse_case.py."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import abuse, abuse_case, attacks_work  # noqa: E402

ROWS = 200_000


class WorkTest(abuse_case.AbuseCase):
    settings = {"ingest.max_event_age": "off", "ingest.max_event_ahead": "off"}

    def prepare(self):
        abuse.add_rows(self.postgres, ROWS)

    def test_work_for_some_leaves_others_theirs(self):
        self.check_each(attacks_work.ATTACKS)


if __name__ == "__main__":
    unittest.main(verbosity=2)
