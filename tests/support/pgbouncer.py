"""A PgBouncer of the test's own before a private PostgreSQL.

    pooler = pgbouncer.PgBouncer(folder, postgres, pool_mode="transaction")
    daemon = self.start_daemon(pooler.daemon_settings())
    pooler.stop()

It has its own folder and a free port, and as root runs as the user of PostgreSQL's package.
"""

import os
import signal
import socket
import subprocess

from support import harness

START_DEADLINE_S = 30
STOP_DEADLINE_S = 30
ATTEMPTS = 5


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class PgBouncer:
    """`settings` are lines of the section [pgbouncer]; the others are PgBouncer's own."""

    count = 0

    def __init__(self, folder, postgres, **settings):
        PgBouncer.count += 1
        self.folder = folder / f"pgbouncer{PgBouncer.count}"
        self.folder.mkdir()
        self.postgres = postgres
        self.settings = settings
        self.process = None
        (self.folder / "users").write_text(f'"{postgres.user}" ""\n', encoding="utf-8")
        for _ in range(ATTEMPTS):
            # The port may be taken before PgBouncer binds it: then it ends, and another is tried.
            self.port = _free_port()
            if self.start():
                return
        raise RuntimeError(f"pgbouncer didn't start: {self.log()}")

    def _write_config(self):
        lines = {"listen_addr": "127.0.0.1", "listen_port": self.port, "unix_socket_dir": "",
                 "auth_type": "trust", "auth_file": self.folder / "users", **self.settings}
        text = "".join(f"{name} = {value}\n" for name, value in lines.items())
        path = self.folder / "ini"
        path.write_text(f"[databases]\n* = host={self.postgres.host} port={self.postgres.port}\n"
                        f"[pgbouncer]\n{text}", encoding="utf-8")
        return path

    def start(self):
        """On the port it had. False when it ended at once."""
        drop = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] \
            if os.geteuid() == 0 else []
        config = self._write_config()
        with open(self.folder / "log", "a", encoding="utf-8") as log:
            # pylint: disable=consider-using-with
            self.process = subprocess.Popen([*drop, "pgbouncer", str(config)], stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, cwd="/")
        return harness.wait_until(self._is_up_or_over, START_DEADLINE_S, "pgbouncer") == "up"

    def _is_up_or_over(self):
        if self.process.poll() is not None:
            return "over"
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return None
        return "up"

    def stop(self):
        """At once: PgBouncer's SIGTERM. Both ends of what goes through it are cut."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(STOP_DEADLINE_S)

    def log(self):
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def daemon_settings(self):
        return {**self.postgres.daemon_settings(), "database.port": self.port}
