"""auditstore: where its settings come from, and what it says of bad ones. No server is needed."""

import os
import pathlib
import re
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness  # noqa: E402

NOBODY = "127.0.0.1:1"


class SettingsCase(unittest.TestCase):
    """A home folder of its own, and no variable of the caller's."""

    def setUp(self):
        temporary = harness.TemporaryFolder()
        self.addCleanup(temporary.remove)
        self.home = temporary.path
        self.file = self.home / ".config/auditstore/config.yaml"
        self.file.parent.mkdir(parents=True)

    def run_tool(self, *args, env=None):
        clean = {key: value for key, value in os.environ.items()
                 if not key.startswith("AUDITSTORE_") and key != "XDG_CONFIG_HOME"}
        merged = {**clean, "HOME": str(self.home), **(env or {})}
        return subprocess.run([str(harness.TOOL), *map(str, args)], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, check=False, timeout=60,
                              env={key: value for key, value in merged.items() if value is not None})

    def show(self, *args, env=None):
        """{setting: (value, source)} of `auditstore ARGS profile show`."""
        done = self.run_tool(*args, "profile", "show", env=env)
        self.assertEqual(0, done.returncode, done.stderr)
        rows = [re.split(r"  +", line) for line in done.stdout.splitlines()[1:]]
        return {row[0]: (row[1], row[2] if len(row) > 2 else "") for row in rows}

    def refusal(self, *args, env=None):
        done = self.run_tool(*args, env=env)
        self.assertEqual(2, done.returncode, done.stdout + done.stderr)
        self.assertEqual("", done.stdout)
        return done.stderr

    def private_file(self, name, text="secret-content", mode=0o600):
        path = self.home / name
        path.write_text(text)
        path.chmod(mode)
        return path


# key: (option, variable, three values, what is shown of the default)
SETTINGS = {
    "server": ("--server", "AUDITSTORE_SERVER", ("a:1", "b:2", "c:3")),
    "ca_file": ("--ca", "AUDITSTORE_CA", ("/a", "/b", "/c")),
    "server_name": ("--server-name", "AUDITSTORE_SERVER_NAME", ("a", "b", "c")),
    "token_file": ("--token-file", "AUDITSTORE_TOKEN_FILE", ("/a", "/b", "/c")),
    "timeout": ("--timeout", "AUDITSTORE_TIMEOUT", ("1s", "2s", "3s")),
}


class PrecedenceTest(SettingsCase):
    def test_who_goes_before_whom(self):
        defaults = self.show()
        for key, (option, variable, values) in SETTINGS.items():
            with self.subTest(key):
                low, middle, high = values
                self.file.write_text(f"default_profile: p\nprofiles:\n  p:\n    {key}: {low}\n")
                named, env = ("--profile", "p"), {variable: middle}
                for args in ((), named):
                    self.assertEqual((low, f"{self.file}:4"), self.show(*args)[key])
                    self.assertEqual((high, option), self.show(*args, option, high, env=env)[key])
                self.assertEqual((low, f"{self.file}:4"), self.show(*named, env=env)[key])
                self.assertEqual((middle, variable), self.show(env=env)[key])
                by_variable = {**env, "AUDITSTORE_PROFILE": "p"}
                self.assertEqual((middle, variable), self.show(env=by_variable)[key])
                self.assertEqual((low, f"{self.file}:4"), self.show(env={variable: ""})[key])
                self.file.unlink()
                self.assertEqual(defaults[key], self.show(env={variable: ""})[key])
        self.assertEqual(("127.0.0.1:7443", "default"), defaults["server"])
        self.assertEqual(("10s", "default"), defaults["timeout"])
        self.assertEqual(("-", ""), defaults["token_file"])

    def test_a_named_profile_leaves_the_rest_to_variables(self):
        self.file.write_text("profiles: {p: {server: 'p:1'}}\n")
        shown = self.show("--profile", "p", env={"AUDITSTORE_TIMEOUT": "7s", "AUDITSTORE_CA": "/c"})
        self.assertEqual(("7s", "AUDITSTORE_TIMEOUT"), shown["timeout"])
        self.assertEqual(("/c", "AUDITSTORE_CA"), shown["ca_file"])

    def test_certificate_and_key_go_by_the_same_order(self):
        self.file.write_text("profiles: {p: {cert_file: /a, key_file: /ak}}\n")
        env = {"AUDITSTORE_CERT": "/b", "AUDITSTORE_KEY": "/bk"}
        named = ("--profile", "p")
        for args, variables, cert, key in (
                (named, env, "/a", "/ak"),
                ((), {**env, "AUDITSTORE_PROFILE": "p"}, "/b", "/bk"),
                ((*named, "--cert", "/c", "--key", "/ck"), env, "/c", "/ck")):
            shown = self.show(*args, env=variables)
            self.assertEqual((cert, key), (shown["cert_file"][0], shown["key_file"][0]))

    def test_whether_tls_is_spoken(self):
        self.file.write_text("profiles: {on: {tls: true}, off: {tls: false}}\n")
        for args, env, value, source in (
                ((), {}, "false", "default for servers of this machine"),
                (("--server", "unix:/run/x"), {}, "false", "default for servers of this machine"),
                (("--server", "h:1"), {}, "true", "default for servers of other machines"),
                (("--server", "127.0.0.1:1,h:1"), {}, "true", "default for servers of other machines"),
                (("--ca", "/c"), {}, "true", "because of ca_file (--ca)"),
                (("--server-name", "n"), {}, "true", "because of server_name (--server-name)"),
                (("--token-file", "/t"), {}, "false", "default for servers of this machine"),
                (("--profile", "on"), {}, "true", f"{self.file}:1"),
                (("--profile", "off", "--ca", "/c", "--tls"), {}, "true", "--tls"),
                (("--profile", "on"), {"AUDITSTORE_TLS": "false"}, "true", f"{self.file}:1"),
                (("--profile", "off"), {"AUDITSTORE_TLS": "true"}, "false", f"{self.file}:1"),
                ((), {"AUDITSTORE_PROFILE": "on", "AUDITSTORE_TLS": "false"}, "false",
                 "AUDITSTORE_TLS"),
                (("--server", "h:1", "--plaintext"), {}, "false", "--plaintext"),
                (("--plaintext",), {"AUDITSTORE_TLS": "true"}, "false", "--plaintext")):
            with self.subTest(args=args, env=env):
                self.assertEqual((value, source), self.show(*args, env=env)["tls"])

    def test_options_may_stand_before_the_command_and_behind_it(self):
        done = self.run_tool("profile", "show", "--server", "late:1")
        self.assertRegex(done.stdout, r"server +late:1 +--server")
        done = self.run_tool("--server", "early:1", "profile", "--timeout=3s", "show")
        self.assertRegex(done.stdout, r"server +early:1 +--server")
        self.assertRegex(done.stdout, r"timeout +3s +--timeout")


class ProfileTest(SettingsCase):
    TWO = ("default_profile: prod\nprofiles:\n  dev:\n"
           "  prod: {server: 'p:1', token_file: t}\n")

    def test_which_profile_holds(self):
        self.file.write_text(self.TWO)
        for args, env, name, source in (
                ((), {}, "prod", f"{self.file}:1"),
                (("--profile", "dev"), {}, "dev", "--profile"),
                ((), {"AUDITSTORE_PROFILE": "dev"}, "dev", "AUDITSTORE_PROFILE"),
                (("--profile", "prod"), {"AUDITSTORE_PROFILE": "dev"}, "prod", "--profile"),
                (("--profile", "prod", "--server", "x:1"), {}, "prod", "--profile")):
            with self.subTest(args=args, env=env):
                self.assertEqual((name, source), self.show(*args, env=env)["profile"])

    def test_a_profile_that_was_not_typed_is_left_aside_when_something_names_the_server(self):
        self.file.write_text(self.TWO)
        self.assertEqual((f"{self.file.parent}/t", f"{self.file}:4"), self.show()["token_file"])
        no_default = "names the server, so no default profile holds"
        no_prod = "names the server, so AUDITSTORE_PROFILE (prod) doesn't hold"
        by_option, by_variable = ("--server", "x:1"), {"AUDITSTORE_SERVER": "x:1"}
        prod = {"AUDITSTORE_PROFILE": "prod"}
        for args, env, why in (
                (by_option, {}, f"--server {no_default}"),
                ((), by_variable, f"AUDITSTORE_SERVER {no_default}"),
                (by_option, prod, f"--server {no_prod}"),
                (by_option, {**by_variable, **prod}, f"--server {no_prod}"),
                ((), {**by_variable, **prod}, f"AUDITSTORE_SERVER {no_prod}")):
            with self.subTest(args=args, env=env):
                shown = self.show(*args, env=env)
                self.assertEqual("x:1", shown["server"][0])
                self.assertEqual(("-", ""), shown["token_file"])
                self.assertEqual(("-", why), shown["profile"])

    def test_a_profile_that_was_typed_keeps_its_own_server(self):
        self.file.write_text(self.TWO)
        shown = self.show("--profile", "prod", env={"AUDITSTORE_SERVER": "x:1"})
        self.assertEqual(("p:1", f"{self.file}:4"), shown["server"])
        self.assertEqual(f"{self.file.parent}/t", shown["token_file"][0])
        shown = self.show("--server", "x:1", "--profile", "prod")
        self.assertEqual(("x:1", "--server"), shown["server"])
        self.assertEqual(f"{self.file.parent}/t", shown["token_file"][0])

    def test_a_profile_without_server_does_not_show_its_own_to_that_of_a_variable(self):
        self.file.write_text("profiles:\n  t:\n    token_file: /t\n  c:\n    cert_file: /c\n"
                             "    key_file: /k\n  none:\n    timeout: 3s\n")
        env = {"AUDITSTORE_SERVER": "x:1"}
        for name, key, line in (("t", "token_file", 3), ("c", "cert_file", 5)):
            self.assertIn(f"AUDITSTORE_SERVER names the server, and {key} ({self.file}:{line}) "
                          "isn't meant for it: give --server",
                          self.refusal("--profile", name, "health", env=env))
            self.assertEqual("y:1", self.show("--profile", name, "--server", "y:1",
                                              env=env)["server"][0])
            self.assertEqual("127.0.0.1:7443", self.show("--profile", name)["server"][0])
        self.assertEqual("x:1", self.show("--profile", "t", "--token-file", "/o",
                                          env=env)["server"][0])
        shown = self.show("--profile", "none", env=env)
        self.assertEqual(("x:1", "3s"), (shown["server"][0], shown["timeout"][0]))

    def test_which_file_is_read(self):
        other = self.home / "other"
        (other / "auditstore").mkdir(parents=True)
        xdg = other / "auditstore/config.yaml"
        named = self.home / "named.yaml"
        for path, name in ((self.file, "home"), (xdg, "xdg"), (named, "named")):
            path.write_text(f"default_profile: {name}\nprofiles: {{{name}: {{ca_file: c}}}}\n")
        in_xdg = {"XDG_CONFIG_HOME": str(other)}
        for args, env, name, folder in (
                ((), {}, "home", self.file.parent), ((), in_xdg, "xdg", xdg.parent),
                ((), {"XDG_CONFIG_HOME": "other"}, "home", self.file.parent),
                ((), {**in_xdg, "AUDITSTORE_CONFIG": str(named)}, "named", self.home),
                (("--config", named), {"AUDITSTORE_CONFIG": "/nowhere"}, "named", self.home)):
            with self.subTest(args=args, env=env):
                shown = self.show(*args, env=env)
                self.assertEqual(name, shown["profile"][0])
                self.assertEqual(f"{folder}/c", shown["ca_file"][0])

    def test_no_file_is_no_error_unless_it_was_named(self):
        self.assertEqual("-", self.show()["profile"][0])
        self.assertEqual("-", self.show(env={"HOME": None})["profile"][0])
        self.assertIn("/nowhere: No such file", self.refusal("--config", "/nowhere", "health"))
        self.assertIn("/nowhere: No such file",
                      self.refusal("health", env={"AUDITSTORE_CONFIG": "/nowhere"}))
        self.assertIn(f"there is no profile x: there is no settings file {self.file}",
                      self.refusal("--profile", "x", "health"))
        self.assertIn("there is no profile x",
                      self.refusal("--profile", "x", "health", env={"HOME": None}))

    def test_an_unknown_profile_is_told_with_the_nearest(self):
        self.file.write_text(self.TWO)
        self.assertIn(f"there is no profile prdo in {self.file} (did you mean prod?)",
                      self.refusal("--profile", "prdo", "health"))

    def test_all_mistakes_of_the_file_are_told_at_once(self):
        self.file.write_text("profiles:\n  a:\n    tls: maybe\n    cafile: x\n  a:\n")
        told = self.refusal("health").splitlines()
        self.assertEqual(3, len(told), told)
        self.assertEqual(f"{self.file}:3: profiles.a.tls: got \"maybe\": must be true or false",
                         told[0])
        self.assertIn(f"{self.file}:4: profiles.a.cafile: unknown key", told[1])
        self.assertIn("did you mean ca_file?", told[1])
        self.assertEqual(f"{self.file}:5: profiles.a: set twice: first in line 2", told[2])
        self.refusal("profile", "list")
        # What doesn't need the file doesn't mind it.
        self.assertEqual(3, self.run_tool("--server", NOBODY, "health").returncode)
        self.assertEqual(0, self.run_tool("help").returncode)

    def test_list(self):
        self.file.write_text("default_profile: b\nprofiles:\n  a: {cert_file: c, key_file: k}\n"
                             "  b: {server: 'b:1', token_file: t}\n  c:\n")
        done = self.run_tool("profile", "list")
        rows = [re.split(r"  +", line.rstrip()) for line in done.stdout.splitlines()]
        self.assertEqual([["NAME", "SERVER", "SHOWS", "IS"],
                          ["a", "127.0.0.1:7443", "certificate"],
                          ["b", "b:1", "token", "default"],
                          ["c", "127.0.0.1:7443", "-"]], rows)
        self.assertEqual("a\nb\nc\n", self.run_tool("profile", "list", "--names").stdout)

    def test_an_empty_list_is_told(self):
        done = self.run_tool("profile", "list")
        self.assertEqual((0, ""), (done.returncode, done.stdout))
        self.assertIn(f"no profiles in {self.file}", done.stderr)


class RefusalTest(SettingsCase):
    def test_settings_that_contradict_each_other(self):
        self.file.write_text("profiles:\n  a:\n    tls: false\n    ca_file: c\n"
                             "  b:\n    cert_file: c\n  c:\n    tls: false\n"
                             "  d:\n    ca_file: c\n")
        for args, env, told in (
                (("--tls", "--plaintext"), {}, "--tls and --plaintext contradict"),
                (("--plaintext", "--ca", "/c"), {},
                 "--plaintext turns TLS off, and ca_file (--ca) is of use with TLS only"),
                (("--plaintext", "--server-name", "n"), {}, "server_name (--server-name)"),
                ((), {"AUDITSTORE_TLS": "false", "AUDITSTORE_CA": "/c"},
                 "AUDITSTORE_TLS turns TLS off, and ca_file (AUDITSTORE_CA)"),
                (("--profile", "a"), {}, f"{self.file}:3 turns TLS off, and ca_file ({self.file}:4)"),
                (("--profile", "c", "--ca", "/c"), {}, f"{self.file}:8 turns TLS off, and ca_file"),
                (("--profile", "c"), {"AUDITSTORE_SERVER_NAME": "n"},
                 f"{self.file}:8 turns TLS off, and server_name (AUDITSTORE_SERVER_NAME)"),
                (("--profile", "d"), {"AUDITSTORE_TLS": "false"},
                 f"AUDITSTORE_TLS turns TLS off, and ca_file ({self.file}:10)"),
                ((), {"AUDITSTORE_TLS": "false", "AUDITSTORE_PROFILE": "d"},
                 f"AUDITSTORE_TLS turns TLS off, and ca_file ({self.file}:10)"),
                (("--profile", "d", "--plaintext"), {},
                 f"--plaintext turns TLS off, and ca_file ({self.file}:10)"),
                (("--plaintext",), {"AUDITSTORE_CERT": "/c", "AUDITSTORE_KEY": "/k"},
                 "--plaintext turns TLS off, and cert_file (AUDITSTORE_CERT)"),
                (("--cert", "/c"), {}, "the certificate /c (--cert) needs its key"),
                (("--key", "/k"), {}, "the key /k (--key) needs its certificate"),
                (("--profile", "b"), {}, f"the certificate {self.file.parent}/c ({self.file}:6)")):
            with self.subTest(args=args, env=env):
                self.assertIn(told, self.refusal(*args, "health", env=env))

    def test_values_that_cannot_be(self):
        for args, env, told in (
                (("--timeout", "soon"), {}, "--timeout soon: must be a time"),
                (("--server", ""), {}, "--server : must be HOST:PORT"),
                (("--ca", ""), {}, "--ca : must be the path"),
                (("--server-name", ""), {}, "--server-name : must not be empty"),
                (("--server", "nowhere"), {}, "nowhere"),
                ((), {"AUDITSTORE_TIMEOUT": "1"}, "AUDITSTORE_TIMEOUT 1: must be a time"),
                ((), {"AUDITSTORE_TLS": "yes"}, "AUDITSTORE_TLS yes: must be true or false")):
            with self.subTest(args=args, env=env):
                self.assertIn(told, self.refusal(*args, "health", env=env))

    def test_words_that_are_no_options_or_commands(self):
        for args, told in (
                (("lsit",), "unknown command lsit (did you mean list?)"),
                (("--sever", "x:1", "list"), "Did you mean --server?"),
                (("list", "--catgory", "x"), "Did you mean --category?"),
                (("list", "--limit"), "option '--limit' requires an argument"),
                (("list", "x"), "list: unexpected argument x"),
                (("get",), "get: give EVENT_ID"),
                (("get", "a", "b"), "get: unexpected argument b"),
                (("send", "a", "b"), "send: unexpected argument b"),
                (("profile",), "profile: give list|show"),
                (("profile", "edit"), "profile edit: must be list or show"),
                (("profile", "show", "--names"), "--names goes with list"),
                (("completion", "csh"), "completion csh: must be bash, zsh or fish"),
                (("help", "me"), "there is no command me"),
                (("list", "--outcome", "MAYBE"), "must be SUCCESS, FAILURE, PENDING or UNKNOWN"),
                (("count", "--by", "x"), "must be action, type, category, outcome or principal")):
            with self.subTest(args=args):
                self.assertIn(told, self.refusal(*args))

    def test_files_that_cannot_be_read(self):
        for args, told in (
                (("--token-file", "/nowhere"), "/nowhere (token_file, --token-file): No such file"),
                (("--ca", "/nowhere"), "/nowhere (ca_file, --ca): No such file"),
                (("--ca", self.home), f"{self.home} (ca_file, --ca): Is a directory"),
                (("--cert", "/nowhere", "--key", "/nowhere"), "(cert_file, --cert): No such file")):
            with self.subTest(args=args):
                self.assertIn(told, self.refusal("--server", NOBODY, *args, "health"))

    def test_tokens_and_keys_that_others_can_read_are_refused(self):
        cert = self.private_file("cert.pem", mode=0o644)
        for mode in (0o604, 0o640, 0o620, 0o610, 0o644):
            path = self.private_file("secret", mode=mode)
            for args, key in ((("--token-file", path), "token_file"),
                              (("--cert", cert, "--key", path), "key_file")):
                with self.subTest(mode=oct(mode), key=key):
                    told = self.refusal("--server", NOBODY, *args, "health")
                    self.assertIn(f"{path} ({key}, ", told)
                    self.assertIn(f"chmod 600 {path}", told)
                    self.assertIn(f"{mode:04o}", told)
        for mode in (0o600, 0o400, 0o700):
            path = self.private_file("secret", mode=mode)
            done = self.run_tool("--server", NOBODY, "--timeout", "2s", "--token-file", path, "health")
            self.assertEqual(3, done.returncode, done.stderr)

    def test_what_is_in_a_token_file_is_never_shown(self):
        path = self.private_file("token", "top-secret-content")
        self.file.write_text(f"default_profile: p\nprofiles:\n  p:\n    server: {NOBODY}\n"
                             f"    token_file: {path}\n    timeout: 2s\n")
        for args in (("health",), ("profile", "show"), ("profile", "list")):
            done = self.run_tool(*args)
            self.assertNotIn("top-secret", done.stdout + done.stderr)


class HelpTest(SettingsCase):
    def test_every_command_has_help(self):
        overview = self.run_tool("--help").stdout
        commands = re.findall(r"^  ([a-z]+)  ", overview, re.MULTILINE)
        self.assertGreater(len(commands), 8)
        for command in commands:
            with self.subTest(command):
                asked = self.run_tool("help", command)
                self.assertEqual(0, asked.returncode)
                self.assertTrue(asked.stdout.startswith(f"auditstore {command}: "), asked.stdout)
                self.assertEqual(asked.stdout, self.run_tool(command, "--help").stdout)
                self.assertEqual(asked.stdout, self.run_tool(command, "-h").stdout)
        self.assertEqual(overview, self.run_tool("help").stdout)

    def test_help_fits_a_terminal(self):
        texts = [self.run_tool("--help").stdout]
        texts += [self.run_tool("help", name).stdout for name in ("list", "count", "profile")]
        for line in "\n".join(texts).splitlines():
            self.assertLessEqual(len(line), 80, line)


if __name__ == "__main__":
    unittest.main()
