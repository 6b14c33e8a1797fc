#!/usr/bin/env bash
# What people read is spelled right.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${AUDITSTORE_SOURCE_DIR:-$(cd "$here/../.." && pwd)}
cd "$root"

paths=()
for path in README.md CHANGELOG.md CONTRIBUTING.md docs proto include src clients config; do
  [[ -e $path ]] && paths+=("$path")
done
# Names of code that look like mistakes.
codespell --quiet-level 2 --skip '*/__pycache__,./build,*/.venv,*/node_modules,*/target' --ignore-words "$here/spelling_ignore.txt" \
  "${paths[@]}"
