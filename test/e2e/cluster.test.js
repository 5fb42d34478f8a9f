// cluster.test.js - the private cluster knows which PostgreSQL must be told its output plugins and which refuses to start with that line.
// SPDX-License-Identifier: PostgreSQL
// runs once: the test's own server only, nothing is decoded
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../lib/postgres.js';

const settings = (version, port = '0') => execFileSync('bash', [path.join(ROOT, 'test/lib/cluster.sh'), 'settings', '/tmp/x', port, 'off', version], { encoding: 'utf8' });

const LISTED = ['15.19', '15.20', '14.24', '16.15', '17.11', '17.12', '18.6', '19.0', '19beta1', '20devel'];
const NOT_LISTED = ['15.18', '14.23', '16.14', '16.2', '17.10', '18.5', '18beta1', '13.20', '15devel'];

for (const version of LISTED) {
  test(`${version} is told its output plugins`, () => {
    assert.match(settings(`postgres (PostgreSQL) ${version} (Debian ${version}-1.pgdg120+1)`), /^output_plugin_libraries = 'pgoutput, test_decoding, wal2json'$/m);
  });
}
for (const version of NOT_LISTED) {
  test(`${version} would not start with the line`, () => {
    assert.doesNotMatch(settings(`postgres (PostgreSQL) ${version}`), /output_plugin_libraries/);
  });
}

test('nothing listens on TCP unless a port is asked for', () => {
  assert.match(settings('postgres (PostgreSQL) 15.20'), /^listen_addresses = ''$/m);
  assert.match(settings('postgres (PostgreSQL) 15.20', '5555'), /^listen_addresses = '127\.0\.0\.1'\nport = 5555$/m);
});
