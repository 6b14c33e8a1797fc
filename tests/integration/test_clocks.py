"""A clock that is wrong, the daemon's or PostgreSQL's: no honest event is refused for good."""

import pathlib
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402
from google.protobuf import json_format  # noqa: E402

from support import events, harness  # noqa: E402
from support.fake_clock import FakeClock  # noqa: E402

HOUR = 3600
DAY = 24 * HOUR
# On a busy machine PostgreSQL's answer takes its time, and is as uncertain.
NEAR_S = 30
DIFFERENCE = "auditstore_clock_difference_seconds"
REFUSALS = "auditstore_clock_refusals_total"
DIFFER = "this machine's clock and PostgreSQL's differ"
AGREE = "this machine's clock and PostgreSQL's agree again"


class ClockCase(harness.PostgresCase):
    """Writers have the machine's clock. The defaults hold: a week back, an hour ahead."""

    def start(self, offset_s=0, **settings):
        self.clock = FakeClock(self.folder / f"clock-{events.new_id()}")
        self.clock.shift(offset_s)
        self.daemon = self.start_daemon(settings, env=self.clock.env)
        self.stub = self.open_stub(self.daemon)

    def event(self, ago_s=0, **fields):
        event = events.make(self.stubs, event_id=events.new_id(), **fields)
        event.event_time.FromMicroseconds(int((time.time() - ago_s) * 1e6))
        return event

    def write(self, *batch, partial=False):
        mode = (self.stubs.store.WRITE_MODE_PARTIAL if partial
                else self.stubs.store.WRITE_MODE_ATOMIC)
        return self.stub.WriteEvents(
            self.stubs.store.WriteEventsRequest(events=batch, mode=mode), timeout=60)

    def stored(self, *batch):
        ids = ", ".join(f"'{event.event_id}'" for event in batch)
        return int(self.postgres.value(
            f"SELECT count(*) FROM audit_events WHERE event_id IN ({ids})"))

    def assert_told_to_come_back(self, status, retries):
        """`status`: of google.rpc."""
        self.assertEqual(grpc.StatusCode.UNAVAILABLE.value[0], status.code, status.message)
        self.assertIn("clock", status.message)
        self.assertIn("send the events again later", status.message)
        for word in ("127.0.0.1", "PostgreSQL", "database", "ingest."):
            self.assertNotIn(word, status.message)
        [retry] = retries
        self.assertGreater(retry.retry_delay.ToMilliseconds(), 0)

    def assert_put_off(self, *batch, **options):
        """Returns the text."""
        with self.assertRaises(grpc.RpcError) as caught:
            self.write(*batch, **options)
        error = caught.exception
        status = self.stubs.status.Status(code=error.code().value[0], message=error.details())
        self.assert_told_to_come_back(
            status, harness.status_details(error, self.stubs.details.RetryInfo))
        self.assertEqual(0, self.stored(*batch))
        return error.details()

    def assert_refused(self, *batch):
        with self.assertRaises(grpc.RpcError) as caught:
            self.write(*batch)
        self.assertEqual(grpc.StatusCode.INVALID_ARGUMENT, caught.exception.code())
        [details] = harness.status_details(caught.exception, self.stubs.details.BadRequest)
        return [violation.field for violation in details.field_violations]

    def difference(self):
        return self.daemon.metrics()[DIFFERENCE]

    def logged(self, text):
        return [line for line in self.daemon.log().splitlines() if text in line]


class DaemonsClockTest(ClockCase):
    def test_clocks_that_agree_are_not_spoken_of(self):
        self.start()
        self.write(self.event())
        self.assertLess(abs(self.difference()), NEAR_S)
        self.assertEqual(0, self.daemon.metrics()[REFUSALS])
        self.assertEqual([], self.logged(DIFFER))

    def test_a_daemon_started_far_ahead_puts_events_off_and_says_so(self):
        self.start(40 * DAY)
        self.assertAlmostEqual(40 * DAY, self.difference(), delta=NEAR_S)
        [line] = self.logged(DIFFER)
        self.assertIn("WARN", line)
        self.assertRegex(line, r"ahead_ms=345[56]\d{6} uncertainty_ms=")
        self.assertLess(self.daemon.log().index(DIFFER), self.daemon.log().index("INFO  serving"))
        self.assertRegex(self.assert_put_off(self.event()), r"wrong by 345[56]\d{3}\.\d{3} s")
        self.assertEqual(1, self.daemon.metrics()[REFUSALS])

    def test_a_daemon_two_hours_behind_puts_events_off(self):
        self.start(-2 * HOUR)
        self.assertAlmostEqual(-2 * HOUR, self.difference(), delta=NEAR_S)
        self.assert_put_off(self.event())
        # Within the window by both clocks.
        self.write(self.event(ago_s=2 * HOUR))

    def test_jumps_while_it_runs_are_seen_at_once_and_so_is_their_end(self):
        self.start()
        self.write(self.event())
        for offset_s in (40 * DAY, -2 * HOUR):
            self.clock.shift(offset_s)
            self.assertAlmostEqual(offset_s, self.difference(), delta=NEAR_S)
            self.assert_put_off(self.event())
            self.clock.shift(0)
            self.write(self.event())
            self.assertLess(abs(self.difference()), NEAR_S)
        self.assertEqual(2, self.daemon.metrics()[REFUSALS])
        self.assertGreaterEqual(len(self.logged(DIFFER)), 2)

    def test_what_is_told_once_is_not_repeated_and_its_end_is_told(self):
        self.start(40 * DAY)
        for _ in range(20):
            self.assert_put_off(self.event())
        self.assertEqual(1, len(self.logged(DIFFER)))
        # A refusal makes it ask again soon; that it has is seen by its telling the end.
        self.clock.shift(0)
        harness.wait_until(lambda: self.logged(AGREE), what="the end is told")
        self.assertIn("INFO", self.logged(AGREE)[0])

    def test_a_difference_that_grows_is_told_again(self):
        self.start(-2 * HOUR)
        self.assert_put_off(self.event())
        self.clock.shift(-30 * HOUR)
        self.assert_put_off(self.event())
        self.assertEqual(2, len(self.logged(DIFFER)))

    def test_an_event_that_both_clocks_refuse_is_invalid(self):
        self.start(40 * DAY)
        self.assertEqual(["events[0].event_time"], self.assert_refused(self.event(ago_s=8 * DAY)))
        self.clock.shift(-2 * HOUR)
        self.assertEqual(["events[0].event_time"],
                         self.assert_refused(self.event(ago_s=-90 * 60)))
        self.assertEqual(0, self.daemon.metrics()[REFUSALS])

    def test_an_event_that_only_the_daemons_clock_accepts_is_stored(self):
        self.start(-2 * DAY)
        event = self.event(ago_s=8 * DAY)
        self.write(event)
        self.assertEqual(1, self.stored(event))

    def test_other_faults_are_told_once_the_clock_is_right(self):
        self.start(40 * DAY)
        bad = self.event()
        bad.event_type = ""
        self.assert_put_off(self.event(), bad)
        self.assert_put_off(bad, self.event(ago_s=8 * DAY), self.event())
        self.clock.shift(0)
        self.assertEqual(["events[1].event_type"], self.assert_refused(self.event(), bad))

    def test_a_partial_request_is_put_off_whole(self):
        self.start(-2 * HOUR)
        bad = self.event(ago_s=2 * HOUR)
        bad.event_type = ""
        self.assert_put_off(self.event(ago_s=2 * HOUR), bad, self.event(), partial=True)
        self.clock.shift(0)
        reply = self.write(self.event(ago_s=2 * HOUR), bad, self.event(), partial=True)
        self.assertEqual([1], [rejected.index for rejected in reply.rejected])

    def test_a_stream_goes_on_over_batches_that_are_put_off(self):
        self.start(40 * DAY)
        batches = [[self.event()], [self.event(ago_s=8 * DAY)], [self.event(), self.event()],
                   [self.event(ago_s=-40 * DAY)]]
        requests = (self.stubs.store.StreamEventsRequest(batch_id=f"{i}", events=batch, mode=mode)
                    for i, batch in enumerate(batches)
                    for mode in [self.stubs.store.WRITE_MODE_PARTIAL if i == 2
                                 else self.stubs.store.WRITE_MODE_ATOMIC])
        acks = {ack.batch_id: ack for ack in self.stub.StreamEvents(requests, timeout=60)}
        for name in ("0", "2"):
            self.assertEqual((0, 0), (len(acks[name].receipts), len(acks[name].rejected)))
            self.assert_told_to_come_back(
                acks[name].status,
                harness.details_of(acks[name].status, self.stubs.details.RetryInfo))
        self.assertEqual(grpc.StatusCode.INVALID_ARGUMENT.value[0], acks["1"].status.code)
        # A writer whose clock is wrong in the same way is believed, as ever.
        self.assertEqual(0, acks["3"].status.code)
        self.assertEqual(2, self.daemon.metrics()[REFUSALS])

    def test_a_request_that_is_refused_unseen_counts_no_second_time(self):
        self.start(40 * DAY)
        self.assert_put_off(self.event())
        for _ in range(3):
            self.assertEqual(["events"], self.assert_refused())
        self.assertEqual(1, self.daemon.metrics()[REFUSALS])

    def test_the_tool_says_why_it_gave_up(self):
        self.start(40 * DAY)
        line = json_format.MessageToJson(self.event(), preserving_proto_field_name=True, indent=None)
        done = harness.run_tool(self.daemon.address, "--timeout", "1s", "send", stdin=line + "\n")
        self.assertNotEqual(0, done.returncode)
        self.assertIn("clock", done.stderr)

    def test_without_a_window_the_clock_does_not_matter(self):
        self.start(40 * DAY, **{"ingest.max_event_age": "off", "ingest.max_event_ahead": "off"})
        self.write(self.event(), self.event(ago_s=100 * DAY))
        self.assertEqual(1, len(self.logged(DIFFER)))

    def test_it_stops_cleanly_while_its_question_waits(self):
        self.start(40 * DAY, **{"database.max_open_conns": 1, "ingest.lanes": 1})
        with self.postgres.locked("audit_events"):
            write = self.stub.WriteEvents.future(self.stubs.store.WriteEventsRequest(
                events=[self.event(ago_s=-40 * DAY)]), timeout=60)
            harness.wait_until(lambda: self.daemon.metrics()["auditstore_pool_in_use"] == 1)
            self.assert_put_off_without_looking()
            harness.wait_until(lambda: self.daemon.metrics()["auditstore_pool_waiters"] == 1)
        self.assertEqual(0, self.daemon.stop())
        self.assertEqual(1, len(write.result(timeout=60).receipts))

    def assert_put_off_without_looking(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.write(self.event())
        self.assertEqual(grpc.StatusCode.UNAVAILABLE, caught.exception.code())


class PostgresClockTest(ClockCase):
    """The other way round: which clock is wrong can't be known, so nothing is refused for good."""

    @classmethod
    def prepare_database(cls):
        super().prepare_database()
        cls.server_clock = FakeClock(cls.folder / "server-clock")
        cls.postgres.env = cls.server_clock.env
        cls.postgres.restart()

    def server_is(self, offset_s):
        self.server_clock.shift(offset_s)
        self.addCleanup(self.server_clock.shift, 0)

    def test_events_of_now_are_stored_whatever_postgresql_says(self):
        for offset_s in (40 * DAY, -2 * HOUR):
            self.server_is(offset_s)
            self.start()
            self.assertAlmostEqual(-offset_s, self.difference(), delta=NEAR_S)
            self.assertEqual(1, len(self.logged(DIFFER)))
            event = self.event()
            self.write(event)
            self.assertEqual(1, self.stored(event))

    def test_what_one_clock_refuses_is_put_off_until_they_agree(self):
        self.server_is(2 * HOUR)
        self.start()
        event = self.event(ago_s=-90 * 60)
        self.assert_put_off(event)
        self.assertEqual(["events[0].event_time"], self.assert_refused(self.event(ago_s=-4 * HOUR)))
        self.server_clock.shift(0)

        def is_refused():
            try:
                self.write(event)
            except grpc.RpcError as error:
                return error.code() == grpc.StatusCode.INVALID_ARGUMENT
            return False
        # The refusal made the daemon ask again, a second later and not after half a minute.
        start = time.monotonic()
        harness.wait_until(is_refused, what="the clock that was set right is believed")
        self.assertLess(time.monotonic() - start, 25)

    def test_both_clocks_wrong_alike_can_not_be_known(self):
        self.server_is(40 * DAY)
        self.start(40 * DAY)
        self.assertLess(abs(self.difference()), NEAR_S)
        self.assertEqual(["events[0].event_time"], self.assert_refused(self.event()))

    def test_what_was_known_holds_while_postgresql_is_away(self):
        self.server_is(0)
        self.start()
        self.postgres.stop()
        try:
            self.clock.shift(40 * DAY)
            self.assertAlmostEqual(40 * DAY, self.difference(), delta=NEAR_S)
            with self.assertRaises(grpc.RpcError) as caught:
                self.write(self.event())
            self.assertEqual(grpc.StatusCode.UNAVAILABLE, caught.exception.code())
            self.assertIn("clock", caught.exception.details())
        finally:
            self.postgres.restart()


if __name__ == "__main__":
    unittest.main()
