#!/usr/bin/env bash
# install.sh - puts the extension just built where PostgreSQL finds it, or says who must do that.
# SPDX-License-Identifier: PostgreSQL
set -eu
cd "$(dirname "$0")/.."
library=$("${PG_CONFIG:-pg_config}" --pkglibdir)
share=$("${PG_CONFIG:-pg_config}" --sharedir)/extension

if cmp -s sync.so "$library/sync.so" && cmp -s sync.control "$share/sync.control" && cmp -s extension/sync--1.0.sql "$share/sync--1.0.sql"; then
  echo "install: this very build of the extension is installed already"
elif [ -w "$library" ] && [ -w "$share" ]; then
  make -s install-extension
  echo "install: the extension is in $library and $share"
else
  echo "install: the extension of this build is not installed and this user may not do it: run 'sudo make install-extension', then this again" >&2
  exit 1
fi
