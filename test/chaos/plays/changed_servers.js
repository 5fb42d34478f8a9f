// changed_servers.js - G6: the server under clients becomes another one, again and again: standbys promoted, storage rolled back, databases restored; all are told and end right.
// SPDX-License-Identifier: PostgreSQL
import { Audience } from '../../lib/audience.js';
import { ask, caughtUp, copyFiles, promote, restoreAnew, rollBack, standbyOf } from '../../lib/copies.js';
import { World } from '../../lib/world.js';

const LIMIT_S = 10; // until everybody who is connected has been told and holds what is there
const STEPS_MAX = 30;

export const play = {
  row: 'G6',
  name: 'changed_servers',
  title: 'the server under clients becomes another one: everybody is told, and ends with what is there now',
  control: 'incarnation',
  short: 8,
  run,
};

async function write(world, random, most) {
  for (let left = 1 + random.below(most); left > 0; left--) {
    const some = 'id = (SELECT id FROM note ORDER BY random() LIMIT 1)';
    const kind = random.below(5);
    if (kind < 2) await world.addNote(1 + random.below(2), random.word());
    else if (kind === 2) await world.sql(`UPDATE note SET title = $1 WHERE ${some}`, [random.word()]);
    else if (kind === 3) await world.sql(`DELETE FROM note WHERE ${some}`);
    else await ask(world.server, `DO $$ BEGIN FOR i IN 1..${1 + random.below(300)} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$`);
  }
}

const counted = async (server) => Number(await ask(server, 'SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint'));

/** Ids are burned and log is written until the rolled-back server has gone past what it once was: then only new_incarnation() tells. */
async function overtake(server, ids, lsn) {
  await ask(server, `DO $$ BEGIN FOR i IN 1..${Math.max(1, ids - (await counted(server)) + 50)} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$`);
  while (!(await ask(server, 'SELECT pg_current_wal_lsn() > $1::pg_lsn', [lsn]))) await ask(server, "SELECT pg_logical_emit_message(false, 'other', repeat('x', 100000))::text");
}

// each: what lives on after it was made to happen; `prepare` comes before what will be lost is written
const CHANGES = {
  async promoted(world, random, audience, cast) {
    const primary = world.server;
    const standby = await standbyOf(primary);
    cast.add(standby);
    await caughtUp(primary, standby);
    const isLost = random.chance(0.7);
    if (isLost) process.kill(await ask(primary, "SELECT pid FROM pg_stat_replication WHERE application_name = 'standby'"), 'SIGSTOP');
    await write(world, random, STEPS_MAX);
    await audience.seesNote('written last on the old primary');
    if (!isLost) await caughtUp(primary, standby);
    audience.mark();
    await primary.crash();
    await promote(standby);
    world.moveTo(standby);
    return isLost ? 'promoted without its last commits' : 'promoted';
  },

  async rolledBack(world, random, audience) {
    const copy = await copyFiles(world.server);
    await write(world, random, STEPS_MAX);
    await audience.seesNote('on the younger files only');
    const [ids, lsn] = [await counted(world.server), await ask(world.server, 'SELECT pg_current_wal_lsn()::text')];
    audience.mark();
    world.address.cut();
    await rollBack(world.server, copy);
    const isPast = random.chance(0.5);
    if (isPast) {
      await overtake(world.server, ids, lsn);
      await world.sql('SELECT sync.new_incarnation()');
    }
    world.address.pointTo(world.server);
    return isPast ? 'rolled back and gone past it, new_incarnation()' : 'rolled back';
  },

  async restored(world, random, audience) {
    await write(world, random, STEPS_MAX);
    audience.mark();
    await restoreAnew(world);
    return 'dropped and restored';
  },

  async newIncarnation(world, random, audience) {
    await write(world, random, STEPS_MAX);
    audience.mark();
    await world.sql('SELECT sync.new_incarnation()');
    return 'new_incarnation()';
  },
};

async function round(world, random, cast, tally) {
  const audience = await Audience.gather(world);
  try {
    await write(world, random, STEPS_MAX);
    const what = await CHANGES[random.pick(Object.keys(CHANGES))](world, random, audience, cast);
    tally[what] = (tally[what] ?? 0) + 1;
    audience.since = Date.now(); // the server is back: how long it was away is not ours
    const took = await audience.endsRight(what, { prints: false }).catch((error) => {
      throw new Error(`${what}: ${error.message}`);
    });
    return { what, took };
  } finally {
    await audience.leave().catch(() => {});
  }
}

async function run({ seconds, random, say, most = Infinity, control }) {
  const world = await World.start({ movable: true });
  const cast = new Set([world.server]);
  const tally = {};
  const failures = [];
  const end = Date.now() + seconds * 1000;
  let rounds = 0;
  let slowest = 0;
  try {
    await world.sql("INSERT INTO member SELECT 'all', i FROM generate_series(1, 2) i");
    for (let i = 0; i < 20; i++) await world.addNote(1 + (i % 2), `note ${i}`);
    do {
      const { what, took } = await round(world, random, cast, tally);
      rounds++;
      slowest = Math.max(slowest, took);
      say(`round ${rounds}: ${what}, right after ${took.toFixed(1)} s`);
      if (took > LIMIT_S && !control) failures.push(`${what}: right only after ${took.toFixed(1)} s`);
    } while (Date.now() < end && rounds < most && !failures.length);
  } catch (error) {
    failures.push(`round ${rounds + 1}: ${error.message}`);
  } finally {
    await world.stop().catch(() => {});
    for (const server of cast) await server.stop().catch(() => {});
  }
  return { figures: { rounds, slowest_s: slowest.toFixed(1), clients: rounds * 4, kinds: Object.keys(tally).length }, failures };
}
