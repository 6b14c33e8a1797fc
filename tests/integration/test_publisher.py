"""The C publisher on the real store: killed at random moments, and with the store away.

As a test each takes a few seconds. `test_publisher.py KILLS [SEED]` kills KILLS clients, and keeps the
store away for 60 s under 5,000 events a second.
"""

import json
import pathlib
import random
import re
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness  # noqa: E402

CLIENT = harness.BUILD / "tests" / "publish_client"
RATE = 5000
MAX_PEAK_MIB = 64
# Freed memory would be kept for a while, and counted.
NO_QUARANTINE = {"ASAN_OPTIONS": "quarantine_size_mb=1:detect_leaks=0"}


class Client:
    """publish_client on a spool of its own; counts() are the last counters that it printed."""

    def __init__(self, case, first, count, *options, journal=None):
        self.journal = journal or case.folder / f"journal.{first}"
        self.output = case.folder / f"output.{first}.{time.monotonic_ns()}"
        with open(self.output, "w", encoding="ascii") as out:
            self.process = subprocess.Popen(
                [str(CLIENT), case.address, str(self.journal), str(first), str(count),
                 *map(str, options)], stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                env={**harness.os.environ, **NO_QUARANTINE})

    def text(self):
        return self.output.read_text(encoding="ascii")

    def wait_ready(self):
        harness.wait_until(lambda: "ready\n" in self.text() or self.process.poll() is not None,
                           what="the client is ready", every_s=0.002)
        if "ready\n" not in self.text():
            raise RuntimeError(self.text())

    def all_counts(self):
        return [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]

    def peak_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) / 1024

    def finish(self, deadline_s=300):
        code = self.process.wait(deadline_s)
        if code != 0:
            raise RuntimeError(f"publish_client ended with {code}\n{self.text()}")
        return self.all_counts()[-1]

    def kill(self):
        self.process.kill()
        self.process.wait()


class PublisherTest(harness.PostgresCase):
    kills = 8
    seed = None
    outage_events = 3 * RATE

    def setUp(self):
        self.postgres.sql("TRUNCATE audit_events")
        self.daemon = self.start_daemon()
        self.address = self.daemon.address
        self.spool = self.folder / f"spool.{self.id()}"

    def restart_daemon(self):
        self.daemon = self.start_daemon({"server.listen": self.address})

    def stored(self):
        """{number: how often}, and all as (ledger, sequence, number) in the ledgers' order."""
        rows = [tuple(map(int, row)) for row in self.postgres.sql(
            "SELECT ledger_id, sequence, resource_id FROM audit_events ORDER BY 1, 2")]
        times = {}
        for _, _, number in rows:
            times[number] = times.get(number, 0) + 1
        return times, rows

    def check_order(self, rows):
        """In each ledger, events stand in the order in which they were published."""
        last = {}
        for ledger, _, number in rows:
            self.assertLess(last.get(ledger, -1), number)
            last[ledger] = number

    # ---- killed ----

    def kill_one(self, chance, first):
        """A client that publishes until it is killed, with the store up, down, or going."""
        if chance.random() < 0.3:
            if self.daemon.process.poll() is None:
                self.daemon.kill()
            else:
                self.restart_daemon()
        client = Client(self, first, 10**6, "--spool", self.spool, "--array",
                        chance.choice((1, 1, 3, 20, 100)), journal=self.folder / "journal")
        client.wait_ready()
        end = time.monotonic() + chance.random() * 0.25
        goes = chance.random() < 0.1 and self.daemon.process.poll() is None
        harness.wait_until(lambda: time.monotonic() > end, every_s=0.001)
        if goes:
            self.daemon.kill()
        client.kill()
        return client

    def test_what_publish_called_ok_outlives_kills(self):
        seed = self.seed or random.randrange(1 << 30)
        chance = random.Random(seed)
        began = time.monotonic()
        with self.subTest(seed=seed):
            for number in range(self.kills):
                # A killed client's last events may be stored though it didn't journal them.
                self.kill_one(chance, number * 10**6)
            if self.daemon.process.poll() is not None:
                self.restart_daemon()
            last = Client(self, self.kills * 10**6, 1, "--spool", self.spool,
                          journal=self.folder / "journal").finish()
            self.assertEqual(last["unconfirmed"], 0)
            journal = [int(line) for line in
                       (self.folder / "journal").read_text(encoding="ascii").splitlines()]
            times, rows = self.stored()
            self.assertEqual([], [n for n in journal if n not in times])
            self.assertEqual([], [n for n, count in times.items() if count != 1])
            self.check_order(rows)
            self.assertGreater(len(journal), self.kills)
            print(f"seed {seed}: {self.kills} kills, {len(journal)} events were OK, {len(times)} "
                  f"stored, {time.monotonic() - began:.0f} s", flush=True)

    # ---- the example ----

    def run_example(self, *words):
        return subprocess.run([str(harness.EXAMPLES / "publish"), self.address, str(self.spool), *words],
                              capture_output=True, text=True, check=False, timeout=60)

    def test_the_example_leaves_for_next_time_what_the_store_is_not_there_for(self):
        done = self.run_example("one", "x" * 256)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stdout, r"stored in ledger \d+ at \d+\n")
        self.assertIn("INVALID_ARGUMENT: resource.id: has 256 bytes; at most 255 are allowed", done.stdout)
        self.daemon.kill()
        done = self.run_example("two")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn(f"1 wait in {self.spool}: UNAVAILABLE: ", done.stderr)
        self.restart_daemon()
        done = self.run_example("three")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.postgres.sql("SELECT resource_id FROM audit_events ORDER BY event_time"),
                         [["one"], ["two"], ["three"]])

    # ---- the store is away ----

    def stay_away(self, *options):
        """The store goes when a few events are in, and comes back when all but a few are taken."""
        count = self.outage_events
        client = Client(self, 0, count, "--rate", RATE, "--spool", self.spool, "--close", 240000,
                        *options)
        began = time.monotonic()
        harness.wait_until(lambda: client.all_counts(), 60, "the client began")
        self.daemon.kill()
        harness.wait_until(lambda: client.all_counts()[-1]["taken"] >= count * 95 // 100,
                           240, "the client goes on")
        away_s = time.monotonic() - began
        waiting = client.all_counts()[-1]
        peak_mib = client.peak_mib()
        self.restart_daemon()
        last = client.finish()
        total_s = time.monotonic() - began
        self.assertEqual((last["unconfirmed"], last["refused"], last["rejected"]), (0, 0, 0))
        times, rows = self.stored()
        self.assertEqual(len(times), count)
        self.assertEqual({1}, set(times.values()))
        self.check_order(rows)
        self.assertGreater(waiting["unconfirmed"], count // 2)
        self.assertLess(max(c["queue_events"] for c in client.all_counts()), 10001)
        self.assertLess(peak_mib, MAX_PEAK_MIB)
        print(f"{' '.join(map(str, options)) or 'always'}: {count} events, {waiting['unconfirmed']} "
              f"waited on {waiting['spool_bytes'] >> 20} MiB of disk, peak memory {peak_mib:.0f} MiB, "
              f"all stored in order {total_s - away_s:.1f} s after the store was back "
              f"({total_s:.0f} s in all)", flush=True)

    def test_events_wait_on_disk_while_the_store_is_away(self):
        self.stay_away()

    def test_events_that_memory_has_no_room_for_wait_on_disk(self):
        self.stay_away("--spill", "--queue", 1000)

    def test_without_a_spool_memory_holds_what_it_has_room_for(self):
        client = Client(self, 0, 5000, "--array", 10)
        self.assertEqual(client.finish()["acknowledged"], 5000)
        times, rows = self.stored()
        self.assertEqual(len(times), 5000)
        self.check_order(rows)


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].isdigit():
        PublisherTest.kills = int(sys.argv.pop(1))
        PublisherTest.outage_events = 65 * RATE
        if sys.argv[1:] and sys.argv[1].isdigit():
            PublisherTest.seed = int(sys.argv.pop(1))
    unittest.main(verbosity=2)
