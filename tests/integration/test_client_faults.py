"""libauditstore against servers that answer wrongly: every call ends, with the right code, and the
next one succeeds."""

import gzip
import pathlib
import resource
import struct
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import fault_server, raw_h2  # noqa: E402
from support.fault_case import FaultCase, fault, stream_fault  # noqa: E402
from support.raw_h2 import END_STREAM, grpc_message, header_block  # noqa: E402

MIB = 1 << 20
WITH_GZIP = (("content-type", "application/grpc"), ("grpc-encoding", "gzip"))


def as_compressed(data):
    return struct.pack("!BI", 1, len(data)) + data


def ending_with(status, *fields):
    """A script: a message, then trailers with these."""
    def script(peer):
        peer.begin()
        call = peer.call()
        peer.headers(call)
        peer.message(call)
        peer.trailers(call, status, *fields)
    return script


def with_data(data, *headers):
    """A script: an answer of these bytes, which ends as if it were good."""
    def script(peer):
        peer.begin()
        call = peer.call()
        peer.headers(call, *headers)
        peer.data(call, data)
        peer.trailers(call)
    return script


def seconds_left(call):
    """Of a call's deadline. The first one of a test has 20 s, the last one 30."""
    timeout = call.headers["grpc-timeout"]
    return int(timeout[:-1]) / {"S": 1, "m": 1e3, "u": 1e6}[timeout[-1]]


def reset_after_headers(code):
    def script(peer):
        peer.begin()
        call = peer.call()
        peer.headers(call)
        peer.reset(call, code)
    return script


class ResetTest(FaultCase):
    """RST_STREAM. Those named as in gRPC's HTTP/2 interoperability tests are theirs."""

    rst_after_header = fault("INTERNAL", "reset", tls=True)(reset_after_headers(raw_h2.NO_ERROR))

    @fault("INTERNAL", "reset", tls=True)
    def rst_during_data(peer):
        peer.begin()
        call = peer.call()
        peer.headers(call)
        peer.data(call, struct.pack("!BI", 0, 1000) + bytes(10))
        peer.reset(call, raw_h2.NO_ERROR)

    @fault("INTERNAL", "reset", tls=True)
    def rst_after_data(peer):
        peer.begin()
        call = peer.call()
        peer.headers(call)
        peer.message(call)
        peer.reset(call, raw_h2.NO_ERROR)

    @stream_fault("INTERNAL", "reset", tls=True)
    def a_stream_reset_after_a_message(peer):
        peer.begin()
        call = peer.call()
        peer.headers(call)
        peer.message(call)
        peer.reset(call, raw_h2.INTERNAL_ERROR)

    protocol_error = fault("INTERNAL", "PROTOCOL_ERROR")(
        reset_after_headers(raw_h2.PROTOCOL_ERROR))
    cancel = fault("CANCELLED", "CANCEL")(reset_after_headers(raw_h2.CANCEL))
    enhance_your_calm = fault("RESOURCE_EXHAUSTED", "ENHANCE_YOUR_CALM")(
        reset_after_headers(raw_h2.ENHANCE_YOUR_CALM))
    inadequate_security = fault("PERMISSION_DENIED", "INADEQUATE_SECURITY")(
        reset_after_headers(0xc))
    an_unknown_code = fault("INTERNAL|UNKNOWN", "reset")(reset_after_headers(0xbad))
    # The server has begun to answer, so it isn't made again.
    refused_after_headers = fault("UNAVAILABLE", "REFUSED_STREAM")(
        reset_after_headers(raw_h2.REFUSED_STREAM))

    @fault("OK", connections=1, tls=True)
    def refused_once(peer):
        peer.begin()
        peer.reset(peer.call(), raw_h2.REFUSED_STREAM)

    @fault("UNAVAILABLE", "REFUSED_STREAM", connections=1)
    def refused_again_and_again(peer):
        """It isn't made again for ever, though it may be made again each time."""
        peer.begin()
        call, refused = peer.call(), 0
        while seconds_left(call) <= 20 and refused < 50:
            peer.reset(call, raw_h2.REFUSED_STREAM)
            call, refused = peer.call(), refused + 1
        peer.answer(call)

    @fault("OK", "", "--attempts=3", connections=1)
    def refused_twice_with_a_retry_policy(peer):
        peer.begin()
        peer.reset(peer.call(), raw_h2.REFUSED_STREAM)
        peer.reset(peer.call(), raw_h2.REFUSED_STREAM)


class StatusTest(FaultCase):
    """What is said about how a call ended."""

    no_status = fault("UNKNOWN", "without a status", tls=True)(ending_with(None))
    status_17 = fault("UNKNOWN")(ending_with("17"))
    status_minus_1 = fault("UNKNOWN")(ending_with("-1"))
    status_abc = fault("UNKNOWN")(ending_with("abc"))
    status_empty = fault("UNKNOWN")(ending_with(""))
    status_far_too_large = fault("UNKNOWN")(ending_with("18446744073709551616"))
    an_error_after_the_message = fault("ABORTED", "^so it is$")(
        ending_with("10", ("grpc-message", "so it is")))
    a_long_message = fault("ABORTED", "^x{5000}$")(
        ending_with("10", ("grpc-message", "x" * 5000)))
    broken_percents = fault("ABORTED", "^100% %zz %4$")(
        ending_with("10", ("grpc-message", "100% %zz %4")))
    percents_of_broken_utf8 = fault("ABORTED", r"^a.*b$")(
        ending_with("10", ("grpc-message", "a%FF%C3b")))
    a_nul_in_the_message = fault("ABORTED", "^a")(
        ending_with("10", ("grpc-message", "a%00b")))
    details_that_are_no_base64 = fault("ABORTED", "^so$")(
        ending_with("10", ("grpc-message", "so"), ("grpc-status-details-bin", "!!!!")))
    a_binary_trailer_that_is_no_base64 = fault("ABORTED")(
        ending_with("10", ("x-some-bin", "====")))

    @fault("UNKNOWN", "without a status")
    def no_trailers(peer):
        peer.begin()
        call = peer.call()
        peer.headers(call)
        peer.data(call, grpc_message(b""), END_STREAM)

    @fault("ABORTED", "^so it is$", tls=True)
    def trailers_only(peer):
        peer.begin()
        peer.trailers_only(peer.call(), *fault_server.GRPC, ("grpc-status", "10"),
                           ("grpc-message", "so it is"))

    @fault("INTERNAL", "OK without a message")
    def trailers_only_ok(peer):
        peer.begin()
        peer.trailers_only(peer.call(), *fault_server.GRPC, ("grpc-status", "0"))

    @fault("ABORTED|UNKNOWN")
    def trailers_only_without_content_type(peer):
        peer.begin()
        peer.trailers_only(peer.call(), ("grpc-status", "10"))

    @fault("INTERNAL|ABORTED")
    def two_statuses(peer):
        ending_with("10", ("grpc-status", "13"))(peer)

    def test_headers_above_the_limit_are_not_kept(self):
        """Of one entry of the compression table, thousands of times: half a GiB."""
        def script(peer):
            peer.begin()
            call = peer.call()
            peer.headers(call)
            entry = b"\x40" + header_block(("x-large", "x" * 4000))[1:]
            peer.large_headers(call, header_block(("grpc-status", "10")) + entry +
                               b"\xbe" * 120000, END_STREAM)

        code, _, _ = self.outcomes(script)[0]
        self.assertIn(code, ("INTERNAL", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "ABORTED"))
        # Of all clients so far.
        self.assertLess(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, 300 << 10)


def http(status, *headers):
    def script(peer):
        peer.begin()
        peer.trailers_only(peer.call(), *(headers or (("content-type", "text/html"),)),
                           status=str(status))
    return script


class HttpTest(FaultCase):
    """Answers that aren't gRPC's."""

    http_200 = fault("UNKNOWN", "HTTP 200", tls=True)(http(200))
    http_204 = fault("UNKNOWN", "HTTP 204")(http(204))
    http_302 = fault("UNKNOWN", "HTTP 302")(http(302))
    http_400 = fault("INTERNAL", "HTTP 400")(http(400))
    http_401 = fault("UNAUTHENTICATED", "HTTP 401")(http(401))
    http_403 = fault("PERMISSION_DENIED", "HTTP 403")(http(403))
    http_404 = fault("UNIMPLEMENTED", "HTTP 404")(http(404))
    http_415 = fault("UNKNOWN", "HTTP 415")(http(415))
    http_429 = fault("UNAVAILABLE", "HTTP 429")(http(429))
    http_500 = fault("UNKNOWN", "HTTP 500")(http(500))
    http_502 = fault("UNAVAILABLE", "HTTP 502")(http(502))
    http_503 = fault("UNAVAILABLE", "HTTP 503", tls=True)(http(503))
    http_504 = fault("UNAVAILABLE", "HTTP 504")(http(504))

    @fault("UNAVAILABLE", "HTTP 503")
    def an_error_page(peer):
        peer.begin()
        call = peer.call()
        peer.headers(call, ("content-type", "text/html"), status="503")
        peer.data(call, b"<html>" * 1000, END_STREAM)

    @fault("UNKNOWN", "HTTP 200")
    def no_content_type(peer):
        peer.begin()
        call = peer.call()
        peer.headers(call, ("server", "some"))
        peer.message(call)
        peer.trailers(call)

    @fault("UNKNOWN", "HTTP 200")
    def grpc_web(peer):
        peer.begin()
        call = peer.call()
        peer.headers(call, ("content-type", "application/grpc-web+proto"))
        peer.message(call)
        peer.trailers(call)

    @fault("OK")
    def another_subtype(peer):
        peer.begin()
        call = peer.call()
        peer.headers(call, ("content-type", "application/grpc+proto; charset=utf-8"))
        peer.message(call)
        peer.trailers(call)

    @fault("OK")
    def early_hints(peer):
        peer.begin()
        call = peer.call()
        for _ in range(3):
            peer.headers(call, ("link", "</a>"), status="103")
        peer.answer(call)

    @fault("INTERNAL|UNAVAILABLE")
    def switching_protocols(peer):
        """HTTP/2 has no 101."""
        peer.begin()
        call = peer.call()
        peer.headers(call, ("upgrade", "h3"), status="101")

    @fault("INTERNAL|UNKNOWN|UNAVAILABLE")
    def no_http_status(peer):
        peer.begin()
        call = peer.call()
        peer.write(raw_h2.frame(raw_h2.HEADERS, raw_h2.END_HEADERS | END_STREAM, call.stream,
                                header_block(*fault_server.GRPC, ("grpc-status", "0"))))


class MessageTest(FaultCase):
    """Answers whose messages are wrong."""

    cut_in_the_message = fault("INTERNAL", "middle of a message", tls=True)(
        with_data(grpc_message(bytes(100))[:50]))
    cut_in_the_prefix = fault("INTERNAL", "middle of a message")(with_data(b"\0\0\0"))
    a_flag_of_2 = fault("INTERNAL", "framed")(with_data(b"\x02" + grpc_message(b"")[1:]))
    no_protobuf = fault("INTERNAL", "message that was agreed")(
        with_data(grpc_message(b"\xff\xff\xff")))
    two_messages = fault("INTERNAL", "more than one")(with_data(2 * grpc_message(b"")))
    no_message = fault("INTERNAL", "without a message")(with_data(b""))
    compressed = fault("OK", tls=True)(
        with_data(as_compressed(gzip.compress(b"")), *WITH_GZIP))
    compressed_though_not_said = fault("INTERNAL", "compress")(
        with_data(as_compressed(gzip.compress(b""))))
    another_compression = fault("INTERNAL|UNIMPLEMENTED", "compress")(
        with_data(as_compressed(b"abc"), *fault_server.GRPC, ("grpc-encoding", "snappy")))
    no_gzip = fault("INTERNAL", "gzip")(with_data(as_compressed(b"nonsense"), *WITH_GZIP))
    gzip_cut_short = fault("INTERNAL", "gzip")(
        with_data(as_compressed(gzip.compress(bytes(1000))[:-9]), *WITH_GZIP))
    a_gzip_bomb = fault("RESOURCE_EXHAUSTED", "max_message_bytes", "--max-message=100000")(
        with_data(as_compressed(gzip.compress(bytes(MIB))), *WITH_GZIP))
    a_gzip_bomb_in_a_stream = stream_fault("RESOURCE_EXHAUSTED", "max_message_bytes",
                                           "--max-message=100000")(
        with_data(as_compressed(gzip.compress(bytes(MIB))), *WITH_GZIP))
    no_gzip_in_a_stream = stream_fault("INTERNAL", "gzip")(
        with_data(as_compressed(b"nonsense"), *WITH_GZIP))
    a_message_of_the_maximum = fault("INTERNAL", "message that was agreed", "--max-message=1000")(
        with_data(grpc_message(b"\xff" * 1000)))
    a_message_above_the_maximum = fault("RESOURCE_EXHAUSTED", "max_message_bytes",
                                        "--max-message=1000", tls=True)(
        with_data(grpc_message(b"\xff" * 1001)))

    @fault("RESOURCE_EXHAUSTED", "max_message_bytes")
    def a_length_of_4_gib_is_refused_at_once(peer):
        """Though nothing of the message has come."""
        peer.begin()
        call = peer.call()
        peer.headers(call)
        peer.data(call, b"\0\xff\xff\xff\xff")
        peer.until(lambda: call.stream in peer.resets)

    @stream_fault("INTERNAL", "middle of a message")
    def a_stream_cut_in_its_third_message(peer):
        peer.begin()
        call = peer.call()
        peer.headers(call)
        peer.data(call, 2 * grpc_message(b"") + b"\0\0\0\0\x05abc")
        peer.trailers(call)

    def test_messages_before_the_fault_are_given(self):
        got = self.outcomes(with_data(2 * grpc_message(b"") + b"\0\0"), "--stream")
        self.assertEqual(("INTERNAL", 2), got[0][:2])

    def test_more_metadata_than_a_status_holds_is_no_harm(self):
        fields = [(f"x-{number}", "v") for number in range(1000)]
        self.assertEqual("ABORTED", self.outcomes(ending_with("10", *fields))[0][0])


if __name__ == "__main__":
    unittest.main(verbosity=2)
