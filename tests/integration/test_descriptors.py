"""How many files the daemon may have open, and what is kept of them when they are few."""

import pathlib
import resource
import socket
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import events, harness  # noqa: E402

FEW = 64
CROWD = 80


class DescriptorCase(harness.PostgresCase):
    def start_limited(self, soft, hard, settings=None, **options):
        """A daemon that is started with these limits of open files."""
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        start = harness.subprocess.Popen

        def limited(*args, **more):
            return start(*args, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
                         **more)
        harness.subprocess.Popen = limited
        try:
            return self.start_daemon(settings, **options)
        finally:
            harness.subprocess.Popen = start
            self.assertEqual(before, resource.getrlimit(resource.RLIMIT_NOFILE))

    def write(self, stub):
        stub.WriteEvents(self.stubs.store.WriteEventsRequest(events=[events.make(self.stubs)]), timeout=60)

    def limits(self, daemon):
        """Clients and readers of pages, as they are in effect."""
        metrics = daemon.metrics()
        return metrics["auditstore_grpc_max_connections"], metrics["auditstore_http_max_connections"]


class LimitTest(DescriptorCase):
    def test_the_soft_limit_is_raised_to_the_hard_one(self):
        daemon = self.start_limited(256, 4096)
        self.assertEqual(4096, daemon.metrics()["process_max_fds"])
        self.assertIn("descriptors limit=4096 needed=1121 server_max_connections=1000", daemon.log())
        self.assertEqual((1000, 64), self.limits(daemon))

    def test_what_does_not_fit_is_lowered_and_said(self):
        daemon = self.start_limited(FEW, FEW)
        self.assertEqual((5, 2), self.limits(daemon))
        for setting, asked, effective in (("server.max_connections", 1000, 5), ("http.max_connections", 64, 2)):
            self.assertRegex(daemon.log(), f"{setting}: warning: .* lowered from {asked} to {effective};")
        with daemon.channel() as channel:
            info = self.stubs.admin_grpc.AdminStub(channel).GetServerInfo(
                self.stubs.admin.GetServerInfoRequest(), timeout=30)
        shown = {setting.key: (setting.value, setting.source) for setting in info.settings}
        self.assertEqual(("5", "clamped from 1000, default"), shown["server.max_connections"])

    def test_a_limit_that_has_no_room_for_clients_is_refused(self):
        with self.assertRaises(RuntimeError):
            self.start_limited(59, 59)

    def test_a_reload_lowers_the_pool_and_leaves_the_ports(self):
        config = self.folder / "few.yaml"
        settings = {"database.max_idle_conns": 5}
        harness.write_config(config, settings)
        daemon = self.start_limited(FEW, FEW, config=config)

        def reload(more):
            said = daemon.log().count("settings reloaded")
            harness.write_config(config, {**settings, **more})
            daemon.signal(harness.signal.SIGHUP)
            harness.wait_until(lambda: daemon.log().count("settings reloaded") > said)
        reload({})
        self.assertNotIn("takes effect with a restart", daemon.log())
        self.assertIn("changed=0 need_restart=0", daemon.log())
        reload({"database.max_open_conns": 40})
        self.assertEqual(25, daemon.metrics()["auditstore_pool_max_open"])
        self.assertEqual((5, 2), self.limits(daemon))
        self.assertRegex(daemon.log(), "database.max_open_conns: warning: .* lowered from 40 to 25")


class CrowdTest(DescriptorCase):
    def crowd(self, port):
        for _ in range(CROWD):
            sock = socket.create_connection(("127.0.0.1", port))
            self.addCleanup(sock.close)

    def test_idle_connections_take_neither_the_database_nor_the_pages(self):
        daemon = self.start_limited(FEW, FEW, {"database.application_name": "few"})
        stub = self.open_stub(daemon)
        self.write(stub)
        self.crowd(daemon.port)
        self.crowd(int(daemon.http_port_file.read_text()))
        for _ in range(3):
            self.postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                              " WHERE application_name = 'few'")
            harness.wait_until(lambda: self.is_written(stub), what="a write after the connections were ended")
            for path in ("/livez", "/readyz", "/metrics"):
                self.assertEqual(200, self.daemon_get(daemon, path))
        metrics = daemon.metrics()
        self.assertEqual(0, metrics["auditstore_grpc_accepts_postponed_total"])
        self.assertEqual(0, metrics["auditstore_http_accepts_postponed_total"])
        self.assertLess(metrics["process_open_fds"], FEW)

    def daemon_get(self, daemon, path):
        """Readiness comes back within a moment."""
        harness.wait_until(lambda: daemon.http_get(path)[0] == 200, what=path)
        return 200

    def is_written(self, stub):
        try:
            self.write(stub)
            return True
        except harness.grpc.RpcError as error:
            self.assertEqual(harness.grpc.StatusCode.UNAVAILABLE, error.code())
            return False


class ExhaustedTest(DescriptorCase):
    def test_connections_that_the_system_has_nothing_for_are_counted_and_logged_once(self):
        daemon = self.start_limited(200, 200, {"server.max_connections": 50})
        stub = self.open_stub(daemon)
        self.write(stub)
        now_open = int(daemon.metrics()["process_open_fds"])
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (now_open, 200))
        self.crowd_of(daemon)
        # Not by log(), which asks the pages: there is no descriptor for them, and the crowd's time runs.
        harness.wait_until(lambda: b"connections wait" in daemon.log_file.read_bytes(),
                           what="a line in the log")
        self.write(stub)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (200, 200))
        harness.wait_until(lambda: daemon.metrics()["auditstore_grpc_connections"] >= 30)
        self.assertEqual(1, daemon.log().count("connections wait"))
        self.assertGreater(daemon.metrics()["auditstore_grpc_accepts_postponed_total"], 0)

    def crowd_of(self, daemon):
        for _ in range(30):
            sock = socket.create_connection(("127.0.0.1", daemon.port))
            self.addCleanup(sock.close)


if __name__ == "__main__":
    unittest.main(verbosity=2)
