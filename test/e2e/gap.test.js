// gap.test.js - the replication connection breaks: the stream bridges what it missed by itself, nobody is told to pull, nobody misses anything.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';
import { assertEqualCopy, isEqualCopy } from '../lib/expected.js';
import { metric } from '../lib/metrics.js';
import { Channel, realtime } from '../lib/supabase.js';
import { until } from '../lib/wait.js';

const KILLS = 20;

let world;
before(async () => {
  // a queue with room for what three writers manage in a gap on a busy machine: more than --max-queue at once is told by resync, as it should be
  world = await World.start({ settings: { max_prepared_transactions: '5' }, options: { 'max-queue': '16M' } });
  await world.sql("INSERT INTO member SELECT 'all', i FROM generate_series(1, 2) i");
});
after(() => world?.stop());

/** Writes of every kind until `stop` is called; also transactions that stay open across a break. */
function load() {
  let isOver = false;
  let commits = 0;
  const random = () => 'id = (SELECT id FROM note ORDER BY random() LIMIT 1)';
  const writer = async () => {
    const connection = await world.database.connect();
    for (let i = 0; !isOver; i++) {
      await connection.query('BEGIN');
      try {
        await connection.query('INSERT INTO note (team_id, title) VALUES (1 + (random() > 0.5)::int, $1)', [`note ${i}`]);
        await connection.query(`UPDATE note SET done = NOT done WHERE ${random()}`);
        if (i % 3 === 1) await connection.query(`UPDATE note SET team_id = 3 - team_id WHERE ${random()}`);
        if (i % 4 === 3) await connection.query(`DELETE FROM note WHERE ${random()}`);
      } catch (error) {
        // two writers took each other's rows in turn: one of them is sent back
        if (error.code !== '40P01') throw error;
      }
      await connection.query(i % 7 === 6 ? 'ROLLBACK' : 'COMMIT');
      commits++;
    }
    await connection.end();
  };
  const running = Promise.all([writer(), writer(), writer()]);
  return { stop: () => ((isOver = true), running), commits: () => commits };
}

const breakStream = () => world.value("SELECT count(pg_terminate_backend(pid))::int FROM pg_stat_replication WHERE application_name <> 'walreceiver'");

test(`the walsender is killed ${KILLS} times under load: no resync, no pull, copies equal`, async () => {
  const clients = [await world.join('ada'), await world.join('cleo'), await world.join('all')];
  const pulls = await metric(world, 'sync_catch_ups_total', { way: 'pull' });
  const writing = load();
  for (let kill = 1; kill <= KILLS; kill++) {
    const from = writing.commits();
    await until('there is something to kill', async () => (await breakStream()) > 0);
    await until(`gap ${kill} is bridged`, async () => (await metric(world, 'sync_gaps_total', { outcome: 'bridged' })) >= kill);
    await until('more was written', () => writing.commits() > from + 5);
  }
  await writing.stop();
  for (const client of clients) {
    const team = { ada: 'WHERE team_id = 1', cleo: 'WHERE team_id = 2', all: '' }[client.sub];
    await world.sql(`CREATE OR REPLACE VIEW seen AS SELECT id FROM note ${team}`);
    await until(`the copy of ${client.sub} equals the table`, async () => {
      const rows = await world.sql('SELECT n.id, n.sync_version::int AS version FROM note n JOIN seen USING (id)');
      const copy = client.copy.table('note');
      return rows.length === copy.size && rows.every(({ id, version }) => copy.get(id)?.server_version === version);
    });
    assert.deepEqual(client.events.filter(({ name }) => name === 'resync'), [], 'no resync');
  }
  assert.equal(await metric(world, 'sync_catch_ups_total', { way: 'pull' }), pulls, 'nobody pulled');
  assert.equal(await metric(world, 'sync_gaps_total', { outcome: 'resync' }), 0);
  await assertEqualCopy(world.database, clients[2].copy, ['note']);
  for (const client of clients) await client.disconnect();
});

test("a channel of Supabase's client stays joined, and gets what came in the gap", async () => {
  const client = await realtime(world, 'ada');
  const channel = await new Channel(client, 'changes', [{ event: '*', schema: 'public', table: 'note' }]).subscribe();
  const bridged = await metric(world, 'sync_gaps_total', { outcome: 'bridged' });
  await breakStream();
  const id = await world.addNote(1, 'in the gap');
  await channel.sees('it', ({ new: row }) => row.id === id);
  assert.equal(await metric(world, 'sync_gaps_total', { outcome: 'bridged' }), bridged + 1);
  const live = await world.addNote(1, 'live');
  await channel.sees('a live change', ({ new: row }) => row.id === live);
  assert.deepEqual(channel.statuses, ['SUBSCRIBED']);
  await client.disconnect();
});

test('a member removed during a gap gets nothing of it', async () => {
  await world.sql("INSERT INTO member VALUES ('gone', 1)");
  const [gone, ada] = [await world.join('gone'), await world.join('ada')];
  const locker = await world.database.connect();
  // the new slot waits for this writer, so the gap stays open while the membership changes in it
  await locker.query('BEGIN');
  await locker.query("INSERT INTO note (team_id, title) VALUES (2, 'keeps the gap open')");
  const frames = gone.frames.length;
  await breakStream();
  await world.sql("DELETE FROM member WHERE user_id = 'gone'");
  const secret = await world.addNote(1, 'not for who has left');
  await locker.query('COMMIT');
  await locker.end();
  await ada.sees('the note', (copy) => copy.get('note', secret));
  await gone.sees('all rows withdrawn', (copy) => copy.table('note').size === 0);
  assert.ok(!gone.frames.slice(frames).some((frame) => frame.includes(secret)));
  await gone.disconnect();
  await ada.disconnect();
});

test('TRUNCATE and DDL in a gap cannot be bridged: clients are told and end right', async () => {
  const all = await world.join('all');
  await breakStream();
  await world.sql('TRUNCATE note');
  const id = await world.addNote(1, 'the only one');
  await until('the copy equals the table', async () => isEqualCopy(world.database, all.copy, ['note']));
  assert.ok(all.copy.get('note', id));
  await breakStream();
  await world.sql('ALTER TABLE note ADD COLUMN extra text');
  await world.sql("UPDATE note SET extra = 'x'");
  await until('the copy has the new column', async () => isEqualCopy(world.database, all.copy, ['note']));
  await all.disconnect();
});

test('a prepared transaction open when the slot is lost arrives once it is committed', async () => {
  const all = await world.join('all');
  const connection = await world.database.connect();
  await connection.query('BEGIN');
  const { rows } = await connection.query("INSERT INTO note (team_id, title) VALUES (1, 'prepared') RETURNING id");
  await connection.query("PREPARE TRANSACTION 'across the gap'");
  await breakStream();
  const meanwhile = await world.addNote(1, 'written while nobody decodes');
  await all.sees('what was written meanwhile', (copy) => copy.get('note', meanwhile));
  assert.equal(all.copy.get('note', rows[0].id), undefined);
  await connection.query("COMMIT PREPARED 'across the gap'");
  await connection.end();
  await all.sees('the prepared one', (copy) => copy.get('note', rows[0].id));
  await until('the copy equals the table', async () => isEqualCopy(world.database, all.copy, ['note']));
  await all.disconnect();
});

test('PostgreSQL restarts: connected clients end with the table, and live again', async () => {
  const all = await world.join('all');
  await world.server.restart();
  const id = await until('SQL works again', () => world.addNote(1, 'after the restart').catch(() => undefined));
  await all.sees('it', (copy) => copy.get('note', id));
  await until('the copy equals the table', async () => isEqualCopy(world.database, all.copy, ['note']));
  const live = await world.addNote(2, 'live');
  await all.sees('a live change', (copy) => copy.get('note', live));
  await all.disconnect();
});
