// ddl_live.test.js - the schema of a synced table changes under connected clients, each kind once: nobody keeps a copy that is not the table's.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Audience } from '../lib/audience.js';
import { NOTES, World } from '../lib/world.js';
import { isEqualCopy } from '../lib/expected.js';
import { until } from '../lib/wait.js';

const ENABLE = "SELECT sync.enable('note', scope => 'team', scope_column => 'team_id', policy_is_scope => true)";

let world;
let audience;
before(async () => {
  world = await World.start({ schema: `${NOTES} CREATE SCHEMA closed;` });
  for (let i = 0; i < 20; i++) await world.addNote(1 + (i % 2), `note ${i}`);
  audience = await Audience.gather(world, { supabase: false });
});
after(async () => {
  await audience?.leave();
  await world?.stop();
});

// what a client shows is another after each of them: a reset of the table, and then what the table holds
for (const [what, statement] of [
  ['a column is added', "ALTER TABLE note ADD COLUMN extra text DEFAULT 'x'"],
  ['a column is renamed', 'ALTER TABLE note RENAME COLUMN extra TO more'],
  ['a column changes its type, with a rewrite', 'ALTER TABLE note ALTER COLUMN more DROP DEFAULT, ALTER COLUMN more TYPE int USING length(more)'],
  ['a column is dropped', 'ALTER TABLE note DROP COLUMN more'],
  ['a policy is changed', 'ALTER POLICY notes_of_my_teams ON note USING (team_id IN (SELECT m.team_id FROM member m WHERE m.user_id = sync.user_id()) AND true)'],
  ['a policy is added', 'CREATE POLICY more ON note FOR SELECT TO app USING (false)'],
  ['row-level security is switched off', 'ALTER TABLE note DISABLE ROW LEVEL SECURITY'],
  ['row-level security is switched on', 'ALTER TABLE note ENABLE ROW LEVEL SECURITY'],
]) {
  test(`${what}: everybody is told and ends with the table`, async () => {
    audience.mark();
    await world.sql(statement);
    await audience.endsRight(what);
  });
}

// nothing that is shown changes: nobody needs to be told, and nobody may lose a change
for (const [what, statement] of [
  ['the replica identity becomes FULL', 'ALTER TABLE note REPLICA IDENTITY FULL'],
  ['the replica identity is the key again', 'ALTER TABLE note REPLICA IDENTITY DEFAULT'],
  ['an index is added', 'CREATE INDEX ON note (title)'],
  ['the table is clustered, which rewrites it', 'CLUSTER note USING note_pkey'],
  ['VACUUM FULL', 'VACUUM FULL note'],
]) {
  test(`${what}: nothing is missed`, async () => {
    audience.mark();
    await world.sql(statement);
    await world.sql("UPDATE note SET title = title || '.' WHERE team_id = 1");
    await audience.endsRight(what, { told: false });
  });
}

test('a table is renamed and named back: its changes go on under the name that clients know', async () => {
  audience.mark();
  await world.sql('ALTER TABLE note RENAME TO letter');
  await world.sql("UPDATE letter SET title = 'written while it had another name' WHERE team_id = 1");
  await world.sql('ALTER TABLE letter RENAME TO note');
  await audience.endsRight('a table was renamed', { told: false });
});

for (const [what, away, back] of [
  ['the grant is taken away', 'REVOKE SELECT ON note FROM app', 'GRANT SELECT ON note TO app'],
  ['the schema is closed', 'ALTER TABLE note SET SCHEMA closed', 'ALTER TABLE closed.note SET SCHEMA public'],
  ['sync is switched off for the table', "SELECT sync.disable('note')", ENABLE],
]) {
  test(`${what}: the rows leave every copy, also of who was away; given again, they come back`, async () => {
    audience.mark();
    await world.sql(away);
    await audience.offline.connect();
    for (const client of [...audience.online, audience.offline]) await until('the rows are gone', () => client.copy.table('note').size === 0);
    await audience.offline.disconnect();
    await world.sql(back);
    await audience.endsRight(what);
  });
}

test('a column is taken out of the grant: its values leave every copy', async () => {
  audience.mark();
  await world.sql('REVOKE SELECT ON note FROM app; GRANT SELECT (id, team_id, title, sync_version, sync_xid, sync_at, sync_by, sync_clock) ON note TO app');
  for (const client of audience.online) {
    await until('no copy has it', () => client.copy.table('note').size > 0 && client.copy.rows('note').every((row) => !('body' in row) && 'title' in row));
  }
  await world.sql('REVOKE ALL ON note FROM app; GRANT SELECT, INSERT, UPDATE, DELETE ON note TO app');
  await audience.endsRight('a column was taken out of the grant');
});

test('triggers switched off: what is written meanwhile has no stamp, and check() says so until the cure', async () => {
  await world.sql('ALTER TABLE note DISABLE TRIGGER "~sync_stamp"');
  const found = await world.sql("SELECT * FROM sync.check() WHERE object ~ 'note' AND severity = 'error'");
  assert.ok(found.length > 0, 'check() names the trigger');
  await world.sql("UPDATE note SET title = 'written without a stamp' WHERE team_id = 2");
  audience.mark();
  for (const { cure } of found) await world.sql(cure);
  assert.deepEqual(await world.sql("SELECT * FROM sync.check() WHERE object ~ 'note' AND severity = 'error'"), []);
  // README: what was written meanwhile is known only after disable and enable
  await world.sql("SELECT sync.disable('note')");
  await world.sql(ENABLE);
  await audience.endsRight('triggers were off, then the table was enabled anew');
});

test('dropped and made anew under the same name: the old rows leave every copy', async () => {
  audience.mark();
  await world.sql(`DROP TABLE note;
    CREATE TABLE note (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), team_id int NOT NULL, title text NOT NULL, body text NOT NULL DEFAULT '', done boolean NOT NULL DEFAULT false);
    GRANT SELECT, INSERT, UPDATE, DELETE ON note TO app;
    INSERT INTO note (team_id, title) SELECT 1 + i % 2, 'of the new table ' || i FROM generate_series(1, 5) i;
    ${ENABLE}`);
  await audience.endsRight('the table was dropped and made anew');
  assert.ok(await isEqualCopy(world.database, audience.live.copy, ['note']));
});
