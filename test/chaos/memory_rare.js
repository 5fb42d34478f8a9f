// memory_rare.js - the steps of plays/memory_failures.js for places that a usual life does not come by: gaps that hide deletions, a ring that is too small, a slot that cannot be made.
// SPDX-License-Identifier: PostgreSQL
import { randomUUID } from 'node:crypto';
import { request } from '../lib/http.js';
import { RawSocket } from '../lib/raw.js';
import { isRunning } from '../lib/process.js';
import { change, joined, lastToken, must, ours, post, wait } from './memory_tools.js';

const tells = (raw, what, id, operation) =>
  raw.hears(what, (event, body) => event === 'resync' || (event === 'changes' && body.changes?.some((c) => c.entity_id === String(id) && c.operation === operation)));

/** While nothing decodes: a slot is not made before the transaction that is open here has ended. */
async function inGap(s, work) {
  const other = await s.world.database.connect();
  try {
    await other.query("BEGIN; INSERT INTO note (team_id, title) VALUES (2, 'holds a new slot up')");
    await s.world.sql('SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active AND plugin = $1', [s.plugin]);
    await work();
    await other.query('COMMIT');
  } finally {
    await other.end();
  }
}

/** A value that is not in the WAL when another column changes. */
async function large(s) {
  const raw = await ours(s);
  const title = `large ${randomUUID()}`;
  const [{ id }] = await s.world.sql("INSERT INTO note (team_id, title, body) SELECT 1, $1, string_agg(md5(random()::text), '') FROM generate_series(1, 500) RETURNING id::text", [title]);
  await raw.hearsText(title);
  await s.world.sql('UPDATE note SET done = true WHERE id = $1', [id]);
  await raw.hears('the update', (event, body) => event === 'changes' && body.changes?.some((c) => c.entity_id === id && JSON.stringify(c).includes('"done":true')));
  await s.world.sql('DELETE FROM note WHERE id = $1', [id]);
  raw.close();
}

/** A push that brings its token is answered with what is new as well. */
async function pushAndPull(s) {
  const raw = await ours(s);
  const sync_token = lastToken(raw);
  const reply = await raw.tell('push', { changes: [change({ title: 'pushed and pulled' })], device_id: 'eve-device', sync_token });
  must('push with a token', reply.status === 'ok', reply);
  raw.close();
  await post(s, 'push', { device_id: 'eve-device', changes: [change({ title: 'by HTTP, pulled' })], sync_token });
}

/** As Supabase's clients name their token; another one for the same channel; one that is not for this streamer. */
async function tokens(s) {
  const plain = await RawSocket.open(s.streamer);
  const reply = await plain.ask('sync:named', 'phx_join', { user_token: s.streamer.token('eve'), device_id: 'eve-named' });
  must('a join by user_token', reply.status === 'ok', reply);
  plain.close();
  const raw = await joined(s, 'realtime:team:1', { config: { private: true, broadcast: { ack: true } } });
  raw.send(JSON.stringify(['1', 'x', 'realtime:team:1', 'access_token', { access_token: s.streamer.token('eve', { more: randomUUID() }) }]));
  const sent = await raw.tell('broadcast', { type: 'broadcast', event: 'after', payload: {} });
  must('a broadcast under the new token', sent.status === 'ok', sent);
  raw.close();
  const answer = await request(`${s.streamer.url}/api/v1/sync/pull`, { token: s.streamer.token('eve', { aud: ['elsewhere'] }), body: { device_id: 'eve' } });
  must('a token for others', answer.status === 401 || answer.status >= 500, { status: answer.status });
}

async function revoked(s) {
  const device_id = `revoked-${randomUUID()}`;
  const raw = await ours(s, { device_id });
  await post(s, 'push', { device_id, changes: [change({ title: 'registers the device' })] });
  await s.world.sql("SELECT sync.revoke_device($1, 'eve')", [device_id]);
  await raw.hears('the end of the channel', (event) => event === 'phx_error' || event === 'phx_close');
  raw.close();
  await s.world.sql("DELETE FROM sync.device WHERE device_id LIKE 'revoked-%'");
}

async function ping(s) {
  const raw = await ours(s);
  let isPinged = false;
  raw.ws.on('ping', () => (isPinged = true));
  await wait(s, 'a ping', () => isPinged);
  raw.close();
}

/** Back soon, with a token of the stream: no pull. */
async function resumed(s) {
  const raw = await ours(s);
  const title = `first ${randomUUID()}`;
  await s.world.addNote(1, title);
  await raw.hearsText(title);
  const sync_token = lastToken(raw);
  raw.close();
  const later = `later ${randomUUID()}`;
  await s.world.addNote(1, later);
  const again = await joined(s, 'sync:main', { device_id: 'eve-device', sync_token });
  await again.hearsText(later);
  again.close();
}

async function gapOfDeletions(s) {
  const id = Math.floor(Math.random() * 2e9);
  await s.world.sql("INSERT INTO paper VALUES ($1, 'eve', 'goes in the gap')", [id]);
  const raw = await ours(s);
  await inGap(s, () => s.world.sql('DELETE FROM paper WHERE id = $1', [id]));
  await tells(raw, 'the deletion', id, 'delete');
  raw.close();
}

/** Rows do not tell what TRUNCATE took. */
async function gapWithObstacle(s) {
  const raw = await ours(s);
  const title = `behind the obstacle ${randomUUID()}`;
  await inGap(s, async () => {
    await s.world.sql('TRUNCATE part');
    await s.world.addNote(1, title);
  });
  await raw.hears('what came after', (event, body) => event === 'phx_error' || event === 'phx_close' || event === 'resync' || JSON.stringify(body).includes(title));
  raw.close();
}

/** The server refuses a command of the replication connection. */
async function noSlot(s) {
  const raw = await ours(s);
  const before = s.streamer.log.split('canceling statement').length;
  const title = `after a slot at last ${randomUUID()}`;
  await inGap(s, async () => {
    await wait(s, 'the refusal', async () => {
      await s.world.sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'walsender' AND query LIKE 'CREATE_REPLICATION_SLOT%'");
      return s.streamer.log.split('canceling statement').length > before;
    });
    await s.world.addNote(1, title);
  });
  await raw.hears('the note', (event, body) => event === 'resync' || JSON.stringify(body).includes(title));
  raw.close();
}

/** The database answers with something else than the streamer knows. */
async function strangeAnswer(s) {
  const raw = await ours(s);
  const before = s.streamer.log.split('could not be read').length;
  const title = `after a strange answer ${randomUUID()}`;
  await s.world.sql(`ALTER FUNCTION sync.feed_changes(text, integer, integer) RENAME TO feed_changes_kept;
    CREATE FUNCTION sync.feed_changes(text, integer DEFAULT 1, integer DEFAULT 1) RETURNS json LANGUAGE sql AS $$ SELECT '[]'::json $$;
    GRANT EXECUTE ON FUNCTION sync.feed_changes(text, integer, integer) TO sync_upkeep`);
  try {
    await inGap(s, () => s.world.addNote(1, title));
    await wait(s, 'it is not understood', () => s.streamer.log.split('could not be read').length > before);
  } finally {
    await s.world.sql('DROP FUNCTION sync.feed_changes(text, integer, integer); ALTER FUNCTION sync.feed_changes_kept(text, integer, integer) RENAME TO feed_changes');
  }
  await raw.hears('the note', (event, body) => event === 'resync' || JSON.stringify(body).includes(title));
  raw.close();
}

/** More in a moment than the ring holds. */
async function smallRing(s) {
  const one = "BEGIN; INSERT INTO note (team_id, title, body) VALUES (2, 'too much for the ring', repeat('z', 900000)); COMMIT;";
  await s.world.sql(one.repeat(24));
  const raw = await ours(s);
  const title = `behind much ${randomUUID()}`;
  await s.world.addNote(1, title);
  await raw.hearsText(title);
  await s.world.sql("DELETE FROM note WHERE team_id = 2 AND title = 'too much for the ring'");
  raw.close();
}

/** So many sockets that the loop asks the kernel another way. */
async function crowd(s) {
  const sockets = [];
  try {
    while (sockets.length < 140) sockets.push(...await Promise.all(Array.from({ length: 20 }, () => RawSocket.open(s.streamer))));
    await ours(s).then((raw) => raw.close());
  } finally {
    for (const socket of sockets) socket.close();
  }
}

async function refusedStream(s) {
  const answer = await request(`${s.streamer.url}/api/v1/sync/stream?device_id=eve-refused&tables=nowhere`, { token: s.streamer.token('eve') });
  must('a stream of a table that is not there', answer.status === 400 || answer.status >= 500, { status: answer.status, body: answer.text.slice(0, 300) });
}

/** Ends it while a stream waits for its first answer; `stop` asks it to. */
export async function stopWithStream(s, stop) {
  const other = await s.world.database.connect();
  const abort = new AbortController();
  try {
    await other.query('BEGIN; LOCK TABLE note');
    const answer = fetch(`${s.streamer.url}/api/v1/sync/stream?device_id=eve-late`, { headers: { authorization: `Bearer ${s.streamer.token('eve')}` }, signal: abort.signal }).then((response) => response.text()).catch(() => {});
    const isWaiting = async () => !isRunning(s.streamer.process) || (await s.world.sql("SELECT FROM pg_locks WHERE relation = 'note'::regclass AND NOT granted")).length > 0;
    await wait(s, 'its pull waits', isWaiting).catch((error) => { if (isRunning(s.streamer.process)) throw error; });
    await stop();
    abort.abort();
    await answer;
  } finally {
    abort.abort();
    await other.end();
  }
}

export const RARE = [
  { name: 'large', run: large }, { name: 'push and pull', run: pushAndPull }, { name: 'tokens', run: tokens }, { name: 'revoked', run: revoked }, { name: 'ping', run: ping },
  { name: 'resumed', run: resumed }, { name: 'gap of deletions', run: gapOfDeletions }, { name: 'gap with an obstacle', run: gapWithObstacle }, { name: 'no slot', run: noSlot },
  { name: 'strange answer', run: strangeAnswer }, { name: 'small ring', run: smallRing }, { name: 'crowd', run: crowd }, { name: 'refused stream', run: refusedStream },
];
