#!/usr/bin/env bash
# Each header compiles alone; the public and the generated client headers also as C++.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${AUDITSTORE_SOURCE_DIR:-$(cd "$here/../.." && pwd)}
build=${AUDITSTORE_BUILD_DIR:?the build folder, which holds the generated headers}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
warnings=(-Wall -Wextra -Wshadow -Wconversion -Wundef -Wvla -Werror -D_GNU_SOURCE)
read -ra packages <<<"$(pkg-config --cflags libuv libpq libprotobuf-c libnghttp2 yaml-0.1 jansson)"

# check LANGUAGE HEADER INCLUDE-OPTION... prints what is wrong.
check() {
  local language=$1 header=$2 compiler=cc standard=gnu11
  shift 2
  [[ $language == c++ ]] && compiler=c++ standard=gnu++17
  printf '#include "%s"\n' "$header" |
    "$compiler" -x "$language" "-std=$standard" -fsyntax-only "${warnings[@]}" "$@" \
      "${packages[@]}" - 2>&1 || true
}

# check_all LANGUAGE FOLDER PATTERN INCLUDE-OPTION...
check_all() {
  local language=$1 folder=$2 pattern=$3
  shift 3
  [[ -d $folder ]] || return 0
  find "$folder" -name "$pattern" -printf '%P\n' | sort | while read -r header; do
    check "$language" "$header" "-I$folder" "$@"
  done
}

client=(-I"$root/include" -isystem "$build/gen/client")
if ! grep -q '^AUDITSTORE_BUILD_DAEMON:BOOL=OFF' "$build/CMakeCache.txt"; then
  check_all c "$root/src" '*.h' -isystem "$build/gen/server" >"$work/src" &
fi
{
  for language in c c++; do
    check_all "$language" "$root/include" '*.h' "${client[@]}"
    for pattern in '*.stub.h' '*.descriptor.h'; do
      check_all "$language" "$build/gen/client" "$pattern" "${client[@]}"
    done
  done
  check_all c "$root/clients/c/src" '*.h' "${client[@]}" -I"$root/src"
  check_all c "$root/clients/c/publisher" '*.h' "${client[@]}" -I"$root/src" -I"$root/clients/c/src"
  check_all c "$root/clients/c/tool" '*.h' "${client[@]}" -I"$root/src"
  check_all c "$root/clients/c/stubgen" '*.h' -isystem "$build/gen/stubgen"
} >"$work/clients"
wait

cat "$work"/*
[[ -z $(cat "$work"/*) ]]
