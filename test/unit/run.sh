#!/bin/sh
# run.sh - runs the test programs given and sums up their counts in one last line.
# SPDX-License-Identifier: PostgreSQL
passed=0
failed=0
for program in "$@"; do
	output=$("$program")
	status=$?
	sum=$(printf '%s\n' "$output" | sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' | tail -n 1)
	if [ -z "$sum" ]; then
		echo "$(basename "$program"): ended with status $status before its last check" >&2
		failed=$((failed + 1))
		continue
	fi
	passed=$((passed + ${sum% *}))
	failed=$((failed + ${sum#* }))
	# all checks passed, yet the sanitizer objected at exit
	if [ "$status" -ne 0 ] && [ "${sum#* }" -eq 0 ]; then
		echo "$(basename "$program"): status $status" >&2
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
