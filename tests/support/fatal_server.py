"""A server that refuses every PostgreSQL log-in with an SQLSTATE of the test's choice."""

import contextlib
import socket
import struct
import threading


class FatalServer:
    def __init__(self, sqlstate):
        self.sqlstate = sqlstate
        self.refused = 0
        self.is_closed = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(0.05)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while not self.is_closed:
            with contextlib.suppress(TimeoutError, OSError):
                client, _ = self.listener.accept()
                self.refuse(client)

    def refuse(self, client):
        with client:
            client.settimeout(2)
            length = struct.unpack("!i", client.recv(4, socket.MSG_WAITALL))[0]
            client.recv(length - 4, socket.MSG_WAITALL)
            fields = (b"SFATAL\0VFATAL\0C" + self.sqlstate.encode() + b"\0Mno\0\0")
            client.sendall(b"E" + struct.pack("!i", len(fields) + 4) + fields)
            self.refused += 1

    def close(self):
        self.is_closed = True
        self.thread.join()
        self.listener.close()
