#!/usr/bin/env bash
# The reference in docs/generated is what TableGen writes to <build>/docs.
# check-docs.sh [BUILD]            fails if they differ, printing the repair
# check-docs.sh --update [BUILD]   repairs
set -euo pipefail
cd "$(dirname "$0")/.."

update=0
if [[ ${1:-} == --update ]]; then
  update=1
  shift
fi
build=${1:-build/release}
if ! compgen -G "$build/docs/*.md" >/dev/null; then
  echo "check-docs.sh: no generated documentation in $build/docs: run ninja -C $build qc-doc" >&2
  exit 1
fi
if ((update)); then
  mkdir -p docs/generated
  rm -f docs/generated/*.md
  cp "$build"/docs/*.md docs/generated/
  exit 0
fi
mkdir -p docs/generated
if ! diff -r -q --exclude='*.d' "$build/docs" docs/generated; then
  echo "check-docs.sh: docs/generated is out of date; repair: ninja -C $build qc-doc && utils/check-docs.sh --update $build" >&2
  exit 1
fi
