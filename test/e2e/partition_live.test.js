// partition_live.test.js - partitions of a synced table come and go under connected clients: nobody keeps rows that left with one, nobody misses those that came.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Audience } from '../lib/audience.js';
import { NOTES, World } from '../lib/world.js';
import { together, until } from '../lib/wait.js';

// ids of new notes begin with 0, those of the partition that comes and goes with f
const LOW = "('0' || substr(gen_random_uuid()::text, 2))::uuid";
const HIGH = "('f' || substr(gen_random_uuid()::text, 2))::uuid";
const RANGE = "FOR VALUES FROM ('f0000000-0000-0000-0000-000000000000') TO (MAXVALUE)";
const SCHEMA = NOTES.replace('DEFAULT gen_random_uuid()', `DEFAULT ${LOW}`)
  .replace(/(done boolean NOT NULL DEFAULT false\n\))/, `$1 PARTITION BY RANGE (id);
CREATE TABLE note_low PARTITION OF note FOR VALUES FROM (MINVALUE) TO ('80000000-0000-0000-0000-000000000000')`);

let world;
let audience;
before(async () => {
  world = await World.start({ schema: SCHEMA });
  for (let i = 0; i < 10; i++) await world.addNote(1 + (i % 2), `note ${i}`);
  audience = await Audience.gather(world, { supabase: false });
});
after(async () => {
  await audience?.leave();
  await world?.stop();
});

/** What those who are on line are told is not asked where the stream carries it across by itself. */
async function step(what, statements, { told = true } = {}) {
  audience.mark();
  for (const statement of [statements].flat()) await world.sql(statement);
  await audience.endsRight(what, { told });
}

const fill = (table, title) => `INSERT INTO ${table} (id, team_id, title) SELECT ${HIGH}, 1 + i % 2, '${title} ' || i FROM generate_series(1, 6) i`;

test('a table with rows is attached: they reach everybody, and so does what is written to them then, through the root and beside it', async () => {
  await step('attached', ['CREATE TABLE note_high (LIKE note INCLUDING ALL)', fill('note_high', 'came with it'), `ALTER TABLE note ATTACH PARTITION note_high ${RANGE}`]);
  await step('written through the root', "UPDATE note SET title = title || '!' WHERE id IN (SELECT id FROM note_high)", { told: false });
  await step('written beside it', [fill('note_high', 'inserted beside'), "UPDATE note_high SET body = 'beside' WHERE team_id = 1", 'DELETE FROM note_high WHERE team_id = 2'], { told: false });
});

test('a partition is detached: its rows leave every copy; what is written to them there is nobody\'s; attached again they are as they are then', async () => {
  await step('detached', 'ALTER TABLE note DETACH PARTITION note_high');
  await step('written while detached', ["UPDATE note_high SET title = 'written while it was away'", 'DELETE FROM note_high WHERE id = (SELECT min(id::text)::uuid FROM note_high)', fill('note_high', 'inserted while it was away')], { told: false });
  await step('attached again', `ALTER TABLE note ATTACH PARTITION note_high ${RANGE}`);
  await step('written after that', "UPDATE note SET title = title || ' and back'", { told: false });
});

test('a partition is detached concurrently: its rows leave every copy', async () => {
  await step('detached concurrently', 'ALTER TABLE note DETACH PARTITION note_high CONCURRENTLY');
  await step('dropped, when it is no part any more', 'DROP TABLE note_high', { told: false });
});

test('a partition whose detaching was broken off is written to: no backend falls, and once it is finished its rows leave every copy', async () => {
  await step('attached', ['CREATE TABLE note_high (LIKE note INCLUDING ALL)', fill('note_high', 'to be detached'), `ALTER TABLE note ATTACH PARTITION note_high ${RANGE}`]);
  const reader = await world.database.connect();
  const owner = await world.database.connect();
  try {
    await reader.query('BEGIN; SELECT * FROM note LIMIT 1');
    await owner.query("SET statement_timeout = '200ms'");
    await assert.rejects(owner.query('ALTER TABLE note DETACH PARTITION note_high CONCURRENTLY'), { code: '57014' });
    await reader.query('COMMIT');
    audience.mark();
    for (const statement of ["UPDATE note_high SET title = 'no longer of the table'", fill('note_high', 'nor this'), 'DELETE FROM note_high WHERE team_id = 1', 'TRUNCATE note_high', fill('note_high', 'nor that')]) await world.sql(statement);
    const [found, ...more] = await world.sql("SELECT * FROM sync.check() WHERE finding LIKE '%broken off%'");
    assert.deepEqual([found.severity, found.object, more], ['warning', 'public.note', []]);
    await world.sql(found.cure);
  } finally {
    await reader.end();
    await owner.end();
  }
  await audience.endsRight('detached in the end');
  await world.sql('DROP TABLE note_high');
});

test('attached and detached in one transaction with writes, and in one that is rolled back', async () => {
  await step('made, attached and written in one transaction', `BEGIN; UPDATE note SET body = 'before' WHERE team_id = 1; CREATE TABLE note_high (LIKE note INCLUDING ALL); ${fill('note_high', 'of the transaction')};
    ALTER TABLE note ATTACH PARTITION note_high ${RANGE}; ${fill('note', 'through the root')}; UPDATE note SET done = true WHERE team_id = 2; COMMIT`);
  await step('rolled back', `BEGIN; ${fill('note', 'never')}; ALTER TABLE note DETACH PARTITION note_high; DELETE FROM note_high; ROLLBACK`, { told: false });
  await step('detached, written and attached in one transaction', `BEGIN; ALTER TABLE note DETACH PARTITION note_high; UPDATE note_high SET title = 'written between'; ALTER TABLE note ATTACH PARTITION note_high ${RANGE}; COMMIT`, { told: false });
});

test('a partition is dropped: its rows leave every copy', () => step('dropped', 'DROP TABLE note_high'));

test('its columns stand in another order, and one was dropped', async () => {
  await step('attached with other column numbers', [`CREATE TABLE note_high (done boolean NOT NULL DEFAULT false, gone int, body text NOT NULL DEFAULT '', title text NOT NULL CONSTRAINT note_title_check CHECK (length(title) <= 200), team_id int NOT NULL, id uuid PRIMARY KEY)`,
    'ALTER TABLE note_high DROP COLUMN gone',
    ...['sync_clock', 'sync_by', 'sync_at', 'sync_xid', 'sync_version'].map((name) => `DO $$ BEGIN EXECUTE (SELECT format('ALTER TABLE note_high ADD COLUMN %I %s %s %s', a.attname, format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NOT NULL' END, 'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid))
       FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attrelid = 'note'::regclass AND a.attname = '${name}'); END $$`),
    fill('note_high', 'in another order'), `ALTER TABLE note ATTACH PARTITION note_high ${RANGE}`]);
  await step('written', ["UPDATE note SET body = 'right column' WHERE team_id = 1", fill('note', 'and more'), 'DELETE FROM note_high WHERE team_id = 2'], { told: false });
  await step('dropped', 'DROP TABLE note_high');
});

test('a partition that has partitions itself', async () => {
  await step('attached', ['CREATE TABLE note_high (LIKE note INCLUDING ALL) PARTITION BY HASH (id)',
    ...[0, 1].map((i) => `CREATE TABLE note_high_${i} PARTITION OF note_high FOR VALUES WITH (MODULUS 2, REMAINDER ${i})`),
    fill('note_high', 'two levels down'), `ALTER TABLE note ATTACH PARTITION note_high ${RANGE}`]);
  await step('written', [fill('note', 'more of them'), "UPDATE note SET title = title || '.'"], { told: false });
  await step('a leaf is detached', 'ALTER TABLE note_high DETACH PARTITION note_high_1');
  await step('and all of it', 'ALTER TABLE note DETACH PARTITION note_high');
  await world.sql('DROP TABLE note_high, note_high_1');
});

test('made as a partition and filled in one transaction: nothing is missed', () =>
  step('made as a partition', `BEGIN; CREATE TABLE note_high PARTITION OF note ${RANGE}; ${fill('note', 'at once')}; COMMIT`, { told: false }));

test('a table that is synced itself is refused as a partition, and stays what it is', async () => {
  await world.sql(`DROP TABLE note_high; CREATE TABLE memo (LIKE note INCLUDING ALL); GRANT SELECT ON memo TO app;
    SELECT sync.enable('memo', scope => 'team', scope_column => 'team_id'); ${fill('memo', 'synced by itself')}`);
  await assert.rejects(world.sql(`ALTER TABLE note ATTACH PARTITION memo ${RANGE}`));
  await audience.live.sees('the memos', (copy) => copy.table('memo').size === 6);
  await world.sql("SELECT sync.disable('memo'); DROP TABLE memo");
});

test('partitions come and go while everybody writes: all copies end as the table', async () => {
  audience.mark();
  let over = false;
  const writer = async (number) => {
    for (let i = 0; !over; i++) {
      // while there is no partition for it a row of the high half is refused
      await world.sql(i % 3 === number ? fill('note', `written beside ${number} ${i}`) : `UPDATE note SET title = '${number} ${i}' WHERE id IN (SELECT id FROM note ORDER BY md5(id::text || '${i}') LIMIT 3)`)
        .catch((error) => assert.match(error.code, /^(23514|40P01)$/, error.message));
    }
  };
  const owner = async () => {
    await world.sql('CREATE TABLE note_high (LIKE note INCLUDING ALL)');
    for (let i = 0; i < 6; i++) {
      const retried = async (statement) => until(statement, () => world.sql(statement).then(() => true, (error) => assert.equal(error.code, '40P01', error.message)));
      await retried(`ALTER TABLE note ATTACH PARTITION note_high ${RANGE}`);
      await audience.seesNote(`attached for the ${i}. time`);
      await retried(`ALTER TABLE note DETACH PARTITION note_high ${i % 2 ? 'CONCURRENTLY' : ''}`);
      await world.sql("UPDATE note_high SET title = 'away'");
    }
    over = true;
  };
  await together([owner(), writer(0), writer(1)], () => (over = true));
  await audience.endsRight('partitions came and went');
});
