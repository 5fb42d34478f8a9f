// attacks.js - what hostile sockets do to a streamer, one function each; and which answers are right.
// SPDX-License-Identifier: PostgreSQL
//
// An attack gets a stage { socket(), port, random, token(sub), sub, limits, isOver() } and returns what came of it in a word: a close code, an HTTP status, a reply's
// code, 'cut' for a connection that ended without one, or 'left' for one that was not waited for. `wants` are the words that are right, `limit` the one word that a limit documents: it must be seen at
// least once among many tries, while now and then a reset may overtake it.
import { gzipSync, deflateRawSync } from 'node:zlib';
import { BINARY, CLOSE, closing, frame, handshake, PING, pieces, PONG, TEXT } from '../../lib/frames.js';
import { mintUnsignedToken } from '../../lib/token.js';
import { sleep } from '../../lib/wait.js';

const PATIENCE_MS = 30_000; // the library gives a request 10 s, the streamer a client 4 s for its first join
const UNREADABLE = [0xff, 0xfe, 0xc3, 0x28];
const RAW_BOMB = deflateRawSync(Buffer.alloc(8 << 20, ' '));
const GZIP_BOMB = gzipSync(Buffer.alloc(4 << 20, ' '));
const TRICKLE = Buffer.concat(Array(200).fill(frame(0, 'x', { fin: false })));

/** Until the condition holds, or nobody waits any longer; false: it never did. */
async function wait(stage, socket, condition) {
  const end = Date.now() + PATIENCE_MS;
  while (Date.now() < end && !stage.isOver()) if (await socket.until(condition, 500)) return true;
  return condition();
}

const unanswered = (stage, socket) => (socket.isOver ? 'cut' : stage.isOver() ? 'left' : 'open');

async function closeWord(stage, socket) {
  await wait(stage, socket, () => socket.closeCode !== 'none' || socket.isOver);
  return socket.closeCode !== 'none' ? socket.closeCode : unanswered(stage, socket);
}

async function statusWord(stage, socket) {
  await wait(stage, socket, () => socket.text.includes('\r\n\r\n') || socket.isOver);
  return socket.status ? String(socket.status) : unanswered(stage, socket);
}

const post = (stage, length, more = '', name = 'pull') =>
  `POST /api/v1/sync/${name} HTTP/1.1\r\nHost: 127.0.0.1:${stage.port}\r\nAuthorization: Bearer ${stage.token(stage.sub)}\r\n${length === undefined ? '' : `Content-Length: ${length}\r\n`}${more}\r\n`;

/** An open WebSocket; what() is what follows. A refusal of the handshake is a word of its own. */
const onSocket = (what, how) => async (stage) => {
  const socket = stage.socket();
  if (!(await socket.upgrade(how))) return socket.status ? String(socket.status) : unanswered(stage, socket);
  return what(stage, socket);
};

const joined = (what, topic = 'sync:h', payload = {}) => onSocket(async (stage, socket) => {
  await socket.say('1', '1', topic, 'phx_join', { access_token: stage.token(stage.sub), device_id: `hostile ${stage.random.below(1000)}`, ...payload });
  const [reply] = await socket.replies(['1']);
  if (!reply || reply.status !== 'ok') return socket.closeCode !== 'none' ? socket.closeCode : reply ? reply.response.code ?? String(reply.response.reason).split(':')[0] : unanswered(stage, socket);
  return what(stage, socket);
});

const bytesOf = (random, count) => Buffer.from(Array.from({ length: count }, () => random.below(256)));
const heartbeat = JSON.stringify([null, '1', 'phoenix', 'heartbeat', {}]);

/** One that sends frames which are wrong in themselves. */
const wrong = (make) => onSocket(async (stage, socket) => {
  await socket.write(make(stage));
  return closeWord(stage, socket);
});

const clientHello = (random) => Buffer.concat([Buffer.from([22, 3, 1, 0, 250, 1, 0, 0, 246, 3, 3]), bytesOf(random, 244)]);

// ---- before anything is agreed ------------------------------------------------------------------------------------------

async function slowHandshake(stage) {
  const socket = stage.socket();
  const bytes = handshake(stage.port);
  const most = stage.random.chance(0.5) ? bytes.length : stage.random.below(bytes.length);
  await socket.drip(bytes.slice(0, most), 1 + stage.random.below(8), 5 + stage.random.below(60));
  const word = socket.isUpgraded ? '101' : await statusWord(stage, socket);
  return word === '101' ? closeWord(stage, socket) : word; // the answer may have been on its way
}

async function halfOpen(stage) {
  const socket = stage.socket();
  if (stage.random.chance(0.5)) await socket.write('GET /socket/web');
  if (stage.random.chance(0.7)) {
    await sleep(stage.random.below(2000));
    return 'left';
  }
  return statusWord(stage, socket);
}

async function endlessHeaders(stage) {
  const socket = stage.socket();
  await socket.write(`GET /healthz HTTP/1.1\r\nHost: x\r\n`);
  for (let sent = 0; sent < 4 << 20 && !socket.isOver && !socket.status; sent += 8192) await socket.write(`x-${sent}: ${'y'.repeat(8000)}\r\n`);
  return statusWord(stage, socket);
}

async function garbage(stage) {
  const socket = stage.socket();
  const { random } = stage;
  await socket.write(random.chance(0.5) ? clientHello(random) : bytesOf(random, 1 + random.below(4000)));
  if (random.chance(0.5)) return 'left';
  return statusWord(stage, socket);
}

/** On the port that speaks TLS: plain requests, halves of a handshake, and random bytes. */
async function plainOnTls(stage) {
  const socket = stage.socket({ tls: true });
  const { random } = stage;
  const hello = clientHello(random);
  await socket.write(random.pick([`GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n`, handshake(stage.port), hello, hello.subarray(0, 1 + random.below(200)), bytesOf(random, 1 + random.below(5000))]));
  if (random.chance(0.7)) {
    await sleep(random.below(1000));
    return socket.status ? String(socket.status) : 'left';
  }
  return statusWord(stage, socket);
}

async function foreign(stage) {
  const socket = stage.socket();
  const line = stage.random.pick(['Origin: http://evil.example', 'Origin: null', 'Sec-WebSocket-Protocol: chat, superchat']);
  await socket.write(handshake(stage.port, { lines: [line] }));
  return statusWord(stage, socket);
}

async function neverJoins(stage) {
  const socket = stage.socket();
  if (!(await socket.upgrade())) return socket.status ? String(socket.status) : unanswered(stage, socket);
  if (stage.random.chance(0.5)) await socket.say(null, '1', 'phoenix', 'heartbeat', {});
  return closeWord(stage, socket);
}

// ---- HTTP ---------------------------------------------------------------------------------------------------------------

async function shortBody(stage) {
  const socket = stage.socket();
  await socket.write(`${post(stage, 500)}{"device_id":`);
  if (stage.random.chance(0.5)) socket.socket.end();
  else if (stage.random.chance(0.7)) return 'left';
  return statusWord(stage, socket);
}

async function longBody(stage) {
  const socket = stage.socket();
  await socket.write(`${post(stage, 12)}{"limit":11}${stage.random.pick(['}}}}', 'x'.repeat(3000), 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n', post(stage, 1 << 30)])}`);
  return statusWord(stage, socket);
}

async function hugeBody(stage) {
  const socket = stage.socket();
  await socket.write(post(stage, stage.random.pick(['99999999999', String((1 << 20) + 1), '18446744073709551616'])));
  for (let i = 0; i < 100 && !socket.isOver && !socket.status; i++) await socket.write('x'.repeat(4096));
  return statusWord(stage, socket);
}

async function oddRequest(stage) {
  const socket = stage.socket();
  const { random } = stage;
  await socket.write(random.pick([
    post(stage, undefined, 'Transfer-Encoding: chunked\r\n') + 'ffffffff\r\nx', post(stage, 5, 'Transfer-Encoding: chunked\r\n') + '0\r\n\r\n', post(stage, 5, 'Content-Length: 6\r\n') + '{}    ',
    `POST /api/v1/sync/pull HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n`, `BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n`, `GET ${'/a'.repeat(9000)} HTTP/1.1\r\nHost: x\r\n\r\n`, `GET /\0 HTTP/1.1\r\n\r\n`, 'GET / HTTP/9.9\r\n\r\n',
    `GET /api/v1/sync/pull?${'a=b&'.repeat(2000)} HTTP/1.1\r\nHost: x\r\n\r\n`, `POST /api/v1/sync/pull HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${'a'.repeat(20_000)}\r\nContent-Length: 2\r\n\r\n{}`,
  ]));
  return statusWord(stage, socket);
}

/** A small body that says it is a large one: nobody unpacks it. */
async function gzipBomb(stage) {
  const socket = stage.socket();
  await socket.write(Buffer.concat([Buffer.from(post(stage, GZIP_BOMB.length, 'Content-Encoding: gzip\r\nContent-Type: application/json\r\n')), GZIP_BOMB]));
  return statusWord(stage, socket);
}

async function badToken(stage) {
  const socket = stage.socket();
  const token = stage.random.pick(['', 'x', 'a.b.c', stage.token(stage.sub, { exp: 1 }), mintUnsignedToken({ sub: 'ada', role: 'app' }), `${stage.token('ada')}x`]);
  await socket.write(`POST /api/v1/sync/pull HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Length: 2\r\n\r\n{}`);
  return statusWord(stage, socket);
}

/** A stream of events that nobody reads, or that is gone at once. */
async function deafStream(stage) {
  const socket = stage.socket();
  await socket.write(`GET /api/v1/sync/stream?device_id=deaf HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${stage.token(stage.sub)}\r\n\r\n`);
  socket.socket.pause();
  await sleep(stage.random.below(2000));
  if (stage.random.chance(0.3)) await socket.write('more, which nobody wants');
  socket.reset();
  return 'left';
}

// ---- frames -------------------------------------------------------------------------------------------------------------

const giantFrame = onSocket(async (stage, socket) => {
  await socket.write(frame(TEXT, 'x'.repeat(1000), { length: 2 ** stage.random.pick([20, 32, 40, 62]), lengthIn: 8 }));
  for (let i = 0; i < 40 && socket.closeCode === 'none' && !socket.isOver; i++) await socket.write('x'.repeat(4096));
  return closeWord(stage, socket);
});

const endlessFragments = onSocket(async (stage, socket) => {
  const size = stage.random.pick([1, 100, 4000]);
  const piece = frame(0, 'x'.repeat(size), { fin: false });
  await socket.write(frame(TEXT, '[null,', { fin: false }));
  for (let i = 0; i < 3000 && socket.closeCode === 'none' && !socket.isOver; i++) await socket.write(size === 1 ? TRICKLE : piece);
  return closeWord(stage, socket);
});

const offersCompression = onSocket(async (stage, socket) => {
  if (/sec-websocket-extensions/i.test(socket.text)) return 'agreed';
  await socket.write(frame(stage.random.pick([TEXT, BINARY]), RAW_BOMB, { rsv: 4 }));
  return closeWord(stage, socket);
}, { lines: ['Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; server_no_context_takeover'] });

const compressedUp = joined(async (stage, socket) => {
  await socket.write(frame(BINARY, Buffer.concat([Buffer.from([2, 6, 15]), Buffer.from('sync:hchanges_deflate'), RAW_BOMB])));
  return closeWord(stage, socket);
}, 'sync:h', { compress: 'deflate' });

const pingFlood = onSocket(async (stage, socket) => {
  const many = Buffer.concat(Array(500).fill(frame(PING, 'x'.repeat(stage.random.below(126)))));
  if (stage.random.chance(0.5)) socket.socket.pause();
  for (let i = 0; i < 20 && !socket.isOver && !stage.isOver(); i++) if (!(await Promise.race([socket.write(many), sleep(500)]))) break;
  if (stage.random.chance(0.5)) socket.reset();
  return 'left';
});

const anyCut = async (stage) => {
  const socket = stage.socket();
  const { random } = stage;
  const all = [handshake(stage.port), frame(TEXT, JSON.stringify(['1', '1', 'sync:h', 'phx_join', { access_token: stage.token(stage.sub), device_id: 'cut' }])), frame(TEXT, JSON.stringify(['1', '2', 'sync:h', 'pull', {}])), frame(PING, 'x')];
  const bytes = Buffer.concat(all.map((part) => Buffer.from(part)));
  await socket.write(bytes.subarray(0, handshake(stage.port).length));
  if (random.chance(0.7)) await socket.until(() => socket.isUpgraded, 5000);
  await socket.write(bytes.subarray(handshake(stage.port).length, random.below(bytes.length)));
  await sleep(random.below(50));
  socket.reset();
  return 'left';
};

const afterClose = onSocket(async (stage, socket) => {
  await socket.write(Buffer.concat([frame(CLOSE, closing(1000)), frame(TEXT, heartbeat), frame(PING, 'late'), frame(CLOSE, closing(1001))]));
  return closeWord(stage, socket);
});

// ---- channels -----------------------------------------------------------------------------------------------------------

/** The codes of all replies, the worst first. */
const worst = (socket, replies, order) => {
  const codes = replies.map((reply) => (reply.status === 'ok' ? 'ok' : reply.response.code ?? String(reply.response.reason ?? reply.response.error).split(':')[0]));
  const odd = codes.find((code) => !order.includes(code) && code !== 'ok');
  return odd ?? order.find((code) => codes.includes(code)) ?? (socket.closeCode !== 'none' ? socket.closeCode : codes[0] ?? (socket.isOver ? 'cut' : 'left'));
};

const joinStorm = onSocket(async (stage, socket) => {
  const isRealtime = stage.random.chance(0.5);
  const token = stage.token(stage.sub);
  const refs = Array.from({ length: 2000 }, (_, i) => String(i));
  for (let i = 0; i < refs.length && socket.closeCode === 'none' && !socket.isOver; i++) {
    await socket.say(refs[i], refs[i], `${isRealtime ? 'realtime' : 'sync'}:${i}`, 'phx_join', isRealtime ? { access_token: token, config: { postgres_changes: [] } } : { access_token: token, device_id: 'storm', tables: [] });
  }
  const replies = await socket.replies(refs, 2000);
  return worst(socket, replies, ['too_many_joins', 'rate_limited', 'too_many_clients', 'ChannelRateLimitReached', 'ClientJoinRateLimitReached', 'ConnectionRateLimitReached', 'PrivateOnly']);
});

const hugeFilters = onSocket(async (stage, socket) => {
  const { random } = stage;
  const value = random.pick(['%a%a%a%a%a%a%a%a%a%b', 'x'.repeat(500), '(a+)+$', '((((((((((a{1,50}){1,50}', `(${'1,'.repeat(200)}1)`]);
  const filter = `title=${random.pick(['like', 'match', 'in', 'eq', 'imatch', 'nothing'])}.${value}`;
  const list = Array.from({ length: 1 + random.below(110) }, () => ({ event: '*', schema: 'public', table: 'note', filter })).slice(0, Math.floor(60_000 / (filter.length + 60)));
  await socket.say('1', '1', `realtime:${random.below(1e6)}`, 'phx_join', { access_token: stage.token(stage.sub), config: { postgres_changes: list } });
  return worst(socket, await socket.replies(['1']), []);
});

const flood = joined(async (stage, socket) => {
  const message = frame(TEXT, heartbeat);
  const many = Buffer.concat(Array(50).fill(message));
  for (let i = 0; i < 200 && socket.closeCode === 'none' && !socket.isOver; i++) await socket.write(many);
  return closeWord(stage, socket);
});

const unread = joined(async (stage, socket) => {
  socket.socket.pause();
  for (let i = 0; i < 30 && !stage.isOver(); i++) {
    await Promise.race([socket.say('1', String(i + 2), 'sync:h', stage.random.pick(['pull', 'push', 'digest', 'nothing']), { changes: [], tables: ['*'] }), sleep(200)]);
  }
  await sleep(stage.random.below(500));
  socket.reset();
  return 'left';
});

const unreadable = onSocket(async (stage, socket) => {
  await socket.write(frame(TEXT, stage.random.pick(['', '{', '[1,2,3]', '['.repeat(60_000), '["1","1","sync:\\u0000","phx_join",{}]', `["1","1","sync:x","phx_join",${'{"a":'.repeat(70)}1${'}'.repeat(70)}]`, `[null,"${'1'.repeat(100)}","phoenix","heartbeat",{}]`, `[${'0,'.repeat(30_000)}0]`])));
  return closeWord(stage, socket);
});

const badJoins = onSocket(async (stage, socket) => {
  const { random } = stage;
  await socket.say('1', '1', random.pick(['sync:x', 'realtime:x']), 'phx_join', random.pick([{}, { access_token: 5 }, { access_token: 'x'.repeat(10_000) }, { access_token: stage.token(stage.sub, { exp: 1 }) }, { access_token: stage.token('ada', {}, { signWith: 'another' }) }]));
  return worst(socket, await socket.replies(['1']), []);
});

const heavyPushes = joined(async (stage, socket) => {
  const { random } = stage;
  const change = () => ({ queue_id: String(random.below(1e9)), operation: random.pick(['create', 'update', 'delete', 'nonsense']), entity_type: random.pick(['note', 'member', 'nothing']), entity_id: random.pick(['00000000-0000-4000-8000-000000000001', 'x', '']), data: { title: 'hostile', team_id: 1 + random.below(2) } });
  const refs = Array.from({ length: 40 }, (_, i) => String(i + 2));
  for (const ref of refs) await socket.say('1', ref, 'sync:h', 'push', { changes: Array.from({ length: 1 + random.below(100) }, change) });
  return worst(socket, await socket.replies(refs, 20_000), ['busy']);
});

const loudTopics = onSocket(async (stage, socket) => {
  const { random } = stage;
  await socket.say('1', '1', 'realtime:loud', 'phx_join', { access_token: stage.token(stage.sub), config: { broadcast: { self: true, ack: true }, presence: { key: 'k'.repeat(random.below(300)), enabled: true } } });
  await socket.replies(['1']);
  await socket.say('1', '2', 'realtime:loud', 'broadcast', { type: 'broadcast', event: 'e', payload: 'x'.repeat(random.pick([10, 70_000, 130_000])) });
  await socket.say('1', '3', 'realtime:loud', 'presence', { event: 'track', payload: { a: 'y'.repeat(random.pick([10, 20_000])) } });
  for (let i = 4; i < 60; i++) await socket.say('1', String(i), 'realtime:loud', 'presence', { event: 'track', payload: { i } });
  return worst(socket, await socket.replies(['2', '3', '59'], 5000), ['payload_size_exceeded', 'Track message size exceeded', 'Client presence rate limit exceeded', 'rate_limited']);
});

const UNDER_LIMITS = ['429', '503', '4001']; // as many clients of one address as there may be, or of all; and who was too slow to join, as all are on a busy machine

const attack = (name, run, wants, limit) => ({ name, run, wants: [...wants, 'left', ...UNDER_LIMITS, ...(limit ? [limit] : [])], limit });

/** `wants`: right words; `limit`: the documented one. `ws`: what the library says of frames that are wrong in themselves. */
export const ATTACKS = [
  attack('slow handshake', slowHandshake, ['cut', '4001', '408', '400']),
  attack('half-open', halfOpen, ['left', 'cut', '408', '400']),
  attack('endless headers', endlessHeaders, ['cut', '400', '413', '431']),
  attack('garbage on the plain port', garbage, ['left', 'cut', '400', '403', '404', '405']),
  attack('plain bytes on the TLS port', plainOnTls, ['left', 'cut', '400']),
  attack('foreign handshake', foreign, ['403', '101', 'cut']),
  attack('never joins', neverJoins, ['cut'], '4001'),
  attack('body shorter than its length', shortBody, ['left', 'cut', '400', '408']),
  attack('body longer than its length', longBody, ['200', '400', '422', 'cut']),
  attack('body over the limit', hugeBody, ['cut', '400'], '413'),
  attack('odd request', oddRequest, ['400', '401', '403', '404', '405', '413', '414', '431', '501', '505', 'cut', '200', '422']),
  attack('gzip bomb', gzipBomb, ['cut'], '400'),
  attack('bad token by HTTP', badToken, ['cut'], '401'),
  attack('deaf stream', deafStream, ['left']),
  attack('giant frame announced', giantFrame, ['cut'], '1009'),
  attack('fragments without end', endlessFragments, ['cut'], '1009'),
  attack('control frame too long', wrong(({ random }) => frame(random.pick([PING, PONG]), Buffer.alloc(126 + random.below(1000)))), ['cut', '1002']),
  attack('control frame in fragments', wrong(({ random }) => frame(random.pick([PING, PONG, CLOSE]), 'x', { fin: false })), ['cut'], '1002'),
  attack('unmasked', wrong(() => frame(TEXT, heartbeat, { mask: null })), ['cut', '1002']),
  attack('no UTF-8', wrong(({ random }) => (random.chance(0.5) ? frame(TEXT, Buffer.from(UNREADABLE)) : pieces(TEXT, Buffer.from([0x5b, 0xe2, 0x82]), 1))), ['cut'], '1007'),
  attack('random frames', wrong(({ random }) => bytesOf(random, 200 + random.below(4000))), ['cut', '1002', '1003', '1007', '1008', '1009', '1000', '1005', '4001']),
  attack('permessage-deflate', offersCompression, ['cut', '1002']),
  attack('compressed frames upwards', compressedUp, ['cut', 'too_many_clients', 'rate_limited', '1009'], '1003'),
  attack('binary nonsense', wrong(({ random }) => frame(BINARY, bytesOf(random, random.below(300)))), ['cut'], '1003'),
  attack('ping flood', pingFlood, ['left']),
  attack('reset in the middle', anyCut, ['left']),
  attack('frames behind a close', afterClose, ['cut', '1000']),
  attack('thousands of joins', joinStorm, ['cut', 'ok', '1008', 'rate_limited', 'too_many_clients', 'ChannelRateLimitReached', 'ClientJoinRateLimitReached', 'ConnectionRateLimitReached', 'PrivateOnly', 'too_many_joins']),
  attack('huge filters', hugeFilters, ['cut', 'ok', 'ConnectionRateLimitReached', 'UnableToConnectToProject', '1008']),
  attack('faster than the limit', flood, ['cut', 'too_many_clients', '4008'], '1008'),
  attack('asks and never reads', unread, ['left', 'cut', 'too_many_clients', 'busy']),
  attack('unreadable message', unreadable, ['cut'], '1008'),
  attack('bad joins', badJoins, ['cut', 'InvalidJWTToken', 'MalformedJWT', 'JwtSignatureError'], 'unauthorized'),
  attack('more pushes than wait', heavyPushes, ['cut', 'ok', 'too_many_clients', 'rate_limited', 'timeout', 'unavailable', 'bad_request', 'unprocessable'], 'busy'),
  attack('loud topics', loudTopics, ['cut', 'ok', 'Client presence rate limit exceeded', 'Track message size exceeded', 'rate_limited', 'the topic is not joined yet', 'unmatched topic', 'PrivateOnly', '1009'], 'payload_size_exceeded'),
];
