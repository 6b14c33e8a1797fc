#!/usr/bin/env bash
# The code is as clang-format leaves it.
set -euo pipefail
root=${AUDITSTORE_SOURCE_DIR:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
cd "$root"

folders=()
for folder in src include clients tests; do
  [[ -d $folder ]] && folders+=("$folder")
done
find "${folders[@]}" \( -name '*.c' -o -name '*.h' \) -print0 |
  xargs -0 -r clang-format --dry-run -Werror --style=file
