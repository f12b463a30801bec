#!/usr/bin/env bash
# Prints how long files are: median, 90th percentile and the longest of each
# room, and test lines beside code lines. It informs, it does not judge.
set -euo pipefail
cd "$(dirname "$0")/.."

files() { git ls-files --cached --others --exclude-standard -- "$@"; }

printf '%-12s %5s %7s %6s %6s  %s\n' room files lines median p90 longest
for room in include lib tools test python utils; do
  files "$room/*.h" "$room/*.cpp" "$room/*.td" "$room/*.mlir" "$room/*.py" "$room/*.sh" |
    while read -r file; do
      printf '%s %s\n' "$(wc -l <"$file")" "$file"
    done | sort -n | awk -v room="$room" '
      { lines[NR] = $1; sum += $1; longest = $1 " " $2 }
      END { if (NR) printf "%-12s %5d %7d %6d %6d  %s\n", room, NR, sum,
              lines[int((NR + 1) / 2)], lines[int(NR * 0.9 + 0.5)], longest }'
done

printf '\nFiles above 500 lines:\n'
files '*.h' '*.cpp' '*.td' '*.py' | while read -r file; do
  lines=$(wc -l <"$file")
  if ((lines > 500)); then printf '%6d %s\n' "$lines" "$file"; fi
done | sort -rn
