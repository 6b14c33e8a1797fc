#!/usr/bin/env bash
# Functions, words and habits that have no place in the code.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${AUDITSTORE_SOURCE_DIR:-$(cd "$here/../.." && pwd)}

PYTHONPATH=$here python3 -B - "$root" <<'PY'
import re
import sys

import c_source

root = sys.argv[1]
faults = []


def call_of(*names):
    return re.compile(r"(?<![\w.>])(" + "|".join(names) + r")\s*\(")


def look(path, text, pattern, why):
    for match in pattern.finditer(text):
        found = re.sub(r"\s+", " ", match.group(0))
        faults.append((path, c_source.line_of(text, match.start()), f'"{found}": {why}'))


UNSAFE = call_of("strcpy", "strcat", "sprintf", "vsprintf", "strtok", "atoi", "atol", "atoll", "gets",
                 "localtime", "gmtime", "rand", "srand", "signal", "alloca")
BLOCKING = call_of("PQexec", "PQexecParams", "PQexecPrepared", "PQprepare", "PQconnectdb",
                   "PQconnectdbParams", "PQsetdbLogin", "PQsetdb", "PQping", "PQpingParams", "PQcancel",
                   "PQrequestCancel", "PQreset", "PQdescribePrepared", "PQdescribePortal", "PQfn")
ALLOCATING = call_of("malloc", "calloc", "realloc", "reallocarray", "strdup", "strndup", "asprintf",
                     "vasprintf")
PRINTING = re.compile(r"(?<![\w.>])(?:v?printf|puts|putchar|perror)\s*\(|"
                      r"(?<![\w.>])v?fprintf\s*\(\s*std(?:out|err)\b|"
                      r"(?<![\w.>])fputs\s*\([^;]*\bstd(?:out|err)\s*\)")
SLEEPING_C = call_of("usleep", "nanosleep", "clock_nanosleep", "sleep")
SLEEPING_PYTHON = re.compile(r"\btime\.sleep\s*\(|^[ \t]*from\s+time\s+import\s.*\bsleep\b", re.MULTILINE)
SLEEPING_SHELL = re.compile(r"^[^#\n]*\bsleep\s+[\d.$]", re.MULTILINE)

for path in c_source.files(root, ["src", "include", "clients", "tests"], (".c", ".h")):
    code = c_source.code_only(c_source.read(root, path))
    look(path, code, UNSAFE, "banned function")
    if path.startswith("src/"):
        look(path, code, BLOCKING, "blocks the loop")
    if path.startswith("src/") and not path.startswith("src/base/"):
        look(path, code, ALLOCATING, "use base/alloc.h")
    # main.c and app.c talk to whoever started the program; a part logs or returns an error.
    if path.startswith("src/") and path.count("/") > 1 and not path.startswith("src/base/"):
        look(path, code, PRINTING, "parts don't print; use base/log.h or return an error")

# A library may not end, or speak for, the program that it is part of.
ENDING = call_of("abort", "exit", "_exit", "quick_exit")
for path in c_source.files(root, ["clients/c/src", "clients/c/publisher"], (".c", ".h")):
    code = c_source.code_only(c_source.read(root, path))
    look(path, code, ENDING, "the library never ends the program")
    look(path, code, PRINTING, "the library never prints")

# support/ holds the helpers that poll for a condition up to a deadline.
for path in c_source.files(root, ["tests"], ("",)):
    if path.startswith(("tests/support/", "tests/bench/", "tests/lint/")):
        continue
    text = c_source.read(root, path)
    if path.endswith((".c", ".h")):
        look(path, c_source.code_only(text), SLEEPING_C, "a fixed sleep; wait for the condition")
    elif path.endswith(".py"):
        look(path, text, SLEEPING_PYTHON, "a fixed sleep; wait for the condition")
    elif path.endswith(".sh") or text.startswith("#!") and "sh\n" in text[:40]:
        look(path, text, SLEEPING_SHELL, "a fixed sleep; wait for the condition")

UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b|\b(?i:not\s+implemented\s+yet|for\s+now)\b")
OUTSIDE = re.compile(r"(?:\.\.|/work)/(?:shared|\.library)\b")
for path in c_source.files(root, ["."], ("",)):
    path = path.removeprefix("./")
    if path == "tests/lint/banned.sh":
        continue
    text = c_source.read(root, path)
    if "\0" in text:
        continue
    look(path, text, UNFINISHED, "unfinished work")
    look(path, text, OUTSIDE, "outside the repository")

for path, line, why in faults:
    print(f"{path}:{line}: {why}")
sys.exit(1 if faults else 0)
PY
