// mutations.js - `make mutations`: breaks the code on purpose, one place at a time in a copy, and asks whether the named test sees it.
// SPDX-License-Identifier: PostgreSQL
//
// Works in a temporary copy of the tree and of PostgreSQL: what is installed stays as it is. ROWS="X4 X10" picks rows of the table.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Laboratory } from './lib/laboratory.js';
import { MUTATIONS } from './mutations/list.js';

/** `test`: "regress push_batch", "e2e push", "unit", …; true if it passed. */
function passes(laboratory, test) {
  const [kind, ...names] = test.split(' ');
  if (kind === 'unit') return laboratory.run('make', ['-s', '-C', 'streamer', 'unit']).status === 0;
  const fixed = kind === 'e2e' ? { SEED: '1' } : {};
  return laboratory.run('make', ['-s', kind], { TESTS: names.join(' '), ...fixed }).status === 0;
}

/** The file with one place changed; a function that undoes it. */
function breakCode(laboratory, { file, find, replace }) {
  const name = path.join(laboratory.tree, file);
  const text = readFileSync(name, 'utf8');
  if (text.split(find).length !== 2) throw new Error(`${file} holds "${find.slice(0, 60)}" ${text.split(find).length - 1} times, not once: mend test/mutations/list.js`);
  writeFileSync(name, text.replace(find, () => replace));
  return () => writeFileSync(name, text);
}

function judge(laboratory, mutation, sound) {
  const streamer = /^(e2e|unit)/.test(mutation.test);
  if (!sound.has(mutation.test)) sound.set(mutation.test, passes(laboratory, mutation.test));
  if (!sound.get(mutation.test)) return 'no: the test fails on the sound code too';
  let undo;
  try {
    undo = breakCode(laboratory, mutation);
    const trouble = laboratory.build({ streamer: streamer && mutation.file.startsWith('streamer/') });
    if (trouble) return `no: it does not build: ${trouble.trim().split('\n').at(-1)}`;
    return passes(laboratory, mutation.test) ? 'NO' : 'yes';
  } catch (error) {
    return `no: ${error.message}`;
  } finally {
    if (undo) {
      undo();
      laboratory.build({ streamer: streamer && mutation.file.startsWith('streamer/') });
    }
  }
}

const rows = (process.env.ROWS || '').split(/[\s,]+/).filter(Boolean);
const wanted = MUTATIONS.filter(({ row }) => !rows.length || rows.includes(row));
const laboratory = new Laboratory('sync-mutations');
const trouble = laboratory.build({ streamer: wanted.some(({ test }) => /^(e2e|unit)/.test(test)) });
if (trouble) throw new Error(`the sound code does not build: ${trouble}`);
const sound = new Map();
let missed = 0;
console.log('| row | what is broken | test | caught |\n|---|---|---|---|');
for (const mutation of wanted) {
  const caught = judge(laboratory, mutation, sound);
  if (caught !== 'yes') missed++;
  console.log(`| ${mutation.row} | ${mutation.what} | ${mutation.test} | ${caught} |`);
}
console.log(`mutations: ${wanted.length - missed} of ${wanted.length} caught`);
if (missed) process.exitCode = 1;
