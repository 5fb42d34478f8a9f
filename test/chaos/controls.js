// controls.js - `make controls`: each rule switched off in a build made for that, and the play that must fail without it; fails if one holds.
// SPDX-License-Identifier: PostgreSQL
//
// RULES="flush scope" picks rules, SECONDS= is the time a play has to see the failure (it ends with the first), SEED= as for make chaos.
import { ControlBuild, RULES } from './control_build.js';
import { closingLine, findPlays, runPlay } from './plays.js';

const seconds = Number(process.env.SECONDS || 120);
const seed = Number(process.env.SEED || Date.now() % 1e9);
const wanted = (process.env.RULES || '').split(/[\s,]+/).filter(Boolean);
const plays = await findPlays();
const build = ControlBuild.make();

let missed = 0;
for (const rule of wanted.length ? wanted : RULES) {
  const judges = plays.filter((play) => [play.control].flat().includes(rule));
  if (!judges.length) {
    console.error(`controls: no play must fail without "${rule}"`);
    missed++;
  }
  for (const play of judges) {
    const result = await build.without(rule, () => runPlay(play, { seconds, seed, control: rule }));
    const hasFailed = result.failures.length > 0 && !result.isBroken;
    console.log(`controls: without "${rule}" ${closingLine(play, result).replace(/^chaos: /, '')}: ${hasFailed ? 'as it must' : 'THE CONTROL SAW NOTHING'}`);
    if (result.failures.length) console.log(`controls:   ${result.failures[0].split('\n', 3).join('\n')}`);
    if (!hasFailed) missed++;
  }
}
build.remove();
if (missed) process.exitCode = 1;
