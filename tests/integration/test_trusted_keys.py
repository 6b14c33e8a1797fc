"""The keys that a daemon trusts beside its own: ledger.trusted_keys_file."""

import pathlib
import signal
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness  # noqa: E402
from support.effects import effect_of  # noqa: E402
from support.ledger_case import keygen  # noqa: E402


class TrustedKeysTest(harness.PostgresCase):
    def setUp(self):
        self.count = 0
        self.own = self.folder / f"{self.id()}.own.pem"
        self.keygen(self.own)
        self.trusted = self.folder / f"{self.id()}.trusted"

    def keygen(self, path=None):
        """The public key in PEM."""
        self.count += 1
        path = path or self.folder / f"{self.id()}.{self.count}.pem"
        return keygen(path)

    def settings(self):
        return {"ledger.signing_key_file": self.own, "ledger.trusted_keys_file": self.trusted}

    def wait_log(self, daemon, words, count=1):
        harness.wait_until(lambda: daemon.log().count(words) == count, what=words)

    @effect_of("ledger.trusted_keys_file")
    def test_keys_are_read_at_the_start_and_at_a_reload(self):
        self.trusted.write_text("# before 2026\n" + self.keygen() + self.keygen(), encoding="ascii")
        daemon = self.start_daemon(self.settings())
        self.wait_log(daemon, "trusted_keys=2")
        self.trusted.write_text(self.keygen(), encoding="ascii")
        daemon.signal(signal.SIGHUP)
        self.wait_log(daemon, "trusted_keys=1")

    def test_a_file_that_is_no_use_changes_nothing_at_a_reload(self):
        good = self.keygen()
        self.trusted.write_text(good, encoding="ascii")
        daemon = self.start_daemon(self.settings())
        for count, bad in enumerate((good + self.own.read_text(encoding="ascii"), "", "no key\n"), 1):
            self.trusted.write_text(bad, encoding="ascii")
            daemon.signal(signal.SIGHUP)
            self.wait_log(daemon, "keys of checkpoints not reloaded", count)
        self.assertIn("block 2", daemon.log())
        self.trusted.write_text(good, encoding="ascii")
        daemon.signal(signal.SIGHUP)
        self.wait_log(daemon, "settings reloaded", 4)
        self.assertEqual(1, daemon.log().count("checkpoints are signed"))

    def test_a_bad_file_is_no_start_and_names_file_and_block(self):
        self.trusted.write_text(self.keygen() + self.own.read_text(encoding="ascii"), encoding="ascii")
        done = harness.run_daemon(settings={**self.postgres.daemon_settings(), **self.settings()})
        self.assertEqual(1, done.returncode)
        for words in ("ledger.trusted_keys_file", str(self.trusted), "block 2, at line 4"):
            self.assertIn(words, done.stderr)


if __name__ == "__main__":
    unittest.main()
