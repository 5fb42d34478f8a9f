#!/usr/bin/env bash
# regress.sh - runs the tests that need only SQL, in a private cluster: regress | isolation | pgtap.
# SPDX-License-Identifier: PostgreSQL
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=test/lib/cluster.sh
. "$root/test/lib/cluster.sh"

names() {                       # $1 directory, $2 suffix: the tests asked for (TESTS), or all
  if [ -n "${TESTS:-}" ]; then
    # shellcheck disable=SC2086
    printf '%s\n' $TESTS
    return
  fi
  local file
  for file in "$1"/*"$2"; do
    if [ -e "$file" ]; then basename "$file" "$2"; fi
  done | LC_ALL=C sort
}

run_schedule() {                # $1 program, $2 input directory, $3 tests' directory, $4 suffix
  local program tests status out
  program="$(dirname "$("$PG_CONFIG" --pgxs)")/../test/$1"
  if [ ! -x "$program" ]; then
    echo "$program is missing: it comes with the PostgreSQL server development package" >&2
    return 1
  fi
  mapfile -t tests < <(names "$3" "$4")
  if [ ${#tests[@]} = 0 ]; then echo "no tests in $3" >&2; return 1; fi
  out=$(mktemp -d "$CLUSTER/out.XXXXXX")
  "$program" --inputdir="$2" --outputdir="$out" --bindir="$("$PG_CONFIG" --bindir)" \
    --host="$PGHOST" --port="$PGPORT" --user=postgres --dbname="sync_$(basename "$1")" --load-extension=sync "${tests[@]}"
  status=$?
  if [ $status != 0 ]; then cat "$out/regression.diffs" 2>/dev/null; fi
  return $status
}

run_pgtap() {
  local tests
  mapfile -t tests < <(names "$root/test/pgtap" .sql)
  if [ ${#tests[@]} = 0 ]; then echo "no tests in test/pgtap" >&2; return 1; fi
  createdb sync_pgtap || return 1
  psql -q -X -v ON_ERROR_STOP=1 -d sync_pgtap -c 'CREATE EXTENSION pgtap' -c 'CREATE EXTENSION sync' || return 1
  if [ -f "$root/streamer/roles.sql" ]; then
    psql -q -X -v ON_ERROR_STOP=1 -d sync_pgtap -f "$root/streamer/roles.sql" >/dev/null || return 1
  fi
  tests=("${tests[@]/#/$root/test/pgtap/}")
  pg_prove -d sync_pgtap "${tests[@]/%/.sql}"
}

cluster_up || exit 1
case ${1:-} in
  regress) run_schedule regress/pg_regress "$root" "$root/sql" .sql ;;
  isolation) run_schedule isolation/pg_isolation_regress "$root/test" "$root/test/specs" .spec ;;
  pgtap) run_pgtap ;;
  *) echo "usage: regress.sh regress|isolation|pgtap" >&2; exit 2 ;;
esac
