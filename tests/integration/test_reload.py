"""SIGHUP: the daemon reads its settings again while it runs."""

import json
import os
import pathlib
import signal
import sys
import threading
import unittest

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import events, harness, ledgers  # noqa: E402


class ReloadCase(harness.PostgresCase):
    def start(self, settings, overrides=None, **more):
        self.file = self.folder / f"{self.id().rsplit('.', 1)[1]}.yaml"
        harness.write_config(self.file, settings)
        self.daemon = self.start_daemon(overrides, config=self.file, **more)
        self.stub = self.open_stub(self.daemon)

    def events(self, name):
        """The log's lines of one event."""
        return [line for line in self.daemon.log().splitlines() if name in line]

    def reload(self, settings=None, event="settings reloaded"):
        """Rewrites the file (unless None), reloads, and waits until the log tells of it."""
        before = len(self.events(event))
        if settings is not None:
            harness.write_config(self.file, settings)
        self.daemon.signal(signal.SIGHUP)
        harness.wait_until(lambda: len(self.events(event)) > before, what=event)
        return self.events(event)[before]

    def setting(self, key):
        with self.daemon.channel() as channel:
            info = self.stubs.admin_grpc.AdminStub(channel).GetServerInfo(
                self.stubs.admin.GetServerInfoRequest(), timeout=30)
        return next((s.value, s.source) for s in info.settings if s.key == key)

    def write(self, count=1, **fields):
        request = self.stubs.store.WriteEventsRequest(
            events=[events.make(self.stubs, i, **fields) for i in range(count)])
        return self.stub.WriteEvents(request, timeout=60)

    def refusal(self, call, *args, **more):
        with self.assertRaises(grpc.RpcError) as caught:
            call(*args, **more)
        return caught.exception.code().name

    def page(self, size=0):
        return len(self.stub.ListEvents(self.stubs.store.ListEventsRequest(page_size=size),
                                        timeout=60).events)


class LogTest(ReloadCase):
    def test_level_and_format_change_at_once(self):
        self.start({"log.level": "info", "log.format": "text"})
        self.reload({"log.level": "info", "log.format": "json"})
        line = json.loads(self.daemon.log().splitlines()[-1])
        self.assertEqual(("settings reloaded", 1), (line["event"], line["changed"]))
        self.assertNotIn('"level":"debug"', self.daemon.log())
        harness.write_config(self.file, {"log.level": "error", "log.format": "json"})
        self.daemon.signal(signal.SIGHUP)
        harness.wait_until(lambda: self.setting("log.level")[0] == "error")
        self.assertEqual(1, len(self.events("settings reloaded")))
        self.reload({"log.level": "debug", "log.format": "text", "database.max_idle_conns": "off",
                     "database.idle_shrink_delay": "off"})
        self.write()
        harness.wait_until(lambda: self.events("pool connection closed"))


class LiveTest(ReloadCase):
    def test_limits_of_queries_change(self):
        self.start({"query.default_page_size": 5, "query.max_page_size": 8})
        self.write(30)
        self.assertEqual((5, 8), (self.page(), self.page(20)))
        self.reload({"query.default_page_size": 3, "query.max_page_size": 20})
        self.assertEqual((3, 20), (self.page(), self.page(20)))
        with self.postgres.locked("audit_events"):
            self.reload({"query.timeout": "50ms"})
            self.assertEqual("DEADLINE_EXCEEDED", self.refusal(self.page))
        self.reload({})
        self.assertLessEqual(30, self.page(1000))

    def test_limits_of_writes_change(self):
        self.start({"ingest.max_event_age": "off"})
        old = self.stubs.event.AuditEvent().event_time
        old.FromSeconds(1_700_000_000)
        self.write(5, event_time=old)
        self.reload({"ingest.max_request_events": 4})
        self.assertEqual("INVALID_ARGUMENT", self.refusal(self.write, 5))
        self.assertEqual("INVALID_ARGUMENT", self.refusal(self.write, 1, event_time=old))
        self.write(4)
        self.reload({"ingest.max_request_events": 6, "ingest.max_event_age": "off"})
        self.write(6, event_time=old)

    def test_the_time_to_stop_changes(self):
        patient = {"database.statement_timeout": "5m", "query.timeout": "5m"}
        self.start({"shutdown.timeout": "10m", **patient})
        self.reload({"shutdown.timeout": "1s", **patient})
        with self.postgres.locked("audit_events"):
            call = self.stub.ListEvents.future(self.stubs.store.ListEventsRequest(), timeout=300)
            harness.wait_until(lambda: self.daemon.metrics()["auditstore_pool_in_use"] > 0)
            self.daemon.signal(signal.SIGTERM)
            self.assertEqual(1, self.daemon.wait(), self.daemon.log())
        self.assertTrue(self.events("shutdown.timeout passed"))
        self.assertEqual("UNAVAILABLE", self.refusal(call.result, timeout=60))

    def test_the_source_of_each_change_is_told(self):
        self.start({"query.timeout": "7s", "database.max_open_conns": 20})
        line = self.reload({"query.timeout": "8s"})
        self.assertIn("changed=2", line)
        self.assertIn("need_restart=0", line)
        self.assertEqual(("8s", f"reload {self.file}:2"), self.setting("query.timeout"))
        self.assertEqual(("25", "reload default"), self.setting("database.max_open_conns"))
        self.assertIn("changed=0", self.reload())

    def test_the_command_line_still_wins(self):
        self.start({"query.default_page_size": 5}, {"query.default_page_size": 4})
        self.assertIn("changed=0", self.reload({"query.default_page_size": 7}))
        self.assertEqual(("4", "command line"), self.setting("query.default_page_size"))

    def test_what_makes_no_sense_is_warned_of(self):
        self.start({})
        self.reload({"database.max_open_conns": 4, "database.max_idle_conns": 9})
        self.assertIn(f"{self.file}:3: database.max_idle_conns: warning: above max_open_conns: "
                      "clamped to it", self.daemon.log())
        self.assertEqual(("4", f"clamped from 9, reload {self.file}:3"),
                         self.setting("database.max_idle_conns"))


class BadFileTest(ReloadCase):
    def check_unchanged(self, *problems):
        for problem in problems:
            lines = [line for line in self.events("settings not reloaded") if problem in line]
            self.assertEqual(1, len(lines), f"{problem}\n{self.daemon.log()}")
        self.assertEqual(("7", f"{self.file}:2"), self.setting("query.default_page_size"))
        self.assertEqual(7, self.page())
        self.assertEqual([], self.events("settings reloaded"))

    def start_serving(self):
        self.start({"query.default_page_size": 7})
        self.write(9)
        self.assertEqual(7, self.page())

    def test_it_changes_nothing_and_says_all_that_is_wrong(self):
        self.start_serving()
        self.reload({"query.default_page_size": 8, "query.timeout": "5", "log.level": "loud",
                     "database.max_open_con": 5, "database.min_idle_conns": 6},
                    event="settings not reloaded")
        self.check_unchanged("3: query.timeout: got", "5: log.level: got",
                             "7: database.max_open_con: unknown key (did you mean max_open_conns?)",
                             "8: database.min_idle_conns: got")
        self.reload({"query.default_page_size": 8})
        self.assertEqual(8, self.page())

    def test_what_is_warned_of_is_no_error_beside_one(self):
        self.start_serving()
        self.reload({"query.default_page_size": 8, "query.timeout": "5", "database.max_open_conns": 4,
                     "database.max_idle_conns": 9}, event="settings not reloaded")
        self.check_unchanged("3: query.timeout: got")
        (told,) = self.events("max_idle_conns: warning: above max_open_conns")
        self.assertIn(" WARN  settings problem=", told)

    def test_a_missing_or_unreadable_file_changes_nothing(self):
        self.start_serving()
        self.file.unlink()
        self.reload(event="settings not reloaded")
        self.check_unchanged("No such file")
        self.file.mkdir()
        self.reload(event="settings not reloaded")
        self.check_unchanged("Is a directory")
        self.file.rmdir()
        self.file.write_text("query: [\n", encoding="ascii")
        self.reload(event="settings not reloaded")
        self.assertEqual(7, self.page())

    def test_a_pipe_is_not_waited_for(self):
        self.start_serving()
        self.file.unlink()
        os.mkfifo(self.file)
        self.reload(event="settings not reloaded")
        self.check_unchanged("is no regular file")

    def test_an_empty_file_means_the_defaults(self):
        self.start_serving()
        self.reload({})
        self.assertEqual(("100", "reload default"), self.setting("query.default_page_size"))
        self.assertLessEqual(9, self.page())


class RestartTest(ReloadCase):
    def test_what_needs_a_restart_is_named_and_keeps_its_value(self):
        self.start({"ingest.lanes": 3, "query.default_page_size": 7})
        line = self.reload({"ingest.lanes": 4, "storage.partitions_ahead": 5,
                            "database.startup": "require", "query.default_page_size": 8})
        self.assertIn("changed=1", line)
        self.assertIn("need_restart=3", line)
        log = self.daemon.log()
        for place, key, value in ((f"{self.file}:2", "ingest.lanes", "3"),
                                  (f"{self.file}:4", "storage.partitions_ahead", "3"),
                                  (f"{self.file}:6", "database.startup", "wait")):
            self.assertIn(f"{place}: {key}: warning: takes effect with a restart; until then it is "
                          f'\\"{value}\\"', log)
            self.assertEqual(value, self.setting(key)[0])
        self.assertEqual(("3", f"{self.file}:2"), self.setting("ingest.lanes"))
        self.assertEqual(("8", f"reload {self.file}:8"), self.setting("query.default_page_size"))
        self.write(3)

    def test_what_is_kept_must_fit_what_is_new(self):
        self.start({"ingest.lanes": 8})
        self.reload({"ingest.lanes": 2, "database.max_open_conns": 6},
                    event="settings not reloaded")
        self.assertIn("ingest.lanes: got \\\"8\\\": must be below database.max_open_conns",
                      self.daemon.log())
        self.assertEqual("25", self.setting("database.max_open_conns")[0])


class MomentsTest(ReloadCase):
    """Whenever it comes, it does no harm."""

    def test_while_the_daemon_waits_for_postgresql(self):
        """What kept it waiting may be what is mended."""
        self.start({"database.target_session_attrs": "read-only"}, wait_serving=False)
        harness.wait_until(lambda: self.events("waiting for PostgreSQL"))
        self.reload({"database.target_session_attrs": "primary", "query.default_page_size": 3})
        self.daemon.wait_health("SERVING")
        self.assertEqual("3", self.setting("query.default_page_size")[0])
        self.write(4)
        self.assertEqual(3, self.page())

    def test_while_the_daemon_stops(self):
        self.start({"database.statement_timeout": "5m", "query.timeout": "5m"})
        with self.postgres.locked("audit_events"):
            call = self.stub.ListEvents.future(self.stubs.store.ListEventsRequest(), timeout=300)
            harness.wait_until(lambda: self.daemon.metrics()["auditstore_pool_in_use"] > 0)
            self.daemon.signal(signal.SIGTERM)
            harness.wait_until(lambda: self.events("stopping"))
            harness.write_config(self.file, {"database.max_open_conns": 3, "shutdown.timeout": "1s"})
            self.daemon.signal(signal.SIGHUP)
        call.result(timeout=60)
        self.assertEqual(0, self.daemon.wait(), self.daemon.log())
        self.assertEqual([], self.events("settings reloaded"))

    def test_over_and_over_under_load(self):
        self.start({})
        failures = []
        is_over = threading.Event()

        def load():
            while not is_over.is_set():
                try:
                    self.write(20)
                    self.page(10)
                except grpc.RpcError as error:
                    failures.append(error)
        workers = [threading.Thread(target=load) for _ in range(3)]
        for worker in workers:
            worker.start()
        for i in range(15):
            self.reload({"ingest.max_batch_events": 1 + i * 7, "ingest.min_split_events": 1 + i,
                         "ingest.max_queue_events": 2000 + i, "query.timeout": f"{10 + i}s",
                         "database.application_name": f"name{i}",
                         "log.format": ("text", "json")[i % 2]})
        is_over.set()
        for worker in workers:
            worker.join()
        self.assertEqual([], failures)
        ledgers.check(self, self.postgres)


if __name__ == "__main__":
    unittest.main(verbosity=2)
