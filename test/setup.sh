#!/usr/bin/env bash
# setup.sh - makes sure that everything the build and the tests need is installed; on Debian, as root, installs what is missing.
# SPDX-License-Identifier: PostgreSQL
set -eu
here=$(cd "$(dirname "$0")" && pwd)

missing=()
have() { command -v "$1" >/dev/null 2>&1; }
need() { missing+=("$@"); }      # names of Debian packages

find_missing_packages() {
  local major=${PG_MAJOR:-}
  # the packages of one PostgreSQL belong together: the installed one's, else the distribution's newest
  if [ -z "$major" ] && have pg_config; then major=$(pg_config --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/'); fi
  if [ -z "$major" ] && have apt-cache; then
    major=$(apt-cache depends postgresql 2>/dev/null | sed -nE 's/.*Depends: postgresql-([0-9]+)$/\1/p' | head -n 1)
  fi
  major=${major:-15}
  have make || need make
  have gcc || need gcc libc6-dev
  have pkg-config || need pkg-config
  have openssl || need openssl
  have node || need nodejs
  have npm || need npm
  have pg_prove || need libtap-parser-sourcehandler-pgtap-perl
  have chromium || have chromium-browser || have google-chrome || need chromium
  have clang || need clang
  # the fuzzers' runtime comes in a package of its own
  echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | clang -fsanitize=fuzzer,address -x c -o /dev/null - 2>/dev/null || need libclang-rt-dev
  python3 -c 'import wsproto' 2>/dev/null || /usr/bin/python3 -c 'import wsproto' 2>/dev/null || need python3-wsproto
  { have pg_config && [ -e "$(pg_config --pgxs 2>/dev/null)" ]; } || need "postgresql-server-dev-$major"
  { have pg_config && [ -x "$(pg_config --bindir)/postgres" ]; } || need "postgresql-$major"
  { have pg_config && [ -e "$(pg_config --pkglibdir)/wal2json.so" ]; } || need "postgresql-$major-wal2json"
  { have pg_config && [ -e "$(pg_config --sharedir)/extension/pgtap.control" ]; } || need "postgresql-$major-pgtap"
  local pair
  for pair in libpq:libpq-dev libwebsockets:libwebsockets-dev libjwt:libjwt-dev openssl:libssl-dev zlib:zlib1g-dev; do
    { have pkg-config && pkg-config --exists "${pair%%:*}"; } || need "${pair#*:}"
  done
  [ -e /usr/include/jsmn.h ] || need libjsmn-dev
}

install_packages() {
  if [ ${#missing[@]} = 0 ]; then return; fi
  if [ "$(id -u)" != 0 ] || ! have apt-get; then
    echo "setup: these packages are missing (Debian's names): ${missing[*]}" >&2
    echo "setup: install them, or run this as root on Debian" >&2
    exit 1
  fi
  echo "setup: installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # Debian would otherwise start a server of its own beside ours
  mkdir -p /etc/postgresql-common
  [ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
  apt-get update -q
  apt-get install -q -y --no-install-recommends "${missing[@]}"
}

install_node_modules() {
  cd "$here"
  # npm leaves a copy of the lock file behind: equal names and versions mean that there is nothing to do
  if [ -e node_modules/.package-lock.json ] && [ node_modules/.package-lock.json -nt package-lock.json ]; then return; fi
  echo "setup: npm ci in test/"
  npm ci --no-audit --no-fund --loglevel=error
  touch node_modules/.package-lock.json
}

find_missing_packages
install_packages
install_node_modules
echo "setup: $(pg_config --version), node $(node --version), everything is there"
