// watching.test.js - what those who run a streamer see of it, what a user sees of itself, and who sees nothing.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { request } from '../lib/http.js';
import { ROOT } from '../lib/postgres.js';
import { Streamer } from '../lib/streamer.js';
import { until } from '../lib/wait.js';
import { World } from '../lib/world.js';

let world;
before(async () => {
  world = await World.start();
});
after(() => world?.stop());

/** name{labels} → number. */
async function metrics(streamer = world.streamer) {
  const { status, text, headers } = await request(`${streamer.url}/metrics`);
  assert.equal(status, 200);
  assert.match(headers.get('content-type'), /^text\/plain; version=0\.0\.4/);
  const values = new Map();
  for (const line of text.split('\n').filter((l) => l && !l.startsWith('#'))) {
    const at = line.lastIndexOf(' ');
    assert.ok(Number.isFinite(Number(line.slice(at + 1))), line);
    values.set(line.slice(0, at), Number(line.slice(at + 1)));
  }
  return values;
}

test('what happens is counted: connections, batches, verdicts, conflicts, errors', async () => {
  const ada = await world.join('ada');
  const ben = await world.join('ben');
  const id = await world.addNote(1, 'counted');
  for (const client of [ada, ben]) await client.sees('the note', (copy) => copy.get('note', id));
  const change = { operation: 'update', entity_type: 'note', entity_id: id };
  await ada.push([{ ...change, queue_id: 'a', data: { title: 'newer' }, local_version: 1 }]);
  await ben.push([
    { ...change, queue_id: 'b', data: { title: 'older' }, base: { title: 'counted' }, local_version: 1, timestamp: '2020-01-01T00:00:00Z' },
    { ...change, queue_id: 'c', entity_id: 'nonsense', data: { title: 'x' } },
  ]);
  await assert.rejects(ben.push('no changes'));
  const seen = await metrics();
  assert.equal(seen.get('sync_connections'), 2);
  assert.equal(seen.get('sync_connections_opened_total{transport="websocket"}'), 2);
  assert.equal(seen.get('sync_sessions{state="live"}'), 2);
  assert.equal(seen.get('sync_channels{kind="sync"}'), 2);
  assert.ok(seen.get('sync_changes_sent_total') >= 2 && seen.get('sync_changes_decoded_total') >= 1);
  assert.ok(seen.get('sync_changes_sent_total') >= seen.get('sync_batches_sent_total'));
  assert.equal(seen.get('sync_push_verdicts_total{status="success"}'), 1);
  assert.equal(seen.get('sync_push_verdicts_total{status="conflict"}'), 1);
  assert.equal(seen.get('sync_push_conflicts_total{kind="edit"}'), 1);
  assert.equal(seen.get('sync_push_rejects_total{reason="invalid_value"}'), 1);
  assert.equal(seen.get('sync_errors_total{code="bad_request"}'), 1);
  assert.equal(seen.get('sync_request_seconds_count{kind="push"}'), 3);
  assert.equal(seen.get('sync_stream_ready'), 1);
  for (const name of ['sync_bytes_sent_total', 'sync_wal_bytes_total', 'sync_ring_bytes', 'process_resident_memory_bytes', 'process_open_fds']) assert.ok(seen.get(name) > 0, name);
  await ada.disconnect();
  await until('the end is counted', async () => (await metrics()).get('sync_connections_closed_total{reason="client"}') === 1);
  await ben.disconnect();
});

test('the time from commit to socket is measured for live changes', async () => {
  const ada = await world.join('ada');
  const before = (await metrics()).get('sync_commit_to_send_seconds_count');
  const started = Date.now();
  const id = await world.addNote(1, 'timed');
  await ada.sees('the note', (copy) => copy.get('note', id));
  const took = (Date.now() - started) / 1000;
  const seen = await metrics();
  assert.equal(seen.get('sync_commit_to_send_seconds_count'), before + 1);
  assert.ok(seen.get('sync_commit_to_send_seconds_sum') > 0);
  assert.ok(seen.get('sync_commit_to_send_seconds_sum') <= took + 3600 * before, 'it cannot take longer than it took to arrive');
  await ada.disconnect();
});

test('slot lag, open conflicts and their age come from the database', async () => {
  await world.sql(
    `INSERT INTO sync.conflict (kind, table_id, entity_type, entity_id, operation, fields, local_version, pushed_by, rule, outcome, at)
     VALUES ('edit', 100, 'note', 'x', 'update', '{title}', 1, 'ada', 'manual', 'open', now() - interval '1 hour')`,
  );
  await world.streamer.stop();
  await world.streamer.restart();
  const seen = await until('the status was asked for', async () => {
    const now = await metrics();
    return now.has('sync_open_conflicts') && now.has('sync_slot_lag_bytes') && now;
  });
  assert.equal(seen.get('sync_open_conflicts'), 1);
  assert.ok(seen.get('sync_oldest_open_conflict_seconds') >= 3600);
});

test('a user sees the server and its own sessions, nobody else anything', async () => {
  const ada = await world.join('ada', { device_id: 'ada-phone' });
  const cleo = await world.join('cleo');
  await world.addNote(1, 'moves the cursor');
  const ask = (token) => request(`${world.streamer.url}/api/v1/sync/status`, { token });
  const { status, json } = await until('her session is live', async () => {
    const answer = await ask(world.streamer.token('ada'));
    return answer.json?.own?.sessions?.[0]?.state === 'live' && answer;
  });
  assert.equal(status, 200);
  assert.equal(json.user, 'ada');
  assert.equal(json.ready, true);
  assert.deepEqual(json.missing, []);
  assert.ok(Math.abs(Date.parse(json.server_time) - Date.now()) < 60_000);
  assert.equal(json.own.count, 1);
  const [session] = json.own.sessions;
  assert.equal(session.topic, 'sync:main');
  assert.equal(session.device_id, 'ada-phone');
  assert.ok(session.tables.includes('note'));
  assert.deepEqual(session.scopes.filter((s) => s.scope === 'team'), [{ scope: 'team', value: '1' }]);
  assert.ok(session.behind.bytes >= 0 && session.behind.transactions >= 0);
  assert.equal((await ask()).status, 401);
  assert.equal((await ask('nonsense')).status, 401);
  for (const client of [ada, cleo]) await client.disconnect();
});

test('clients may tell how they are, in numbers only', async () => {
  const send = (body) => world.post('stats', 'ada', body);
  assert.equal((await send({ queue_length: 3, offline_seconds: 60, storage_bytes: 5_000_000 })).status, 200);
  assert.equal((await send({ queue_length: 'many' })).status, 400);
  assert.equal((await request(`${world.streamer.url}/api/v1/sync/stats`, { body: { queue_length: 3 } })).status, 401);
  const ada = await world.join('ada');
  await ada.ask('stats', { queue_length: 5 });
  await assert.rejects(ada.ask('stats', { queue_length: -1 }), { code: 'bad_request' });
  const seen = await metrics();
  assert.equal(seen.get('sync_client_queue_length_count'), 2);
  assert.equal(seen.get('sync_client_queue_length_sum'), 8);
  assert.equal(seen.get('sync_client_offline_seconds_sum'), 60);
  assert.equal(seen.get('sync_client_storage_bytes_count'), 1);
  await ada.disconnect();
});

test('metrics and the live page are for this machine, or for who has the token', async () => {
  const get = (streamer, url, options) => request(`${streamer.url}${url}`, options);
  const passedOn = { headers: { 'x-forwarded-for': '192.0.2.1' } };
  const data = ['/metrics', '/live/samples', '/live/sessions?user=ada'];
  for (const url of ['/', ...data]) {
    assert.equal((await get(world.streamer, url)).status, 200, url);
    for (const headers of [passedOn.headers, { forwarded: 'for=192.0.2.1' }, { 'x-real-ip': '192.0.2.1' }, { via: '1.1 proxy' }]) {
      assert.equal((await get(world.streamer, url, { headers })).status, 403, `${url} ${JSON.stringify(headers)}`);
    }
  }
  const file = path.join(world.streamer.directory, 'metrics-token');
  writeFileSync(file, 'a-token-of-some-length\n', { mode: 0o600 });
  const guarded = await Streamer.start(world.database, { 'metrics-token-file': file });
  try {
    for (const url of data) {
      assert.equal((await get(guarded, url)).status, 401, url);
      assert.equal((await get(guarded, url, { token: 'a-token-of-some-lengtH' })).status, 401, url);
      assert.equal((await get(guarded, url, { token: 'a-token-of-some-length', ...passedOn, headers: passedOn.headers })).status, 200, url);
    }
    assert.equal((await get(guarded, '/', passedOn)).status, 200);
  } finally {
    await guarded.stop();
  }
  const silent = await Streamer.start(world.database, { 'live-page': 'off' });
  try {
    assert.equal((await get(silent, '/')).status, 404);
    assert.equal((await get(silent, '/live/samples')).status, 404);
    assert.equal((await get(silent, '/metrics')).status, 200);
  } finally {
    await silent.stop();
  }
});

test('every metric that an alert rule names is there', async () => {
  const rules = readFileSync(path.join(ROOT, 'streamer/alerts.yml'), 'utf8');
  const { text } = await request(`${world.streamer.url}/metrics`);
  const known = new Set([...text.matchAll(/^# TYPE (\S+) (\S+)/gm)].flatMap(([, name, type]) => (type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name])));
  const named = new Set(rules.match(/\b(sync|process)_[a-z_]+\b/g));
  const expressions = [...rules.matchAll(/^ +expr: (.+)$/gm)];
  assert.ok(expressions.length >= 10);
  for (const name of named) assert.ok(known.has(name), `${name} is in no /metrics`);
});
