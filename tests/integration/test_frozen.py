"""A PostgreSQL that is stopped in its tracks: readiness turns within seconds, and turns back."""

import pathlib
import signal
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import events, frozen, harness  # noqa: E402
from support.effects import effect_of  # noqa: E402

# Far above the 5 s that are promised, for a machine that is busy.
TURN_DEADLINE_S = 20
STATE = 'auditstore_pool_state{state="frozen"}'


class FrozenTest(harness.PostgresCase):
    def start(self, **settings):
        self.daemon = self.start_daemon(settings)
        self.stub = self.open_stub(self.daemon)
        self.write().result(timeout=30)

    def write(self):
        return self.stub.WriteEvents.future(
            self.stubs.store.WriteEventsRequest(events=[events.make(self.stubs)]), timeout=60)

    def readyz(self):
        return self.daemon.http_get("/readyz")

    def wait_frozen(self):
        harness.wait_until(lambda: self.readyz() == (503, "not ready: PostgreSQL doesn't answer\n"),
                           TURN_DEADLINE_S, "/readyz tells that nothing answers")
        self.daemon.wait_health("NOT_SERVING", TURN_DEADLINE_S)
        self.assertEqual(1, self.daemon.metrics()[STATE])

    def wait_thawed(self):
        harness.wait_until(lambda: self.readyz() == (200, "ok\n"), TURN_DEADLINE_S, "/readyz turns back")
        self.daemon.wait_health("SERVING", TURN_DEADLINE_S)

    def connections(self):
        return int(self.postgres.value(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'auditstored'"))

    def assert_stays_ready(self, seconds, also=lambda: True):
        end = time.monotonic() + seconds

        def is_over():
            self.assertEqual(200, self.readyz()[0])
            self.assertTrue(also())
            return time.monotonic() > end
        harness.wait_until(is_over, seconds + TURN_DEADLINE_S)
        self.assertNotIn("to=frozen", self.daemon.log())

    def test_it_turns_while_nobody_calls(self):
        self.start()
        with frozen.frozen(self.postgres):
            self.wait_frozen()
        self.wait_thawed()
        self.write().result(timeout=30)

    def test_it_turns_while_a_write_hangs_which_is_then_answered(self):
        self.start()
        with frozen.frozen(self.postgres):
            write = self.write()
            self.wait_frozen()
            self.assertFalse(write.done())
        self.assertEqual(1, len(write.result(timeout=60).receipts))
        self.wait_thawed()
        self.assertIn("to=frozen", self.daemon.log())

    def test_it_turns_with_all_connections_in_use(self):
        self.start(**{"database.max_open_conns": 1, "ingest.lanes": 1})
        with self.postgres.locked("audit_events"):
            write = self.write()
            harness.wait_until(lambda: self.daemon.metrics()["auditstore_pool_in_use"] == 1)
            with frozen.frozen(self.postgres):
                self.wait_frozen()
            self.wait_thawed()
            self.assertEqual(1, self.connections())
        write.result(timeout=60)

    def test_it_turns_without_any_connection(self):
        self.start(**{"database.conn_max_idle_time": "1s"})
        harness.wait_until(lambda: self.daemon.metrics()["auditstore_pool_open"] == 0)
        with frozen.frozen(self.postgres):
            self.wait_frozen()
        self.wait_thawed()
        self.assertEqual(0, self.connections())

    def test_a_server_that_went_is_found_without_any_connection(self):
        self.start(**{"database.conn_max_idle_time": "1s"})
        harness.wait_until(lambda: self.daemon.metrics()["auditstore_pool_open"] == 0)
        self.postgres.stop("immediate")
        try:
            harness.wait_until(lambda: "nobody listens" in self.readyz()[1], TURN_DEADLINE_S)
        finally:
            self.postgres.restart()
        self.wait_thawed()

    def test_long_waits_are_none_while_others_answer(self):
        self.start(**{"database.frozen_after": "1s", "database.lock_timeout": "1m"})
        with self.postgres.locked("audit_events"):
            write = self.write()
            self.assert_stays_ready(10)
            self.assertFalse(write.done())
        write.result(timeout=60)

    def test_long_waits_are_none_on_all_connections(self):
        self.start(**{"database.frozen_after": "1s", "database.lock_timeout": "1m",
                      "database.max_open_conns": 1, "ingest.lanes": 1})
        with self.postgres.locked("audit_events"):
            write = self.write()
            harness.wait_until(lambda: self.daemon.metrics()["auditstore_pool_in_use"] == 1)
            self.assert_stays_ready(10, lambda: self.connections() == 1)
        write.result(timeout=60)

    def test_a_daemon_that_was_stopped_itself_blames_nobody(self):
        self.start(**{"database.frozen_after": "1s"})
        for _ in range(3):
            self.daemon.signal(signal.SIGSTOP)
            end = time.monotonic() + 2
            harness.wait_until(lambda: time.monotonic() > end)
            self.daemon.signal(signal.SIGCONT)
            self.write().result(timeout=30)
        self.assertNotIn("to=frozen", self.daemon.log())

    @effect_of("database.frozen_after")
    def test_off_asks_for_nothing(self):
        self.start(**{"database.frozen_after": "off", "database.conn_max_idle_time": "off"})
        other = self.start_daemon({"database.frozen_after": "300ms"})
        with frozen.frozen(self.postgres):
            harness.wait_until(lambda: other.http_get("/readyz")[0] == 503, TURN_DEADLINE_S)
            self.assertEqual(200, self.readyz()[0])

    def test_idle_connections_still_end_and_are_counted_right(self):
        self.start(**{"database.frozen_after": "300ms", "database.conn_max_idle_time": "3s"})
        harness.wait_until(lambda: self.daemon.metrics()["auditstore_pool_open"] == 0, 20)
        closed = self.daemon.metrics()['auditstore_pool_closed_total{reason="idle_time"}']
        self.assertGreater(closed, 0)


if __name__ == "__main__":
    unittest.main()
