"""All attacks in any order for long, with faults among them, beside clients that keep a journal.

Afterwards memory is as it was, nothing is lost or doubled, calls are as quick as before, and the log has
no error. `test_soak.py MINUTES [SEED]` goes on for so long; as a test it is a short one.
"""

import pathlib
import random
import re
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from support import abuse, attacks, certificates, harness, log_pipe, soak  # noqa: E402
from support.ledger_case import keygen  # noqa: E402

# How many rounds of ten have a fault besides the attack.
FAULTS_OF_TEN = 3
AN_ERROR = re.compile(r"^\S+ error .*$", re.IGNORECASE | re.MULTILINE)


class SoakTest(harness.PostgresCase):
    minutes = 0.5
    seed = None

    def setUp(self):
        self.key = self.folder / "signing.pem"
        keygen(self.key)
        authority = certificates.Authority(self.folder)
        self.ca_file = authority.cert
        self.tls = dict(zip(("tls.cert_file", "tls.key_file"), authority.issue("server")))
        self.credentials = grpc.ssl_channel_credentials(authority.cert.read_bytes())
        self.pipe = log_pipe.LogPipe(self.folder / "piped.log")
        self.addCleanup(self.pipe.close)

    def start_daemon(self, settings=None, **options):
        return super().start_daemon({**self.tls, **(settings or {})}, credentials=self.credentials,
                                    stderr=self.pipe.write_end, env=abuse.sanitizer_env(), **options)

    def rounds(self, chance):
        """(attack, fault or None) without end: all attacks, in any order, then again."""
        while True:
            names = list(attacks.ATTACKS)
            chance.shuffle(names)
            for name in names:
                yield name, chance.choice(list(soak.FAULTS)) if chance.random() * 10 < FAULTS_OF_TEN else None

    def test_attacks_and_faults_for_long_leave_nothing_behind(self):
        seed = self.seed or random.randrange(1 << 30)
        end = time.monotonic() + 60 * self.minutes
        with self.subTest(seed=seed):
            world = soak.SoakWorld(self, seed, self.ca_file)
            try:
                for attack, fault in self.rounds(random.Random(seed)):
                    world.round(attack, fault)
                    if time.monotonic() > end:
                        break
                world.judge()
                self.assertEqual([], AN_ERROR.findall(self.pipe.path.read_text(encoding="utf-8")))
            finally:
                print(f"seed {seed}: {world.report()}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:]:
        SoakTest.minutes = float(sys.argv.pop(1))
    if sys.argv[1:]:
        SoakTest.seed = int(sys.argv.pop(1))
    unittest.main(verbosity=2)
