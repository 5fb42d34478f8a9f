#!/usr/bin/env bash
# docs.sh - what users can meet is explained: functions and tables have a COMMENT, README names functions, options, settings and every error code.
# SPDX-License-Identifier: PostgreSQL
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=test/lib/cluster.sh
. "$root/test/lib/cluster.sh"
cluster_up || exit 1
missing=0 seen=0

# What owners and administrators call; what everybody or the streamer's upkeep role may call is found in the catalogue.
owners=(
  allow_topic drop_topic topics broadcast create_scope enable disable disable_all set_column_rule set_schema_version tables new_incarnation purge status check
)

ask() { psql -X -At -v ON_ERROR_STOP=1 -d "$database" -c "$1"; }

in_readme() {                   # $1 kind, then names on standard input
  local name
  while read -r name; do
    [ -n "$name" ] || continue
    seen=$((seen + 1))
    if ! grep -qF -- "$name" "$root/README.md"; then
      echo "README does not name the $1 $name"
      missing=$((missing + 1))
    fi
  done
}

without_comment() {             # names on standard input
  local name
  while read -r name; do
    [ -n "$name" ] || continue
    echo "no COMMENT on $name"
    missing=$((missing + 1))
  done
}

database=sync_docs
createdb $database && psql -X -q -v ON_ERROR_STOP=1 -d $database -c 'CREATE EXTENSION sync' || exit 1

names=$(ask "
  SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'sync'::regnamespace AND obj_description(oid, 'pg_proc') IS NULL
  UNION ALL
  SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'sync'::regnamespace AND relkind IN ('r', 'p', 'v') AND obj_description(oid, 'pg_class') IS NULL
  UNION ALL
  SELECT oid::regtype::text FROM pg_type WHERE typnamespace = 'sync'::regnamespace AND typtype IN ('e', 'd') AND obj_description(oid, 'pg_type') IS NULL") || exit 1
without_comment <<<"$names"

list=$(printf "'%s'," "${owners[@]}")
stale=$(ask "SELECT string_agg(p, ' ') FROM unnest(ARRAY[${list%,}]) p WHERE NOT EXISTS (SELECT FROM pg_proc WHERE pronamespace = 'sync'::regnamespace AND proname = p)") || exit 1
if [ -n "$stale" ]; then
  echo "test/docs.sh lists functions that are gone: $stale"
  missing=$((missing + 1))
fi
psql -X -q -v ON_ERROR_STOP=1 -d "$database" -o /dev/null -f "$root/streamer/roles.sql" || exit 1
names=$(ask "SELECT DISTINCT 'sync.' || proname FROM pg_proc p WHERE pronamespace = 'sync'::regnamespace AND (proname IN (${list%,})
             OR EXISTS (SELECT FROM aclexplode(proacl) WHERE grantee IN (0, (SELECT oid FROM pg_roles WHERE rolname = 'sync_upkeep')))) ORDER BY 1") || exit 1
in_readme function <<<"$names"
names=$(ask "SELECT '\`' || unnest(proargnames[2:]) || '\`' FROM pg_proc WHERE oid = (SELECT max(oid) FROM pg_proc WHERE pronamespace = 'sync'::regnamespace AND proname = 'enable')") || exit 1
in_readme 'option of sync.enable()' <<<"$names"
names=$(psql -X -q -At -v ON_ERROR_STOP=1 -d "$database" -c "LOAD 'sync'" -c "SELECT '\`' || name || '\`' FROM pg_settings WHERE name LIKE 'sync.%'") || exit 1
in_readme setting <<<"$names"
in_readme 'rule' < <(sed -n "s/.*\(rule\|delete_rule\) \(IS NULL OR [a-z_.]* \)\?NOT IN (\([^)]*\)).*/\3/p" "$root"/extension/sql/enable.sql "$root"/extension/sql/rules.sql | tr -d "' " | tr ',' '\n' | sort -u)
# error codes of changes, as verdicts and the table of SQLSTATEs name them
in_readme 'error code' < <(cat "$root"/extension/*.c | grep -oE '(verdict_error\([^"]*"|ERRCODE_[A-Z_]+, "|code = ")[a-z_]+"' | grep -oE '"[a-z_]+"$' | sort -u | tr '"' '`')
in_readme 'SQLSTATE' < <(cat "$root"/extension/*.[ch] "$root"/extension/sql/*.sql | grep -oE "SY[0-9]{3}|MAKE_SQLSTATE\('S','Y','[0-9]','[0-9]','[0-9]'\)" | tr -dc 'SY0-9\n' | sed 's/^.*SY\([0-9]*\)$/SY\1/' | sort -u)

echo "docs: $seen names looked up in README, $missing missing"
[ $missing = 0 ]
