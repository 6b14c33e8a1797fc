"""The operators' pages answer, whoever else holds connections of their port."""

import pathlib
import re
import socket
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness  # noqa: E402
from support.effects import effect_of  # noqa: E402

CROWD = 200
ASK = b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n"


class CrowdTest(harness.StoreCase):
    def connect(self, receive_bytes=None):
        sock = socket.socket()
        self.addCleanup(sock.close)
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.settimeout(30)
        sock.connect(("127.0.0.1", int(self.daemon.http_port_file.read_text())))
        return sock

    def send(self, sock, data):
        """What sock's end has left of it; it may have been thrown out."""
        try:
            sock.send(data, socket.MSG_DONTWAIT)
        except OSError:
            pass

    def check_probes(self):
        for path in ("/livez", "/readyz", "/metrics"):
            for _ in range(5):
                self.assertEqual(200, self.daemon.http_get(path)[0])

    def test_silent_connections(self):
        crowd = [self.connect() for _ in range(CROWD)]
        self.check_probes()
        self.assertEqual(CROWD, len(crowd))
        self.assertGreater(self.daemon.metrics()["auditstore_http_connections_evicted_total"], CROWD - 64)

    def test_connections_that_send_a_byte_now_and_then(self):
        crowd = [self.connect() for _ in range(CROWD)]
        for byte in b"GET /livez HTT":
            for sock in crowd:
                self.send(sock, bytes([byte]))
            self.check_probes()

    def test_connections_that_are_idle_after_an_answer(self):
        crowd = [self.connect() for _ in range(CROWD)]
        for sock in crowd:
            self.send(sock, ASK % b"livez")
        self.check_probes()

    def test_connections_that_take_no_answer(self):
        crowd = [self.connect(receive_bytes=1) for _ in range(60)]
        for _ in range(100):
            for sock in crowd:
                self.send(sock, ASK % b"metrics")
        self.check_probes()
        self.assertLessEqual(self.daemon.metrics()["auditstore_http_answer_bytes"], 4 * 1024 * 1024)


class LimitTest(harness.PostgresCase):
    @effect_of("http.max_connections")
    def test_so_many_are_open_as_the_setting_says(self):
        daemon = self.start_daemon({"http.max_connections": 5})
        port = int(daemon.http_port_file.read_text())
        crowd = []
        for _ in range(30):
            crowd.append(socket.create_connection(("127.0.0.1", port)))
            self.addCleanup(crowd[-1].close)
        harness.wait_until(lambda: self.open_sockets(daemon, port) == 5, what="5 connections")
        metrics = daemon.metrics()
        self.assertEqual(5, metrics["auditstore_http_max_connections"])
        self.assertEqual(5, metrics["auditstore_http_connections"])

    def open_sockets(self, daemon, port):
        """The daemon's ends of connections to that port."""
        inodes = set()
        for link in pathlib.Path(f"/proc/{daemon.process.pid}/fd").iterdir():
            try:
                inodes.update(re.findall(r"socket:\[(\d+)\]", str(link.readlink())))
            except OSError:
                pass  # closed since it was listed
        rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
        return sum(row[9] in inodes and row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


if __name__ == "__main__":
    unittest.main(verbosity=2)
