"""A daemon whose next call for memory, or for a file descriptor, fails when the test says so.

    shortage = Shortage(path)
    daemon = case.start_daemon(env=shortage.env)
    shortage.arm(MEMORY, 5)         # the fifth call from now on fails, once
    shortage.disarm()               # whether it was reached
"""

import mmap
import socket
import ssl
import struct

from support import harness, raw_h2
from support.attack import OPEN_CONNECTION, call

LIBRARY = harness.BUILD / "tests" / "libexhausted.so"
MEMORY, DESCRIPTORS = 0, 1
FAILED = 2
# More calls than there are.
NEVER = 1 << 40
TIMEOUT_S = 20
# Kinds of TLS records, and the most bytes in one.
RECORDS = (20, 21, 22, 23)
MAX_RECORD_BYTES = 16384 + 256


class Shortage:
    def __init__(self, path):
        path.write_bytes(bytes(24))
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 24)
        self.env = {"LD_PRELOAD": str(LIBRARY), "EXHAUSTED_CONTROL": str(path),
                    # It stands before the sanitizer's library, which is fine with it.
                    "ASAN_OPTIONS": "verify_asan_link_order=0"}

    def _set(self, what, number):
        struct.pack_into("q", self.map, 8 * what, number)

    def _get(self, what):
        return struct.unpack_from("q", self.map, 8 * what)[0]

    def arm(self, what, number):
        self._set(FAILED, 0)
        self._set(what, number)

    def disarm(self, what=MEMORY):
        """Whether a call failed."""
        self._set(what, 0)
        return self._get(FAILED) > 0

    def count(self, what, action):
        """How many such calls there are in `action`."""
        self.arm(what, NEVER)
        action()
        made = NEVER - self._get(what)
        self.disarm(what)
        return made


class PlainTextError(Exception):
    """A byte came on the TLS port that is of no TLS record."""


class TlsSocket:
    """What raw_h2 needs of a socket, by TLS, with an eye on every byte that comes."""

    def __init__(self, port, context):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.seen = bytearray()
        try:
            self.step(self.tls.do_handshake)
        except BaseException:
            self.sock.close()
            raise

    def step(self, action):
        while True:
            try:
                result = action()
                self.flush()
                return result
            except ssl.SSLWantReadError:
                self.flush()
                self.fill()

    def flush(self):
        if data := self.outgoing.read():
            self.sock.sendall(data)

    def fill(self):
        data = self.sock.recv(65536)
        self.seen += data
        self.check_records()
        self.incoming.write(data) if data else self.incoming.write_eof()

    def check_records(self):
        while len(self.seen) >= 5:
            length = int.from_bytes(self.seen[3:5], "big")
            if self.seen[0] not in RECORDS or self.seen[1] != 3 or length > MAX_RECORD_BYTES:
                raise PlainTextError(bytes(self.seen[:100]))
            if len(self.seen) < 5 + length:
                break
            del self.seen[:5 + length]

    def recv(self, count):
        try:
            return self.step(lambda: self.tls.read(count))
        except ssl.SSLError:
            return b""

    def sendall(self, data):
        self.step(lambda: self.tls.write(data))

    def settimeout(self, seconds):
        self.sock.settimeout(seconds)

    def close(self):
        self.sock.close()


class Client:
    """One connection; connects when it has to."""

    def __init__(self, port, context):
        self.port, self.context = port, context
        self.connection, self.stream = None, -1

    def ask(self, method, message):
        """The status of a unary call, as text, and its first message; None, where the connection was lost."""
        try:
            if not self.connection:
                self.connection = raw_h2.Connection(sock=TlsSocket(self.port, self.context))
                self.connection.sock.sendall(raw_h2.window_update(0, OPEN_CONNECTION))
                self.stream = -1
            self.stream += 2
            self.connection.sock.sendall(call(method, message)(self.stream))
            answer = self.connection.answer(self.stream, TIMEOUT_S)
        except (ConnectionError, ssl.SSLError):
            self.close()
            return None, b""
        if answer.is_closed or answer.goaway:
            self.close()
        return answer.status, (answer.messages() or [(0, b"")])[0][1]

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None
