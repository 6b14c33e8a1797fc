"""Settings that change while the daemon runs: log, metrics and behaviour say the same."""

import pathlib
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness, slow_store  # noqa: E402


class ReloadTest(slow_store.PoolCase):
    def check_shown(self, daemon, expected):
        """expected: {key: (value, source, gauge's name or None, gauge's value)}"""
        ready = self.ready_lines(daemon)[-1]
        for key, (value, source, gauge, number) in expected.items():
            self.assertEqual((value, source), (ready[key], ready[key + "_source"]), key)
            if gauge:
                self.assertEqual(number, self.pool(daemon, gauge), gauge)

    def test_log_metrics_and_behaviour_say_the_same_before_and_after(self):
        daemon = self.start({"database.max_open_conns": 3, "database.conn_max_lifetime": "20m"})
        file = str(daemon.config)
        self.check_shown(daemon, {
            "max_open_conns": ("3", f"{file}:5", "max_open", 3),
            "max_idle_conns": ("3", "clamped from 5, default", "max_idle", 3),
            "conn_max_lifetime": ("20m", f"{file}:6", "conn_max_lifetime_seconds", 1200),
            "conn_max_idle_time": ("10m", "default", "conn_max_idle_time_seconds", 600),
            "user": ("store", "command line", None, None)})
        self.gate(seconds=0.05)
        self.assertEqual(3, self.most_of(daemon))
        self.reload(daemon, {"database.max_open_conns": 8, "database.max_idle_conns": 2,
                             "database.conn_max_lifetime": "10m"})
        harness.wait_until(lambda: len(self.ready_lines(daemon)) == 2)
        self.check_shown(daemon, {
            "max_open_conns": ("8", f"reload {file}:5", "max_open", 8),
            "max_idle_conns": ("2", f"reload {file}:7", "max_idle", 2),
            "conn_max_lifetime": ("10m", f"reload {file}:6", "conn_max_lifetime_seconds", 600),
            "conn_max_idle_time": ("10m", "default", "conn_max_idle_time_seconds", 600)})
        self.assertEqual(8, self.most_of(daemon))
        self.gate(seconds=0)
        self.wait_count(daemon, 2)

    def most_of(self, daemon):
        with self.watch(daemon) as seen:
            self.finish(self.lists(daemon, 40))
        return seen.most

    def test_a_lowered_limit_ends_no_query_and_a_raised_one_holds_at_once(self):
        daemon = self.start({"database.max_open_conns": 20, "database.max_idle_conns": 20})
        with self.closed_gate():
            futures = self.lists(daemon, 20)
            # A connection that isn't lent yet would be closed for being one too many.
            harness.wait_until(lambda: daemon.metrics()["auditstore_pool_in_use"] == 20, what="use")
            self.reload(daemon, {"database.max_open_conns": 5, "database.max_idle_conns": 5})
            self.assertEqual(20, self.observer.count(daemon.application))
        self.finish(futures)
        self.wait_count(daemon, 5)
        self.assertEqual(15, self.closed(daemon, "resize"))
        self.gate(seconds=0.02)
        self.assertEqual(5, self.most_of(daemon))
        self.gate(seconds=0)
        self.reload(daemon, {"database.max_open_conns": 20, "database.max_idle_conns": 20})
        self.burst(daemon, 20)
        self.assertEqual(20, self.observer.count(daemon.application))

    def test_a_bad_file_changes_nothing_and_says_why(self):
        daemon = self.start({"database.max_open_conns": 3})
        self.reload(daemon, {"database.max_open_conns": 4000}, event="settings not reloaded")
        self.assertIn(f"{daemon.config}:5: database.max_open_conns: got \\\"4000\\\": must be a whole "
                      "number from 1 to 1000", daemon.log())
        self.assertEqual(3, self.pool(daemon, "max_open"))
        self.gate(seconds=0.02)
        self.assertEqual(3, self.most_of(daemon))

    def test_reloads_amid_load_hurt_nobody(self):
        daemon = self.start({"database.max_open_conns": 12})
        self.gate(seconds=0.01)
        failures = []
        is_over = threading.Event()

        def load():
            while not is_over.is_set():
                try:
                    self.finish(self.lists(daemon, 20))
                except Exception as error:  # pylint: disable=broad-except
                    failures.append(error)
        worker = threading.Thread(target=load)
        worker.start()
        with self.watch(daemon) as seen:
            for limit in (2, 12, 5, 9, 3, 12):
                self.reload(daemon, {"database.max_open_conns": limit,
                                     "database.statement_timeout": f"{20 + limit}s"})
        is_over.set()
        worker.join()
        self.assertEqual([], failures)
        self.assertLessEqual(seen.most, 12)


if __name__ == "__main__":
    unittest.main(verbosity=2)
