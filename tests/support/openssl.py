"""libssl by hand: what Python's own module doesn't do. A client without an eye on certificates."""

import ctypes
import ctypes.util
import functools

TLS1_2, TLS1_3 = 0x0303, 0x0304
_SET_FRAGMENT, _SET_GROUPS, _SET_MIN_VERSION, _SET_MAX_VERSION = 52, 92, 123, 124
_FRAGMENT_BYTES = 512
_RECORD_HEADER_BYTES = 5
_KEY_UPDATE_REQUESTED = 1
# So many more that a hello has several fragments.
_ALPN = b"\x02h2" + 2 * (b"\xff" + b"x" * 255)


@functools.cache
def library():
    lib = ctypes.CDLL(ctypes.util.find_library("ssl"))
    pointer, number, long, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_char_p
    for name, result, *arguments in (
            ("TLS_client_method", pointer), ("SSL_CTX_new", pointer, pointer), ("SSL_CTX_free", None, pointer),
            ("SSL_CTX_ctrl", long, pointer, number, long, text), ("SSL_ctrl", long, pointer, number, long, text),
            ("SSL_CTX_set_alpn_protos", number, pointer, text, ctypes.c_uint),
            ("SSL_new", pointer, pointer), ("SSL_free", None, pointer), ("SSL_set_bio", None, pointer, pointer, pointer),
            ("SSL_set_connect_state", None, pointer), ("SSL_do_handshake", number, pointer),
            ("SSL_write", number, pointer, text, number),
            ("SSL_key_update", number, pointer, number), ("SSL_renegotiate", number, pointer),
            ("BIO_new", pointer, pointer), ("BIO_s_mem", pointer),
            ("BIO_read", number, pointer, text, number), ("BIO_write", number, pointer, text, number)):
        getattr(lib, name).restype, getattr(lib, name).argtypes = result, arguments
    return lib


class Session:
    """TLS whose records the caller takes to the server and back; for with."""

    def __init__(self, version, groups=None):
        self.lib = library()
        self.context = self.lib.SSL_CTX_new(self.lib.TLS_client_method())
        self.lib.SSL_CTX_ctrl(self.context, _SET_MIN_VERSION, version, None)
        self.lib.SSL_CTX_ctrl(self.context, _SET_MAX_VERSION, version, None)
        if groups:
            self.lib.SSL_CTX_ctrl(self.context, _SET_GROUPS, 0, groups.encode())
        self.lib.SSL_CTX_set_alpn_protos(self.context, _ALPN, len(_ALPN))
        self.ssl = self.lib.SSL_new(self.context)
        self.incoming, self.outgoing = (self.lib.BIO_new(self.lib.BIO_s_mem()) for _ in range(2))
        self.lib.SSL_set_bio(self.ssl, self.incoming, self.outgoing)
        self.lib.SSL_set_connect_state(self.ssl)
        self.is_opened = False  # the caller's

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.lib.SSL_free(self.ssl)
        self.lib.SSL_CTX_free(self.context)

    def take(self):
        """What is to be sent."""
        room, taken = ctypes.create_string_buffer(1 << 16), []
        while (count := self.lib.BIO_read(self.outgoing, room, len(room))) > 0:
            taken.append(room.raw[:count])
        return b"".join(taken)

    def shake_hands(self):
        """Whether the handshake is done; else the server has to answer what take() gives."""
        return self.lib.SSL_do_handshake(self.ssl) == 1

    def give(self, received):
        self.lib.BIO_write(self.incoming, received, len(received))

    def connect(self, sock):
        """Whether the server went along."""
        while not self.shake_hands():
            sock.sendall(self.take())
            received = sock.recv(65536)
            if not received:
                return False
            self.give(received)
        sock.sendall(self.take())
        return True

    def records(self, text):
        """Each byte in a record of its own."""
        for number in text:
            self.lib.SSL_write(self.ssl, bytes([number]), 1)
        return self.take()

    def update_key(self):
        self.lib.SSL_key_update(self.ssl, _KEY_UPDATE_REQUESTED)
        self.shake_hands()
        return self.take()

    def hello_again(self):
        """Another ClientHello, in several records (TLS 1.2)."""
        self.lib.SSL_ctrl(self.ssl, _SET_FRAGMENT, _FRAGMENT_BYTES, None)
        self.lib.SSL_renegotiate(self.ssl)
        self.shake_hands()
        return self.take()

    def half_hello_again(self):
        """The first of those."""
        sent = self.hello_again()
        return sent[:_RECORD_HEADER_BYTES + int.from_bytes(sent[3:5], "big")]
