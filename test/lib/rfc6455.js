// rfc6455.js - cases of RFC 6455 as bytes, in the order of Autobahn's sections 1 to 7 and 9, each with the verdict that the RFC asks for.
// SPDX-License-Identifier: PostgreSQL
//
// A case: { name, chunks: what is sent, in pieces, wants }. wants is 'open' (all of it is taken, the connection goes on), or the close code of the
// answer; where the connection is to be failed, it may also be cut off without one (7.1.7). ours: where the streamer, rightly, says something else, because of what it serves: why. differs: where the library goes against the RFC.
// wsproto: where python3-wsproto does. isLate: bytes follow the close, so a reset may overtake the answer.
import { BINARY, CLOSE, closing, frame, PING, pieces, PONG, TEXT } from './frames.js';

/** A message the streamer answers, of exactly so many bytes. */
export function heartbeat(ref, bytes) {
  const text = (padding) => JSON.stringify([null, ref, 'phoenix', 'heartbeat', padding === undefined ? {} : { padding }]);
  return bytes === undefined ? text() : text('x'.repeat(bytes - text('').length));
}

const bytewise = (buffer) => [...buffer].map((byte) => Buffer.from([byte]));
const good = heartbeat('good');
const half = Math.floor(good.length / 2);
const odd = (text) => JSON.stringify([null, 'good', 'phoenix', 'heartbeat', { text }]);
const notUtf8 = (...bytes) => Buffer.concat([Buffer.from('[null,"good","phoenix","heartbeat",{"text":"'), Buffer.from(bytes), Buffer.from('"}]')]);

const list = [];
const add = (name, wants, chunks, more = {}) => list.push({ name, wants, chunks: [chunks].flat(), ...more });

// 1 framing
for (const size of [125, 126, 127, 128, 1000, 65535]) add(`1.1 text of ${size} bytes`, 'open', frame(TEXT, heartbeat('good', size)));
add('1.1 text of 65536 bytes', 'open', frame(TEXT, heartbeat('good', 65536)));
add('1.1 text, a byte at a time', 'open', bytewise(frame(TEXT, heartbeat('good', 300))));
add('1.1 empty text', 'open', frame(TEXT, ''), { ours: 1008, because: 'it is no message of ours' });
for (const size of [0, 125, 126, 127, 128, 65535]) add(`1.2 ${size} bytes that are binary`, 'open', frame(BINARY, Buffer.alloc(size, 0xfe)), { ours: 1003, because: 'only broadcasts are binary' });
for (const [name, lengthIn] of [['two', 2], ['eight', 8]]) add(`1.3 a length in ${name} bytes where less would do`, 1002, frame(TEXT, good, { lengthIn }), { differs: 'open' });
add('1.4 an unmasked frame', 1002, frame(TEXT, good, { mask: null }));
add('1.4 an unmasked frame behind good ones', 1002, [frame(TEXT, good), frame(PING, 'x'), frame(TEXT, good, { mask: null })]);
add('1.4 an unmasked frame behind a long one, in one piece', 1002, Buffer.concat([frame(TEXT, heartbeat('good', 40_000)), frame(TEXT, good, { mask: null })]));
add('1.4 an unmasked continuation', 1002, [frame(TEXT, good.slice(0, half), { fin: false }), frame(0, good.slice(half), { mask: null })]);
add('1.4 an unmasked close', 1002, frame(CLOSE, closing(1000), { mask: null }));
add('1.4 an unmasked ping', 1002, frame(PING, 'x', { mask: null }));
add('1.4 a mask of zeros', 'open', frame(TEXT, good, { mask: Buffer.alloc(4) }));

// 2 pings and pongs
for (const [name, payload] of [['empty', ''], ['a word', 'hello'], ['bytes', Buffer.from([0, 255, 254, 253, 0])], ['125 bytes', Buffer.alloc(125, 0xfe)]]) add(`2 a ping: ${name}`, 'open', frame(PING, payload), { pong: payload });
add('2 a ping, a byte at a time', 'open', bytewise(frame(PING, Buffer.alloc(125, 0xfe))), { pong: Buffer.alloc(125, 0xfe) });
add('2 a ping of 126 bytes', 1002, frame(PING, Buffer.alloc(126, 0xfe)));
add('2 a pong nobody asked for', 'open', frame(PONG, ''));
add('2 a pong with a payload nobody asked for', 'open', frame(PONG, 'unasked'));
add('2 a pong of 126 bytes', 1002, frame(PONG, Buffer.alloc(126)));
add('2 a pong, then a ping', 'open', [frame(PONG, 'x'), frame(PING, 'y')], { pong: 'y' });
add('2 ten pings in a row', 'open', Buffer.concat([...Array(10)].map((_, i) => frame(PING, String(i)))), { pong: '0' }); // the library answers the first of those that wait; the RFC would have the last

// 3 reserved bits
for (const rsv of [1, 2, 3, 4, 5, 6, 7]) add(`3 reserved bits ${rsv} on a text`, 1002, frame(TEXT, good, { rsv }));
for (const [name, opcode] of [['binary', BINARY], ['close', CLOSE], ['ping', PING], ['pong', PONG]]) add(`3 a reserved bit on ${name}`, 1002, frame(opcode, opcode === CLOSE ? closing(1000) : '', { rsv: 4 }));
add('3 a reserved bit, a byte at a time, behind a good text', 1002, [frame(TEXT, good), ...bytewise(frame(TEXT, good, { rsv: 2 }))]);
add('3 a reserved bit on a continuation', 1002, [frame(TEXT, good.slice(0, half), { fin: false }), frame(0, good.slice(half), { rsv: 1 })]);

// 4 opcodes
for (const opcode of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) {
  add(`4 opcode ${opcode}`, 1002, frame(opcode, ''));
  add(`4 opcode ${opcode} with a payload, behind a good text`, 1002, [frame(TEXT, good), frame(opcode, 'x'), frame(PING, '')]);
}

// 5 fragments
const first = frame(TEXT, good.slice(0, half), { fin: false });
const last = frame(0, good.slice(half));
add('5 a ping in two fragments', 1002, [frame(PING, 'a', { fin: false }), frame(0, 'b')]);
add('5 a pong in two fragments', 1002, [frame(PONG, 'a', { fin: false }), frame(0, 'b')]);
add('5 a close in two fragments', 1002, [frame(CLOSE, closing(1000), { fin: false }), frame(0, '')]);
add('5 a text in two fragments', 'open', [first, last]);
add('5 a text in two fragments, at once', 'open', Buffer.concat([first, last]));
add('5 a text in two fragments, a byte at a time', 'open', bytewise(Buffer.concat([first, last])));
add('5 a ping between two fragments', 'open', [first, frame(PING, 'between'), last], { pong: 'between' });
add('5 a ping between two fragments, at once', 'open', Buffer.concat([first, frame(PING, 'between'), last]), { pong: 'between' });
add('5 a text in fragments of one byte', 'open', pieces(TEXT, good, 1));
add('5 empty fragments', 'open', [frame(TEXT, '', { fin: false }), frame(0, '', { fin: false }), frame(0, good, { fin: false }), frame(0, '')]);
add('5 a continuation of nothing', 1002, frame(0, good));
add('5 a continuation of nothing, not the last', 1002, frame(0, good, { fin: false }));
add('5 a continuation of nothing behind a good text', 1002, [frame(TEXT, good), frame(0, good)]);
add('5 a continuation of nothing behind a ping', 1002, [frame(PING, ''), frame(0, good)]);
add('5 a text inside a text', 1002, [first, frame(TEXT, good)]);
add('5 a text begun inside a text', 1002, [first, frame(TEXT, 'x', { fin: false }), last]);
add('5 bytes inside a text', 1002, [first, frame(BINARY, 'x')]);
add('5 a close inside a text', 1000, [first, frame(CLOSE, closing(1000))], { isEcho: true });

// 6 UTF-8
for (const text of ['κόσμε', 'é', '\u0800', '\ud800\udc00', '\ufffd', '\u{10ffff}', '\ufffe', '\uffff', '\ufdd0', '\ufeff', 'Hello-µ@ßöäüàá-UTF-8!!']) add(`6 the characters ${encodeURI(text)}`, 'open', frame(TEXT, odd(text)));
add('6 a character in two fragments', 'open', (() => {
  const bytes = Buffer.from(odd('κ'));
  const at = bytes.indexOf(0xce) + 1;
  return [frame(TEXT, bytes.subarray(0, at), { fin: false }), frame(0, bytes.subarray(at))];
})());
add('6 characters in fragments of one byte', 'open', pieces(TEXT, odd('κόσμε 💿'), 1));
const BAD = {
  'a continuation alone': [0x80], 'a byte of the second half': [0xbf], 'an unfinished pair': [0xc3], 'an unfinished three': [0xe2, 0x82], 'an unfinished four': [0xf0, 0x9f, 0x92], overlong: [0xc0, 0xaf],
  'overlong in three': [0xe0, 0x80, 0xaf], 'overlong in four': [0xf0, 0x80, 0x80, 0xaf], 'an overlong NUL': [0xc0, 0x80], 'a surrogate': [0xed, 0xa0, 0x80], 'a pair of surrogates': [0xed, 0xa0, 0x80, 0xed, 0xb0, 0x80],
  'beyond Unicode': [0xf4, 0x90, 0x80, 0x80], 'five bytes': [0xf8, 0x88, 0x80, 0x80, 0x80], 'six bytes': [0xfc, 0x84, 0x80, 0x80, 0x80, 0x80], 'the byte FE': [0xfe], 'the byte FF': [0xff],
};
for (const [name, bytes] of Object.entries(BAD)) add(`6 no UTF-8: ${name}`, 1007, frame(TEXT, notUtf8(...bytes)));
add('6 no UTF-8 in the second fragment', 1007, [frame(TEXT, '[null,', { fin: false }), frame(0, Buffer.from([0xff, 0xfe]))]);
add('6 a text that ends in the middle of a character', 1007, frame(TEXT, Buffer.from([0xce])));
add('6 a text in fragments that ends in the middle of a character', 1007, [frame(TEXT, 'x', { fin: false }), frame(0, Buffer.from([0xe2, 0x82]))]);

// 7 closing
add('7 close without a code', 'closed', frame(CLOSE, ''), { isEcho: true });
add('7 close with one byte', 1002, frame(CLOSE, 'x'), { differs: 'closed' });
for (const code of [1012, 1013, 1014]) add(`7 close code ${code}, registered since`, code, frame(CLOSE, closing(code)), { isEcho: true, differs: 1002, ...(code === 1014 ? { wsproto: 'refused' } : {}) });
for (const code of [5000, 65535]) add(`7 close code ${code}, which nobody may send`, 1002, frame(CLOSE, closing(code)), { differs: code });
for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]) add(`7 close code ${code}`, code, frame(CLOSE, closing(code)), { isEcho: true });
for (const code of [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999]) add(`7 close code ${code}, which nobody may send`, 1002, frame(CLOSE, closing(code)));
add('7 close with a reason', 1000, frame(CLOSE, closing(1000, 'good bye')), { isEcho: true });
add('7 close with a reason of 123 bytes', 1000, frame(CLOSE, closing(1000, 'x'.repeat(123))), { isEcho: true });
add('7 close with a reason of 124 bytes', 1002, frame(CLOSE, closing(1000, 'x'.repeat(124))));
add('7 close with a reason that is no UTF-8', 1007, frame(CLOSE, closing(1000, Buffer.from([0xce, 0xba, 0xed, 0xa0, 0x80]))));
add('7 two closes', 1000, Buffer.concat([frame(CLOSE, closing(1000)), frame(CLOSE, closing(1001))]), { isEcho: true, isLate: true });
add('7 a ping behind a close', 1000, Buffer.concat([frame(CLOSE, closing(1000)), frame(PING, 'late')]), { isEcho: true, isLate: true, noPong: true });
add('7 a text behind a close', 1000, Buffer.concat([frame(CLOSE, closing(1000)), frame(TEXT, good)]), { isEcho: true, isLate: true });
add('7 a good text, then a close', 1000, [frame(TEXT, good), frame(CLOSE, closing(1000))], { isEcho: true });

// 9 sizes
for (const size of [64, 256, 1024, 4096]) add(`9 64 KiB in fragments of ${size}`, 'open', pieces(TEXT, heartbeat('good', 65536), size));
add('9 64 KiB and a byte', 'open', frame(TEXT, heartbeat('good', 65537)), { ours: 1009, because: '--max-frame' });
add('9 4 MiB', 'open', frame(TEXT, heartbeat('good', 4 << 20)), { ours: 1009, because: '--max-frame' });
add('9 4 MiB in fragments', 'open', pieces(TEXT, heartbeat('good', 4 << 20), 4096), { ours: 1009, because: '--max-frame' });
add('9 a frame said to have 2^62 bytes', 'open', [frame(TEXT, 'x'.repeat(65537), { length: 2 ** 62, lengthIn: 8 })], { ours: 1009, because: '--max-frame', isUnfinished: true });
add('9 a frame said to have 2^63 bytes', 1002, [frame(TEXT, 'x', { length: 2n ** 63n, lengthIn: 8 })], { isUnfinished: true });
add('9 a ping said to have 2^32 bytes', 1002, [frame(PING, 'x', { length: 2 ** 32, lengthIn: 8 })], { isUnfinished: true });

export const cases = list;
