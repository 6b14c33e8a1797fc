#!/usr/bin/env bash
# Functions of at most 70 lines and 5 parameters, files of at most 600 lines.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${AUDITSTORE_SOURCE_DIR:-$(cd "$here/../.." && pwd)}

PYTHONPATH=$here python3 -B - "$root" <<'PY'
import re
import sys

import c_source

MAX_FUNCTION_LINES = 70
MAX_PARAMETERS = 5
MAX_FILE_LINES = 600
# A library dictates the parameters of its callbacks; this comment says so to clang-tidy as well.
EXEMPT = re.compile(r"NOLINT(?:NEXTLINE)?\([^)]*readability-function-size")

root = sys.argv[1]
faults = []


def opening_paren(code, close):
    """Where the group that ends at `close` begins; -1: nowhere."""
    depth = 0
    for i in range(close, -1, -1):
        if code[i] == ")":
            depth += 1
        elif code[i] == "(":
            depth -= 1
            if depth == 0:
                return i
    return -1


def parameter_count(text):
    if text.strip() in ("", "void"):
        return 0
    depth, count = 0, 1
    for c in text:
        depth += (c in "([{") - (c in ")]}")
        count += c == "," and depth == 0
    return count


def function_before(code, brace, start):
    """(name, offset of the name, parameters) of the function whose body opens at `brace`."""
    head = code[start:brace]
    without = re.sub(r"__attribute__\s*\(\(.*?\)\)\s*$", "", head.rstrip(), flags=re.DOTALL).rstrip()
    if not without.endswith(")"):
        return None
    close = start + len(without) - 1
    opening = opening_paren(code, close)
    name = re.search(r"([A-Za-z_]\w*)\s*$", code[start:opening])
    if opening < start or not name:
        return None
    return name.group(1), start + name.start(1), parameter_count(code[opening + 1:close])


def closing_brace(code, brace):
    depth = 0
    for i in range(brace, len(code)):
        depth += (code[i] == "{") - (code[i] == "}")
        if depth == 0:
            return i
    return len(code) - 1


def functions(code):
    """Each function at the top level, or inside extern "C"."""
    at = start = 0
    while True:
        match = re.compile(r"[{};]").search(code, at)
        if not match:
            return
        at = match.end()
        if match.group() != "{":
            start = at
            continue
        if re.search(r'extern\s+"\s*"\s*$', code[start:match.start()]):
            start = at
            continue
        end = closing_brace(code, match.start())
        found = function_before(code, match.start(), start)
        if found:
            yield (*found, end)
            start = end + 1
        at = end + 1


def check_c(path, text):
    code = c_source.without_directives(c_source.code_only(text))
    for name, begin, parameters, end in functions(code):
        first, last = c_source.line_of(code, begin), c_source.line_of(code, end)
        if last - first + 1 > MAX_FUNCTION_LINES:
            faults.append(f"{path}:{first}: {name} has {last - first + 1} lines, {MAX_FUNCTION_LINES} at most")
        above = text.rfind("\n", 0, text.rfind("\n", 0, begin)) + 1
        if parameters > MAX_PARAMETERS and not EXEMPT.search(text, above, text.find("{", begin)):
            faults.append(f"{path}:{first}: {name} has {parameters} parameters, {MAX_PARAMETERS} at most")


for path in c_source.files(root, ["src", "include", "clients", "tests"], (".c", ".h", ".py")):
    text = c_source.read(root, path)
    lines = text.count("\n")
    if lines > MAX_FILE_LINES:
        faults.append(f"{path}:{MAX_FILE_LINES + 1}: {lines} lines, {MAX_FILE_LINES} at most")
    if not path.endswith(".py"):
        check_c(path, text)

print("\n".join(faults), end="\n" if faults else "")
sys.exit(1 if faults else 0)
PY
