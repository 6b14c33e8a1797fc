#!/usr/bin/env bash
# No limit of the pool stands in its code: they all come from struct config_database. A number above 2
# is the size of an array or one of the constants named here, which bound texts and memory.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${AUDITSTORE_SOURCE_DIR:-$(cd "$here/../.." && pwd)}

PYTHONPATH=$here python3 -B - "$root" <<'PY'
import re
import sys

import c_source

CONSTANTS = {
    "PERCENT_ALL", "LIFETIME_LAST_PART", "PG_JITTER_SHARES", "ADDRESSES_MAX", "PG_ADDRESS_SIZE",
    "PG_ENDPOINTS_MAX", "PG_PREPARED_MAX", "PG_NAME_SIZE", "PG_DIAL_TEXT_SIZE", "PG_PARAMS_TEXT_MAX",
    "PG_SNAPSHOT_SIZE", "PQ_MEMORY_BYTES", "PARAMS_MAX", "PASSWORD_SIZE", "NUMBER_SIZE", "OPTIONS_SIZE",
    "ENTRIES_FIRST", "PG_FATAL_TEXT_SIZE", "PG_SESSION_TOLD_MAX", "PG_SESSION_TOLD_SIZE", "VERSION_MIN",
    "PARAMS_MAX_BYTES", "PREAMBLE_MAX_BYTES", "VALUE_SIZE", "SPAN_SIZE", "MS_PER_S", "S_PER_MIN", "MIN_PER_H",
    "H_PER_D", "PG_REASON_SIZE", "PG_REFUSALS_TOLD_MAX", "PG_REFUSAL_LABEL_SIZE", "PG_REFUSAL_LABELS_MAX",
    "TELL_EVERY_US", "SERVER_TROUBLE_US", "ASK_PART", "LAST_CALL_US", "DECIMAL",
}
# Formats of the protocol, and a borrower of the pool's connections: neither is the pool.
EXEMPT = ("src/pg/binary.c", "src/pg/binary.h", "src/pg/sqlstate.c", "src/pg/server_clock.c",
          "src/pg/knock.c")

NUMBER = re.compile(r"(?<![\w.])(0x[0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)[uUlL]*(?![\w.])")
CONSTANT = re.compile(r"(?:#define\s+(\w+)\s+[^\n]*|\b([A-Z][A-Z0-9_]+)\s*=\s*\d+)")
ARRAY = re.compile(r"\[\d+\]")

root = sys.argv[1]
faults = []
for path in c_source.files(root, ["src/pg"], (".c", ".h")):
    if path in EXEMPT:
        continue
    code = c_source.code_only(c_source.read(root, path))
    blank = lambda m: " " * len(m.group(0))
    code = CONSTANT.sub(lambda m: blank(m) if (m.group(1) or m.group(2)) in CONSTANTS else m.group(0), code)
    code = ARRAY.sub(blank, code)
    for match in NUMBER.finditer(code):
        if match.group(1) not in ("0", "1", "2"):
            faults.append(f"{path}:{c_source.line_of(code, match.start())}: {match.group(0)}: limits come "
                          "from the settings")

print("\n".join(faults), end="\n" if faults else "")
sys.exit(1 if faults else 0)
PY
