#!/usr/bin/env bash
# run.sh - what `make test` does: set up, build, install, run every test; then the closing lines of all runners once more.
# SPDX-License-Identifier: PostgreSQL
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root" || exit 1
# shellcheck source=test/lib/cluster.sh
. test/lib/cluster.sh

titles=() closings=() failed=()

say() { printf '\n=== %s\n' "$*"; }

# Runs a step, shows its output as it comes, keeps the lines of it that match $2 (the runner's own closing lines).
step() {                        # $1 title, $2 pattern, $3… command
  local title=$1 pattern=$2 status closing
  shift 2
  say "$title"
  "$@" 2>&1 | tee "$CLUSTER/step.log"
  status=${PIPESTATUS[0]}
  closing=$(grep -E "$pattern" "$CLUSTER/step.log" | tail -n 30)
  if [ "$status" != 0 ]; then
    failed+=("$title")
    closing="${closing:+$closing$'\n'}FAILED with exit code $status"
  fi
  titles+=("$title")
  closings+=("${closing:-$(tail -n 1 "$CLUSTER/step.log")}")
}

summary() {
  local i
  say "summary"
  for i in "${!titles[@]}"; do
    printf '%s\n' "${titles[$i]}"
    printf '%s\n' "${closings[$i]}" | sed 's/^/    /'
  done
  if [ ${#failed[@]} -gt 0 ]; then
    printf '\nFAILED: %s\n' "$(IFS=,; echo "${failed[*]}")"
    return 1
  fi
  printf '\nall of it passed\n'
}

say "setup: packages"
test/setup.sh || exit 1
say "build: extension and streamer, warnings are errors"
make -s -j"$(nproc)" all || { echo "the build failed: nothing was tested" >&2; exit 1; }
say "build: the streamer once more under the sanitizers"
make -s -j"$(nproc)" -C streamer SANITIZE=address,undefined all faults || { echo "the build failed: nothing was tested" >&2; exit 1; }
say "install: the extension into $("$PG_CONFIG" --version)"
test/install.sh || exit 1
say "cluster: a private PostgreSQL for the SQL tests"
cluster_up || exit 1
echo "running in $CLUSTER"

step "layers: who includes whom" '^layers:' test/layers.sh
step "regress: what one SQL session sees" 'tests? (passed|failed)' test/regress.sh regress
step "docs: what users can meet is explained" '^docs:' test/docs.sh
step "isolation: what two sessions do to each other" 'tests? (passed|failed)' test/regress.sh isolation
step "pgtap: catalogue, privileges, functions" '^(All tests|Files=|Result:|Failed )' test/regress.sh pgtap
step "unit: the streamer's pure modules" '^[0-9]+ passed, [0-9]+ failed' make -s -C streamer unit
step "fuzz: every pure parser under libFuzzer, its corpus and some new inputs" '^fuzz: [0-9]+ fuzzers' test/node.sh fuzz/fuzz.js short
step "sanitized: two end-to-end files under ASan, LSan and UBSan" '^sanitized:' env TESTS="connect_live realtime_changes" SYNC_PLUGIN=pgoutput test/sanitized.sh
step "e2e: real processes and the npm phoenix client" '^((ℹ|#) (tests|pass|fail|cancelled|skipped|duration_ms)|e2e: )' test/node.sh e2e.js
summary
