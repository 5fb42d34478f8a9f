// sessions_end.test.js - a token that runs out, one that is renewed in time, a device that is revoked: on channels and on streams of events.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';
import { request } from '../lib/http.js';
import { until, within } from '../lib/wait.js';

const GRACE = 30;
let world;
before(async () => {
  world = await World.start();
});
after(() => world?.stop());

const secondsFromNow = (seconds) => Math.floor(Date.now() / 1000) + seconds;
const ends = (client) => client.events.filter(({ name }) => name === 'phx_error');

/** The events of a stream until it ends, as text. */
async function stream(sub, body, claims) {
  const response = await fetch(`${world.streamer.url}/api/v1/sync/stream`, { method: 'POST', headers: { authorization: `Bearer ${world.streamer.token(sub, claims)}` }, body: JSON.stringify(body) });
  assert.equal(response.status, 200);
  const reader = { text: '' };
  reader.over = (async () => {
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) reader.text += chunk;
  })();
  return reader;
}

test('a token that ran out: first a grace, then phx_error token_expired; the connection lives, a fresh token joins again', async () => {
  // what lasts for the grace and a little is begun together
  const soon = { exp: secondsFromNow(3) };
  const ada = await world.join('ada', { claims: soon });
  const ben = await world.join('ben', { claims: soon });
  const events = await stream('ada', { device_id: 'by sse' }, soon);
  const frames = [];
  ben.renew(world.streamer.token('ben')).then(() => frames.push('renewed'));
  ada.token = () => world.streamer.token('ada');

  await until('it has run out', () => Date.now() / 1000 > soon.exp + 1, { every_ms: 100 });
  const id = await world.addNote(1, 'within the grace');
  await ada.sees('a change within the grace', (copy) => copy.get('note', id));
  assert.deepEqual(ends(ada), []);

  await until('the channel ends', () => ends(ada).length > 0, { limit_ms: (GRACE + 15) * 1000, every_ms: 100 });
  assert.equal(ends(ada)[0].payload.reason, 'token_expired');
  assert.ok(Date.now() / 1000 >= soon.exp + GRACE, 'not before the grace is over');
  await within(10_000, 'the stream of events ends', events.over);
  assert.match(events.text, /event: phx_error\ndata: \{"reason":"token_expired"\}\n\n$/);

  assert.ok(ada.socket.isConnected(), 'the connection is the same');
  const later = await world.addNote(1, 'with the new token');
  await ada.sees('a change after it joined again', (copy) => copy.get('note', later));
  await ben.sees('the same, on the channel that was renewed', (copy) => copy.get('note', later));
  assert.deepEqual([frames, ends(ben)], [['renewed'], []]);
  await ada.disconnect();
  await ben.disconnect();
});

test('a revoked device loses its channels and its stream, others of the same user do not; it cannot come back', async () => {
  const phone = await world.join('ada', { device_id: 'ada "phone"' });
  const tablet = await world.join('ada', { device_id: 'ada tablet' });
  const namesake = await world.join('cleo', { device_id: 'ada "phone"' });
  for (const client of [phone, tablet, namesake]) await client.push([]);
  const events = await stream('ada', { device_id: 'ada "phone"' });
  await until('the stream has begun', () => events.text.includes('event: changes'));

  phone.socket.reconnectTimer.reset();
  await world.sql(`SELECT sync.revoke_device('ada "phone"', 'ada')`);
  await until('its channel ends', () => ends(phone).length > 0);
  assert.equal(ends(phone)[0].payload.reason, 'device_revoked');
  await within(10_000, 'its stream ends', events.over);
  assert.match(events.text, /"reason":"device_revoked"/);

  const secret = await world.addNote(1, 'after the revocation');
  await tablet.sees('the note', (copy) => copy.get('note', secret));
  assert.deepEqual([ends(tablet), ends(namesake)], [[], []]);
  assert.ok(!phone.copy.get('note', secret));
  await phone.disconnect();
  await assert.rejects(phone.connect(), { code: 'forbidden' });
  const again = await request(`${world.streamer.url}/api/v1/sync/stream`, { token: world.streamer.token('ada'), body: { device_id: 'ada "phone"' } });
  assert.equal(again.status, 403, again.text);
  for (const client of [phone, tablet, namesake]) await client.disconnect();
});
