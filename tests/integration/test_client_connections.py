"""libauditstore against servers that do wrong with the connection, flow control, or HTTP/2 itself:
every call ends, with the right code, and the next one succeeds."""

import pathlib
import random
import socket
import ssl
import struct
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import fault_server, harness, raw_h2  # noqa: E402
from support.fault_case import FaultCase, fault, stream_fault  # noqa: E402
from support.raw_h2 import (DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PUSH_PROMISE,  # noqa: E402
                            RST_STREAM, SETTINGS, frame, grpc_message, header_block, setting,
                            window_update)

KIB = 1 << 10
NO_WINDOW = setting(raw_h2.INITIAL_WINDOW_SIZE, 0)
# A call within it is answered at once or not at all.
SHORT = "--timeout=300"


class GoawayTest(FaultCase):
    @fault("OK", connections=2, tls=True)
    def above_the_last_stream_it_is_made_again(peer):
        peer.begin()
        peer.call()
        peer.goaway(0)

    @fault("OK", connections=2)
    def with_an_error_too(peer):
        peer.begin()
        peer.call()
        peer.goaway(0, raw_h2.ENHANCE_YOUR_CALM, b"too_many_pings")
        peer.end()

    # In gRPC's tests: goaway.
    @fault("OK", calls=2, connections=2, tls=True)
    def goaway(peer):
        """Up to the last stream it goes on; the next call has a new connection."""
        peer.begin()
        call = peer.call(is_ended=False)
        peer.goaway(call.stream)
        peer.until(lambda: call.is_ended)
        peer.answer(call)
        peer.fall_silent()

    @fault("OK", "", "--at-once", calls=2, connections=2, tls=True)
    def a_call_that_waits_its_turn_has_a_new_connection(peer):
        """While the other one goes on where it is."""
        peer.begin(setting(raw_h2.MAX_CONCURRENT_STREAMS, 1))
        call = peer.call()
        peer.goaway(call.stream)
        harness.wait_until(lambda: peer.server.connections == 2)
        peer.answer(call)
        peer.fall_silent()

    @fault("OK", calls=2, connections=2)
    def twice_with_a_warning_first(peer):
        peer.begin()
        call = peer.call()
        peer.goaway((1 << 31) - 1)
        peer.goaway(call.stream)
        peer.answer(call)
        peer.fall_silent()

    @fault("UNAVAILABLE", "connection|going away", connections=2)
    def then_closed_amid_the_call(peer):
        peer.begin()
        call = peer.call()
        peer.goaway(call.stream)
        peer.headers(call)
        peer.end()

    @fault("DEADLINE_EXCEEDED", "", SHORT)
    def then_silence(peer):
        peer.begin()
        peer.goaway(peer.call().stream)
        peer.fall_silent()

    @stream_fault("OK", connections=2)
    def of_streams_too(peer):
        peer.begin()
        call = peer.call()
        peer.goaway(call.stream)
        peer.headers(call)
        for _ in range(10):
            peer.message(call)
        peer.trailers(call)
        peer.fall_silent()

    @fault("OK|UNAVAILABLE")
    def before_any_call(peer):
        peer.begin()
        peer.goaway(0)


class WindowTest(FaultCase):
    @fault("OK", "", "--request-bytes=100000", tls=True)
    def opened_later(peer):
        peer.begin(NO_WINDOW)
        call = peer.call(is_ended=False)
        peer.write(frame(PING, payload=b"are you?"))
        peer.until(lambda: peer.pongs)
        assert not call.data
        peer.write(frame(SETTINGS, payload=setting(raw_h2.INITIAL_WINDOW_SIZE, 65535)))
        peer.until(lambda: call.is_ended)
        peer.answer(call)

    @fault("DEADLINE_EXCEEDED", "", SHORT)
    def never_opened(peer):
        peer.begin(NO_WINDOW)
        peer.until(lambda: peer.resets)
        peer.write(frame(SETTINGS, payload=setting(raw_h2.INITIAL_WINDOW_SIZE, 65535)))

    @fault("OK", "", "--request-bytes=1000", tls=True)
    def opened_byte_by_byte(peer):
        peer.begin(NO_WINDOW)
        peer.gives_credit = False
        call = peer.call(is_ended=False)
        while not call.is_ended:
            peer.write(window_update(call.stream, 1))
            peer.step()
        peer.write(frame(SETTINGS, payload=setting(raw_h2.INITIAL_WINDOW_SIZE, 65535)))
        peer.gives_credit = True
        peer.answer(call)

    @fault("OK", "", "--request-bytes=200000")
    def below_zero_and_open_again(peer):
        """A smaller initial window makes those of open streams negative."""
        peer.begin()
        peer.gives_credit = False
        call = peer.call(is_ended=False)
        peer.until(lambda: len(call.data) > 60000)
        peer.write(frame(SETTINGS, payload=NO_WINDOW))
        peer.write(window_update(0, 1 << 20) + window_update(call.stream, 1 << 20))
        peer.gives_credit = True
        peer.until(lambda: call.is_ended)
        peer.write(frame(SETTINGS, payload=setting(raw_h2.INITIAL_WINDOW_SIZE, 65535)))
        peer.answer(call)

    @fault("INTERNAL|UNAVAILABLE", "FLOW_CONTROL|connection")
    def of_a_stream_too_wide(peer):
        peer.begin()
        call = peer.call()
        peer.write(2 * window_update(call.stream, (1 << 31) - 1))

    @fault("INTERNAL|UNAVAILABLE")
    def of_the_connection_too_wide(peer):
        peer.begin()
        peer.call()
        peer.write(2 * window_update(0, (1 << 31) - 1))

    @fault("INTERNAL|UNAVAILABLE")
    def an_update_of_nothing(peer):
        peer.begin()
        peer.write(window_update(peer.call().stream, 0))

    @fault("INTERNAL|UNAVAILABLE|RESOURCE_EXHAUSTED")
    def ours_overrun(peer):
        """More than the client allowed."""
        peer.begin()
        call = peer.call()
        peer.headers(call)
        data = struct.pack("!BI", 0, 3 << 20)
        peer.data(call, data)
        for _ in range(1100):
            peer.data(call, bytes(16000))


class SlowTest(FaultCase):
    @fault("OK", tls=True)
    def data_in_frames_of_a_byte(peer):
        peer.begin()
        call = peer.call()
        peer.headers(call)
        # An unknown field of 300 bytes.
        for byte in grpc_message(b"\xfa\x01\xac\x02" + bytes(300)):
            peer.data(call, bytes([byte]))
        peer.trailers(call)

    @fault("OK", tls=True)
    def all_in_segments_of_a_byte(peer):
        write = peer.write
        peer.write = lambda data: [write(bytes([byte])) for byte in data]
        peer.begin()
        peer.answer(peer.call())

    @fault("OK")
    def empty_frames_in_between(peer):
        peer.begin()
        call = peer.call()
        peer.headers(call)
        for byte in grpc_message(b""):
            peer.data(call, bytes([byte]))
            for _ in range(20):
                peer.data(call, b"")
        peer.trailers(call)

    @fault("DEADLINE_EXCEEDED", "", SHORT, tls=True)
    def headers_and_no_more(peer):
        peer.begin()
        peer.headers(peer.call())
        peer.until(lambda: peer.resets)

    @fault("DEADLINE_EXCEEDED", "", SHORT, connections=1)
    def half_a_header_block(peer):
        peer.begin()
        call = peer.call()
        peer.write(frame(HEADERS, 0, call.stream, header_block((":status", "200"))))
        peer.until(lambda: peer.resets)
        peer.write(frame(raw_h2.CONTINUATION, END_HEADERS, call.stream,
                         header_block(*fault_server.GRPC)))


class StreamsTest(FaultCase):
    """SETTINGS_MAX_CONCURRENT_STREAMS."""

    # In gRPC's tests: max_streams.
    @fault("OK", "", "--at-once", calls=20, connections=1, tls=True)
    def max_streams(peer):
        peer.begin(setting(raw_h2.MAX_CONCURRENT_STREAMS, 1))
        for _ in range(20):
            call = peer.call()
            assert len(peer.calls) == 1, "more calls than allowed"
            peer.answer(call)

    @fault("OK")
    def none_at_first(peer):
        peer.begin(setting(raw_h2.MAX_CONCURRENT_STREAMS, 0))
        peer.write(frame(PING, payload=b"are you?"))
        peer.until(lambda: peer.pongs)
        peer.write(frame(SETTINGS, payload=setting(raw_h2.MAX_CONCURRENT_STREAMS, 1)))

    @fault("DEADLINE_EXCEEDED", "", SHORT)
    def none_until_the_deadline(peer):
        peer.begin(setting(raw_h2.MAX_CONCURRENT_STREAMS, 0))
        peer.write(frame(PING, payload=b"are you?"))
        peer.until(lambda: peer.pongs)
        peer.sock.settimeout(1)
        try:
            peer.step()
        except TimeoutError:
            pass
        peer.sock.settimeout(fault_server.SILENCE_S)
        peer.write(frame(SETTINGS, payload=setting(raw_h2.MAX_CONCURRENT_STREAMS, 10)))


class FloodTest(FaultCase):
    # In gRPC's tests: ping.
    @fault("OK", calls=5, connections=1, tls=True)
    def ping(peer):
        peer.begin()
        peer.after_each_frame = frame(PING, payload=b"each one")
        for _ in range(5):
            peer.answer(peer.call())
        peer.after_each_frame = b""
        peer.until(lambda: len(peer.pongs) == 15)
        assert set(peer.pongs) == {b"each one"}

    @fault("OK", connections=1)
    def settings(peer):
        peer.begin()
        call = peer.call()
        for _ in range(500):
            peer.write(frame(SETTINGS))
        peer.answer(call)

    @fault("OK|UNAVAILABLE")
    def more_settings_than_can_be_answered(peer):
        peer.begin()
        call = peer.call()
        peer.write(50000 * frame(SETTINGS))
        peer.answer(call)

    @fault("OK|UNAVAILABLE")
    def more_pings_than_can_be_answered(peer):
        peer.begin()
        call = peer.call()
        peer.write(50000 * frame(PING, payload=bytes(8)))
        peer.answer(call)

    @fault("OK|INTERNAL|UNAVAILABLE")
    def a_pushed_stream(peer):
        """Which the client's settings refuse."""
        peer.begin()
        call = peer.call()
        peer.write(frame(PUSH_PROMISE, END_HEADERS, call.stream, struct.pack("!I", 2) + header_block(
            (":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "x"))))
        peer.answer(call)


def closing(*after):
    """A script: closes when it has done each of `after`."""
    def script(peer):
        for step in after:
            step(peer)
        peer.end()
    return script


def begin(peer):
    peer.begin()


def take_call(peer):
    peer.begin()
    peer.taken = peer.call()


def reset_connection(peer):
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def say_nothing(peer):
    peer.acks_settings = False
    peer.expect_preface()
    peer.fall_silent()


class ClosedTest(FaultCase):
    """The connection ends, at each stage."""

    at_once = fault("UNAVAILABLE", "no HTTP/2|connection")(closing())
    by_a_tcp_reset = fault("UNAVAILABLE", "no HTTP/2|connection")(closing(reset_connection))
    behind_the_preface = fault("UNAVAILABLE", "no HTTP/2|connection", tls=True)(
        closing(fault_server.Peer.expect_preface))
    in_the_settings = fault("UNAVAILABLE", "no HTTP/2|connection", tls=True)(
        closing(fault_server.Peer.expect_preface, lambda peer: peer.write(b"\0\0\6\4\0")))
    with_the_call = fault("UNAVAILABLE", "connection", tls=True)(closing(take_call))
    with_the_call_by_a_tcp_reset = fault("UNAVAILABLE", "connection")(
        closing(take_call, reset_connection))
    in_the_headers = fault("UNAVAILABLE", "connection", tls=True)(
        closing(take_call, lambda peer: peer.write(b"\0\0\x10\1\4\0\0")))
    behind_the_headers = fault("UNAVAILABLE", "connection")(
        closing(take_call, lambda peer: peer.headers(peer.taken)))
    in_the_message = fault("UNAVAILABLE", "connection", tls=True)(
        closing(take_call, lambda peer: peer.headers(peer.taken),
                lambda peer: peer.data(peer.taken, b"\0\0\0\1\0abc")))
    before_the_trailers = fault("UNAVAILABLE", "connection")(
        closing(take_call, lambda peer: peer.headers(peer.taken),
                lambda peer: peer.message(peer.taken)))

    @fault("UNAVAILABLE", "settings", "--connect-timeout=300", tls=True)
    def no_settings(peer):
        say_nothing(peer)

    @fault("DEADLINE_EXCEEDED", "", SHORT, "--connect-timeout=1000", tls=True)
    def no_settings_until_the_deadline(peer):
        say_nothing(peer)


def saying(data):
    """A script: these bytes, whatever the client says."""
    def script(peer):
        peer.write(data)
        peer.end()
    return script


class GarbageTest(FaultCase):
    """Other protocols, and HTTP/2 that isn't."""

    http_1 = fault("UNAVAILABLE", "HTTP/2|connection")(
        saying(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"))
    ssh = fault("UNAVAILABLE", "HTTP/2|connection")(saying(b"SSH-2.0-OpenSSH_9.2\r\n"))
    random_bytes = fault("UNAVAILABLE", "HTTP/2|connection", tls=True)(
        saying(random.Random(1).randbytes(100000)))
    zeros = fault("UNAVAILABLE", "HTTP/2|connection")(saying(bytes(1000)))


def breaking(*parts, stream=None):
    """A script: answers a call with frames that HTTP/2 forbids; `parts` may be functions of the
    call's stream."""
    def script(peer):
        peer.begin()
        call = peer.call()
        peer.write(b"".join(part(call.stream) if callable(part) else part for part in parts))
    return script


OK_HEADERS = header_block((":status", "200"), *fault_server.GRPC)


def broken(*parts, code="UNAVAILABLE|INTERNAL"):
    return fault(code)(breaking(*parts))


class FramesTest(FaultCase):
    """Frames that HTTP/2 forbids: the stream or the connection ends."""

    data_on_stream_0 = broken(frame(DATA, 0, 0, b"abc"))
    headers_on_stream_0 = broken(frame(HEADERS, END_HEADERS, 0, OK_HEADERS))
    headers_on_a_stream_of_the_future = broken(frame(HEADERS, END_HEADERS, 99, OK_HEADERS))
    headers_on_an_even_stream = broken(frame(HEADERS, END_HEADERS, 2, OK_HEADERS))
    data_before_headers = broken(lambda stream: frame(DATA, 0, stream, grpc_message(b"")))
    a_broken_header_block = broken(lambda stream: frame(HEADERS, END_HEADERS, stream, b"\xff" * 20))
    an_index_out_of_the_table = broken(lambda stream: frame(HEADERS, END_HEADERS, stream, b"\xfe"))
    a_frame_above_the_maximum = broken(lambda stream: frame(DATA, 0, stream, bytes(20000)))
    a_continuation_of_nothing = broken(
        lambda stream: frame(raw_h2.CONTINUATION, END_HEADERS, stream, OK_HEADERS))
    another_frame_within_a_header_block = broken(
        lambda stream: frame(HEADERS, 0, stream, OK_HEADERS) + frame(PING, payload=bytes(8)))
    a_ping_of_7_bytes = broken(frame(PING, payload=bytes(7)))
    settings_of_5_bytes = broken(frame(SETTINGS, payload=bytes(5)))
    settings_on_a_stream = broken(lambda stream: frame(SETTINGS, stream=stream))
    a_window_above_the_maximum = broken(
        frame(SETTINGS, payload=setting(raw_h2.INITIAL_WINDOW_SIZE, 1 << 31)))
    a_frame_size_below_the_minimum = broken(
        frame(SETTINGS, payload=setting(raw_h2.MAX_FRAME_SIZE, 100)))
    a_reset_of_3_bytes = broken(lambda stream: frame(RST_STREAM, stream=stream, payload=bytes(3)))
    a_reset_of_the_future = broken(frame(RST_STREAM, stream=99, payload=bytes(4)))
    a_goaway_of_3_bytes = broken(frame(GOAWAY, payload=bytes(3)))
    padding_longer_than_the_frame = broken(
        lambda stream: frame(HEADERS, END_HEADERS, stream, OK_HEADERS) +
        frame(DATA, raw_h2.PADDED, stream, b"\xff123"))
    upper_case_headers = broken(
        lambda stream: frame(HEADERS, END_HEADERS | END_STREAM, stream, header_block(
            (":status", "200"), *fault_server.GRPC, ("Grpc-Status", "0"))),
        code="UNAVAILABLE|INTERNAL|UNKNOWN")
    trailers_that_do_not_end_the_stream = broken(
        lambda stream: frame(HEADERS, END_HEADERS, stream, OK_HEADERS) +
        frame(HEADERS, END_HEADERS, stream, header_block(("grpc-status", "0"))))
    a_length_that_is_not_that_of_the_data = broken(
        lambda stream: frame(HEADERS, END_HEADERS, stream, header_block(
            (":status", "200"), *fault_server.GRPC, ("content-length", "3"))) +
        frame(DATA, 0, stream, grpc_message(b"")))

    # It has to be ignored.
    @fault("OK", connections=1)
    def an_unknown_frame(peer):
        peer.begin()
        call = peer.call()
        peer.write(frame(0x99, 0xff, 0, b"whatever"))
        peer.answer(call)


class TlsTest(FaultCase):
    """By TLS: what goes wrong before HTTP/2. Each connection is like the first."""

    def ends(self, code, text, script, *options, **more):
        for mode in ([], ["--poll"]):
            with self.subTest(mode=mode):
                got = self.outcomes(script, *self.tls_options(), *options, *mode, **more)
                self.assertEqual(code, got[0][0], got)
                self.assertRegex(got[0][2], text)

    def before_tls(self, script):
        return {"tls": self.tls, "begins_tls": False, "script": script}

    def test_closed_instead_of_a_handshake(self):
        self.ends("UNAVAILABLE", "(?i)tls|connection", **self.before_tls(closing()))

    def test_closed_amid_the_handshake(self):
        def script(peer):
            peer.sock.recv(100)
            peer.write(b"\x16\x03\x03\x00\x50\x02")
            peer.end()
        self.ends("UNAVAILABLE", "(?i)tls|connection", **self.before_tls(script))

    def test_silence_instead_of_a_handshake(self):
        self.ends("UNAVAILABLE", "(?i)tls|time", fault_server.Peer.fall_silent,
                  "--connect-timeout=300", tls=self.tls, begins_tls=False)

    def test_a_server_without_tls(self):
        def script(peer):
            peer.sock.recv(100)
            saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")(peer)
        self.ends("UNAVAILABLE", "(?i)tls", **self.before_tls(script))

    def test_an_alert(self):
        def script(peer):
            peer.sock.recv(100)
            peer.write(b"\x15\x03\x03\x00\x02\x02\x28")
            peer.end()
        self.ends("UNAVAILABLE", "(?i)handshake|alert|tls", **self.before_tls(script))

    def test_no_h2_by_alpn(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.authority.issue("plainer"))
        self.ends("UNAVAILABLE", "ALPN|h2", fault_server.serve_well, tls=context)

    def test_a_certificate_of_somebody_else_s(self):
        self.ends("UNAVAILABLE", "(?i)certificate", fault_server.serve_well,
                  "--server-name=other.example", tls=self.tls)


if __name__ == "__main__":
    unittest.main(verbosity=2)
