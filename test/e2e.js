// e2e.js - runs the end-to-end tests with node:test, two files at a time, under a limit that only catches hangs.
// SPDX-License-Identifier: PostgreSQL
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';

const directory = path.join(path.dirname(fileURLToPath(import.meta.url)), 'e2e');
const wanted = (process.env.TESTS || '').split(/[\s,]+/).filter(Boolean);
const names = wanted.length ? wanted.map((name) => `${name}.test.js`) : readdirSync(directory).filter((name) => name.endsWith('.test.js')).sort();

const tests = run({ files: names.map((name) => path.join(directory, name)), concurrency: 2, timeout: 300_000 });
tests.on('test:fail', ({ todo }) => {
  if (todo === undefined || todo === false) process.exitCode = 1;
});
const report = typeof spec === 'function' && spec.prototype ? new spec() : spec;
tests.compose(report).pipe(process.stdout);
