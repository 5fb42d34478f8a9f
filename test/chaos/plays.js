// plays.js - the plays of a promise each: finds them, runs one from a seed within its time, keeps the seeds that showed a failure.
// SPDX-License-Identifier: PostgreSQL
//
// A play is a file in plays/ that exports
//   play = { row: 'G4', name: 'stream_order', title: 'one sentence', run, short?: seconds in `make test`, control?: the rule without which it must fail, or a list of such }
//   run({ seconds, seed, random, say, most, control }) → { figures: { events: 123, gaps: 0 }, failures: ['what was seen', …], seed?: a narrower one }
// It starts what it needs, goes on until `seconds` have passed (or its main figure reaches `most`), and leaves nothing behind.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Random } from '../lib/random.js';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const MOST_KEPT = 20; // seeds per play

/** Every play, or those that `wanted` names by row or name; in the order of the rows. */
export async function findPlays(wanted = []) {
  const files = readdirSync(path.join(HERE, 'plays')).filter((name) => name.endsWith('.js'));
  const plays = await Promise.all(files.map(async (file) => (await import(pathToFileURL(path.join(HERE, 'plays', file)).href)).play));
  const unknown = wanted.filter((name) => !plays.some((play) => play.row === name || play.name === name));
  if (unknown.length) throw new Error(`no play is called ${unknown.join(', ')}; there are ${plays.map((play) => `${play.name} (${play.row})`).join(', ')}`);
  return plays
    .filter((play) => !wanted.length || wanted.includes(play.row) || wanted.includes(play.name))
    .sort((a, b) => a.row.slice(1) - b.row.slice(1) || a.name.localeCompare(b.name));
}

/** Runs a play; what it throws counts as a failure. */
export async function runPlay(play, { seconds, seed, most, control, say = () => {} }) {
  const began = Date.now();
  const settings = { seconds, seed, most, control, say, random: new Random(seed) };
  const result = await play.run(settings).catch((error) => ({ figures: {}, failures: [error.stack ?? String(error)], isBroken: true }));
  return { seed, ...result, seconds: Math.round((Date.now() - began) / 1000) };
}

/** One line for people: the figures, the seed, the time, the verdict. */
export function closingLine(play, { figures, failures, seed, seconds }) {
  const told = Object.entries(figures).map(([name, value]) => `${name.replaceAll('_', ' ')} ${typeof value === 'number' ? value.toLocaleString('en') : value}`);
  return `chaos: ${play.row} ${play.name}: ${[...told, `seed ${seed}`, `${seconds} s`].join(', ')}: ${failures.length ? 'FAILED' : 'held'}`;
}

const seedFile = (play) => path.join(HERE, 'seeds', `${play.name}.json`);

/** Seeds that once showed a failure: `[{ seed, seconds, showed }]`. */
export const keptSeeds = (play) => (existsSync(seedFile(play)) ? JSON.parse(readFileSync(seedFile(play), 'utf8')) : []);

export function keepSeed(play, { seed, seconds, failures }) {
  const kept = keptSeeds(play).filter((entry) => entry.seed !== seed);
  kept.push({ seed, seconds, showed: failures[0].split('\n', 1)[0].slice(0, 200) });
  writeFileSync(seedFile(play), `${JSON.stringify(kept.slice(-MOST_KEPT), null, 2)}\n`);
}
