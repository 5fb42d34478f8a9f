#!/usr/bin/env bash
# cluster.sh - a private PostgreSQL in a temporary directory: started by us, stopped by pid, gone afterwards.
# SPDX-License-Identifier: PostgreSQL
#
# Sourced by the shell runners (cluster_up, cluster_down); run by postgres.js as `cluster.sh init DIR PORT FSYNC`.
# Only a socket inside the private directory is opened unless a port is asked for, so nothing can collide.

PG_CONFIG=${PG_CONFIG:-pg_config}
CLUSTER_PORT=54329      # names the socket file; nobody listens on it over TCP

# The minors of August 2026 load no output plugin that is not listed; older ones refuse to start with the setting.
cluster_lists_plugins() {       # $1: what `postgres --version` says
  local version major minor first
  version=$(sed -E 's/^[^0-9]*([0-9]+)(\.([0-9]+))?.*$/\1 \3/' <<<"$1")
  read -r major minor <<<"$version"
  case $major in
    14) first=24 ;;
    15) first=19 ;;
    16) first=15 ;;
    17) first=11 ;;
    18) first=6 ;;
    *) [ "$major" -gt 18 ]; return ;;
  esac
  # a beta or development version carries no minor number
  [ -n "$minor" ] && [ "$minor" -ge "$first" ]
}

cluster_settings() {            # $1 directory, $2 port or 0, $3 fsync on|off, $4 `postgres --version`
  local listen='' port=$CLUSTER_PORT
  if [ "$2" != 0 ]; then listen=127.0.0.1; port=$2; fi
  cat <<EOF
listen_addresses = '$listen'
port = $port
unix_socket_directories = '$1/socket'
wal_level = logical
max_wal_senders = 10
max_replication_slots = 10
max_prepared_transactions = 10
max_connections = 100
shared_buffers = 64MB
fsync = $3
full_page_writes = $3
autovacuum_naptime = 10s
log_min_messages = warning
log_line_prefix = '%m [%p] %u@%d '
lc_messages = 'C'
timezone = 'UTC'
EOF
  if cluster_lists_plugins "$4"; then
    echo "output_plugin_libraries = 'pgoutput, test_decoding, wal2json'"
  fi
}

# PostgreSQL refuses to run as root; then its own system user runs it.
cluster_as_server() {
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid postgres --regid postgres --init-groups "$@"
  else
    "$@"
  fi
}

cluster_init() {                # $1 directory, $2 port or 0, $3 fsync on|off
  local bin
  bin=$("$PG_CONFIG" --bindir)
  mkdir -p "$1/socket"
  chmod 700 "$1" "$1/socket"
  if [ "$(id -u)" = 0 ]; then chown postgres "$1" "$1/socket"; fi
  (cd / && LC_ALL=C.UTF-8 cluster_as_server "$bin/initdb" -D "$1/data" -U postgres -A trust -E UTF8 --no-sync --no-instructions >"$1/initdb.log" 2>&1) || {
    cat "$1/initdb.log" >&2
    return 1
  }
  cluster_settings "$1" "$2" "$3" "$("$bin/postgres" --version)" >>"$1/data/postgresql.conf"
}

cluster_temp() {                # a directory short enough for the name of a socket (107 bytes)
  local base=${TMPDIR:-/tmp}
  if [ ${#base} -gt 60 ]; then base=/tmp; fi
  mktemp -d "$base/sync-test.XXXXXX"
}

cluster_ready() {
  "$("$PG_CONFIG" --bindir)/pg_isready" -q -h "$CLUSTER/socket" -p "$CLUSTER_PORT"
}

# Starts a cluster unless one of ours is running (CLUSTER set by an outer runner); exports CLUSTER, PGHOST, PGPORT, PGUSER.
cluster_up() {
  if [ -n "${CLUSTER:-}" ]; then return; fi
  local bin tries=0
  bin=$("$PG_CONFIG" --bindir)
  CLUSTER=$(cluster_temp)
  trap cluster_down EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  cluster_init "$CLUSTER" 0 off || return 1
  # the server ends with us even if we are killed
  (cd / && if [ "$(id -u)" = 0 ]; then
      exec setpriv --pdeathsig INT --reuid postgres --regid postgres --init-groups "$bin/postgres" -D "$CLUSTER/data"
    else
      exec "$bin/postgres" -D "$CLUSTER/data"
    fi) >"$CLUSTER/server.log" 2>&1 &
  CLUSTER_PID=$!
  until cluster_ready; do
    tries=$((tries + 1))
    if [ $tries -gt 300 ] || ! kill -0 "$CLUSTER_PID" 2>/dev/null; then
      echo "the private cluster did not start:" >&2
      cat "$CLUSTER/server.log" >&2
      return 1
    fi
    sleep 0.1
  done
  export CLUSTER PGHOST=$CLUSTER/socket PGPORT=$CLUSTER_PORT PGUSER=postgres
}

cluster_down() {
  local status=$?
  trap - EXIT INT TERM
  if [ -n "${CLUSTER_PID:-}" ]; then
    kill -INT "$CLUSTER_PID" 2>/dev/null
    wait "$CLUSTER_PID" 2>/dev/null
  fi
  if [ -n "${CLUSTER:-}" ]; then rm -rf "$CLUSTER"; fi
  exit $status
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -eu
  case ${1:-} in
    init) cluster_init "$2" "${3:-0}" "${4:-off}" ;;
    settings) cluster_settings "$2" "$3" "$4" "$5" ;;
    *) echo "usage: cluster.sh init DIR [PORT] [on|off] | settings DIR PORT FSYNC VERSION" >&2; exit 2 ;;
  esac
fi
