#!/usr/bin/env bash
# Every shell script, known by its name or its first line, passes shellcheck.
set -euo pipefail
root=${AUDITSTORE_SOURCE_DIR:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
cd "$root"

scripts=()
while IFS= read -r -d '' file; do
  if [[ $file == *.sh || $file == *.bash ]] || head -n 1 "$file" | tr -d '\0' | grep -qE '^#!.*\b(ba|da)?sh\b'; then
    scripts+=("$file")
  fi
done < <(find . \( -name .git -o -name build -o -name __pycache__ \) -prune -o -type f -size -256k \
  -print0)
((${#scripts[@]} > 0)) || {
  echo "no scripts found under $root"
  exit 1
}
shellcheck --shell=bash --format=gcc "${scripts[@]}"
