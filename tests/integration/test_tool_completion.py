"""auditstore: completion by bash, and the manual pages, as other programs see them."""

import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness, shells  # noqa: E402


class BashTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = harness.TemporaryFolder()
        cls.addClassCleanup(temporary.remove)
        cls.shells = shells.Shells(temporary.path)

    def check(self, offers, *words):
        self.assertEqual(sorted(offers), sorted(self.shells.bash(*words)), words)

    def test_commands_and_options(self):
        self.check(["count", "completion", "complete"], "co")
        self.check(["--server", "--server-name"], "--serv")
        self.check(["--outcome"], "list", "--out")
        self.check(["--namespace"], "count", "--name")
        self.check(["--cluster"], "list", "--cl")
        self.check(["--outcome"], "--profile", "prod", "list", "--out")
        self.check([], "health", "--out")
        self.check(["list"], "--server", "x:1", "li")

    def test_words_of_options(self):
        self.check(["SUCCESS", "FAILURE", "PENDING", "UNKNOWN"], "list", "--outcome", "")
        self.check(["FAILURE"], "list", "--outcome", "f")
        self.check(["ERROR", "EMERGENCY"], "count", "--severity", "E")
        self.check(["action"], "count", "--by", "a")
        self.check(["list", "show"], "profile", "")

    def test_words_behind_an_equals_sign(self):
        self.check(["FAILURE"], "list", "--outcome", "=", "FA")
        self.check(["SUCCESS", "FAILURE", "PENDING", "UNKNOWN"], "list", "--outcome", "=")
        self.check(["list"], "--server", "=", "x", "li")
        self.check(["prod", "preview"], "--profile", "=", "pr")

    def test_profiles(self):
        self.check(["prod", "preview", "dev"], "--profile", "")
        self.check(["prod", "preview"], "list", "--profile", "pr")
        self.check(["elsewhere"], "--config", "other.yaml", "--profile", "")
        self.check(["elsewhere"], "--config", "=", "other.yaml", "--profile", "")
        self.check([], "--config", "nowhere.yaml", "--profile", "")

    def test_files(self):
        self.check(["events one.jsonl", "eggs"], "send", "e")
        self.check(["other.yaml"], "--config", "ot")
        self.check(["other.yaml"], "--config", "=", "ot")

    def test_the_script_is_the_one_that_is_installed(self):
        for shell, name in (("bash", "auditstore.bash"), ("zsh", "_auditstore"),
                            ("fish", "auditstore.fish")):
            printed = self.shells.run("auditstore", "completion", shell)
            self.assertEqual((shells.SCRIPTS / name).read_text(), printed)

    def test_sourcing_it_registers_it(self):
        out = self.shells.run("bash", "--norc", "-c",
                              "source <(auditstore completion bash); complete -p auditstore")
        self.assertEqual("complete -F _auditstore auditstore\n", out)


class ManualTest(unittest.TestCase):
    def pages(self):
        pages = shells.find_manuals()
        self.assertEqual(["auditstore.1", "auditstored.8", "auditstored.yaml.5"],
                         sorted(page.name for page in pages))
        return pages

    def test_the_pages_are_good_troff(self):
        for page in self.pages():
            with self.subTest(page.name):
                done = subprocess.run(["mandoc", "-T", "lint", "-W", "style", str(page)],
                                      capture_output=True, text=True, check=False)
                self.assertEqual((0, "", ""), (done.returncode, done.stdout, done.stderr))

    def text_of(self, name):
        (page,) = [page for page in self.pages() if page.name == name]
        done = subprocess.run(["mandoc", "-T", "utf8", "-O", "width=200", str(page)],
                              capture_output=True, text=True, check=True)
        return done.stdout.replace("_\b", "").replace("\b", "\0")

    def plain(self, name):
        """Without mandoc's overstriking."""
        text = self.text_of(name)
        while "\0" in text:
            at = text.index("\0")
            text = text[:at - 1] + text[at + 1:]
        return text

    def test_the_tools_page_has_every_option(self):
        text = self.plain("auditstore.1")
        for wanted in ("--token-file FILE", "--outcome OUTCOME", "AUDITSTORE_TOKEN_FILE",
                       "SUCCESS FAILURE PENDING UNKNOWN", "default_profile: dev", "server_name",
                       "auditstore send [OPTION...] [FILE]", "~/.config/auditstore/config.yaml"):
            self.assertIn(wanted, text)

    def test_the_daemons_pages_follow_its_tables(self):
        text = self.plain("auditstored.8")
        help_text = subprocess.run([str(harness.DAEMON), "--help"], capture_output=True, text=True,
                                   check=True).stdout
        options = [word for word in help_text.split() if word.startswith("--")]
        self.assertGreater(len(options), 8)
        for option in options:
            self.assertIn(option, text)
        settings = self.plain("auditstored.yaml.5")
        listed = subprocess.run([str(harness.DAEMON), "--print-config"], capture_output=True,
                                text=True, check=True).stdout
        for line in listed.splitlines():
            section, key = line.split(" = ")[0].split(".")
            self.assertRegex(settings, rf"(?m)^ +{section}$")
            self.assertRegex(settings, rf"(?m)^ +{key}\b")

    def test_no_other_page_is_made(self):
        done = subprocess.run([str(harness.DAEMON), "--print-manual", "1"], capture_output=True,
                              text=True, check=False)
        self.assertEqual(2, done.returncode)
        self.assertIn("must be 8 or 5, not 1", done.stderr)


if __name__ == "__main__":
    unittest.main()
