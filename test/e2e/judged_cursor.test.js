// judged_cursor.test.js - a cursor that goes out while a row is still being judged does not claim it: whoever leaves then gets the row on return.
// SPDX-License-Identifier: PostgreSQL
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';
import { until } from '../lib/wait.js';

// one connection for everything: while a push sleeps, no question is answered
const SCHEMA = `
CREATE ROLE app NOLOGIN;
GRANT app TO sync_query;
CREATE TABLE paper (id int PRIMARY KEY, owner text NOT NULL);
CREATE TABLE bed (id int PRIMARY KEY);
GRANT SELECT ON paper TO app;
GRANT SELECT, INSERT ON bed TO app;
ALTER TABLE paper ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON paper TO app USING (owner = sync.user_id());
CREATE FUNCTION sleep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(4); RETURN NEW; END $$;
CREATE TRIGGER sleep BEFORE INSERT ON bed FOR EACH ROW EXECUTE FUNCTION sleep();
SELECT sync.enable('paper');
SELECT sync.enable('bed');
`;

let world;
before(async () => {
  world = await World.start({ schema: SCHEMA, options: { 'query-connections': 1 } });
});
after(() => world?.stop());

test('the cursor of a quiet moment waits for the verdict', async () => {
  const ada = await world.join('ada', { join: { tables: ['paper'] } });
  await world.sql("INSERT INTO paper VALUES (1, 'ada')");
  await ada.sees('the first', (copy) => copy.get('paper', 1));
  const batches = () => ada.events.filter(({ name }) => name === 'changes').length;
  const before = batches();
  const push = world.post('push', 'ben', { device_id: 'd', changes: [{ queue_id: '1', operation: 'create', entity_type: 'bed', entity_id: '1', data: { id: 1 } }] });
  await until('the push sleeps', () => world.value("SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"));
  await world.sql("INSERT INTO paper VALUES (2, 'ada')");
  await until('a batch, with the second row or, after a second, without', () => batches() > before);
  await ada.disconnect();
  await push;
  await ada.connect();
  await ada.sees('the second', (copy) => copy.get('paper', 2), { limit_ms: 10_000 });
  await ada.disconnect();
});
