"""Records in the shapes of other systems' audit logs go in by `auditstore send` and come back as they were."""

import collections
import json
import pathlib
import re
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness, records  # noqa: E402

TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?Z")
DEFAULT_MAX_BYTES = 256 * 1024


def line_of(text, event, index):
    """The record as it stands behind the fields; `index` finds it again."""
    fields = json.dumps({**event, "resource": {**event.get("resource", {}), "name": f"record-{index}"}})
    return f'{fields[:-1]},"event_data":{text}}}\n'


def raw_event_data(line):
    """The bytes of event_data in a line of `list --json`, which has it last in the event."""
    start = line.index('"event_data":') + len('"event_data":')
    return line[start:line.rindex('},"received_at":')]


def normal_time(text):
    """Cut to microseconds, as the store does."""
    whole, fraction = TIME.fullmatch(text).groups()
    return whole, ((fraction or "") + "000000")[:6]


def normal(event):
    """The fields as they are compared: times to microseconds, enumerations by their short names."""
    normal_event = {key: value for key, value in event.items() if key != "event_data"}
    normal_event["event_time"] = normal_time(event["event_time"])
    for name in ("outcome", "severity"):
        if name in event:
            normal_event[name] = event[name].removeprefix(name.upper() + "_")
    return normal_event


class RecordsTest(unittest.TestCase):
    def test_they_are_the_same_each_time_and_as_varied_as_real_ones(self):
        made = records.all_records()
        self.assertEqual(made, records.all_records())
        self.assertGreater(len(made), 200)
        self.assertEqual(6, len({shape for shape, _, _ in made}))
        sizes = [len(text.encode()) for _, text, _ in made]
        self.assertLess(min(sizes), 200)
        self.assertGreater(max(sizes), 300 * 1024)
        depths = collections.defaultdict(set)
        for shape, text, _ in made:
            depths[shape].add(records.depth_of(json.loads(text)))
        self.assertLessEqual({11}, depths["cloudtrail"])
        self.assertLessEqual({15, 21}, depths["kubernetes"])
        self.assertGreater(max(depths["opentelemetry"]), 35)
        self.assertGreater(sum(len(event["event_action"]) > 50 for _, _, event in made), 5)
        self.assertGreater(sum(len(event["event_type"]) > 100 for _, _, event in made), 5)


class RoundTripTest(harness.StoreCase):
    settings = {"ingest.max_event_age": "off", "ingest.max_event_data_bytes": "1MiB"}

    def test_each_record_comes_back_byte_for_byte(self):
        made = records.all_records()
        path = self.folder / "records.jsonl"
        path.write_text("".join(line_of(text, event, index) for index, (_, text, event) in enumerate(made)),
                        encoding="utf-8")
        done = harness.run_tool(self.daemon.address, "send", path)
        self.assertEqual("", done.stderr)
        self.assertEqual(f"acknowledged {len(made)} (0 of them stored before), refused 0, unconfirmed 0\n", done.stdout)
        done = harness.run_tool(self.daemon.address, "list", "--json", "--limit", "0", "--oldest-first")
        self.assertEqual("", done.stderr)
        found = {}
        for line in done.stdout.split("\n")[:-1]:
            event = json.loads(line)["event"]
            found[event["resource"].pop("name")] = (event, raw_event_data(line))
        self.assertEqual(len(made), len(found))
        for index, (shape, text, sent) in enumerate(made):
            with self.subTest(shape=shape, index=index):
                got, raw = found[f"record-{index}"]
                self.assertEqual(text, raw)
                self.assertEqual({"event_id": got["event_id"], "resource": {}, **normal(sent)}, normal(got))


class DefaultLimitTest(harness.StoreCase):
    settings = {"ingest.max_event_age": "off"}

    def test_with_the_default_limit_only_the_largest_are_refused_by_name(self):
        made = records.all_records()
        text = "".join(line_of(text, event, index) for index, (_, text, event) in enumerate(made))
        done = harness.run_tool(self.daemon.address, "send", stdin=text)
        refused = {index: len(text.encode()) for index, (_, text, _) in enumerate(made)
                   if len(text.encode()) > DEFAULT_MAX_BYTES}
        self.assertEqual(1, done.returncode)
        self.assertIn(f"acknowledged {len(made) - len(refused)} (0 of them stored before), refused {len(refused)},",
                      done.stdout)
        self.assertEqual([f"standard input:{index + 1}: event_data: has {size} bytes; at most {DEFAULT_MAX_BYTES} are "
                          "allowed (ingest.max_event_data_bytes, which the server's operator may raise to 1048576)"
                          for index, size in refused.items()], done.stderr.splitlines())
        self.assertGreaterEqual(len(refused), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
