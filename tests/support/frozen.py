"""A PostgreSQL server of one's own that does nothing for a while, as one whose machine is stopped."""

import contextlib
import os
import pathlib
import signal


def _children(pid):
    for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            yield from map(int, (thread / "children").read_text().split())


def processes(postgres):
    """The postmaster's first: it makes the others."""
    postmaster = int((postgres.folder / "data" / "postmaster.pid").read_text().split()[0])
    return [postmaster, *_children(postmaster)]


def _signal(pids, signum):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)


@contextlib.contextmanager
def frozen(postgres):
    """All of its processes are stopped until the block ends."""
    postmaster = processes(postgres)[0]
    os.kill(postmaster, signal.SIGSTOP)
    try:
        _signal(processes(postgres), signal.SIGSTOP)
        yield
    finally:
        _signal(reversed(processes(postgres)), signal.SIGCONT)

