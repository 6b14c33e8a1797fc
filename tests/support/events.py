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
