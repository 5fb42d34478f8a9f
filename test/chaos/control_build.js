// control_build.js - extension and streamer built once more, so that a rule can be switched off: for tests that must fail without it.
// SPDX-License-Identifier: PostgreSQL
//
// The rules: flush (WAL before a cursor is handed out), visible (what a pull does not show yet is delivered after it),
// incarnation (a token of another history is refused), scope (rows go to those who hold their scope value).
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { Laboratory } from '../lib/laboratory.js';

export const RULES = ['flush', 'visible', 'incarnation', 'scope'];
const VARIABLES = ['PG_CONFIG', 'SYNC_STREAMER', 'SYNC_CONTROL_OFF'];

/** Objects of the sources that know of the rules: only these differ from the normal build. */
function forgetObjects(tree) {
  for (const [sources, objects] of [['extension', 'extension'], ['streamer', 'streamer/build/plain']]) {
    for (const file of readdirSync(path.join(tree, sources)).filter((name) => name.endsWith('.c'))) {
      if (readFileSync(path.join(tree, sources, file), 'utf8').includes('#include "control.h"')) rmSync(path.join(tree, objects, file.replace(/c$/, 'o')), { force: true });
    }
  }
}

export class ControlBuild {
  static make({ streamer = true } = {}) {
    const build = new ControlBuild();
    build.laboratory = new Laboratory('sync-controls', { built: true });
    forgetObjects(build.laboratory.tree);
    const trouble = build.laboratory.build({ streamer, flags: '-DSYNC_CONTROLS' });
    if (trouble) throw new Error(`the control build failed: ${trouble}`);
    build.pgConfig = build.laboratory.pgConfig;
    build.streamer = path.join(build.laboratory.tree, 'streamer/sync-streamer');
    return build;
  }

  /** Every server and streamer that `work` starts is of this build, with one rule switched off (none: all in force). */
  async without(rule, work) {
    if (rule !== undefined && !RULES.includes(rule)) throw new Error(`there is no rule "${rule}" to switch off, only ${RULES.join(', ')}`);
    const before = VARIABLES.map((name) => process.env[name]);
    const set = (values) => VARIABLES.forEach((name, i) => (values[i] === undefined ? delete process.env[name] : (process.env[name] = values[i])));
    set([this.pgConfig, this.streamer, rule]);
    try {
      return await work();
    } finally {
      set(before);
    }
  }

  remove() {
    this.laboratory.remove();
  }
}
