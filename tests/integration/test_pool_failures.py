"""What the pool does when the server ends connections, stops, restarts, fills up or changes its mind."""

import os
import pathlib
import signal
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from support import harness, slow_store  # noqa: E402
from support.effects import effect_of  # noqa: E402


class Load(threading.Thread):
    """Queries one after the other, from several callers; what fails is kept."""

    def __init__(self, case, daemon, width=6):
        super().__init__(daemon=True)
        self.case, self.daemon_, self.width = case, daemon, width
        self.served = 0
        self.errors = []
        self.is_over = False
        self.start()

    def run(self):
        while not self.is_over:
            for future in self.case.lists(self.daemon_, self.width):
                error = future.exception()
                if error is None:
                    self.served += 1
                else:
                    self.errors.append(error)

    def wait_served(self, more=30):
        goal = self.served + more
        harness.wait_until(lambda: self.served >= goal, what=f"{more} more queries are answered")

    def end(self):
        self.is_over = True
        self.join()


class KilledTest(slow_store.PoolCase):
    def test_killed_idle_connections_are_noticed_without_traffic(self):
        daemon = self.start({"database.max_idle_conns": 5})
        self.burst(daemon, 5)
        # The last may still be logging in: somebody else's was given back earlier.
        harness.wait_until(lambda: self.pool(daemon, "open") == 5, what="all are open")
        self.assertEqual(5, self.observer.kill(daemon.application))
        harness.wait_until(lambda: self.pool(daemon, "open") == 0, 5, "the pool knows")
        self.assertGreaterEqual(self.closed(daemon, "server_shutdown"), 1)
        self.assertEqual(5, self.closed(daemon, "server_shutdown", "generation"))
        for _ in range(10):
            self.finish(self.lists(daemon, 20))

    def test_a_crashed_backend_takes_all_with_it_and_all_come_back(self):
        daemon = self.start({"database.acquire_timeout": "20s", "database.fail_fast_after": "off"})
        self.burst(daemon, 5)
        load = Load(self, daemon)
        load.wait_served()
        os.kill(self.observer.backends(daemon.application)[3][0], signal.SIGKILL)
        harness.wait_until(lambda: load.errors or "57P02" in daemon.log()
                           or self.pool(daemon, "generation") > 0)
        load.wait_served(100)
        load.end()
        self.reopen_observer()
        self.write(daemon)
        self.assertLessEqual(self.observer.count(daemon.application), 25)

    def reopen_observer(self):
        self.observer.close()
        type(self).observer = harness.wait_until(self.try_observer, what="PostgreSQL is back")

    def try_observer(self):
        try:
            return slow_store.Observer(self.postgres)
        except slow_store.psycopg2.OperationalError:
            return None

    def restart_under_load(self, mode):
        daemon = self.start({"database.max_open_conns": 6})
        load = Load(self, daemon)
        load.wait_served()
        start = time.monotonic()
        self.postgres.restart(mode)
        load.wait_served(100)
        took = time.monotonic() - start
        load.end()
        self.reopen_observer()
        failures = sum(value for key, value in daemon.metrics().items()
                       if key.startswith("auditstore_pool_open_failures_total"))
        self.assertLess(failures, 10 + 40 * took)
        self.finish(self.lists(daemon, 50))
        self.assertLessEqual(self.observer.count(daemon.application), 6)

    def test_a_fast_restart_is_survived(self):
        self.restart_under_load("fast")

    def test_an_immediate_restart_is_survived(self):
        self.restart_under_load("immediate")

    def test_a_long_outage_costs_few_dials_and_no_patience(self):
        daemon = self.start({"database.connect_backoff_max": "2s"})
        self.burst(daemon, 3)
        self.observer.close()
        self.postgres.stop("fast")
        harness.wait_until(lambda: daemon.http_get("/readyz")[0] == 503, what="not ready")
        harness.wait_until(lambda: self.pool(daemon, 'state{state="down"}') == 1)
        harness.wait_until(lambda: self.lists(daemon, 1)[0].exception().code()
                           == grpc.StatusCode.UNAVAILABLE)
        end = time.monotonic() + 5
        refused = 0
        while time.monotonic() < end:
            start = time.monotonic()
            self.assertEqual(grpc.StatusCode.UNAVAILABLE, self.lists(daemon, 1)[0].exception().code())
            self.assertLess(time.monotonic() - start, 1)
            refused += 1
        self.assertGreater(refused, 50)
        failures = self.pool(daemon, 'open_failures_total{class="refused"}')
        self.assertGreater(failures, 3)
        self.assertLess(failures, 40)
        self.assertIn("nobody listens", daemon.http_get("/readyz")[1])
        self.postgres.restart()
        type(self).observer = slow_store.Observer(self.postgres)
        harness.wait_until(lambda: daemon.http_get("/readyz")[0] == 200, what="ready again")
        self.finish(self.lists(daemon, 20))
        states = [line for line in daemon.log().splitlines() if "db pool state" in line]
        self.assertEqual(1, sum("to=down" in line for line in states), states)


class FullServerTest(slow_store.PoolCase):
    @effect_of("database.full_backoff_min")
    def test_the_pool_lives_with_what_the_server_gives_and_grows_later(self):
        self.observer.run("ALTER ROLE store CONNECTION LIMIT 4")
        daemon = self.start({"database.max_open_conns": 10, "database.full_backoff_min": "300ms"})
        self.gate(seconds=0.05)
        with self.watch(daemon) as seen:
            self.finish(self.lists(daemon, 60))
        self.assertEqual(4, seen.most)
        self.assertEqual(4, self.pool(daemon, "effective_max_open"))
        self.assertEqual(10, self.pool(daemon, "max_open"))
        self.assertGreater(self.pool(daemon, 'open_failures_total{class="too_many"}'), 0)
        self.assertEqual(1, self.pool(daemon, 'state{state="up"}'))
        self.observer.run("ALTER ROLE store CONNECTION LIMIT -1")
        with self.watch(daemon) as seen:
            end = time.monotonic() + 30
            while seen.most < 10 and time.monotonic() < end:
                self.finish(self.lists(daemon, 40))
        self.assertEqual(10, seen.most)
        self.assertEqual(10, self.pool(daemon, "effective_max_open"))


class StoppedBackendTest(slow_store.PoolCase):
    def stop_backend(self, daemon):
        pid = self.observer.backends(daemon.application)[3][0]
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(os.kill, pid, signal.SIGCONT)
        return pid

    @effect_of("database.validate_after_idle", "database.ping_timeout", "database.close_timeout")
    def test_a_silent_idle_connection_is_found_out_before_use(self):
        daemon = self.start({"database.validate_after_idle": "100ms",
                             "database.ping_timeout": "300ms", "database.close_timeout": "500ms"})
        self.assertEqual(1, self.observer.count(daemon.application))
        self.stop_backend(daemon)
        unused_from = time.monotonic()
        harness.wait_until(lambda: time.monotonic() > unused_from + 0.2)
        self.finish(self.lists(daemon, 10, timeout=10))
        harness.wait_until(lambda: self.pool(daemon, 'pings_total{result="failed"}') == 1)
        self.assertEqual(1, self.closed(daemon, "ping_failed"))
        harness.wait_until(lambda: self.pool(daemon, "close_timeouts_total") == 1)

    def test_a_query_on_a_stopped_backend_ends_at_its_deadline(self):
        daemon = self.start({"query.timeout": "1s", "database.close_timeout": "500ms",
                             "database.max_open_conns": 2})
        with self.closed_gate():
            stuck = self.lists(daemon, 1)[0]
            self.wait_count(daemon, 1)
            harness.wait_until(lambda: self.pool(daemon, "in_use") == 1)
            self.stop_backend(daemon)
        self.finish(self.lists(daemon, 10))
        self.assertEqual(grpc.StatusCode.DEADLINE_EXCEEDED, stuck.exception().code())
        self.assertEqual(1, self.closed(daemon, "deadline"))
        self.finish(self.lists(daemon, 10))


class ReadOnlyTest(slow_store.PoolCase):
    def set_read_only(self, value):
        self.observer.run(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        self.observer.run("SELECT pg_reload_conf()")

    def test_a_demoted_primary_is_left_and_found_again(self):
        daemon = self.start({"database.connect_backoff_max": "500ms", "ingest.write_timeout": "30s"})
        self.burst(daemon, 3)
        generation = self.pool(daemon, "generation")
        self.addCleanup(self.set_read_only, "off")
        self.set_read_only("on")
        writes = []

        def is_left():
            """Each backend hears of the setting when it gets to it: some writes may still pass."""
            if not writes or writes[-1].done():
                request = self.stubs.store.WriteEventsRequest(
                    events=[slow_store.events.make(self.stubs)])
                writes.append(daemon.stub.WriteEvents.future(request, timeout=60))
            return self.pool(daemon, "generation") > generation

        harness.wait_until(is_left)
        harness.wait_until(lambda: self.pool(daemon, "open") == 0)
        self.assertGreaterEqual(self.closed(daemon, "read_only"), 1)
        harness.wait_until(lambda: self.pool(daemon, 'open_failures_total{class="other"}') > 0,
                           what="read-only sessions are refused")
        self.set_read_only("off")
        harness.wait_until(lambda: daemon.http_get("/readyz")[0] == 200)
        self.write(daemon)
        error = writes[-1].exception()
        self.assertIn(error and error.code(), (None, grpc.StatusCode.UNAVAILABLE))


class PasswordTest(slow_store.PoolCase):
    def test_a_changed_password_keeps_what_is_open_and_is_mended_by_a_reload(self):
        secret = self.folder / "password"
        secret.write_text("first\n")
        hba = self.folder / "pg" / "data" / "pg_hba.conf"
        hba.write_text("host all store 127.0.0.1/32 scram-sha-256\n" + hba.read_text())
        self.observer.run("ALTER ROLE store PASSWORD 'first'")
        self.observer.run("SELECT pg_reload_conf()")
        daemon = self.start({"database.password_file": secret, "database.max_open_conns": 3})
        self.observer.run("ALTER ROLE store PASSWORD 'second'")
        with self.closed_gate():
            futures = self.lists(daemon, 2)
            harness.wait_until(lambda: self.pool(daemon, 'open_failures_total{class="auth"}') == 1)
        self.finish(futures)
        self.assertGreater(self.pool(daemon, "backoff_seconds"), 3)
        self.assertEqual(1, self.pool(daemon, 'state{state="degraded"}'))
        self.assertIn("28P01", daemon.log())
        for _ in range(20):
            self.finish(self.lists(daemon, 2))
        self.assertEqual(1, self.pool(daemon, 'open_failures_total{class="auth"}'))
        secret.write_text("second\n")
        self.reload(daemon, {"database.max_open_conns": 4})
        self.burst(daemon, 4)
        self.assertEqual(1, self.pool(daemon, 'state{state="up"}'))


if __name__ == "__main__":
    unittest.main(verbosity=2)
