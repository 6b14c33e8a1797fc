"""auditstore's JSON: event_data is the object that was sent, byte for byte, whatever it holds."""

import contextlib
import json
import os
import pathlib
import pty
import subprocess
import sys
import unittest
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness  # noqa: E402
from support.tool_case import ToolCase, line  # noqa: E402


class EventDataTest(ToolCase):
    def test_event_data_is_kept_byte_for_byte(self):
        for data in ('{"n":1.10,"big":123456789012345678901234567890,"e":1E400}',
                     '{ "b" : 1 ,\t"a":2, "t":"}]\\"{[\\u00e9" }', "{}",
                     '{"a":"\u2028\u2029\u200e\u05d0\u200f\u061c\u202e\u2066\u2069\x7f\x85\x9b\ufeff"}',
                     '{"\u202e":["\x7f"],"b":"\\"\u200f\\\\\U0001f600"}'):
            with self.subTest(data=data):
                tag = str(uuid.uuid4())
                text = line(correlation_id=tag).rstrip("}\n") + f', "event_data": {data} }}\n'
                self.send(text)
                stored = self.postgres.value(
                    f"SELECT event_data::text FROM audit_events WHERE correlation_id = '{tag}'")
                self.assertEqual(stored, data)
                raw = self.run_tool("list", "--json", "--correlation", tag).stdout
                self.assertIn(f'"event_data":{data}}}', raw)
                self.assertEqual(json.loads(raw)["event"]["event_data"], json.loads(data))

    def test_line_breaks_of_event_data_become_blanks_and_nothing_else_does(self):
        data = '{\n \t"a\u2028": "x\\ny\x85",\r\n"b":[\r\r]\n}'
        event_id = str(uuid.uuid4())
        self.send(line(event_id=event_id, event_data=data))
        done = self.run_tool("get", event_id, "--json")
        self.assertEqual((done.stdout.count("\n"), done.stdout.count("\r")), (1, 0))
        self.assertIn('"event_data":{  \t"a\u2028": "x\\ny\x85",  "b":[  ] }}', done.stdout)
        self.assertEqual(json.loads(done.stdout)["event"]["event_data"],
                         {"a\u2028": "x\ny\x85", "b": []})

    def test_what_was_listed_can_be_sent_again(self):
        tag = str(uuid.uuid4())
        data = '{ "user":"\u05d0\u200f",\t"n":1.0e2 }'
        self.send(line(correlation_id=tag, event_data="@").replace('"@"', data))
        listed = self.run_tool("list", "--json", "--correlation", tag).stdout
        event = listed[len('{"event":'):listed.index(',"received_at"')]
        again = self.send(event + "\n")
        self.assertIn("acknowledged 1 (1 of them stored before)", again.stdout)

    def on_terminal(self, *args):
        """What the tool prints when its standard output is a terminal, without the terminal's line ends."""
        master, slave = pty.openpty()
        with subprocess.Popen([str(harness.TOOL), "--server", self.daemon.address, *args], stdout=slave,
                              stdin=subprocess.DEVNULL) as process:
            os.close(slave)
            parts = []
            with contextlib.suppress(OSError):  # a terminal's end
                while part := os.read(master, 65536):
                    parts.append(part)
            self.assertEqual(process.wait(60), 0)
        os.close(master)
        return b"".join(parts).decode("utf-8").replace("\r\n", "\n")

    def test_on_a_terminal_event_data_is_the_same_value_in_escapes(self):
        tag = str(uuid.uuid4())
        value = {"\u202ekey": "\x7f\x85\x9b31m", "a": ["\u200f\u05d0\u200e", "\u2028\u2069"], "t": "\"\\",
                 "unseen": "\u200b\ufeff\ufe0f\U000e0061"}
        data = json.dumps(value, ensure_ascii=False, indent="\t")
        self.send(line(correlation_id=tag, event_data=data))
        event_id = self.list_json("--correlation", tag)[0]["event"]["event_id"]
        for args in (("list", "--json", "--correlation", tag), ("get", "--json", event_id)):
            with self.subTest(args=args):
                shown = self.on_terminal(*args)
                self.assertEqual(json.loads(shown)["event"]["event_data"], value)
                for char in "\x7f\x85\x9b\u202e\u200f\u200e\u2028\u2069\t\x1b\u200b\ufeff\ufe0f\U000e0061":
                    self.assertNotIn(char, shown)
                self.assertIn('"\\u202ekey"', shown)
                self.assertIn("\u05d0", shown)


class LargeLinesTest(ToolCase):
    settings = {"ingest.max_event_age": "off", "ingest.max_event_data_bytes": "1MiB",
                "server.max_message_bytes": "1088KiB", "ingest.max_batch_bytes": "64KiB"}

    def test_lines_that_dont_fit_one_message_together_go_apart(self):
        tag = str(uuid.uuid4())
        sizes = [600_000, 600_000, 10, 1024 * 1024, 10, 1000_000]
        data = ['{"x":"' + "y" * (size - 8) + '"}' for size in sizes]
        text = "".join(line(correlation_id=tag, event_data="@").replace('"@"', one) for one in data)
        done = self.send(text)
        self.assertIn(f"acknowledged {len(sizes)} (0 of them stored before), refused 0", done.stdout)
        listed = self.list_json("--correlation", tag)
        self.assertEqual(sorted(size - 8 for size in sizes),
                         sorted(len(stored["event"]["event_data"]["x"]) for stored in listed))

    def test_the_same_as_a_text_whose_characters_are_all_escaped(self):
        tag = str(uuid.uuid4())
        inner = '{"x":"' + "y" * (1024 * 1024 - 8) + '"}'
        escaped = "".join(f"\\u{ord(char):04x}" for char in inner)
        self.send(line(correlation_id=tag, event_data="@").replace("@", escaped))
        (stored,) = self.list_json("--correlation", tag)
        self.assertEqual(json.loads(inner), stored["event"]["event_data"])

    def test_a_line_above_the_limit_is_told_with_both_numbers(self):
        size = 9 * 1024 * 1024
        one = line(event_data={"x": "@"})
        text = one.replace("@", "y" * (size - len(one) + 2))
        done = self.send(text + line(correlation_id="behind"), code=1)
        self.assertIn(f"standard input:1: has {size} bytes; at most 8388608 are allowed", done.stderr)
        self.assertIn("acknowledged 1 ", done.stdout)
        done = self.send(line(event_data={"x": "y" * (1024 * 1024)}), code=1)
        self.assertIn("standard input:1: event_data: has 1048585 bytes; at most 1048576 are allowed", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
