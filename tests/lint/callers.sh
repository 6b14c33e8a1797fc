#!/usr/bin/env bash
# What an error says is for operators: no status for callers is made of an error's text.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${AUDITSTORE_SOURCE_DIR:-$(cd "$here/../.." && pwd)}

PYTHONPATH=$here python3 -B - "$root" <<'PY'
import re
import sys

import c_source

CALL = re.compile(r"\b(grpc_status_(?:new|of_code|violate|set_resource)|grpc_call_end)\s*\(")
# A member called text of something that is, by its name, an error.
ERROR_TEXT = re.compile(r"\b(?:\w*err|\w*error|reason|refusal|down|outage|told|problem)\s*(?:->|\.)\s*text\b"
                        r"|\b(?:outcome|pipeline)\s*(?:->|\.)[\w.>-]*\berr\s*\.\s*text\b")

root = sys.argv[1]
faults = []


def arguments(code, opening):
    depth = 0
    for i in range(opening, len(code)):
        depth += (code[i] == "(") - (code[i] == ")")
        if depth == 0:
            return code[opening:i]
    return code[opening:]


for path in c_source.files(root, ["src"], (".c", ".h")):
    code = c_source.code_only(c_source.read(root, path))
    for call in CALL.finditer(code):
        if ERROR_TEXT.search(arguments(code, call.end() - 1)):
            faults.append(f"{path}:{c_source.line_of(code, call.start())}: {call.group(1)} tells a caller what an "
                          "error says: write words that name nothing of the operator's")

print("\n".join(faults), end="\n" if faults else "")
sys.exit(1 if faults else 0)
PY
