"""A token file that is read while somebody writes it: the old tokens hold, or all of the new ones."""

import hashlib
import os
import pathlib
import signal
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import access, harness  # noqa: E402


def line_of(name):
    """(a caller with a new token, the line that makes it known)"""
    token = os.urandom(16).hex()
    caller = access.Caller(f"token:{name}", authorization=f"Bearer {token}")
    return caller, f"{name} {hashlib.sha256(token.encode()).hexdigest()}\n"


class TokenFileTest(access.AccessCase):
    def setUp(self):
        (self.old, old_line), self.first, self.second = (line_of(name) for name in ("old", "a", "b"))
        self.tokens.write_text(old_line, encoding="ascii")
        self.daemon = self.start({"access.writers": "token:*"})
        self.text = self.first[1] + self.second[1]

    def known(self):
        """Which of the old, the first and the second new one may write."""
        return tuple(self.call(self.daemon, access.WRITE, caller) == "OK"
                     for caller in (self.old, self.first[0], self.second[0]))

    def reload_until(self, text):
        before = self.daemon.log().count(text)
        self.daemon.signal(signal.SIGHUP)
        self.wait_log(text, before)

    def wait_log(self, text, before=0):
        harness.wait_until(lambda: self.daemon.log().count(text) > before, what=text)
        self.daemon.health()

    def test_what_is_being_written_is_read_when_it_is_closed(self):
        cut = len(self.first[1])  # a whole line: nothing in the file shows that more will come
        with open(self.tokens, "w", encoding="ascii") as out:
            out.write(self.text[:cut])
            out.flush()
            self.reload_until("tokens not reloaded yet")
            self.assertEqual((True, False, False), self.known())
            self.assertIn("is open for writing", self.daemon.log())
            out.write(self.text[cut:])
        # Nobody asks again.
        self.wait_log("tokens read", before=1)
        self.assertEqual((False, True, True), self.known())

    def test_half_a_file_is_refused(self):
        for cut in (0, 1, len(self.first[1]) - 1, len(self.first[1]) + 1, len(self.text) - 1):
            with self.subTest(cut):
                self.tokens.write_text(self.text[:cut], encoding="ascii")
                self.reload_until("ERROR tokens not reloaded")
                self.assertEqual((True, False, False), self.known())
        self.tokens.write_text(self.text, encoding="ascii")
        self.reload_until("tokens read")
        self.assertEqual((False, True, True), self.known())

    def test_a_writer_that_does_not_end_is_told_of(self):
        with open(self.tokens, "a", encoding="ascii"):
            self.reload_until("ERROR tokens not reloaded")
            self.assertEqual((True, False, False), self.known())

    def test_a_new_file_in_its_place_is_taken_at_once(self):
        new = self.tokens.with_suffix(".new")
        new.write_text(self.text, encoding="ascii")
        new.chmod(0o640)
        new.rename(self.tokens)
        self.reload_until("tokens read")
        self.assertEqual((False, True, True), self.known())
        self.assertNotIn("not reloaded yet", self.daemon.log())


if __name__ == "__main__":
    unittest.main()
