// template.test.js - a database copied as a whole: the first command that changes what may be read of a table counts there as any later one does.
// SPDX-License-Identifier: PostgreSQL
// runs once: SQL only, nothing is decoded
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Postgres } from '../lib/postgres.js';

const ada = { role: 'reader', sub: 'ada' };
let server, copy;
before(async () => {
  server = await Postgres.start();
  const first = await server.createDatabase('first', { roles: false });
  await first.sql(`
    CREATE ROLE reader;
    CREATE TABLE label (id int PRIMARY KEY, title text, price int);
    GRANT SELECT (id, title, price) ON label TO reader;
    INSERT INTO label VALUES (1, 'one', 100);
    SELECT sync.enable('label')`);
  await first.pool.end();
  copy = await server.createDatabase('copy', { template: 'first' });
});
after(() => server?.stop());

const pull = (sync_token) => copy.call('pull', { device_id: 'd', sync_token }, ada);

test('a REVOKE starts its table anew', async () => {
  const { next_sync_token: token, changes } = await pull();
  assert.deepEqual(changes[0].data, { id: 1, title: 'one', price: 100 });
  await copy.sql('REVOKE SELECT (price) ON label FROM reader');
  const answer = await pull(token);
  assert.deepEqual(answer.reset, ['label']);
  assert.deepEqual(answer.changes[0].data, { id: 1, title: 'one' });
});
