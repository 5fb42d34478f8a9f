// digest.test.js - a client can prove that its copy is right, and repair just the part that is not.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import { World, pullAll } from '../lib/world.js';
import { Copy } from '../lib/client.js';

const BUCKETS = 32;
const word = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest().readBigUInt64BE();
const rowHash = (id, version) => word(id, '\0', String(version));
const bucketOf = (id) => Number(word(id) % BigInt(BUCKETS));

/** What PROTOCOL.md says a digest is, over a copy's rows. */
function digestOf(rows) {
  let sum = 0n;
  for (const [id, { server_version }] of rows) sum = BigInt.asUintN(64, sum + rowHash(id, server_version));
  return { count: rows.length, hash: String(sum) };
}

function bucketsOf(rows) {
  return Array.from({ length: BUCKETS }, (_, bucket) => digestOf(rows.filter(([id]) => bucketOf(id) === bucket)));
}

let world;
before(async () => {
  world = await World.start();
  for (let i = 0; i < 200; i++) await world.addNote(1 + (i % 2), `note "${i}" ü`);
});
after(() => world?.stop());

async function askDigest(sync_token, more = {}) {
  const answer = await world.post('digest', 'ada', { device_id: 'd', sync_token, tables: ['note'], ...more });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.json.tables.length, 1);
  return { ...answer.json, table: answer.json.tables[0] };
}

test('a copy in step has the digest of the server, one that is behind is told to pull first', async () => {
  const copy = new Copy();
  let { sync_token } = await pullAll(world, 'ada', copy, { tables: ['note'] });
  const rows = () => [...copy.table('note')];
  let answer = await askDigest(sync_token);
  assert.equal(answer.stale, false);
  assert.ok(rows().length > 50);
  assert.deepEqual({ count: answer.table.count, hash: answer.table.hash }, digestOf(rows()));

  await world.addNote(1, 'another');
  answer = await askDigest(sync_token);
  assert.equal(answer.stale, true);
  assert.equal(answer.table.stale, true);
  assert.equal(answer.table.hash, undefined);

  ({ sync_token } = await pullAll(world, 'ada', copy, { tables: ['note'], sync_token }));
  answer = await askDigest(sync_token);
  assert.deepEqual({ count: answer.table.count, hash: answer.table.hash }, digestOf(rows()));
});

test('a live client has the digest of the server', async () => {
  const ada = await world.join('ada');
  const id = await world.addNote(1, 'live');
  await ada.sees('the note', (copy) => copy.get('note', id));
  await ada.pull({ tables: undefined });
  const answer = await world.post('digest', 'ada', { device_id: ada.device_id, sync_token: ada.sync_token });
  assert.equal(answer.json.stale, false, answer.text);
  for (const table of answer.json.tables) {
    assert.deepEqual({ count: table.count, hash: table.hash }, digestOf([...ada.copy.table(table.entity_type)]), table.entity_type);
  }
});

test('only the buckets that differ are repaired', async () => {
  const copy = new Copy();
  const { sync_token } = await pullAll(world, 'ada', copy, { tables: ['note'] });
  const good = new Map(copy.table('note'));
  const rows = copy.table('note');
  const [lost, old] = [...rows.keys()];
  rows.delete(lost);
  rows.set(old, { ...rows.get(old), server_version: 0, data: { body: 'damaged' } });
  rows.set('4711', { server_version: 3, data: { id: 4711 } });

  const { table } = await askDigest(sync_token, { buckets: BUCKETS });
  assert.equal(table.buckets.length, BUCKETS);
  const ours = bucketsOf([...rows]);
  const wrong = table.buckets.map((bucket, i) => i).filter((i) => table.buckets[i].hash !== ours[i].hash);
  assert.deepEqual(wrong, [...new Set([lost, old, '4711'].map(bucketOf))].sort((a, b) => a - b));

  const { table: repair } = await askDigest(sync_token, { buckets: BUCKETS, repair: { note: wrong } });
  assert.ok(repair.changes.length < good.size / 2);
  const keys = new Set(repair.keys);
  for (const id of [...rows.keys()]) if (wrong.includes(bucketOf(id)) && !keys.has(id)) rows.delete(id);
  for (const { entity_id, data, server_version, scope, changed_by } of repair.changes) rows.set(entity_id, { data, server_version, scope, changed_by });
  assert.deepEqual(new Map([...rows].sort()), new Map([...good].sort()));
});

test('a digest takes a token of its user and a POST', async () => {
  const answer = await world.post('digest', 'ada', { device_id: 'd', buckets: 1000 });
  assert.equal(answer.status, 400);
  assert.equal((await world.post('digest', 'ada', undefined, { method: 'GET' })).status, 405);
});
