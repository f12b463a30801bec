#!/usr/bin/env bash
# Formats all C and C++ of the repository with clang-format 22; with --check
# only says which files differ, and fails if any does.
set -euo pipefail
cd "$(dirname "$0")/.."

mode=(-i)
if [[ ${1:-} == --check ]]; then
  mode=(--dry-run --Werror)
fi
git ls-files -z --cached --others --exclude-standard '*.h' '*.cpp' '*.c' |
  xargs -0 -r -P "$(nproc)" -n 32 clang-format-22 "${mode[@]}"
