"""Completion of auditstore by zsh and fish."""

import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness, shells  # noqa: E402


class ShellsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = harness.TemporaryFolder()
        cls.addClassCleanup(temporary.remove)
        cls.shells = shells.Shells(temporary.path)

    def test_the_scripts_parse(self):
        for shell, name in (("zsh", "_auditstore"), ("fish", "auditstore.fish")):
            subprocess.run([shell, "-n", str(shells.SCRIPTS / name)], check=True, timeout=60)

    def test_fish(self):
        for line, offers in (
                ("co", ["complete", "completion", "count"]),
                ("list --outcome ", ["FAILURE", "PENDING", "SUCCESS", "UNKNOWN"]),
                ("list --outcome f", ["FAILURE"]), ("list --outcome=F", ["--outcome=FAILURE"]),
                ("--profile pr", ["preview", "prod"]), ("--config ot", ["other.yaml"]),
                ("--config other.yaml --profile ", ["elsewhere"]),
                ("--config=ot", ["--config=other.yaml"]), ("health --outc", [])):
            with self.subTest(line):
                self.assertEqual(offers, sorted(self.shells.fish(line)))

    def test_zsh(self):
        for words, offers in (
                (["co"], ["complete", "completion", "count"]),
                (["list", "--outcome", ""], ["FAILURE", "PENDING", "SUCCESS", "UNKNOWN"]),
                (["list", "--outcome=F"], ["--outcome=FAILURE"]),
                (["--profile", "pr"], ["preview", "prod"]), (["--config", "ot"], ["files"]),
                (["--config=ot"], ["compset", "files"]), (["health", "--outc"], [])):
            with self.subTest(words):
                self.assertEqual(offers, sorted(self.shells.zsh(*words)))

    def test_zsh_registers_it(self):
        out = self.shells.run("zsh", "-f", "-c", "autoload -U compinit; compinit -u -d $HOME/dump; "
                              "source <(auditstore completion zsh); print $_comps[auditstore]")
        self.assertEqual("_auditstore\n", out)
        out = self.shells.run("zsh", "-f", "-c", f"fpath=({shells.SCRIPTS} $fpath); "
                              "autoload -U compinit; compinit -u -d $HOME/dump2; "
                              "print $_comps[auditstore]")
        self.assertEqual("_auditstore\n", out)


if __name__ == "__main__":
    unittest.main()
