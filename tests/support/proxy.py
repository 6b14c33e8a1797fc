"""A TCP proxy in front of PostgreSQL that does to connections what networks do.

    proxy = Proxy(postgres.port)           # 127.0.0.1 and a free port
    proxy.freeze()                         # those that are open pass nothing any more, and stay open
    proxy.hold_new = True                  # new ones are accepted and pass nothing
    proxy.cut()                            # those that are open are closed
    proxy.cut_in = 1000                    # the one that passes the 1000th byte from now on is closed
    proxy.switch(port)                     # those that are open are closed, new ones go there
    proxy.inject(data)                     # bytes for the client, as if the server had sent them
    proxy.accepted                         # how many connections there were
"""

import contextlib
import select
import socket
import ssl
import struct
import threading

SSL_REQUEST = struct.pack("!ii", 8, 80877103)


class _Link:
    """One connection through the proxy."""

    def __init__(self, proxy, client):
        self.proxy = proxy
        self.client = client
        self.target_port = proxy.target_port
        self.server = None
        self.is_frozen = proxy.hold_new
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        with contextlib.suppress(OSError, ssl.SSLError):
            if self.proxy.tls:
                self.start_tls()
            self.server = socket.create_connection(("127.0.0.1", self.target_port))
            if self.proxy.buffer_bytes:
                self.shrink(self.server)
            while self.step():
                pass
        self.close()

    def shrink(self, sock):
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, self.proxy.buffer_bytes)

    def start_tls(self):
        """Answers the client's request for TLS; the server behind sees plain text."""
        if self.client.recv(8, socket.MSG_WAITALL) != SSL_REQUEST:
            raise OSError("not a request for TLS")
        self.client.sendall(b"S")
        self.client = self.proxy.tls.wrap_socket(self.client, server_side=True)

    def is_stale(self):
        return self.target_port != self.proxy.target_port

    def step(self):
        if self.is_stale():
            return False
        if self.is_frozen:
            self.proxy.thaw.wait(0.05)
            return not self.proxy.is_closed
        pending = isinstance(self.client, ssl.SSLSocket) and self.client.pending() > 0
        ready = [self.client] if pending else select.select([self.client, self.server], [], [], 0.05)[0]
        for sock in ready:
            data = sock.recv(65536)
            if not data:
                return False
            if not self.is_frozen:
                passed = self.proxy.pass_on(data)
                (self.server if sock is self.client else self.client).sendall(passed)
                if len(passed) < len(data):
                    return False
        return not self.proxy.is_closed

    def close(self):
        for sock in (self.client, self.server):
            if sock:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()


class Proxy:
    def __init__(self, target_port, host="127.0.0.1", port=0, tls=None, buffer_bytes=0):
        """tls: (certificate file, key file); buffer_bytes: of the sockets, to make them fill up."""
        self.target_port = target_port
        self.buffer_bytes = buffer_bytes
        self.hold_new = False
        self.is_closed = False
        self.cut_in = None
        self.cuts = 0
        self.cut_lock = threading.Lock()
        self.thaw = threading.Event()
        self.links = []
        self.accepted = 0
        self.tls = None
        if tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*tls)
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if buffer_bytes:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        self.listener.bind((host, port))
        self.listener.listen(64)
        self.host, self.port = self.listener.getsockname()
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while not self.is_closed:
            if not select.select([self.listener], [], [], 0.05)[0]:
                continue
            client, _ = self.listener.accept()
            self.accepted += 1
            self.links.append(_Link(self, client))

    def pass_on(self, data):
        """What of it gets through: less than all of it is the end of its connection."""
        with self.cut_lock:
            if self.cut_in is None:
                return data
            left, self.cut_in = self.cut_in, self.cut_in - len(data)
            if self.cut_in >= 0:
                return data
            self.cut_in = None
            self.cuts += 1
            return data[:left]

    def freeze(self):
        for link in self.links:
            link.is_frozen = True

    def unfreeze(self):
        self.hold_new = False
        for link in self.links:
            link.is_frozen = False

    def cut(self):
        links, self.links = self.links, []
        for link in links:
            link.close()

    def switch(self, port):
        """When this returns, nothing goes to the old server any more."""
        self.target_port = port
        while stale := [link for link in self.links if link.is_stale()]:
            for link in stale:
                link.close()
                link.thread.join()
                self.links.remove(link)

    def inject(self, data):
        for link in self.links:
            with contextlib.suppress(OSError):
                link.client.sendall(data)

    def close(self):
        self.is_closed = True
        self.thread.join()
        self.cut()
        self.listener.close()
