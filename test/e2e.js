// e2e.js - runs the end-to-end tests with node:test, once with each decoding plugin, two files at a time, under a limit that only catches hangs.
// SPDX-License-Identifier: PostgreSQL
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';

const MOST_SAID = 600; // characters of a failure's reason
const TIMEOUT_MS = 2_400_000; // of a file: promises take six minutes on a quiet machine, a quarter of an hour and more beside other loads

const directory = path.join(path.dirname(fileURLToPath(import.meta.url)), 'e2e');
const wanted = (process.env.TESTS || '').split(/[\s,]+/).filter(Boolean);
const names = wanted.length ? wanted : readdirSync(directory).filter((name) => name.endsWith('.test.js')).map((name) => name.slice(0, -8)).sort();
const plugins = process.env.SYNC_PLUGIN ? [process.env.SYNC_PLUGIN] : ['wal2json', 'pgoutput'];

// A file in which nothing is decoded says so in its third line: "// runs once: why".
const onceBecause = (name) => readFileSync(path.join(directory, `${name}.test.js`), 'utf8').split('\n', 3)[2]?.match(/^\/\/ runs once: (.+)/)?.[1];

const failures = [];

/** Why, in one line that still fits a summary. */
function reasonOf({ error }) {
  const { message = '', cause } = error ?? {};
  return String(cause?.stack ?? cause ?? message).replace(/\s+/g, ' ').slice(0, MOST_SAID);
}

/** Resolves at the end; a failure shows in the exit code, and in one line at the very end. */
function runWith(plugin, files) {
  process.env.SYNC_PLUGIN = plugin; // the files' own processes have it from here
  const tests = run({ files: files.map((name) => path.join(directory, `${name}.test.js`)), concurrency: 2, timeout: TIMEOUT_MS });
  tests.on('test:fail', ({ name, todo, details }) => {
    if (todo !== undefined && todo !== false) return;
    process.exitCode = 1;
    failures.push(`e2e: failed with ${plugin}: ${name}: ${reasonOf(details)}`);
  });
  const report = typeof spec === 'function' && spec.prototype ? new spec() : spec;
  const lines = tests.compose(report);
  lines.pipe(process.stdout, { end: false });
  return new Promise((resolve) => lines.on('end', resolve));
}

const once = new Map(names.map((name) => [name, onceBecause(name)]).filter(([, why]) => why));
for (const [i, plugin] of plugins.entries()) {
  const files = names.filter((name) => i === 0 || !once.has(name));
  console.log(`e2e: ${files.length} files with ${plugin}`);
  if (files.length) await runWith(plugin, files);
  else console.log('e2e: none of them decodes anything');
}
if (plugins.length > 1)
  for (const [name, why] of once) console.log(`e2e: ${name} ran once: ${why}`);
for (const line of failures) console.log(line);
