// cli.test.js - the streamer's command line: help, version, wrong options, and --check before anything is served.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Postgres, ROOT } from '../lib/postgres.js';

const BINARY = process.env.SYNC_STREAMER || path.join(ROOT, 'streamer/sync-streamer');
let server;
let good;
let secret;

before(async () => {
  server = await Postgres.start();
  good = await server.createDatabase('good');
  await good.sql('CREATE ROLE app NOLOGIN; GRANT app TO sync_query');
  await server.createDatabase('bare', { extension: false });
  secret = path.join(server.directory, 'secret');
  writeFileSync(secret, 'x'.repeat(40));
});
after(() => server?.stop());

const run = (...args) => spawnSync(BINARY, args, { encoding: 'utf8', timeout: 20_000 });

test('--help names every option, --version the version', () => {
  const help = run('--help');
  assert.equal(help.status, 0);
  for (const name of ['--database', '--listen', '--jwt-secret-file', '--allow-origin', '--demo', '--check', '--max-queue']) assert.ok(help.stdout.includes(name), name);
  const version = run('--version');
  assert.equal(version.status, 0);
  assert.match(version.stdout, /1\.0/);
});

test('an unknown option, a wrong value, a missing secret: a sentence and a failure', () => {
  for (const args of [['--no-such-option'], ['--listen', 'nowhere:abc'], ['--database', 'x', '--jwt-secret-file', '/no/such/file']]) {
    const { status, stderr, stdout } = run(...args);
    assert.ok(status > 0, `${args}: ${status}`);
    assert.ok((stderr + stdout).trim().length > 0, String(args));
  }
});

test('--check passes on a database that is ready, and says what is missing on one that is not', () => {
  const check = (name) => run('--check', '--database', server.conninfo(name, 'sync_replication'), '--jwt-secret-file', secret);
  const passed = check('good');
  assert.equal(passed.status, 0, passed.stdout + passed.stderr);
  const failed = check('bare');
  assert.ok(failed.status > 0);
  assert.match(failed.stdout + failed.stderr, /sync/);
});
