// recreated_live.test.js - the extension is dropped and created again under live clients: a table that is enabled again comes whole, one that is not leaves every copy.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Audience } from '../lib/audience.js';
import { ROOT } from '../lib/postgres.js';
import { NOTES, World } from '../lib/world.js';
import { until } from '../lib/wait.js';

const MEMO = "SELECT sync.enable('memo')";
const SCHEMA = `${NOTES}
CREATE TABLE memo (id int PRIMARY KEY, title text NOT NULL);
GRANT SELECT ON memo TO app;
INSERT INTO memo SELECT i, 'memo ' || i FROM generate_series(1, 5) i;
${MEMO};`;
// what of NOTES speaks of the extension
const RULES = NOTES.slice(NOTES.indexOf('CREATE POLICY own_memberships'), NOTES.indexOf('INSERT INTO member')).replace(/^ALTER TABLE.*$/gm, '');

let world;
let audience;
before(async () => {
  world = await World.start({ schema: SCHEMA });
  for (let i = 0; i < 10; i++) await world.addNote(1 + (i % 2), `note ${i}`);
  audience = await Audience.gather(world);
});
after(async () => {
  await audience?.leave();
  await world?.stop();
});

/** As README says it, and the roles again, whose grants went with the schema. `order`: the tables, in which they are enabled then. */
async function recreate(drop, rules) {
  audience.mark();
  await world.sql(drop);
  await world.sql('CREATE EXTENSION sync');
  world.server.psql('app', ['-o', '/dev/null', '-f', path.join(ROOT, 'streamer/roles.sql')]);
  await world.sql(rules);
}

async function everywhere(what, isSo) {
  for (const client of audience.online) await until(what, () => isSo(client.copy));
  await audience.offline.connect();
  await until(`${what}, on return`, () => isSo(audience.offline.copy));
  await audience.offline.disconnect();
}

const memosEverywhere = (count) => everywhere(`${count} memos`, (copy) => copy.table('memo').size === count);

const LEAVE = 'SELECT sync.disable_all(); DROP POLICY own_memberships ON member; DROP POLICY notes_of_my_teams ON note; DROP EXTENSION sync';

test('one table is enabled again, the other is not', async () => {
  await recreate(LEAVE, RULES);
  await audience.endsRight('created again');
  await memosEverywhere(0);
});

test('both are, in the other order', async () => {
  await world.sql(MEMO);
  await memosEverywhere(5);
  await recreate(LEAVE, `${MEMO}; ${RULES}`);
  await audience.endsRight('created again in another order');
  await memosEverywhere(5);
});

test('dropped with CASCADE, without disable(), and only the other table is enabled then', async () => {
  await recreate('DROP EXTENSION sync CASCADE', MEMO);
  await everywhere('5 memos and no notes', (copy) => copy.table('memo').size === 5 && copy.table('note').size === 0);
});

test('the table that took the number of another is no news to who had both', async () => {
  await recreate(LEAVE.replace(/DROP POLICY own.* ON note;/, ''), `${RULES}`);
  await audience.endsRight('the one in the place of the other');
  await memosEverywhere(0);
  assert.ok(audience.online.every((client) => client.copy.table('note').size > 0));
});
