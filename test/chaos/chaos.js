// chaos.js - `make chaos`: runs the plays of the promises, prints what each reached, keeps the seeds of those that failed.
// SPDX-License-Identifier: PostgreSQL
//
// ROWS="G4 handoff" picks by row or name, SECONDS= is the time of each play, SEED= asks for a run again, MOST= ends a play at
// that many of what it counts. Seeds fix the decisions of a play, not the moments at which processes get the processor.
import { closingLine, findPlays, keepSeed, runPlay } from './plays.js';

const number = (name, otherwise) => {
  const text = process.env[name];
  if (!text) return otherwise;
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new Error(`${name}=${text} is not a number`);
  return value;
};

async function main() {
  const plays = await findPlays((process.env.ROWS || '').split(/[\s,]+/).filter(Boolean));
  const seconds = number('SECONDS', 60);
  const most = number('MOST', undefined);
  const lines = [];

  for (const play of plays) {
    const seed = number('SEED', Date.now() % 1e9);
    console.log(`chaos: ${play.row} ${play.name}: ${play.title}; SEED=${seed} SECONDS=${seconds}`);
    const result = await runPlay(play, { seconds, seed, most, say: (line) => console.log(`chaos: ${play.name}: ${line}`) });
    for (const failure of result.failures) console.error(`chaos: ${play.name}: ${failure}`);
    if (result.failures.length) {
      process.exitCode = 1;
      keepSeed(play, result);
    }
    lines.push(closingLine(play, result));
    console.log(lines.at(-1));
  }
  if (lines.length > 1) console.log(`\n${lines.join('\n')}`);
}

await main().catch((error) => {
  console.error(`chaos: ${error.message}`);
  process.exitCode = 2;
});
