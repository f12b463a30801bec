#!/usr/bin/env bash
# From a fresh Debian 12 to a story: sets everything up, builds the tools,
# compiles examples/stories260K to int4 and runs the executable.
# Arguments replace those of the story's run.
set -euo pipefail
cd "$(dirname "$0")/.."

utils/setup.sh
printf '\n== Configuring (preset release)\n'
mkdir -p build
cmake --preset release >build/configure.log 2>&1 || { cat build/configure.log; exit 1; }
printf '\n== Building the tools\n'
cmake --build --preset release --target qc-tools
printf '\n== Compiling examples/stories260K to int4: build/story\n'
build/release/bin/qc-compile examples/stories260K -o build/story --quantize=int4_sym --group-size=32
printf '\n== Running it: build/story\n'
if (($#)); then
  exec build/story "$@"
fi
exec build/story --prompt "Once upon a time" --tokens 200 --temperature 0 --threads 2
