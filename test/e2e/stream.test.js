// stream.test.js - server-sent events: the batches of a channel over plain HTTP, read by the npm `eventsource` client, resumed by Last-Event-ID.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { EventSource } from 'eventsource';
import { World } from '../lib/world.js';
import { Copy } from '../lib/client.js';
import { assertEqualCopy } from '../lib/expected.js';
import { request } from '../lib/http.js';
import { until } from '../lib/wait.js';

let world;
before(async () => {
  world = await World.start({ options: { 'ping-interval': 1, 'max-clients-per-address': 5, 'allow-origin': 'http://app.example' } });
  await world.sql("INSERT INTO note (team_id, title) SELECT 1, 'note ' || i FROM generate_series(1, 2500) i");
});
// one that is left open would keep this process waiting for it
const readers = [];
after(() => {
  for (const reader of readers) reader.close();
  return world?.stop();
});

/** A client that keeps a copy, as EventSource does it: with the token of its last event when it connects again. */
class Reader {
  copy = new Copy();
  events = [];
  statuses = [];
  tokens = [];

  constructor(sub, { token = () => world.streamer.token(sub), query = `device_id=${sub}-sse` } = {}) {
    const reader = this;
    readers.push(this);
    this.source = new EventSource(`${world.streamer.url}/api/v1/sync/stream?${query}`, {
      fetch: async (url, init) => {
        const response = await fetch(url, { ...init, headers: { ...init.headers, authorization: `Bearer ${token()}` } });
        reader.statuses.push(response.status);
        reader.tokens.push(init.headers['Last-Event-ID']);
        return response;
      },
    });
    for (const name of ['ready', 'changes', 'resync', 'phx_error']) {
      this.source.addEventListener(name, (event) => {
        this.events.push({ name, data: JSON.parse(event.data), id: event.lastEventId });
        if (name === 'changes') this.copy.apply(JSON.parse(event.data));
      });
    }
  }

  sees(what, condition) {
    return until(`the reader sees ${what}`, () => condition(this.copy));
  }

  caughtUp() {
    return until('the round ends', () => this.events.findLast(({ name }) => name === 'changes')?.data.has_more === false);
  }

  close() {
    this.source.close();
  }
}

test('everything first, then what happens, then nothing that was not for this user', async () => {
  const reader = new Reader('ada');
  await reader.caughtUp();
  assert.equal(reader.events[0].name, 'ready');
  assert.ok(reader.events.filter(({ name }) => name === 'changes').length > 1, 'pages');
  await assertEqualCopy(world.database, reader.copy, ['note']);
  const hidden = await world.addNote(2, 'for cleo');
  const id = await world.addNote(1, 'live');
  await reader.sees('the note', (copy) => copy.get('note', id));
  assert.ok(!reader.copy.get('note', hidden));
  await world.sql('DELETE FROM note WHERE id = $1', [hidden]);
  await world.sql('DELETE FROM note WHERE id = $1', [id]);
  await reader.sees('its end', (copy) => !copy.get('note', id));
  reader.close();
});

test('values with line breaks of all kinds arrive as they are', async () => {
  const reader = new Reader('ada');
  await reader.caughtUp();
  const id = await world.addNote(1, 'lines', 'one\ntwo\r\nthree\rfour\u2028five\n\nevent: fake\n');
  await reader.sees('the note', (copy) => copy.get('note', id));
  assert.equal(reader.copy.get('note', id).body, 'one\ntwo\r\nthree\rfour\u2028five\n\nevent: fake\n');
  reader.close();
});

test('a streamer that is killed: the client goes on from its last event, with nothing missed and no full refresh', async () => {
  const reader = new Reader('ben');
  await reader.caughtUp();
  await world.streamer.kill();
  const id = await world.addNote(1, 'while it was dead');
  const before = reader.events.length;
  await world.streamer.restart();
  await reader.sees('the note', (copy) => copy.get('note', id));
  await assertEqualCopy(world.database, reader.copy, ['note']);
  assert.ok(reader.tokens.at(-1), 'Last-Event-ID was sent');
  const received = reader.events.slice(before).filter(({ name }) => name === 'changes').flatMap(({ data }) => data.changes);
  assert.ok(received.length < 10, `${received.length} changes after the break`);
  reader.close();
});

test('an event id is a sync token: a pull goes on from it', async () => {
  const reader = new Reader('ada');
  await reader.caughtUp();
  const { id: sync_token } = reader.events.findLast(({ name }) => name === 'changes');
  const pulled = await world.post('pull', 'ada', { device_id: 'ada-sse', sync_token });
  assert.deepEqual([pulled.status, pulled.json.changes], [200, []], pulled.text);
  reader.close();
});

/** The text of a stream asked for by POST; `until` says when it is enough. */
async function post(body, { token = world.streamer.token('ada'), headers = {}, enough, limit_ms = 30_000 }) {
  const controller = new AbortController();
  const response = await fetch(`${world.streamer.url}/api/v1/sync/stream`, { method: 'POST', headers: { authorization: `Bearer ${token}`, ...headers }, body: JSON.stringify(body), signal: controller.signal });
  if (response.status !== 200) return { response, json: await response.json() };
  let text = '';
  const timer = setTimeout(() => controller.abort(), limit_ms);
  try {
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      if (enough(text)) break;
    }
  } finally {
    clearTimeout(timer);
    controller.abort();
  }
  return { response, text };
}

test('by POST with a join as the body; silence is filled with comments', async () => {
  const { response, text } = await post({ device_id: 'd', tables: ['note'] }, { headers: { origin: 'http://app.example' }, enough: (t) => t.includes('\n:\n') && t.includes('"has_more":false') });
  assert.match(response.headers.get('content-type'), /^text\/event-stream/);
  assert.equal(response.headers.get('access-control-allow-origin'), 'http://app.example');
  assert.match(text, /^retry: \d+\n\n/);
  assert.match(text, /\nid: \S+\nevent: changes\ndata: \{/);
});

test('refusals are plain answers', async () => {
  const ask = (options) => request(`${world.streamer.url}/api/v1/sync/stream`, options);
  const token = world.streamer.token('ada');
  const answers = {
    'no token': [await ask({ body: {} }), 401],
    'a bad token': [await ask({ token: 'x.y.z', body: {} }), 401],
    'a role nobody granted': [await ask({ token: world.streamer.token('ada', { role: 'postgres' }), body: { device_id: 'd' } }), 403],
    'no object': [await ask({ token, body: '[]' }), 400],
    'a bad join': [await ask({ token, body: { device_id: 'd', tables: 7 } }), 400],
    'an unknown table': [await ask({ token, body: { device_id: 'd', tables: ['nothing'] } }), 400],
    'another method': [await ask({ token, method: 'PUT' }), 405],
    'a foreign origin': [await ask({ token, body: {}, headers: { origin: 'http://evil.example' } }), 403],
    'a token in the URL': [await request(`${world.streamer.url}/api/v1/sync/stream?device_id=d&access_token=${token}`), 401],
  };
  for (const [what, [answer, status]] of Object.entries(answers)) {
    assert.equal(answer.status, status, `${what}: ${answer.text}`);
    assert.ok(answer.json.error.code, what);
  }
});

test('a stopping streamer ends its streams', async () => {
  const reader = new Reader('ada');
  await reader.caughtUp();
  const { code } = await world.streamer.stop();
  assert.equal(code, 0);
  await world.streamer.restart();
  const id = await world.addNote(1, 'after the stop');
  await reader.sees('the note', (copy) => copy.get('note', id));
  reader.close();
});

test('streams count as clients of their address', async () => {
  const five = await Promise.all(Array.from({ length: 5 }, () => new Reader('ada', { query: 'device_id=d&tables=' })));
  await Promise.all(five.map((reader) => until('it is open', () => reader.statuses.length > 0)));
  const sixth = await request(`${world.streamer.url}/api/v1/sync/stream`, { token: world.streamer.token('ada'), body: { device_id: 'd' } });
  assert.deepEqual([sixth.status, sixth.json.error.code], [429, 'too_many_clients']);
  for (const reader of five) reader.close();
  await until('there is room again', async () => (await post({ device_id: 'd', tables: [] }, { enough: () => true })).response.status === 200, { every_ms: 100 });
});
