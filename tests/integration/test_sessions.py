"""What roles, databases and servers set doesn't reach the store; what can't be overruled is told."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from support import events, harness  # noqa: E402

TIMEOUT_S = 30
IN_DOUBT_S = 6
WAITING_COMMITS = ("FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
                   " AND application_name = 'auditstored'")
NOT_ACKNOWLEDGED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class SessionCase(harness.PostgresCase):
    def write(self, stub, event=None, timeout=TIMEOUT_S):
        event = event or events.make(self.stubs, event_id=events.new_id())
        stub.WriteEvents(self.stubs.store.WriteEventsRequest(events=[event]), timeout=timeout)

    def alter_system(self, assignment):
        """The server's own settings; "RESET ALL" takes them back."""
        self.postgres.sql(f"ALTER SYSTEM {assignment}")
        self.postgres.sql("SELECT pg_reload_conf()")

    def wait_for_setting(self, name, value):
        harness.wait_until(lambda: self.postgres.value(f"SHOW {name}") == value, TIMEOUT_S, name)

    def warnings(self, daemon, setting):
        return [line for line in daemon.log().splitlines()
                if "WARN  database setting" in line and f"setting={setting} " in line]


class SearchPathTest(SessionCase):
    def test_a_role_whose_search_path_leads_elsewhere_finds_its_store_and_makes_no_second(self):
        daemon = self.start_daemon()
        stub = self.open_stub(daemon)
        for _ in range(3):
            self.write(stub)
        self.postgres.sql("CREATE SCHEMA elsewhere")
        self.postgres.sql("ALTER ROLE auditstore SET search_path = elsewhere")
        self.addCleanup(self.postgres.sql, "ALTER ROLE auditstore RESET search_path")
        harness.migrate(self.postgres)
        daemon = self.start_daemon()
        listed = self.open_stub(daemon).ListEvents(
            self.stubs.store.ListEventsRequest(page_size=10), timeout=TIMEOUT_S)
        self.assertEqual(len(listed.events), 3)
        self.assertEqual(self.postgres.value(
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'elsewhere'::regnamespace"), "0")
        self.assertIn("search_path public, pg_temp", daemon.log())

    def test_another_programs_schema_migrations_leads_nobody_astray(self):
        self.postgres.sql("CREATE SCHEMA IF NOT EXISTS another")
        self.postgres.sql("CREATE TABLE another.schema_migrations (version text)")
        self.postgres.sql("ALTER DATABASE auditstore SET search_path = another, public")
        self.addCleanup(self.postgres.sql, "ALTER DATABASE auditstore RESET search_path")
        self.write(self.open_stub(self.start_daemon()))


class DurabilityTest(SessionCase):
    def tearDown(self):
        self.alter_system("RESET ALL")
        self.postgres.sql("ALTER ROLE auditstore RESET ALL")

    def test_a_role_whose_commits_do_not_wait_for_the_disk_is_told_and_its_commits_wait(self):
        self.postgres.sql("ALTER ROLE auditstore SET synchronous_commit = off")
        daemon = self.start_daemon({"database.min_idle_conns": 4, "database.max_idle_conns": 4})
        self.write(self.open_stub(daemon))
        harness.wait_until(lambda: daemon.metrics()["auditstore_pool_open"] >= 4, TIMEOUT_S,
                           "four connections")
        self.assertEqual(len(self.warnings(daemon, "synchronous_commit")), 1)
        self.assertIn("synchronous_commit on", daemon.log())

    def test_a_server_without_fsync_is_told_of_once_and_again_when_it_comes_back(self):
        settings = {"database.conn_max_lifetime": "1s", "database.min_idle_conns": 2,
                    "database.max_idle_conns": 2}
        daemon = self.start_daemon(settings)

        def opened():
            return daemon.metrics()["auditstore_pool_opened_total"]

        def wait_for_more():
            before = opened()
            harness.wait_until(lambda: opened() >= before + 6, TIMEOUT_S, "other connections")

        self.assertEqual(self.warnings(daemon, "fsync"), [])
        for times in (1, 2):
            self.alter_system("SET fsync = off")
            harness.wait_until(lambda n=times: len(self.warnings(daemon, "fsync")) == n, TIMEOUT_S,
                               "the warning")
            wait_for_more()
            self.assertEqual(len(self.warnings(daemon, "fsync")), times)
            self.alter_system("SET fsync = on")
            self.wait_for_setting("fsync", "on")
            wait_for_more()
            self.assertEqual(len(self.warnings(daemon, "fsync")), times)

    def test_after_a_restart_with_other_settings_the_new_sessions_are_made_anew(self):
        daemon = self.start_daemon()
        stub = self.open_stub(daemon)
        self.write(stub)
        for assignment in ("standard_conforming_strings = off", "synchronous_commit = off",
                           "search_path = nowhere", "lock_timeout = '1ms'",
                           "full_page_writes = off"):
            self.postgres.sql(f"ALTER SYSTEM SET {assignment}")
        self.postgres.restart()
        self.addCleanup(self.postgres.restart)
        daemon.wait_health("SERVING")
        self.write(stub)
        self.assertEqual(len(self.warnings(daemon, "full_page_writes")), 1)
        self.assertEqual(len(self.warnings(daemon, "synchronous_commit")), 1)

    def begin_write(self, stub):
        event = events.make(self.stubs, event_id=events.new_id())
        request = self.stubs.store.WriteEventsRequest(events=[event])
        return event, stub.WriteEvents.future(request, timeout=IN_DOUBT_S)

    def begin_write_that_waits(self, stub):
        """Before the server's checkpointer has read the setting, commits don't wait."""
        while True:
            event, call = self.begin_write(stub)
            harness.wait_until(lambda c=call: c.done() or self.waits_for_standby(), TIMEOUT_S,
                               "a commit")
            if not call.done():
                return event, call

    def waits_for_standby(self):
        return self.postgres.value(f"SELECT count(*) {WAITING_COMMITS}") != "0"

    def test_a_commit_that_the_standby_does_not_have_is_not_acknowledged(self):
        self.postgres.sql("ALTER ROLE auditstore SET client_min_messages = error")
        stub = self.open_stub(self.start_daemon())
        self.write(stub)
        for end in ("pg_cancel_backend", "pg_terminate_backend"):
            self.alter_system("SET synchronous_standby_names = 'away'")
            event, call = self.begin_write_that_waits(stub)
            self.postgres.sql(f"SELECT {end}(pid) {WAITING_COMMITS}")
            with self.assertRaises(grpc.RpcError) as doubt:
                call.result(TIMEOUT_S)
            self.assertIn(doubt.exception.code(), NOT_ACKNOWLEDGED)
            self.alter_system("RESET synchronous_standby_names")
            harness.wait_until(lambda e=event: self.is_written(stub, e), TIMEOUT_S, "the write")

    def is_written(self, stub, event):
        try:
            self.write(stub, event)
        except grpc.RpcError as error:
            self.assertIn(error.code(), NOT_ACKNOWLEDGED)
            return False
        return True


if __name__ == "__main__":
    unittest.main()
