"""A reader of a daemon's log who may stop reading.

    pipe = LogPipe(path)
    daemon = case.start_daemon(stderr=pipe.write_end)
    pipe.is_stalled = True
"""

import fcntl
import os
import select
import threading

PIPE_BYTES = 4096


class LogPipe(threading.Thread):
    """What it reads goes to the file at `path`."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path = path
        self.is_stalled = self.is_closed = False
        self.read_end, self.write_end = os.pipe()
        fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.start()

    def run(self):
        with open(self.path, "ab") as out:
            while not self.is_closed:
                if self.is_stalled:
                    select.select([], [], [], 0.05)
                elif select.select([self.read_end], [], [], 0.05)[0]:
                    out.write(os.read(self.read_end, 65536))
                    out.flush()

    def close(self):
        """Once the daemon has ended."""
        self.is_closed = True
        self.join()
        os.close(self.read_end)
        os.close(self.write_end)
