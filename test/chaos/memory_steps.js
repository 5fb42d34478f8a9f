// memory_steps.js - what a streamer does in its life, one short step each, so that every place that allocates is met: for plays/memory_failures.js.
// SPDX-License-Identifier: PostgreSQL
import { randomUUID } from 'node:crypto';
import { readFileSync, renameSync, utimesSync, writeFileSync } from 'node:fs';
import { connect as tlsConnect } from 'node:tls';
import WebSocket from 'ws';
import { RawSocket, exchange } from '../lib/raw.js';
import { request } from '../lib/http.js';
import { jwkOf, mintSigned } from '../lib/token.js';
import { RARE } from './memory_rare.js';
import { change, joined, keys, lastToken, must, ours, post, wait } from './memory_tools.js';

async function live(s) {
  const raw = await ours(s);
  const title = `live ${randomUUID()}`;
  const id = await s.world.addNote(1, title, 'é"\\\n'.repeat(30));
  await raw.hearsText(title);
  await s.world.sql('UPDATE note SET done = true WHERE id = $1', [id]);
  await raw.hears('the update', (event, body) => event === 'changes' && JSON.stringify(body).includes(id) && JSON.stringify(body).includes('"done":true'));
  await s.world.sql('DELETE FROM note WHERE id = $1', [id]);
  await raw.hears('the deletion', (event, body) => event === 'changes' && body.changes?.some((c) => c.operation === 'delete' && c.entity_id === id));
  raw.close();
}

async function push(s) {
  const raw = await ours(s);
  const wanted = change({ title: 'pushed' });
  const reply = await raw.tell('push', { changes: [wanted], device_id: 'eve-device' });
  must('push', reply.status === 'ok' && reply.response.processed?.[0]?.status === 'success', reply);
  s.acknowledged.push(wanted.entity_id);
  raw.close();
}

async function askAll(s) {
  const raw = await ours(s);
  for (const [event, body] of [['pull', {}], ['digest', { table: 'note', entity_type: 'note' }], ['lock', { entity_type: 'note', entity_id: 'x' }], ['unlock', { entity_type: 'note', entity_id: 'x' }], ['access_token', { access_token: s.streamer.token('eve') }], ['nonsense', {}]]) {
    const reply = await raw.tell(event, body);
    // the last ones are refused as they should be; how is not of interest here, but for the sake of running out
    if (event === 'pull' || event === 'access_token') must(event, reply.status === 'ok', reply);
  }
  // without a role: the default one
  await RawSocket.open(s.streamer).then(async (other) => {
    await other.ask('sync:plain', 'phx_join', { access_token: s.streamer.token('eve', { role: undefined }), device_id: 'eve-plain' });
    other.close();
  });
  await raw.tell('push', { changes: [], device_id: 'eve-device', pull: true, sync_token: null });
  await raw.ask('phoenix', 'heartbeat', {});
  await raw.ask('sync:main', 'phx_leave', {}, '1');
  raw.close();
}

async function http(s) {
  const wanted = change({ title: 'by http' });
  const answer = await post(s, 'push', { device_id: 'eve-http', changes: [wanted] });
  must('push by HTTP', answer.json?.success === true, answer);
  s.acknowledged.push(wanted.entity_id);
  await post(s, 'pull', { device_id: 'eve-http' }, { headers: { 'accept-encoding': 'gzip' } });
  await post(s, 'status', undefined);
  await request(`${s.streamer.url}/api/v1/sync/digest`, { token: s.streamer.token('eve'), body: { device_id: 'eve-http', entity_type: 'note' } });
  await request(`${s.streamer.url}/api/v1/sync/pull`, { method: 'OPTIONS', headers: { origin: 'http://app.example', 'access-control-request-method': 'POST' } });
  await post(s, 'push', { device_id: 'eve-http', changes: Array.from({ length: 30 }, () => change({ title: 'x'.repeat(150), body: 'y'.repeat(3000) })) });
}

async function refusals(s) {
  await request(`${s.streamer.url}/api/v1/sync/pull`, { body: { device_id: 'd' } });
  await request(`${s.streamer.url}/api/v1/sync/pull`, { token: 'a.b.c', body: { device_id: 'd' } });
  await request(`${s.streamer.url}/api/v1/sync/pull`, { token: s.streamer.token('eve'), body: '{' });
  await request(`${s.streamer.url}/nowhere`);
  await exchange(s.streamer.port, 'GET /socket/websocket HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n', { limit_ms: 1000 }).catch(() => {});
  const raw = await RawSocket.open(s.streamer);
  raw.send('no JSON');
  raw.send('[1,2]');
  await wait(s, 'it is closed or goes on', () => raw.ws.readyState !== WebSocket.OPEN || raw.frames.length > 0, 1000).catch(() => {});
  raw.close();
}

async function pages(s) {
  for (const [place, token] of [['healthz'], ['readyz'], ['metrics', 'm'.repeat(40)], [''], ['live.js'], ['demo/'], ['demo/index.html']]) {
    const answer = await request(`${s.streamer.url}/${place}`, { token, headers: { 'accept-encoding': 'gzip' } });
    must(place, answer.status !== 500, { status: answer.status, body: answer.text.slice(0, 200) });
  }
}

async function events(s) {
  const stop = new AbortController();
  const answer = await fetch(`${s.streamer.url}/api/v1/sync/stream?device_id=eve-sse`, { headers: { authorization: `Bearer ${s.streamer.token('eve')}` }, signal: stop.signal });
  must('stream', answer.status === 200, { status: answer.status });
  const title = `event ${randomUUID()}`;
  let text = '';
  const reading = (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of answer.body) text += decoder.decode(chunk, { stream: true });
  })().catch(() => {});
  await wait(s, 'the round', () => text.includes('"has_more":false'));
  await s.world.addNote(1, title);
  await wait(s, 'the event', () => text.includes(title));
  stop.abort();
  await reading;
}

/** Streams that are refused, resumed, asked for by POST. */
async function otherStreams(s) {
  const at = `${s.streamer.url}/api/v1/sync/stream`;
  const authorization = `Bearer ${s.streamer.token('eve')}`;
  await request(`${at}?device_id=`, { token: s.streamer.token('eve') });
  await request(`${at}?device_id=x`, { token: 'a.b.c' });
  for (const init of [{ headers: { authorization, 'last-event-id': 'no-token' } }, { method: 'POST', headers: { authorization, 'content-type': 'application/json' }, body: '{"device_id":"eve-post","tables":["note"],"priority":1}' }]) {
    const stop = new AbortController();
    const answer = await fetch(init.method ? at : `${at}?device_id=eve-resumed&tables=note,paper`, { ...init, signal: stop.signal });
    const reading = answer.body?.getReader();
    await reading?.read();
    stop.abort();
  }
}

async function realtimeChanges(s) {
  const filters = ['title=like.rt%', 'title=match.^rt', 'team_id=in.(1,2,3)', 'done=is.false,team_id=eq.1', 'title=imatch.RT|x', 'team_id=gte.1,body=neq."a,b"', 'id=not.is.null'];
  const raw = await joined(s, 'realtime:changes', { config: { postgres_changes: [{ event: '*', schema: 'public', table: 'note' }, { event: 'INSERT', schema: 'public' }, ...filters.map((filter) => ({ event: '*', schema: 'public', table: 'note', filter }))] } });
  await raw.hears('the bindings', (event, body) => event === 'system' && body.status === 'ok');
  const title = `rt ${randomUUID()} ü"`;
  await s.world.addNote(1, title);
  await raw.hears('the insert', (event, body) => event === 'postgres_changes' && body.data.record?.title === title);
  raw.close();
  const refused = await RawSocket.open(s.streamer);
  await refused.ask('realtime:bad', 'phx_join', { access_token: s.streamer.token('eve'), config: { postgres_changes: [{ event: '*', schema: 'public', table: 'note', filter: 'title=match.(' }] } });
  refused.close();
}

async function room(s) {
  const config = { private: true, broadcast: { ack: true, self: true }, presence: { key: 'eve', enabled: true } };
  const raw = await joined(s, 'realtime:team:1', { config });
  await raw.tell('broadcast', { type: 'broadcast', event: 'hello', payload: { of: 'eve "é"' } });
  await raw.hearsText('hello');
  await raw.tell('presence', { type: 'presence', event: 'track', payload: { at: 'home' } });
  await raw.hears('its own presence', (event, body) => event === 'presence_diff' && JSON.stringify(body).includes('home'));
  const elsewhere = `from SQL ${randomUUID()}`;
  await s.world.sql("SELECT sync.broadcast('team:1', 'sql', jsonb_build_object('t', $1::text))", [elsewhere]);
  await raw.hearsText(elsewhere);
  const answer = await request(`${s.streamer.url}/realtime/v1/api/broadcast`, { token: s.streamer.token('eve'), body: { messages: [{ topic: 'team:1', event: 'posted', payload: { n: 1 }, private: true }] } });
  must('broadcast by HTTP', answer.status === 202, { status: answer.status, body: answer.text });
  await raw.hearsText('posted');
  raw.close();
}

async function policies(s) {
  const raw = await ours(s);
  const id = Math.floor(Math.random() * 2e9);
  await s.world.sql("INSERT INTO paper VALUES ($1, 'eve', 'judged')", [id]);
  await raw.hears('her paper', (event, body) => event === 'changes' && body.changes?.some((c) => c.entity_type === 'paper' && c.entity_id === String(id)));
  await s.world.sql("UPDATE paper SET owner = 'ada' WHERE id = $1", [id]);
  await raw.hears('it leave', (event, body) => event === 'changes' && body.changes?.some((c) => c.entity_id === String(id) && c.operation === 'delete'));
  raw.close();
}

async function columns(s) {
  const raw = await joined(s, 'realtime:old', { config: { postgres_changes: [{ event: '*', schema: 'public', table: 'secretive' }] } });
  await raw.hears('the binding', (event, body) => event === 'system' && body.status === 'ok');
  const main = await ours(s);
  const id = Math.floor(Math.random() * 2e9);
  await s.world.sql("INSERT INTO secretive VALUES ($1, 'seen', 'hidden', 'eve')", [id]);
  await s.world.sql("UPDATE secretive SET title = 'seen again', hidden = 'still' WHERE id = $1", [id]);
  await raw.hears('the update', (event, body) => event === 'postgres_changes' && body.data.record?.title === 'seen again');
  await main.hears('the update', (event, body) => event === 'changes' && JSON.stringify(body).includes('seen again'));
  await s.world.sql('DELETE FROM secretive WHERE id = $1', [id]);
  await main.hears('the deletion', (event, body) => event === 'changes' && body.changes?.some((c) => c.entity_id === String(id) && c.operation === 'delete'));
  raw.close();
  main.close();
}

/** Away and back: from the token, by the streamer's memory; with a transaction open meanwhile. */
async function back(s) {
  const other = await s.world.database.connect();
  try {
    await other.query("BEGIN; INSERT INTO note (team_id, title) VALUES (1, 'still open')");
    const raw = await ours(s);
    const sync_token = lastToken(raw);
    raw.close();
    const title = `while away ${randomUUID()}`;
    await s.world.addNote(1, title);
    // a pull, and the stream's own cursor, in a snapshot in which the other one runs
    const late = await ours(s, { device_id: 'eve-other' });
    await wait(s, 'a cursor of the stream beside it', async () => {
      await s.world.addNote(1, 'a moment later');
      return late.frames.some(([, , , event, body]) => event === 'changes' && body.changes[0]?.data?.title === 'a moment later' && /\d:\d+:\d/.test(Buffer.from(body.cursor ?? '', 'base64url')));
    });
    late.close();
    const again = await joined(s, 'sync:main', { device_id: 'eve-device', sync_token });
    await again.hearsText(title);
    await other.query('COMMIT');
    await again.hearsText('still open');
    again.close();
  } finally {
    await other.end(); // a new slot would wait for it
  }
}

/** What comes from, and goes to, the clients of another streamer. */
async function relayed(s) {
  const config = { private: true, broadcast: { ack: true }, presence: { key: 'eve', enabled: true } };
  const here = await joined(s, 'realtime:team:1', { config });
  const there = await joined({ ...s, streamer: s.other }, 'realtime:team:1', { config: { ...config, presence: { key: 'ben', enabled: true } } }, 'ben');
  const word = randomUUID();
  await there.tell('presence', { type: 'presence', event: 'track', payload: { at: word } });
  await there.tell('broadcast', { type: 'broadcast', event: 'far', payload: { word } });
  await here.hears('from there', (event, body) => event === 'broadcast' && body.payload?.word === word);
  await here.tell('broadcast', { type: 'broadcast', event: 'near', payload: { word } });
  await there.hears('from here', (event, body) => event === 'broadcast' && body.event === 'near');
  here.close();
  there.close();
  const answer = await request(`${s.streamer.url}/realtime/v1/api/broadcast/team:1/events/${word}`, { token: s.streamer.token('eve'), body: { n: 1 } });
  must('broadcast by address', answer.status < 500, { status: answer.status, body: answer.text });
}

async function membership(s) {
  await s.world.sql("DELETE FROM member WHERE user_id = 'eve' AND team_id = 2");
  const title = `of team 2 ${randomUUID()}`;
  await s.world.addNote(2, title);
  const raw = await ours(s);
  await s.world.sql("INSERT INTO member VALUES ('eve', 2)");
  await raw.hearsText(title);
  await s.world.sql("DELETE FROM member WHERE user_id = 'eve' AND team_id = 2");
  await raw.hears('a new session', (event) => event === 'ready' || event === 'resync');
  raw.close();
}

async function gap(s) {
  const raw = await ours(s);
  const title = `in the gap ${randomUUID()}`;
  await s.world.sql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active AND plugin = $1", [s.plugin]);
  await s.world.addNote(1, title);
  await raw.hears('what came in the gap', (event, body) => event === 'resync' || JSON.stringify(body).includes(title));
  raw.close();
}

async function lostQueries(s) {
  const raw = await ours(s);
  await s.world.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN ('sync_query', 'sync_upkeep')");
  const title = `after the loss ${randomUUID()}`;
  await s.world.addNote(1, title);
  await raw.hearsText(title);
  raw.close();
  // the stream does not wait for the connections of requests, but the next step does
  await wait(s, 'requests are answered again', async () => {
    const { status, text } = await request(`${s.streamer.url}/api/v1/sync/status`, { token: s.streamer.token('eve') });
    must('status', status === 200 || status === 503, { status, text });
    return status === 200;
  });
}

async function ddl(s) {
  const raw = await ours(s);
  await s.world.sql('ALTER TABLE part ADD COLUMN IF NOT EXISTS extra text');
  await s.world.sql('ALTER TABLE part DROP COLUMN extra');
  const id = Math.floor(Math.random() * 9e8);
  await s.world.sql("INSERT INTO part VALUES ($1, 'parted')", [id]);
  await raw.hears('the row of a partition', (event, body) => event === 'changes' && JSON.stringify(body).includes(String(id)));
  await s.world.sql('TRUNCATE part');
  const title = `after TRUNCATE ${randomUUID()}`;
  await s.world.addNote(1, title);
  await raw.hears('what came after', (event, body) => event === 'phx_error' || event === 'phx_close' || event === 'resync' || JSON.stringify(body).includes(title));
  raw.close();
}

async function many(s) {
  const raw = await ours(s);
  const mark = `last of many ${randomUUID()}`;
  await s.world.sql("WITH gone AS (DELETE FROM note WHERE title LIKE 'one of many%') INSERT INTO note (team_id, title, body) SELECT 1, 'one of many ' || i, repeat('z', 100) FROM generate_series(1, 1500) i");
  await s.world.addNote(1, mark);
  await raw.hears('the last', (event, body) => event === 'resync' || JSON.stringify(body).includes(mark));
  raw.close();
}

async function keysAnew(s) {
  const file = s.files.jwks;
  writeFileSync(`${file}.new`, JSON.stringify({ keys: keys.map(jwkOf), at: randomUUID() }));
  renameSync(`${file}.new`, file);
  const before = s.streamer.log.split('jwks_read').length;
  await wait(s, 'the keys are read again', () => s.streamer.log.split('jwks_read').length > before || s.streamer.log.includes('jwks_unusable'), 5000).catch(() => {});
  for (const key of keys) {
    const answer = await request(`${s.streamer.url}/api/v1/sync/pull`, { token: mintSigned(key, { sub: 'eve', role: 'app', aud: 'sync' }), body: { device_id: 'eve-jwks' } });
    must(`a token of ${key.alg}`, answer.status === 200, { status: answer.status, body: answer.text.slice(0, 300) });
  }
}

const inTls = (s, bytes, enough) => new Promise((resolve, reject) => {
  let text = '';
  const socket = tlsConnect({ host: '127.0.0.1', port: s.streamer.port, ca: readFileSync(s.files.cert), checkServerIdentity: () => undefined }, () => socket.write(bytes));
  socket.setTimeout(60_000, () => socket.destroy());
  socket.on('data', (data) => {
    text += data.toString('latin1');
    if (enough(text)) socket.destroy();
  });
  socket.on('close', () => resolve(text));
  socket.on('error', reject);
});

async function tls(s) {
  const text = await inTls(s, 'GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', (t) => t.includes('ok'));
  must('HTTPS', /^HTTP\/1.1 200/.test(text), text);
  const ws = new WebSocket(`wss://127.0.0.1:${s.streamer.port}/socket/websocket?vsn=2.0.0`, { rejectUnauthorized: false });
  const frames = [];
  ws.on('message', (data) => frames.push(data.toString()));
  ws.on('error', () => {});
  ws.on('open', () => ws.send(JSON.stringify(['1', '1', 'sync:tls', 'phx_join', { access_token: s.streamer.token('eve'), device_id: 'eve-tls' }])));
  const title = `by TLS ${randomUUID()}`;
  await wait(s, 'the round', () => frames.some((frame) => frame.includes('"has_more":false')) || ws.readyState === WebSocket.CLOSED);
  await s.world.addNote(1, title);
  await wait(s, 'the note', () => frames.some((frame) => frame.includes(title)) || ws.readyState === WebSocket.CLOSED);
  must('the socket is open', ws.readyState === WebSocket.OPEN, frames.slice(-2));
  ws.terminate();
}

async function certificate(s) {
  const before = s.streamer.log.split('certificate').length;
  const now = new Date();
  writeFileSync(s.files.cert, readFileSync(s.files.cert));
  utimesSync(s.files.cert, now, now);
  await wait(s, 'the certificate is read again', () => s.streamer.log.split('certificate').length > before, 4000).catch(() => {});
  await tls(s);
}

/** In this order; the first is the start itself. The others need a streamer that is ready. */
export const STEPS = [
  { name: 'start' }, { name: 'live', run: live }, { name: 'push', run: push }, { name: 'ask', run: askAll }, { name: 'http', run: http }, { name: 'refusals', run: refusals },
  { name: 'pages', run: pages }, { name: 'events', run: events }, { name: 'streams', run: otherStreams }, { name: 'realtime', run: realtimeChanges }, { name: 'room', run: room }, { name: 'policies', run: policies }, { name: 'columns', run: columns }, { name: 'back', run: back }, { name: 'relay', run: relayed },
  { name: 'membership', run: membership }, { name: 'gap', run: gap }, { name: 'queries', run: lostQueries }, { name: 'ddl', run: ddl }, { name: 'many', run: many },
  ...RARE,
  { name: 'keys', run: keysAnew }, { name: 'tls', run: tls, tls: true }, { name: 'certificate', run: certificate, tls: true }, { name: 'stop' },
];
