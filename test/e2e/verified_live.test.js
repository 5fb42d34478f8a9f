// verified_live.test.js - tables whose policies look at other tables: rows in sight come at once, what comes into sight or leaves it follows by a pull.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';

const SCHEMA = `
CREATE ROLE app NOLOGIN;
GRANT app TO sync_query;
CREATE TABLE friend (user_id text NOT NULL, of text NOT NULL, PRIMARY KEY (user_id, of));
CREATE TABLE post (id int PRIMARY KEY, author text NOT NULL, text text NOT NULL);
GRANT SELECT ON friend, post TO app;
ALTER TABLE post ENABLE ROW LEVEL SECURITY;
CREATE POLICY friends ON post TO app USING (author = sync.user_id() OR author IN (SELECT f.of FROM friend f WHERE f.user_id = sync.user_id()));
SELECT sync.enable('post', verify => true);
INSERT INTO friend VALUES ('ada', 'ben');
INSERT INTO post VALUES (1, 'ben', 'old post of ben'), (2, 'cleo', 'old post of cleo');
`;

let world;
before(async () => {
  world = await World.start({ schema: SCHEMA, options: { 'verify-interval': 5 } });
});
after(() => world?.stop());

test('posts of friends come live, others never; deletions and posts that leave her sight are gone soon', async () => {
  const ada = await world.join('ada');
  await world.sql("INSERT INTO post VALUES (3, 'ben', 'new'), (4, 'cleo', 'not for ada')");
  await ada.sees('the post of her friend', (copy) => copy.get('post', 3));
  await world.sql("UPDATE post SET author = 'cleo', text = 'taken over, not for ada' WHERE id = 3");
  await ada.sees('it leave', (copy) => !copy.get('post', 3));
  await world.sql('DELETE FROM post WHERE id = 1');
  await ada.sees('the deletion', (copy) => !copy.get('post', 1));
  for (const frame of ada.frames) assert.ok(!/cleo|not for ada/.test(frame), frame.slice(0, 300));
  await ada.disconnect();
});

test('a new friend brings old posts, a lost one takes them away, though nobody wrote a post', async () => {
  const ada = await world.join('ada');
  await world.sql("INSERT INTO friend VALUES ('ada', 'cleo')");
  await ada.sees('what cleo wrote', (copy) => copy.get('post', 2));
  await world.sql("DELETE FROM friend WHERE of = 'cleo'");
  await ada.sees('it gone', (copy) => !copy.get('post', 2));
  await ada.disconnect();
});
