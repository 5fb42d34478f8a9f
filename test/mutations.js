// mutations.js - `make mutations`: breaks the code on purpose, one place at a time in a copy, and asks whether the named test sees it.
// SPDX-License-Identifier: PostgreSQL
//
// Works in a temporary copy of the tree and of PostgreSQL: what is installed stays as it is. ROWS="X4 X10" picks rows of the table.
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ROOT } from './lib/postgres.js';
import { MUTATIONS } from './mutations/list.js';

const PG_CONFIG = process.env.PG_CONFIG || 'pg_config';
const LIMIT_MS = 600_000;

const place = (what) => execFileSync(PG_CONFIG, [`--${what}`], { encoding: 'utf8' }).trim();

/** A copy of PostgreSQL: it finds its files by where its programs lie. */
function copyPostgres(root) {
  const copy = (from) => {
    mkdirSync(path.dirname(path.join(root, from)), { recursive: true });
    cpSync(from, path.join(root, from), { recursive: true, verbatimSymlinks: true });
  };
  const directories = ['bindir', 'pkglibdir', 'sharedir', 'includedir-server'].map(place);
  for (const directory of new Set(directories)) copy(directory);
  // headers of libpq stay where they are
  const includes = place('pkgincludedir');
  for (const file of ['internal', 'libpq', 'pg_config.h', 'pg_config_ext.h', 'pg_config_os.h', 'pg_config_manual.h', 'postgres_ext.h']) {
    const target = path.join(root, includes, file);
    mkdirSync(path.dirname(target), { recursive: true });
    symlinkSync(path.join(includes, file), target);
  }
  return path.join(root, directories[0]);
}

function copyTree(to) {
  // what git would commit, as it is in the working tree now
  const files = execFileSync('git', ['-C', ROOT, 'ls-files', '-z', '--cached', '--others', '--exclude-standard'], { encoding: 'utf8', maxBuffer: 1 << 26 }).split('\0').filter(Boolean);
  for (const file of files) cpSync(path.join(ROOT, file), path.join(to, file), { recursive: true, verbatimSymlinks: true, errorOnExist: false });
  symlinkSync(path.join(ROOT, 'test/node_modules'), path.join(to, 'test/node_modules'));
}

class Laboratory {
  constructor() {
    this.directory = mkdtempSync(path.join(tmpdir(), 'sync-mutations.'));
    process.once('exit', () => rmSync(this.directory, { recursive: true, force: true }));
    this.tree = path.join(this.directory, 'tree');
    mkdirSync(this.tree);
    copyTree(this.tree);
    const bin = copyPostgres(path.join(this.directory, 'pg'));
    this.env = { ...process.env, PATH: `${bin}:${process.env.PATH}`, PG_CONFIG: path.join(bin, 'pg_config'), TESTS: '' };
    // the server's own user must be able to reach it
    spawnSync('chmod', ['755', this.directory]);
  }

  run(command, args, env = {}) {
    return spawnSync(command, args, { cwd: this.tree, env: { ...this.env, ...env }, encoding: 'utf8', timeout: LIMIT_MS, maxBuffer: 1 << 28 });
  }

  build({ streamer }) {
    const extension = this.run('make', ['-s', 'STREAMER=no', 'install']);
    if (extension.status !== 0) return extension.stderr;
    const other = streamer && this.run('make', ['-s', '-C', 'streamer', 'all']);
    return other && other.status !== 0 ? other.stderr : undefined;
  }

  /** `test`: "regress push_batch", "e2e push", "unit", …; true if it passed. */
  passes(test) {
    const [kind, ...names] = test.split(' ');
    if (kind === 'unit') return this.run('make', ['-s', '-C', 'streamer', 'unit']).status === 0;
    const fixed = kind === 'e2e' ? { SEED: '1' } : {};
    return this.run('make', ['-s', kind], { TESTS: names.join(' '), ...fixed }).status === 0;
  }

  /** The file with one place changed; a function that undoes it. */
  break({ file, find, replace }) {
    const name = path.join(this.tree, file);
    const text = readFileSync(name, 'utf8');
    if (text.split(find).length !== 2) throw new Error(`${file} holds "${find.slice(0, 60)}" ${text.split(find).length - 1} times, not once: mend test/mutations/list.js`);
    writeFileSync(name, text.replace(find, () => replace));
    return () => writeFileSync(name, text);
  }
}

function judge(laboratory, mutation, sound) {
  const streamer = /^(e2e|unit)/.test(mutation.test);
  if (!sound.has(mutation.test)) sound.set(mutation.test, laboratory.passes(mutation.test));
  if (!sound.get(mutation.test)) return 'no: the test fails on the sound code too';
  let undo;
  try {
    undo = laboratory.break(mutation);
    const trouble = laboratory.build({ streamer: streamer && mutation.file.startsWith('streamer/') });
    if (trouble) return `no: it does not build: ${trouble.trim().split('\n').at(-1)}`;
    return laboratory.passes(mutation.test) ? 'NO' : 'yes';
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
const laboratory = new Laboratory();
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
