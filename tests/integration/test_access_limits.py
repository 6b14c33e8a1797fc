"""Quotas of principals, and what becomes of calls that are turned away."""

import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from support import access, harness  # noqa: E402
from support.access import ANONYMOUS, INFO, LIST, WRITE, Caller, Stream  # noqa: E402
from support.effects import effect_of  # noqa: E402


class QuotaTest(access.AccessCase):
    WRITERS = {"access.writers": "'*'", "access.readers": "'*'"}

    def write(self, daemon, caller, count=1, **fields):
        """The error of writing so many events; None: none."""
        request = self.stubs.store.WriteEventsRequest(
            events=[self.make_event(**fields) for _ in range(count)])
        return self.error(daemon, WRITE, caller, request)

    def check_refused(self, status, setting, at_least_s, at_most_s):
        """`status`: the grpc.RpcError of a call, or the status in an answer of a stream."""
        if isinstance(status, grpc.RpcError):
            code, text, reason = self.reason(status)
            (retry,) = harness.status_details(status, self.stubs.details.RetryInfo)
        else:
            code = next(code.name for code in grpc.StatusCode if code.value[0] == status.code)
            text = status.message
            (info,) = harness.details_of(status, self.stubs.details.ErrorInfo)
            (retry,) = harness.details_of(status, self.stubs.details.RetryInfo)
            reason = info.reason
        self.assertEqual(("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), (code, reason))
        self.assertIn(setting, text)
        delay_s = retry.retry_delay.ToMicroseconds() / 1e6
        self.assertTrue(at_least_s < delay_s <= at_most_s, delay_s)

    def quota_metric(self, daemon, quota):
        return daemon.metrics()[f'auditstore_access_over_quota_total{{quota="{quota}"}}']

    @effect_of("access.max_calls_per_second")
    def test_calls_of_one_principal_in_a_second(self):
        busy, other = self.by_cn("busy"), self.by_cn("other")
        daemon = self.start({**self.WRITERS, "access.max_calls_per_second": 2})
        method = self.open_channel(daemon, busy).unary_unary(LIST)
        request = self.request(LIST).SerializeToString()
        method(request, timeout=30)
        calls = [method.future(request, timeout=30) for _ in range(200)]
        errors = [call.exception() for call in calls]
        refused = [error for error in errors if error]
        self.assertGreater(len(refused), 0)
        self.check_refused(refused[0], "access.max_calls_per_second", 0, 0.5)
        self.assertEqual(len(refused), self.quota_metric(daemon, "calls"))
        self.assertEqual("OK", self.call(daemon, LIST, other))
        self.reload(daemon, self.WRITERS)
        self.assertEqual([None] * 20, [method.future(request, timeout=30).exception()
                                       for _ in range(20)])

    @effect_of("access.max_events_per_second")
    def test_events_of_one_principal_in_a_second(self):
        busy, other = self.token("busy"), self.token("other")
        daemon = self.start({**self.WRITERS, "access.max_events_per_second": 1})
        self.assertIsNone(self.write(daemon, busy, 900))
        self.check_refused(self.write(daemon, busy), "access.max_events_per_second", 700, 900)
        self.check_refused(self.write(daemon, busy, 900), "access.max_events_per_second", 700, 900)
        self.assertEqual(2, self.quota_metric(daemon, "events"))
        self.assertIsNone(self.write(daemon, other, 10))
        self.assertEqual("OK", self.call(daemon, LIST, busy))
        self.reload(daemon, self.WRITERS)
        self.assertIsNone(self.write(daemon, busy))

    @effect_of("access.max_bytes_per_second")
    def test_bytes_of_one_principal_in_a_second(self):
        busy = self.token("busy-bytes")
        daemon = self.start({**self.WRITERS, "access.max_bytes_per_second": "1KiB"})
        large = json.dumps({"x": "y" * 200_000})
        self.assertIsNone(self.write(daemon, busy, 4, event_data=large))
        self.check_refused(self.write(daemon, busy), "access.max_bytes_per_second", 600, 800)
        self.assertEqual(1, self.quota_metric(daemon, "bytes"))
        self.reload(daemon, {**self.WRITERS, "access.max_bytes_per_second": "1GiB"})
        self.assertIsNone(self.write(daemon, busy))

    def test_what_is_refused_whole_costs_nothing(self):
        busy = self.token("busy-refused")
        daemon = self.start({**self.WRITERS, "ingest.max_request_events": 100,
                             "access.max_events_per_second": 1,
                             "access.max_bytes_per_second": "1KiB"})
        store = self.stubs.store
        stream = Stream(self, daemon, busy)
        for count, mode in ((101, 0), (900, 0), (0, 0), (100, 7)):
            events = [self.make_event() for _ in range(count)]
            request = store.WriteEventsRequest(events=events, mode=mode)
            self.assertEqual("INVALID_ARGUMENT", self.call(daemon, WRITE, busy, request))
        self.assertEqual(grpc.StatusCode.INVALID_ARGUMENT.value[0], stream.send(101).code)
        self.assertIsNone(self.write(daemon, busy, 100))
        self.check_refused(self.write(daemon, busy), "access.max_events_per_second", 50, 100)

    def test_a_stream_lives_on_over_its_quota(self):
        busy = self.token("busy-stream")
        daemon = self.start({**self.WRITERS, "access.max_events_per_second": 1})
        stream = Stream(self, daemon, busy)
        self.assertEqual(0, stream.send(500).code)
        for _ in range(3):
            self.check_refused(stream.send(), "access.max_events_per_second", 300, 500)
        self.reload(daemon, self.WRITERS)
        self.assertEqual(0, stream.send().code)
        self.assertEqual("501", self.postgres.value(
            "SELECT count(*) FROM audit_events WHERE principal = 'token:busy-stream'"))

    def test_all_who_are_anonymous_have_one_quota(self):
        daemon = self.start({"access.anonymous_roles": "writer",
                             "access.max_events_per_second": 1})
        self.assertIsNone(self.write(daemon, ANONYMOUS, 900))
        self.check_refused(self.write(daemon, ANONYMOUS), "access.max_events_per_second", 700, 900)


class DenialsTest(access.AccessCase):
    REASONS = ("credentials_missing", "credentials_invalid", "role_missing")

    def counts(self, daemon):
        """(denied by reason, records by result)"""
        metrics = daemon.metrics()
        return ({reason: metrics[f'auditstore_access_denied_total{{reason="{reason}"}}']
                 for reason in self.REASONS},
                {result: metrics[f'auditstore_access_denial_records_total{{result="{result}"}}']
                 for result in ("stored", "left_out", "lost")})

    def start(self, *args, **options):
        daemon = super().start(*args, **options)
        channel = self.open_channel(daemon, ANONYMOUS)
        self.reader = self.stubs.store_grpc.AuditStoreStub(channel)
        return daemon

    def stored(self, count=0):
        """The events of denials, oldest first, once there are so many."""
        request = self.stubs.store.ListEventsRequest(
            order=self.stubs.store.LIST_ORDER_OLDEST_FIRST,
            filter=self.stubs.store.EventFilter(event_types=["auditstore.access.denied"],
                                                principals=["auditstore:self"]))

        def enough():
            found = self.reader.ListEvents(request, timeout=30).events
            return [found] if len(found) >= count else None
        return harness.wait_until(enough)[0]

    def test_each_kind_is_counted_logged_and_stored(self):
        self.postgres.sql("TRUNCATE audit_events, ledgers, ledger_batches, ledger_nodes")
        alice = self.by_cn("alice")
        daemon = self.start({"access.anonymous_roles": "reader"})
        cases = (
            (ANONYMOUS, WRITE, "CREDENTIALS_MISSING", "address", "127.0.0.1"),
            (Caller("", None, "Bearer wrong"), INFO, "CREDENTIALS_INVALID", "address", "127.0.0.1"),
            (alice, WRITE, "ROLE_MISSING", "principal", "cn:alice"),
        )
        for caller, path, *_ in cases:
            self.error(daemon, path, caller)
        stored = self.stored(len(cases))
        self.assertEqual(len(cases), len(stored))
        for (_, path, reason, kind, actor), found in zip(cases, stored):
            event = found.event
            self.assertEqual("auditstore:self", found.principal)
            self.assertEqual((kind, actor, "127.0.0.1"),
                             (event.actor.type, event.actor.id, event.actor.ip))
            self.assertEqual(("grpc.method", path), (event.resource.type, event.resource.id))
            self.assertEqual(self.stubs.event.OUTCOME_FAILURE, event.outcome)
            self.assertEqual(self.stubs.event.SEVERITY_WARNING, event.severity)
            self.assertEqual(reason, event.error.code)
            known = {"principal": actor} if kind == "principal" else {}
            self.assertEqual({"reason": reason, "left_out": 0, **known},
                             json.loads(event.event_data))
            self.assertRegex(daemon.log(), f"access denied reason={reason} method={path} "
                                           f"principal=\\S* address=127.0.0.1")
        self.assertEqual((dict.fromkeys(self.REASONS, 1), {"stored": 3, "left_out": 0, "lost": 0}),
                         self.counts(daemon))
        self.assertNotIn("wrong", daemon.log())

    def test_a_principal_is_stored_whole(self):
        self.postgres.sql("TRUNCATE audit_events, ledgers, ledger_batches, ledger_nodes")
        long = "spiffe://test/" + "long/" * 400
        marked = 'cn:"quoted" \\ {name}'
        daemon = self.start({"access.anonymous_roles": "reader"})
        self.error(daemon, WRITE, self.by_uri(long))
        self.error(daemon, WRITE, self.by_certificate(
            marked, san="", subject='/CN="quoted" \\\\ {name}'))
        found = [item.event for item in self.stored(2)]
        self.assertEqual([long[:255], marked], [event.actor.id for event in found])
        self.assertEqual([long, marked],
                         [json.loads(event.event_data)["principal"] for event in found])

    def test_a_lost_denial_is_told_of_by_the_next(self):
        self.postgres.sql("TRUNCATE audit_events, ledgers, ledger_batches, ledger_nodes")
        daemon = self.start({"access.anonymous_roles": "reader", "ingest.write_timeout": "100ms"})
        self.postgres.stop()
        self.addCleanup(self.postgres.restart)
        for _ in range(3):
            self.assertEqual("UNAUTHENTICATED", self.call(daemon, WRITE, ANONYMOUS))
        harness.wait_until(lambda: self.counts(daemon)[1]["lost"] == 3)
        self.postgres.restart()
        daemon.wait_health("SERVING")
        tries = 0

        def told():
            """On a busy machine 100 ms may be too short for the next one too."""
            nonlocal tries
            tries += 1
            self.error(daemon, WRITE, self.by_cn("next"))
            return self.stored()
        left_out = json.loads(harness.wait_until(told)[0].event.event_data)["left_out"]
        self.assertIn(left_out, range(3, 3 + tries))

    def test_a_flood_is_counted_and_mostly_left_out(self):
        daemon = self.start({"access.anonymous_roles": "reader"})
        before = len(self.stored())
        method = self.open_channel(daemon, ANONYMOUS).unary_unary(WRITE)
        request = self.request(WRITE).SerializeToString()
        for call in [method.future(request, timeout=30) for _ in range(300)]:
            self.assertEqual("UNAUTHENTICATED", call.exception().code().name)
        # Each one that is stored tells how many weren't since the one before.

        def told():
            method.future(request, timeout=30).exception()
            left_out = sum(json.loads(found.event.event_data)["left_out"] for found in self.stored())
            return left_out > 200 and left_out
        left_out = harness.wait_until(told)

        def settled():
            denied, records = self.counts(daemon)
            return denied["credentials_missing"] == sum(records.values()) and records
        records = harness.wait_until(settled)
        self.assertGreaterEqual(records["left_out"], left_out)
        self.assertEqual(0, records["lost"])
        self.assertEqual(records["stored"], len(self.stored(1)) - before)
        self.assertEqual(records["stored"], daemon.log().count("access denied"))

    def test_what_can_not_be_stored_is_counted_and_holds_nobody_up(self):
        daemon = self.start({"ingest.write_timeout": "100ms"})
        self.postgres.stop()
        self.addCleanup(self.postgres.restart)
        for _ in range(3):
            self.assertEqual("UNAUTHENTICATED", self.call(daemon, WRITE, ANONYMOUS))
        harness.wait_until(lambda: self.counts(daemon)[1]["lost"] == 3)


if __name__ == "__main__":
    unittest.main()
