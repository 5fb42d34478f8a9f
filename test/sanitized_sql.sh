#!/usr/bin/env bash
# sanitized_sql.sh - the tests of the extension, built with AddressSanitizer and UndefinedBehaviorSanitizer, in an unmodified PostgreSQL.
# SPDX-License-Identifier: PostgreSQL
# shellcheck disable=SC2317  # its functions are called within conditions and by trap
#
# Works in a temporary copy of the tree and of PostgreSQL; the copy's `postgres` is a script that starts the real one with the
# sanitizers' libraries (BY=asan) or under valgrind (BY=valgrind, only errors with sync.so in the stack count).
# STEPS="regress isolation pgtap property e2e" picks, TESTS= picks within regress, isolation and pgtap, E2E= the files of e2e.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
by=${BY:-asan}
steps=${STEPS:-regress isolation pgtap property e2e}
end_to_end=${E2E:-push catch_up teams policies resolve_conflict builtin verified_live leaving}
pg_config=${PG_CONFIG:-pg_config}
laboratory=$(mktemp -d)
trap 'rm -rf "$laboratory"' EXIT
# who is out of time learns at least what was found so far
trap 'found; exit 130' INT
trap 'found; exit 143' TERM
reports=$laboratory/reports
mkdir "$reports" "$laboratory/tree" "$laboratory/pg"
chmod 755 "$laboratory"
chmod 777 "$reports"

copy_tree() {
  (cd "$root" && git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do if [ -e "$file" ]; then printf '%s\0' "$file"; fi; done | tar -c --null -T -) | tar -x -C "$laboratory/tree"
  rm -f "$laboratory/tree/test/node_modules"
  ln -s "$root/test/node_modules" "$laboratory/tree/test/node_modules"
}

copy_postgres() {
  local what directory
  for what in bindir pkglibdir sharedir pkgincludedir includedir-server; do
    directory=$("$pg_config" "--$what")
    if [ -e "$laboratory/pg$directory" ]; then continue; fi
    mkdir -p "$laboratory/pg$(dirname "$directory")"
    cp -a "$directory" "$laboratory/pg$directory"
  done
  bin=$laboratory/pg$("$pg_config" --bindir)
  rm -rf "$laboratory/pg$("$pg_config" --pkglibdir)/bitcode"
}

build() {                       # $1: the compiler's flags
  (cd "$laboratory/tree" && PG_CONFIG=$bin/pg_config make -s -j2 STREAMER=no with_llvm=no COPT="$1" install >/dev/null)
}

# initdb finds the real one's version by it, the tests start it with -D
wrap() {                        # $1: what stands before the real postgres
  mv "$bin/postgres" "$bin/postgres.real"
  cat >"$bin/postgres" <<SCRIPT
#!/bin/bash
if [ "\$1" != -D ]; then exec $bin/postgres.real "\$@"; fi
exec $1 $bin/postgres.real "\$@" 2> >(exec tee -a $reports/server.log >&2)
SCRIPT
  chmod 755 "$bin/postgres"
}

prepare_asan() {
  local flags="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g -O1" libraries
  libraries="$(readlink -f "$("${CC:-cc}" -print-file-name=libasan.so)"):$(readlink -f "$("${CC:-cc}" -print-file-name=libubsan.so)")"
  "${CC:-cc}" -shared -fPIC -fno-builtin -o "$laboratory/nonls.so" "$root/test/faults/nonls.c"
  build "$flags"
  wrap "env LD_PRELOAD=$libraries:$laboratory/nonls.so ASAN_OPTIONS=detect_leaks=0:log_path=$reports/asan UBSAN_OPTIONS=print_stacktrace=1"
  control "$flags" stack-buffer-overflow "signed integer overflow"
}

prepare_valgrind() {
  command -v valgrind >/dev/null || { echo "valgrind is missing: install the Debian package valgrind" >&2; exit 1; }
  build "-g -O1 -fno-omit-frame-pointer"
  wrap "valgrind --quiet --trace-children=yes --error-limit=no --num-callers=30 --fullpath-after= --leak-check=no --undef-value-errors=yes --log-file=$reports/valgrind.%p"
  control "-g -O0" "depends on uninitialised"
}

# what was reported, and by whom
found() {
  if [ "$by" = valgrind ]; then
    # one report is a block of lines up to an empty one; PostgreSQL writes the unset bytes between fields of its records to disk, and suppresses that too
    awk -v ours="[(](in [^)]*/(sync|control)[.]so|[^)]*(extension|control)/[a-z_]*[.]c:)" '
         function flush() { if (text ~ ours && text !~ /Syscall param p?write/) printf "%s\n", text; text = "" }
         /^==[0-9]+== *$/ { flush(); next } /^==[0-9]+==/ { text = text $0 "\n" } END { flush() }' "$reports"/valgrind.* 2>/dev/null
  else
    cat "$reports"/asan.* 2>/dev/null
    grep -A 20 'runtime error: ' "$reports/server.log"
  fi
}

# A sanitizer that sees nothing would find nothing: control(4) writes behind its own array, control(2) overflows.
control() {                     # $1: the compiler's flags, $2…: what must be reported
  local place=$laboratory/control flags=$1 text
  shift
  mkdir "$place"
  cat >"$place/control.c" <<'CODE'
#include "postgres.h"
#include "fmgr.h"
PG_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(control);
Datum control(PG_FUNCTION_ARGS)
{
	int room[4], *volatile place = room;
	volatile int i = PG_GETARG_INT32(0), *unset = palloc(8);
	((volatile int *) place)[i] = *unset > 7 ? 1 : 2;
	PG_RETURN_INT32(i + 2147483647);
}
CODE
  # shellcheck disable=SC2086
  "${CC:-cc}" -shared -fPIC -w $flags -I"$("$bin/pg_config" --includedir-server)" -o "$place/control.so" "$place/control.c"
  # each call ends its connection
  cat >"$place/run.sh" <<SCRIPT
. test/lib/cluster.sh
cluster_up
psql -q -d postgres -c "CREATE FUNCTION control(int) RETURNS int LANGUAGE c AS '$place/control.so'"
psql -q -d postgres -c 'SELECT control(4)'
psql -q -d postgres -c 'SELECT control(2)'
SCRIPT
  (cd "$laboratory/tree" && env -u CLUSTER PATH="$bin:$PATH" PG_CONFIG="$bin/pg_config" bash "$place/run.sh") >"$place/log" 2>&1 || true
  for text in "$@"; do
    if found | grep -q "$text"; then continue; fi
    cat "$place/log"
    echo "sanitized-sql: on this machine $by does not see a $text" >&2
    exit 1
  done
  rm -f "$reports"/*
}

status=0
run() {                         # $1 title, $2… command, in the copy
  local title=$1
  shift
  echo "sanitized-sql: $title"
  (cd "$laboratory/tree" && env -u CLUSTER PATH="$bin:$PATH" PG_CONFIG="$bin/pg_config" "$@") || status=1
}

copy_tree
copy_postgres
"prepare_$by"
for step in $steps; do
  case $step in
    regress | isolation | pgtap) run "$step" make -s STREAMER=no "$step" ;;
    property) run "property" env CASES="${CASES:-1000}" make -s STREAMER=no property ;;
    e2e) make -s -C "$root/streamer" all && run "e2e" env TESTS="$end_to_end" SYNC_STREAMER="$root/streamer/sync-streamer" SYNC_PLUGIN="${SYNC_PLUGIN:-pgoutput}" make -s STREAMER=no e2e ;;
  esac
done
if found | grep -q .; then
  found
  echo "sanitized-sql: something was found" >&2
  exit 1
fi
echo "sanitized-sql: $by reported nothing in: $steps"
exit $status
