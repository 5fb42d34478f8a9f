#!/usr/bin/env bash
# demo.sh - what `make demo` does: set up, build, install the extension, then hand over to demo.js.
# SPDX-License-Identifier: PostgreSQL
set -eu
cd "$(dirname "$0")/.."
echo "demo: looking for the packages that are needed"
test/setup.sh
echo "demo: building the extension and the streamer"
make -s all
test/install.sh
exec node test/demo.js
