"""What goes wrong with PostgreSQL is told to operators, and names nothing of theirs to callers."""

import contextlib
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from support import events, frozen, harness  # noqa: E402
from support.fatal_server import FatalServer  # noqa: E402

PASSWORD = "hunter2-the-password"
ROLE = "guarded_role"
FILE = "base/16384/2619"
REFUSALS = "auditstore_pool_refusals_total"


class LeakCase(harness.PostgresCase):
    """The daemon's role is one whose password can be changed under its feet."""

    @classmethod
    def prepare_database(cls):
        super().prepare_database()
        cls.postgres.sql(f"CREATE ROLE {ROLE} LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
        hba = cls.postgres.folder / "data" / "pg_hba.conf"
        hba.write_text(f"host all {ROLE} 127.0.0.1/32 scram-sha-256\n" + hba.read_text())
        cls.postgres.sql("SELECT pg_reload_conf()")
        cls.password_file = cls.folder / "password"
        cls.password_file.write_text(PASSWORD + "\n")

    def start(self, wait_serving=True, **settings):
        self.daemon = self.start_daemon(
            {"database.user": ROLE, "database.password_file": self.password_file,
             "database.refused_backoff_min": "100ms", "database.fail_fast_after": "100ms",
             "database.acquire_timeout": "1s", "ingest.write_timeout": "2s",
             "query.timeout": "2s",
             "ingest.max_event_age": "off", **settings}, wait_serving=wait_serving)
        self.stub = self.open_stub(self.daemon)

    def logged(self, *texts):
        return [line for line in self.daemon.log().splitlines() if all(t in line for t in texts)]

    def readyz(self):
        return self.daemon.http_get("/readyz")

    # ---- what callers see ----

    def request(self, **fields):
        return self.stubs.store.WriteEventsRequest(
            events=[events.make(self.stubs, event_id=events.new_id(), **fields)])

    def write(self):
        """Without a deadline of its own: ingest.write_timeout ends it."""
        return self.stub.WriteEvents(self.request())

    def write_of_another_month(self):
        request = self.request()
        request.events[0].event_time.FromJsonString("1999-12-24T12:00:00Z")
        return self.stub.WriteEvents(request, timeout=3)

    def write_in_part(self):
        request = self.request()
        request.mode = self.stubs.store.WRITE_MODE_PARTIAL
        reply = self.stub.WriteEvents(request, timeout=3)
        return [rejected.status for rejected in reply.rejected]

    def stream(self):
        request = self.stubs.store.StreamEventsRequest(batch_id="1", events=self.request().events)
        return [ack.status for ack in self.stub.StreamEvents(iter([request]), timeout=3)]

    def write_hastily(self):
        return self.stub.WriteEvents(self.request(), timeout=0.5)

    def get(self):
        return self.stub.GetEvent(self.stubs.store.GetEventRequest(event_id=events.new_id()), timeout=3)

    def list(self):
        return self.stub.ListEvents(self.stubs.store.ListEventsRequest(), timeout=3)

    METHODS = (write, write_of_another_month, write_in_part, stream, write_hastily, get, list)

    def statuses(self, method):
        """[(code, texts of all kinds)] that the call ended with or that its answers hold."""
        try:
            inner = method(self)
        except grpc.RpcError as error:
            trailers = {key: value for key, value in error.trailing_metadata() or ()}
            return [(error.code(), f"{error.details()} {trailers}")]
        return [(status.code, str(status)) for status in inner] if isinstance(inner, list) else []

    def assert_names_nothing(self, text):
        data = str(self.postgres.folder)
        names = [self.postgres.host, f"{self.postgres.port}", ROLE, '"auditstore"', FILE, "base/", data, "/tmp",
                 "localhost", "INSERT", "SELECT", "audit_events", "ledger_", "schema public", PASSWORD,
                 "password authentication", "No space left", "connection to server", "database \"", "partition "]
        for name in names:
            self.assertNotIn(name, text)
        self.assertNotRegex(text, r"\d+\.\d+\.\d+\.\d+|:\d{4,5}\b|port \d")

    def assert_all_fail_without_names(self, methods=METHODS):
        """Returns the codes and texts by method."""
        seen = {}
        for method in methods:
            with self.subTest(method=method.__name__):
                seen[method.__name__] = self.statuses(method)
                for _, text in seen[method.__name__]:
                    self.assert_names_nothing(text)
        self.assert_names_nothing(self.readyz()[1])
        failed = [name for name, found in seen.items() if found and found[0][0] != 0]
        self.assertTrue(failed, "the fault makes something fail")
        return seen

    # ---- faults ----

    @contextlib.contextmanager
    def events_raise(self, sqlstate, message, hint):
        self.postgres.sql(
            "CREATE FUNCTION raise_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION"
            f" USING ERRCODE = '{sqlstate}', MESSAGE = '{message}', HINT = '{hint}',"
            f" DETAIL = 'Failing row contains ' || NEW.event_id; END $$;"
            "CREATE TRIGGER raise_it BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION raise_it()")
        try:
            yield
        finally:
            self.postgres.sql("DROP FUNCTION raise_it CASCADE")

    def end_sessions(self):
        self.postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'")

    @contextlib.contextmanager
    def password_is_another(self):
        self.postgres.sql(f"ALTER ROLE {ROLE} PASSWORD 'another'")
        self.end_sessions()
        try:
            yield
        finally:
            self.postgres.sql(f"ALTER ROLE {ROLE} PASSWORD '{PASSWORD}'")

    @contextlib.contextmanager
    def postgres_is_stopped(self):
        self.postgres.stop()
        try:
            yield
        finally:
            self.postgres.restart()

    @contextlib.contextmanager
    def database_is_gone(self):
        def run(sql):
            subprocess.run(["psql", "-X", "-q", "-o", "/dev/null", "-h", self.postgres.host, "-p", str(self.postgres.port), "-U",
                            "auditstore", "-d", "postgres", "-c", sql], check=True)
        run("ALTER DATABASE auditstore ALLOW_CONNECTIONS false")
        run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'auditstore'")
        run("ALTER DATABASE auditstore RENAME TO elsewhere")
        try:
            yield
        finally:
            run("ALTER DATABASE elsewhere RENAME TO auditstore")
            run("ALTER DATABASE auditstore ALLOW_CONNECTIONS true")


class CallersTest(LeakCase):
    def test_postgresql_out_of_reach(self):
        self.start()
        with self.postgres_is_stopped():
            self.assert_all_fail_without_names()
            harness.wait_until(lambda: "nobody listens" in self.readyz()[1], what="the reason")
            self.assertEqual(503, self.readyz()[0])
            self.assert_all_fail_without_names()

    def test_the_newest_reason_is_on_the_page(self):
        self.start()
        with self.postgres_is_stopped():
            harness.wait_until(lambda: "nobody listens" in self.readyz()[1], what="the first reason")
            hba = self.postgres.folder / "data" / "pg_hba.conf"
            before = hba.read_text()
            hba.write_text(f"host all {ROLE} 127.0.0.1/32 reject\n" + before)
        try:
            harness.wait_until(lambda: "refuses the log-in (SQLSTATE 28000)" in self.readyz()[1],
                               what="the second reason")
            self.assertEqual(503, self.readyz()[0])
            self.assert_names_nothing(self.readyz()[1])
        finally:
            hba.write_text(before)
            self.postgres.sql("SELECT pg_reload_conf()")
        harness.wait_until(lambda: self.readyz() == (200, "ok\n"), what="ready again")

    def test_a_wrong_password_is_told_as_such(self):
        self.start()
        with self.password_is_another():
            self.assert_all_fail_without_names()
            harness.wait_until(lambda: "refuses the password (SQLSTATE 28P01)" in self.readyz()[1],
                               what="the reason")
            self.assertTrue(self.logged("password authentication failed"), self.daemon.log())
        self.assertNotIn(PASSWORD, self.daemon.log())

    def test_a_database_that_is_gone_is_told_as_such(self):
        self.start()
        with self.database_is_gone():
            self.assert_all_fail_without_names()
            harness.wait_until(lambda: "no such database (SQLSTATE 3D000)" in self.readyz()[1],
                               what="the reason")
            self.assertTrue(self.logged("does not exist"), self.daemon.log())

    def test_a_server_that_starts_up(self):
        server = FatalServer("57P03")
        self.addCleanup(server.close)
        self.start(wait_serving=False, **{"database.port": server.port})
        harness.wait_until(lambda: "starting up or shutting down (SQLSTATE 57P03)" in self.readyz()[1],
                           what="the reason")
        self.assert_all_fail_without_names()

    def test_a_frozen_server_and_its_deadlines(self):
        self.start(**{"database.statement_timeout": "1s", "database.query_grace": "100ms"})
        self.write()
        with frozen.frozen(self.postgres):
            self.assert_all_fail_without_names()

    def test_a_lock_that_isnt_given_up(self):
        self.start(**{"database.lock_timeout": "300ms"})
        with self.postgres.locked("audit_events"):
            self.assert_all_fail_without_names()
        self.assertTrue(self.logged("refused by PostgreSQL", "sqlstate=55P03"))

    def test_a_table_that_is_gone(self):
        self.start()
        self.write()
        self.postgres.sql("ALTER TABLE audit_events RENAME TO gone")
        try:
            self.assert_all_fail_without_names()
        finally:
            self.postgres.sql("ALTER TABLE gone RENAME TO audit_events")
        self.assertTrue(self.logged("refused by PostgreSQL", "sqlstate=42P01", "does not exist"))

    def test_a_month_whose_partition_cant_be_made(self):
        self.start()
        self.postgres.sql("CREATE TABLE audit_events_1999_12 (x int)")
        try:
            seen = self.assert_all_fail_without_names([LeakCase.write_of_another_month])
        finally:
            self.postgres.sql("DROP TABLE audit_events_1999_12")
        [(code, text)] = seen["write_of_another_month"]
        self.assertEqual(grpc.StatusCode.FAILED_PRECONDITION, code)
        self.assertIn("no place for events of such a time", text)


class OperatorsTest(LeakCase):
    def test_a_full_disk_is_told_at_once_and_counted(self):
        self.start()
        self.write()
        message = f'could not extend file "{FILE}": No space left on device'
        with self.events_raise("53100", message, "Check free disk space."):
            seen = self.assert_all_fail_without_names()
            self.assertEqual(grpc.StatusCode.UNAVAILABLE, seen["write"][0][0])
            self.assertEqual([], seen["list"])
            status, text = self.readyz()
            self.assertEqual(200, status)
            self.assertIn("its disk is full (SQLSTATE 53100)", text)
        lines = self.logged("refused by PostgreSQL", "53100")
        self.assertEqual(1, len(lines), lines)
        for part in ("WARN", "could not extend file", FILE, "Check free disk space.", "holder=ingest"):
            self.assertIn(part, lines[0])
        self.assertNotIn("Failing row", self.daemon.log())
        self.assertGreater(self.daemon.metrics()[f'{REFUSALS}{{sqlstate="53100"}}'], 1)
        self.write()

    def test_each_sqlstate_is_told_and_none_twice_at_once(self):
        self.start()
        for sqlstate in ("53200", "P0001", "58030", "XX001"):
            with self.events_raise(sqlstate, f"trouble of kind {sqlstate}", "look there"):
                for _ in range(3):
                    for _, text in self.statuses(LeakCase.write):
                        self.assert_names_nothing(text)
            [line] = self.logged("refused by PostgreSQL", sqlstate)
            self.assertIn(f"trouble of kind {sqlstate} (SQLSTATE {sqlstate}): look there", line)
        metrics = self.daemon.metrics()
        for label in ("53200", "58xxx", "other"):
            self.assertGreater(metrics[f'{REFUSALS}{{sqlstate="{label}"}}'], 2, label)

    def test_what_a_write_expects_is_not_told(self):
        self.start()
        request = self.request()
        self.stub.WriteEvents(request, timeout=30)
        self.stub.WriteEvents(request, timeout=30)
        self.assertEqual([], self.logged("refused by PostgreSQL"))
        self.assertEqual(0, sum(value for name, value in self.daemon.metrics().items()
                                if name.startswith(REFUSALS)))

    def test_a_query_that_fails_is_told(self):
        self.start()
        self.postgres.sql("ALTER TABLE audit_events RENAME COLUMN event_type TO other")
        try:
            [(code, _)] = self.statuses(LeakCase.list)
        finally:
            self.postgres.sql("ALTER TABLE audit_events RENAME COLUMN other TO event_type")
        self.assertEqual(grpc.StatusCode.INTERNAL, code)
        [line] = self.logged("refused by PostgreSQL", "42703")
        self.assertIn("event_type does not exist", line)
        self.assertIn("holder=", line)

    def test_hints_of_libpq_stand_behind_a_semicolon(self):
        with self.postgres_is_stopped():
            self.start(wait_serving=False)
            harness.wait_until(lambda: self.logged("Connection refused; Is the server running"),
                               what="the line")


class PasswordTest(LeakCase):
    def test_the_password_is_nowhere(self):
        self.start(**{"log.level": "debug"})
        self.write()
        admin = self.daemon.channel()
        self.addCleanup(admin.close)
        pages = [self.daemon.http_get(path)[1] for path in ("/metrics", "/readyz", "/livez")]
        settings = {**self.postgres.daemon_settings(), "database.user": ROLE,
                    "database.password_file": self.password_file}
        printed = harness.run_daemon("--print-config", settings=settings)
        checked = harness.run_daemon("--check-config", settings=settings)
        info = harness.run_tool(self.daemon.address, "info", "--json")
        self.assertEqual(0, info.returncode, info.stderr)
        with self.password_is_another():
            harness.wait_until(lambda: self.readyz()[0] == 503, what="the refusal")
            pages.append(self.readyz()[1])
        for text in (*pages, printed.stdout, printed.stderr, checked.stdout, checked.stderr, info.stdout,
                     info.stderr, self.daemon.log()):
            self.assertNotIn(PASSWORD, text)
            self.assertNotIn("hunter2", text)

    def test_a_connection_string_never_gets_anywhere(self):
        string = f"postgres://{ROLE}:{PASSWORD}@127.0.0.1/auditstore"
        places = ["database.host", "database.name", "database.user", "database.password_file", "database.port",
                  "database.application_name", "database.password", "http.listen", "server.listen"]
        for place in places:
            for arguments in (["--check-config"], ["--print-config"], [], ["migrate"]):
                with self.subTest(place=place, arguments=arguments):
                    done = harness.run_daemon(*arguments, settings={place: string})
                    self.assertEqual(2, done.returncode, done.stderr)
                    self.assertNotIn(PASSWORD, done.stdout + done.stderr)
                    self.assertIn(place, done.stderr)


if __name__ == "__main__":
    unittest.main()
