"""Months made on demand: how many for one request, how many in all, and what becomes of the rest."""

import datetime
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from support import events, harness  # noqa: E402
from support.effects import effect_of  # noqa: E402

ANY_TIME = {"ingest.max_event_age": "off", "ingest.max_event_ahead": "off"}


class MonthsCase(harness.PostgresCase):
    def start(self, settings):
        # Those kept ready: five.
        daemon = self.start_daemon({**ANY_TIME, "storage.partitions_ahead": 3, **settings})
        return daemon, self.open_stub(daemon)

    def tearDown(self):
        super().tearDown()
        self.doCleanups()  # the daemon goes first
        self.postgres.empty()
        tables = self.postgres.sql("SELECT relid::text FROM pg_partition_tree('audit_events') WHERE isleaf")
        for at in range(0, len(tables), 50):
            self.postgres.sql("DROP TABLE " + ", ".join(name for (name,) in tables[at:at + 50]))

    def events(self, count, first_year=1990):
        """One in each of so many months."""
        made = []
        for number in range(count):
            event = events.make(self.stubs, number)
            event.event_time.FromDatetime(datetime.datetime(first_year + number // 12, number % 12 + 1, 5))
            made.append(event)
        return made

    def write(self, stub, batch, is_partial=True):
        mode = self.stubs.store.WRITE_MODE_PARTIAL if is_partial else self.stubs.store.WRITE_MODE_ATOMIC
        return stub.WriteEvents(self.stubs.store.WriteEventsRequest(events=batch, mode=mode), timeout=60)

    def months(self):
        return int(self.postgres.value("SELECT count(*) FROM pg_inherits WHERE inhparent ="
                                       " 'audit_events'::regclass"))

    def rejected(self, answer):
        """{index: (name of the code, text)}"""
        names = {code.value[0]: code.name for code in grpc.StatusCode}
        return {item.index: (names[item.status.code], item.status.message) for item in answer.rejected}


class RequestTest(MonthsCase):
    @effect_of("ingest.max_new_months")
    def test_a_request_makes_so_many_and_the_rest_goes_into_others(self):
        _, stub = self.start({"ingest.max_new_months": 4})
        batch = self.events(10)
        stored = 0
        for asked, refused in ((10, 6), (6, 2), (2, 0)):
            answer = self.write(stub, batch)
            rejected = self.rejected(answer)
            self.assertEqual(refused, len(rejected))
            self.assertEqual({"RESOURCE_EXHAUSTED"} if refused else set(),
                             {code for code, _ in rejected.values()})
            stored += asked - refused
            self.assertEqual(5 + stored, self.months())
            batch = [batch[index] for index in sorted(rejected)]
        self.assertEqual(10, int(self.postgres.value("SELECT count(*) FROM audit_events")))

    def test_the_text_says_the_event_the_month_and_the_setting(self):
        _, stub = self.start({"ingest.max_new_months": 4})
        rejected = self.rejected(self.write(stub, self.events(5)))
        for word in ("events[4].event_time", "audit_events_1990_05", "ingest.max_new_months", "4"):
            self.assertIn(word, rejected[4][1])

    def test_an_atomic_request_makes_none_when_not_all(self):
        _, stub = self.start({"ingest.max_new_months": 4})
        with self.assertRaises(grpc.RpcError) as caught:
            self.write(stub, self.events(5), is_partial=False)
        self.assertEqual(grpc.StatusCode.RESOURCE_EXHAUSTED, caught.exception.code())
        self.assertEqual(5, self.months())
        self.write(stub, self.events(4), is_partial=False)
        self.assertEqual(9, self.months())


class InAllTest(MonthsCase):
    @effect_of("storage.max_partitions")
    def test_beyond_so_many_none_is_made_but_those_kept_ready(self):
        daemon, stub = self.start({"storage.max_partitions": 12, "ingest.max_new_months": 100})
        answers = []
        # What is known of the months is read again before one is refused for good.
        harness.wait_until(lambda: answers.append(self.rejected(self.write(stub, self.events(20)))) or
                           {code for code, _ in answers[-1].values()} == {"FAILED_PRECONDITION"})
        self.assertEqual(13, len(answers[-1]))
        self.assertEqual(12, self.months())
        for word in ("storage.max_partitions is 12", "events[7].event_time", "audit_events_1990_08"):
            self.assertIn(word, answers[-1][7][1])
        now = events.make(self.stubs, 100)
        self.assertEqual(0, len(self.write(stub, [now]).rejected))
        self.assertEqual(200, daemon.http_get("/readyz")[0])

    def test_a_month_that_somebody_else_made_is_found(self):
        _, stub = self.start({"storage.max_partitions": 12, "ingest.max_new_months": 100})
        self.write(stub, self.events(20))
        self.assertEqual(12, self.months())
        self.postgres.sql("CREATE TABLE audit_events_1980_01 PARTITION OF audit_events FOR VALUES"
                          " FROM ('1980-01-01 00:00+00') TO ('1980-02-01 00:00+00')")
        self.postgres.sql("ALTER TABLE audit_events_1980_01 OWNER TO auditstore")

        def is_stored():
            (event,) = self.events(1, first_year=1980)
            codes = {code for code, _ in self.rejected(self.write(stub, [event])).values()}
            return not codes
        harness.wait_until(is_stored, what="the month is found")

    def test_a_list_at_the_limit_is_answered(self):
        daemon, stub = self.start({"ingest.max_new_months": 1200})
        for year in (1990, 2000):
            self.write(stub, self.events(120, first_year=year))
        self.assertEqual(180, self.months())
        futures = [stub.ListEvents.future(self.stubs.store.ListEventsRequest(page_size=1000), timeout=60)
                   for _ in range(40)]
        self.assertEqual({175}, {len(future.result().events) for future in futures})
        self.assertIn("many partitions months=180 locks_of_a_query=1260 locks_of_the_server=6400", daemon.log())


if __name__ == "__main__":
    unittest.main(verbosity=2)
