#!/usr/bin/env bash
# sanitized.sh - the end-to-end tests against a streamer built with AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer.
# SPDX-License-Identifier: PostgreSQL
set -eu
cd "$(dirname "$0")/.."
binary=$PWD/streamer/build/address_undefined/sync-streamer
reports=$(mktemp -d)
trap 'rm -rf "$reports"' EXIT
export ASAN_OPTIONS="detect_leaks=1:log_path=$reports/report" UBSAN_OPTIONS=print_stacktrace=1

# A sanitizer that sees nothing would let everything pass: it must find a leak in three lines.
control() {
  printf '#include <stdlib.h>\nchar *volatile kept;\nint main(void) { kept = malloc(7); kept = NULL; return 0; }\n' >"$reports/leak.c"
  "${CC:-cc}" -g -fsanitize=address,undefined -o "$reports/leak" "$reports/leak.c"
  if "$reports/leak" || ! grep -q 'LeakSanitizer: detected' "$reports"/report.*; then
    echo "sanitized: leaks are not seen on this machine" >&2
    exit 1
  fi
  rm "$reports"/report.*
}

control
make -s -C streamer SANITIZE=address,undefined
status=0
SYNC_STREAMER=$binary test/node.sh e2e.js || status=$?
shopt -s nullglob
found=("$reports"/report.*)
if [ ${#found[@]} != 0 ]; then
  cat "${found[@]}"
  echo "sanitized: ${#found[@]} processes were reported" >&2
  exit 1
fi
echo "sanitized: no report of AddressSanitizer, LeakSanitizer, UndefinedBehaviorSanitizer"
exit "$status"
