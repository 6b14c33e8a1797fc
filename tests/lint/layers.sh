#!/usr/bin/env bash
# A part may include only what stands below it; clients and public headers include nothing of the
# daemon but what both ends share.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${AUDITSTORE_SOURCE_DIR:-$(cd "$here/../.." && pwd)}

PYTHONPATH=$here python3 -B - "$root" <<'PY'
import os
import re
import sys

import c_source

root = sys.argv[1]

BELOW = {
    "base": [],
    "config": ["base"],
    "http": ["config"],
    "net": ["base"],
    "grpc": ["net", "config"],
    "access": ["grpc"],
    "pg": ["config"],
    "ledger": ["pg"],
    "ingest": ["ledger", "access"],
    "query": ["ledger", "access"],
    "admin": ["pg", "grpc"],
}
SHARED_WITH_CLIENTS = ("base/", "grpc/gzip.h", "grpc/wire.h")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"]+)[>"]', re.MULTILINE)
faults = []


def allowed_parts(part):
    allowed = {part}
    for below in BELOW[part]:
        allowed |= allowed_parts(below)
    return allowed


def target_part(name):
    """The part a header belongs to; None: a system's, a generated or the file's own folder's."""
    if name.endswith(".service.h"):
        return "grpc"
    first = name.split("/")[0]
    return first if "/" in name and os.path.isdir(os.path.join(root, "src", first)) else None


def is_public_header(name):
    return os.path.exists(os.path.join(root, "include", name)) or name.endswith(".stub.h")


def check_part_file(path, name):
    part = path.split("/")[1]
    if part not in BELOW:
        return f"the part {part} has no place in tests/lint/layers.sh"
    if is_public_header(name):
        return "belongs to the client library"
    if "/" not in name and os.path.exists(os.path.join(root, "src", name)):
        return f"{part} may not include what stands above it"
    target = target_part(name)
    if target is not None and target not in allowed_parts(part):
        return f"{part} may not include {target}"
    return None


def is_header_of(folder, name):
    return os.path.exists(os.path.join(root, folder, name))


def check_client_file(path, name):
    if is_public_header(name):
        return None
    if path.startswith("clients/c/src/") and is_header_of("clients/c/publisher", name):
        return "the publisher stands above the calls"
    if path.startswith("clients/c/") and name.startswith(SHARED_WITH_CLIENTS):
        return None
    if target_part(name) is not None:
        return "belongs to the daemon"
    return None


def check(path, name):
    if ".." in name.split("/"):
        return "includes start at a root folder, not at .."
    if path.startswith("src/"):
        if path.count("/") == 1:
            return "belongs to the client library" if is_public_header(name) else None
        return check_part_file(path, name)
    return check_client_file(path, name)


for path in c_source.files(root, ["src", "include", "clients"], (".c", ".h")):
    text = c_source.read(root, path)
    for match in INCLUDE.finditer(text):
        why = check(path, match.group(1))
        if why:
            faults.append(f'{path}:{c_source.line_of(text, match.start(1))}: "{match.group(1)}": {why}')

print("\n".join(faults), end="\n" if faults else "")
sys.exit(1 if faults else 0)
PY
