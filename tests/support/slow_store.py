"""A store whose queries take as long as a test wants, and an observer that asks the server.

    class SomeTest(slow_store.PoolCase):
        def test_it(self):
            daemon = self.start({"database.max_open_conns": 3})    # from a YAML file
            self.gate(seconds=0.1)                                 # each ListEvents takes so long
            with self.watch(daemon) as seen:
                self.finish(self.lists(daemon, 20))                # 20 at once
            self.assertEqual(3, seen.most)

The daemon's role isn't a superuser and is meant to be held by policies (row_security), so row security
applies to it: the policy for reading calls a function that sleeps, or waits until the gate opens. What a
connection does is thus known to the test, and nothing but SQL stands between the daemon and PostgreSQL.
After each test the pool's books are compared with the server's.
"""

import contextlib
import itertools
import re
import signal
import threading
import time

import psycopg2

from support import events, harness

GATE_LOCK = 7041776

PREPARE = f"""
CREATE TABLE gate_setting (seconds float8 NOT NULL);
INSERT INTO gate_setting VALUES (0);
CREATE FUNCTION gate() RETURNS bool LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE pause float8;
BEGIN
  PERFORM pg_advisory_lock_shared({GATE_LOCK});
  PERFORM pg_advisory_unlock_shared({GATE_LOCK});
  SELECT seconds INTO pause FROM gate_setting;
  IF pause > 0 THEN PERFORM pg_sleep(pause); END IF;
  RETURN true;
END $$;
ALTER TABLE audit_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_events FORCE ROW LEVEL SECURITY;
ALTER ROLE store SET row_security = on;
CREATE POLICY reading ON audit_events FOR SELECT USING ((SELECT gate()));
CREATE POLICY writing ON audit_events FOR INSERT WITH CHECK (true);
"""

# The load on the pool is readers here, who leave nothing to writers.
ALL_TO_READERS = {"query.max_running": 1000, "query.max_running_per_principal": 1000}

COUNT = """SELECT count(*), count(*) FILTER (WHERE state = 'idle'),
  coalesce(extract(epoch FROM max(clock_timestamp() - backend_start)), 0)::float8,
  coalesce(array_agg(pid), '{}')
  FROM pg_stat_activity WHERE application_name = %s AND backend_type = 'client backend'"""


class Observer:
    """A connection of the test's own, as superuser."""

    def __init__(self, postgres):
        self.connection = psycopg2.connect(host=postgres.host, port=postgres.port, user="auditstore",
                                           dbname="auditstore", application_name="observer")
        self.connection.autocommit = True
        self.cursor = self.connection.cursor()

    def run(self, sql, *args):
        self.cursor.execute(sql, args or None)

    def rows(self, sql, *args):
        self.run(sql, *args)
        return self.cursor.fetchall()

    def backends(self, application):
        """How many connections the server has, how many are idle, the oldest one's age, their pids."""
        return self.rows(COUNT, application)[0]

    def count(self, application):
        return self.backends(application)[0]

    def kill(self, application, limit=1000):
        """Ends that many of its sessions; returns how many."""
        return len(self.rows("SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity"
                             " WHERE application_name = %s LIMIT %s) p", application, limit))

    def close(self):
        self.connection.close()


class Watch(threading.Thread):
    """Looks at the server again and again, as fast as it answers."""

    def __init__(self, postgres, application):
        super().__init__(daemon=True)
        self.observer = Observer(postgres)
        self.application = application
        self.most = 0
        self.least = 10**9
        self.oldest = 0.0
        self.ends = {}  # pid: when it was seen last
        self.samples = 0
        self.is_over = False

    def run(self):
        while not self.is_over:
            count, _, oldest, pids = self.observer.backends(self.application)
            now = time.monotonic()
            self.most = max(self.most, count)
            self.least = min(self.least, count)
            self.oldest = max(self.oldest, oldest)
            self.ends.update(dict.fromkeys(pids, now))
            self.samples += 1

    def end(self):
        self.is_over = True
        self.join()
        self.observer.close()


class PoolCase(harness.PostgresCase):
    postgres_settings = {"max_connections": 60}
    names = itertools.count(1)

    @classmethod
    def prepare_database(cls):
        cls.observer = Observer(cls.postgres)
        cls.addClassCleanup(cls.observer.close)
        cls.observer.run("CREATE ROLE store LOGIN; GRANT ALL ON SCHEMA public TO store")
        cls.postgres.user = "store"
        super().prepare_database()
        cls.observer.run(PREPARE)

    def setUp(self):
        self.gate(seconds=0)

    # ---- the daemon ----

    def start(self, settings=None, wait_serving=True, env=None, **server):
        """A daemon whose settings stand in a file, daemon.config; daemon.application is its name. None: the default.
        server: database.host, .port and the like, instead of the PostgreSQL's own."""
        application = f"pool{next(PoolCase.names)}"
        config = self.folder / f"{application}.yaml"
        asked = {"ingest.lanes": 1, "database.application_name": application, **(settings or {})}
        asked = {**asked, **{key: asked.get(key, value) for key, value in ALL_TO_READERS.items()}}
        settings = {key: value for key, value in asked.items() if value is not None}
        harness.write_config(config, settings)
        line = {f"database.{key}": value for key, value in server.items()}
        daemon = self.start_daemon(line, wait_serving=wait_serving, config=config, env=env)
        daemon.config = config
        daemon.file_settings = settings
        daemon.application = application
        daemon.stub = self.open_stub(daemon)
        self.addCleanup(self.check_books, daemon)
        if wait_serving:
            self.write(daemon)
        return daemon

    def reload(self, daemon, settings, event="settings reloaded"):
        """Writes the file anew with these settings changed, and waits for the log to say `event`."""
        said = daemon.log().count(event)
        daemon.file_settings.update(settings)
        harness.write_config(daemon.config, daemon.file_settings)
        daemon.signal(signal.SIGHUP)
        harness.wait_until(lambda: daemon.log().count(event) > said, what=event)

    def ready_lines(self, daemon):
        """What each "db pool ready" of the log says, as {field: text}."""
        lines = [line for line in daemon.log().splitlines() if " db pool ready " in line]
        field = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')
        return [{key: value.strip('"') for key, value in field.findall(line)} for line in lines]

    def check_books(self, daemon):
        """opened - closed = open = in use + idle, and the server counts the same."""
        if daemon.process.poll() is not None:
            return

        def books_agree():
            metrics = daemon.metrics()
            closed = sum(value for key, value in metrics.items()
                         if key.startswith("auditstore_pool_closed_total{"))
            gauges = {name: metrics["auditstore_pool_" + name]
                      for name in ("open", "in_use", "idle", "connecting", "closing")}
            server = self.observer.count(daemon.application)
            return (metrics["auditstore_pool_opened_total"] - closed == gauges["open"]
                    and gauges["open"] == gauges["in_use"] + gauges["idle"]
                    and gauges["connecting"] + gauges["closing"] == 0
                    and server == gauges["open"])
        harness.wait_until(books_agree, what="the pool's books agree with the server's")

    def pool(self, daemon, name):
        return daemon.metrics()["auditstore_pool_" + name]

    def closed(self, daemon, *reasons):
        """How many connections were closed for these reasons, at one moment."""
        values = daemon.metrics()
        return sum(values[f'auditstore_pool_closed_total{{reason="{reason}"}}'] for reason in reasons)

    # ---- the load ----

    def gate(self, seconds):
        """How long each query takes from now on."""
        self.observer.run("UPDATE gate_setting SET seconds = %s", seconds)

    @contextlib.contextmanager
    def closed_gate(self):
        """Queries that begin within wait until the end of it."""
        keeper = Observer(self.postgres)
        keeper.run("SELECT pg_advisory_lock(%s)", GATE_LOCK)
        try:
            yield
        finally:
            keeper.close()

    def write(self, daemon, count=1):
        request = self.stubs.store.WriteEventsRequest(
            events=[events.make(self.stubs, number) for number in range(count)])
        return daemon.stub.WriteEvents(request, timeout=60)

    def lists(self, daemon, count, timeout=60):
        """That many queries at once, as futures."""
        request = self.stubs.store.ListEventsRequest(page_size=1)
        return [daemon.stub.ListEvents.future(request, timeout=timeout) for _ in range(count)]

    def finish(self, futures):
        """Waits for all; fails when one did."""
        return [future.result() for future in futures]

    def burst(self, daemon, count):
        """Opens `count` connections: none of the queries ends before all have begun."""
        with self.closed_gate():
            futures = self.lists(daemon, count)
            self.wait_count(daemon, count)
        self.finish(futures)

    # ---- what the server says ----

    @contextlib.contextmanager
    def watch(self, daemon):
        watch = Watch(self.postgres, daemon.application)
        watch.start()
        try:
            yield watch
        finally:
            watch.end()

    def wait_count(self, daemon, count, deadline_s=30):
        harness.wait_until(lambda: self.observer.count(daemon.application) == count, deadline_s,
                           f"{count} connections of {daemon.application}")

    def stays(self, daemon, count, seconds):
        """The server sees exactly so many all that time."""
        with self.watch(daemon) as seen:
            end = time.monotonic() + seconds
            harness.wait_until(lambda: time.monotonic() > end, seconds + 30)
        self.assertEqual((count, count), (seen.least, seen.most))
