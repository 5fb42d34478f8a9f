// whole_rows.test.js - a large value that an update leaves where it is stays in the stream: from the old row if the log has it, else read again.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';

const SCHEMA = `
CREATE ROLE app NOLOGIN;
GRANT app TO sync_query;
CREATE TABLE whole (id int PRIMARY KEY, body text, large text, doc jsonb, twice int GENERATED ALWAYS AS (id * 2) STORED, n numeric);
ALTER TABLE whole ALTER large SET STORAGE EXTERNAL, ALTER doc SET STORAGE EXTERNAL, REPLICA IDENTITY FULL;
CREATE TABLE keyed (LIKE whole INCLUDING ALL);
CREATE TABLE plain (id int PRIMARY KEY, body text, large text);
ALTER TABLE plain ALTER large SET STORAGE EXTERNAL, REPLICA IDENTITY FULL;
GRANT SELECT ON whole, keyed, plain TO app;
SELECT sync.enable('whole');
SELECT sync.enable('keyed');
SELECT sync.enable('plain');
`;
const LARGE = 'x'.repeat(9000);

let world;
let ada;
before(async () => {
  world = await World.start({ schema: SCHEMA });
  ada = await world.join('ada');
});
after(() => world?.stop());

for (const table of ['whole', 'keyed']) {
  test(`${table}: an update beside a large value, a large document and a generated column`, async () => {
    const doc = { list: Array.from({ length: 2000 }, (_, i) => i) };
    await world.sql(`INSERT INTO ${table} (id, body, large, doc, n) VALUES (1, 'first', $1, $2, 'NaN')`, [LARGE, JSON.stringify(doc)]);
    await world.sql(`UPDATE ${table} SET body = 'second'`);
    await ada.sees('the update', (copy) => copy.get(table, '1')?.body === 'second');
    assert.deepEqual(ada.copy.get(table, '1'), { id: 1, body: 'second', large: LARGE, doc, twice: 2, n: 'NaN' });
    await world.sql(`UPDATE ${table} SET large = NULL`);
    await ada.sees('that it is null', (copy) => copy.get(table, '1')?.large === null);
    assert.equal(ada.copy.get(table, '1').body, 'second');
    await world.sql(`UPDATE ${table} SET id = 2`);
    await ada.sees('the new key', (copy) => copy.get(table, '2') && !copy.get(table, '1'));
    assert.deepEqual(ada.copy.get(table, '2').doc, doc);
    await world.sql(`DELETE FROM ${table}`);
    await ada.sees('the deletion', (copy) => !copy.get(table, '2'));
  });
}

test('with REPLICA IDENTITY FULL the log is enough: no row is read again', async () => {
  world.server.psql('app', ['-c', 'REVOKE EXECUTE ON FUNCTION sync.feed_rows(integer, text[]) FROM sync_upkeep']);
  await world.sql("INSERT INTO plain VALUES (1, 'first', $1)", [LARGE]);
  await world.sql("UPDATE plain SET body = 'second'");
  await ada.sees('the update', (copy) => copy.get('plain', '1')?.body === 'second');
  assert.equal(ada.copy.get('plain', '1').large, LARGE);
  assert.ok(!/reread_given_up|call_failed/.test(world.streamer.log), world.streamer.lastLog());
  world.server.psql('app', ['-c', 'GRANT EXECUTE ON FUNCTION sync.feed_rows(integer, text[]) TO sync_upkeep']);
});
