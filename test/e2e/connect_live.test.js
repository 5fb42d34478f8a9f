// connect_live.test.js - a joined client gets what is there, then every committed change, rendered as pull renders it.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { NOTES, pullAll, World } from '../lib/world.js';
import { Copy } from '../lib/client.js';

const KINDS = `
CREATE TYPE mood AS ENUM ('calm', 'wild "one"');
CREATE TABLE kind (
  id bigint PRIMARY KEY, i2 smallint, i4 int, i8 bigint, f4 real, f8 double precision, num numeric, yes boolean, txt text, chars char(5),
  doc json, docb jsonb, raw bytea, day date, at timestamp, atz timestamptz, span interval, uid uuid, tags text[], addr inet, feel mood, cash money, big text
);
ALTER TABLE kind ALTER COLUMN big SET STORAGE EXTERNAL;
GRANT SELECT, INSERT, UPDATE, DELETE ON kind TO app;
SELECT sync.enable('kind');
CREATE TABLE pair (a text, b int, note text, PRIMARY KEY (a, b));
GRANT SELECT, INSERT, UPDATE, DELETE ON pair TO app;
SELECT sync.enable('pair');
`;

let world;
before(async () => {
  world = await World.start({ schema: NOTES + KINDS });
});
after(() => world?.stop());

test('what is there comes with the first pull', async () => {
  const id = await world.addNote(1, 'already here');
  const ada = await world.join('ada');
  assert.equal(ada.copy.get('note', id).title, 'already here');
  await ada.disconnect();
});

test('insert, update and delete by SQL arrive live', async () => {
  const ada = await world.join('ada');
  const id = await world.addNote(1, 'first');
  await ada.sees('the insert', (copy) => copy.get('note', id)?.title === 'first');
  await world.sql('UPDATE note SET title = $2 WHERE id = $1', [id, 'second']);
  await ada.sees('the update', (copy) => copy.get('note', id)?.title === 'second');
  assert.equal(ada.copy.table('note').get(id).server_version, 2);
  await world.sql('DELETE FROM note WHERE id = $1', [id]);
  await ada.sees('the deletion', (copy) => !copy.get('note', id));
  await ada.disconnect();
});

test('a change object has the members of the contract', async () => {
  const ada = await world.join('ada');
  const seen = [];
  ada.onEvent((name, payload) => name === 'changes' && seen.push(...payload.changes));
  const id = await world.addNote(1, 'shape');
  await ada.sees('it', (copy) => copy.get('note', id));
  const change = seen.find((one) => one.entity_id === id);
  assert.deepEqual(Object.keys(change), ['operation', 'entity_type', 'entity_id', 'data', 'server_version', 'timestamp', 'changed_by', 'scope']);
  assert.equal(change.operation, 'create');
  assert.equal(change.scope, '1');
  assert.match(change.timestamp, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  assert.deepEqual(change.data, { id, team_id: 1, title: 'shape', body: '', done: false });
  await ada.disconnect();
});

test('a transaction that rolls back never shows', async () => {
  const ada = await world.join('ada');
  await world.database.transaction((client) => client.query("INSERT INTO note (team_id, title) VALUES (1, 'never to be seen')"), { rollback: true });
  const id = await world.addNote(1, 'after the rollback');
  await ada.sees('the later one', (copy) => copy.get('note', id));
  assert.ok(!ada.frames.some((frame) => frame.includes('never to be seen')));
  await ada.disconnect();
});

const VALUES = [
  ['plain', "(1, 2, 3, 4, 1.5, 2.5, 12.340, true, 'text', 'ab', '{\"a\": 1}', '{\"b\":[1,null]}', '\\x00ff10', '2026-01-02', '2026-01-02 03:04:05.678', '2026-01-02 03:04:05.678+02', '1 day 2 hours', '11111111-2222-3333-4444-555555555555', '{a,\"b c\",NULL}', '10.0.0.1/24', 'calm', 12.5, 'x')"],
  ['extremes', "(2, -32768, -2147483648, -9223372036854775808, 'Infinity', 'NaN', 'NaN', false, E'quote\" back\\\\slash tab\\t line\\n ctl\\x01 ü 💡', '', '\"just a string\"', '12345678901234567890.5', '', '0044-03-15 BC', 'infinity', '-infinity', '-1 month', '00000000-0000-0000-0000-000000000000', '{}', '::1', 'wild \"one\"', -0.01, '')"],
  ['nulls', '(3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)'],
  ['floats', "(4, 0, 0, 0, 1e-20, 1e300, 0.00000000000000000000000001, true, ' ', 'x', '[]', '{}', '\\x', '9999-12-31', '2026-06-30 23:59:59', '1999-12-31 23:59:59.999999+00', '0', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '{{1,2},{3,4}}', '0.0.0.0', NULL, 0, repeat('large', 3000))"],
];

for (const [name, values] of VALUES) {
  test(`the stream renders ${name} as pull does`, async () => {
    const ada = await world.join('ada');
    await world.sql(`INSERT INTO kind VALUES ${values}`);
    const id = values.match(/^\((\d+)/)[1];
    await ada.sees('the row', (copy) => copy.get('kind', id));
    const pulled = new Copy();
    await pullAll(world, 'ada', pulled);
    assert.deepEqual(ada.copy.table('kind').get(id), pulled.table('kind').get(id));
    // an update that leaves a large value where it is: the stream does not get it from the log
    await world.sql('UPDATE kind SET i4 = 77 WHERE id = $1', [id]);
    await ada.sees('the update', (copy) => copy.get('kind', id)?.i4 === 77);
    const again = new Copy();
    await pullAll(world, 'ada', again);
    assert.deepEqual(ada.copy.table('kind').get(id), again.table('kind').get(id));
    await ada.disconnect();
  });
}

test('a key of two columns is a JSON array of texts, and changing it leaves no ghost', async () => {
  const ada = await world.join('ada');
  await world.sql(`INSERT INTO pair VALUES ('a "b"', 3, 'hello')`);
  const id = JSON.stringify(['a "b"', '3']);
  await ada.sees('the row', (copy) => copy.get('pair', id)?.note === 'hello');
  await world.sql('UPDATE pair SET b = 4');
  await ada.sees('the row under its new key', (copy) => copy.get('pair', JSON.stringify(['a "b"', '4'])) && !copy.get('pair', id));
  await ada.disconnect();
});

test('two clients of one team see each other, transactions stay whole', async () => {
  const [ada, ben] = [await world.join('ada'), await world.join('ben')];
  const ids = [];
  await world.database.transaction(async (client) => {
    for (let i = 0; i < 20; i++) ids.push((await client.query("INSERT INTO note (team_id, title) VALUES (1, 'together') RETURNING id")).rows[0].id);
  });
  for (const client of [ada, ben]) await client.sees('all twenty', (copy) => ids.every((id) => copy.get('note', id)));
  const batches = ada.events.filter(({ name }) => name === 'changes').map(({ payload }) => payload.changes.filter((change) => ids.includes(change.entity_id)).length);
  assert.deepEqual(batches.filter(Boolean), [20], 'one batch holds the whole transaction');
  await ada.disconnect();
  await ben.disconnect();
});
