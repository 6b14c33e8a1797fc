"""What an attack (attacks.py) is made of."""

import dataclasses
import functools
import gzip
import itertools
import struct
import typing

from support import raw_h2
from support.raw_h2 import frame

WRITE = "/auditstore.v1.AuditStore/WriteEvents"
STREAM = "/auditstore.v1.AuditStore/StreamEvents"
GET = "/auditstore.v1.AuditStore/GetEvent"
LIST = "/auditstore.v1.AuditStore/ListEvents"
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"

FRAME_BYTES = 16384
LARGE_ID = "large"
# What the daemon takes by default: calls at once, a message, and what a call may send ahead.
MAX_CALLS = 256
MAX_MESSAGE_BYTES = 4 << 20
STREAM_WINDOW_BYTES = 1 << 20
# The largest window that a peer may open, and what is then to be added to the connection's first one.
OPEN_WINDOW = 2**31 - 1
OPEN_CONNECTION = OPEN_WINDOW - 65535


@dataclasses.dataclass(frozen=True)
class Attack:
    """`pieces` makes, for a connection, the bytes that it sends and numbers: seconds to send nothing."""

    pieces: typing.Callable
    connections: int = 1  # at once
    window: int = 65535  # for answers
    keeps_rules: bool = False  # so that nothing need end it
    is_reading: bool = True
    is_http2: bool = True
    port: str = "grpc"  # or http, which has the pages
    first: bytes = b""  # what is sent at first where it isn't HTTP/2

    def opening(self):
        if not self.is_http2:
            return self.first
        opening = raw_h2.PREFACE + frame(
            raw_h2.SETTINGS, payload=raw_h2.setting(raw_h2.INITIAL_WINDOW_SIZE, self.window))
        if self.window == OPEN_WINDOW:
            opening += raw_h2.window_update(0, OPEN_CONNECTION)
        return opening


# ---- pieces ----


def repeated(one):
    """The same bytes again and again, in pieces of about 64 KiB."""
    piece = one * (1 + 65536 // len(one))
    return lambda _: itertools.repeat(piece)


def streams(one):
    """one(stream id) for stream after stream, whether there may be more of them or not."""
    def pieces(_):
        stream = 1
        while stream < 2**30:
            piece = b""
            while len(piece) < 32768:
                piece += one(stream)
                stream += 2
            yield piece
    return pieces


def calls(one, at_once=MAX_CALLS):
    """The same, for as many as may be under way."""
    def pieces(peer):
        for stream in itertools.count(1, 2):
            while peer.open_calls >= at_once:
                yield 0.001
            peer.open_calls += 1
            yield one(stream)
    return pieces


def held(one, count=MAX_CALLS):
    """one(stream id) for so many streams, which then are left as they are."""
    def pieces(_):
        for i in range(count):
            yield one(2 * i + 1)
    return pieces


# ---- frames ----


def data(stream, payload, is_end=True):
    last = max(0, (len(payload) - 1) // FRAME_BYTES)
    return b"".join(frame(raw_h2.DATA, raw_h2.END_STREAM if is_end and i == last else 0, stream,
                          payload[FRAME_BYTES * i:FRAME_BYTES * (i + 1)]) for i in range(last + 1))


def zipped(message):
    """As it goes over the wire, with its prefix."""
    packed = gzip.compress(message, 9)
    return struct.pack("!BI", 1, len(packed)) + packed


def zipped_call(method, make, is_end=True):
    """A function of the stream: a call with a compressed message, which is made when it is needed."""
    packed = functools.cache(lambda: zipped(make()))
    return lambda stream: (raw_h2.grpc_headers(stream, method, ("grpc-encoding", "gzip")) +
                           data(stream, packed(), is_end))


def call(method, *messages, is_end=True, headers=()):
    """The same with any number of messages as they are."""
    packed = b"".join(map(raw_h2.grpc_message, messages))
    return lambda stream: (raw_h2.grpc_headers(stream, method, *headers) +
                           data(stream, packed, is_end))


# ---- protobuf ----


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, content):
    """Of bytes or text, or a number."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    content = content if isinstance(content, bytes) else content.encode()
    return varint(number << 3 | 2) + varint(len(content)) + content


def event(at_s, event_id="", event_data="", event_type="test.attack"):
    """An AuditEvent that is fit to be stored."""
    return (field(1, event_id) + field(2, field(1, int(at_s))) + field(3, event_type) +
            field(4, "test") + field(5, "attack") + field(7, 1) + field(19, event_data))


def large_page():
    """A ListEventsRequest for events of LARGE_ID."""
    return field(1, field(6, "test") + field(7, LARGE_ID))


def batch(events, *more):
    """A WriteEventsRequest."""
    return b"".join(field(1, one) for one in events) + b"".join(more)


def stream_batch(events, *more):
    """A StreamEventsRequest."""
    return b"".join(field(2, one) for one in events) + b"".join(more)
