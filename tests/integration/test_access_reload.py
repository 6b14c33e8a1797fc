"""Roles and tokens that change while calls are under way, and files that are no use."""

import hashlib
import pathlib
import signal
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import access, harness  # noqa: E402
from support.access import LIST, WRITE, Caller, Stream  # noqa: E402

HASH = hashlib.sha256(b"x").hexdigest()
# (content of a token file, what is said behind its name)
BAD_FILES = (
    ("ci\n", ":1: must be NAME and the SHA-256 of the token, 64 hex digits"),
    ("# fine\n\nci " + HASH[:-1] + "\n", ":3: must be NAME and the SHA-256 of the token, 64 hex digits"),
    (f"ci {HASH}0\n", ":1: must be NAME and the SHA-256"),
    (f"ci {HASH[:-1]}g\n", ":1: must be NAME and the SHA-256"),
    (f"ci {HASH} more\n", ":1: must be NAME and the SHA-256"),
    (f"-ci {HASH}\n", ":1: a token's name has letters, digits and"),
    (f"c*i {HASH}\n", ":1: a token's name has letters, digits and"),
    (f"{'c' * 101} {HASH}\n", ":1: a token's name has letters, digits and"),
    (f"ci {HASH}\nx {hashlib.sha256(b'').hexdigest().upper()}\n",
     ":2: this is the hash of the empty text, which is no token"),
    (f"ci {HASH}\nother {HASH.upper()}\n", ":2: the same token as in line 1"),
)


class ReloadTest(access.AccessCase):
    def test_a_stream_ends_with_the_role_of_its_writer(self):
        loses, keeps = self.by_cn("loses"), self.by_cn("keeps")
        daemon = self.start({"access.writers": "cn:loses, cn:keeps"})
        streams = [Stream(self, daemon, caller) for caller in (loses, keeps)]
        for stream in streams:
            self.assertEqual(0, stream.send().code)
        self.reload(daemon, {"access.writers": "cn:keeps", "access.readers": "cn:loses"})
        self.assertEqual(("PERMISSION_DENIED", "the caller may not call this method",
                          "ROLE_MISSING"), streams[0].refusal())
        self.assertEqual(0, streams[1].send().code)
        self.assertEqual(["PERMISSION_DENIED", "OK"],
                         [self.call(daemon, path, loses) for path in (WRITE, LIST)])
        self.reload(daemon, {"access.writers": "cn:*"})
        self.assertEqual("OK", self.call(daemon, WRITE, loses))
        self.assertEqual(0, streams[1].send().code)

    def test_a_stream_ends_with_its_token(self):
        taken, renamed, kept = (self.token(name) for name in ("taken", "renamed", "kept"))
        daemon = self.start({"access.writers": "token:*"})
        streams = [Stream(self, daemon, caller) for caller in (taken, renamed, kept)]
        for stream in streams:
            self.assertEqual(0, stream.send().code)
        lines = self.tokens.read_text("ascii").splitlines()
        self.tokens.write_text("".join(
            line.replace("renamed ", "other ") + "\n" for line in lines
            if not line.startswith("taken ")), "ascii")
        self.reload(daemon, {"access.writers": "token:*"}, until="tokens read")
        for stream in streams[:2]:
            self.assertEqual(("UNAUTHENTICATED", "the credentials are not valid",
                              "CREDENTIALS_INVALID"), stream.refusal())
        self.assertEqual(0, streams[2].send().code)
        self.assertEqual(["UNAUTHENTICATED", "OK", "OK"],
                         [self.call(daemon, WRITE, who) for who in (taken, renamed, kept)])

    def test_two_tokens_of_one_name_hold_until_one_is_taken_away(self):
        old = self.token("rotated")
        daemon = self.start({"access.writers": "token:rotated"})
        new = self.token("rotated")
        self.assertEqual("UNAUTHENTICATED", self.call(daemon, WRITE, new))
        self.reload(daemon, {"access.writers": "token:rotated"}, until="tokens read")
        self.assertEqual(["OK", "OK"], [self.call(daemon, WRITE, who) for who in (old, new)])
        digest = hashlib.sha256(old.authorization.split()[1].encode()).hexdigest()
        self.tokens.write_text("".join(
            line + "\n" for line in self.tokens.read_text("ascii").splitlines()
            if digest not in line), "ascii")
        self.reload(daemon, {"access.writers": "token:rotated"}, until="tokens read")
        self.assertEqual(["UNAUTHENTICATED", "OK"],
                         [self.call(daemon, WRITE, who) for who in (old, new)])

    def test_a_bad_token_file_changes_nothing_and_says_why(self):
        caller = self.token("ci")
        good = self.tokens.read_text("ascii")
        self.addCleanup(self.tokens.write_text, good, "ascii")
        daemon = self.start({"access.writers": "token:ci"})
        for content, expected in BAD_FILES:
            with self.subTest(content):
                self.tokens.write_text(content, "ascii")
                before = daemon.log().count("tokens not reloaded")
                daemon.signal(signal.SIGHUP)
                harness.wait_until(lambda n=before: daemon.log().count("tokens not reloaded") > n)
                last = [line for line in daemon.log().splitlines() if "tokens not" in line][-1]
                self.assertIn(f"access.token_file: {self.tokens}{expected}", last)
                self.assertEqual("OK", self.call(daemon, WRITE, caller))
        self.tokens.unlink()
        daemon.signal(signal.SIGHUP)
        harness.wait_until(lambda: "No such file" in daemon.log())
        self.assertEqual("OK", self.call(daemon, WRITE, caller))

    def test_a_bad_token_file_is_no_start(self):
        for number, (content, expected) in enumerate(BAD_FILES):
            bad = self.folder / f"bad{number}"
            bad.write_text(content, encoding="ascii")
            done = harness.run_daemon(settings={"access.token_file": bad})
            self.assertEqual(1, done.returncode)
            self.assertIn(f"access.token_file: {bad}{expected}", done.stderr)
        done = harness.run_daemon(settings={"access.token_file": self.folder})
        self.assertEqual(1, done.returncode)
        self.assertIn("Is a directory", done.stderr)

    def test_lists_that_can_not_be_meant_are_refused(self):
        for value in ("ci", "token:ci,", "token:ci,,cn:x", "tok*en:ci", "*,:x", "anonymous"):
            done = harness.run_daemon("--check-config", settings={"access.writers": value})
            self.assertEqual(2, done.returncode, value)
            self.assertIn("must be a list of principals, such as token:ci", done.stderr)
        for value in ("writers", "writer,", "", "writer,off"):
            done = harness.run_daemon("--check-config", settings={"access.anonymous_roles": value})
            self.assertEqual(2, done.returncode, value)
            self.assertIn("must be a list of roles, of writer, reader, auditor and admin, or off",
                          done.stderr)


class TokenCommandTest(access.AccessCase):
    def test_it_makes_a_token_and_the_line_that_the_file_needs(self):
        done = harness.run_daemon("token", "made")
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        token, line = done.stdout.splitlines()
        self.assertEqual(f"made {hashlib.sha256(token.encode()).hexdigest()}", line)
        self.assertNotEqual(token, harness.run_daemon("token", "made").stdout.split()[0])
        with open(self.tokens, "a", encoding="ascii") as out:
            out.write(line + "\n")
        daemon = self.start({"access.writers": "token:made"})
        self.assertEqual("OK", self.call(daemon, WRITE, Caller("", None, f"Bearer {token}")))
        self.assertNotIn(token, daemon.log())

    def test_names_that_the_file_can_not_hold_are_refused(self):
        for args in (["token"], ["token", ""], ["token", "a b"], ["token", "#x"], ["token", "a", "b"]):
            done = harness.run_daemon(*args)
            self.assertEqual((2, ""), (done.returncode, done.stdout), args)


if __name__ == "__main__":
    unittest.main()
