"""What the settings of the daemon's sessions and sockets do: seen by the server and the kernel."""

import ctypes
import os
import pathlib
import signal
import socket
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from support import harness, slow_store  # noqa: E402
from support.effects import effect_of  # noqa: E402
from support.proxy import Proxy  # noqa: E402

SEEN = """
CREATE TABLE seen (application text, name text, value text);
CREATE OR REPLACE FUNCTION gate() RETURNS bool LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
  INSERT INTO seen SELECT current_setting('application_name'), s.name, s.setting FROM pg_settings s
    WHERE s.name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout',
                     'client_connection_check_interval');
  INSERT INTO seen SELECT current_setting('application_name'), 'prepared', count(*)::text
    FROM pg_prepared_statements;
  PERFORM pg_sleep(seconds) FROM gate_setting WHERE seconds > 0;
  RETURN true;
END $$;
GRANT ALL ON seen TO store;
"""


class SessionTest(slow_store.PoolCase):
    """What the daemon's own sessions look like from inside the server."""

    @classmethod
    def prepare_database(cls):
        super().prepare_database()
        cls.observer.run(SEEN)

    def seen(self, settings, name):
        daemon = self.start(settings)
        self.finish(self.lists(daemon, 2))
        return {row[0] for row in self.observer.rows(
            "SELECT value FROM seen WHERE application = %s AND name = %s", daemon.application, name)}

    def column(self, settings, column, **server):
        daemon = self.start(settings, **server)
        rows = self.observer.rows(f"SELECT DISTINCT {column} FROM pg_stat_activity"
                                  " WHERE application_name = %s", daemon.application)
        return [row[0] for row in rows]

    @effect_of("database.lock_timeout")
    def test_lock_timeout_is_the_sessions(self):
        self.assertEqual({"10000"}, self.seen({}, "lock_timeout"))
        self.assertEqual({"7000"}, self.seen({"database.lock_timeout": "7s"}, "lock_timeout"))

    @effect_of("database.idle_in_transaction_timeout")
    def test_idle_in_transaction_timeout_is_the_sessions(self):
        name = "idle_in_transaction_session_timeout"
        self.assertEqual({"60000"}, self.seen({}, name))
        self.assertEqual({"7000"}, self.seen({"database.idle_in_transaction_timeout": "7s"}, name))

    @effect_of("database.client_check_interval")
    def test_client_check_interval_is_the_sessions(self):
        name = "client_connection_check_interval"
        self.assertEqual({"1000"}, self.seen({}, name))
        self.assertEqual({"250"}, self.seen({"database.client_check_interval": "250ms"}, name))

    @effect_of("database.prepared_statements")
    def test_statements_are_prepared_or_not(self):
        self.assertNotIn("0", self.seen({}, "prepared"))
        self.assertEqual({"0"}, self.seen({"database.prepared_statements": "off"}, "prepared"))

    @effect_of("database.application_name")
    def test_application_name_is_what_the_server_shows(self):
        daemon = self.start({"database.application_name": "by-another-name"})
        self.addCleanup(setattr, daemon, "application", "by-another-name")
        daemon.application = "by-another-name"
        self.assertEqual(1, self.observer.count("by-another-name"))

    @effect_of("database.host")
    def test_a_folder_as_host_is_a_unix_socket(self):
        self.assertEqual(["127.0.0.1"], self.column({}, "host(client_addr)"))
        self.assertEqual([None], self.column({}, "host(client_addr)",
                                             host=str(self.folder / "pg")))

    @effect_of("database.port")
    def test_port_is_where_it_connects(self):
        proxy = Proxy(self.postgres.port)
        self.addCleanup(proxy.close)
        self.start({}, port=proxy.port)
        self.assertGreater(proxy.accepted, 0)

    @effect_of("database.user")
    def test_user_is_the_role(self):
        self.assertEqual(["store"], self.column({}, "usename"))
        self.assertEqual(["auditstore"], self.column({}, "usename", user="auditstore"))

    @effect_of("database.name")
    def test_name_is_the_database(self):
        self.assertEqual(["auditstore"], self.column({}, "datname"))
        self.observer.run("CREATE DATABASE elsewhere OWNER store")
        settings = {**self.postgres.daemon_settings(), "database.name": "elsewhere"}
        self.assertEqual(0, harness.run_daemon("migrate", settings=settings).returncode)
        self.assertEqual(["elsewhere"], self.column({}, "datname", name="elsewhere"))

    @effect_of("database.statement_timeout")
    def test_statement_timeout_ends_a_statement_and_not_its_connection(self):
        daemon = self.start({"database.statement_timeout": "400ms"})
        self.finish(self.lists(daemon, 1))
        self.assertEqual(["400"], [row[0] for row in self.observer.rows(
            "SELECT DISTINCT value FROM seen WHERE name = 'statement_timeout' AND application = %s",
            daemon.application)])
        self.gate(seconds=2)
        self.assertEqual(grpc.StatusCode.DEADLINE_EXCEEDED, self.lists(daemon, 1)[0].exception().code())
        self.gate(seconds=0)
        self.assertEqual(0, self.closed(daemon, "deadline"))
        self.finish(self.lists(daemon, 1))

    @effect_of("database.query_grace")
    def test_an_answer_is_waited_for_until_statement_timeout_and_grace(self):
        took = {}
        for grace in ("200ms", "2s"):
            daemon = self.start({"database.statement_timeout": "500ms",
                                 "database.query_grace": grace, "database.close_timeout": "100ms"})
            pid = self.observer.backends(daemon.application)[3][0]
            os.kill(pid, signal.SIGSTOP)
            start = time.monotonic()
            try:
                self.lists(daemon, 1)[0].exception()
                took[grace] = time.monotonic() - start
            finally:
                os.kill(pid, signal.SIGCONT)
        self.assertGreater(took["200ms"], 0.6)
        self.assertLess(took["200ms"], 2.4)
        self.assertGreater(took["2s"], 2.4)


class KernelTest(slow_store.PoolCase):
    """What the daemon asked of its sockets: read from them, through the kernel."""

    PIDFD_OPEN, PIDFD_GETFD = 434, 438

    def option(self, settings, option):
        daemon = self.start(settings)
        libc = ctypes.CDLL(None, use_errno=True)
        pidfd = libc.syscall(self.PIDFD_OPEN, daemon.process.pid, 0)
        self.assertGreaterEqual(pidfd, 0)
        try:
            return self.option_of_fds(daemon, libc, pidfd, option)
        finally:
            os.close(pidfd)

    def option_of_fds(self, daemon, libc, pidfd, option):
        for entry in os.listdir(f"/proc/{daemon.process.pid}/fd"):
            fd = libc.syscall(self.PIDFD_GETFD, pidfd, int(entry), 0)
            if fd < 0:
                continue
            try:
                with socket.socket(fileno=fd) as sock:
                    if sock.getpeername()[1] == self.postgres.port:
                        return sock.getsockopt(socket.IPPROTO_TCP, option)
            except OSError:
                pass  # no connected socket
        self.fail("no connection to PostgreSQL")
        return None

    def check(self, key, value, option, default, changed):
        self.assertEqual(default, self.option({}, option))
        self.assertEqual(changed, self.option({key: value}, option))

    @effect_of("database.tcp_keepalive_idle")
    def test_keepalive_idle(self):
        self.check("database.tcp_keepalive_idle", "45s", socket.TCP_KEEPIDLE, 30, 45)

    @effect_of("database.tcp_keepalive_interval")
    def test_keepalive_interval(self):
        self.check("database.tcp_keepalive_interval", "4s", socket.TCP_KEEPINTVL, 10, 4)

    @effect_of("database.tcp_keepalive_count")
    def test_keepalive_count(self):
        self.check("database.tcp_keepalive_count", "7", socket.TCP_KEEPCNT, 3, 7)

    @effect_of("database.tcp_user_timeout")
    def test_user_timeout(self):
        self.check("database.tcp_user_timeout", "1500ms", socket.TCP_USER_TIMEOUT, 20000, 1500)


if __name__ == "__main__":
    unittest.main(verbosity=2)
