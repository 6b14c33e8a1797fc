#!/usr/bin/python3
"""Calls of our gRPC server that do nothing, side by side with grpc-go's, by h2load.

    grpc.py BUILD_DIR

Both answer grpc.testing's UnaryCall with 64 bytes for 64 bytes, without TLS. Each is pinned to core
0, with h2load on core 1, and they take turns. Prints JSON lines: medians of ROUNDS runs, and the
ratios.
"""

import json
import os
import pathlib
import platform
import re
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "conformance"))

import foreign  # noqa: E402

ROUNDS = 5
SECONDS = 2
WARM_UP_S = 1
SHAPES = ((1, 1), (1, 100), (10, 10), (50, 20))  # connections, calls at once on each
# SimpleRequest: response_size 64, a payload of 64 bytes.
MESSAGE = b"\x10\x40" + b"\x1a\x42\x12\x40" + bytes(64)
PATH = "/grpc.testing.TestService/UnaryCall"
TICKS = os.sysconf("SC_CLK_TCK")


def wait_for_port(port, process):
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nobody listens on port {port}")


class Server:
    def __init__(self, name, command, port, env=None):
        self.name, self.port = name, port
        self.process = subprocess.Popen(["taskset", "-c", "0", *map(str, command)],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        env={**os.environ, **(env or {})})

    def cpu_s(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii")
        user, system = fields.rsplit(")", 1)[1].split()[11:13]
        return (int(user) + int(system)) / TICKS

    def stop(self):
        self.process.terminate()
        self.process.wait()


def start_ours(build, folder):
    port_file = folder / "port"
    program = build / "tests" / "conformance" / "interop" / "interop_server"
    server = Server("auditstore", [program, port_file], 0)
    while not port_file.exists():
        if server.process.poll() is not None:
            raise RuntimeError("interop_server didn't start")
        time.sleep(0.05)
    server.port = int(port_file.read_text(encoding="ascii"))
    return server


def start_go():
    program = foreign.go_tool("google.golang.org/grpc/interop/server", "v1.85.0")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    server = Server("grpc-go", [program, f"--port={port}"], port, {"GOMAXPROCS": "1"})
    wait_for_port(port, server.process)
    return server


def run_h2load(server, shape, folder, *options):
    """Calls per second."""
    connections, streams = shape
    done = subprocess.run(
        ["taskset", "-c", "1", "h2load", "-p", "h2c", f"--duration={SECONDS}",
         f"--warm-up-time={WARM_UP_S}", "-t1", f"-c{connections}", f"-m{streams}", "-w20", "-W24",
         "-Hcontent-type: application/grpc", "-Hte: trailers", *options,
         f"--data={folder / 'body'}", f"http://127.0.0.1:{server.port}{PATH}"],
        capture_output=True, text=True, check=True)
    if int(re.search(r"(\d+) failed", done.stdout).group(1)):
        raise RuntimeError(f"{server.name}: calls failed\n{done.stdout}")
    return float(re.search(r"finished in .*?, ([\d.]+) req/s", done.stdout).group(1))


def p99_ms(server, shape, folder):
    """In a run of its own: writing the log slows h2load."""
    log = folder / "requests"
    log.unlink(missing_ok=True)
    run_h2load(server, shape, folder, f"--log-file={log}")
    times = sorted(int(line.split("\t")[2])
                   for line in log.read_text(encoding="ascii").splitlines())
    return times[len(times) * 99 // 100] / 1000


def load(server, shape, folder):
    """(calls per second, CPU microseconds of the server per call, p99 in milliseconds)"""
    before = server.cpu_s()
    rate = run_h2load(server, shape, folder)
    # The server works through the warm-up as well, at the same rate.
    cpu_us = (server.cpu_s() - before) * 1e6 / (rate * (SECONDS + WARM_UP_S))
    return rate, cpu_us, p99_ms(server, shape, folder)


def measure(servers, shape, folder):
    found = {server.name: [] for server in servers}
    for _ in range(ROUNDS):
        for server in servers:
            found[server.name].append(load(server, shape, folder))
    rows = {name: [statistics.median(column) for column in zip(*runs)]
            for name, runs in found.items()}
    for name, (rate, cpu_us, slowest_ms) in rows.items():
        print(json.dumps({"server": name, "connections": shape[0], "streams": shape[1],
                          "calls_per_s": round(rate), "cpu_us_per_call": round(cpu_us, 2),
                          "p99_ms": round(slowest_ms, 2)}), flush=True)
    ours, theirs = rows.values()
    print(json.dumps({"connections": shape[0], "streams": shape[1],
                      "rate_ratio": round(ours[0] / theirs[0], 2),
                      "cpu_ratio": round(theirs[1] / ours[1], 2)}), flush=True)


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    print(f"# {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
          f"server on one, h2load on another; medians of {ROUNDS}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "body").write_bytes(struct.pack("!BI", 0, len(MESSAGE)) + MESSAGE)
        servers = [start_ours(build, folder), start_go()]
        try:
            for shape in SHAPES:
                measure(servers, shape, folder)
        finally:
            for server in servers:
                server.stop()


if __name__ == "__main__":
    main()
