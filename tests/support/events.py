"""Sample events for tests that speak through Python's generated code."""

import json
import time
import uuid


def make(stubs, number=0, **fields):
    """A valid event that happened now; keyword arguments set or replace its fields."""
    event = stubs.event.AuditEvent(
        event_type="test.sample", event_category="test", event_action="sample",
        outcome=stubs.event.OUTCOME_SUCCESS, event_data=json.dumps({"number": number}))
    event.event_time.FromMicroseconds(int(time.time() * 1e6))
    for name, value in fields.items():
        if name in ("actor", "resource", "error", "event_time", "duration"):
            getattr(event, name).CopyFrom(value)
        else:
            setattr(event, name, value)
    return event


def new_id():
    return str(uuid.uuid4())


def assert_dense(case, postgres):
    """Each ledger's sequences are 0..size-1, and its row says that size."""
    rows = postgres.sql(
        "SELECT l.ledger_id, l.tree_size, count(e.sequence), coalesce(min(e.sequence), 0),"
        " coalesce(max(e.sequence) + 1, 0), count(DISTINCT e.sequence)"
        " FROM ledgers l LEFT JOIN audit_events e USING (ledger_id) GROUP BY 1, 2 ORDER BY 1")
    case.assertTrue(rows)
    for ledger, size, count, first, end, distinct in rows:
        with case.subTest(ledger=ledger):
            case.assertEqual((size, size, size), (count, end, distinct))
            case.assertEqual("0", first)
