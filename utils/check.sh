#!/usr/bin/env bash
# Sets everything up, builds everything and runs every test. The last line is
# "N passed, N failed, N skipped"; the exit status is 0 only if none failed.
# Arguments go to utils/run-tests.py (--only lit, --verbose, ...).
set -euo pipefail
cd "$(dirname "$0")/.."

utils/setup.sh
printf '\n== Configuring (preset release)\n'
mkdir -p build
if ! cmake --preset release >build/configure.log 2>&1; then
  cat build/configure.log
  printf '\n0 passed, 1 failed, 0 skipped (configuring failed)\n'
  exit 1
fi
printf '\n== Building everything\n'
if ! cmake --build --preset release; then
  printf '\n0 passed, 1 failed, 0 skipped (the build failed)\n'
  exit 1
fi
exec utils/run-tests.py --build build/release "$@"
