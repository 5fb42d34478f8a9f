// realtime_changes.test.js - Supabase's own client gets the changes of synced tables: by event, table and filter, of its teams only, with the values it expects.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Channel, realtime } from '../lib/supabase.js';
import { NOTES, World } from '../lib/world.js';

const MORE = `
CREATE TYPE mood AS ENUM ('calm', 'wild');
CREATE TABLE kind (
  id bigint PRIMARY KEY, i2 smallint, i4 int, i8 bigint, f4 real, f8 double precision, num numeric, yes boolean, txt text, chars char(5),
  doc jsonb, raw bytea, day date, at timestamp, atz timestamptz, uid uuid, tags text[], bigs bigint[], feel mood
);
GRANT SELECT, INSERT, UPDATE, DELETE ON kind TO app;
SELECT sync.enable('kind');
CREATE TABLE item (id bigint PRIMARY KEY, i2 smallint, i4 int, num numeric NOT NULL DEFAULT 0, yes boolean, txt text);
GRANT SELECT, INSERT, UPDATE, DELETE ON item TO app;
SELECT sync.enable('item');
CREATE TABLE pair (a text, b int, note text, PRIMARY KEY (a, b));
GRANT SELECT, INSERT, UPDATE, DELETE ON pair TO app;
SELECT sync.enable('pair');
CREATE TABLE secret (id int PRIMARY KEY);
SELECT sync.enable('secret');
CREATE TABLE plain (id int PRIMARY KEY);
GRANT SELECT ON plain TO app;
CREATE TABLE soft (id int PRIMARY KEY, name text, deleted_at timestamptz);
CREATE TABLE soft_whole (id int PRIMARY KEY, name text, deleted_at timestamptz);
ALTER TABLE soft_whole REPLICA IDENTITY FULL;
GRANT SELECT, INSERT, UPDATE, DELETE ON soft, soft_whole TO app;
SELECT sync.enable('soft', deleted_at => 'deleted_at');
SELECT sync.enable('soft_whole', deleted_at => 'deleted_at');
CREATE TABLE whole (id int PRIMARY KEY, name text, n int);
ALTER TABLE whole REPLICA IDENTITY FULL;
GRANT SELECT, INSERT, UPDATE, DELETE ON whole TO app;
SELECT sync.enable('whole');
`;

let world;
before(async () => {
  world = await World.start({ schema: NOTES + MORE });
});
after(() => world?.stop());

const ALL = { event: '*', schema: 'public' };

async function channel(sub, bindings, options = {}) {
  const client = await realtime(world, sub, options);
  const made = await new Channel(client, 'changes', bindings).subscribe();
  made.stop = () => client.disconnect();
  return made;
}

for (const vsn of ['1.0.0', '2.0.0']) {
  test(`insert, update and delete arrive, serializer ${vsn}`, async () => {
    const ada = await channel('ada', [{ ...ALL, table: 'note' }], { vsn });
    const id = await world.addNote(1, 'first');
    await ada.sees('the insert', (e) => e.eventType === 'INSERT' && e.new.id === id);
    await world.sql('UPDATE note SET title = $2 WHERE id = $1', [id, 'second']);
    await ada.sees('the update', (e) => e.eventType === 'UPDATE' && e.new.title === 'second');
    await world.sql('DELETE FROM note WHERE id = $1', [id]);
    await ada.sees('the deletion', (e) => e.eventType === 'DELETE');
    const [insert, update, deletion] = ada.events.filter((e) => (e.new.id ?? e.old.id) === id);
    assert.equal(ada.events.length, 3);
    assert.deepEqual(insert.new, { id, team_id: 1, title: 'first', body: '', done: false });
    assert.deepEqual(insert.old, {});
    assert.deepEqual(update.old, { id });
    assert.deepEqual(deletion.old, { id });
    assert.deepEqual(deletion.new, {});
    for (const event of [insert, update, deletion]) {
      assert.match(event.commit_timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      assert.deepEqual([event.schema, event.table, event.errors], ['public', 'note', null]);
    }
    await ada.stop();
  });
}

test('what is committed once the channel is joined arrives, however soon', async () => {
  for (let i = 0; i < 5; i++) {
    const ada = await channel('ada', [{ ...ALL, table: 'note' }]);
    const id = await world.addNote(1, 'at once');
    await ada.sees('it', (e) => e.new.id === id);
    await ada.stop();
  }
});

test('another team\'s rows never arrive', async () => {
  const ada = await channel('ada', [{ ...ALL, table: 'note' }, { event: '*', schema: '*' }]);
  const theirs = await world.addNote(2, 'of the others');
  await world.sql('UPDATE note SET done = true WHERE id = $1', [theirs]);
  await world.sql('DELETE FROM note WHERE id = $1', [theirs]);
  const ours = await world.addNote(1, 'of ours');
  await ada.sees('our own', (e) => e.new.id === ours);
  assert.ok(!JSON.stringify(ada.events).includes(theirs));
  await ada.stop();
});

test('a row that moves to another team is deleted for those it leaves, and not told to them again', async () => {
  const [ada, cleo] = [await channel('ada', [{ ...ALL, table: 'note' }]), await channel('cleo', [{ ...ALL, table: 'note' }])];
  const id = await world.addNote(1, 'moving');
  await ada.sees('it', (e) => e.new.id === id);
  await world.sql('UPDATE note SET team_id = 2 WHERE id = $1', [id]);
  await ada.sees('its deletion', (e) => e.eventType === 'DELETE' && e.old.id === id);
  await cleo.sees('its arrival', (e) => e.new.id === id);
  await ada.stop();
  await cleo.stop();
});

test('events, filters and selected columns: each binding gets its own', async () => {
  const ada = await channel('ada', [
    { event: 'INSERT', schema: 'public', table: 'item' },
    { event: 'UPDATE', schema: 'public', table: 'item', filter: 'i4=gt.10' },
    { event: 'DELETE', schema: 'public', table: 'item', filter: 'id=eq.1' },
    { event: '*', schema: 'public', table: 'item', filter: 'txt=in.(a,"b,c"),yes=is.true' },
    { event: '*', schema: 'public', table: 'item', select: ['txt'] },
    { event: '*', schema: '*', table: '*', filter: 'num=lt.9.5' },
  ]);
  await world.sql("INSERT INTO item (id, i4, txt, yes, num) VALUES (1, 5, 'b,c', true, 9.4), (2, 50, 'z', true, 10)");
  await world.sql('UPDATE item SET i4 = i4 + 1 WHERE id IN (1, 2)');
  await world.sql('DELETE FROM item WHERE id IN (1, 2)');
  await ada.sees('the last deletion', (e) => e.index === 4 && e.eventType === 'DELETE' && e.old.id === 2);
  const seen = (index) => ada.events.filter((e) => e.index === index).map((e) => `${e.eventType} ${e.new.id ?? e.old.id}`);
  assert.deepEqual(seen(0), ['INSERT 1', 'INSERT 2']);
  assert.deepEqual(seen(1), ['UPDATE 2']);
  assert.deepEqual(seen(2), ['DELETE 1']);
  // of a deleted row only the key is known: whoever filters by other columns is told of it
  assert.deepEqual(seen(3), ['INSERT 1', 'UPDATE 1', 'DELETE 1', 'DELETE 2']);
  assert.deepEqual(ada.events.find((e) => e.index === 4).new, { id: 1, txt: 'b,c' });
  assert.deepEqual(seen(5), ['INSERT 1', 'UPDATE 1', 'DELETE 1', 'DELETE 2']);
  await ada.stop();
});

test('a row that an update takes out of the filter is deleted for that binding', async () => {
  await world.sql("INSERT INTO item (id, i4, txt) VALUES (10, 1, 'in'), (11, 2, 'never')");
  const ada = await channel('ada', [{ ...ALL, table: 'item', filter: 'txt=eq.in' }]);
  await world.sql('UPDATE item SET i4 = 3 WHERE id IN (10, 11)');
  await ada.sees('the update', (e) => e.eventType === 'UPDATE' && e.new.id === 10);
  await world.sql("UPDATE item SET txt = 'out' WHERE id = 10");
  await ada.sees('its leaving', (e) => e.eventType === 'DELETE' && e.old.id === 10);
  assert.ok(!ada.events.some((e) => (e.new.id ?? e.old.id) === 11), 'an update elsewhere in a row that never was in the filter says nothing');
  await world.sql('DELETE FROM item WHERE id IN (10, 11)');
  await ada.stop();
});

test('with REPLICA IDENTITY FULL the old row comes along, and filters look at it', async () => {
  const ada = await channel('ada', [{ ...ALL, table: 'whole', filter: 'n=eq.1' }]);
  await world.sql("INSERT INTO whole VALUES (1, 'a', 1), (2, 'b', 2)");
  await world.sql("UPDATE whole SET name = 'c'");
  await world.sql('UPDATE whole SET n = 3 WHERE id = 2');
  await world.sql('DELETE FROM whole');
  await ada.sees('the deletion', (e) => e.eventType === 'DELETE');
  assert.deepEqual(ada.events.map((e) => [e.eventType, e.new, e.old]), [
    ['INSERT', { id: 1, name: 'a', n: 1 }, {}],
    ['UPDATE', { id: 1, name: 'c', n: 1 }, { id: 1, name: 'a', n: 1 }],
    ['DELETE', {}, { id: 1, name: 'c', n: 1 }],
  ]);
  await ada.stop();
});

test('a soft deletion is a deletion', async () => {
  const ada = await channel('ada', [{ ...ALL, table: 'soft' }]);
  await world.sql("INSERT INTO soft VALUES (1, 'here')");
  await world.sql('UPDATE soft SET deleted_at = now() WHERE id = 1');
  await ada.sees('it', (e) => e.eventType === 'DELETE');
  assert.deepEqual(ada.events.map((e) => e.eventType), ['INSERT', 'DELETE']);
  assert.deepEqual(ada.events[1].old, { id: 1 });
  await ada.stop();
});

test('a soft-deleted row that comes back is an insert, and what it was while deleted is not told', async () => {
  const ada = await channel('ada', [{ ...ALL, table: 'soft' }, { ...ALL, table: 'soft_whole' }]);
  for (const table of ['soft', 'soft_whole']) {
    await world.sql(`INSERT INTO ${table} VALUES (5, 'here')`);
    await world.sql(`UPDATE ${table} SET deleted_at = now(), name = 'written as it went' WHERE id = 5`);
    await world.sql(`UPDATE ${table} SET name = 'written while it was deleted' WHERE id = 5`);
    await world.sql(`UPDATE ${table} SET name = 'back', deleted_at = NULL WHERE id = 5`);
    await ada.sees('it back', (e) => e.table === table && e.new.name === 'back');
    assert.deepEqual(ada.events.filter((e) => e.table === table).map((e) => e.eventType), ['INSERT', 'DELETE', 'INSERT']);
  }
  assert.ok(!JSON.stringify(ada.events).includes('while it was deleted'));
  await ada.stop();
});

test('a deleted key that comes back is an insert', async () => {
  const ada = await channel('ada', [{ ...ALL, table: 'item' }]);
  await world.sql('INSERT INTO item (id) VALUES (20)');
  await world.sql('DELETE FROM item WHERE id = 20');
  await world.sql('INSERT INTO item (id) VALUES (20)');
  await world.sql('UPDATE item SET i4 = 1 WHERE id = 20');
  await ada.sees('the update', (e) => e.eventType === 'UPDATE');
  assert.deepEqual(ada.events.map((e) => e.eventType), ['INSERT', 'DELETE', 'INSERT', 'UPDATE']);
  await world.sql('DELETE FROM item WHERE id = 20');
  await ada.stop();
});

test('a key of two columns', async () => {
  const ada = await channel('ada', [{ ...ALL, table: 'pair', filter: 'a=eq.x,b=gte.2' }]);
  await world.sql("INSERT INTO pair VALUES ('x', 2, 'n'), ('x', 1, 'n'), ('y', 5, 'n')");
  await world.sql('DELETE FROM pair');
  await ada.sees('the deletion', (e) => e.eventType === 'DELETE');
  assert.deepEqual(ada.events.map((e) => [e.eventType, e.eventType === 'INSERT' ? e.new : e.old]), [['INSERT', { a: 'x', b: 2, note: 'n' }], ['DELETE', { a: 'x', b: 2 }]]);
  await ada.stop();
});

test('values arrive as that client expects them', async () => {
  const ada = await channel('ada', [{ ...ALL, table: 'kind' }, { ...ALL, table: 'kind', int8: 'string' }]);
  await world.sql(`INSERT INTO kind VALUES (30, 1, -2, 9007199254740993, 1.5, 'NaN', 12.340, true, E'q"\\\\ü💡', 'ab', '{"a":[1,null]}', '\\x00ff10', '2026-01-02',
    '2026-01-02 03:04:05.678', '2026-01-02 03:04:05.678+02', '11111111-2222-3333-4444-555555555555', '{a,"b c",NULL}', '{1,9007199254740993}', 'wild')`);
  await ada.sees('both', (e) => e.index === 1 && e.new.i2 === 1);
  const [row, exact] = [0, 1].map((index) => ada.events.find((e) => e.index === index).new);
  const common = {
    i2: 1, i4: -2, f4: 1.5, f8: 'NaN', num: 12.34, yes: true, txt: 'q"\\ü💡', chars: 'ab   ', doc: { a: [1, null] }, raw: '00ff10', day: '2026-01-02',
    at: '2026-01-02T03:04:05.678', atz: '2026-01-02T01:04:05.678+00:00', uid: '11111111-2222-3333-4444-555555555555', tags: ['a', 'b c', null], feel: 'wild',
  };
  assert.deepEqual(row, { id: 30, i8: 9007199254740992, bigs: [1, 9007199254740992], ...common });
  assert.deepEqual(exact, { id: '30', i8: '9007199254740993', bigs: ['1', '9007199254740993'], ...common });
  await world.sql('UPDATE kind SET i2 = NULL, i4 = NULL, i8 = NULL, f4 = NULL, f8 = NULL, num = NULL, yes = NULL, txt = NULL, chars = NULL, doc = NULL, raw = NULL, day = NULL, at = NULL, atz = NULL, uid = NULL, tags = NULL, bigs = NULL, feel = NULL WHERE id = 30');
  await ada.sees('the nulls', (e) => e.eventType === 'UPDATE');
  const { id, ...nulls } = ada.events.find((e) => e.eventType === 'UPDATE' && e.index === 0).new;
  assert.ok(Object.values(nulls).every((value) => value === null) && id === 30);
  await world.sql('DELETE FROM kind WHERE id = 30');
  await ada.stop();
});

const WRONG = [
  [{ ...ALL, table: 'plain' }, /^Unable to subscribe to changes with given parameters\. Please check Realtime is enabled for the given connect parameters: \[event: \*, schema: public, table: plain, filters: \[\], select: nil\]$/],
  [{ ...ALL, table: 'secret' }, /Please check Realtime is enabled/],
  [{ ...ALL, table: 'no_such_table' }, /Please check Realtime is enabled/],
  [{ ...ALL, table: 'kind', filter: 'nope=eq.1' }, /Exception: invalid column for filter nope$/],
  [{ ...ALL, table: 'kind', filter: 'i4=eq.x' }, /Exception: invalid input syntax for type int4: "x"$/],
  [{ ...ALL, table: 'kind', filter: 'hey' }, /^Error parsing `filter` params: \["hey"\]$/],
  [{ ...ALL, table: 'kind', filter: 'foo=hey' }, /^Error parsing `filter` params: \["foo", "hey"\]$/],
  [{ ...ALL, table: 'kind', filter: 'i4=in.1,2' }, /`in` filter value must be wrapped by parentheses/],
  [{ ...ALL, table: 'kind', filter: 'i4=eq.1,,i2=eq.2' }, /filter must not contain empty segments/],
  [{ ...ALL, table: 'kind', select: ['nope'] }, /Exception: invalid column for select "nope"$/],
  [{ event: '*' }, /^No subscription params provided/],
];

test('what cannot be served is told by a system message, the rest is served and the channel stays', async () => {
  const ada = await channel('ada', [{ ...ALL, table: 'note' }, ...WRONG.map(([binding]) => binding)]);
  for (const [, text] of WRONG) await ada.system(({ extension, status, message }) => extension === 'postgres_changes' && status === 'error' && text.test(message));
  const id = await world.addNote(1, 'served all the same');
  await ada.sees('it', (e) => e.new.id === id);
  assert.deepEqual(ada.statuses, ['SUBSCRIBED']);
  await ada.stop();
  const good = await channel('ada', [{ ...ALL, table: 'note' }]);
  const message = await good.system(({ status }) => status === 'ok');
  assert.deepEqual(message, { extension: 'postgres_changes', status: 'ok', message: 'Subscribed to PostgreSQL', channel: 'changes' });
  await good.stop();
});
