// crowd.test.js - a crowd cut off at once comes back with its tokens: everybody gets what they missed, and nothing that they have.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';

const CLIENTS = 60;
const NOTES = 200;

let world;
let crowd;
before(async () => {
  world = await World.start();
  await world.sql("INSERT INTO note (team_id, title) SELECT 1, 'note ' || i FROM generate_series(1, $1) i", [NOTES]);
  crowd = await Promise.all(Array.from({ length: CLIENTS }, () => world.join('ada')));
});
after(() => world.stop());

async function allComeBack(title) {
  for (const client of crowd) client.frames.length = 0;
  await world.addNote(1, title);
  await Promise.all(crowd.map((client) => client.connect()));
  for (const client of crowd) {
    await client.sees(title, (copy) => copy.rows('note').some((note) => note.title === title));
    assert.ok(!client.frames.some((frame) => frame.includes('"note 7"')), 'nothing is sent again');
  }
}

test('their connections are cut', async () => {
  for (const client of crowd) client.socket.conn.terminate();
  await Promise.all(crowd.map((client) => client.disconnect()));
  await allComeBack('written while they were away');
});

test('the streamer is killed and starts again', async () => {
  await world.streamer.kill();
  await Promise.all(crowd.map((client) => client.disconnect()));
  await world.streamer.restart();
  await allComeBack('written while there was no streamer');
});
