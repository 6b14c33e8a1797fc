"""HTTP/2 by hand: what a stock client hides."""

import dataclasses
import socket
import ssl
import struct
import time

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, \
    CONTINUATION = range(10)
ACK, END_STREAM, END_HEADERS, PADDED, PRIORITIZED = 1, 1, 4, 8, 32
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, \
    FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, \
    ENHANCE_YOUR_CALM = range(12)
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, \
    MAX_HEADER_LIST_SIZE = range(1, 7)


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def setting(number, value):
    return struct.pack("!HI", number, value)


def window_update(stream, more):
    return frame(WINDOW_UPDATE, stream=stream, payload=struct.pack("!I", more))


def _literal(text):
    text = text if isinstance(text, bytes) else text.encode()
    return bytes(hpack.hpack.encode_integer(len(text), 7)) + text


def header_block(*headers):
    """Without compression; of texts or bytes."""
    return b"".join(b"\0" + _literal(name) + _literal(value) for name, value in headers)


def grpc_fields(method):
    """What a call's headers have at least."""
    return ((":method", "POST"), (":scheme", "http"), (":path", method), (":authority", "test"),
            ("content-type", "application/grpc"), ("te", "trailers"))


def grpc_headers(stream, method, *more_headers):
    """The frame that opens a call."""
    return frame(HEADERS, END_HEADERS, stream, header_block(*grpc_fields(method), *more_headers))


def grpc_message(message):
    return struct.pack("!BI", 0, len(message)) + message


def grpc_call(stream, method, message, *more_headers):
    """The frames of a unary call."""
    return (grpc_headers(stream, method, *more_headers) +
            frame(DATA, END_STREAM, stream, grpc_message(message)))


@dataclasses.dataclass
class Answer:
    """What came on one stream. `frames` are kinds and flags, in order."""

    frames: list = dataclasses.field(default_factory=list)
    headers: dict = dataclasses.field(default_factory=dict)
    trailers: dict = dataclasses.field(default_factory=dict)
    data: bytes = b""
    is_ended: bool = False
    reset: int | None = None
    goaway: tuple | None = None
    is_closed: bool = False

    @property
    def status(self):
        """As text; None without one."""
        return {**self.headers, **self.trailers}.get("grpc-status")

    def messages(self):
        """(flag, bytes) of each."""
        found, rest = [], self.data
        while rest:
            flag, length = struct.unpack("!BI", rest[:5])
            found.append((flag, rest[5:5 + length]))
            rest = rest[5 + length:]
        return found


class End:
    """One end of a connection, frame by frame."""

    def __init__(self, sock, acks_settings=True):
        self.acks_settings = acks_settings
        self.decoder = hpack.Decoder()
        self.sock = sock

    def receive(self):
        """(kind, flags, stream, payload); None when the peer has closed. Settings are answered."""
        head = self._exactly(9)
        if head is None:
            return None
        length = int.from_bytes(head[:3], "big")
        payload = self._exactly(length) if length else b""
        if head[3] == SETTINGS and not head[4] & ACK and self.acks_settings:
            self.send(frame(SETTINGS, ACK))
        return head[3], head[4], int.from_bytes(head[5:], "big"), payload

    def send(self, data):
        """False when the peer has closed."""
        try:
            self.sock.sendall(data)
        except (ConnectionError, ssl.SSLError):
            return False
        return True

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            try:
                more = self.sock.recv(count - len(data))
            except (ConnectionError, ssl.SSLError):
                return None
            if not more:
                return None
            data += more
        return data

    def close(self):
        self.sock.close()


class Connection(End):
    """A client's."""

    def __init__(self, host=None, port=None, timeout=20, sock=None, acks_settings=True):
        super().__init__(sock or socket.create_connection((host, port), timeout=timeout),
                         acks_settings)
        self.answers = {}
        self.sock.sendall(PREFACE + frame(SETTINGS))

    def receive_until(self, wanted, seconds=20):
        """The first frame for which wanted(kind, flags, stream, payload) holds, and None when the
        server closes before; TimeoutError."""
        end = time.monotonic() + seconds
        while True:
            self.sock.settimeout(max(end - time.monotonic(), 0.001))
            got = self.receive()
            if got is None or wanted(*got):
                return got

    def _take(self, kind, flags, stream, payload):
        answer = self.answers.setdefault(stream, Answer())
        answer.frames.append((kind, flags))
        if kind == HEADERS:
            assert flags & END_HEADERS, "a header block in several frames"
            fields = dict(self.decoder.decode(payload))
            answer.trailers.update(fields) if answer.headers else answer.headers.update(fields)
        elif kind == DATA:
            answer.data += payload
        elif kind == RST_STREAM:
            answer.reset = int.from_bytes(payload, "big")
        answer.is_ended = answer.is_ended or (kind in (HEADERS, DATA) and flags & END_STREAM != 0)

    def answer(self, stream=1, seconds=20, is_done=None):
        """What came on the stream until it ended, was reset, is_done(answer) or the connection
        was closed; TimeoutError. All frames have to be read this way."""
        answer = self.answers.setdefault(stream, Answer())
        end = time.monotonic() + seconds
        while not (answer.is_ended or answer.reset is not None or (is_done and is_done(answer))):
            self.sock.settimeout(max(end - time.monotonic(), 0.001))
            got = self.receive()
            if got is None:
                answer.is_closed = True
                break
            if got[0] in (HEADERS, DATA, RST_STREAM):
                self._take(*got)
            elif got[0] == GOAWAY:
                answer.goaway = struct.unpack("!II", got[3][:8])
        return answer

    def receive_goaway(self, seconds=20):
        """(last stream, error code, text) of the next GOAWAY; None when there is none."""
        got = self.receive_until(lambda kind, *_: kind == GOAWAY, seconds)
        if got is None:
            return None
        last, code = struct.unpack("!II", got[3][:8])
        return last, code, got[3][8:].decode()

    def is_closed_within(self, seconds):
        try:
            return self.receive_until(lambda *_: False, seconds) is None
        except TimeoutError:
            return False

    def settings(self):
        """The server's settings by number, and how much its first window update adds."""
        found, window = {}, None
        while not found or window is None:
            kind, flags, stream, payload = self.receive()
            if kind == SETTINGS and not flags & 1:
                found = {number: value for number, value in struct.iter_unpack("!HI", payload)}
            if kind == WINDOW_UPDATE and stream == 0:
                window = int.from_bytes(payload, "big")
        return found, window
