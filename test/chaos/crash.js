// crash.js - `make crash`: ROUNDS crashes with nothing missed, then the negative control, which must miss something.
// SPDX-License-Identifier: PostgreSQL
import { ControlBuild } from './control_build.js';
import { crashTrap } from './crash_trap.js';

const rounds = Number(process.env.ROUNDS || 50);
console.log(`crash: ${rounds} rounds of pull, burn ids, SIGKILL the server, start, write, pull`);
const losses = await crashTrap({ rounds, say: (line) => console.log(`crash: ${line}`) });
console.log('crash: negative control, pull without its flush');
const build = ControlBuild.make({ streamer: false });
const control = await build.without('flush', () => crashTrap({ rounds: 20, untilLoss: true, say: (line) => console.log(`crash (control): ${line}`) }));

if (losses.length) {
  console.error(`crash: FAILED, rows missed in ${losses.length} rounds:\n${JSON.stringify(losses, null, 1)}`);
  process.exitCode = 1;
} else if (!control.length) {
  console.error('crash: FAILED, the control missed nothing: this test could not have seen a loss');
  process.exitCode = 1;
} else {
  console.log(`crash: passed, nothing missed in ${rounds} rounds; the control lost rows in its round ${control[0].round + 1}`);
}
