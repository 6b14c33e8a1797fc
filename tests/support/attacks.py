"""Hostile clients, for a process of its own that reads lines: NAME PORT SECONDS [CA_FILE].

An attack sends its bytes, reads what comes, and connects anew when it is thrown out, for so many
seconds; one that breaks a rule goes on until it was thrown out once. With CA_FILE it speaks TLS. It
writes one line of JSON: how many connections it made, how many of them the server ended, the GOAWAY codes
it saw, and how many bytes it sent.
"""

import json
import pathlib
import select
import socket
import ssl
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import attacks_floods, attacks_memory, attacks_tls, attacks_work, raw_h2  # noqa: E402

ATTACKS = {**attacks_floods.ATTACKS, **attacks_memory.ATTACKS, **attacks_work.ATTACKS,
           **attacks_tls.ATTACKS}
CONNECT_TIMEOUT_S = 10
# A peer that the server throws out at once would otherwise fill the machine with sockets in TIME_WAIT.
MAX_CONNECTS_PER_ROUND = 64
# How much longer an attack may go on that has to be ended: on a busy machine that comes late.
MORE_S = 20


class Peer:
    """One connection of an attack, which feeds it bytes, or seconds to wait."""

    def __init__(self, attack, port, context):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=CONNECT_TIMEOUT_S)
        if context and attack.is_http2:
            self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
        self.sock.setblocking(False)
        self.is_http2 = attack.is_http2
        self.is_reading = attack.is_reading
        # The server's larger windows hold once its settings are acknowledged.
        self.is_ready = not (attack.is_http2 and attack.is_reading)
        self.pieces = attack.pieces(self)
        self.rest = memoryview(attack.opening())
        self.resume_at = 0
        self.open_calls = 0  # counted up by the attack
        self.received = bytearray()
        self.codes = []
        self.sent = 0

    def wants_to_send(self, now):
        if self.is_ready and not self.rest and now >= self.resume_at:
            piece = next(self.pieces, None)
            if isinstance(piece, bytes):
                self.rest = memoryview(piece)
            else:
                self.resume_at = now + (3600 if piece is None else piece)
        return len(self.rest) > 0

    def send(self):
        """False when the server has ended it."""
        try:
            count = self.sock.send(self.rest)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return True
        except (OSError, ssl.SSLError):
            return False
        self.sent += count
        self.rest = self.rest[count:]
        return True

    def receive(self):
        """The same. Settings are acknowledged."""
        try:
            while data := self.sock.recv(65536):
                self.received += data
                if self.is_http2:
                    self.take_frames()
                if len(data) < 16384:
                    return True
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return True
        except (OSError, ssl.SSLError):
            pass
        return False

    def take_frames(self):
        at = 0
        while len(self.received) >= at + 9:
            length = int.from_bytes(self.received[at:at + 3], "big")
            if len(self.received) < at + 9 + length:
                break
            self.take(self.received[at + 3], self.received[at + 4],
                      self.received[at + 9:at + 9 + length])
            at += 9 + length
        del self.received[:at]

    def take(self, kind, flags, payload):
        if kind == raw_h2.GOAWAY:
            self.codes.append(str(int.from_bytes(payload[4:8], "big")))
        elif kind == raw_h2.SETTINGS and not flags & raw_h2.ACK:
            self.rest = memoryview(bytes(self.rest) + raw_h2.frame(raw_h2.SETTINGS, raw_h2.ACK))
            self.is_ready = True
        elif kind == raw_h2.RST_STREAM or (kind in (raw_h2.DATA, raw_h2.HEADERS)
                                           and flags & raw_h2.END_STREAM):
            self.open_calls -= 1


class Attacker:
    """Keeps as many connections as the attack has."""

    def __init__(self, attack, port, context, end):
        self.attack, self.port, self.context, self.end = attack, port, context, end
        self.peers = {}
        self.poll = select.poll()
        self.counts = {"connections": 0, "ended": 0, "bytes": 0, "codes": {}}

    def run(self):
        while not self.is_over(time.monotonic()):
            self.connect()
            self.turn()
        for peer in list(self.peers.values()):
            self.drop(peer)
        return self.counts

    def is_over(self, now):
        must_be_ended = not self.attack.keeps_rules and not self.counts["ended"]
        return now > self.end + (MORE_S if must_be_ended else 0)

    def connect(self):
        for _ in range(min(self.attack.connections - len(self.peers), MAX_CONNECTS_PER_ROUND)):
            self.counts["connections"] += 1
            try:
                peer = Peer(self.attack, self.port, self.context)
            except (OSError, ssl.SSLError):
                self.counts["ended"] += 1
                continue
            self.peers[peer.sock.fileno()] = peer
            self.poll.register(peer.sock, 0)

    def turn(self):
        now = time.monotonic()
        for fd, peer in self.peers.items():
            self.poll.modify(fd, (select.POLLIN if peer.is_reading else 0) |
                             (select.POLLOUT if peer.wants_to_send(now) else 0))
        for fd, ready in self.poll.poll(1):
            peer = self.peers[fd]
            goes_on = not ready & select.POLLERR
            if ready & (select.POLLIN | select.POLLHUP):
                goes_on = peer.receive()
            if goes_on and ready & select.POLLOUT:
                goes_on = peer.send()
            if not goes_on:
                self.counts["ended"] += 1
                self.drop(peer)

    def drop(self, peer):
        self.poll.unregister(peer.sock)
        del self.peers[peer.sock.fileno()]
        self.counts["bytes"] += peer.sent
        for code in peer.codes:
            self.counts["codes"][code] = self.counts["codes"].get(code, 0) + 1
        peer.sock.close()


def context_of(ca_file):
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["h2"])
    return context


def run(name, port, seconds, ca_file=None):
    attack, end = ATTACKS[name], time.monotonic() + float(seconds)
    if hasattr(attack, "run"):
        return attack.run(int(port), end)
    return Attacker(attack, int(port), context_of(ca_file) if ca_file else None, end).run()


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(run(*line.split())), flush=True)
