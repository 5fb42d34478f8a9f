#!/usr/bin/env bash
# node.sh - runs one of the Node programs of test/ once their packages are there.
# SPDX-License-Identifier: PostgreSQL
set -eu
cd "$(dirname "$0")"
[ -d node_modules ] || ./setup.sh
exec node "$@"
