"""An honest client beside attacks (attacks.py), and what becomes of the daemon meanwhile.

    with abuse.Rig(daemon, stubs) as rig:
        rig.begin()
        outcome = rig.attack("pings", seconds=2)
        rig.settle(memory_limit_mib=100)        # until nothing of it is left
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import re
import select
import statistics
import subprocess
import sys
import time

import grpc

from support import attacks, certificates, events, harness
from support.attack import LARGE_ID
from support.ledger_case import keygen

SCRIPT = pathlib.Path(attacks.__file__)
ATTACKERS = 2
CALL_DEADLINE_S = 5
MIB = 1 << 20
# They would come from other machines, so here they have what the daemon leaves of the processors.
NICE = ["nice", "-n", "19"]
GONE_S = 30
# AddressSanitizer keeps little of what was freed, and not for long.
SANITIZER = "quarantine_size_mb=8:allocator_release_to_os_interval_ms=100"
LARGE_EVENTS = 14
NOBODYS_LEDGER = 1_000_000
TOKEN = "of-the-honest-client"
METADATA = (("authorization", f"Bearer {TOKEN}"),)
# Of the honest client's calls.
FRESH_EVERY = 16
PAUSE_S = 0.05
# What its connection may have got meanwhile, such as tables of headers.
SLACK_BYTES = 64 << 10


def memory_mib(process, what="VmRSS"):
    """VmRSS is what it has now, VmHWM the most since forget_peak()."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(re.search(what + r":\s+(\d+) kB", status).group(1)) / 1024


def forget_peak(process):
    pathlib.Path(f"/proc/{process.pid}/clear_refs").write_text("5", encoding="ascii")


def descriptors(process):
    return len(list(pathlib.Path(f"/proc/{process.pid}/fd").iterdir()))


def sanitizer_env():
    """For a daemon whose memory is judged."""
    return {"ASAN_OPTIONS": ":".join(filter(None, (os.environ.get("ASAN_OPTIONS"), SANITIZER)))}


def p99_ms(times):
    return 1000 * (statistics.quantiles(times, n=100)[98] if len(times) > 1 else times[0])


def inbound_bytes(metrics):
    """All that is counted for clients."""
    return sum(value for name, value in metrics.items() if name.startswith("auditstore_grpc_inbound_bytes"))


# ---- what attacks find ----


def production(folder):
    """(settings, grpcio's credentials, the authority's file) of a daemon that knows the honest client."""
    authority = certificates.Authority(folder)
    cert, key = authority.issue("server")
    tokens, signing_key = folder / "tokens", folder / "signing.pem"
    tokens.write_text(f"honest {hashlib.sha256(TOKEN.encode()).hexdigest()}\n", encoding="ascii")
    tokens.chmod(0o600)
    keygen(signing_key)
    settings = {"server.environment": "production", "database.host": folder / "pg",
                "tls.cert_file": cert, "tls.key_file": key, "access.token_file": tokens,
                "access.writers": "token:honest", "access.anonymous_roles": "off",
                "ledger.signing_key_file": signing_key}
    return settings, grpc.ssl_channel_credentials(authority.cert.read_bytes()), authority.cert


def add_rows(postgres, count):
    """Events that a filter without an index has to look at, once, when a daemon has made this month."""
    postgres.sql("INSERT INTO audit_events (event_id, event_time, received_at, ledger_id, sequence, event_type,"
                 " event_category, event_action, outcome) SELECT gen_random_uuid(), now(), now(),"
                 f" {NOBODYS_LEDGER}, n, 'test.row', 'test', 'row', 1 FROM generate_series(1, {count}) n"
                 f" WHERE NOT EXISTS (SELECT FROM audit_events WHERE ledger_id = {NOBODYS_LEDGER})")


# ---- what becomes of it ----


@dataclasses.dataclass
class Outcome:
    """`times` are the honest client's, in seconds."""

    name: str
    connections: int
    ended: int
    bytes: int
    codes: list
    times: list
    failed: int  # of the honest calls
    seconds: float
    start_mib: float
    peak_mib: float

    @property
    def rate(self):
        return (len(self.times) - self.failed) / self.seconds

    def __str__(self):
        return (f"{self.name:20} {self.connections:6} connections {self.ended:6} ended "
                f"{self.bytes / MIB:7.1f} MiB sent, GOAWAY {','.join(self.codes) or '-':5} memory "
                f"{self.start_mib:4.0f} to {self.peak_mib:4.0f} MiB, honest calls {len(self.times):4}, "
                f"p99 {p99_ms(self.times):.0f} ms")


class Attackers:
    """Processes that attack when they are told to."""

    def __init__(self, count):
        self.processes = [subprocess.Popen([*NICE, sys.executable, "-B", str(SCRIPT)], stdin=subprocess.PIPE,
                                           stdout=subprocess.PIPE, text=True) for _ in range(count)]

    def begin(self, *words):
        for process in self.processes:
            process.stdin.write(" ".join(map(str, words)) + "\n")
            process.stdin.flush()

    def are_done(self):
        outputs = [process.stdout for process in self.processes]
        return len(select.select(outputs, [], [], 0)[0]) == len(outputs)

    def results(self):
        return [json.loads(process.stdout.readline()) for process in self.processes]

    def close(self):
        for process in self.processes:
            with process:
                process.kill()


class Rig:
    """Speaks to the daemon as its honest client, with metadata such as a token where it needs that."""

    def __init__(self, daemon, stubs, ca_file=None, metadata=(), is_strict=True, attackers=ATTACKERS):
        """is_strict: an honest call that fails raises grpc.RpcError; else it is counted."""
        self.daemon, self.stubs, self.is_strict = daemon, stubs, is_strict
        self.ca_file, self.metadata = ca_file, metadata
        self.attackers = Attackers(attackers)
        self.channel = daemon.channel()
        self.stub = stubs.store_grpc.AuditStoreStub(self.channel)
        self.count = self.failed = 0
        self.fields = {}
        self.first_mib = self.first_bytes = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.attackers.close()
        self.channel.close()

    def begin(self):
        """Notes what there is without an attack."""
        self.write(self.stub)
        self.first_mib = memory_mib(self.daemon.process)
        self.first_bytes = inbound_bytes(self.daemon.metrics())

    def write(self, stub, **options):
        """Seconds of a write."""
        start = time.monotonic()
        request = self.stubs.store.WriteEventsRequest(events=[events.make(self.stubs, **self.fields)])
        try:
            stub.WriteEvents(request, timeout=CALL_DEADLINE_S, metadata=self.metadata, **options)
        except grpc.RpcError:
            if self.is_strict:
                raise
            self.failed += 1
        return time.monotonic() - start

    def add_large_events(self):
        """A page of these is as large as a page may be; attack.large_page() asks for it."""
        fields = self.fields
        self.fields = {**fields, "event_data": json.dumps({"x": "y" * 262000}),
                       "resource": self.stubs.event.Resource(type="test", id=LARGE_ID)}
        for _ in range(LARGE_EVENTS):
            self.write(self.stub)
        self.fields = fields

    def call(self):
        """The same; now and then from a new connection after a pause, when the daemon keeps nothing ready."""
        self.count += 1
        if self.count % FRESH_EVERY:
            return self.write(self.stub)
        time.sleep(PAUSE_S)
        with self.daemon.channel(is_patient=True) as channel:
            return self.write(self.stubs.store_grpc.AuditStoreStub(channel), wait_for_ready=True)

    def calls_for(self, seconds):
        end, times = time.monotonic() + seconds, [self.call()]
        while time.monotonic() < end:
            times.append(self.call())
        return times

    def beside(self, *command, seconds):
        """The same while such processes run as attackers would."""
        with contextlib.ExitStack() as running:
            for _ in range(ATTACKERS):
                process = running.enter_context(subprocess.Popen([*NICE, *command]))
                running.callback(process.kill)
            return self.calls_for(seconds)

    def attack(self, name, seconds, beside=None):
        """`beside` is called between two honest calls."""
        is_http = attacks.ATTACKS[name].port == "http"
        port = self.daemon.http_port_file.read_text().strip() if is_http else self.daemon.port
        before = memory_mib(self.daemon.process)
        forget_peak(self.daemon.process)
        self.failed = 0
        began, times = time.monotonic(), []
        self.attackers.begin(name, port, seconds, *filter(None, (self.ca_file,)))
        while not self.attackers.are_done():
            times.append(self.call())
            if beside:
                beside()
        took = time.monotonic() - began
        results = self.attackers.results()
        total = {key: sum(result[key] for result in results) for key in ("connections", "ended", "bytes")}
        return Outcome(name, **total, codes=sorted({code for result in results for code in result["codes"]}),
                       times=times, failed=self.failed, seconds=took, start_mib=before,
                       peak_mib=memory_mib(self.daemon.process, "VmHWM"))

    def settle(self, memory_limit_mib):
        """Waits until only the honest client is there, and nothing is counted for anybody."""
        self.wait_gone()
        harness.wait_until(lambda: memory_mib(self.daemon.process) <= memory_limit_mib, GONE_S,
                           f"memory is back below {memory_limit_mib:.0f} MiB", 0.1)

    def wait_gone(self):
        harness.wait_until(self.is_quiet, GONE_S, "the attackers' calls and connections are gone", 0.1)

    def is_quiet(self):
        metrics = self.daemon.metrics()
        return (metrics["auditstore_grpc_connections"] <= 1 and metrics["auditstore_grpc_calls"] == 0 and
                inbound_bytes(metrics) <= self.first_bytes + SLACK_BYTES)
