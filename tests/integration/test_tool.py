"""auditstore, the command-line tool: against the daemon, and against servers that misbehave."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import unittest
import uuid
from concurrent import futures

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness  # noqa: E402
from support.tool_case import TIME, ToolCase, line, lines  # noqa: E402


class SendTest(ToolCase):
    def test_every_field_comes_back_as_it_was_sent(self):
        event = {
            "event_id": str(uuid.uuid4()), "event_time": "2026-03-01T13:00:00.25+01:00",
            "event_type": "order.paid", "event_category": "order", "event_action": "pay",
            "event_version": "1.0", "outcome": "OUTCOME_FAILURE", "severity": "warning",
            "actor": {"type": "user", "id": "zoë@example.com", "ip": "192.0.2.7"},
            "resource": {"type": "order", "id": "a/7", "name": "n", "namespace": "shop",
                         "cluster": "eu"},
            "correlation_id": "all-fields", "parent_event_id": str(uuid.uuid4()),
            "trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331",
            "duration": "1.5s", "error": {"code": "E1", "message": "no \"money\""},
            "retention_days": 90, "sensitive": True, "event_data": {"total": 3}}
        self.send(json.dumps(event) + "\n")
        (stored,) = self.list_json("--correlation", "all-fields")
        expected = {**event, "event_time": "2026-03-01T12:00:00.250Z", "duration": "1.500s",
                    "severity": "SEVERITY_WARNING"}
        self.assertEqual(stored["event"], expected)
        self.assertGreaterEqual(stored["ledger_id"], 1)
        self.assertIn("sequence", stored)
        self.assertIn("received_at", stored)

    def test_lower_camel_case_and_nulls_are_read(self):
        text = json.dumps({
            "eventTime": TIME, "eventType": "t", "eventCategory": "c", "eventAction": "a",
            "outcome": "success", "correlationId": "camel", "retentionDays": 3, "actor": None,
            "eventData": {"a": 1}}) + "\n"
        self.send(text)
        (stored,) = self.list_json("--correlation", "camel")
        self.assertEqual(stored["event"]["retention_days"], 3)
        self.assertEqual(stored["event"]["event_data"], {"a": 1})

    def test_a_file_sent_twice_is_stored_once(self):
        path = self.folder / "twice.jsonl"
        path.write_text(lines(250, correlation_id="twice"), encoding="utf-8")
        first = self.send("", "--batch", 100, path)
        self.assertIn("acknowledged 250 (0 of them stored before), refused 0", first.stdout)
        second = self.send("", path)
        self.assertIn("acknowledged 250 (250 of them stored before), refused 0", second.stdout)
        self.assertEqual(len(self.list_json("--correlation", "twice")), 250)

    def test_bad_lines_are_named_and_the_others_stored(self):
        bad = {
            2: ('{"event_time": \n', "column"),
            3: (line(colour="red"), "colour: no such field"),
            4: (line(actor={"id": "a", "shoe_size": 43}), "actor.shoe_size: no such field"),
            5: (line(event_time="yesterday"), "event_time: must be a time"),
            6: (line(event_time="2026-02-30T00:00:00Z"), "event_time: must be a time"),
            7: (line(outcome="MAYBE"), "outcome: must be one of SUCCESS, FAILURE"),
            8: (line(retention_days="3"), "retention_days: must be a whole number"),
            9: (line(sensitive=1), "sensitive: must be true or false"),
            10: (line(event_type=5), "event_type: must be a string"),
            11: (line(actor="me"), "actor: must be an object"),
            12: ("[1]\n", "must be a JSON object"),
            13: (line(duration="2 s"), "duration: must be a duration"),
            14: (line(eventType="x"), "eventType: given twice"),
            15: (line(event_data=[1]), "event_data: must be an object or a string"),
            16: (line(note="x" * (9 * 1024 * 1024)), " bytes; at most 8388608 are allowed"),
            17: (line().rstrip("}\n") + ', "outcome": "SUCCESS"}\n', "a field is given twice, near '\"outcome\"'"),
            # These pass here and are refused by the server.
            18: (line(actor={"ip": "not-an-address"}), "actor.ip: "),
            19: (line(event_type=None), "event_type: "),
            20: (line(event_data='{"a":'), "event_data: is not valid JSON: "),
            # What is JSON isn't called anything else, and no library speaks of its options.
            21: (line(actor={"id": "a\0b"}), "actor.id: holds the character U+0000, which can't be stored"),
            22: (line(actor={"id": "a\ud800b"}), "half of a character that can't be stored"),
            23: (line(outcome="SUCCESS\0x"), "outcome: holds the character U+0000"),
            24: (line(event_data={"a": "\0"}), "event_data: holds \\u0000 at byte "),
            25: (line(event_data={"a": "\udc00"}), "event_data: holds \\udc00 at byte "),
            26: (line(**{"na\0me": 1}), "a name holds the character U+0000"),
            27: (line(retention_days="@").replace('"@"', "1e999"), "a number is out of the range"),
            28: (line(actor="@").replace('"@"', "[" * 3000 + "]" * 3000), "nested deeper than any field"),
            29: (line(actor={"id": "\ude00\ud83d"}), "half of a character that can't be stored"),
            30: (line(event_time="2026-03-01 10:58:31.347"),
                 'event_time: must be a time with its zone; "2026-03-01 10:58:31.347" has none: write '
                 '"2026-03-01T10:58:31.347Z" if it is UTC'),
            31: (line(event_time="2026-03-01T10:58:31"), 'write "2026-03-01T10:58:31Z" if it is UTC'),
            32: (line(event_time=1772362800), "must be a time such as"),
            33: (line(severity="Information"), '"Information" isn\'t'),
        }
        good = line(correlation_id="good-ones")
        text = "".join([good] + [bad[number][0] for number in sorted(bad)] + ["  \n", good])
        done = self.send(text, code=1)
        for number, (_, why) in bad.items():
            with self.subTest(line=number):
                self.assertTrue(any(told.startswith(f"standard input:{number}: ") and why in told
                                    for told in done.stderr.splitlines()), done.stderr)
        self.assertIn(f"acknowledged 2 (0 of them stored before), refused {len(bad)}, "
                      "unconfirmed 0", done.stdout)
        self.assertEqual(len(self.list_json("--correlation", "good-ones")), 2)

    def test_an_atomic_batch_with_a_bad_line_is_not_stored(self):
        tag = "atomic"
        text = (lines(2, correlation_id=tag) + lines(1, correlation_id=tag) +
                line(correlation_id=tag, actor={"ip": "nowhere"}) +
                lines(1, correlation_id=tag) + line(colour="red") + lines(2, correlation_id=tag))
        done = self.send(text, "--atomic", "--batch", 2, code=1)
        self.assertIn("standard input:4: actor.ip", done.stderr)
        self.assertIn("standard input:3-4: batch refused: INVALID_ARGUMENT: because of what is named above",
                      done.stderr)
        self.assertIn("standard input:6: colour: no such field", done.stderr)
        self.assertIn("standard input:5: not sent", done.stderr)
        self.assertIn("acknowledged 4 (0 of them stored before), refused 4", done.stdout)
        self.assertEqual(len(self.list_json("--correlation", tag)), 4)

    def test_the_same_id_with_other_content_is_refused(self):
        event_id = str(uuid.uuid4())
        self.send(line(event_id=event_id))
        done = self.send(line(event_id=event_id, event_action="other"), code=1)
        self.assertIn("standard input:1: ", done.stderr)
        self.assertIn("refused 1", done.stdout)

    def test_slow_input_is_not_held_back(self):
        with subprocess.Popen([str(harness.TOOL), "--server", self.daemon.address, "send", "-"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) as process:
            process.stdin.write(line(correlation_id="slow"))
            process.stdin.flush()
            harness.wait_until(lambda: self.list_json("--correlation", "slow"), 30,
                               "the event is stored while the input is still open")
            self.assertIsNone(process.poll())
            out, _ = process.communicate()
        self.assertEqual(process.returncode, 0)
        self.assertIn("acknowledged 1 ", out)

    def test_no_input_is_no_error(self):
        self.assertIn("acknowledged 0 ", self.send("").stdout)


class ReadTest(ToolCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        text = "".join(
            line(event_time=f"2026-04-01T{number // 60:02d}:{number % 60:02d}:00Z",
                 event_type=f"read.{number % 3}", correlation_id="many",
                 outcome="FAILURE" if number % 10 == 0 else "SUCCESS",
                 actor={"type": "user", "id": f"user{number % 2}"},
                 resource={"type": "disk", "id": f"/dev/{number}", "namespace": f"shop{number % 400}",
                           "cluster": f"eu{number % 300}"}, event_data={"n": number})
            for number in range(1200))
        done = harness.run_tool(cls.daemon.address, "send", stdin=text)
        if done.returncode != 0:
            raise AssertionError(done.stderr)

    def numbers(self, *args):
        return [stored["event"]["event_data"]["n"]
                for stored in self.list_json("--correlation", "many", *args)]

    def test_pages_go_on_until_the_limit(self):
        self.assertEqual(self.numbers(), list(range(1199, -1, -1)))
        self.assertEqual(self.numbers("--oldest-first", "--limit", 700), list(range(700)))
        done = self.run_tool("list", "--json")
        self.assertEqual(len(done.stdout.splitlines()), 20)

    def test_filters_select(self):
        at = "2026-04-01T01:00:00Z"
        self.assertEqual(self.numbers("--until", at, "--oldest-first"), list(range(60)))
        self.assertEqual(self.numbers("--since", at)[-1], 60)
        self.assertEqual(self.numbers("--resource", "disk//dev/17"), [17])
        self.assertEqual(self.numbers("--resource-id", "/dev/3", "--resource-id", "/dev/4"), [4, 3])
        self.assertEqual(len(self.numbers("--actor", "user1", "--type", "read.0")), 200)
        self.assertEqual(len(self.numbers("--outcome", "failure")), 120)
        self.assertEqual(self.numbers("--namespace", "shop7"), [807, 407, 7])
        self.assertEqual(self.numbers("--cluster", "eu7"), [907, 607, 307, 7])
        self.assertEqual(self.numbers("--cluster", "eu7", "--cluster", "eu8", "--namespace", "shop8",
                                      "--namespace", "shop7"), [8, 7])
        self.assertEqual(self.numbers("--category", "other"), [])
        self.assertEqual(self.numbers("--since", "1h", "--until", "30m"), [])

    def test_count_sums_up(self):
        done = self.run_tool("count", "--correlation", "many", "--by", "outcome")
        self.assertEqual(done.stdout, "COUNT  NAME\n1080   SUCCESS\n120    FAILURE\n1200  in all\n")
        self.assertEqual(self.run_tool("count", "--correlation", "many").stdout, "1200\n")
        self.assertEqual(self.run_tool("count", "--cluster", "eu7").stdout, "4\n")

    def table(self, *args, columns=""):
        done = self.run_tool("list", "--correlation", "many", *args, env={"COLUMNS": columns})
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.splitlines()

    def test_the_table_is_aligned(self):
        header, *rows = self.table("--limit", 3)
        self.assertEqual(header.split(), ["TIME", "OUTCOME", "TYPE", "ACTOR", "RESOURCE", "PRINCIPAL",
                                          "LEDGER:SEQ", "EVENT", "ID"])
        self.assertEqual(len(rows), 3)
        self.assertTrue(rows[0].startswith("2026-04-01T19:59:00Z  SUCCESS  read."), rows[0])
        for row in rows:
            for title, text in (("ACTOR", "user/user"), ("RESOURCE", "disk//dev/1")):
                self.assertTrue(row[header.index(title):].startswith(text), row)
            uuid.UUID(row[header.index("EVENT ID"):])

    def test_the_table_keeps_to_the_width(self):
        for columns in (110, 80, 40, 10):
            with self.subTest(columns=columns):
                rows = self.table("--limit", 3, columns=str(columns))
                self.assertLessEqual(max(map(len, rows)), columns)
        self.assertNotIn("EVENT ID", self.table("--limit", 1, columns="80")[0])
        self.assertIn("RESOURCE", self.table("--limit", 1, columns="80")[0])

    def test_nothing_found_is_told(self):
        done = self.run_tool("list", "--type", "no.such")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertIn("no events match", done.stderr)

    def test_get_shows_one_event(self):
        event_id = self.list_json("--resource-id", "/dev/9")[0]["event"]["event_id"]
        done = self.run_tool("get", event_id)
        shown = dict(text.split(None, 1) for text in done.stdout.splitlines())
        self.assertEqual(shown["type"], "read.0")
        self.assertEqual(shown["outcome"], "SUCCESS")
        self.assertIn('event data        {"n": 9}', done.stdout)
        asked = json.loads(self.run_tool("get", event_id, "--json").stdout)
        self.assertEqual(asked["event"]["event_id"], event_id)

    def test_an_unknown_event_is_not_found(self):
        done = self.run_tool("get", str(uuid.uuid4()))
        self.assertEqual(done.returncode, 1)
        self.assertIn("NOT_FOUND", done.stderr)
        done = self.run_tool("get", "no-uuid")
        self.assertEqual(done.returncode, 1)
        self.assertIn("event_id: ", done.stderr)

    def test_texts_cannot_touch_the_terminal(self):
        evil = "\x1b[2J\x07\u009b31m\u202egnp.exe\x7f ali\u200bce\U000e0061"
        sent = self.run_tool("send", stdin=line(correlation_id="evil", event_type=evil,
                                                actor={"id": evil},
                                                event_data='{"x":"\u202e\u009b"}'))
        self.assertEqual(sent.returncode, 0, sent.stderr)
        stored = self.list_json("--correlation", "evil")[0]["event"]
        for args in (("list", "--correlation", "evil"), ("get", stored["event_id"]),
                     ("count", "--correlation", "evil", "--by", "type")):
            with self.subTest(args=args):
                out = self.run_tool(*args).stdout
                for char in "\x1b\x07\u009b\u202e\x7f\u200b\U000e0061":
                    self.assertNotIn(char, out)
                self.assertIn("\\u001b[2J", out)
        # In JSON the escapes mean the same text.
        self.assertEqual(stored["actor"]["id"], evil)
        self.assertEqual(stored["event_data"], {"x": "\u202e\u009b"})

    def test_health(self):
        done = self.run_tool("health")
        self.assertEqual((done.returncode, done.stdout), (0, "SERVING\n"))

    def test_a_full_disk_is_told(self):
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([str(harness.TOOL), "--server", self.daemon.address, "list"],
                                  stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("standard output", done.stderr)


class UsageTest(unittest.TestCase):
    def check(self, *args, wanted):
        done = subprocess.run([str(harness.TOOL), *args], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, check=False, timeout=30)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn(wanted, done.stderr)

    def test_wrong_usage_is_told_before_anything_is_asked(self):
        self.check(wanted="which command?")
        self.check("sing", wanted="unknown command sing")
        self.check("--server", "nowhere", "health", wanted="host:port")
        self.check("--timeout", "soon", "health", wanted="--timeout soon")
        self.check("list", "--colour", "red", wanted="auditstore: list")
        self.check("list", "--limit", "-3", wanted="--limit -3")
        self.check("list", "--since", "tomorrow", wanted="tomorrow")
        self.check("list", "--outcome", "MAYBE", wanted="SUCCESS, FAILURE")
        self.check("list", "--resource", "disk", wanted="TYPE/ID")
        self.check("list", *["--type=t"] * 101, wanted="more than 100")
        self.check("count", "--by", "colour", wanted="action, type")
        self.check("get", wanted="get: give EVENT_ID")
        self.check("send", "--batch", "0", wanted="1 to 1000")
        self.check("send", "/no/such/file", wanted="/no/such/file: No such file")

    def test_nobody_there(self):
        for args in (("health",), ("list",), ("send", "-")):
            with self.subTest(args=args):
                # Port 1 of this machine: nobody listens there.
                done = harness.run_tool("127.0.0.1:1", "--timeout", "2s", *args, stdin=line())
                self.assertEqual(done.returncode, 3, done.stderr)
                self.assertIn("127.0.0.1:1", done.stderr)
                self.assertIn("Is auditstored running", done.stderr)

    def test_help_and_version(self):
        for option in ("--help", "--version"):
            done = subprocess.run([str(harness.TOOL), option], capture_output=True, text=True,
                                  check=True)
            self.assertTrue(done.stdout.startswith("auditstore"))

    def test_the_server_may_come_from_the_environment(self):
        done = subprocess.run([str(harness.TOOL), "--timeout", "2s", "health"], check=False,
                              env={**os.environ, "AUDITSTORE_SERVER": "127.0.0.1:1"},
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 3)
        self.assertIn("127.0.0.1:1", done.stderr)


class MisbehavingServerTest(unittest.TestCase):
    """StreamEvents as the test wants it: `script` gets the requests and yields responses."""

    def setUp(self):
        self.stubs = harness.load_stubs()

    @contextlib.contextmanager
    def serve(self, script):
        servicer = type("Servicer", (self.stubs.store_grpc.AuditStoreServicer,),
                        {"StreamEvents": lambda _, requests, context: script(requests, context)})
        server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        self.stubs.store_grpc.add_AuditStoreServicer_to_server(servicer(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield port
        server.stop(None).wait()

    def send_to(self, script, text):
        with self.serve(script) as port, tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            file.write(text)
            file.flush()
            done = harness.run_tool(f"127.0.0.1:{port}", "--timeout", "2s", "send", "--batch", 10,
                                    file.name)
            done.stderr = done.stderr.replace(file.name, "input")
        return done

    def answer(self, request, **fields):
        receipt = self.stubs.store.Receipt(count=len(request.events), ledger_id=1)
        return self.stubs.store.StreamEventsResponse(
            **{"batch_id": request.batch_id, "receipts": [receipt], **fields})

    def test_a_stream_that_breaks_leaves_unconfirmed_lines(self):
        def script(requests, context):
            yield self.answer(next(requests))
            next(requests)
            context.abort(grpc.StatusCode.UNAVAILABLE, "going away")
        done = self.send_to(script, lines(35))
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("going away", done.stderr)
        self.assertIn("input:11-20: unconfirmed", done.stderr)
        self.assertIn("sending these lines again is safe", done.stderr)
        self.assertIn("acknowledged 10 ", done.stdout)
        self.assertNotIn("unconfirmed 0", done.stdout)

    def test_lines_without_ids_are_not_called_safe_to_repeat(self):
        def script(requests, context):
            next(requests)
            context.abort(grpc.StatusCode.UNAVAILABLE, "going away")
            yield
        done = self.send_to(script, line() * 10)
        self.assertEqual(done.returncode, 3)
        self.assertIn("would be stored twice", done.stderr)
        self.assertNotIn("is safe", done.stderr)

    def test_a_stream_that_ends_early_is_not_success(self):
        def script(requests, _):
            yield self.answer(next(requests))
            next(requests)
        done = self.send_to(script, lines(30))
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("before it had answered everything", done.stderr)
        self.assertIn("acknowledged 10 ", done.stdout)

    def test_lines_behind_an_ended_stream_are_not_success(self):
        """All that was sent is answered when the stream ends, and most of the input isn't sent."""
        ended = threading.Event()

        def script(_, context):
            context.add_callback(ended.set)
            receipt = self.stubs.store.Receipt(count=10, ledger_id=1)
            yield self.stubs.store.StreamEventsResponse(batch_id="0", receipts=[receipt])
        with self.serve(script) as port:
            tool = subprocess.Popen([str(harness.TOOL), "--server", f"127.0.0.1:{port}",
                                     "--timeout", "2s", "send", "--batch", "10"], text=True,
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE)
            self.assertTrue(ended.wait(harness.START_DEADLINE_S))
            # The pipe takes it all at once, so that the tool has it when it finds the end.
            output, errors = tool.communicate(lines(100), timeout=harness.START_DEADLINE_S)
        self.assertEqual(tool.returncode, 3, errors)
        self.assertIn("the server ended the stream", errors)
        self.assertIn("and what follows: not sent", errors)
        self.assertIn("acknowledged 10 ", output)

    def test_a_stream_that_ends_behind_the_last_line_is_success(self):
        def script(requests, _):
            yield self.answer(next(requests))
        done = self.send_to(script, lines(10))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("acknowledged 10 ", done.stdout)

    def test_a_stream_that_is_denied_is_refused(self):
        """Rights may be taken away on the way: what has no answer may be stored all the same."""
        def at_once(requests, context):
            next(requests)
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")
            yield

        def later(requests, context):
            yield self.answer(next(requests))
            next(requests)
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "not any more")
        for script, told, acknowledged in (
                (at_once, "input:1-10: unconfirmed: most likely not stored", 0),
                (later, "input:11-20: unconfirmed: may be stored or not", 10)):
            done = self.send_to(script, lines(10 + acknowledged))
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(told, done.stderr)
            self.assertIn("shown neither a token nor a certificate", done.stderr)
            self.assertIn(f"acknowledged {acknowledged} ", done.stdout)
            self.assertIn("refused 0, unconfirmed 10", done.stdout)

    def test_silence_ends_at_the_timeout(self):
        def script(requests, _):
            for _ in requests:
                pass
            return iter(())
        done = self.send_to(script, lines(5))
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("unconfirmed 5", done.stdout)

    def test_answers_in_another_order_find_their_lines(self):
        def script(requests, _):
            first, second = next(requests), next(requests)
            yield self.answer(second, receipts=[self.stubs.store.Receipt(count=10)])
            rejected = self.stubs.store.RejectedEvent(
                index=3, status=self.stubs.status.Status(code=6, message="is another"))
            receipts = [self.stubs.store.Receipt(first_index=0, count=3, duplicate=True),
                        self.stubs.store.Receipt(first_index=4, count=6)]
            yield self.answer(first, receipts=receipts, rejected=[rejected])
            for _ in requests:  # to its end
                pass
        done = self.send_to(script, lines(20))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(done.stderr, "input:4: refused: is another\n")
        self.assertEqual(done.stdout, "acknowledged 19 (3 of them stored before), refused 1, "
                                      "unconfirmed 0\n")

    def refuse(self, code, message):
        """Each batch, as a store does that can't keep one of its events."""
        def script(requests, _):
            for request in requests:
                yield self.answer(request, receipts=[],
                                  status=self.stubs.status.Status(code=code, message=message))
        return script

    def test_the_line_that_an_atomic_batch_failed_at_is_named(self):
        for code, name in ((9, "FAILED_PRECONDITION"), (11, "OUT_OF_RANGE")):
            done = self.send_to(self.refuse(code, "events[3]: the database refuses this row"), lines(10))
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("input:4: refused: the database refuses this row\n"
                          f"input:1-10: batch refused: {name}: ", done.stderr)
            self.assertIn("refused 10, unconfirmed 0", done.stdout)
            self.assertNotIn("may be stored", done.stderr)
        done = self.send_to(self.refuse(9, "PostgreSQL refuses events[77] and \x1b[31m"), lines(10))
        self.assertEqual(done.stderr.count("input:"), 1, done.stderr)
        done = self.send_to(self.refuse(9, "can't keep events[9]"), lines(10))
        self.assertIn("input:10: refused: can't keep events[9]\n", done.stderr)

    def test_an_event_refused_for_now_is_told_with_the_advice(self):
        def script(requests, _):
            status = self.stubs.status.Status(code=14, message="the row wasn't stored as sent")
            detail = self.stubs.details.RetryInfo()
            detail.retry_delay.FromMilliseconds(1500)
            status.details.add().Pack(detail)
            for request in requests:
                yield self.answer(request, receipts=[self.stubs.store.Receipt(count=9)],
                                  rejected=[self.stubs.store.RejectedEvent(index=9, status=status)])
        done = self.send_to(script, lines(10))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(done.stderr, "input:10: refused: the row wasn't stored as sent "
                                      "(the server says: try again in 1.5 s)\n")

    def test_a_batch_refused_for_now_is_told_with_the_advice(self):
        def script(requests, _):
            for request in requests:
                status = self.stubs.status.Status(code=8, message="queue full")
                detail = self.stubs.details.RetryInfo()
                detail.retry_delay.FromMilliseconds(1500)
                status.details.add().Pack(detail)
                yield self.answer(request, receipts=[], status=status)
        done = self.send_to(script, lines(20))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("input:1-10: batch refused: RESOURCE_EXHAUSTED: queue full "
                      "(the server says: try again in 1.5 s)", done.stderr)
        self.assertIn("refused 20, unconfirmed 0", done.stdout)

    def test_a_batch_that_may_be_stored_is_unconfirmed(self):
        def script(requests, _):
            for request in requests:
                status = self.stubs.status.Status(code=4, message="too late")
                yield self.answer(request, receipts=[], status=status)
        done = self.send_to(script, lines(10))
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("input:1-10: unconfirmed", done.stderr)

    def test_an_answer_that_leaves_events_out_is_not_believed(self):
        def script(requests, _):
            for request in requests:
                yield self.answer(request, receipts=[self.stubs.store.Receipt(count=9)])
        done = self.send_to(script, lines(10))
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("covers 9 of 10 events", done.stderr)
        self.assertIn("acknowledged 9 (0 of them stored before), refused 0, unconfirmed 1", done.stdout)

    def test_an_answer_to_nothing_is_not_believed(self):
        def script(requests, _):
            yield self.answer(next(requests), batch_id="77")
        done = self.send_to(script, lines(10))
        self.assertEqual(done.returncode, 3, done.stderr)


if __name__ == "__main__":
    unittest.main()
