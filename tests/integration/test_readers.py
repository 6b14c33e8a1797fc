"""What readers may take from writers, and from one another: their turns, and nothing more."""

import hashlib
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from support import harness, slow_store  # noqa: E402
from support.effects import effect_of  # noqa: E402

BY_DEFAULT = {"query.max_running": None}
TOKENS = ("first", "second")


class TurnsCase(slow_store.PoolCase):
    def running(self, daemon):
        """{kind: queries that have their turn}."""
        metrics = daemon.metrics()
        return {kind: metrics[f'auditstore_queries_running{{kind="{kind}"}}']
                for kind in ("indexed", "unindexed")}

    def waiting(self, daemon):
        metrics = daemon.metrics()
        return sum(metrics[f'auditstore_queries_waiting{{kind="{kind}"}}'] for kind in ("indexed", "unindexed"))

    def at_work(self, daemon):
        """How many of the daemon's statements PostgreSQL is at work on."""
        return self.observer.rows("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
                                  " AND state = 'active'", daemon.application)[0][0]

    def wait_settled(self, daemon, running, waiting):
        """Until so many have their turn, as PostgreSQL sees it as well, and so many wait."""
        harness.wait_until(lambda: sum(self.running(daemon).values()) == running
                           and self.waiting(daemon) == waiting and self.at_work(daemon) == running,
                           what=f"{running} queries running and {waiting} waiting")

    def unindexed(self, daemon, count, token=None):
        request = self.stubs.store.ListEventsRequest(filter=self.stubs.store.EventFilter(principals=["nobody"]))
        metadata = [("authorization", f"Bearer {token}")] if token else None
        return [daemon.stub.ListEvents.future(request, timeout=60, metadata=metadata)
                for _ in range(count)]


class BoundsTest(TurnsCase):
    @effect_of("query.max_running_per_principal")
    def test_a_caller_has_two_turns_by_default(self):
        daemon = self.start({"query.max_running_per_principal": None})
        with self.closed_gate():
            futures = self.lists(daemon, 10)
            self.wait_settled(daemon, 2, 8)
        self.finish(futures)

    def test_readers_leave_writers_their_connections(self):
        daemon = self.start({**BY_DEFAULT, "database.max_open_conns": 8})
        with self.closed_gate():
            futures = self.lists(daemon, 40)
            self.wait_settled(daemon, 4, 36)
            for _ in range(20):
                self.write(daemon)
        self.finish(futures)

    @effect_of("query.max_running")
    def test_so_many_run_as_the_settings_the_log_and_the_metrics_say(self):
        for setting, effective in ((2, 2), (None, 6), (9, 9), (10, 10)):
            with self.subTest(setting=setting):
                daemon = self.start({"database.max_open_conns": 10, "query.max_running": setting})
                self.assertEqual(effective, daemon.metrics()["auditstore_queries_max_running"])
                self.assertIn(f" max_running={effective} ", daemon.log())
                with self.closed_gate():
                    futures = self.lists(daemon, 20)
                    self.wait_settled(daemon, effective, 20 - effective)
                self.finish(futures)

    def test_a_reload_changes_how_many_run(self):
        daemon = self.start({"query.max_running": 3})
        with self.closed_gate():
            futures = self.lists(daemon, 10)
            self.wait_settled(daemon, 3, 7)
            self.reload(daemon, {"query.max_running": 5})
            futures += self.lists(daemon, 1)
            self.wait_settled(daemon, 5, 6)
        self.finish(futures)

    @effect_of("query.max_running_per_principal")
    def test_callers_share(self):
        tokens = {name: hashlib.md5(name.encode()).hexdigest() for name in TOKENS}
        file = self.folder / "tokens"
        file.write_text("".join(f"{name} {hashlib.sha256(token.encode()).hexdigest()}\n"
                                for name, token in tokens.items()), encoding="ascii")
        file.chmod(0o640)
        daemon = self.start({"query.max_running": 5, "query.max_running_per_principal": 3,
                             "query.max_unindexed": 5, "access.token_file": str(file),
                             "access.readers": "'*'"})
        with self.closed_gate():
            futures = self.unindexed(daemon, 20, tokens["first"])
            self.wait_settled(daemon, 3, 17)
            futures += self.unindexed(daemon, 1, tokens["second"])
            self.wait_settled(daemon, 4, 17)
        self.finish(futures)

    @effect_of("query.max_unindexed")
    def test_what_no_index_serves_has_fewer_turns(self):
        daemon = self.start({"query.max_running": 6, "query.max_unindexed": 2})
        with self.closed_gate():
            futures = self.unindexed(daemon, 10)
            self.wait_settled(daemon, 2, 8)
            futures += self.lists(daemon, 3)
            self.wait_settled(daemon, 5, 8)
            self.assertEqual({"indexed": 3, "unindexed": 2}, self.running(daemon))
        self.finish(futures)

    @effect_of("query.unindexed_timeout")
    def test_what_no_index_serves_has_less_time_and_the_caller_hears_why(self):
        daemon = self.start({"query.unindexed_timeout": "200ms"})
        self.gate(seconds=1)
        error = self.unindexed(daemon, 1)[0].exception()
        self.assertEqual(grpc.StatusCode.DEADLINE_EXCEEDED, error.code())
        for word in ("query.unindexed_timeout", "no index", "correlation_ids", "start_time"):
            self.assertIn(word, error.details())
        self.finish(self.lists(daemon, 1))

    @effect_of("query.max_waiting")
    def test_no_more_wait_than_allowed(self):
        daemon = self.start({"query.max_running": 2, "query.max_waiting": 3})
        with self.closed_gate():
            futures = self.lists(daemon, 9)
            self.wait_settled(daemon, 2, 3)
            errors = [future.exception() for future in futures[5:]]
        self.finish(futures[:5])
        self.assertEqual({grpc.StatusCode.RESOURCE_EXHAUSTED}, {error.code() for error in errors})
        self.assertIn("query.max_waiting is 3", errors[0].details())
        self.assertEqual(1, len(harness.status_details(errors[0], self.stubs.details.RetryInfo)))
        self.assertEqual(4, daemon.metrics()['auditstore_queries_refused_total{reason="waiting"}'])

    def test_whoever_waits_to_his_deadline_hears_of_the_limits(self):
        daemon = self.start({"query.max_running": 1})
        with self.closed_gate():
            futures = self.lists(daemon, 1)
            self.wait_settled(daemon, 1, 0)
            self.reload(daemon, {"query.timeout": "100ms"})
            error = self.lists(daemon, 1)[0].exception()
        self.finish(futures)
        self.assertEqual(grpc.StatusCode.DEADLINE_EXCEEDED, error.code())
        self.assertIn("query.max_running (1)", error.details())


class CancelTest(TurnsCase):
    def test_a_query_that_is_cancelled_and_ends_soon_costs_no_connection(self):
        daemon = self.start({"query.max_running": 4})
        for _ in range(100):
            with self.closed_gate():
                (future,) = self.lists(daemon, 1)
                self.wait_settled(daemon, 1, 0)
                future.cancel()
            self.wait_settled(daemon, 0, 0)
            if self.pool(daemon, "opened_total") > 20:
                break
        self.assertLess(self.closed(daemon, "cancel"), 20)
        self.assertGreater(daemon.metrics()["auditstore_queries_abandoned_total"], 50)

    def test_who_cancels_has_no_more_at_work_than_who_waits(self):
        daemon = self.start({**BY_DEFAULT, "database.max_open_conns": 8})
        with self.closed_gate(), self.watch(daemon) as seen:
            for _ in range(10):
                futures = self.lists(daemon, 20)
                self.wait_settled(daemon, 4, 16)
                for future in futures:
                    future.cancel()
                self.write(daemon)
                self.wait_settled(daemon, 0, 0)
        self.assertLessEqual(seen.most, 4 + 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
