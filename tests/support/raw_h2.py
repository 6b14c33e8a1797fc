"""HTTP/2 by hand: what a stock client hides."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 7, 8
END_STREAM, END_HEADERS = 1, 4
INITIAL_WINDOW_SIZE = 4


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def setting(number, value):
    return struct.pack("!HI", number, value)


def window_update(stream, more):
    return frame(WINDOW_UPDATE, stream=stream, payload=struct.pack("!I", more))


def _literal(text):
    return bytes([len(text)]) + text.encode()


def grpc_call(stream, method, message, *more_headers):
    """The frames of a unary call: headers without compression, one message."""
    headers = ((":method", "POST"), (":scheme", "http"), (":path", method), (":authority", "test"),
               ("content-type", "application/grpc"), ("te", "trailers"), *more_headers)
    block = b"".join(b"\0" + _literal(name) + _literal(value) for name, value in headers)
    data = struct.pack("!BI", 0, len(message)) + message
    return frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, END_STREAM, stream, data)


class Connection:
    def __init__(self, host=None, port=None, timeout=20, sock=None):
        self.sock = sock or socket.create_connection((host, port), timeout=timeout)
        self.sock.sendall(PREFACE + frame(SETTINGS))

    def receive(self):
        """(kind, flags, stream, payload); None when the server has closed."""
        head = self._exactly(9)
        if head is None:
            return None
        length = int.from_bytes(head[:3], "big")
        payload = self._exactly(length) if length else b""
        return head[3], head[4], int.from_bytes(head[5:], "big"), payload

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            try:
                more = self.sock.recv(count - len(data))
            except ConnectionError:
                return None
            if not more:
                return None
            data += more
        return data

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

    def close(self):
        self.sock.close()
