"""Attacks on what comes before HTTP/2, and on the pages' port."""

import socket
import ssl
import struct
import time

from support import hellos, raw_h2
from support.attack import FRAME_BYTES, Attack
from support.openssl import TLS1_2, TLS1_3, Session

UNKNOWN_FRAME = 0xBE
CONNECTS_AT_ONCE = 256
TIMEOUT_S = 5


def client_hello():
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2"])
    try:
        context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def nothing(_):
    return iter(())


def slowly(text):
    """Byte by byte, within the server's patience."""
    def pieces(_):
        for number in text:
            yield bytes([number])
            yield 0.05
    return pieces


class Talks:
    """Connections one after the other; each is over when the server has enough, or time is."""

    port = "grpc"

    def run(self, port, end):
        counts = {"connections": 0, "ended": 0, "bytes": 0, "codes": {}}
        while time.monotonic() < end:
            counts["connections"] += 1
            with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as sock:
                try:
                    counts["bytes"] += self.talk(sock, end)
                except OSError:
                    pass
            counts["ended"] += time.monotonic() < end
        return counts


class TlsMessages(Talks):
    """`again(session)` after the handshake, as often as it goes."""

    def __init__(self, version, again, keeps_rules=False):
        self.version, self.again, self.keeps_rules = version, again, keeps_rules

    def talk(self, sock, end):
        with Session(self.version) as session:
            sent = 1000 if session.connect(sock) else 0
            while sent and time.monotonic() < end:
                data = self.again(session)
                try:
                    sock.sendall(data)
                except OSError:
                    break
                sent += len(data)
            return sent


class DearKeys(Talks):
    """Gone when they were checked, or refused."""

    keeps_rules = False

    @staticmethod
    def talk(sock, _):
        hello = hellos.of_finite_field()
        sock.sendall(hello)
        sock.recv(1000)
        return len(hello)


class Renegotiations(Talks):
    """`hello(session)` after the handshake, and what becomes of it."""

    keeps_rules = False

    def __init__(self, hello):
        self.hello = hello

    def talk(self, sock, _):
        with Session(TLS1_2) as session:
            if not session.connect(sock):
                return 0
            data = self.hello(session)
            sock.sendall(data)
            while sock.recv(65536):
                pass
            return 1000 + len(data)


def tiny_records(session):
    opening = raw_h2.PREFACE + raw_h2.frame(raw_h2.SETTINGS) + raw_h2.frame(raw_h2.SETTINGS, raw_h2.ACK)
    text = raw_h2.frame(UNKNOWN_FRAME, payload=bytes(FRAME_BYTES)) if session.is_opened else opening
    session.is_opened = True
    return session.records(text)


class Connects:
    """And nothing after that; gone at once, so that the machine isn't filled with sockets in TIME_WAIT."""

    keeps_rules, port = True, "grpc"

    @staticmethod
    def run(port, end):
        rounds = 0
        while time.monotonic() < end:
            socks = [socket.socket() for _ in range(CONNECTS_AT_ONCE)]
            for sock in socks:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", port))
            for sock in socks:
                sock.close()
            rounds += 1
        return {"connections": rounds * CONNECTS_AT_ONCE, "ended": 0, "bytes": 0, "codes": {}}


class Handshakes:
    """Whole handshakes, and nothing after them."""

    keeps_rules, port = True, "grpc"

    @staticmethod
    def run(port, end):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        counts = {"connections": 0, "ended": 0, "bytes": 0, "codes": {}}
        while time.monotonic() < end:
            counts["connections"] += 1
            counts["bytes"] += 500
            with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as sock:
                try:
                    context.wrap_socket(sock).close()
                except OSError:
                    counts["ended"] += 1
        return counts


def plain(pieces=nothing, keeps_rules=True, **more):
    return Attack(pieces, is_http2=False, keeps_rules=keeps_rules, **more)


# Those that the daemon has to speak TLS for.
TLS_ATTACKS = {
    "half_handshakes": plain(first=client_hello(), connections=300),
    "half_hellos": plain(first=client_hello()[:60], connections=300),
    "handshakes": Handshakes,
    "dear_keys": DearKeys(),
    "long_hellos": plain(keeps_rules=False, first=hellos.long(), connections=4),
    "half_long_hellos": plain(keeps_rules=False, first=hellos.records(hellos.header(hellos.MAX_BYTES)),
                              connections=300),
    "key_updates": TlsMessages(TLS1_3, Session.update_key),
    "tiny_records": TlsMessages(TLS1_3, tiny_records, keeps_rules=True),
    "renegotiations": Renegotiations(Session.hello_again),
    "half_renegotiations": Renegotiations(Session.half_hello_again),
    "connects": Connects,
}
HTTP_ATTACKS = {
    "http_silence": plain(connections=64, port="http"),
    "http_drip": plain(slowly(b"GET /metrics HTTP/1.1\r\nhost: " + b"x" * 4000), connections=64, port="http"),
    "http_pages": plain(lambda _: (b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n" for _ in range(10000)),
                        connections=16, port="http"),
    "http_untaken": plain(lambda _: (b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n" * 100 for _ in range(1000)),
                          connections=16, port="http", is_reading=False),
}
ATTACKS = {**TLS_ATTACKS, **HTTP_ATTACKS}
