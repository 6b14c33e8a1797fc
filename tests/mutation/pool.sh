#!/usr/bin/env bash
# Shows that the pool's tests bite: breaks a copy of the code, one way after the other, and runs the
# tests that should notice. Prints which went red; ends with 1 when a broken pool passes, or when a
# mutation no longer fits the code. On demand; with -k alone those whose name has WORDS.
#   tests/mutation/pool.sh [-k WORDS]
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mktemp -d /tmp/auditstore-mutation.XXXXXX)
trap 'rm -rf "$dir"' EXIT

chmod 711 "$dir"
mkdir "$dir/tree"
tar -C "$root" --exclude ./build --exclude ./.git -c . | tar -C "$dir/tree" -x
cmake -S "$dir/tree" -B "$dir/build" -G Ninja -DCMAKE_BUILD_TYPE=Debug \
  -DCMAKE_C_FLAGS_DEBUG="-O1 -g" --log-level=WARNING >/dev/null
/usr/bin/python3 -B "$root/tests/mutation/pool.py" "$dir/tree" "$dir/build" "$@"
