"""The log: whoever reads it may be slow, stop, or be gone, and nobody else waits for him; peers can't
fill it.
"""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import events, harness, raw_h2  # noqa: E402

BAD_CONNECTIONS = 2000
# Each is a line of the log whenever the file is read again.
BAD_SETTINGS = 60
DROPPED = "auditstore_log_dropped_total"
LEFT_OUT = "auditstore_log_left_out_total"
WAITING = "auditstore_log_waiting_bytes"
FAILED = "auditstore_grpc_connections_failed_total"
RULE_BROKEN = raw_h2.PREFACE + raw_h2.frame(raw_h2.SETTINGS) + raw_h2.frame(raw_h2.DATA, payload=b"x")


def break_a_rule(port, source="127.0.0.1"):
    """A connection that the server ends, and tells why."""
    with socket.create_connection(("127.0.0.1", port), 10, (source, 0)) as peer:
        peer.sendall(RULE_BROKEN)
        while peer.recv(4096):
            pass


def fill(pipe):
    """Takes the room that is left in it."""
    with open(f"/proc/self/fd/{pipe}", "wb", buffering=0,
              opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as end:
        size = 65536
        while size:
            if end.write(b"\n" * size) is None:
                size //= 2


class Reader:
    """Reads what comes, when it is asked to."""

    def __init__(self, fd):
        os.set_blocking(fd, False)
        self.fd = fd
        self.content = b""

    def lines(self):
        """What was read so far, as far as lines are complete."""
        try:
            while more := os.read(self.fd, 1 << 20):
                self.content += more
        except BlockingIOError:
            pass
        whole, _, _ = self.content.rpartition(b"\n")
        return [json.loads(line) for line in whole.split(b"\n") if line]

    def events(self, name):
        return [line for line in self.lines() if line["event"].startswith(name)]


def repeated(lines):
    return sum(line.get("repeated", 1) for line in lines)


class LogTest(harness.PostgresCase):
    def start(self, stderr, **settings):
        config = self.folder / f"{self.id()}.yaml"
        config.write_text("log: {level: debug, format: json}\n", encoding="ascii")
        daemon = self.start_daemon(settings, stderr=stderr, config=config)
        self.stub = self.open_stub(daemon)
        return daemon, config

    def start_with_pipe(self):
        ours, theirs = os.pipe()
        self.addCleanup(os.close, ours)
        daemon, config = self.start(theirs)
        fill(theirs)
        os.close(theirs)
        return daemon, config, Reader(ours)

    def flood(self, daemon, config):
        """The log grows, whoever reads it, until lines are dropped."""
        config.write_text("".join(f"no_such_setting_{i}: 1\n" for i in range(BAD_SETTINGS)),
                          encoding="ascii")

        def is_full():
            daemon.signal(signal.SIGHUP)
            return daemon.metrics()[DROPPED] > 0
        harness.wait_until(is_full, what="lines are dropped")

    def check_serving(self, daemon):
        self.assertEqual((200, "ok\n"), daemon.http_get("/livez"))
        daemon.wait_health("SERVING")
        request = self.stubs.store.WriteEventsRequest(events=[events.make(self.stubs)])
        self.stub.WriteEvents(request, timeout=30)

    def test_a_log_that_nobody_reads_holds_up_nobody(self):
        daemon, config, reader = self.start_with_pipe()
        self.flood(daemon, config)
        for i in range(BAD_CONNECTIONS):
            break_a_rule(daemon.port)
            if i % 500 == 0:
                self.check_serving(daemon)
        self.check_serving(daemon)
        self.assertEqual(BAD_CONNECTIONS, daemon.metrics()[FAILED])
        self.assertLess(daemon.metrics()[WAITING], 300_000)
        config.write_text("log: {level: info, format: json}\n", encoding="ascii")
        daemon.signal(signal.SIGHUP)
        harness.wait_until(lambda: reader.events("log lines dropped"))
        harness.wait_until(lambda: reader.lines() and daemon.metrics()[WAITING] == 0)
        told = sum(line["dropped"] for line in reader.events("log lines dropped"))
        self.assertEqual(daemon.metrics()[DROPPED], told)
        before = len(reader.lines())
        daemon.signal(signal.SIGHUP)
        harness.wait_until(lambda: len(reader.lines()) > before)
        self.assertEqual("settings reloaded", reader.lines()[-1]["event"])

    def test_a_stalled_reader_doesnt_hold_the_stop(self):
        daemon, config, _ = self.start_with_pipe()
        self.flood(daemon, config)
        self.assertEqual(0, daemon.stop())

    def test_a_start_that_fails_ends_with_a_stalled_reader_too(self):
        ours, theirs = os.pipe()
        self.addCleanup(os.close, ours)
        fill(theirs)
        for settings, code in ((["server.tls_cert_file=/none"], 2), (["server.listen=192.0.2.1:1"], 1)):
            options = [word for setting in settings for word in ("--set", setting)]
            process = subprocess.Popen([str(harness.DAEMON), *options], stderr=theirs)
            self.addCleanup(process.kill)
            self.assertEqual(code, process.wait(harness.STOP_DEADLINE_S))
        os.close(theirs)

    def test_a_log_on_a_full_disk_holds_up_nobody(self):
        with open("/dev/full", "wb") as full:
            daemon, config = self.start(full)
        self.flood(daemon, config)
        self.check_serving(daemon)
        self.assertEqual(1, daemon.metrics()["auditstore_log_failing"])
        self.assertEqual(0, daemon.stop())

    def test_a_reader_that_is_gone_holds_up_nobody(self):
        daemon, config, reader = self.start_with_pipe()
        gone = os.open("/dev/null", os.O_RDONLY)
        os.dup2(gone, reader.fd)
        os.close(gone)
        self.flood(daemon, config)
        self.check_serving(daemon)
        self.assertEqual(0, daemon.stop())

    def test_a_socket_is_as_good_as_a_pipe(self):
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        with theirs:
            daemon, config = self.start(theirs)
        self.flood(daemon, config)
        self.check_serving(daemon)
        reader = Reader(ours.fileno())
        harness.wait_until(lambda: reader.events("log lines dropped"))
        self.assertTrue(reader.events("serving"))

    def test_a_flood_is_told_in_few_lines_whose_numbers_sum_up(self):
        daemon, _ = self.start(None)
        for _ in range(300):
            break_a_rule(daemon.port, "127.0.0.1")
            break_a_rule(daemon.port, "127.0.0.2")
        left_out = daemon.metrics()[LEFT_OUT]
        self.assertEqual(0, daemon.stop())
        told = [json.loads(line) for line in daemon.log().splitlines()]
        for source in ("127.0.0.1", "127.0.0.2"):
            for event in ("connection ended", "connection accepted", "connection closed"):
                lines = [line for line in told
                         if line["event"] == event and re.fullmatch(rf"{source}(:\d+)?", line["peer"])]
                whole = [line for line in lines if "repeated" not in line]
                if event == "connection ended":
                    self.assertEqual(5, len(whole))
                    self.assertEqual(300, repeated(lines))
                else:
                    self.assertLessEqual(300, repeated(lines))
                self.assertLess(len(lines), 50, lines)
        self.assertGreater(left_out, 6 * 200)

    def test_refused_connections_are_told_with_the_setting(self):
        daemon, _ = self.start(None, **{"server.max_connections_per_address": 2})
        held = [socket.create_connection(("127.0.0.1", daemon.port)) for _ in range(30)]
        for peer in held:
            self.addCleanup(peer.close)
        harness.wait_until(lambda: '"event":"connection refused"' in daemon.log())
        self.assertIn("server.max_connections_per_address", daemon.log())


class OutageTest(harness.PostgresCase):
    """PostgreSQL is out of reach."""

    def attempts(self, daemon):
        failed = [value for name, value in daemon.metrics().items()
                  if name.startswith("auditstore_pool_open_failures_total")]
        return sum(failed)

    def test_a_store_never_reached_is_told_once(self):
        daemon = self.start_daemon({"database.port": 1, "database.connect_backoff_max": "100ms"},
                                   wait_serving=False)
        harness.wait_until(lambda: "waiting for PostgreSQL" in daemon.log())
        before = self.attempts(daemon)
        harness.wait_until(lambda: self.attempts(daemon) > before + 40)
        self.assertEqual(1, daemon.log().count("waiting for PostgreSQL"))
        self.assertIn("nobody listens", daemon.http_get("/readyz")[1])

    def test_each_outage_is_told_a_few_times(self):
        daemon = self.start_daemon({"database.connect_backoff_max": "100ms"})
        self.postgres.stop()
        daemon.wait_health("NOT_SERVING")
        before = self.attempts(daemon)
        harness.wait_until(lambda: self.attempts(daemon) > before + 120)
        # Shutting down, gone, refused: each may be seen.
        self.assertLess(daemon.log().count("not serving"), 5)
        for _ in range(3):
            self.postgres.restart()
            daemon.wait_health("SERVING")
            told = daemon.log().count("not serving")
            self.postgres.stop()
            daemon.wait_health("NOT_SERVING")
            harness.wait_until(lambda told=told: daemon.log().count("not serving") > told)
        self.postgres.restart()
        daemon.wait_health("SERVING")


if __name__ == "__main__":
    unittest.main()
