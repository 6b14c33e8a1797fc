#!/usr/bin/python3
"""The C publisher beside clients of grpcio and grpc-go, on the same daemon, in turns.

    client.py BUILD_DIR SERVER CONNINFO

Each sends EVENTS sample events that are made beforehand, in batches of at most BATCH with IN_FLIGHT of
them unanswered. Prints JSON lines: medians of ROUNDS runs, and the ratios to the publisher without a
spool.
"""

import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "conformance"))

import foreign  # noqa: E402

ROUNDS = 5
EVENTS = 100000
BATCH = 500  # as the publisher has it
IN_FLIGHT = 8


def build_go():
    """grpc-go's client, with the code and the versions of the example in clients/go."""
    folder = foreign.FOLDER / "bench-go"
    with foreign.lock(folder.name):
        shutil.copytree(ROOT / "proto", folder / "proto", dirs_exist_ok=True)
        module = folder / "clients" / "go"
        module.mkdir(parents=True, exist_ok=True)
        for name in ("generate.sh", "go.mod", "go.sum"):
            shutil.copy(ROOT / "clients" / "go" / name, module)
        shutil.copy(ROOT / "tests" / "bench" / "client.go", module / "main.go")
        path = f"{pathlib.Path(foreign.go()).parent}:{os.environ['PATH']}"
        foreign.run("sh", "-c", "./generate.sh && go build -o client .", cwd=module,
                    env={**foreign.go_environment(), "PATH": path})
    return module / "client"


def empty_tables(conninfo):
    subprocess.run(["psql", "-qX", "-d", conninfo, "-c", "TRUNCATE audit_events"], check=True,
                   stdout=subprocess.DEVNULL)


def run(command, build):
    done = subprocess.run([str(part) for part in command], check=False, capture_output=True,
                          text=True, env={**os.environ, "AUDITSTORE_BUILD_DIR": str(build)})
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: exit code {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)


def commands(build, server, folder):
    ours = [build / "tests" / "bench" / "bench_client", server, EVENTS]
    theirs = [server, EVENTS, BATCH, IN_FLIGHT]
    return {
        "publisher": ours,
        "publisher, spool, fsync each 100": [*ours, folder / "synced", 0, 100],
        "publisher, spool, unsynced for 1 s": [*ours, folder / "unsynced", 1000],
        "grpc-go": [build_go(), *theirs],
        "grpcio": ["/usr/bin/python3", "-B", ROOT / "tests" / "bench" / "client_grpcio.py", *theirs],
    }


def main():
    build, server, conninfo = pathlib.Path(sys.argv[1]).resolve(), *sys.argv[2:4]
    print(f"# {os.cpu_count()} cores, {platform.system()} {platform.release()}, client, daemon and "
          f"PostgreSQL share them; medians of {ROUNDS}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        clients = commands(build, server, pathlib.Path(folder))
        found = {name: [] for name in clients}
        for _ in range(ROUNDS):
            for name, command in clients.items():
                empty_tables(conninfo)
                found[name].append(run(command, build))
    medians = {name: {key: statistics.median(one[key] for one in runs)
                      for key in ("events_per_s", "cpu_us_per_event")}
               for name, runs in found.items()}
    first = medians["publisher"]
    for name, row in medians.items():
        print(json.dumps({"bench": "client", "client": name, **row,
                          "rate_ratio": round(first["events_per_s"] / row["events_per_s"], 2),
                          "cpu_ratio": round(row["cpu_us_per_event"] / first["cpu_us_per_event"],
                                             2)}), flush=True)


if __name__ == "__main__":
    main()
