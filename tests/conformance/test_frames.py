"""The rules of gRPC and HTTP/2, frame by frame, by a client that breaks them as it likes."""

import gzip
import pathlib
import socket
import struct
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from interop_server import InteropServer  # noqa: E402

from support import harness, raw_h2  # noqa: E402
from support.raw_h2 import (CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED,  # noqa: E402
                            PING, PREFACE, PRIORITIZED, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS,
                            WINDOW_UPDATE, frame, grpc_call, grpc_fields, grpc_headers, grpc_message,
                            header_block, setting, window_update)

SERVICE = "/grpc.testing.TestService/"
EMPTY, UNARY = SERVICE + "EmptyCall", SERVICE + "UnaryCall"
UPLOAD, DOWNLOAD, DUPLEX = (SERVICE + "StreamingInputCall", SERVICE + "StreamingOutputCall",
                            SERVICE + "FullDuplexCall")
# grpc.testing messages: a SimpleRequest for 3 bytes; StreamingOutputCallRequests for one answer of 3
# bytes, and for one of 2 MiB; a StreamingInputCallRequest with 4 bytes; a SimpleRequest whose payload
# is 4 bytes.
WANT_3 = b"\x10\x03"
WANT_ONE_OF_3 = b"\x12\x02\x08\x03"
WANT_ONE_OF_2_MIB = b"\x12\x05\x08\x80\x80\x80\x01"
GIVE_4 = b"\x0a\x06\x12\x04abcd"
PAYLOAD_4 = b"\x1a\x06\x12\x04abcd"
MAX_MESSAGE = 4 << 20


def fields_with(method, **changes):
    """A call's headers; a change of None leaves one out. "_" stands for ":" and for "-"."""
    names = {name.replace(":", "_").replace("-", "_"): name for name, _ in grpc_fields(method)}
    wanted = {names[key]: value for key, value in changes.items()}
    return [(name, wanted.get(name, value)) for name, value in grpc_fields(method)
            if wanted.get(name, value) is not None]


def call_of(fields, message=b""):
    return (frame(HEADERS, END_HEADERS, 1, header_block(*fields)) +
            frame(DATA, END_STREAM, 1, grpc_message(message)))


def changed(message=b"", method=EMPTY, **changes):
    """A call of its headers with changes."""
    return call_of(fields_with(method, **changes), message)


def extended(*more, method=EMPTY):
    """A call with more headers."""
    return call_of([*grpc_fields(method), *more])


def data(*parts, stream=1):
    """DATA frames, the last with END_STREAM."""
    return b"".join(frame(DATA, END_STREAM if i == len(parts) - 1 else 0, stream, part)
                    for i, part in enumerate(parts))


class FramesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = harness.TemporaryFolder()
        cls.addClassCleanup(temporary.remove)
        cls.server = InteropServer(temporary.path)
        cls.addClassCleanup(cls.server.stop)

    def connect(self):
        connection = raw_h2.Connection("127.0.0.1", self.server.port)
        self.addCleanup(connection.close)
        return connection

    def answer_to(self, frames):
        connection = self.connect()
        connection.send(frames)
        return connection, connection.answer()

    def check_serves(self, connection, stream=101):
        """The connection still answers."""
        connection.send(grpc_call(stream, UNARY, WANT_3))
        answer = connection.answer(stream)
        self.assertEqual(("0", 1), (answer.status, len(answer.messages())), answer)

    def check(self, cases, judge):
        for name, frames in cases.items():
            with self.subTest(name):
                connection, answer = self.answer_to(frames)
                judge(answer)
                self.check_serves(connection)
                connection.close()

    def status_is(self, status, http="200"):
        def judge(answer):
            self.assertEqual((http, str(status)), (answer.headers.get(":status"), answer.status),
                             answer)
        return judge

    def reset_is(self, code):
        def judge(answer):
            self.assertEqual((code, {}), (answer.reset, answer.headers), answer)
        return judge

    def check_ends(self, cases, code):
        """Each makes the server end the connection with `code`, and no other connection."""
        bystander = self.connect()
        self.check_serves(bystander, 1)
        for name, frames in cases.items():
            with self.subTest(name):
                connection = self.connect()
                connection.send(frames)
                _, got, text = connection.receive_goaway() or (None, None, "no GOAWAY")
                self.assertEqual(code, got, text)
                self.assertTrue(connection.is_closed_within(20))
                connection.close()
        self.check_serves(bystander)


class RequestHeaderTest(FramesTest):
    def test_rq1_verbs(self):
        self.check({verb: changed(_method=verb) for verb in ("GET", "PUT", "DELETE", "OPTIONS")},
                   self.status_is(13, "405"))

    def test_rq2_scheme(self):
        self.check({"https": changed(_scheme="https")}, self.status_is(0))

    def test_rq3_unknown_paths(self):
        self.check({path: changed(_path=path) for path in
                    (SERVICE + "Nothing", SERVICE + "emptycall", "/grpc.testing.Nothing/EmptyCall",
                     "/grpc.testing.testservice/EmptyCall", EMPTY + "/", EMPTY + "?a=b",
                     EMPTY.upper())}, self.status_is(12))

    def test_rq4_malformed_paths(self):
        self.check({path: changed(_path=path) for path in
                    ("/", "//", "/x", "/EmptyCall", "//EmptyCall", SERVICE)}, self.status_is(12))
        self.check({"no slash": changed(_path=EMPTY[1:]), "empty": changed(_path="")},
                   self.reset_is(raw_h2.PROTOCOL_ERROR))

    def test_rq5_content_types(self):
        def judge(answer):
            self.status_is(0)(answer)
            self.assertTrue(answer.headers["content-type"].startswith("application/grpc"), answer)
        self.check({text: changed(content_type=text) for text in
                    ("application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8",
                     "Application/GRPC", "application/grpc+proto;x=y")}, judge)

    def test_rq6_other_content_types(self):
        self.check({str(text): changed(content_type=text) for text in
                    (None, "text/html", "application/json", "application/grpc-web",
                     "application/grpc-web+proto", "application/grpcx", "application/")},
                   self.status_is(3, "415"))

    def test_rq7_other_subtypes(self):
        self.check({text: changed(content_type=text) for text in
                    ("application/grpc+json", "application/grpc+foo", "application/grpc+")},
                   self.status_is(12))

    def test_rq8_te(self):
        self.check({"missing": changed(te=None)}, self.status_is(0))
        self.check({"gzip": changed(te="gzip")}, self.reset_is(raw_h2.PROTOCOL_ERROR))

    def test_rq9_timeouts(self):
        self.check({text: extended(("grpc-timeout", text)) for text in
                    ("15 seconds", "", "S", "123456789S", "1x", "-1S", "+1S", "1.5S", "1s", " ")},
                   self.status_is(13))
        self.check({text: extended(("grpc-timeout", text)) for text in
                    ("1S", "20000000u", "1H", "99999999H", "00000009S", "99999999n")},
                   self.status_is(0))
        self.check({"0m": extended(("grpc-timeout", "0m")), "0n": extended(("grpc-timeout", "0n"))},
                   self.status_is(4))
        self.check({"the last counts": extended(("grpc-timeout", "0S"), ("grpc-timeout", "5S"))},
                   self.status_is(0))

    def test_rq11_content_length(self):
        self.check({"right": extended(("content-length", "5"))}, self.status_is(0))
        self.check({text: extended(("content-length", text)) for text in ("4", "6", "x")},
                   self.reset_is(raw_h2.PROTOCOL_ERROR))

    def test_rq10_rq12_headers_of_stock_clients(self):
        self.check({name: extended(*fields) for name, fields in {
            "grpc-go": [("user-agent", "grpc-go/1.33.1"), ("grpc-timeout", "19999985u")],
            "grpc-js": [("accept-encoding", "identity"), ("grpc-timeout", "1986m"),
                        ("grpc-accept-encoding", "identity,deflate,gzip")],
            "C-core": [("grpc-accept-encoding", "identity, deflate, gzip"),
                       ("grpc-previous-rpc-attempts", "1"), ("grpc-trace-bin", "AAA"),
                       ("grpc-tags-bin", "AAAA")],
            "odd": [("x-odd", "a\tb"), ("x-empty", ""), ("x~odd|name", "x")],
        }.items()}, self.status_is(0))

    def test_rq13_pseudo_headers_and_fields_of_connections(self):
        fields = grpc_fields(EMPTY)
        self.check({
            "two paths": call_of([fields[0], *fields]),
            "two methods": call_of([(":path", EMPTY), *fields]),
            "connection": extended(("connection", "close")),
            "transfer-encoding": extended(("transfer-encoding", "chunked")),
            "unknown": call_of([(":odd", "x"), *fields]),
            "behind others": call_of([*fields[1:], fields[0]]),
            "of a response": call_of([(":status", "200"), *fields]),
            "no method": call_of(fields[1:]),
            "no scheme": call_of([fields[0], *fields[2:]]),
            "no path": call_of([*fields[:2], *fields[3:]]),
        }, self.reset_is(raw_h2.PROTOCOL_ERROR))

    def test_rq14_authority(self):
        bare = fields_with(EMPTY, _authority=None)
        self.check({"host instead": call_of([*bare, ("host", "test")]),
                    "localhost:80": changed(_authority="localhost:80"),
                    "escaped": changed(_authority="%2Frun%2Fx.sock")}, self.status_is(0))
        self.check({"neither": call_of(bare), "empty": changed(_authority=""),
                    "a path": changed(_authority="/run/x.sock")}, self.status_is(13, "400"))

    def test_rq15_two_hosts(self):
        self.check({"the same": extended(("host", "TEST"))}, self.status_is(0))
        self.check({"another": extended(("host", "other"))}, self.status_is(13, "400"))
        self.check({"host twice": extended(("host", "test"), ("host", "other")),
                    "authority twice": call_of([(":authority", "other"), *grpc_fields(EMPTY)])},
                   self.reset_is(raw_h2.PROTOCOL_ERROR))

    def test_rq16_header_lists_above_the_limit(self):
        many = [(f"x-{i}", "y") for i in range(101)]
        long = [(f"x-{i}", "y" * 120) for i in range(90)] + [(f"z-{i}", "y" * 120) for i in range(9)]
        self.check({"many": extended(*many), "long": extended(*long)}, self.status_is(8))

    def test_rq17_no_message(self):
        def bare(method):
            return frame(HEADERS, END_HEADERS | END_STREAM, 1, header_block(*grpc_fields(method)))
        self.check({"unary": bare(EMPTY), "server stream": bare(DOWNLOAD),
                    "unary, empty DATA": grpc_headers(1, EMPTY) + data(b"")}, self.status_is(12))
        self.check({"client stream": bare(UPLOAD), "bidi": bare(DUPLEX)}, self.status_is(0))

    def test_rq18_request_trailers(self):
        begin = grpc_headers(1, EMPTY) + frame(DATA, 0, 1, grpc_message(b""))
        trailers = header_block(("x-trailer", "y"), ("grpc-status", "13"))
        end = END_HEADERS | END_STREAM
        self.check({"good": begin + frame(HEADERS, end, 1, trailers)}, self.status_is(0))
        self.check({"without an end": begin + frame(HEADERS, END_HEADERS, 1, trailers),
                    "with a path": begin + frame(HEADERS, end, 1, header_block((":path", "/")))},
                   self.reset_is(raw_h2.PROTOCOL_ERROR))
        third = begin + frame(HEADERS, end, 1, trailers) + frame(HEADERS, end, 1, trailers)
        self.check_ends({"three blocks": third}, raw_h2.STREAM_CLOSED)

    def test_rq19_priorities(self):
        block = struct.pack("!IB", 0, 15) + header_block(*grpc_fields(EMPTY))
        message = data(grpc_message(b""))
        self.check({
            "in HEADERS": frame(HEADERS, END_HEADERS | PRIORITIZED, 1, block) + message,
            "before": frame(PRIORITY, 0, 1, struct.pack("!IB", 0, 1)) + grpc_call(1, EMPTY, b""),
            "of others": frame(PRIORITY, 0, 9, struct.pack("!IB", 7, 1)) + grpc_call(1, EMPTY, b""),
            "as a header": extended(("priority", "u=1")),
        }, self.status_is(0))

    def test_rq20_names(self):
        self.check({"upper case": extended(("X-Upper", "y")),
                    "empty": extended(("", "y"))}, self.reset_is(raw_h2.PROTOCOL_ERROR))


class ResponseTest(FramesTest):
    def test_rs1_rs3_shape_of_success(self):
        _, answer = self.answer_to(grpc_call(1, UNARY, WANT_3))
        self.assertEqual([(HEADERS, END_HEADERS), (DATA, 0), (HEADERS, END_HEADERS | END_STREAM)],
                         answer.frames)
        self.assertEqual({"grpc-status": "0"}, answer.trailers)
        self.assertEqual("application/grpc", answer.headers["content-type"])
        self.assertEqual("identity,gzip", answer.headers["grpc-accept-encoding"])

    def test_rs2_failure_is_one_frame(self):
        _, answer = self.answer_to(changed(_path=SERVICE + "Nothing"))
        self.assertEqual([(HEADERS, END_HEADERS | END_STREAM)], answer.frames)
        self.assertIn("Nothing", answer.headers["grpc-message"])

    def test_rs4_headers_of_a_stream_come_before_any_message(self):
        connection = self.connect()
        connection.send(grpc_headers(1, DUPLEX))
        answer = connection.answer(is_done=lambda answer: answer.headers)
        self.assertEqual(("200", False), (answer.headers[":status"], answer.is_ended))

    def test_rs6_answer_before_the_request_ends(self):
        connection = self.connect()
        connection.send(grpc_headers(1, UNARY) + frame(DATA, 0, 1, b"\x02" + bytes(4)))
        self.assertEqual("13", connection.answer().status)
        kind, _, stream, payload = connection.receive_until(lambda kind, *_: kind == RST_STREAM)
        self.assertEqual((RST_STREAM, 1, bytes(4)), (kind, stream, payload))
        self.check_serves(connection)

    def test_a_stream_that_is_not_read_stops_no_other(self):
        connection = self.connect()
        connection.send(frame(SETTINGS, 0, 0, setting(raw_h2.INITIAL_WINDOW_SIZE, 0)) +
                        grpc_call(1, UNARY, WANT_3))
        connection.answer(is_done=lambda answer: answer.headers)
        connection.send(grpc_call(3, UNARY, WANT_3) + window_update(3, 65535))
        self.assertEqual("0", connection.answer(3).status)
        self.assertFalse(connection.answers[1].data)
        connection.send(window_update(1, 65535))
        self.assertEqual("0", connection.answer(1).status)

    def test_calls_go_on_behind_the_clients_goaway(self):
        connection = self.connect()
        connection.send(grpc_headers(1, UPLOAD) + frame(GOAWAY, 0, 0, bytes(8)) +
                        data(grpc_message(GIVE_4)))
        self.assertEqual("0", connection.answer().status)


class FramingTest(FramesTest):
    def test_fr1_split_at_every_byte(self):
        message = grpc_message(GIVE_4)
        cases = {f"at {i}": grpc_headers(1, UPLOAD) + data(message[:i], message[i:])
                 for i in range(len(message) + 1)}
        self.check(cases, self.judge_sum(4))

    def judge_sum(self, total):
        def judge(answer):
            self.status_is(0)(answer)
            wanted = bytes([8, total]) if total else b""
            self.assertEqual([(0, wanted)], answer.messages(), answer)
        return judge

    def test_fr2_messages_and_frames_in_any_proportion(self):
        three = grpc_message(GIVE_4) * 3
        self.check({"one frame": grpc_headers(1, UPLOAD) + data(three),
                    "frames of 7": grpc_headers(1, UPLOAD) +
                    data(*(three[i:i + 7] for i in range(0, len(three), 7)))}, self.judge_sum(12))

    def test_fr3_message_of_length_zero(self):
        _, answer = self.answer_to(grpc_headers(1, UPLOAD) + data(bytes(5)))
        self.judge_sum(0)(answer)
        self.check({"unary": grpc_call(1, EMPTY, b"")}, self.status_is(0))

    def test_fr4_fr5_empty_frames(self):
        message = grpc_message(GIVE_4)
        self.check({"at the end": grpc_headers(1, UPLOAD) + data(message, b""),
                    "between": grpc_headers(1, UPLOAD) + data(b"", message[:3], b"", message[3:])},
                   self.judge_sum(4))

    def test_fr6_fr7_flags(self):
        self.check({f"flag {flag}": grpc_headers(1, method) + data(bytes([flag, 0, 0, 0, 1, 0]))
                    for flag in (1, 2, 3, 128, 255) for method in (EMPTY, UPLOAD)},
                   self.status_is(13))

    def test_fr8_too_large(self):
        prefix = struct.pack("!BI", 0, MAX_MESSAGE + 1)
        for method in (UNARY, UPLOAD, DOWNLOAD, DUPLEX):
            with self.subTest(method):
                connection = self.connect()
                connection.send(grpc_headers(1, method) + frame(DATA, 0, 1, prefix))
                self.assertEqual("8", connection.answer().status)
                # What is under way is thrown away, and the connection's window doesn't shrink.
                for _ in range(20):
                    connection.send(frame(DATA, 0, 1, bytes(16384)) * 64)
                self.check_serves(connection)

    def test_fr8_just_not_too_large(self):
        body = b"\x1a" + varint(MAX_MESSAGE - 5) + b"\x12" + varint(MAX_MESSAGE - 10)
        message = grpc_message(body + bytes(MAX_MESSAGE - len(body)))
        connection = self.connect()
        connection.send(grpc_headers(1, UNARY))
        parts = [message[i:i + 16384] for i in range(0, len(message), 16384)]
        connection.send(data(*parts))
        self.assertEqual("0", connection.answer().status)

    def test_fr9_cut_short(self):
        message = grpc_message(PAYLOAD_4)
        self.check({f"{method} at {i}": grpc_headers(1, method) + data(message[:i])
                    for i in range(1, len(message)) for method in (UNARY, UPLOAD)},
                   self.status_is(13))
        self.check({"behind a whole one": grpc_headers(1, UPLOAD) +
                    data(grpc_message(GIVE_4) + message[:7])}, self.status_is(13))

    def test_fr10_second_message(self):
        two = grpc_message(b"") * 2
        self.check({method: grpc_headers(1, method) + data(two) for method in (UNARY, DOWNLOAD)},
                   self.status_is(12))

    def test_fr11_messages_behind_our_trailers(self):
        connection = self.connect()
        connection.send(grpc_headers(1, UNARY) + frame(DATA, 0, 1, b"\x02" + bytes(4)))
        self.assertEqual("13", connection.answer().status)
        connection.send(data(grpc_message(WANT_3), grpc_message(WANT_3)))
        self.check_serves(connection)

    def test_fr12_padding(self):
        message = grpc_message(GIVE_4)
        def padded(flags, part, pad):
            return frame(DATA, flags | PADDED, 1, bytes([pad]) + part + bytes(pad))
        self.check({f"of {pad}": grpc_headers(1, UPLOAD) + padded(0, message[:4], pad) +
                    padded(END_STREAM, message[4:], pad) for pad in (0, 1, 255)}, self.judge_sum(4))
        self.check_ends({"longer than the frame": grpc_headers(1, UPLOAD) +
                         frame(DATA, PADDED, 1, b"\x05abcd")}, raw_h2.PROTOCOL_ERROR)

    def test_fr13_frames_of_one_byte(self):
        body = b"\x0a" + varint(1003) + b"\x12" + varint(1000) + bytes(1000)
        message = grpc_message(body)
        _, answer = self.answer_to(grpc_headers(1, UPLOAD) +
                                   data(*(message[i:i + 1] for i in range(len(message)))))
        self.status_is(0)(answer)
        self.assertEqual([(0, b"\x08" + varint(1000))], answer.messages())

    def test_not_protobuf(self):
        self.check({"unary": grpc_call(1, UNARY, b"\xff\xff"),
                    "client stream": grpc_call(1, UPLOAD, b"\x0a\x50")}, self.status_is(13))


class CompressionTest(FramesTest):
    gzip_in = ("grpc-encoding", "gzip")
    gzip_out = ("grpc-accept-encoding", "identity,gzip")

    @staticmethod
    def message(body, flag=1):
        return struct.pack("!BI", flag, len(body)) + body

    def test_cp2_unknown_encodings(self):
        def judge(answer):
            self.status_is(12)(answer)
            self.assertEqual("identity,gzip", answer.headers["grpc-accept-encoding"])
        self.check({text: extended(("grpc-encoding", text)) for text in
                    ("deflate", "br", "x", "gzip,gzip", "GZIP")}, judge)

    def test_cp3_each_message_by_itself(self):
        parts = [self.message(gzip.compress(GIVE_4)), self.message(GIVE_4, 0),
                 self.message(gzip.compress(GIVE_4))]
        _, answer = self.answer_to(grpc_headers(1, UPLOAD, self.gzip_in) + data(*parts))
        self.status_is(0)(answer)
        self.assertEqual([(0, b"\x08\x0c")], answer.messages())

    def test_cp3_not_gzip(self):
        whole = gzip.compress(GIVE_4)
        self.check({name: grpc_headers(1, UPLOAD, self.gzip_in) + data(self.message(body))
                    for name, body in {"text": b"x" * 30, "nothing": b"", "cut": whole[:-1],
                                       "more": whole + b"x", "wrong sum": whole[:-8] + bytes(8)}
                    .items()}, self.status_is(13))

    def test_cp4_bombs(self):
        bomb = self.message(gzip.compress(bytes(MAX_MESSAGE + 1)))
        self.assertLess(len(bomb), 16384)
        self.check({method: grpc_headers(1, method, self.gzip_in) + data(bomb)
                    for method in (UNARY, UPLOAD)}, self.status_is(8))

    def test_cp5_answers_as_the_client_accepts(self):
        # A SimpleRequest for 3 bytes, compressed.
        wanted = WANT_3 + b"\x32\x02\x08\x01"
        connection, answer = self.answer_to(grpc_headers(1, UNARY, self.gzip_out) +
                                            data(grpc_message(wanted)))
        self.assertEqual(("0", "gzip"), (answer.status, answer.headers.get("grpc-encoding")))
        flag, body = answer.messages()[0]
        self.assertEqual((1, b"\x0a\x05\x12\x03" + bytes(3)), (flag, gzip.decompress(body)))
        connection.send(grpc_call(3, UNARY, wanted))
        answer = connection.answer(3)
        self.assertEqual(("0", None), (answer.status, answer.headers.get("grpc-encoding")))
        self.assertEqual(0, answer.messages()[0][0])


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


class BrokenFramesTest(FramesTest):
    """RFC 9113's connection errors."""

    def test_sizes(self):
        call = grpc_headers(1, UPLOAD)
        self.check_ends({
            "SETTINGS of 5": frame(SETTINGS, payload=bytes(5)),
            "SETTINGS ACK with one": frame(SETTINGS, raw_h2.ACK, payload=setting(3, 1)),
            "PING of 7": frame(PING, payload=bytes(7)),
            "PING of 9": frame(PING, payload=bytes(9)),
            "GOAWAY of 4": frame(GOAWAY, payload=bytes(4)),
            "RST_STREAM of 3": call + frame(RST_STREAM, 0, 1, bytes(3)),
            "RST_STREAM of 5": call + frame(RST_STREAM, 0, 1, bytes(5)),
            "WINDOW_UPDATE of 3": frame(WINDOW_UPDATE, payload=bytes(3)),
            "PRIORITY of 4": frame(PRIORITY, 0, 1, bytes(4)),
            "DATA of 16385": call + frame(DATA, 0, 1, bytes(16385)),
            "HEADERS of 16385": frame(HEADERS, END_HEADERS, 1, bytes(16385)),
            "unknown of 16385": frame(77, payload=bytes(16385)),
        }, raw_h2.FRAME_SIZE_ERROR)

    def test_streams(self):
        call = grpc_headers(1, UPLOAD)
        self.check_ends({
            "DATA on 0": frame(DATA, 0, 0, b"x"),
            "DATA on an idle one": frame(DATA, 0, 1, b"x"),
            "HEADERS on 0": frame(HEADERS, END_HEADERS, 0, header_block(*grpc_fields(EMPTY))),
            "HEADERS on an even one": grpc_call(2, EMPTY, b""),
            "HEADERS below the last": grpc_call(5, EMPTY, b"") + grpc_call(3, EMPTY, b""),
            "RST_STREAM on 0": frame(RST_STREAM, 0, 0, bytes(4)),
            "RST_STREAM on an idle one": frame(RST_STREAM, 0, 1, bytes(4)),
            "WINDOW_UPDATE on an idle one": window_update(1, 1),
            "SETTINGS on 1": call + frame(SETTINGS, 0, 1),
            "PING on 1": call + frame(PING, 0, 1, bytes(8)),
            "GOAWAY on 1": call + frame(GOAWAY, 0, 1, bytes(8)),
            "PRIORITY on 0": frame(PRIORITY, 0, 0, bytes(5)),
            "PUSH_PROMISE": call + frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4)),
        }, raw_h2.PROTOCOL_ERROR)

    def test_values(self):
        call = grpc_headers(1, UPLOAD)
        self.check_ends({
            "ENABLE_PUSH 2": frame(SETTINGS, payload=setting(2, 2)),
            "MAX_FRAME_SIZE 100": frame(SETTINGS, payload=setting(5, 100)),
            "MAX_FRAME_SIZE 2^24": frame(SETTINGS, payload=setting(5, 1 << 24)),
            "WINDOW_UPDATE 0": window_update(0, 0),
            "HEADERS with too much padding": frame(HEADERS, END_HEADERS | PADDED, 1, b"\x09abc"),
        }, raw_h2.PROTOCOL_ERROR)
        self.check_ends({
            "INITIAL_WINDOW_SIZE 2^31": frame(SETTINGS, payload=setting(4, 1 << 31)),
            "a window above 2^31-1": window_update(0, (1 << 31) - 1),
        }, raw_h2.FLOW_CONTROL_ERROR)
        # For the second, RFC 9113 would have the connection end; nghttp2 is content with the stream.
        self.check({"of a stream, above 2^31-1": call + window_update(1, (1 << 31) - 1),
                    "of a stream, by settings": call + window_update(1, (1 << 31) - 1 - 65535) +
                    frame(SETTINGS, payload=setting(raw_h2.INITIAL_WINDOW_SIZE, 65536))},
                   lambda answer: self.assertEqual(raw_h2.FLOW_CONTROL_ERROR, answer.reset))

    def test_header_blocks(self):
        block = header_block(*grpc_fields(EMPTY))
        begin = frame(HEADERS, 0, 1, block[:20])
        self.check_ends({
            "CONTINUATION of nothing": frame(CONTINUATION, END_HEADERS, 1, block),
            "CONTINUATION behind the end": grpc_headers(1, UPLOAD) +
            frame(CONTINUATION, END_HEADERS, 1, block),
            "of another stream": begin + frame(CONTINUATION, END_HEADERS, 3, block[20:]),
            "PING between": begin + frame(PING, payload=bytes(8)),
            "DATA between": begin + frame(DATA, 0, 1, b"x"),
            "unknown between": begin + frame(77, payload=b"x"),
            "HEADERS between": begin + grpc_call(3, EMPTY, b""),
        }, raw_h2.PROTOCOL_ERROR)
        self.check({"in three frames": begin + frame(CONTINUATION, 0, 1, block[20:40]) +
                    frame(CONTINUATION, END_HEADERS, 1, block[40:]) + data(grpc_message(b""))},
                   self.status_is(0))

    def test_hpack(self):
        self.check_ends({name: frame(HEADERS, END_HEADERS, 1, block) for name, block in {
            "index 0": b"\x80", "index of nothing": b"\xff\x00", "a vast index": b"\xff" * 6,
            "a name of nothing": b"\x7e\x01x", "cut within a name": b"\x00\x05abc",
            "cut within a number": b"\x00\x7f\xff", "a table above the limit": b"\x3f\xe1\xff\x03",
            "a table behind a field": b"\x82\x20", "bad Huffman": b"\x00\x82\xff\xff\x01x",
        }.items()}, raw_h2.COMPRESSION_ERROR)

    def test_what_has_to_be_ignored(self):
        self.check({
            "an unknown frame": frame(77, 0xff, 0, b"x" * 100) + grpc_call(1, EMPTY, b""),
            "an unknown setting": frame(SETTINGS, payload=setting(0xfe03, 1)) +
            grpc_call(1, EMPTY, b""),
            "unknown flags": frame(HEADERS, END_HEADERS | 0xd0, 1,
                                   header_block(*grpc_fields(EMPTY))) + data(grpc_message(b"")),
            "an unasked PING ACK": frame(PING, raw_h2.ACK, 0, bytes(8)) + grpc_call(1, EMPTY, b""),
            "a table of 0": frame(HEADERS, END_HEADERS, 1, b"\x20" +
                                  header_block(*grpc_fields(EMPTY))) + data(grpc_message(b"")),
        }, self.status_is(0))

    def test_cut_off_at_every_byte(self):
        whole = PREFACE + frame(SETTINGS) + grpc_call(1, UNARY, WANT_3)
        bystander = self.connect()
        for length in range(len(whole)):
            with socket.create_connection(("127.0.0.1", self.server.port), timeout=20) as sock:
                sock.sendall(whole[:length])
        self.check_serves(bystander)


class PingTest(FramesTest):
    PING = frame(PING, payload=bytes(8))

    def test_pings_beside_new_calls_are_no_abuse(self):
        connection = self.connect()
        for i in range(20):
            connection.send(grpc_headers(2 * i + 1, UPLOAD) + self.PING)
        self.check_serves(connection)

    def test_pings_by_themselves_are(self):
        self.check_ends({"four": grpc_headers(1, UPLOAD) + self.PING * 4}, raw_h2.ENHANCE_YOUR_CALM)


class CancelTest(FramesTest):
    def test_behind_the_first_answer(self):
        connection = self.connect()
        connection.send(grpc_headers(1, DUPLEX) + frame(DATA, 0, 1, grpc_message(WANT_ONE_OF_3)))
        connection.answer(is_done=lambda answer: answer.data)
        connection.send(frame(RST_STREAM, 0, 1, struct.pack("!I", raw_h2.CANCEL)))
        self.check_serves(connection)

    def test_an_answer_that_is_half_sent_ends_in_a_reset(self):
        connection = self.connect()
        connection.send(grpc_headers(1, DOWNLOAD, ("grpc-timeout", "300m")) +
                        data(grpc_message(WANT_ONE_OF_2_MIB)))
        answer = connection.answer(is_done=lambda answer: answer.reset is not None)
        self.assertEqual((raw_h2.CANCEL, None, 65535),
                         (answer.reset, answer.status, len(answer.data)))
        connection.send(window_update(0, 65535))
        self.check_serves(connection)


if __name__ == "__main__":
    unittest.main()
