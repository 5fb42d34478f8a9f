// compress.test.js - batches compressed for channels that ask for it, through the unmodified phoenix client; answers over HTTP where the option says so.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { inflateRawSync } from 'node:zlib';
import { World } from '../lib/world.js';
import { assertEqualCopy } from '../lib/expected.js';
import { until } from '../lib/wait.js';

let world;
before(async () => {
  world = await World.start({ options: { compress: true } });
  await world.sql("INSERT INTO note (team_id, title, body) SELECT 1, 'note ' || i, 'the body of note ' || i FROM generate_series(1, 1500) i");
});
after(() => world?.stop());

/** Takes compressed batches as well; `sizes` are those of frames and of what they held. */
async function joinCompressed(sub, label) {
  const client = world.client(sub, { label, join: { compress: 'deflate' } });
  client.sizes = [];
  const connected = client.connect();
  client.channel.on('changes_deflate', (bytes) => {
    assert.ok(bytes instanceof ArrayBuffer);
    const text = inflateRawSync(Buffer.from(bytes)).toString();
    client.sizes.push([bytes.byteLength, text.length]);
    client.take(JSON.parse(text));
    client.events.push({ name: 'changes_deflate', payload: JSON.parse(text) });
  });
  await connected;
  await client.caughtUp();
  return client;
}

test('pages and live batches arrive compressed, small ones as they are; the copy is whole', async () => {
  const ada = await joinCompressed('ada', 'zipped');
  assert.ok(ada.sizes.length >= 2, 'pages');
  await assertEqualCopy(world.database, ada.copy, ['note']);

  const id = await world.addNote(1, 'small');
  await ada.sees('the note', (copy) => copy.get('note', id));
  assert.ok(ada.events.some(({ name, payload }) => name === 'changes' && payload.changes.some((change) => change.entity_id === id)));

  ada.sizes.length = 0;
  await world.sql("UPDATE note SET done = true, title = title || ' (done)' WHERE id IN (SELECT id FROM note ORDER BY id LIMIT 100)");
  await ada.sees('the updates', (copy) => copy.rows('note').filter(({ done }) => done).length === 100);
  const [[zipped, plain]] = ada.sizes;
  console.log(`100 updates of notes: ${plain} bytes, compressed ${zipped} (${((100 * zipped) / plain).toFixed(1)} %)`);
  assert.ok(zipped < plain / 3, `${zipped} of ${plain}`);
  await assertEqualCopy(world.database, ada.copy, ['note']);

  const token = ada.sync_token;
  await ada.disconnect();
  await world.addNote(1, 'while away');
  const again = await world.join('ada', { device_id: ada.device_id, join: { sync_token: token } });
  assert.ok(again.copy.table('note').size < 500, 'goes on from a compressed batch');
  await again.disconnect();
});

test('who asks for it and who does not share a turn: each gets its own form', async () => {
  const [zipped, plain] = [await joinCompressed('ada', 'same'), await world.join('ben', { label: 'same' })];
  zipped.sizes.length = 0;
  await world.sql("UPDATE note SET body = body || '!' WHERE id IN (SELECT id FROM note ORDER BY id LIMIT 50)");
  for (const client of [zipped, plain]) await client.sees('the updates', (copy) => copy.rows('note').filter(({ body }) => body.endsWith('!')).length === 50);
  assert.equal(zipped.sizes.length, 1);
  for (const client of [zipped, plain]) await client.disconnect();
});

test('what is asked for and not known is no compression', async () => {
  const ben = await world.join('ben', { join: { compress: 'brotli' } });
  await assertEqualCopy(world.database, ben.copy, ['note']);
  await ben.disconnect();
});

test('HTTP: gzip for those who take it', async () => {
  const size = async (encoding) => {
    const response = await fetch(`${world.streamer.url}/api/v1/sync/pull`, { method: 'POST', headers: { authorization: `Bearer ${world.streamer.token('ada')}`, 'accept-encoding': encoding }, body: '{"device_id":"d"}' });
    const { changes } = await response.json();
    return { encoding: response.headers.get('content-encoding'), length: Number(response.headers.get('content-length')), changes: changes.length };
  };
  const [gzip, plain, refused] = [await size('br, gzip'), await size('identity'), await size('gzip;q=0')];
  assert.deepEqual([gzip.encoding, plain.encoding, refused.encoding], ['gzip', null, null]);
  assert.equal(gzip.changes, plain.changes);
  assert.ok(gzip.length < plain.length / 3, `${gzip.length} of ${plain.length}`);
});

test('HTTP: off unless the option says so', async () => {
  await world.streamer.stop();
  delete world.streamer.options.compress;
  await world.streamer.restart();
  const answer = await until('an answer', () => world.post('pull', 'ada', { device_id: 'd' }, { headers: { 'accept-encoding': 'gzip' } }));
  assert.equal(answer.headers.get('content-encoding'), null);
  assert.ok(answer.json.changes.length > 0);
});
