// fuzz.js - `make fuzz`: runs the fuzzers of the pure parsers from their corpora, each under ASan and UBSan; prints what each tried and found.
// SPDX-License-Identifier: PostgreSQL
//
// SECONDS= is the time of each, RUNS= bounds it by inputs, SEED= asks for a run again, TESTS="json token" picks. MERGE=1 instead takes what was
// grown in build/fuzz/corpus into test/fuzz/corpus, as few inputs as reach the same code. `short` is the form of `make test`: all that is kept
// tried again, and a few thousand new inputs. corpus/<name>/ has inputs written by hand and those that once found something, corpus/<name>.base64
// what was grown, an input in a line.
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from '../lib/postgres.js';

const FUZZERS = path.join(ROOT, 'streamer/build/fuzz');
const HERE = path.join(ROOT, 'test/fuzz');
const KEPT_MAX = 30_000; // bytes of one grown corpus in the repository
const LONGEST = 1024; // bytes of an input
const isShort = process.argv[2] === 'short';

const number = (name, otherwise) => {
  const value = Number(process.env[name] || otherwise);
  if (!Number.isInteger(value) || value < 0) throw new Error(`${name}=${process.env[name]} is not a whole number`);
  return value;
};

const wanted = (process.env.TESTS || '').split(/[\s,]+/).filter(Boolean);
const known = readdirSync(HERE).filter((file) => file.endsWith('_fuzz.c')).map((file) => file.slice(0, -7)).sort();
const names = wanted.length ? wanted : known;
const seed = number('SEED', 1 + (Date.now() % 1e9));
const seconds = number('SECONDS', isShort ? 1 : 10);
const runs = number('RUNS', isShort ? 3000 : 0);

const packed = (name) => path.join(HERE, 'corpus', `${name}.base64`);
const fresh = (...parts) => {
  const directory = path.join(FUZZERS, ...parts);
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  return directory;
};

/** The directories that a fuzzer starts from; the first is where it puts what it finds new. */
function corpora(name) {
  const grown = isShort ? fresh('tried', name) : path.join(FUZZERS, 'corpus', name);
  mkdirSync(grown, { recursive: true });
  const unpacked = fresh('unpacked', name);
  if (existsSync(packed(name))) {
    for (const line of readFileSync(packed(name), 'utf8').split('\n').filter(Boolean)) {
      const bytes = Buffer.from(line.trim(), 'base64');
      writeFileSync(path.join(unpacked, createHash('sha1').update(bytes).digest('hex')), bytes);
    }
  }
  return [grown, unpacked, path.join(HERE, 'corpus', name)].filter(existsSync);
}

/** Runs one fuzzer; { output, code }. */
function start(name, args) {
  const child = spawn(path.join(FUZZERS, `${name}_fuzz`), args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ASAN_OPTIONS: 'detect_leaks=1:allocator_may_return_null=1:malloc_context_size=5:quarantine_size_mb=16', UBSAN_OPTIONS: 'print_stacktrace=1', TMPDIR: fresh('scratch', name) },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output = (output + text).slice(-20_000)));
  return new Promise((resolve) => child.on('close', (code) => resolve({ output, code })));
}

async function fuzz(name) {
  const found = path.join(FUZZERS, 'found');
  mkdirSync(found, { recursive: true });
  const dictionary = path.join(HERE, 'dict', `${name}.dict`);
  const directories = corpora(name);
  const kept = directories.reduce((sum, directory) => sum + readdirSync(directory).length, 0);
  const { output, code } = await start(name, [
    `-seed=${seed}`,
    `-max_total_time=${seconds}`,
    ...(runs ? [`-runs=${isShort ? kept + runs : runs}`] : []),
    `-max_len=${LONGEST}`,
    '-timeout=20',
    '-verbosity=0',
    '-print_final_stats=1',
    ...(existsSync(dictionary) ? [`-dict=${dictionary}`] : []),
    `-artifact_prefix=${found}/${name}-`,
    ...directories,
  ]);
  const tried = Number(/number_of_executed_units: (\d+)/.exec(output)?.[1] ?? 0);
  const inputs = [...output.matchAll(/Test unit written to (\S+)/g)].map(([, file]) => path.relative(ROOT, file));
  console.log(`fuzz: ${name}: ${tried} inputs, ${kept} of them kept, seed ${seed}: ${code === 0 ? '0 findings' : `FOUND ${inputs.join(' ') || `exit code ${code}`}`}`);
  if (code !== 0) {
    console.log(output.slice(-6000));
    process.exitCode = 1;
  }
  return tried;
}

/** The fewest inputs that reach what all of them reach, the shortest first as far as there is room. */
async function merge(name) {
  const least = fresh('merged', name);
  const { output, code } = await start(name, ['-merge=1', '-verbosity=0', `-max_len=${LONGEST}`, least, ...corpora(name)]);
  if (code !== 0) throw new Error(`${name}: ${output.slice(-2000)}`);
  const byHand = path.join(HERE, 'corpus', name);
  const seeds = new Set((existsSync(byHand) ? readdirSync(byHand) : []).map((file) => readFileSync(path.join(byHand, file), 'base64')));
  const all = readdirSync(least).map((file) => readFileSync(path.join(least, file), 'base64')).filter((line) => line && !seeds.has(line));
  all.sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
  let bytes = 0;
  const lines = all.filter((line) => (bytes += line.length + 1) <= KEPT_MAX);
  writeFileSync(packed(name), lines.map((line) => `${line}\n`).join(''));
  console.log(`fuzz: ${name}: ${lines.length} of ${all.length} grown inputs kept`);
}

for (const name of names) if (!known.includes(name)) throw new Error(`there is no fuzzer ${name}: ${known.join(' ')}`);
execFileSync('make', ['-s', '-j2', '-C', path.join(ROOT, 'streamer'), 'fuzz', `FUZZ_NAMES=${names.join(' ')}`], { stdio: 'inherit' });
const queue = [...names];
let tried = 0;
const worker = async () => {
  for (let name = queue.shift(); name; name = queue.shift()) tried += process.env.MERGE ? ((await merge(name)), 0) : await fuzz(name);
};
await Promise.all(isShort ? [worker(), worker()] : [worker()]);
if (!process.env.MERGE) console.log(`fuzz: ${names.length} fuzzers, ${tried} inputs, ${process.exitCode ? 'something was found' : 'no findings'}`);
