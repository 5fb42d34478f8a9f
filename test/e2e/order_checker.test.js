// order_checker.test.js - the checker of the stream's order (chaos/order.js) sees what it is there for: it is shown small streams with one fault each.
// SPDX-License-Identifier: PostgreSQL
// runs once: no server is started
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Commits } from '../chaos/commits.js';
import { Watcher } from '../chaos/order.js';

const columns = ({ id, team = 1, tag = 1, version }) => `id[integer]:${id} team[integer]:${team} tag[bigint]:${tag} sync_version[bigint]:${version}`;
const insert = (table, row) => `table public.${table}: INSERT: ${columns({ version: 1, ...row })}`;
const update = (table, row) => `table public.${table}: UPDATE: ${columns(row)}`;
const remove = (table, id) => `table public.${table}: DELETE: id[integer]:${id}`;

/** Transactions, each a list of lines, and a watcher of team 1. */
function stage(...transactions) {
  const commits = new Commits();
  commits.tables = ['plain', 'scoped', 'judged'];
  for (const lines of transactions) commits.take(`BEGIN 7\n${lines.join('\n')}\nCOMMIT 7\n`);
  return new Watcher('she', commits, { teams: [1], judged: ['judged'] });
}

const change = (entity_type, id, server_version, more = {}) => ({ operation: 'update', entity_type, entity_id: String(id), server_version, data: {}, ...more });
const gone = (entity_type, id, server_version) => ({ operation: 'delete', entity_type, entity_id: String(id), server_version });
const live = (...changes) => ({ changes, cursor: 'c' });
const page = (...changes) => ({ changes, cursor: 'c', session: 's', has_more: false });

const two = () => stage([insert('plain', { id: 1 }), insert('plain', { id: 2 })], [update('plain', { id: 1, version: 2 })], [insert('plain', { id: 3 })]);

function shows(watcher, batches, expected) {
  for (const batch of batches) {
    watcher.take(batch);
    watcher.commits.take(`message: transactional: 1 prefix: mark, sz: 1 content:${++watcher.commits.issued}\n`);
    watcher.go_on();
  }
  if (expected) assert.match(watcher.failures.join('\n'), expected);
  else assert.deepEqual(watcher.failures, []);
}

test('a right stream, alone and in coalesced batches, with repeats, a pull, rows of others', () => {
  shows(two(), [live(change('plain', 1, 1), change('plain', 2, 1)), live(change('plain', 1, 2)), live(change('plain', 1, 1), change('plain', 2, 1)), live(change('plain', 3, 1))]);
  shows(two(), [live(change('plain', 1, 1), change('plain', 2, 1), change('plain', 1, 2), change('plain', 3, 1))]);
  const watcher = two();
  shows(watcher, [page(change('plain', 1, 2), change('plain', 2, 1)), live(change('plain', 3, 1))]);
  assert.deepEqual(watcher.differences(), []);
  shows(stage([insert('scoped', { id: 1, team: 2 }), insert('plain', { id: 1 })], [update('scoped', { id: 1, team: 1, version: 2 })], [remove('scoped', 1)]), [live(change('plain', 1, 1)), live(change('scoped', 1, 2)), live(gone('scoped', 1, 3))]);
});

test('one left out', () => shows(two(), [live(change('plain', 1, 1), change('plain', 2, 1)), live(change('plain', 3, 1))], /was not sent transaction 1/));
test('one left out by a pull, and never sent', () => shows(two(), [page(change('plain', 1, 1), change('plain', 2, 1)), live(change('plain', 3, 1))], /was not sent transaction 1/));
test('one left out at the end', () => {
  const watcher = two();
  shows(watcher, [live(change('plain', 1, 1), change('plain', 2, 1)), live(change('plain', 1, 2))]);
  assert.deepEqual(watcher.differences(), ['plain/3 is at version 1, held is 0']);
});
test('half a transaction live', () => shows(two(), [live(change('plain', 2, 1))], /holds 1 rows of transaction 0/));
test('half a transaction pulled', () => shows(two(), [page(change('plain', 2, 1), change('plain', 3, 1))], undefined)); // row 1 was written over: its newer version is to come …
test('half a transaction pulled, of which nothing newer comes', () => shows(stage([insert('plain', { id: 1 }), insert('plain', { id: 2 })]), [page(change('plain', 2, 1))], /holds half of transaction 0/));
test('the wrong order within a batch', () => shows(two(), [live(change('plain', 1, 1), change('plain', 2, 1)), live(change('plain', 3, 1), change('plain', 1, 2))], /got transaction 1 behind 2/));
test('a deletion left out', () => shows(stage([insert('plain', { id: 1 })], [remove('plain', 1)], [insert('plain', { id: 2 })]), [live(change('plain', 1, 1)), live(change('plain', 2, 1))], /was not sent transaction 1.*\(gone\)/));
test('a row that moved away kept', () => shows(stage([insert('scoped', { id: 1 })], [update('scoped', { id: 1, team: 2, version: 2 })]), [live(change('scoped', 1, 1)), live(change('scoped', 1, 2))], /out of its sight/));
test('a skipped version: allowed where policies judge, not elsewhere', () => {
  const history = (table) => stage([insert(table, { id: 1 })], [update(table, { id: 1, version: 2 }), insert('plain', { id: 9 })], [update(table, { id: 1, version: 3 })]);
  shows(history('judged'), [live(change('judged', 1, 1)), live(change('plain', 9, 1)), live(change('judged', 1, 3))]);
  shows(history('scoped'), [live(change('scoped', 1, 1)), live(change('plain', 9, 1)), live(change('scoped', 1, 3))], /holds 1 rows of transaction 1/);
});
test("another transaction's contents", () => shows(stage([insert('plain', { id: 1, tag: 5 })]), [live(change('plain', 1, 1, { data: { tag: '6' } }))], /has the tag 6/));
