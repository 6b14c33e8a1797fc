"""What a hostile client does to the others: nothing that matters.

Each attack runs from processes of its own while an honest client writes. They would come from other
machines, so here they have what the daemon leaves of the processors. Every one of the honest client's
calls must succeed in time, the memory must stay within what the settings allow, and the attacks that
break a rule must be thrown out. The table of what happened is printed.
"""

import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import attacks, events, harness  # noqa: E402

ATTACKERS = 2
SECONDS = 2
CALL_DEADLINE_S = 5
MAX_INBOUND_MIB = 32
# Of AddressSanitizer's own: freed memory that it keeps, and bookkeeping.
SANITIZER = "quarantine_size_mb=8"
MAX_GROWTH_MIB = 3 * MAX_INBOUND_MIB
# Attacks that keep to the rules: nothing ends the connection but, in time, its stalled calls.
WITHIN_THE_RULES = ("half_requests", "shut_windows")


def resident_mib(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) // 1024


class AbuseTest(harness.PostgresCase):
    def setUp(self):
        options = ":".join(filter(None, (os.environ.get("ASAN_OPTIONS"), SANITIZER)))
        self.daemon = self.start_daemon({"server.max_inbound_bytes": f"{MAX_INBOUND_MIB}MiB"},
                                        env={"ASAN_OPTIONS": options})
        self.stub = self.open_stub(self.daemon)
        self.call()

    def call(self):
        """Seconds of a write."""
        start = time.monotonic()
        request = self.stubs.store.WriteEventsRequest(events=[events.make(self.stubs)])
        self.stub.WriteEvents(request, timeout=CALL_DEADLINE_S)
        return time.monotonic() - start

    def p99_beside(self, *command):
        """In ms, without an attack, while such processes run as attackers would."""
        processes = [subprocess.Popen(["nice", "-n", "19", *command]) for _ in range(ATTACKERS)]
        try:
            end, times = time.monotonic() + SECONDS, []
            while time.monotonic() < end:
                times.append(self.call())
        finally:
            for process in processes:
                process.kill()
                process.wait()
        return 1000 * statistics.quantiles(times, n=100)[98]

    def attack(self, name):
        """How the attackers fared, and the honest client's times in the meantime."""
        script = pathlib.Path(attacks.__file__)
        command = ["nice", "-n", "19", sys.executable, "-B", str(script), name,
                   str(self.daemon.port), str(SECONDS)]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
                     for _ in range(ATTACKERS)]
        times = [self.call()]
        while any(process.poll() is None for process in processes):
            times.append(self.call())
        results = []
        for process in processes:
            output, _ = process.communicate()
            self.assertEqual(0, process.returncode, name)
            results.append(json.loads(output))
        return results, times

    def check(self, name):
        before = resident_mib(self.daemon.process)
        results, times = self.attack(name)
        growth = resident_mib(self.daemon.process) - before
        total = {key: sum(result[key] for result in results)
                 for key in ("connections", "ended", "bytes")}
        codes = sorted({code for result in results for code in result["codes"]})
        p99 = statistics.quantiles(times, n=100)[98] if len(times) > 1 else times[0]
        print(f"{name:16} {total['connections']:6} connections {total['ended']:6} ended "
              f"{total['bytes'] >> 20:5} MiB sent, GOAWAY {','.join(codes) or '-':5} "
              f"memory {growth:+4} MiB, honest calls {len(times):4}, p99 {1000 * p99:.0f} ms")
        self.assertLess(growth, MAX_GROWTH_MIB, name)
        self.assertGreater(total["bytes"], 10_000, name)
        if name not in WITHIN_THE_RULES:
            self.assertGreater(total["ended"], 0, name)
        self.assertIsNone(self.daemon.process.poll())

    def test_attacks_end_and_leave_others_alone(self):
        idle = self.p99_beside("sleep", "60")
        busy = self.p99_beside(sys.executable, "-c", "while True: pass")
        print(f"without an attack: p99 {idle:.0f} ms; with the processors as busy, {busy:.0f} ms")
        for name in attacks.ATTACKS:
            with self.subTest(name):
                self.check(name)
        harness.wait_until(lambda: self.daemon.metrics()["auditstore_grpc_connections"] <= 1,
                           what="the attackers' connections are gone")
        metrics = self.daemon.metrics()
        for state in ("unfinished", "held"):
            self.assertEqual(0, metrics[f'auditstore_grpc_inbound_bytes{{state="{state}"}}'])


if __name__ == "__main__":
    unittest.main(verbosity=2)
