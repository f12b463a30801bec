#!/usr/bin/env bash
# clang-tidy on the lines that differ from a commit (default HEAD); all of the
# tree would take an hour on two cores.
# tidy-diff.sh [COMMIT] [BUILD]
set -euo pipefail
cd "$(dirname "$0")/.."

commit=${1:-HEAD}
build=${2:-build/release}
[[ -f $build/compile_commands.json ]] || {
  echo "tidy-diff.sh: no $build/compile_commands.json: run cmake --preset release" >&2
  exit 1
}
git diff -U0 "$commit" -- '*.cpp' '*.h' |
  clang-tidy-diff-22.py -p1 -quiet -clang-tidy-binary clang-tidy-22 \
    -path "$build" -j "$(nproc)"
