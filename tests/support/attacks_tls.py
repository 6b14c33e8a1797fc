"""Attacks on what comes before HTTP/2, and on the pages' port."""

import ctypes
import ctypes.util
import socket
import ssl
import time

from support.attack import Attack

KEY_UPDATE_REQUESTED = 1
TLS1_2, TLS1_3 = 0x0303, 0x0304
SET_MIN_VERSION, SET_MAX_VERSION = 123, 124
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


def load_openssl():
    """By hand: what Python's own module doesn't do."""
    lib = ctypes.CDLL(ctypes.util.find_library("ssl"))
    pointer, number = ctypes.c_void_p, ctypes.c_int
    for name, result, *arguments in (
            ("TLS_client_method", pointer), ("SSL_CTX_new", pointer, pointer), ("SSL_CTX_free", None, pointer),
            ("SSL_CTX_ctrl", ctypes.c_long, pointer, number, ctypes.c_long, pointer),
            ("SSL_CTX_set_alpn_protos", number, pointer, ctypes.c_char_p, ctypes.c_uint),
            ("SSL_new", pointer, pointer), ("SSL_free", None, pointer), ("SSL_set_fd", number, pointer, number),
            ("SSL_connect", number, pointer), ("SSL_do_handshake", number, pointer),
            ("SSL_key_update", number, pointer, number), ("SSL_renegotiate", number, pointer)):
        getattr(lib, name).restype, getattr(lib, name).argtypes = result, arguments
    return lib


class TlsMessages:
    """`again(lib, session)` after the handshake, as often as it goes."""

    port = "grpc"

    def __init__(self, version, again, keeps_rules=False):
        self.version, self.again, self.keeps_rules = version, again, keeps_rules

    def run(self, port, end):
        lib = load_openssl()
        context = lib.SSL_CTX_new(lib.TLS_client_method())
        lib.SSL_CTX_ctrl(context, SET_MIN_VERSION, self.version, None)
        lib.SSL_CTX_ctrl(context, SET_MAX_VERSION, self.version, None)
        lib.SSL_CTX_set_alpn_protos(context, b"\x02h2", 3)
        counts = {"connections": 0, "ended": 0, "bytes": 0, "codes": {}}
        while time.monotonic() < end:
            counts["connections"] += 1
            messages = self.talk(lib, context, port, end)
            counts["ended"] += time.monotonic() < end
            counts["bytes"] += 1000 * (messages > 0) + 27 * messages
        lib.SSL_CTX_free(context)
        return counts

    def talk(self, lib, context, port, end):
        """How many messages went out until the server had enough."""
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as sock:
            sock.settimeout(None)
            session, count = lib.SSL_new(context), 0
            lib.SSL_set_fd(session, sock.fileno())
            if lib.SSL_connect(session) == 1:
                while time.monotonic() < end and self.again(lib, session):
                    count += 1
            lib.SSL_free(session)
            return count


def update_key(lib, session):
    return lib.SSL_key_update(session, KEY_UPDATE_REQUESTED) == 1 and lib.SSL_do_handshake(session) == 1


def renegotiate(lib, session):
    return lib.SSL_renegotiate(session) == 1 and lib.SSL_do_handshake(session) == 1


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


def plain(pieces=nothing, **more):
    return Attack(pieces, is_http2=False, keeps_rules=True, **more)


# Those that the daemon has to speak TLS for.
TLS_ATTACKS = {
    "half_handshakes": plain(first=client_hello(), connections=300),
    "half_hellos": plain(first=client_hello()[:60], connections=300),
    "handshakes": Handshakes,
    "key_updates": TlsMessages(TLS1_3, update_key),
    "renegotiations": TlsMessages(TLS1_2, renegotiate, keeps_rules=True),
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
