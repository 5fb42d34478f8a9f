// websocket_rfc.test.js - RFC 6455 case by case over bare TCP: the verdict of each, with python3-wsproto as a second opinion; a good client goes on meanwhile.
// SPDX-License-Identifier: PostgreSQL
// runs once: frames of clients, nothing is decoded
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { ROOT } from '../lib/postgres.js';
import { BareSocket, CLOSE, frame, handshake, PONG, TEXT } from '../lib/frames.js';
import { cases, heartbeat } from '../lib/rfc6455.js';
import { World } from '../lib/world.js';

const AT_ONCE = 20;
let world;
let ada;
before(async () => {
  world = await World.start({ options: { 'max-messages-per-second': 10_000 } });
  ada = await world.join('ada');
});
after(() => world?.stop());

const isReply = (ref) => (f) => f.opcode === TEXT && f.payload.includes(`"${ref}"`) && f.payload.includes('phx_reply');

/** What the streamer made of it: 'open', 'closed' (without a code), the close code, or 'cut off'. */
async function verdictOf({ chunks, isUnfinished, isEcho }) {
  const bare = await BareSocket.open(world.streamer.port);
  for (const chunk of chunks) {
    bare.send(chunk);
    if (chunks.length < 10) await new Promise(setImmediate); // in packets of their own, mostly
  }
  if (!isUnfinished && !isEcho) bare.send(frame(TEXT, heartbeat('alive')));
  const answer = await bare.next((f) => f.opcode === CLOSE || isReply('alive')(f));
  const { frames } = bare;
  bare.end();
  const verdict = !answer ? 'cut off' : answer.opcode !== CLOSE ? 'open' : answer.payload.length < 2 ? 'closed' : answer.payload.readUInt16BE(0);
  return { verdict, frames };
}

function wsproto() {
  const script = path.join(ROOT, 'test/lib/wsproto_judge.py');
  const input = JSON.stringify(cases.map(({ chunks }) => chunks.map((chunk) => chunk.toString('hex'))));
  for (const python of ['python3', '/usr/bin/python3']) {
    const { status, stdout } = spawnSync(python, [script], { input, encoding: 'utf8', maxBuffer: 1 << 26 });
    if (status === 0) return JSON.parse(stdout).map(({ close, is_error }) => ({ close, isError: is_error }));
  }
  throw new Error('python3 with wsproto is missing: test/setup.sh installs it');
}

test('a frame that comes with the handshake, before its answer, ends the connection', async () => {
  const bare = await BareSocket.open(world.streamer.port, { request: Buffer.concat([Buffer.from(handshake(world.streamer.port)), frame(TEXT, heartbeat('early'))]) }).catch(() => null);
  assert.equal(bare && (await bare.next(isReply('early'))), null);
});

test('every case of RFC 6455 has the verdict that the RFC asks for, or one that is named here', async (t) => {
  const results = new Map();
  const queue = [...cases];
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (let one = queue.shift(); one; one = queue.shift()) results.set(one, await verdictOf(one));
  }));
  const opinions = wsproto();
  const wrong = [];
  const differing = [];
  let cutOff = 0;
  for (const [i, one] of cases.entries()) {
    const { verdict, frames } = results.get(one);
    const wanted = one.ours ?? one.differs ?? one.wants;
    if (one.differs) differing.push(`${one.name}: RFC ${one.wants}, here ${verdict}`);
    const isAsWanted = verdict === wanted || (verdict === 'cut off' && typeof wanted === 'number' && (one.isLate || (!one.isEcho && !one.ours)));
    cutOff += verdict === 'cut off';
    if (!isAsWanted) wrong.push(`${one.name}: wanted ${wanted}, is ${verdict}`);
    // what breaks the protocol must not be answered as if it did not
    if (one.pong !== undefined && !frames.some((f) => f.opcode === PONG && f.payload.equals(Buffer.from(one.pong)))) wrong.push(`${one.name}: no pong`);
    if (one.noPong && frames.some((f) => f.opcode === PONG)) wrong.push(`${one.name}: a pong after the close`);
    if (frames.some((f) => f.isMasked || f.rsv)) wrong.push(`${one.name}: a frame of the server is masked or has reserved bits`);
    // the second opinion is about the RFC, not about what this server serves
    const { close, isError } = opinions[i];
    const theirs = isError ? 'refused' : close === null ? 'taken' : 'closed';
    const rfc = one.wants === 'open' ? 'taken' : one.isEcho ? 'closed' : 'refused';
    if (theirs !== (one.wsproto ?? rfc)) wrong.push(`${one.name}: the RFC as read here: ${rfc}, by wsproto: ${theirs}`);
  }
  t.diagnostic(`${cases.length} cases, ${cutOff} failed without a close frame; libwebsockets differs from the RFC in ${differing.length}: ${differing.join('; ')}`);
  assert.deepEqual(wrong, []);
  const id = await world.addNote(1, 'after all of it');
  await ada.sees('a live change', (copy) => copy.get('note', id));
});
