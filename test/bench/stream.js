// stream.js - `make bench-stream`: the streamer under load, each figure beside its target and beside a floor measured in the same run.
// SPDX-License-Identifier: PostgreSQL
//
// Sections live in stream/, one file each: name and run(ctx). SECTIONS="decode storm" picks some, ROUNDS= repeats each, PLUGIN= takes the other decoder.
import { readdirSync } from 'node:fs';
import { cpus } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const DIRECTORY = path.join(path.dirname(fileURLToPath(import.meta.url)), 'stream');
const ROUNDS = Number(process.env.ROUNDS || 3);

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

const digits = (value) => (value >= 1000 ? Math.round(value).toLocaleString('en') : value.toPrecision(3));
const spread = (values) => (values.length > 1 ? `${digits(median(values))} (${digits(Math.min(...values))} – ${digits(Math.max(...values))})` : digits(values[0]));

/**
 * One line: `seen` and `floor` are lists of the same length, one value for each round (floor may be left out). The target is about the figure itself (`at_most`,
 * `at_least`) or its ratio to the floor (`ratio_at_most`, `ratio_at_least`).
 */
function line({ what, unit, seen, floor, floor_is = '', at_most, at_least, ratio_at_most, ratio_at_least }) {
  const ratio = floor ? median(seen.map((value, i) => value / floor[i])) : undefined;
  const figure = median(seen);
  const targets = [
    at_most !== undefined && [`≤ ${digits(at_most)}`, figure <= at_most],
    at_least !== undefined && [`≥ ${digits(at_least)}`, figure >= at_least],
    ratio_at_most !== undefined && [`≤ ${ratio_at_most} × floor`, ratio <= ratio_at_most],
    ratio_at_least !== undefined && [`≥ ${ratio_at_least} × floor`, ratio >= ratio_at_least],
  ].filter(Boolean);
  const target = targets.map(([text]) => text).join(', ') || '–';
  const verdict = !targets.length ? '' : targets.every(([, good]) => good) ? 'yes' : '**short**';
  console.log(`| ${what} | ${unit} | ${target} | ${floor ? `${spread(floor)} ${floor_is}`.trim() : '–'} | ${spread(seen)} | ${ratio === undefined ? '–' : ratio.toPrecision(3)} | ${verdict} |`);
}

/** Runs `measure` once a round; what it returns is gathered by name: { name: [values] }. */
async function rounds(measure) {
  const gathered = {};
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, value] of Object.entries(await measure(round))) (gathered[name] ??= []).push(value);
  }
  return gathered;
}

const picked = (process.env.SECTIONS || '').split(/[\s,]+/).filter(Boolean);
const files = readdirSync(DIRECTORY).filter((file) => !picked.length || picked.includes(file.slice(0, -3)) || picked.includes(file[0])).sort();
console.log(`bench-stream: ${cpus().length} CPUs, ${cpus()[0].model}; PostgreSQL, streamer and clients on this machine, loopback TCP, fsync on; ROUNDS=${ROUNDS}${process.env.PLUGIN ? ` PLUGIN=${process.env.PLUGIN}` : ''}`);
for (const file of files) {
  const section = await import(path.join(DIRECTORY, file));
  const begin = performance.now();
  console.log(`\n## ${section.name}\n\n| what | unit | target | floor | seen | ratio | reached |\n| --- | --- | --- | ---: | ---: | ---: | --- |`);
  try {
    await section.run({ line, rounds });
  } catch (error) {
    console.log(`\n**${file} failed: ${error.message}**`);
    process.exitCode = 1;
  }
  console.log(`\n${((performance.now() - begin) / 1000).toFixed(0)} s`);
}
