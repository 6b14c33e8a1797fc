"""What attacks may do to the others: nothing that matters.

    class SomeTest(abuse_case.AbuseCase):
        def test_it(self):
            self.check_each(["pings"])

Each attack runs from processes of its own while an honest client writes. Every one of that client's calls
must succeed in time, memory must stay within what the settings allow and come back, and attacks that
break a rule must be thrown out. The table of what happened is printed.
"""

import contextlib

from support import abuse, attacks, harness

SECONDS = 1.5
MAX_INBOUND_MIB = 32
MAX_QUEUE_MIB = 8
# What the daemon is without peers, and what it gives each connection.
OWN_MIB = 64
# What a heap keeps of what was given back, by its holes.
KEPT_MIB = 32
# Its allocator keeps pages of each size of its own, and gives them back late.
SANITIZER_KEPT_MIB = 96
# With it each allocation has its margins and shadow, and the process begins larger.
SANITIZED = 2


class AbuseCase(harness.PostgresCase):
    settings = {}
    is_production = False  # or else without TLS, and everybody may do everything
    credentials = ca_file = None
    metadata = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if cls.is_production:
            settings, cls.credentials, cls.ca_file = abuse.production(cls.folder)
            cls.settings = {**settings, **cls.settings}
            cls.metadata = abuse.METADATA

    @contextlib.contextmanager
    def served(self, **options):
        """A daemon of one's own: what an attack leaves is no other's start."""
        self.daemon = self.start_daemon(
            {"server.max_inbound_bytes": f"{MAX_INBOUND_MIB}MiB",
             "ingest.max_queue_bytes": f"{MAX_QUEUE_MIB}MiB", **self.settings},
            env=abuse.sanitizer_env(), credentials=self.credentials, **options)
        with abuse.Rig(self.daemon, self.stubs, self.ca_file, self.metadata) as self.rig:
            self.prepare()
            self.rig.begin()
            yield
        self.assertEqual(0, self.daemon.stop())

    def prepare(self):
        """What the attacks find."""

    def most_mib(self):
        limits = MAX_INBOUND_MIB + MAX_QUEUE_MIB
        return self.rig.first_mib + SANITIZED * (OWN_MIB + limits) if harness.is_sanitized() else OWN_MIB + limits

    def check(self, name, beside=None):
        outcome = self.rig.attack(name, SECONDS, beside)
        print(outcome, flush=True)
        if self.daemon.process.poll() is not None:
            self.fail(self.daemon.log()[-4000:])
        self.assertLess(outcome.peak_mib, self.most_mib(), name)
        self.assertGreater(outcome.connections, 0, name)
        if not attacks.ATTACKS[name].keeps_rules:
            self.assertGreater(outcome.ended, 0, name)
        self.rig.settle(self.rig.first_mib + (SANITIZER_KEPT_MIB if harness.is_sanitized() else KEPT_MIB))

    def check_each(self, names, beside=None):
        """On one daemon, or on another once an attack left something behind."""
        left = list(names)
        while left:
            with self.served():
                while left and self.holds(left.pop(0), beside):
                    pass

    def holds(self, name, beside):
        is_good = False
        with self.subTest(name):
            self.check(name, beside)
            is_good = True
        return is_good
