"""Attacks and faults for long, beside clients that write and keep a journal: a world (crash_world.py) under siege.

    world = SoakWorld(case, seed, ca_file)
    world.round("pings", "kill_backend")
    world.judge()
"""

import contextlib
import os
import pathlib
import signal
import statistics
import time

from support import abuse, attacks, crash_faults, crash_world, harness

ATTACK_S = 2
FROZEN_S = 3
QUIET_S = 3
CLIENTS_PAUSE_S = 0.3
# Latency is back when a call takes no longer than a few of the slow ones before, and a turn of the scheduler.
BACK_S, SLOWER, SLACK_S = 1, 5, 1
MORE_DESCRIPTORS = 32  # connections to PostgreSQL come and go
RETURN_S = 30
MAX_INBOUND_MIB, MAX_QUEUE_MIB = 32, 8
# What the daemon may have in an attack, after one in the holes of its heap, and more of that at the end than when
# each attack had been there once.
PEAK_MIB = 64 + MAX_INBOUND_MIB + MAX_QUEUE_MIB
KEPT_MIB, GROWTH_MIB = 32, 8
GIVEN_BACK_S = 15  # the daemon looks every five seconds for what wasn't used since the last time


def children(pid):
    found = [pid]
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def signal_all(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def freeze_server(world):
    postmaster = int((world.case.folder / "pg" / "data" / "postmaster.pid").read_text().split()[0])
    pids = children(postmaster)
    signal_all(pids, signal.SIGSTOP)
    world.linger(FROZEN_S)
    # Those that were forked meanwhile, too.
    signal_all([*pids, *children(postmaster)], signal.SIGCONT)


def reload_settings(world):
    world.daemons[0].signal(signal.SIGHUP)


def stall_log(world):
    world.case.pipe.is_stalled = True
    world.linger(ATTACK_S)
    world.case.pipe.is_stalled = False


FAULTS = {**{name: crash_faults.FAULTS[name] for name in ("cut", "end_backend", "kill_backend", "kill_server")},
          **{fault.__name__: fault for fault in (freeze_server, reload_settings, stall_log)}}


class SoakRig(abuse.Rig):
    """What it writes is no client's: it is marked as the attackers' is."""

    def __init__(self, *args):
        super().__init__(*args, is_strict=False)
        self.fields = {"event_type": "test.attack"}
        self.connections = 0

    def begin(self):
        super().begin()
        self.connections = self.daemon.metrics()["auditstore_grpc_connections"]

    def is_quiet(self):
        """Clients go on, so that their calls are counted."""
        return self.daemon.metrics()["auditstore_grpc_connections"] <= self.connections


class SoakWorld(crash_world.World):
    def __init__(self, case, seed, ca_file):
        super().__init__(case, seed)
        self.pause_s = CLIENTS_PAUSE_S
        self.resident = []
        # Names of rounds after which something was amiss.
        self.high, self.slow, self.many = [], [], []
        self.attack_count = 0
        self.daemon = self.daemons[0]
        self.rig = SoakRig(self.daemon, self.stubs, ca_file)
        case.addCleanup(self.rig.__exit__)
        self.rig.begin()
        self.rig.add_large_events()
        self.quiet_p99_s = abuse.p99_ms(self.rig.calls_for(QUIET_S)) / 1000
        self.first_mib, self.first_descriptors = self.rig.first_mib, abuse.descriptors(self.daemon.process)

    def settings(self, slot):
        return {**super().settings(slot), "server.max_inbound_bytes": f"{MAX_INBOUND_MIB}MiB",
                "ingest.max_queue_bytes": f"{MAX_QUEUE_MIB}MiB"}

    # ---- a round ----

    def round(self, attack, fault=None):
        """What it left behind is noted, and judged at the end."""
        self.attack_count += 1
        strike = [lambda: self.hit(fault)] if fault else []
        outcome = self.rig.attack(attack, ATTACK_S, lambda: strike.pop()() if strike else None)
        self.case.assertIsNone(self.daemon.process.poll(), "the daemon ended")
        self.case.assertEqual([], self.failures())
        self.rig.wait_gone()
        if outcome.peak_mib > self.allowance(PEAK_MIB):
            self.high.append(f"{attack}: {outcome.peak_mib:.0f} MiB")
        self.note_latency(f"{attack} and {fault}" if fault else attack, may_wait=fault is not None)
        self.note_rest(attack)
        print(f"{outcome}{', ' + fault if fault else ''}; afterwards {self.resident[-1]:.0f} MiB", flush=True)

    def hit(self, fault):
        FAULTS[fault](self)
        self.counts[fault] += 1

    def note_latency(self, what, may_wait):
        """may_wait: until PostgreSQL is there again."""
        if may_wait:
            harness.wait_until(self.is_served, RETURN_S, "calls are served again")
        limit_s, end = SLOWER * self.quiet_p99_s + SLACK_S, time.monotonic() + BACK_S
        while not self.is_served(limit_s):
            if time.monotonic() > end:
                self.slow.append(what)
                return

    def is_served(self, limit_s=abuse.CALL_DEADLINE_S):
        self.rig.failed = 0
        return self.rig.write(self.rig.stub) <= limit_s and self.rig.failed == 0

    def note_rest(self, attack):
        limit = self.first_descriptors + MORE_DESCRIPTORS
        with contextlib.suppress(TimeoutError):
            harness.wait_until(lambda: abuse.descriptors(self.daemon.process) <= limit, RETURN_S)
        if abuse.descriptors(self.daemon.process) > limit:
            self.many.append(attack)
        with contextlib.suppress(TimeoutError):
            harness.wait_until(lambda: self.resident_now() <= self.first_mib + self.allowance(KEPT_MIB), GIVEN_BACK_S)
        self.resident.append(self.resident_now())

    def resident_now(self):
        return abuse.memory_mib(self.daemon.process)

    def allowance(self, mib):
        return mib * (2 if harness.is_sanitized() else 1)

    # ---- the end ----

    def judge(self):
        case = self.case
        self.stop_clients()
        self.unjournaled.update(row[0] for row in self.postgres.sql(
            "SELECT event_id FROM audit_events WHERE event_type = 'test.attack'"))
        self.check()
        case.assertEqual([], self.high, "there was more memory than the settings allow in these")
        case.assertLess(max(self.resident), self.first_mib + self.allowance(KEPT_MIB), "memory after a round")
        case.assertLess(self.growth_mib(), self.allowance(GROWTH_MIB), f"memory after rounds: {self.resident}")
        case.assertEqual([], self.slow, "calls were slow a second after these")
        case.assertEqual([], self.many, "descriptors stayed open after these")

    def growth_mib(self):
        """From the second time of all attacks to the end; the first finds what stays once for all."""
        later = self.resident[len(attacks.ATTACKS):]
        if len(later) < len(attacks.ATTACKS):
            return 0
        third = len(later) // 3
        return statistics.mean(later[-third:]) - statistics.mean(later[:third])

    def report(self):
        resident = f"{self.first_mib:.0f} MiB at first, after rounds {min(self.resident, default=0):.0f} to " \
                   f"{max(self.resident, default=0):.0f}"
        return f"{self.attack_count} attacks, {super().report()}, {resident}"
