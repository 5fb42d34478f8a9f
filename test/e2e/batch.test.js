// batch.test.js - a thousand offline changes, one of which breaks a deferred foreign key and one names no table: 998 are applied.
// SPDX-License-Identifier: PostgreSQL
// runs once: a push over HTTP, nothing is decoded
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';

const SCHEMA = `
CREATE ROLE app NOLOGIN;
GRANT app TO sync_query;
CREATE TABLE list (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE item (id int PRIMARY KEY, list_id int NOT NULL REFERENCES list DEFERRABLE INITIALLY DEFERRED, label text NOT NULL);
GRANT SELECT, INSERT, UPDATE, DELETE ON list, item TO app;
SELECT sync.enable('list');
SELECT sync.enable('item');
INSERT INTO list VALUES (1, 'groceries');
`;
const BAD_REFERENCE = 431;
const BAD_TABLE = 777;

let world;
before(async () => {
  world = await World.start({ schema: SCHEMA });
});
after(() => world?.stop());

function offlineChanges() {
  const timestamp = new Date().toISOString();
  return Array.from({ length: 1000 }, (_, index) => ({
    queue_id: `queue-${index}`,
    operation: 'create',
    entity_type: index === BAD_TABLE ? 'wishlist' : 'item',
    entity_id: String(index + 1),
    data: { id: index + 1, list_id: index === BAD_REFERENCE ? 99 : 1, label: `item ${index}` },
    timestamp,
  }));
}

const verdicts = ({ processed }) => processed.map(({ queue_id, index, status, outcome, error }) => ({ queue_id, index, status, outcome, code: error?.code }));

test('998 applied, 2 errors that say why; again: the same verdicts and nothing changed', async () => {
  const changes = offlineChanges();
  const first = await world.post('push', 'ada', { device_id: 'phone', changes });
  assert.equal(first.status, 200, first.text);
  assert.equal(first.json.processed.length, 1000);
  const failed = first.json.processed.filter((verdict) => verdict.status !== 'success');
  assert.deepEqual(failed.map((verdict) => verdict.index), [BAD_REFERENCE, BAD_TABLE]);
  for (const verdict of failed) {
    assert.equal(verdict.status, 'error');
    assert.ok(verdict.error.code && verdict.error.message, JSON.stringify(verdict));
  }
  assert.match(JSON.stringify(failed[0].error), /foreign|reference|item_list_id_fkey/i);
  assert.match(JSON.stringify(failed[1].error), /wishlist|table|entity/i);
  assert.equal(first.json.processed.filter((verdict) => verdict.outcome === 'applied').length, 998);
  assert.equal(await world.value('SELECT count(*)::int FROM item'), 998);

  const before = await world.sql('SELECT * FROM item ORDER BY id');
  const second = await world.post('push', 'ada', { device_id: 'phone', changes });
  assert.deepEqual(verdicts(second.json), verdicts(first.json));
  assert.ok(second.json.processed.every((verdict) => verdict.repeat === true));
  assert.deepEqual(await world.sql('SELECT * FROM item ORDER BY id'), before);
});
