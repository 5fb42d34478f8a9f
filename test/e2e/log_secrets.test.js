// log_secrets.test.js - at the finest log level, what goes wrong and what goes right leaves no token, password, claim or row in the log.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { request } from '../lib/http.js';
import { Streamer } from '../lib/streamer.js';
import { until } from '../lib/wait.js';
import { NOTES, World } from '../lib/world.js';

const PASSWORD = 'database-password-4711';
const METRICS = 'metrics-token-of-the-test';
const CLAIM = 'ada@secret.example';
const ROW = 'a row that is nobody else’s business';
const SPEAKING = `
CREATE FUNCTION speak() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'written: % by %', NEW.title, current_setting('request.jwt.claims', true); RETURN NEW; END $$;
CREATE TRIGGER speak BEFORE INSERT OR UPDATE ON note FOR EACH ROW EXECUTE FUNCTION speak();`;

let world;
let streamer;

before(async () => {
  world = await World.start({ schema: NOTES + SPEAKING });
  const file = path.join(world.streamer.directory, 'metrics-token');
  writeFileSync(file, METRICS, { mode: 0o600 });
  const conninfo = (role) => `${world.database.conninfo(role)} password=${PASSWORD}`;
  streamer = await Streamer.start(world.database, {
    database: conninfo('sync_replication'),
    'query-database': conninfo('sync_query'),
    'upkeep-database': conninfo('sync_upkeep'),
    'metrics-token-file': file,
    'upkeep-interval': 1,
    'log-level': 'debug',
  });
});
after(async () => {
  await streamer?.stop();
  await world?.stop();
});

test('no secret is in the log, whatever happens', async () => {
  const [first, second] = [world.streamer, streamer];
  world.streamer = second;
  const tokens = [];
  const mint = (claims, how) => {
    const token = streamer.token('ada', { email: CLAIM, ...claims }, how);
    tokens.push(token);
    return token;
  };
  const ada = await world.join('ada', { claims: { email: CLAIM } });
  tokens.push(ada.token());
  await ada.push([{ queue_id: 'a', operation: 'create', entity_type: 'note', entity_id: null, data: { team_id: 1, title: ROW } }]);
  await ada.push([{ queue_id: 'b', operation: 'create', entity_type: 'note', entity_id: null, data: { team_id: 2, title: ROW } }]);
  await assert.rejects(ada.renew(mint({ exp: 1 })));
  await ada.renew(mint({}));
  const ask = (token, body) => request(`${streamer.url}/api/v1/sync/pull`, { token, body });
  for (const token of [mint({}), mint({ exp: 1 }), mint({ role: 'no_such_role' }), mint({ role: '' }), `${mint({})}x`]) await ask(token, { device_id: 'd' });
  await ask(mint({}), { device_id: 'd', sync_token: 'nonsense', tables: [ROW] });
  await ask(mint({}), ROW);
  for (const token of [METRICS, 'wrong', undefined]) await request(`${streamer.url}/metrics`, { token });
  await request(`${streamer.url}/api/v1/sync/status`, { token: mint({}) });
  // the database goes away under everybody's hands, and comes back
  await world.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'sync\\_%'");
  await until('its loss is logged', () => streamer.log.includes('database_lost'));
  await until('it is connected again', () => streamer.log.split('database_connected').length > 8);
  await world.sql("UPDATE note SET title = title || '!'");
  await ada.disconnect();
  await until('something is logged at debug level', () => / debug /.test(streamer.log));
  world.streamer = first;

  const secrets = [PASSWORD, METRICS, CLAIM, ROW, ROW.slice(0, 20), streamer.secret, ...tokens.flatMap((token) => token.split('.').filter((part) => part.length > 20))];
  for (const secret of secrets) assert.ok(!streamer.log.includes(secret), `the log holds ${secret}:\n${streamer.log.split('\n').find((line) => line.includes(secret))}`);
  for (const line of streamer.log.split('\n').filter(Boolean)) assert.match(line, /^\d{4}-\d\d-\d\dT[\d:.]+Z (error|warning|info|debug) [a-z_]+( |$)/, 'each line is ours');
});
