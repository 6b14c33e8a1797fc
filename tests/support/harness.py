"""What the integration tests start and talk to: a private PostgreSQL, auditstored, gRPC stubs.

    class SomeTest(harness.StoreCase):          # one PostgreSQL and one daemon for the class
        settings = {"ingest.lanes": 1}          # further settings of the daemon
        def test_it(self):
            self.stub.WriteEvents(...)          # the generated Python stub
            self.postgres.sql("SELECT count(*) FROM audit_events")

Everything lives in a temporary folder under /tmp and is gone afterwards; ports are free ones.
Waiting means polling a condition until a deadline. Binaries come from $AUDITSTORE_BUILD_DIR.
"""

import contextlib
import fcntl
import http.client
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types
import unittest

import grpc

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("AUDITSTORE_BUILD_DIR", ROOT / "build" / "dev"))
DAEMON = BUILD / "src" / "auditstored"
TOOL = BUILD / "clients" / "c" / "tool" / "auditstore"
EXAMPLES = BUILD / "clients" / "c" / "examples"
PRIVATE_POSTGRES = ROOT / "tests" / "support" / "private_postgres"

# Sanitizers make everything several times slower, and tests run side by side.
START_DEADLINE_S = 60
STOP_DEADLINE_S = 60

GRPC_CHANNEL_OPTIONS = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
]

# min_reconnect_backoff is also what one attempt may take, with TLS's handshake and the first settings: on a
# busy machine that takes longer.
TLS_CHANNEL_OPTIONS = [option for option in GRPC_CHANNEL_OPTIONS
                       if option[0] != "grpc.min_reconnect_backoff_ms"]


def wait_until(condition, deadline_s=30, what="the condition", every_s=0.02):
    """Polls `condition` until it returns something true, and returns that."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"{what} didn't hold within {deadline_s} s")
        time.sleep(every_s)


def is_sanitized():
    """Whether the daemon was built with AddressSanitizer, which takes memory of its own."""
    return b"__asan_init" in DAEMON.read_bytes()


# ---- gRPC stubs ----


def _generate_stubs(out):
    """Runs protoc with the gRPC plugin for Python over proto/, once for each state of proto/."""
    protos = sorted((ROOT / "proto").rglob("*.proto"))
    newest = max(p.stat().st_mtime_ns for p in protos)
    stamp = out / "stamp"
    if stamp.exists() and stamp.read_text() == str(newest):
        return
    plugin = shutil.which("grpc_python_plugin")
    if plugin is None:
        raise RuntimeError("grpc_python_plugin not found: apt-get install protobuf-compiler-grpc")
    subprocess.run(
        ["protoc", f"-I{ROOT / 'proto'}", f"--python_out={out}", f"--grpc_python_out={out}",
         f"--plugin=protoc-gen-grpc_python={plugin}", *map(str, protos)],
        check=True)
    stamp.write_text(str(newest))


def load_stubs():
    """The generated modules as attributes: event, store, store_grpc, admin, admin_grpc, health,
    health_grpc, reflection, reflection_grpc, reflection_alpha_grpc, status, details."""
    out = BUILD / "gen" / "python"
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in parallel
        _generate_stubs(out)
    if str(out) not in sys.path:
        sys.path.insert(0, str(out))
        # grpc and google are installed packages already: let them see the generated modules too.
        import google  # pylint: disable=import-outside-toplevel
        grpc.__path__.append(str(out / "grpc"))
        google.__path__.append(str(out / "google"))
    # pylint: disable=import-outside-toplevel,import-error
    from auditstore.v1 import (admin_pb2, admin_pb2_grpc, audit_store_pb2, audit_store_pb2_grpc,
                               event_pb2)
    from google.rpc import error_details_pb2, status_pb2
    from grpc.health.v1 import health_pb2, health_pb2_grpc
    from grpc.reflection.v1 import reflection_pb2, reflection_pb2_grpc
    from grpc.reflection.v1alpha import reflection_pb2_grpc as reflection_alpha_pb2_grpc
    return types.SimpleNamespace(
        event=event_pb2, store=audit_store_pb2, store_grpc=audit_store_pb2_grpc,
        admin=admin_pb2, admin_grpc=admin_pb2_grpc,
        health=health_pb2, health_grpc=health_pb2_grpc, reflection=reflection_pb2,
        reflection_grpc=reflection_pb2_grpc, reflection_alpha_grpc=reflection_alpha_pb2_grpc,
        status=status_pb2,
        details=error_details_pb2)


def status_details(rpc_error, detail_type):
    """The details of one type (such as details.BadRequest) in the google.rpc.Status of an error."""
    status = load_stubs().status.Status()
    for key, value in rpc_error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status.ParseFromString(value)
    return details_of(status, detail_type)


def details_of(status, detail_type):
    """The same of a google.rpc.Status inside a message."""
    found = []
    for detail in status.details:
        message = detail_type()
        if detail.Is(detail_type.DESCRIPTOR):
            detail.Unpack(message)
            found.append(message)
    return found


# ---- the processes ----


class TemporaryFolder:
    """A folder that PostgreSQL's own user can enter."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="auditstore-test.", dir="/tmp"))
        self.path.chmod(0o711)

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)


class Postgres:
    """A PostgreSQL server of one's own; settings are lines of postgresql.conf."""

    def __init__(self, folder, *, is_there=False, **settings):
        """is_there: the folder has a server that runs."""
        self.folder = folder
        self.env = {}  # added to the environment of the server that is started next
        if not is_there:
            self._run("start", *[f"{key}={value}" for key, value in settings.items()])
        self.host = "127.0.0.1"
        self.port = int((folder / "port").read_text())
        self.user = "auditstore"  # the daemons' role; questions are asked by the superuser

    def _run(self, verb, *args):
        # No pipes: the server would inherit them and keep them open.
        log = self.folder.with_name(self.folder.name + ".log")
        with open(log, "a", encoding="utf-8") as out:
            done = subprocess.run([str(PRIVATE_POSTGRES), verb, str(self.folder), *args], stdout=out,
                                  stderr=out, stdin=subprocess.DEVNULL, check=False,
                                  env={**os.environ, **self.env})
        if done.returncode != 0:
            raise RuntimeError(f"private_postgres {verb}: {log.read_text()}")

    def copy(self, folder):
        """A server of its own with what this one has now."""
        self._run("copy", str(folder))
        return Postgres(folder, is_there=True)

    def stop(self, mode="fast"):
        self._run("stop", mode)

    def restart(self, mode="fast"):
        """Starts it again on the same port, stopping it first when it runs."""
        self._run("restart", mode)

    def remove(self):
        self._run("remove")

    def sql(self, statement):
        """Runs SQL with psql. Returns rows as lists of texts; NULL is an empty text."""
        done = subprocess.run(
            ["psql", "-X", "-A", "-t", "-q", "-F", "\x1f", "-R", "\x1e", "-v", "ON_ERROR_STOP=1",
             "-h", self.host, "-p", str(self.port), "-U", "auditstore", "-d", "auditstore",
             "-c", statement],
            capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"psql: {done.stderr}")
        out = done.stdout[:-1] if done.stdout.endswith(("\n", "\x1e")) else done.stdout
        return [row.split("\x1f") for row in out.split("\x1e")] if out else []

    def empty(self):
        """As migrate left it: no events, no ledgers, no name. For when no daemon runs: one that does
        remembers ledgers, and would find others under their ids."""
        self.sql("TRUNCATE audit_events, ledgers, ledger_batches, ledger_nodes;"
                 " UPDATE store SET origin = NULL, epoch = 0, next_ledger_id = 1")

    def value(self, statement):
        """The one value that a statement returns, as text."""
        return self.sql(statement)[0][0]

    @contextlib.contextmanager
    def locked(self, table):
        """Whoever reads or writes the table waits until the block ends."""
        with subprocess.Popen(
                ["psql", "-X", "-A", "-t", "-q", "-h", self.host, "-p", str(self.port),
                 "-U", "auditstore", "-d", "auditstore"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            holder.stdin.write(f"BEGIN; LOCK TABLE {table}; SELECT 'locked';\n")
            holder.stdin.flush()
            if holder.stdout.readline() != "locked\n":
                raise RuntimeError(f"can't lock {table}")
            try:
                yield
            finally:
                holder.communicate("COMMIT;\n", timeout=30)

    def daemon_settings(self):
        return {"database.host": self.host, "database.port": self.port,
                "database.sslmode": "disable", "database.user": self.user,
                "database.name": "auditstore"}


def write_config(path, settings):
    """A YAML file of {"section.key": value}; replaced in one step, so that nobody reads half of it."""
    sections = {}
    for key, value in settings.items():
        section, name = key.split(".")
        sections.setdefault(section, []).append(f"  {name}: {value}\n")
    text = "".join(f"{section}:\n{''.join(lines)}" for section, lines in sections.items())
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.rename(path)


def options_of(settings):
    return [arg for key, value in settings.items() for arg in ("--set", f"{key}={value}")]


def run_daemon(*args, settings=None, timeout=START_DEADLINE_S):
    """Runs auditstored to its end, e.g. run_daemon("--check-config"). Returns CompletedProcess."""
    return subprocess.run([str(DAEMON), *args, *options_of(settings or {})], capture_output=True,
                          text=True, stdin=subprocess.DEVNULL, check=False, timeout=timeout)


def migrate(postgres):
    done = run_daemon("migrate", settings=postgres.daemon_settings())
    if done.returncode != 0:
        raise RuntimeError(f"auditstored migrate: exit code {done.returncode}\n{done.stderr}")


class Daemon:
    """auditstored on a free port. Its log is a file that log() reads, unless it goes to `stderr`."""

    count = 0

    def __init__(self, folder, postgres, settings=None, wait_serving=True, config=None,
                 env=None, credentials=None, stderr=None):
        Daemon.count += 1
        self.credentials = credentials  # of grpcio, for a daemon that speaks TLS
        self.port_file = folder / f"daemon{Daemon.count}.port"
        self.http_port_file = folder / f"daemon{Daemon.count}.http_port"
        self.log_file = folder / f"daemon{Daemon.count}.log"
        self.settings = {"server.listen": "127.0.0.1:0", "server.port_file": self.port_file,
                         "http.listen": "127.0.0.1:0", "http.port_file": self.http_port_file,
                         **postgres.daemon_settings(), **(settings or {})}
        with open(self.log_file, "w", encoding="utf-8") as log:
            args = ["--config", str(config)] if config else []
            self.process = subprocess.Popen([str(DAEMON), *args, *options_of(self.settings)],
                                            stderr=log if stderr is None else stderr, stdout=log,
                                            stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})
        try:
            wait_until(self._has_port, START_DEADLINE_S, "auditstored listens")
            self.port = int(self.port_file.read_text())
            self.address = f"127.0.0.1:{self.port}"
            if wait_serving:
                self.wait_health("SERVING")
        except BaseException:
            self.kill()
            sys.stderr.write(self.log())
            raise

    def _has_port(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"auditstored ended with {self.process.returncode}")
        return self.port_file.exists()

    def log(self):
        """All that was logged before this call."""
        wait_until(self._has_written_log, what="the log is written")
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def _has_written_log(self):
        """The loop doesn't wait for its log: a line may still be on its way when its cause was seen."""
        if self.process.poll() is not None or not self.http_port_file.exists():
            return True
        try:
            return self.metrics()["auditstore_log_waiting_bytes"] == 0
        except (OSError, http.client.HTTPException):
            return True  # it is ending, or its pages are besieged

    def channel(self, is_patient=False):
        """is_patient: an attempt to connect may take long."""
        if self.credentials:
            return grpc.secure_channel(self.address, self.credentials,
                                       options=TLS_CHANNEL_OPTIONS)
        options = TLS_CHANNEL_OPTIONS if is_patient else GRPC_CHANNEL_OPTIONS
        return grpc.insecure_channel(self.address, options=options)

    def health(self):
        """The name of the serving status now; "UNREACHABLE" when nobody answers."""
        stubs = load_stubs()
        try:
            with self.channel() as channel:
                reply = stubs.health_grpc.HealthStub(channel).Check(
                    stubs.health.HealthCheckRequest(), timeout=5)
        except grpc.RpcError:
            return "UNREACHABLE"
        return stubs.health.HealthCheckResponse.ServingStatus.Name(reply.status)

    def http_get(self, path, method="GET"):
        """(status, content as text) of a page of the operators' port."""
        port = int(self.http_port_file.read_text())
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request(method, path)
            reply = connection.getresponse()
            return reply.status, reply.read().decode("utf-8")
        finally:
            connection.close()

    def metrics(self):
        """All samples of /metrics, as {'name' or 'name{label="value"}': float}."""
        status, text = self.http_get("/metrics")
        if status != 200:
            raise RuntimeError(f"/metrics: {status} {text}")
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def wait_health(self, wanted, deadline_s=START_DEADLINE_S):
        def has_it():
            if self.process.poll() is not None:
                raise RuntimeError(f"auditstored ended with {self.process.returncode}")
            return self.health() == wanted
        wait_until(has_it, deadline_s, f"health {wanted}")

    def signal(self, signum):
        self.process.send_signal(signum)

    def wait(self, deadline_s=STOP_DEADLINE_S):
        """Waits for its end and returns the exit code."""
        return self.process.wait(deadline_s)

    def stop(self):
        """SIGTERM; returns the exit code. A sanitizer's report makes it fail."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            code = self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"auditstored ignored SIGTERM\n{self.log()}") from None
        self.check_log()
        return code

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def check_log(self):
        log = self.log()
        for mark in ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:"):
            if mark in log:
                raise RuntimeError(f"auditstored: {mark}\n{log}")


def run_tool(address, *args, stdin="", timeout=START_DEADLINE_S, env=None):
    """Runs `auditstore --server ADDRESS ARGS`. Returns CompletedProcess with texts."""
    return subprocess.run([str(TOOL), "--server", address, *map(str, args)], input=stdin,
                          capture_output=True, text=True, check=False, timeout=timeout,
                          env={**os.environ, **(env or {})})


# ---- test cases ----


class PostgresCase(unittest.TestCase):
    """One private, migrated PostgreSQL for the class; daemons as the tests want them."""

    postgres_settings = {}

    @classmethod
    def setUpClass(cls):
        cls.temporary = TemporaryFolder()
        cls.addClassCleanup(cls.temporary.remove)
        cls.folder = cls.temporary.path
        cls.postgres = Postgres(cls.folder / "pg", **cls.postgres_settings)
        cls.addClassCleanup(cls.postgres.remove)
        cls.stubs = load_stubs()
        cls.prepare_database()

    @classmethod
    def prepare_database(cls):
        migrate(cls.postgres)

    def start_daemon(self, settings=None, **options):
        """A daemon for this test alone; it is stopped, and its exit code checked, at the end.
        Options as for Daemon."""
        daemon = Daemon(self.folder, self.postgres, settings, **options)

        def stop():
            ended_before = daemon.process.poll() is not None
            code = daemon.stop()
            if not ended_before and code != 0:
                raise AssertionError(f"auditstored ended with {code}\n{daemon.log()}")
        self.addCleanup(stop)
        return daemon

    def open_stub(self, daemon):
        channel = daemon.channel()
        self.addCleanup(channel.close)
        return self.stubs.store_grpc.AuditStoreStub(channel)


class StoreCase(PostgresCase):
    """One PostgreSQL and one daemon for the class: cls.daemon, cls.stub."""

    settings = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon = Daemon(cls.folder, cls.postgres, cls.settings)
        cls.addClassCleanup(cls._stop_daemon)
        cls.channel = cls.daemon.channel()
        cls.addClassCleanup(cls.channel.close)
        cls.stub = cls.stubs.store_grpc.AuditStoreStub(cls.channel)

    @classmethod
    def _stop_daemon(cls):
        code = cls.daemon.stop()
        if code != 0:
            raise AssertionError(f"auditstored ended with {code}\n{cls.daemon.log()}")
