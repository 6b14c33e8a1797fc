"""The main promise: what is acknowledged is stored once, whatever breaks meanwhile."""

import pathlib
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from support import events, harness, ledgers  # noqa: E402

CLIENT = harness.BUILD / "tests" / "stream_client"
EVENTS = 200_000
BATCH = 100


class StreamRun:
    """The C client at work in the background; `acked` follows its progress."""

    def __init__(self, address):
        self.acked = 0
        self.last = ""
        self.process = subprocess.Popen([str(CLIENT), address, str(EVENTS), str(BATCH)],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self._follow, daemon=True)
        self.reader.start()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.reader.join(10)
        self.process.stdout.close()
        self.process.stderr.close()

    def _follow(self):
        for line in self.process.stdout:
            self.last = line.strip()
            if self.last.startswith("acked"):
                self.acked = int(self.last.split()[1])

    def is_past(self, count):
        return self.acked >= count or self.process.poll() is not None

    def wait(self):
        code = self.process.wait(300)
        self.reader.join(10)
        return code, self.process.stderr.read()


class FaultTest(harness.PostgresCase):
    def check_all_stored_once(self):
        rows = self.postgres.sql(
            "SELECT count(*), count(DISTINCT event_id),"
            " min(event_id::text), max(event_id::text) FROM audit_events"
            " WHERE event_type = 'test.numbered'")[0]
        self.assertEqual(rows, [str(EVENTS), str(EVENTS), f"00000000-0000-8000-8000-{0:012x}",
                                f"00000000-0000-8000-8000-{EVENTS - 1:012x}"])
        ledgers.check(self, self.postgres)

    def test_a_stream_survives_killed_backends_and_restarts_of_postgresql(self):
        daemon = self.start_daemon({"ingest.max_event_age": "off"})
        run = StreamRun(daemon.address)
        self.addCleanup(run.close)
        kills = 0
        for step in range(1, 20):
            goal = step * EVENTS // 20
            harness.wait_until(lambda: run.is_past(goal), 300, f"{goal} events acknowledged")
            if step in (6, 13):
                self.postgres.restart("fast" if step == 6 else "immediate")
            else:
                kills += len(self.postgres.sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'auditstored'"))
        code, errors = run.wait()
        self.assertEqual(code, 0, errors)
        self.assertGreater(kills, 10)
        self.assertTrue(run.last.startswith("done"), run.last)
        self.check_all_stored_once()

    def test_postgresql_away_is_unavailable_in_time_and_heals_by_itself(self):
        daemon = self.start_daemon()
        stub = self.open_stub(daemon)
        request = self.stubs.store.WriteEventsRequest(events=[events.make(self.stubs)])
        stub.WriteEvents(request, timeout=30)
        self.postgres.stop()
        try:
            began = time.monotonic()
            with self.assertRaises(grpc.RpcError) as caught:
                stub.WriteEvents(request, timeout=5)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
            self.assertLess(time.monotonic() - began, 5)
            retry = harness.status_details(caught.exception, self.stubs.details.RetryInfo)
            self.assertEqual(len(retry), 1)
            with self.assertRaises(grpc.RpcError) as caught:
                stub.ListEvents(self.stubs.store.ListEventsRequest(), timeout=5)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
            daemon.wait_health("NOT_SERVING")
        finally:
            self.postgres.restart()
        daemon.wait_health("SERVING")
        stub.WriteEvents(request, timeout=30)

    def test_a_daemon_may_start_before_postgresql(self):
        self.postgres.stop()
        try:
            daemon = self.start_daemon(wait_serving=False)
            self.assertEqual(daemon.health(), "NOT_SERVING")
            with self.assertRaises(grpc.RpcError) as caught:
                self.open_stub(daemon).ListEvents(self.stubs.store.ListEventsRequest(), timeout=5)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
            self.assertIn("starting", caught.exception.details())
        finally:
            self.postgres.restart()
        daemon.wait_health("SERVING")

    def test_sigterm_finishes_what_was_accepted(self):
        daemon = self.start_daemon()
        stub = self.open_stub(daemon)
        store = self.stubs.store
        sent = []
        acked = []
        stopping = threading.Event()

        def batches():
            number = 0
            while not stopping.is_set() and number < 2000:
                sent.append(number)
                yield store.StreamEventsRequest(batch_id=str(number), events=[
                    events.make(self.stubs, number=number, correlation_id="sigterm")])
                number += 1

        def consume():
            try:
                for ack in stub.StreamEvents(batches(), timeout=60):
                    if ack.status.code == 0:
                        acked.append(int(ack.batch_id))
            except grpc.RpcError:
                pass  # the daemon ends streams when it stops

        thread = threading.Thread(target=consume)
        thread.start()
        harness.wait_until(lambda: len(acked) > 20, 60, "some acknowledgements")
        code = daemon.stop()
        stopping.set()
        thread.join(60)
        self.assertEqual(code, 0, daemon.log())
        stored = {int(row[0]) for row in self.postgres.sql(
            "SELECT event_data->>'number' FROM audit_events WHERE correlation_id = 'sigterm'")}
        self.assertLessEqual(set(acked), stored)
        self.assertGreater(len(stored), 20)
        left = self.postgres.value(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'auditstored'")
        self.assertEqual(left, "0")


if __name__ == "__main__":
    unittest.main(verbosity=2)
