"""The daemon's command line, its settings and its refusals to start."""

import pathlib
import socket
import subprocess
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness  # noqa: E402


class CommandLineTest(unittest.TestCase):
    def setUp(self):
        self.temporary = harness.TemporaryFolder()
        self.addCleanup(self.temporary.remove)

    def config(self, text):
        path = self.temporary.path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    def test_every_error_of_a_file_is_told_at_once(self):
        path = self.config(
            "server:\n"
            "  listen: 127.0.0.1:0\n"
            "  max_connections: many\n"
            "database:\n"
            "  max_open_con: 7\n"
            "  conn_max_lifetime: 5\n"
            "ingest:\n"
            "  lanes: 99\n")
        done = harness.run_daemon("--config", path)
        self.assertEqual(done.returncode, 2)
        lines = done.stderr.splitlines()
        for number, key in ((3, "server.max_connections"), (5, "database.max_open_con"),
                            (6, "database.conn_max_lifetime"), (8, "ingest.lanes")):
            with self.subTest(key=key):
                self.assertTrue(any(f"{path}:{number}:" in line and key in line for line in lines),
                                done.stderr)
        self.assertIn("did you mean", done.stderr)

    def test_print_config_tells_each_source(self):
        path = self.config("database:\n  maxOpenConns: 7\n")
        done = harness.run_daemon("--config", path, "--print-config",
                                  settings={"ingest.lanes": 3})
        self.assertEqual(done.returncode, 0, done.stderr)
        by_key = dict(line.split(" = ", 1) for line in done.stdout.splitlines() if " = " in line)
        self.assertIn(f"{path}:2", by_key["database.max_open_conns"])
        self.assertTrue(by_key["database.max_open_conns"].startswith("7"))
        self.assertTrue(by_key["ingest.lanes"].startswith("3"))
        self.assertIn("default", by_key["query.max_page_size"])

    def test_shipped_files_are_good(self):
        for name in ("auditstore.yaml", "dev.yaml"):
            with self.subTest(name=name):
                done = harness.run_daemon("--check-config", "--config",
                                          harness.ROOT / "config" / name)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
        # What it names is made on the machine that it is for.
        done = harness.run_daemon("--check-config", "--config",
                                  harness.ROOT / "config" / "production.yaml")
        for line in done.stderr.splitlines():
            self.assertIn("No such file", line)

    def test_a_port_in_use_is_a_clear_failure(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            done = harness.run_daemon(settings={"server.listen": f"127.0.0.1:{port}", "http.listen": "off"})
        self.assertEqual(done.returncode, 1)
        self.assertIn(str(port), done.stderr)
        self.assertIn("in use", done.stderr)

    def test_unknown_options_and_arguments_are_usage_errors(self):
        for args in (["--nonsense"], ["frobnicate"]):
            with self.subTest(args=args):
                self.assertEqual(harness.run_daemon(*args).returncode, 2)


class SchemaTest(unittest.TestCase):
    def test_a_database_without_the_schema_is_refused_and_the_cure_is_named(self):
        temporary = harness.TemporaryFolder()
        self.addCleanup(temporary.remove)
        postgres = harness.Postgres(temporary.path / "pg")
        self.addCleanup(postgres.remove)
        settings = {"server.listen": "127.0.0.1:0", "http.listen": "off", **postgres.daemon_settings()}
        done = harness.run_daemon(settings=settings)
        self.assertEqual(done.returncode, 1)
        self.assertIn("auditstored migrate", done.stderr)
        harness.migrate(postgres)
        harness.migrate(postgres)
        postgres.sql("UPDATE schema_migrations SET version = 999 WHERE version ="
                     " (SELECT max(version) FROM schema_migrations)")
        done = harness.run_daemon(settings=settings)
        self.assertEqual(done.returncode, 1)
        self.assertIn("999", done.stderr)


class TableLock:
    """Holds audit_events against readers, so that every connection of the pool gets stuck."""

    def __init__(self, postgres):
        self.process = subprocess.Popen(
            ["psql", "-X", "-q", "-h", postgres.host, "-p", str(postgres.port), "-U", "auditstore",
             "-d", "auditstore"], stdin=subprocess.PIPE, text=True)
        self.process.stdin.write("BEGIN; LOCK TABLE audit_events IN ACCESS EXCLUSIVE MODE;\n")
        self.process.stdin.flush()
        harness.wait_until(lambda: postgres.value(
            "SELECT count(*) FROM pg_locks WHERE relation = 'audit_events'::regclass AND granted"
            " AND mode = 'AccessExclusiveLock'") == "1", 20, "the lock")

    def release(self):
        self.process.communicate("COMMIT;\n", timeout=30)


class PoolLimitTest(harness.PostgresCase):
    """Configured = applied = logged = what the server sees."""

    def check_limit(self, limit):
        # Readers are the load, and leave nothing to writers.
        daemon = self.start_daemon({"database.max_open_conns": limit, "query.max_running": limit,
                                    "query.max_running_per_principal": limit,
                                    "database.max_idle_conns": 1,
                                    "database.conn_max_lifetime": "off",
                                    "database.application_name": f"limit{limit}"})
        ready = next(line for line in daemon.log().splitlines() if "db pool ready" in line)
        for setting in (f'max_open_conns={limit} max_open_conns_source="command line"',
                        'conn_max_lifetime=off conn_max_lifetime_source="command line"',
                        "conn_max_idle_time=10m conn_max_idle_time_source=default",
                        f"daemons_that_fit={100 // limit}"):
            self.assertIn(setting, ready)
        stub = self.open_stub(daemon)
        request = self.stubs.store.ListEventsRequest(page_size=1)
        count = f"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'limit{limit}'"
        blocked = count + " AND wait_event_type = 'Lock'"
        lock = TableLock(self.postgres)
        with ThreadPoolExecutor(12) as workers:
            try:
                calls = [workers.submit(stub.ListEvents, request, timeout=30) for _ in range(12)]
                harness.wait_until(lambda: int(self.postgres.value(blocked)) == limit, 8,
                                   f"{limit} blocked connections")
                self.assertEqual(int(self.postgres.value(count)), limit)
            finally:
                lock.release()
            for call in calls:
                call.result(60)
        self.assertLessEqual(int(self.postgres.value(count)), limit)

    def test_the_limit_holds_as_the_server_counts(self):
        for limit in (1, 3):
            with self.subTest(limit=limit):
                self.check_limit(limit)


if __name__ == "__main__":
    unittest.main(verbosity=2)
