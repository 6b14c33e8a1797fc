"""What auditstore and auditstored print: receipts, where to go on, and outputs that take nothing more."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness  # noqa: E402
from support.tool_case import ToolCase, line, lines  # noqa: E402


class ReceiptsTest(ToolCase):
    def receipts(self, text, *args):
        done = self.send(text, "--receipts", *args)
        self.assertIn(f"acknowledged {text.count(chr(10))} ", done.stderr)
        return [json.loads(one) for one in done.stdout.splitlines()]

    def test_receipts_tell_where_each_line_is_stored(self):
        tag = str(uuid.uuid4())
        given = str(uuid.uuid4())
        text = "".join(line(correlation_id=tag, resource={"id": str(n)},
                            event_time=f"2026-03-01T12:00:0{n}.123456789Z") for n in range(9))
        text += line(correlation_id=tag, resource={"id": "9"}, event_id=given)
        told = {one["line"]: one for one in self.receipts(text, "--batch", 4)}
        self.assertEqual(sorted(told), list(range(1, 11)))
        self.assertEqual(told[10]["event_id"], given)
        for stored in self.list_json("--correlation", tag):
            one = told[int(stored["event"]["resource"]["id"]) + 1]
            self.assertEqual({key: one[key] for key in ("event_id", "event_time")},
                             {key: stored["event"][key] for key in ("event_id", "event_time")})
            self.assertEqual((one["ledger_id"], one["sequence"]),
                             (stored["ledger_id"], stored["sequence"]))
            self.assertFalse(one["duplicate"])
            self.assertRegex(one["committed_at"], r"^20\d\d-.*Z$")

    def test_what_was_stored_before_has_the_receipt_of_then(self):
        text = lines(30, correlation_id="again")
        first = self.receipts(text)
        second = self.receipts(text)
        self.assertEqual({one["duplicate"] for one in second}, {True})
        key = lambda one: one["line"]  # noqa: E731
        places = [[(one["event_id"], one["ledger_id"], one["sequence"]) for one in sorted(run, key=key)]
                  for run in (first, second)]
        self.assertEqual(places[0], places[1])

    def test_refused_lines_have_no_receipt(self):
        done = self.send(line() + line(actor={"ip": "nowhere"}) + line(), "--receipts", code=1)
        self.assertEqual([json.loads(one)["line"] for one in done.stdout.splitlines()], [1, 3])
        self.assertIn("standard input:2: actor.ip", done.stderr)

    def test_without_room_for_receipts_sending_stops(self):
        text = lines(100, correlation_id="no-room")
        with open("/dev/full", "w", encoding="ascii") as full, tempfile.TemporaryFile("w+") as source:
            source.write(text)
            source.seek(0)
            done = subprocess.run([str(harness.TOOL), "--server", self.daemon.address, "send", "--batch", "1",
                                   "--receipts"], stdin=source, stdout=full, stderr=subprocess.PIPE,
                                  text=True, check=False, timeout=harness.START_DEADLINE_S)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("can't write to standard output: No space left on device", done.stderr)
        self.assertIn("send the same input with --from-line 1\n", done.stderr)
        self.assertLess(len(self.list_json("--correlation", "no-room")), 100)
        # Going on gives the receipts that were lost.
        self.assertEqual(len(self.receipts(text, "--from-line", 1)), 100)


class GoingOnTest(ToolCase):
    def test_a_byte_order_mark_is_no_part_of_the_first_line(self):
        for text in ("\ufeff" + lines(2, correlation_id="mark"),
                     "\ufeff\n" + line(correlation_id="mark"), "\ufeff"):
            self.assertIn("refused 0", self.send(text).stdout)
        self.assertEqual(len(self.list_json("--correlation", "mark")), 3)
        done = self.send(line() + "\ufeff" + line(), code=1)
        self.assertIn("standard input:2: column 1: not valid JSON", done.stderr)

    def test_lines_before_the_first_wanted_one_are_not_sent(self):
        text = "not JSON\n" + lines(3, correlation_id="from")
        done = self.send(text, "--from-line", 3, "--receipts")
        self.assertEqual([json.loads(one)["line"] for one in done.stdout.splitlines()], [3, 4])
        self.assertEqual(len(self.list_json("--correlation", "from")), 2)
        self.assertIn("acknowledged 0 ", self.send(text, "--from-line", 5).stdout)
        self.assertIn("standard input has 4 lines", self.send(text, "--from-line", 6, code=2).stderr)
        for number in ("0", "-1", "x", ""):
            self.assertIn("must be the number of a line", self.send(text, "--from-line", number, code=2).stderr)

    def test_with_the_database_away_it_stops_and_says_where_to_go_on(self):
        text = lines(1000, correlation_id="away")
        path = self.folder / "away.jsonl"
        path.write_text(text, encoding="utf-8")
        self.postgres.stop()
        try:
            done = self.send("", "--batch", 10, path, code=3)
        finally:
            self.postgres.restart()
        # Not all of the file: what was under way, and nothing behind it.
        self.assertLess(done.stderr.count("batch refused: UNAVAILABLE"), 60, done.stderr)
        self.assertIn("and what follows: not sent", done.stderr)
        self.assertIn("send the same input with --from-line 1\n", done.stderr)
        self.daemon.wait_health("SERVING")
        self.send("", "--from-line", 1, path)
        self.assertEqual(len(self.list_json("--correlation", "away")), 1000)


class OutputTest(ToolCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        done = harness.run_tool(cls.daemon.address, "send", stdin=lines(700))
        if done.returncode != 0:
            raise AssertionError(done.stderr)

    def commands(self):
        tool = [str(harness.TOOL), "--server", self.daemon.address]
        daemon = [str(harness.DAEMON)]
        yield from ([*tool, *args] for args in (
            ("list",), ("list", "--json", "--limit", "0"), ("count",), ("count", "--by", "type"), ("info",),
            ("info", "--json"), ("health",), ("profile", "show"), ("completion", "bash"),
            ("complete", "--", ""), ("help",), ("help", "send"), ("help", "--man"), ("--help",), ("list", "--help"),
            ("--version",), ("send",)))
        yield from ([*daemon, *args] for args in (
            ("--print-config",), ("--print-config-example",), ("--print-config-reference",), ("--print-manual", "8"),
            ("--print-manual", "5"), ("--print-roles-reference",), ("--print-metrics-reference",), ("--help",),
            ("--version",), ("token", "ci"), ("keygen", str(self.folder / f"{uuid.uuid4()}.pem"))))

    def run_command(self, command, out):
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE,
                              text=True, check=False, timeout=harness.START_DEADLINE_S)

    def test_every_command_says_when_its_output_has_no_room(self):
        for command in self.commands():
            with self.subTest(command=command[1:]), open("/dev/full", "w", encoding="ascii") as full:
                done = self.run_command(command, full)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertRegex(done.stderr, r"^auditstored?: .*can't write to standard output: "
                                              r"No space left on device\n$")

    def test_every_command_ends_quietly_when_its_reader_has_gone(self):
        for command in self.commands():
            with self.subTest(command=command[1:]):
                reading, writing = os.pipe()
                os.close(reading)
                try:
                    done = self.run_command(command, writing)
                finally:
                    os.close(writing)
                self.assertEqual((done.returncode, done.stderr), (-signal.SIGPIPE, ""))

    def test_a_reader_who_has_seen_enough_ends_a_long_list(self):
        with subprocess.Popen([str(harness.TOOL), "--server", self.daemon.address, "list", "--limit", "0"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            self.assertTrue(process.stdout.readline().startswith("TIME"))
            process.stdout.close()
            self.assertEqual((process.stderr.read(), process.wait(60)), ("", -signal.SIGPIPE))


if __name__ == "__main__":
    unittest.main(verbosity=2)
