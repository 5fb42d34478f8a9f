// column_rights.test.js - who may read only some columns of a table never gets the others, live neither, and misses no change.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Copy } from '../lib/client.js';
import { ROOT } from '../lib/postgres.js';
import { World } from '../lib/world.js';

const SCHEMA = `
CREATE ROLE app NOLOGIN;
CREATE ROLE clerk NOLOGIN;
GRANT app, clerk TO sync_query;
CREATE TABLE person (id int PRIMARY KEY, name text NOT NULL, salary int NOT NULL);
GRANT SELECT, INSERT, UPDATE, DELETE ON person TO app;
GRANT SELECT (id, name) ON person TO clerk;
CREATE TABLE vault (id int PRIMARY KEY, content text NOT NULL);
GRANT SELECT ON vault TO app;
SELECT sync.enable('person');
SELECT sync.enable('vault');
INSERT INTO person VALUES (1, 'Grace', 777001);
INSERT INTO vault VALUES (1, 'vault content 1');
`;

let world;
before(async () => {
  world = await World.start({ schema: SCHEMA });
});
after(() => world?.stop());

test('a clerk sees names change, never a salary, nor the table that is closed', async () => {
  const clerk = await world.join('carl', { claims: { role: 'clerk' } });
  assert.deepEqual(clerk.copy.get('person', 1), { id: 1, name: 'Grace' });
  await world.sql("INSERT INTO person VALUES (2, 'Edsger', 777002)");
  await world.sql("UPDATE person SET name = 'Grace H.', salary = 777003 WHERE id = 1");
  await world.sql("INSERT INTO vault VALUES (2, 'vault content 2')");
  await clerk.sees('both names', (copy) => copy.get('person', 1)?.name === 'Grace H.' && copy.get('person', 2)?.name === 'Edsger');
  await world.sql('DELETE FROM person WHERE id = 2');
  await clerk.sees('the deletion', (copy) => !copy.get('person', 2));
  for (const frame of clerk.frames) assert.ok(!/77700|vault content/.test(frame), frame.slice(0, 300));
  await clerk.disconnect();
});

test('beside her, who may read all of it gets all of it', async () => {
  const boss = await world.join('bea');
  await world.sql("INSERT INTO person VALUES (3, 'Barbara', 777004)");
  await boss.sees('the whole row', (copy) => copy.get('person', 3)?.salary === 777004);
  await boss.disconnect();
});

/** A session whose commits are seen by others long before their caches are told. */
async function slowSession() {
  const include = execFileSync(process.env.PG_CONFIG || 'pg_config', ['--includedir-server'], { encoding: 'utf8' }).trim();
  const library = path.join(world.server.directory, 'slow_word.so');
  execFileSync(process.env.CC || 'cc', ['-shared', '-fPIC', '-O2', `-I${include}`, '-o', library, path.join(ROOT, 'test/faults/slow_word.c')]);
  const session = await world.database.connect();
  await session.query(`LOAD '${library}'`);
  return session;
}

// a pull saw the REVOKE, but its backend's caches did not: the column came, with a token that said all was well, and stayed for good
test('who pulls while a REVOKE commits keeps nothing that it took away', async () => {
  const claims = { role: 'clerk' };
  const session = await slowSession();
  await world.sql('GRANT SELECT (salary) ON person TO clerk');
  const carl = await world.join('carl', { claims });
  await carl.sees('salaries', (copy) => copy.get('person', 1)?.salary === 777003);
  const copy = new Copy();
  let token;
  const pull = async () => {
    const { status, json } = await world.post('pull', 'carl', { device_id: 'pulls', ...(token ? { sync_token: token } : {}) }, { claims });
    if (status !== 200) return true;
    copy.apply(json);
    token = json.next_sync_token;
    return json.has_more;
  };
  const toEnd = async () => {
    while (await pull());
  };
  await Promise.all(Array.from({ length: 8 }, () => world.post('pull', 'carl', { device_id: 'warms' }, { claims }))); // every backend's caches know the grant
  await toEnd();
  assert.equal(copy.get('person', 1).salary, 777003);
  let isOver = false;
  const revoked = session.query('REVOKE SELECT (salary) ON person FROM clerk').then(() => (isOver = true));
  while (!isOver) await toEnd();
  await revoked;
  await toEnd();
  assert.deepEqual(copy.get('person', 1), { id: 1, name: 'Grace H.' });
  await carl.sees('no salary', (live) => live.get('person', 1) && !('salary' in live.get('person', 1)));
  await session.end();
  await carl.disconnect();
});
