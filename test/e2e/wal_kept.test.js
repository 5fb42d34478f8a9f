// wal_kept.test.js - what a streamer keeps of the WAL: nothing once it is dead or cut off, and never more than max_slot_wal_keep_size.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Audience } from '../lib/audience.js';
import { ask } from '../lib/copies.js';
import { Proxy } from '../lib/proxy.js';
import { Streamer } from '../lib/streamer.js';
import { until } from '../lib/wait.js';
import { World } from '../lib/world.js';

const KEEP_MB = Number(process.env.KEEP_MB || 32);
const MB = 1024 * 1024;
const SETTINGS = { max_slot_wal_keep_size: `${KEEP_MB}MB`, wal_keep_size: 0, min_wal_size: '32MB', max_wal_size: '64MB', wal_sender_timeout: '60s' };

let world;
let audience;
before(async () => {
  world = await World.start({ settings: SETTINGS, tcp: true });
  audience = await Audience.gather(world, { two: false, supabase: false });
});
after(async () => {
  await audience?.leave();
  await world?.stop();
});

const slots = () => ask(world.server, 'SELECT count(*)::int FROM pg_replication_slots');
const keptBySlots = async () => Number(await ask(world.server, "SELECT coalesce(max(pg_current_wal_lsn() - restart_lsn), 0)::bigint FROM pg_replication_slots"));
const walFiles = async () => Number(await ask(world.server, 'SELECT sum(size)::bigint FROM pg_ls_waldir()'));
const timeout = (value) => world.sql(`ALTER SYSTEM SET wal_sender_timeout = '${value}'`).then(() => world.sql('SELECT pg_reload_conf()'));
const inMB = (bytes) => `${(bytes / MB).toFixed(1)} MB`;

/** So many megabytes of WAL, with changes of the synced table in between; every statement has to go through. */
async function write(megabytes) {
  const began = Date.now();
  for (let written = 0; written < megabytes; written += 4) {
    await world.sql("SELECT pg_logical_emit_message(false, 'other', repeat('x', 1000000)) FROM generate_series(1, 4)");
    await world.addNote(1, `written beside it, at ${written} MB`);
  }
  await world.sql('CHECKPOINT');
  return (Date.now() - began) / 1000;
}

async function slotsAreGone(what) {
  const since = Date.now();
  await until(`${what}: the slot is gone`, async () => (await slots()) === 0, { limit_ms: 60_000 });
  await world.sql('CHECKPOINT');
  console.log(`${what}: slot gone after ${((Date.now() - since) / 1000).toFixed(1)} s, kept by slots ${inMB(await keptBySlots())}, pg_wal ${inMB(await walFiles())}`);
  assert.equal(await keptBySlots(), 0);
}

test('killed with -9: nothing is kept from then on', async () => {
  audience.mark();
  await world.streamer.kill();
  await slotsAreGone('kill -9');
  await write(3 * KEEP_MB);
  assert.ok((await walFiles()) <= 128 * MB);
  await world.streamer.restart();
  await audience.endsRight('a killed streamer was started again', { told: false });
});

test('stopped for longer than wal_sender_timeout: nothing is kept, and it recovers by itself', async () => {
  await timeout('2s');
  await until('it is in force', async () => (await world.value('SHOW wal_sender_timeout')) === '2s');
  audience.mark();
  process.kill(world.streamer.process.pid, 'SIGSTOP');
  try {
    await slotsAreGone('SIGSTOP');
    await write(KEEP_MB);
  } finally {
    process.kill(world.streamer.process.pid, 'SIGCONT');
  }
  await audience.endsRight('a stopped streamer goes on', { told: false });
  await timeout('60s');
});

test('stopped for less than that while three times the limit is written: cut off at the limit, and it recovers by itself', async () => {
  audience.mark();
  process.kill(world.streamer.process.pid, 'SIGSTOP');
  let most = 0;
  try {
    for (let i = 0; i < 3; i++) {
      await write(KEEP_MB);
      most = Math.max(most, await walFiles());
    }
    await slotsAreGone('slower than the limit allows');
  } finally {
    process.kill(world.streamer.process.pid, 'SIGCONT');
  }
  console.log(`pg_wal held at most ${inMB(most)} while ${3 * KEEP_MB} MB were written`);
  assert.ok(most <= (2 * KEEP_MB + 128) * MB, 'WAL is bounded');
  assert.match(world.server.log, /to release replication slot|invalidat/);
  await audience.endsRight('a streamer that was cut off goes on', { told: false });
});

test('the network is cut and nobody is told: nothing is kept after wal_sender_timeout', async () => {
  await timeout('2s');
  const proxy = await Proxy.start('127.0.0.1', world.server.port);
  const far = { conninfo: (user) => `host=127.0.0.1 port=${proxy.port} dbname=app user=${user}` };
  const beside = await slots();
  const streamer = await Streamer.start(far, {}, { secret: world.streamer.secret });
  const client = world.client('all');
  client.url = streamer.socketUrl;
  try {
    await client.connect();
    await client.caughtUp();
    assert.equal(await slots(), beside + 1);
    proxy.hang();
    const since = Date.now();
    await until('its slot is gone', async () => (await slots()) === beside);
    console.log(`network cut: slot gone after ${((Date.now() - since) / 1000).toFixed(1)} s`);
    const id = await world.addNote(1, 'while the network was cut');
    proxy.heal();
    await client.sees('it', (copy) => copy.get('note', id));
  } finally {
    await client.disconnect();
    proxy.heal();
    await streamer.stop();
    await proxy.stop();
    await timeout('60s');
  }
});
