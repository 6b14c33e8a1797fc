"""Behind PgBouncer, with its defaults and the daemon's: what is promised holds, or it is refused."""

import concurrent.futures
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402
import psycopg2  # noqa: E402

from support import events, harness, pgbouncer  # noqa: E402

WRITERS = 12
TIMEOUT_S = 30


class PoolerTest(harness.PostgresCase):
    def start_pooler(self, **settings):
        pooler = pgbouncer.PgBouncer(self.folder, self.postgres, **settings)
        self.addCleanup(pooler.stop)
        return pooler

    def start_behind(self, pooler, settings=None):
        daemon = self.start_daemon({**pooler.daemon_settings(), **(settings or {})})
        return daemon, self.open_stub(daemon)

    def write(self, stub, **options):
        event = events.make(self.stubs, event_id=events.new_id())
        request = self.stubs.store.WriteEventsRequest(events=[event])
        stub.WriteEvents(request, timeout=TIMEOUT_S, **options)
        return event.event_id

    def check_all_is_stored(self, stub):
        with concurrent.futures.ThreadPoolExecutor(WRITERS) as writers:
            ids = list(writers.map(lambda _: self.write(stub), range(WRITERS)))
        for event_id in ids:
            got = stub.GetEvent(self.stubs.store.GetEventRequest(event_id=event_id), timeout=TIMEOUT_S)
            self.assertEqual(got.event.event.event_id, event_id)
        count = self.postgres.value("SELECT count(*) FROM audit_events WHERE event_id IN"
                                    f" ({', '.join(repr(event_id) for event_id in ids)})")
        self.assertEqual(count, str(WRITERS))

    def lock_timeouts(self):
        log = (self.postgres.folder / "log").read_text(encoding="utf-8", errors="replace")
        return log.count("due to lock timeout")

    def check_the_lock_timeout_holds(self, mode):
        pooler = self.start_pooler(pool_mode=mode)
        _, stub = self.start_behind(pooler, {"database.lock_timeout": "100ms"})
        self.write(stub)
        before = self.lock_timeouts()
        with self.postgres.locked("audit_events, ledgers"):
            call = stub.WriteEvents.future(self.stubs.store.WriteEventsRequest(
                events=[events.make(self.stubs)]), timeout=TIMEOUT_S)
            harness.wait_until(lambda: self.lock_timeouts() > before, TIMEOUT_S, "a lock timeout")
        call.cancel()

    def test_in_session_mode_with_all_defaults_everything_is_stored_and_found(self):
        daemon, stub = self.start_behind(self.start_pooler(pool_mode="session"))
        self.check_all_is_stored(stub)
        self.assertIn("behind_pooler=true", daemon.log())
        self.assertEqual(daemon.metrics()["auditstore_pool_behind_pooler"], 1)

    def test_in_session_mode_the_lock_timeout_holds(self):
        self.check_the_lock_timeout_holds("session")

    def test_a_pooler_that_swallows_the_options_changes_nothing(self):
        pooler = self.start_pooler(pool_mode="session", ignore_startup_parameters="options")
        daemon, stub = self.start_behind(pooler, {"database.statement_timeout": "17s"})
        self.check_all_is_stored(stub)
        ready = next(line for line in daemon.log().splitlines() if "db pool ready" in line)
        self.assertIn("statement_timeout 17s; ", ready)

    def test_in_transaction_mode_with_all_defaults_everything_is_stored_and_found(self):
        daemon, stub = self.start_behind(self.start_pooler(pool_mode="transaction",
                                                           default_pool_size=3))
        self.check_all_is_stored(stub)
        # That it stands there is told once, and not for each connection.
        self.assertEqual(daemon.log().count("a pooler stands before the database"), 1)

    def test_in_transaction_mode_the_lock_timeout_holds(self):
        self.check_the_lock_timeout_holds("transaction")

    def test_what_another_client_did_to_a_shared_session_is_undone(self):
        pooler = self.start_pooler(pool_mode="transaction", default_pool_size=1)
        other = psycopg2.connect(host="127.0.0.1", port=pooler.port, user="auditstore",
                                 dbname="auditstore")
        self.addCleanup(other.close)
        other.autocommit = True
        _, stub = self.start_behind(pooler)
        for statement in ("SET search_path = nowhere", "SET synchronous_commit = off",
                          "SET client_min_messages = error", "SET lock_timeout = '1ms'",
                          "SET row_security = on", "SET exit_on_error = on",
                          "SET default_transaction_isolation = serializable",
                          "CREATE TEMPORARY TABLE audit_events (id text)",
                          "CREATE TEMPORARY TABLE ledgers (id text)",
                          "CREATE TEMPORARY TABLE ledger_batches (id text)"):
            with other.cursor() as cursor:
                cursor.execute(statement)
            self.write(stub)
        self.check_all_is_stored(stub)

    def test_our_settings_do_not_reach_another_client_of_a_shared_session(self):
        pooler = self.start_pooler(pool_mode="transaction", default_pool_size=1)
        _, stub = self.start_behind(pooler, {"database.statement_timeout": "17s"})
        self.check_all_is_stored(stub)
        other = psycopg2.connect(host="127.0.0.1", port=pooler.port, user="auditstore",
                                 dbname="auditstore")
        self.addCleanup(other.close)
        with other.cursor() as cursor:
            cursor.execute("SELECT current_setting('statement_timeout'),"
                           " current_setting('search_path')")
            self.assertEqual(cursor.fetchone(), ("0", '"$user", public'))

    def test_the_schema_is_made_through_a_pooler(self):
        pooler = self.start_pooler(pool_mode="transaction")
        self.postgres.sql("CREATE DATABASE fresh")
        settings = {**pooler.daemon_settings(), "database.name": "fresh"}
        done = harness.run_daemon("migrate", settings=settings)
        self.assertEqual(done.returncode, 0, done.stderr)
        _, stub = self.start_behind(pooler, {"database.name": "fresh"})
        self.write(stub)

    def test_a_long_search_path_is_kept_to_its_end(self):
        pooler = self.start_pooler(pool_mode="transaction")
        path = ", ".join([f"{'no_such_schema_' * 3}{i}" for i in range(10)] + ["public"])
        self.postgres.sql("CREATE DATABASE far")
        self.postgres.sql(f"ALTER DATABASE far SET search_path = {path}")
        settings = {**pooler.daemon_settings(), "database.name": "far"}
        done = harness.run_daemon("migrate", settings=settings)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_restart_of_the_pooler_is_survived(self):
        pooler = self.start_pooler(pool_mode="transaction")
        daemon, stub = self.start_behind(pooler)
        self.write(stub)
        pooler.stop()
        daemon.wait_health("NOT_SERVING")
        self.assertTrue(pooler.start())
        daemon.wait_health("SERVING")
        self.check_all_is_stored(stub)

    def test_statement_mode_is_refused_and_the_remedy_is_named(self):
        pooler = self.start_pooler(pool_mode="statement")
        daemon = self.start_daemon(pooler.daemon_settings(), wait_serving=False)
        harness.wait_until(lambda: "set its pool_mode to transaction or session" in daemon.log(),
                           TIMEOUT_S, "the refusal")
        self.assertEqual(daemon.health(), "NOT_SERVING")
        stub = self.open_stub(daemon)
        with self.assertRaises(grpc.RpcError) as refused:
            stub.WriteEvents(self.stubs.store.WriteEventsRequest(events=[events.make(self.stubs)]),
                             timeout=TIMEOUT_S)
        self.assertEqual(refused.exception.code(), grpc.StatusCode.UNAVAILABLE)

    def test_without_a_pooler_none_is_spoken_of(self):
        daemon = self.start_daemon()
        self.check_all_is_stored(self.open_stub(daemon))
        self.assertIn("behind_pooler=false", daemon.log())
        self.assertEqual(daemon.metrics()["auditstore_pool_behind_pooler"], 0)


if __name__ == "__main__":
    unittest.main()
