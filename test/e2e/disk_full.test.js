// disk_full.test.js - no room for rows, none for the log, none for the streamer's own words: clean errors, nothing acknowledged is lost, and it goes on afterwards.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { afterEach, test } from 'node:test';
import { Audience } from '../lib/audience.js';
import { expectedRows } from '../lib/expected.js';
import { start } from '../lib/process.js';
import { SmallDisk, whyNoSmallDisk } from '../lib/small_disk.js';
import { until } from '../lib/wait.js';
import { World } from '../lib/world.js';

let world;
let audience;
let disk;
afterEach(async () => {
  disk?.clear();
  await audience?.leave().catch(() => {});
  await world?.stop();
  disk?.unmount();
  world = audience = disk = undefined;
});

/** One push of a new note with a body of so many bytes: 'acknowledged', 'refused' or, when nobody knows, 'unknown'. */
async function pushOne(bytes, acknowledged) {
  const id = randomUUID();
  const change = { queue_id: id, operation: 'create', entity_type: 'note', entity_id: id, data: { team_id: 1, title: 'pushed', body: randomBytes(bytes / 2).toString('hex') } };
  const answer = await world.post('push', 'ada', { device_id: 'filler', changes: [change] }).catch(() => undefined);
  if (answer?.status === 200 && answer.json.processed[0].status === 'success') {
    acknowledged.push(id);
    return 'acknowledged';
  }
  if (answer === undefined) return 'unknown';
  assert.ok(answer.status === 503 || answer.status === 200 || answer.status === 500, `push answered ${answer.status}: ${answer.text}`);
  const error = answer.json?.error ?? answer.json?.processed?.[0]?.error;
  assert.ok(error?.code, `an error with a code: ${answer.text}`);
  return 'refused';
}

async function untilRefused(acknowledged) {
  const outcomes = [];
  const isFull = () => outcomes.length >= 3 && !outcomes.slice(-3).includes('acknowledged');
  for (let i = 0; i < 2000 && !isFull(); i++) outcomes.push(await pushOne(36_000, acknowledged));
  assert.ok(outcomes.includes('refused') || outcomes.includes('unknown'), `the disk never became full: ${outcomes.length} pushes went through`);
  return outcomes;
}

/** All that was acknowledged is there, in the table and with everybody. */
async function nothingIsLost(acknowledged, what) {
  const rows = await until('the database answers', () => expectedRows(world.database, 'note').catch(() => undefined));
  assert.deepEqual(acknowledged.filter((id) => !rows.has(id)), [], `${what}: acknowledged and lost`);
  audience.since = Date.now();
  await audience.endsRight(what, { told: false });
}

async function onSmallDisk(t, megabytes, options) {
  const why = whyNoSmallDisk();
  if (why) {
    t.skip(why);
    return false;
  }
  world = await World.start({ settings: { max_wal_size: '64MB', min_wal_size: '32MB', restart_after_crash: 'on' } });
  await world.sql('CHECKPOINT');
  disk = await SmallDisk.under(world.server, megabytes, options);
  await world.streamer.ready();
  audience = await Audience.gather(world, { supabase: false });
  audience.mark();
  return true;
}

test('no room for rows: pushes are refused with a code, pulls go on, and so does everything once there is room', async (t) => {
  if (!(await onSmallDisk(t, 220))) return;
  const acknowledged = [];
  // the log may recycle its own files, the table has to grow
  disk.fill(3_000_000);
  const outcomes = await untilRefused(acknowledged);
  const pull = await world.post('pull', 'ada', { device_id: 'reader', limit: 10 });
  assert.ok(pull.status === 200 || pull.status === 503, `pull answered ${pull.status}: ${pull.text}`);
  assert.ok(world.streamer.process.exitCode === null, 'the streamer lives');
  disk.clear();
  await until('pushes go through again', async () => (await pushOne(1000, acknowledged)) === 'acknowledged');
  console.log(`disk full: ${acknowledged.length} acknowledged, ${outcomes.filter((o) => o === 'refused').length} refused, ${outcomes.filter((o) => o === 'unknown').length} cut off`);
  await nothingIsLost(acknowledged, 'the disk was full');
});

test('no room for the log: the server stops and starts, nothing acknowledged is lost, the streamer comes back by itself', async (t) => {
  if (!(await onSmallDisk(t, 120, { part: 'pg_wal' }))) return;
  const acknowledged = [];
  disk.fill(0);
  await untilRefused(acknowledged);
  assert.ok(world.streamer.process.exitCode === null, 'the streamer lives');
  disk.clear();
  // where it could not even end its recovery the server has given up: somebody starts it once there is room
  if (!(await world.sql('SELECT 1').catch(() => undefined))) {
    await world.server.halt();
    await world.server.start();
  }
  await until('pushes go through again', async () => (await pushOne(1000, acknowledged)) === 'acknowledged');
  await nothingIsLost(acknowledged, 'the disk of the log was full');
});

for (const [what, stdio] of [
  ['is full', () => openSync('/dev/full', 'w')],
  ['is closed', () => 'closed'],
]) {
  test(`the streamer's own output ${what}: it serves all the same`, async () => {
    world = await World.start();
    const { streamer } = world;
    const args = streamer.process.spawnargs.slice(streamer.process.spawnargs.findIndex((arg) => arg.endsWith('sync-streamer')));
    await streamer.stop();
    const out = stdio();
    if (out === 'closed') streamer.process = start('/bin/sh', ['-c', 'exec "$@" >&- 2>&-', 'sh', ...args], { stdio: 'ignore' });
    else streamer.process = start(args[0], [...args.slice(1), '--log-level', 'debug'], { stdio: ['ignore', out, out] });
    await streamer.ready();
    audience = await Audience.gather(world, { two: false });
    await audience.seesNote('nobody reads the log');
    await world.sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication");
    await audience.goesOn(`the output ${what}`);
    assert.equal((await streamer.stop()).code, 0);
    if (typeof out === 'number') closeSync(out);
  });
}
