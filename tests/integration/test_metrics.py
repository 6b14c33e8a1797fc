"""The operators' pages of a real daemon on a real PostgreSQL: /metrics, /livez, /readyz."""

import concurrent.futures
import http.client
import pathlib
import re
import signal
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402

from support import events, harness  # noqa: E402

POOL = "auditstore_pool_"
REFERENCE = harness.ROOT / "docs" / "metrics.md"
RULES = harness.ROOT / "packaging" / "prometheus" / "auditstore.rules.yml"

GO_SQL = {
    "go_sql_max_open_connections": "gauge", "go_sql_open_connections": "gauge",
    "go_sql_in_use_connections": "gauge", "go_sql_idle_connections": "gauge",
    "go_sql_wait_count_total": "counter", "go_sql_wait_duration_seconds_total": "counter",
    "go_sql_max_idle_closed_total": "counter", "go_sql_max_idle_time_closed_total": "counter",
    "go_sql_max_lifetime_closed_total": "counter",
}


def families_of(text):
    """{name: (type, help, samples)}; counters by the name that their samples have."""
    found = {}
    for family in text_string_to_metric_families(text):
        name = family.name + ("_total" if family.type == "counter" else "")
        if name in found:
            raise AssertionError(f"{name} stands there twice")
        found[name] = (family.type, family.documentation, family.samples)
    return found


def sum_of(metrics, name):
    """Over all labels."""
    return sum(value for key, value in metrics.items() if key.startswith(name + "{"))


class MetricsTest(harness.StoreCase):
    settings = {"database.max_open_conns": 6, "database.max_idle_conns": 2, "ingest.lanes": 4,
                "ingest.min_split_events": 1, "database.idle_shrink_delay": "100ms"}

    def page(self):
        status, text = self.daemon.http_get("/metrics")
        self.assertEqual(200, status)
        return text

    def write(self, *batch):
        return self.stub.WriteEvents(self.stubs.store.WriteEventsRequest(events=batch), timeout=30)

    def write_in_parallel(self, count):
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            list(pool.map(lambda n: self.write(events.make(self.stubs, n)), range(count)))

    def test_every_line_follows_the_text_format(self):
        name = r"[a-z_][a-z0-9_]*"
        number = r"(-?[0-9]+(\.[0-9]+)?|\+Inf)"
        sample = re.compile(rf'{name}(\{{{name}="([^"\\\n]|\\[\\"n])*"\}})? {number}')
        for line in self.page().splitlines():
            with self.subTest(line=line):
                if line.startswith("#"):
                    self.assertRegex(line, rf"^# (HELP {name} \S.*|TYPE {name} (gauge|counter|histogram))$")
                else:
                    self.assertTrue(sample.fullmatch(line))
        self.assertTrue(self.page().endswith("\n"))

    def test_every_family_has_a_type_a_help_and_its_samples_together(self):
        text = self.page()
        names = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
        self.assertEqual(sorted(set(names)), sorted(names))
        self.assertEqual(names, re.findall(r"^# HELP (\S+)", text, re.MULTILINE))
        for name, (kind, help_text, samples) in families_of(text).items():
            with self.subTest(name=name):
                self.assertIn(kind, ("gauge", "counter", "histogram"))
                self.assertEqual(kind == "counter", name.endswith("_total"))
                self.assertTrue(help_text.endswith("."))
                self.assertTrue(samples)
                keys = [(s.name, tuple(s.labels.items())) for s in samples]
                self.assertEqual(len(set(keys)), len(keys))
                if kind == "counter":
                    self.assertTrue(all(s.value >= 0 for s in samples))

    def test_histograms_are_cumulative_and_agree_with_their_count(self):
        self.write(events.make(self.stubs))
        histograms = {name: samples for name, (kind, _, samples) in families_of(self.page()).items()
                      if kind == "histogram"}
        self.assertEqual(6, len(histograms))
        for name, samples in histograms.items():
            with self.subTest(name=name):
                buckets = [(float(s.labels["le"]), s.value) for s in samples
                           if s.name == name + "_bucket"]
                self.assertEqual(sorted(buckets), buckets)
                self.assertEqual(sorted(v for _, v in buckets), [v for _, v in buckets])
                rest = {s.name: s.value for s in samples if s.name != name + "_bucket"}
                self.assertEqual({name + "_sum", name + "_count"}, set(rest))
                self.assertEqual((float("inf"), rest[name + "_count"]), buckets[-1])
                self.assertGreater(rest[name + "_count"], 0)
                self.assertGreater(rest[name + "_sum"], 0)

    def test_the_reference_is_current_and_names_every_family(self):
        printed = harness.run_daemon("--print-metrics-reference")
        self.assertEqual(0, printed.returncode)
        self.assertEqual(REFERENCE.read_text(encoding="utf-8"), printed.stdout,
                         "auditstored --print-metrics-reference > docs/metrics.md")
        rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (?:`(\w+)`)? ?\| .+ \|$", printed.stdout, re.MULTILINE)
        shown = {(name, kind, label)
                 for name, (kind, _, samples) in families_of(self.page()).items()
                 for label in {next((x for x in s.labels if x != "le"), "") for s in samples}}
        self.assertEqual(sorted(shown), sorted(rows))

    def test_every_series_of_the_alert_rules_exists(self):
        metrics = self.daemon.metrics()
        names = {key.split("{")[0] for key in metrics}
        rules = RULES.read_text(encoding="utf-8")
        used = re.findall(r"\b((?:auditstore|go_sql|process)_[a-z_]+)(\{[^}]*\})?", rules)
        self.assertGreater(len(used), 10)
        for name, labels in used:
            with self.subTest(name=name, labels=labels):
                self.assertIn(name + labels, metrics if labels else names)

    def test_go_services_names_have_their_types_and_meanings(self):
        self.write_in_parallel(100)
        text = self.page()
        found = families_of(text)
        metrics = {s.name: s for f in found.values() for s in f[2] if not s.name.endswith("_bucket")}
        shown = {name: kind for name, (kind, _, _) in found.items() if name.startswith("go_sql_")}
        self.assertEqual(GO_SQL, shown)
        for name in GO_SQL:
            self.assertEqual({"db_name": "auditstore"}, metrics[name].labels)

        def go(name):
            return metrics["go_sql_" + name].value

        def pool(name):
            return metrics[POOL + name].value
        self.assertEqual(6, go("max_open_connections"))
        self.assertEqual(pool("waits_total"), go("wait_count_total"))
        self.assertEqual(pool("wait_seconds_total"), go("wait_duration_seconds_total"))
        self.assertGreater(go("wait_count_total"), 0)

    def check_sums(self, metrics):
        closed = sum_of(metrics, POOL + "closed_total")
        self.assertEqual(metrics[POOL + "opened_total"] - closed, metrics[POOL + "open"])
        self.assertEqual(metrics[POOL + "in_use"] + metrics[POOL + "idle"], metrics[POOL + "open"])
        taken = sum(metrics[POOL + name] for name in ("open", "connecting", "closing"))
        self.assertLessEqual(taken, metrics[POOL + "max_open"])
        self.assertEqual(1, sum_of(metrics, POOL + "state"))
        # Go counts what is being opened or closed as open and in use.
        go_open, go_idle, go_in_use = (metrics[f'go_sql_{name}_connections{{db_name="auditstore"}}']
                                       for name in ("open", "idle", "in_use"))
        self.assertEqual((taken, metrics[POOL + "idle"]), (go_open, go_idle))
        self.assertEqual(go_open - go_idle, go_in_use)
        for go, reason in (("max_idle", "max_idle"), ("max_idle_time", "idle_time"),
                           ("max_lifetime", "lifetime")):
            self.assertEqual(metrics[f'{POOL}closed_total{{reason="{reason}"}}'],
                             metrics[f'go_sql_{go}_closed_total{{db_name="auditstore"}}'])

    def test_no_connection_is_unaccounted_for_at_any_moment(self):
        opened = self.daemon.metrics()[POOL + "opened_total"]
        for _ in range(5):
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                work = pool.submit(self.write_in_parallel, 100)
                while not work.done():
                    self.check_sums(self.daemon.metrics())
                work.result()
            harness.wait_until(self.is_at_rest, what="no more than max_idle_conns are open")
            self.check_sums(self.daemon.metrics())
        self.assertGreater(self.daemon.metrics()[POOL + "opened_total"], opened)
        self.assertGreater(self.daemon.metrics()[POOL + 'closed_total{reason="max_idle"}'], 0)

    def is_at_rest(self):
        metrics = self.daemon.metrics()
        return metrics[POOL + "open"] <= 2 and metrics[POOL + "closing"] == 0

    def test_the_server_counts_as_many_connections(self):
        self.write_in_parallel(50)

        harness.wait_until(self.is_at_rest, what="no more than max_idle_conns are open")
        seen = self.postgres.value("SELECT count(*) FROM pg_stat_activity"
                                   " WHERE application_name = 'auditstored'")
        metrics = self.daemon.metrics()
        self.assertEqual(int(seen), metrics[POOL + "open"])
        self.assertEqual(0, metrics[POOL + "connecting"] + metrics[POOL + "closing"])
        self.assertGreater(metrics[POOL + "open"], 0)

    def test_the_server_s_own_limits_are_shown(self):
        limit = int(self.postgres.value("SHOW max_connections"))
        metrics = self.daemon.metrics()
        self.assertEqual(limit, metrics[POOL + "server_max_connections"])
        # This daemon's role is a superuser: nothing is reserved from it.
        self.assertEqual(limit, metrics[POOL + "server_usable_connections"])
        self.assertGreater(metrics[POOL + "memory_bytes"], 0)

    def test_what_is_written_is_counted_once(self):
        before = self.daemon.metrics()
        self.write(*[events.make(self.stubs, n) for n in range(30)])
        event = events.make(self.stubs, 31, event_id=events.new_id())
        self.write(event)
        self.write(event)
        after = self.daemon.metrics()

        def grown(name):
            return after["auditstore_ingest_" + name] - before["auditstore_ingest_" + name]
        self.assertEqual(31, grown("batch_events_sum"))
        self.assertEqual(2, grown('batches_total{result="committed"}'))
        self.assertEqual(1, grown('batches_total{result="refused"}'))
        self.assertEqual(2, grown("commit_seconds_count"))
        self.assertEqual(3, grown("queue_seconds_count"))
        self.assertEqual(0, grown('refused_total{why="queue_full"}'))

    def test_the_process_is_described(self):
        metrics = self.daemon.metrics()
        version = harness.run_daemon("--version").stdout.split()[1]
        self.assertEqual(1, metrics[f'auditstore_build_info{{version="{version}"}}'])
        status = pathlib.Path(f"/proc/{self.daemon.process.pid}/status").read_text(encoding="ascii")
        resident = int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) * 1024
        self.assertLess(abs(metrics["process_resident_memory_bytes"] - resident), resident / 2)
        # The loop's, the log's and libuv's four for what blocks.
        self.assertEqual("6", re.search(r"Threads:\s+(\d+)", status).group(1))
        self.assertGreater(metrics["process_open_fds"], 5)

    def test_head_has_no_content_and_other_methods_are_refused(self):
        self.assertEqual((200, ""), self.daemon.http_get("/metrics", "HEAD"))
        self.assertEqual(405, self.daemon.http_get("/metrics", "POST")[0])
        status, text = self.daemon.http_get("/")
        self.assertEqual((404, ["/metrics", "/livez", "/readyz"]), (status, text.splitlines()[1:]))

    def test_settings_that_are_off_are_infinite(self):
        daemon = self.start_daemon({"database.conn_max_lifetime": "off",
                                    "database.conn_max_idle_time": "off",
                                    "database.max_idle_conns": "off"})
        metrics = daemon.metrics()
        self.assertEqual(float("inf"), metrics[POOL + "conn_max_lifetime_seconds"])
        self.assertEqual(float("inf"), metrics[POOL + "conn_max_idle_time_seconds"])
        self.assertEqual(0, metrics[POOL + "max_idle"])


class ReadinessTest(harness.PostgresCase):
    def assert_page(self, daemon, path, status, *texts):
        got, text = daemon.http_get(path)
        self.assertEqual(status, got, text)
        for expected in texts:
            self.assertIn(expected, text)

    def wait_ready(self, daemon, status):
        harness.wait_until(lambda: daemon.http_get("/readyz")[0] == status, 60, f"/readyz {status}")

    def test_readiness_follows_the_database_and_liveness_does_not(self):
        daemon = self.start_daemon()
        self.assert_page(daemon, "/readyz", 200, "ok")
        self.assertEqual(1, daemon.metrics()["auditstore_ready"])
        self.postgres.stop()
        try:
            self.wait_ready(daemon, 503)
            self.assert_page(daemon, "/readyz", 503, "not ready: ", "nobody listens")
            self.assert_page(daemon, "/livez", 200, "ok")
            self.assertEqual(0, daemon.metrics()["auditstore_ready"])
            self.assertEqual(1, daemon.metrics()[POOL + 'state{state="down"}'])
            self.assertGreater(sum_of(daemon.metrics(), POOL + "open_failures_total"), 0)
        finally:
            self.postgres.restart()
        self.wait_ready(daemon, 200)
        self.assertEqual(1, daemon.metrics()[POOL + 'state{state="up"}'])
        self.assertEqual(1, daemon.metrics()["auditstore_ready"])

    def test_a_daemon_that_waits_for_its_database_is_alive_and_says_what_it_waits_for(self):
        self.postgres.stop()
        try:
            daemon = self.start_daemon(wait_serving=False)
            harness.wait_until(lambda: "nobody listens" in daemon.http_get("/readyz")[1], what="the reason")
            self.assert_page(daemon, "/readyz", 503, "not ready: ")
            self.assert_page(daemon, "/livez", 200)
        finally:
            self.postgres.restart()
        self.wait_ready(daemon, 200)

    def test_readiness_ends_when_draining_begins_and_the_port_when_it_is_over(self):
        daemon = self.start_daemon()
        stub = self.open_stub(daemon)
        with self.postgres.locked("ledgers"):
            call = stub.WriteEvents.future(
                self.stubs.store.WriteEventsRequest(events=[events.make(self.stubs)]), timeout=60)
            harness.wait_until(self.a_write_is_blocked, what="the write waits")
            daemon.signal(signal.SIGTERM)
            self.wait_ready(daemon, 503)
            self.assert_page(daemon, "/readyz", 503, "not ready: stopping")
            self.assert_page(daemon, "/livez", 200, "ok")
            self.assertEqual(0, daemon.metrics()["auditstore_ready"])
            self.assertEqual(1, daemon.metrics()[POOL + "in_use"])
        self.assertEqual(1, len(call.result(timeout=60).receipts))
        self.assertEqual(0, daemon.wait())
        with self.assertRaises(ConnectionRefusedError):
            daemon.http_get("/livez")

    def a_write_is_blocked(self):
        return self.postgres.value("SELECT count(*) FROM pg_stat_activity WHERE"
                                   " application_name = 'auditstored' AND wait_event_type = 'Lock'") == "1"

    def test_a_scrape_that_stays_connected_does_not_hold_up_the_end(self):
        daemon = self.start_daemon()
        port = int(daemon.http_port_file.read_text(encoding="ascii"))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.addCleanup(connection.close)
        connection.request("GET", "/livez")
        self.assertEqual(b"ok\n", connection.getresponse().read())
        self.assertEqual(0, daemon.stop())

    def test_off_opens_no_port(self):
        daemon = self.start_daemon({"http.listen": "off"})
        self.assertFalse(daemon.http_port_file.exists())
        self.assertEqual(1, self.listening_sockets(daemon))
        self.assertEqual(2, self.listening_sockets(self.start_daemon()))

    def listening_sockets(self, daemon):
        folder = pathlib.Path(f"/proc/{daemon.process.pid}")
        inodes = {m.group(1) for m in (re.match(r"socket:\[(\d+)\]", str(fd.readlink()))
                                       for fd in (folder / "fd").iterdir()) if m}
        rows = [line.split() for line in (folder / "net" / "tcp").read_text("ascii").splitlines()[1:]]
        return sum(1 for row in rows if row[3] == "0A" and row[9] in inodes)

    def test_a_taken_port_and_a_bad_port_file_end_the_start_by_the_setting_s_name(self):
        daemon = self.start_daemon()
        taken = int(daemon.http_port_file.read_text(encoding="ascii"))
        done = harness.run_daemon(settings={**self.postgres.daemon_settings(),
                                            "server.listen": "127.0.0.1:0",
                                            "http.listen": f"127.0.0.1:{taken}"})
        self.assertEqual(1, done.returncode)
        self.assertIn(f"http.listen: can't listen on 127.0.0.1:{taken}: Address already in use",
                      done.stderr)
        done = harness.run_daemon(settings={**self.postgres.daemon_settings(),
                                            "server.listen": "127.0.0.1:0",
                                            "http.listen": "127.0.0.1:0",
                                            "http.port_file": "/nowhere/port"})
        self.assertEqual(1, done.returncode)
        self.assertIn("http.port_file: /nowhere/port.tmp: No such file or directory", done.stderr)


if __name__ == "__main__":
    unittest.main()
