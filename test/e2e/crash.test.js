// crash.test.js - the short form of `make crash`: five crashes with nothing missed, and a control that shows the test would see a loss.
// SPDX-License-Identifier: PostgreSQL
// runs once: pulls only, nothing is decoded
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ControlBuild } from '../chaos/control_build.js';
import { crashTrap } from '../chaos/crash_trap.js';

test('pull, burn ids, SIGKILL the server, start, write, pull: nothing missed in 5 rounds', async () => {
  assert.deepEqual(await crashTrap({ rounds: 5 }), []);
});

test('without the flush the same test finds rows that were missed', async (t) => {
  const began = Date.now();
  const build = ControlBuild.make({ streamer: false });
  t.after(() => build.remove());
  t.diagnostic(`the extension without the flush: built in ${Date.now() - began} ms`);
  const losses = await build.without('flush', () => crashTrap({ rounds: 20, untilLoss: true }));
  assert.equal(losses.length, 1);
});
