"""A case about auditstore, the command-line tool: lines for `send`, and what `list` says of them."""

import json
import uuid

from support import harness

TIME = "2026-03-01T12:00:00Z"


def line(**fields):
    """One line for `auditstore send`; None removes a field."""
    event = {"event_time": TIME, "event_type": "test.tool", "event_category": "test",
             "event_action": "run", "outcome": "SUCCESS", **fields}
    return json.dumps({key: value for key, value in event.items() if value is not None}) + "\n"


def lines(count, **fields):
    return "".join(line(event_id=str(uuid.uuid4()), **fields) for _ in range(count))


class ToolCase(harness.StoreCase):
    settings = {"ingest.max_event_age": "off"}

    def run_tool(self, *args, **kwargs):
        return harness.run_tool(self.daemon.address, *args, **kwargs)

    def send(self, text, *args, code=0):
        done = self.run_tool("send", *args, stdin=text)
        self.assertEqual(done.returncode, code, done.stderr + done.stdout)
        return done

    def list_json(self, *args):
        """JSON Lines end at line feeds alone: U+2028 and the like may stand within one."""
        done = self.run_tool("list", "--json", "--limit", "0", *args)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(text) for text in done.stdout.split("\n") if text]
