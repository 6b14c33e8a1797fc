"""A server that follows a script, frame by frame: what a client library must live with.

    def script(peer):                     # for the first connection; later ones are served well
        peer.begin()
        call = peer.call()
        peer.headers(call)
        peer.reset(call, raw_h2.INTERNAL_ERROR)

When the script returns, further calls on its connection are served well, until the client closes it;
peer.end() closes it instead.
"""

import contextlib
import dataclasses
import socket
import ssl
import struct
import threading

from support import raw_h2
from support.raw_h2 import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING,
                            PREFACE, RST_STREAM, frame, grpc_message, header_block, window_update)

# Longer than any test, so that only a server left alone ends by it.
SILENCE_S = 120
GRPC = (("content-type", "application/grpc"),)


class Gone(Exception):
    """The connection has ended."""


@dataclasses.dataclass
class Call:
    stream: int
    headers: dict
    data: bytes = b""
    is_ended: bool = False


class Peer(raw_h2.End):
    """The server's end of its connection `number`, which counts from 0."""

    def __init__(self, server, sock, number):
        super().__init__(sock)
        self.server = server
        self.number = number
        self.calls = {}
        self.resets = {}  # by stream
        self.pongs = []
        self.gives_credit = True
        self.most_open = 0
        self.after_each_frame = b""

    # ---- the client's frames

    def begin(self, *settings):
        """Awaits the client's preface; sends settings."""
        self.expect_preface()
        self.send(frame(raw_h2.SETTINGS, payload=b"".join(settings)))

    def expect_preface(self):
        preface = self._exactly(len(PREFACE))
        if preface is None:
            raise Gone
        assert preface == PREFACE, preface

    def step(self):
        """Takes one frame. Gives its call, if it has one."""
        got = self.receive()
        if got is None or got[3] is None:
            raise Gone
        kind, flags, stream, payload = got
        if kind == PING and flags & ACK:
            self.pongs.append(payload)
        elif kind == PING:
            self.send(frame(PING, ACK, payload=payload))
        elif kind == RST_STREAM:
            self.resets[stream] = int.from_bytes(payload, "big")
        if kind not in (HEADERS, DATA):
            return None
        if kind == HEADERS:
            assert flags & END_HEADERS, "a header block in several frames"
            self.calls[stream] = Call(stream, dict(self.decoder.decode(payload)))
        call = self.calls[stream]
        if kind == DATA:
            call.data += payload
            if self.gives_credit and payload:
                self.send(window_update(0, len(payload)) + window_update(stream, len(payload)))
        call.is_ended = bool(flags & END_STREAM)
        self.most_open = max(self.most_open, len(self.calls))
        return call

    def call(self, is_ended=True):
        """The next call: when its request has ended, or when its headers have come."""
        while True:
            call = self.step()
            if call and (call.is_ended or not is_ended):
                return call

    def until(self, condition):
        """Takes frames until condition() holds."""
        while not condition():
            self.step()

    # ---- ours

    def write(self, data):
        if not self.send(data + self.after_each_frame):
            raise Gone

    def headers(self, call, *fields, status="200", flags=END_HEADERS):
        block = header_block((":status", status), *(fields or GRPC))
        self.write(frame(HEADERS, flags, call.stream, block))

    def large_headers(self, call, block, flags=0):
        """A block of any size, in as many frames as it takes."""
        parts = [block[at:at + 16384] for at in range(0, len(block), 16384)]
        kinds = [HEADERS] + [CONTINUATION] * (len(parts) - 1)
        self.write(b"".join(
            frame(kind, (flags if kind == HEADERS else 0) |
                  (END_HEADERS if at == len(parts) - 1 else 0), call.stream, part)
            for at, (kind, part) in enumerate(zip(kinds, parts))))

    def data(self, call, data, flags=0):
        self.write(frame(DATA, flags, call.stream, data))

    def message(self, call, message=b""):
        self.data(call, grpc_message(message))

    def trailers(self, call, status="0", *fields):
        block = header_block(*((("grpc-status", status),) if status is not None else ()), *fields)
        self.write(frame(HEADERS, END_HEADERS | END_STREAM, call.stream, block))
        self.calls.pop(call.stream, None)

    def trailers_only(self, call, *fields, status="200"):
        self.headers(call, *fields, status=status, flags=END_HEADERS | END_STREAM)
        self.calls.pop(call.stream, None)

    def answer(self, call):
        """Well."""
        self.headers(call)
        self.message(call)
        self.trailers(call)

    def reset(self, call, code):
        self.write(frame(RST_STREAM, stream=call.stream, payload=struct.pack("!I", code)))
        self.calls.pop(call.stream, None)

    def goaway(self, last_stream, code=raw_h2.NO_ERROR, text=b""):
        self.write(frame(GOAWAY, payload=struct.pack("!II", last_stream, code) + text))

    def serve(self):
        """Answers calls until the client closes."""
        while True:
            self.answer(self.call())

    def end(self):
        raise Gone

    def fall_silent(self):
        """Reads, and never answers."""
        while True:
            self.step()


def serve_well(peer):
    peer.begin()
    peer.serve()


class FaultServer:
    """On a port of 127.0.0.1. With `tls`, an ssl.SSLContext, by TLS; without `begins_tls` the script
    is given the socket as it was accepted, as peer.sock."""

    def __init__(self, script, tls=None, begins_tls=True):
        self.script = script
        self.tls, self.begins_tls = tls, begins_tls
        self.connections = 0
        self.errors = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(sock, self.connections))
            self.connections += 1
            self.threads.append(thread)
            thread.start()

    def _serve(self, sock, number):
        sock.settimeout(SILENCE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self.tls and (self.begins_tls or number > 0):
                sock = self.tls.wrap_socket(sock, server_side=True)
            peer = Peer(self, sock, number)
            if number > 0:
                serve_well(peer)
            self.script(peer)
            peer.serve()
        except (Gone, ConnectionError, ssl.SSLError):
            pass
        except Exception as error:  # pylint: disable=broad-except
            self.errors.append(error)
        finally:
            sock.close()

    def close(self):
        """When the client has ended. Raises what went wrong in a script."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(SILENCE_S)
        if self.errors:
            raise self.errors[0]
