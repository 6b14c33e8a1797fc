"""A wall clock that a test sets, for the processes that are started with its environment.

Monotonic time stays real, as it does on a machine whose clock is set.
"""

import contextlib
import pathlib
import re

LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


def remove_left_behind():
    """What killed processes had: another user's process that gets the number of one couldn't start."""
    for path in pathlib.Path("/dev/shm").glob("*faketime_s*_*"):
        if not pathlib.Path("/proc", re.search(r"\d+$", path.name)[0]).exists():
            with contextlib.suppress(OSError):
                path.unlink()


class FakeClock:
    def __init__(self, path):
        """`path`: a file of its own, which other users can read."""
        remove_left_behind()
        self.path = path
        self.offset_s = 0
        self.shift(0)
        self.env = {"LD_PRELOAD": LIBRARY, "FAKETIME_TIMESTAMP_FILE": str(path),
                    "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                    # The library stands before the sanitizer's, which is fine with it.
                    "ASAN_OPTIONS": "verify_asan_link_order=0"}

    def shift(self, offset_s):
        """The clock is so far ahead of the machine's from now on."""
        temporary = self.path.with_suffix(".new")
        temporary.write_text(f"{offset_s:+}\n", encoding="ascii")
        temporary.chmod(0o644)
        temporary.rename(self.path)
        self.offset_s = offset_s
