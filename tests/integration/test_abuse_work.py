"""Attacks that make much work beside an honest client; see abuse_case.py."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import abuse_case, attacks_work  # noqa: E402

ROWS = 200_000
# Of a ledger that no daemon has.
FILL = ("INSERT INTO audit_events (event_id, event_time, received_at, ledger_id, sequence, event_type, event_category,"
        " event_action, outcome) SELECT gen_random_uuid(), now(), now(), 1000000, n, 'test.row', 'test', 'row', 1"
        f" FROM generate_series(1, {ROWS}) n")


class WorkTest(abuse_case.AbuseCase):
    settings = {"ingest.max_event_age": "off", "ingest.max_event_ahead": "off"}
    is_filled = False

    def prepare(self):
        if not type(self).is_filled:
            self.postgres.sql(FILL)
            type(self).is_filled = True

    def test_work_for_some_leaves_others_theirs(self):
        self.check_each(attacks_work.ATTACKS)


if __name__ == "__main__":
    unittest.main(verbosity=2)
