// upkeep.test.js - upkeep runs by itself, at one streamer at a time, and what fails in it harms nobody.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Streamer } from '../lib/streamer.js';
import { until } from '../lib/wait.js';
import { World } from '../lib/world.js';

const OPTIONS = { 'upkeep-interval': 1, 'purge-keep': 0, 'purge-keep-log': 365 };
const JOIN = { join: { tables: ['*', 'sync.lock', 'sync.notification'] } };
let world;
let second;

before(async () => {
  world = await World.start({ options: OPTIONS });
  await until('the first streamer leads', () => world.streamer.log.includes('upkeep_leads'));
  second = await Streamer.start(world.database, OPTIONS);
});
after(async () => {
  await second?.stop();
  await world?.stop();
});

const tombstones = () => world.value('SELECT count(*)::int FROM sync.tombstone');
const holders = () => world.value("SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND classid = 1937337955 AND granted");

async function deleteOne(title) {
  const id = await world.addNote(1, title);
  await world.sql('DELETE FROM note WHERE id = $1', [id]);
}

/** One call in the name of a user. */
async function as(user, call, values) {
  const [{ answer }] = await world.sql(`WITH who AS MATERIALIZED (SELECT set_config('request.jwt.claims', $1, true)) SELECT ${call} AS answer FROM who`, [JSON.stringify({ sub: user }), ...values]);
  return answer;
}

test('old tombstones go without anybody asking, and only one of two streamers does it', async () => {
  await deleteOne('soon gone');
  await until('the tombstone is purged', async () => (await tombstones()) === 0);
  assert.equal(await holders(), 1);
  assert.ok(!second.log.includes('upkeep_leads'));
});

test('expired locks and due reminders are seen to, and their users are told', async () => {
  const ada = await world.join('ada', JOIN);
  const id = await world.addNote(1, 'locked');
  await as('ben', 'sync.lock($2)', [JSON.stringify({ device_id: 'ben-phone', entity_type: 'note', entity_id: id, seconds: 600 })]);
  await ada.sees('the lock', (copy) => copy.rows('sync.lock').length === 1);
  await world.sql("UPDATE sync.lock SET expires_at = clock_timestamp() - interval '1 second'");
  await ada.sees('its end', (copy) => copy.rows('sync.lock').length === 0);
  await as('ada', 'sync.notify($2)', [JSON.stringify({ users: ['ada'], type: 'note', title: 'remember', remind_at: new Date(Date.now() + 500).toISOString() })]);
  await ada.sees('the reminder', (copy) => copy.rows('sync.notification').some((n) => n.title === 'remember'));
  await ada.disconnect();
});

test('the locks of a device that has gone are released, those of one that came back are kept', async () => {
  const ada = await world.join('ada', JOIN);
  const [gone, back] = [await world.join('ben', { device_id: 'gone' }), await world.join('ben', { device_id: 'back' })];
  const notes = { gone: await world.addNote(1, 'of gone'), back: await world.addNote(1, 'of back') };
  for (const [device_id, entity_id] of Object.entries(notes)) await as('ben', 'sync.lock($2)', [JSON.stringify({ device_id, entity_type: 'note', entity_id, seconds: 600 })]);
  await ada.sees('both locks', (copy) => copy.rows('sync.lock').length === 2);
  await back.disconnect();
  await back.connect();
  await gone.disconnect();
  await ada.sees('one lock go', (copy) => copy.rows('sync.lock').length === 1);
  assert.equal(ada.copy.rows('sync.lock')[0].entity_id, notes.back);
  await back.disconnect();
  await ada.sees('the other go too', (copy) => copy.rows('sync.lock').length === 0);
  await ada.disconnect();
});

test('pulls are written to the sync log, empty ones are not', async () => {
  const note = await world.addNote(1, 'logged');
  const cleo = await world.post('pull', 'cleo', { device_id: 'cleo-tablet' });
  const ada = await world.post('pull', 'ada', { device_id: 'ada-tablet' });
  assert.ok(ada.json.changes.some((c) => c.entity_id === note));
  const [line] = await until('the pull is in the log', async () => {
    const lines = await world.sql("SELECT * FROM sync.sync_log WHERE device_id = 'ada-tablet'");
    return lines.length && lines;
  });
  assert.equal(line.user_id, 'ada');
  assert.equal(line.kind, 'pull');
  assert.equal(line.status, 'ok');
  assert.equal(line.changes, ada.json.changes.length);
  assert.equal(Number(line.bytes), ada.text.length);
  assert.equal(cleo.json.changes.length, 0);
  assert.equal(await world.value("SELECT count(*)::int FROM sync.sync_log WHERE device_id = 'cleo-tablet'"), 0);
});

test('a purge that fails is logged, tried again, and stops neither changes nor cursors', async () => {
  const ada = await world.join('ada');
  await world.sql('REVOKE EXECUTE ON FUNCTION sync.purge(interval, integer, interval) FROM sync_upkeep');
  await until('the failure is logged', () => /upkeep_failed task=purge sqlstate=42501/.test(world.streamer.log));
  const id = await world.addNote(1, 'all the same');
  await ada.sees('the note', (copy) => copy.get('note', id));
  await world.sql('GRANT EXECUTE ON FUNCTION sync.purge(interval, integer, interval) TO sync_upkeep');
  await deleteOne('after the failure');
  await until('purge has run again', async () => (await tombstones()) === 0);
  await ada.disconnect();
});

test('when the streamer that leads is killed another takes over', async () => {
  await world.streamer.kill();
  await until('the other leads', () => second.log.includes('upkeep_leads'), { limit_ms: 60_000 });
  await deleteOne('after the kill');
  await until('the tombstone is purged', async () => (await tombstones()) === 0);
  assert.equal(await holders(), 1);
});

test('with an interval of 0 a streamer does no upkeep', async () => {
  await second.stop();
  const idle = await Streamer.start(world.database, { 'upkeep-interval': 0 });
  try {
    await deleteOne('stays');
    assert.equal(await holders(), 0);
    assert.ok(!idle.log.includes('upkeep_leads'));
  } finally {
    await idle.stop();
  }
});
