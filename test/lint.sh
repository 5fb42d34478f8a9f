#!/usr/bin/env bash
# lint.sh - what a reader would frown at: shell mistakes, long functions and files, format (the last only as a note).
# SPDX-License-Identifier: PostgreSQL
set -u
cd "$(dirname "$0")/.." || exit 1
shopt -s nullglob
status=0
code=(extension/*.c extension/*.h streamer/*.c streamer/*.h)

if command -v shellcheck >/dev/null; then
  shellcheck -x -P SCRIPTDIR/.. test/*.sh test/lib/*.sh .ci/run || status=1
else
  echo "lint: shellcheck is not installed, shell scripts were not checked"
fi

for file in test/*.js test/lib/*.js test/e2e/*.js test/chaos/*.js test/bench/*.js streamer/demo/*.js; do
  node --check "$file" || status=1
done

# a function from its opening brace in column 1 to its closing one
for file in "${code[@]}"; do
  awk -v file="$file" '
    /^\{/ { start = NR } /^\}/ { if (start && NR - start > 70) { printf "lint: %s:%d: function of %d lines\n", file, start, NR - start; bad = 1 } start = 0 }
    END { if (NR > 700) { printf "lint: %s: %d lines\n", file, NR; bad = 1 } exit bad }' "$file" || status=1
done

if command -v clang-format >/dev/null; then
  untidy=0
  for file in "${code[@]}"; do
    clang-format --dry-run --Werror "$file" >/dev/null 2>&1 || untidy=$((untidy + 1))
  done
  echo "lint: clang-format would change $untidy of ${#code[@]} files (a note, not an error)"
fi
[ $status = 0 ] && echo "lint: clean"
exit $status
