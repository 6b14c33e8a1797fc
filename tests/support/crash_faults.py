"""What strikes a world (crash_world.py) while clients write.

A fault returns when it is over, in a world that can go on. One that makes the database lie opens a window
for as long.
"""

import contextlib
import os
import signal
import subprocess

import grpc

from support import crash_oracle, harness, ledgers
from support.crash_client import ODD, PATIENCE_S, RETRIED, write_one

# ---- what ends ----


def backends(postgres):
    with contextlib.suppress(RuntimeError):
        return [int(row[0]) for row in postgres.sql(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'auditstored'"
            " ORDER BY state, random()")]
    return []


def cut(world):
    """A connection ends in the middle of some message."""
    before = world.proxy.cuts
    world.proxy.cut_in = world.random.randrange(100000)
    harness.wait_until(lambda: world.proxy.cuts > before or world.failures(), PATIENCE_S, "a cut")


def end_backend(world):
    for pid in backends(world.postgres)[:1]:
        world.postgres.sql(f"SELECT pg_terminate_backend({pid})")


def kill_backend(world):
    """PostgreSQL ends all others as well, and recovers: see wait_recovered()."""
    world.doomed = backends(world.postgres)
    for pid in world.doomed[:1]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def wait_recovered(world):
    """For faults that are made with SQL. A moment after the kill, PostgreSQL may answer still."""
    def has_others():
        pids = backends(world.postgres)
        return pids and not set(pids) & set(world.doomed)
    harness.wait_until(has_others, PATIENCE_S, "PostgreSQL has recovered")


def kill_server(world):
    world.postgres.restart("immediate")


def kill_daemon(world):
    slot = world.any_slot()
    world.end_daemon(slot, is_killed=True)
    world.start_daemon(slot, wait_serving=False)
    wait_serving(world)


# ---- rows that the database treats in its own way ----

SWALLOW_ALL = "RETURN NULL;"
SWALLOW_ODD = f"IF NEW.resource_id = '{ODD}' THEN RETURN NULL; END IF; RETURN NEW;"
CHANGE_ALL = "NEW.actor_id := 'mallory'; RETURN NEW;"
CHANGE_ODD = f"IF NEW.resource_id = '{ODD}' THEN NEW.actor_id := 'mallory'; END IF; RETURN NEW;"
RAISE_ODD = f"IF NEW.resource_id = '{ODD}' THEN RAISE EXCEPTION 'none of these'; END IF; RETURN NEW;"
DELETE_ODD = (f"IF NEW.resource_id = '{ODD}' THEN DELETE FROM audit_events WHERE event_id = NEW.event_id"
              " AND event_time = NEW.event_time; END IF; RETURN NULL;")

# The function's body, when it runs, and on what.
TRIGGERS = {
    "swallows": (SWALLOW_ALL, "TRIGGER meddler BEFORE INSERT", "all"),
    "swallows odd ones": (SWALLOW_ODD, "TRIGGER meddler BEFORE INSERT", "all"),
    "changes": (CHANGE_ALL, "TRIGGER meddler BEFORE INSERT", "all"),
    "changes odd ones": (CHANGE_ODD, "TRIGGER meddler BEFORE INSERT", "all"),
    "raises": (RAISE_ODD, "TRIGGER meddler BEFORE INSERT", "all"),
    "swallows in a month": (SWALLOW_ODD, "TRIGGER meddler BEFORE INSERT", "month"),
    "changes in a month": (CHANGE_ODD, "TRIGGER meddler BEFORE INSERT", "month"),
    "deletes later": (DELETE_ODD, "CONSTRAINT TRIGGER meddler AFTER INSERT", "all"),
}


def change_schema(world, statements):
    """Waits for writers, and again when they are in the way."""
    def done():
        try:
            world.postgres.sql(f"SET lock_timeout = '3s'; {statements}")
            return True
        except RuntimeError as error:
            if not any(code in str(error) for code in ("lock timeout", "deadlock", "recovery", "starting")):
                raise
            return False
    harness.wait_until(done, PATIENCE_S, "the schema is changed")


def current_month(world):
    return world.postgres.value("SELECT tableoid::regclass FROM audit_events"
                                " ORDER BY received_at DESC LIMIT 1")


def trigger(world):
    wait_recovered(world)
    fewest = min(world.triggers[each] for each in TRIGGERS)
    variant = world.random.choice([each for each in TRIGGERS if world.triggers[each] == fewest])
    body, kind, where = TRIGGERS[variant]
    table = current_month(world) if where == "month" else "audit_events"
    later = " DEFERRABLE INITIALLY DEFERRED" if kind.startswith("CONSTRAINT") else ""
    world.triggers[variant] += 1
    with lying(world, "refusing" if variant == "raises" else "meddling"):
        change_schema(world, f"CREATE OR REPLACE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS"
                             f" $$BEGIN {body} END$$; CREATE {kind} ON {table}{later}"
                             " FOR EACH ROW EXECUTE FUNCTION meddle()")
        world.linger(1.5, 60)
        change_schema(world, f"DROP TRIGGER meddler ON {table}")


def rule(world):
    """Statements that were prepared meanwhile go on as the rule had them, unless somebody looks."""
    wait_recovered(world)
    with lying(world, "meddling"):
        change_schema(world, "CREATE RULE meddler AS ON INSERT TO audit_events DO INSTEAD NOTHING")
        world.linger(1.5, 60)
        change_schema(world, "DROP RULE meddler ON audit_events")
    world.linger(1.5, 60)


@contextlib.contextmanager
def lying(world, kind):
    window = world.open_window(kind)
    try:
        yield
    finally:
        window.end()


# ---- a database of yesterday ----


def old_copy(world):
    """A copy answers in the place of the database, which has more by then; and the database again."""
    wait_recovered(world)
    world.pause_s = 0.2  # else it is large before it is made
    copy = world.postgres.copy(world.case.folder / f"copy{len(world.copies)}.{world.counts['old_copy']}")
    world.case.addCleanup(copy.remove)
    world.wait_for_writes(world.random.randrange(1, 100))
    window = world.open_window("copy")
    world.proxy.switch(copy.port)
    window.settle()
    world.linger(2, 60)
    slot = world.any_slot() if world.random.random() < 0.5 else None
    if slot is not None:
        # In good order, as what it remembers may be a second old after a kill. It may refuse to start.
        world.end_daemon(slot, is_killed=False)
        with contextlib.suppress(RuntimeError):
            world.start_daemon(slot, wait_serving=False)
        world.linger(2, 60)
    window.leave()
    world.proxy.switch(world.postgres.port)
    window.end()
    harness.wait_until(lambda: not backends(copy), PATIENCE_S, "the copy is left alone")
    world.copies.append(crash_oracle.Server(copy, window))
    ledgers.check(world.case, copy, may_be_suspect=True)
    copy.stop()
    world.pause_s = 0
    wait_serving(world)


def wait_serving(world):
    for each in world.daemons:
        harness.wait_until(lambda slot=each: serves(world, slot), PATIENCE_S, "a daemon serves again")


def serves(world, slot):
    """One that found the wrong database may have ended by itself; so may each, at any later start, that
    wrote to the copy before it noticed."""
    daemon = world.daemons[slot]
    if daemon.process.poll() is not None:
        if "auditstored restored" in daemon.log():
            world.tell_of_restore(slot)
        else:
            world.end_daemon(slot, is_killed=True)
            world.start_daemon(slot, wait_serving=False)
    return world.daemons[slot].health() == "SERVING"


# ---- a standby that is away ----

WAITING = ("FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = '{}'")


def waits(world, program):
    return int(world.postgres.value("SELECT count(*) " + WAITING.format(program))) > 0


def sync_wait(world):
    """Commits wait for a standby that isn't there, and their waits are ended."""
    wait_recovered(world)
    postgres = world.postgres
    postgres.sql("CREATE TABLE IF NOT EXISTS probe (n int)")
    window = world.open_window("standby")
    postgres.sql("ALTER SYSTEM SET synchronous_standby_names = 'away'")
    postgres.sql("SELECT pg_reload_conf()")
    with subprocess.Popen(["psql", "-X", "-q", "-h", postgres.host, "-p", str(postgres.port), "-U",
                           "auditstore", "-d", "auditstore"], stdin=subprocess.PIPE, text=True,
                          env={**os.environ, "PGAPPNAME": "probe"}) as probe:
        try:
            # What commits now waits, so all do: sessions learn of it from shared memory.
            harness.wait_until(lambda: commit_waits(world, probe), PATIENCE_S, "commits wait")
            window.settle()
            # What waits at first may be of calls that began before; those behind them began in it.
            for verb in world.random.sample(("pg_cancel_backend", "pg_terminate_backend"), 2) * 2:
                with contextlib.suppress(TimeoutError):
                    harness.wait_until(lambda: waits(world, "auditstored"), 3)
                postgres.sql(f"SELECT {verb}(pid) " + WAITING.format("auditstored"))
                world.linger(0.5, 20)
        finally:
            window.leave()
            postgres.sql("ALTER SYSTEM RESET synchronous_standby_names")
            postgres.sql("SELECT pg_reload_conf()")
            probe.communicate(timeout=PATIENCE_S)
            window.end()


def commit_waits(world, probe):
    probe.stdin.write("INSERT INTO probe VALUES (1);\n")
    probe.stdin.flush()
    with contextlib.suppress(TimeoutError):
        return harness.wait_until(lambda: waits(world, "probe"), 0.5)
    return False


# ---- a lock ----


def hurry(world, stub, deadlines):
    """Callers who don't wait for what they asked for."""
    for seconds in deadlines:
        try:
            write_one(world, stub, timeout=seconds, wait_for_ready=True)
        except grpc.RpcError as error:
            if error.code() not in RETRIED:
                raise AssertionError(f"{error.code()}: {error.details()}") from error


def lock(world):
    """Whoever claims a ledger, or writes, waits for somebody's lock; every second time right from its
    start."""
    wait_recovered(world)
    slot = world.any_slot()
    is_at_start = world.counts["lock"] % 2 == 0
    if is_at_start:
        world.end_daemon(slot, is_killed=True)
    with world.postgres.locked("ledgers"):
        # Nobody is there who waits longer, so that the daemon gives up its first claim.
        stub = world.launch(slot, wait_serving=False) if is_at_start else world.client_stubs[slot]
        hurry(world, stub, world.random.choices((0.3, 0.6, 1), k=3))
        world.client_stubs[slot] = stub
        world.linger(world.random.choice((0, 0.3, 2)))
    hurry(world, stub, world.random.choices((0.005, 0.01, 0.02, 0.1), k=8))
    wait_serving(world)


FAULTS = {function.__name__: function for function in (
    cut, end_backend, kill_backend, kill_server, kill_daemon, trigger, rule, old_copy, sync_wait, lock)}
