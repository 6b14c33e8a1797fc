"""Memory or descriptors are out for a moment, at each place where a call needs them.

The Nth call for memory since the start of a scenario fails, once. The daemon lives on, says nothing wrong,
sends no plain text over TLS, and the next call works. As a test some N are tried of each scenario;
`test_exhaustion.py all` tries each.
"""

import contextlib
import pathlib
import random
import ssl
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import certificates, events, exhaustion, harness  # noqa: E402
from support.attack import CHECK, GET, LIST, REFLECTION, STREAM, WRITE, batch, event, field, stream_batch  # noqa: E402

OK = "0"
# gRPC's codes after which what was sent may be stored: CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE.
IN_DOUBT = ("1", "2", "4", "13", "14")
FIRST = 16  # of a scenario's calls for memory, these are all tried
SAMPLES = 48  # and so many of the others
SAMPLES_OF_DIALS = 8  # after each the pool pauses
END_S = 5


class ExhaustionTest(harness.PostgresCase):
    tries_all = False

    def setUp(self):
        authority = certificates.Authority(self.folder)
        cert, key = authority.issue("server")
        self.context = ssl.create_default_context(cafile=authority.cert)
        self.context.set_alpn_protocols(["h2"])
        self.shortage = exhaustion.Shortage(self.folder / "shortage")
        self.daemon = self.start_daemon(
            {"tls.cert_file": cert, "tls.key_file": key, "log.level": "error"}, env=self.shortage.env,
            credentials=harness.grpc.ssl_channel_credentials(authority.cert.read_bytes()))
        self.client = exhaustion.Client(self.daemon.port, self.context)
        self.addCleanup(lambda: self.client.close())
        self.told = {}  # event id: the status of its write, None where the connection was lost
        self.hollow = []  # methods that were answered OK, with nothing
        self.write(self.client)

    # ---- scenarios ----

    def write(self, client, method=WRITE):
        event_id = events.new_id()
        one = event(time.time(), event_id)
        self.told[event_id], _ = client.ask(method, batch([one]) if method == WRITE else stream_batch([one]))
        return self.told[event_id]

    def read(self, method, message):
        status, found = self.client.ask(method, message)
        if status == OK and not found:
            self.hollow.append(method)
        return status

    def read_event(self):
        return self.read(GET, field(1, next(iter(self.told))))

    def fresh(self, action):
        client = exhaustion.Client(self.daemon.port, self.context)
        try:
            return action(client)
        finally:
            client.close()

    def read_metrics(self):
        try:
            return self.daemon.http_get("/metrics")[0]
        except (OSError, harness.http.client.HTTPException):
            return None

    def scenarios(self):
        return {
            "a connection and a write": lambda: self.fresh(self.write),
            "a write": lambda: self.write(self.client),
            "a stream": lambda: self.write(self.client, STREAM),
            "a list": lambda: self.read(LIST, b""),
            "an event": self.read_event,
            "health": lambda: self.client.ask(CHECK, b""),
            "reflection": lambda: self.client.ask(REFLECTION, field(7, b"")),
            "the metrics": self.read_metrics,
        }

    # ---- what must hold ----

    def numbers(self, count, samples):
        if self.tries_all:
            return range(1, count + 1)
        later = range(FIRST + 1, count + 1)
        return [*range(1, min(FIRST, count) + 1), *random.sample(later, min(samples, len(later)))]

    def next_call(self):
        return self.fresh(self.write)

    def next_call_after_dials(self):
        """The pool waits a little before it dials again, and tells callers to come back."""
        with contextlib.suppress(TimeoutError):
            harness.wait_until(lambda: self.has_died() or self.next_call() == OK, exhaustion.TIMEOUT_S)
        return self.next_call()

    def has_died(self):
        return self.daemon.process.poll() is not None

    def run_out(self, what, scenario, next_call=None, samples=SAMPLES):
        # The first time finds nothing that is kept.
        scenario()
        for number in self.numbers(self.shortage.count(what, scenario), samples):
            with self.subTest(number=number):
                self.shortage.arm(what, number)
                try:
                    scenario()
                finally:
                    self.shortage.disarm(what)
                after = (next_call or self.next_call)()
                if after != OK and self.is_dying():
                    self.fail(f"{number}: the daemon ended\n{self.daemon.log()[-4000:]}")
                self.assertEqual(OK, after, number)
            if self.has_died():
                break

    def check_reserve(self):
        """One failure is what it is for: it is there again for the next, and its uses are told."""
        self.assertGreater(self.daemon.metrics()["auditstore_memory_reserve_uses_total"], 1)
        harness.wait_until(lambda: self.next_call() and "memory was out" in self.daemon.log(),
                           what="the reserve's use is told")

    def is_dying(self):
        """A process that aborts takes a while."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.daemon.process.wait(END_S)
        return self.has_died()

    def check_told(self):
        self.assertEqual([], self.hollow)
        stored = {row[0] for row in self.postgres.sql("SELECT event_id FROM audit_events")}
        lost = [event_id for event_id, status in self.told.items() if status == OK and event_id not in stored]
        false = [(event_id, status) for event_id, status in self.told.items()
                 if status not in (OK, None, *IN_DOUBT) and event_id in stored]
        self.assertEqual(([], []), (lost[:3], false[:3]), f"of {len(self.told)} writes")

    def run_each(self, what):
        for name, scenario in self.scenarios().items():
            with self.subTest(name):
                self.run_out(what, scenario)
            if self.has_died():
                break
        self.check_told()

    def test_a_call_for_memory_that_fails_takes_no_more_than_its_own(self):
        self.run_each(exhaustion.MEMORY)
        self.check_reserve()

    def test_a_call_for_a_descriptor_that_fails_takes_no_more_than_its_own(self):
        self.run_each(exhaustion.DESCRIPTORS)

    def test_a_dial_that_finds_no_descriptor_or_memory_is_made_again(self):
        def dial():
            self.postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                              " WHERE application_name = 'auditstored'")
            return self.write(self.client)
        for what in (exhaustion.DESCRIPTORS, exhaustion.MEMORY):
            with self.subTest(what=what):
                self.run_out(what, dial, self.next_call_after_dials, SAMPLES_OF_DIALS)
        self.check_told()


if __name__ == "__main__":
    if sys.argv[1:2] == ["all"]:
        ExhaustionTest.tries_all = bool(sys.argv.pop(1))
    unittest.main(verbosity=2)
