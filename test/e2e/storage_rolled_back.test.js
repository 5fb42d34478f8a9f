// storage_rolled_back.test.js - the server comes back on an earlier copy of its own files: who has seen more than it knows is told.
// SPDX-License-Identifier: PostgreSQL
// runs once: what is read out of the log does not matter, but from whom
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { Audience } from '../lib/audience.js';
import { ask, copyFiles, rollBack } from '../lib/copies.js';
import { until } from '../lib/wait.js';
import { World } from '../lib/world.js';

let world;
let audience;
let copy;

// the copy is taken before anybody comes, so that what they see later is what goes
beforeEach(async () => {
  world = await World.start({ movable: true });
  for (let i = 0; i < 20; i++) await world.addNote(1 + (i % 2), `note ${i}`);
  await world.sql("INSERT INTO member SELECT 'all', i FROM generate_series(1, 2) i");
  copy = await copyFiles(world.server);
  audience = await Audience.gather(world);
});
afterEach(async () => {
  await audience?.leave().catch(() => {});
  await world?.stop();
});

const burnIds = (count) => ask(world.server, `DO $$ BEGIN FOR i IN 1..${count} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$`);
const counted = () => ask(world.server, 'SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint');
const written = () => ask(world.server, "SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint");

test('log and counter lie behind what clients have', async () => {
  await burnIds(300);
  const lost = await audience.seesNote('on the younger files only');
  audience.mark();
  await rollBack(world.server, copy);
  await audience.endsRight('an earlier copy of the storage');
  assert.ok(!audience.live.copy.get('note', lost));
  assert.match(world.streamer.log, /storage_rolled_back/);
});

test('the counter has gone past what clients have, the log lies behind', async () => {
  const lost = await audience.seesNote(`few ids and much log: ${'x'.repeat(100)}`);
  await world.sql("CREATE TABLE bulk AS SELECT repeat('y', 1000) FROM generate_series(1, 20000)");
  const last = await audience.seesNote('behind much log');
  const [ids, log] = [await counted(), await written()];
  audience.mark();
  world.address.cut();
  await rollBack(world.server, copy);
  await burnIds(400);
  assert.ok(Number(await counted()) > Number(ids) && Number(await written()) < Number(log), 'the play is the one it should be');
  world.address.pointTo(world.server);
  await audience.endsRight('the counter has overtaken, the log has not');
  for (const id of [lost, last]) assert.ok(!audience.live.copy.get('note', id));
});

test('the log has gone past what clients have, the counter lies behind', async () => {
  await burnIds(2000);
  // the last note comes between two marks of the streamers, so that only its own id lies ahead of the counter
  const lost = await audience.seesNote('many ids and little log');
  const [ids, log] = [await counted(), await written()];
  audience.mark();
  world.address.cut();
  await rollBack(world.server, copy);
  await world.sql("CREATE TABLE bulk AS SELECT repeat('y', 1000) FROM generate_series(1, 5000)");
  assert.ok(Number(await counted()) < Number(ids) && Number(await written()) > Number(log), 'the play is the one it should be');
  world.address.pointTo(world.server);
  await audience.endsRight('the log has overtaken, the counter has not');
  assert.ok(!audience.live.copy.get('note', lost));
});

test('both have gone past what clients have: nothing tells, but new_incarnation() does', async () => {
  await burnIds(100);
  const lost = await audience.seesNote('not on the copy');
  const [ids, log] = [await counted(), await written()];
  audience.mark();
  world.address.cut();
  await rollBack(world.server, copy);
  await burnIds(500);
  await world.sql("CREATE TABLE bulk AS SELECT repeat('y', 1000) FROM generate_series(1, 5000)");
  assert.ok(Number(await counted()) > Number(ids) && Number(await written()) > Number(log), 'the play is the one it should be');
  await world.sql('SELECT sync.new_incarnation()');
  world.address.pointTo(world.server);
  await audience.endsRight('new_incarnation() after the storage was rolled back');
  for (const client of [...audience.online, audience.offline]) assert.ok(!client.copy.get('note', lost));
});

test('new_incarnation() while everybody is connected', async () => {
  audience.mark();
  await world.sql('SELECT sync.new_incarnation()');
  await audience.endsRight('new_incarnation()');
  assert.ok(audience.wasTold(audience.offline), 'who was away starts anew');
});
