// frames.js - WebSocket frames byte by byte, right and wrong, over bare TCP or TLS; and what came back.
// SPDX-License-Identifier: PostgreSQL
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';

export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

const MASK = Buffer.from([0x12, 0x34, 0x56, 0x78]);

/** The length in as few bytes as RFC 6455 wants, or in `bytes` of them (0, 2, 8). */
function lengthBytes(length, bytes = length < 126 ? 0 : length < 65536 ? 2 : 8) {
  const out = Buffer.alloc(1 + bytes);
  out[0] = bytes === 0 ? Number(length) : bytes === 2 ? 126 : 127;
  if (bytes === 2) out.writeUInt16BE(Number(length), 1);
  if (bytes === 8) out.writeBigUInt64BE(BigInt(length), 1);
  return out;
}

/** One frame. `length` and `lengthIn` lie about the payload's; `mask: false` leaves it unmasked, another Buffer is the mask. */
export function frame(opcode, payload = '', { fin = true, rsv = 0, mask = MASK, length, lengthIn } = {}) {
  const bytes = Buffer.from(payload);
  const head = lengthBytes(length ?? bytes.length, lengthIn);
  if (mask) head[0] |= 0x80;
  const masked = mask ? Buffer.from(bytes.map((byte, i) => byte ^ mask[i % 4])) : bytes;
  return Buffer.concat([Buffer.from([(fin ? 0x80 : 0) | (rsv << 4) | opcode]), head, mask || Buffer.alloc(0), masked]);
}

/** The payload of a close frame. */
export const closing = (code, reason = '') => Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]);

/** A message in frames of at most `size` bytes. */
export function pieces(opcode, payload, size) {
  const bytes = Buffer.from(payload);
  const list = [];
  for (let at = 0; at < bytes.length || at === 0; at += size) list.push(frame(at ? 0 : opcode, bytes.subarray(at, at + size), { fin: at + size >= bytes.length }));
  return Buffer.concat(list);
}

export const handshake = (port, { path = '/socket/websocket?vsn=2.0.0', lines = [], key = 'dGhlIHNhbXBsZSBub25jZQ==' } = {}) =>
  `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`;

/** The whole frames at the beginning of `bytes`, and what is left. */
export function readFrames(bytes) {
  const frames = [];
  for (;;) {
    if (bytes.length < 2) return { frames, rest: bytes };
    const short = bytes[1] & 0x7f;
    const head = short === 126 ? 4 : short === 127 ? 10 : 2;
    if (bytes.length < head) return { frames, rest: bytes };
    const length = short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short;
    if (bytes.length < head + length) return { frames, rest: bytes };
    frames.push({ fin: bytes[0] >> 7 === 1, rsv: (bytes[0] >> 4) & 7, opcode: bytes[0] & 15, isMasked: bytes[1] >> 7 === 1, payload: bytes.subarray(head, head + length) });
    bytes = bytes.subarray(head + length);
  }
}

/** A WebSocket without a library: what it sends is bytes, what it hears is frames. */
export class BareSocket {
  static async open(port, { tls, ...how } = {}) {
    const bare = new BareSocket();
    bare.socket = tls ? connectTls({ host: '127.0.0.1', port, ...tls }) : connect(port, '127.0.0.1');
    bare.socket.setNoDelay(true);
    const opened = new Promise((resolve, reject) => {
      let head = Buffer.alloc(0);
      bare.closed = new Promise((ended) => bare.socket.once('close', ended));
      bare.socket.on('error', reject);
      bare.closed.then(() => reject(new Error(`refused: ${head.toString('latin1').split('\r\n', 1)[0] || 'closed'}`)));
      bare.socket.on('data', (data) => {
        if (bare.isOpen) return bare.#take(data);
        head = Buffer.concat([head, data]);
        const end = head.indexOf('\r\n\r\n');
        if (end < 0) return undefined;
        bare.head = head.subarray(0, end).toString('latin1');
        if (!bare.head.startsWith('HTTP/1.1 101 ')) return bare.socket.destroy();
        bare.isOpen = true;
        bare.#take(head.subarray(end + 4));
        return resolve(bare);
      });
    });
    bare.socket.write(how.request ?? handshake(port, how));
    return opened;
  }

  frames = [];
  isOpen = false;
  #rest = Buffer.alloc(0);
  #waiting = [];

  #take(data) {
    const { frames, rest } = readFrames(Buffer.concat([this.#rest, data]));
    this.#rest = rest;
    this.frames.push(...frames);
    for (const look of this.#waiting.splice(0)) look();
  }

  send(bytes) {
    if (!this.socket.destroyed) this.socket.write(bytes);
  }

  /** The first frame that is wanted; null once the connection has ended without it, or the limit is over. */
  next(wanted, limit_ms = 15_000) {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(null), limit_ms);
      const found = (value) => {
        clearTimeout(timer);
        resolve(value);
      };
      const look = () => {
        const match = this.frames.find(wanted);
        if (match) found(match);
        else if (this.socket.destroyed) found(null);
        else this.#waiting.push(look);
      };
      this.closed.then(() => found(this.frames.find(wanted) ?? null));
      look();
    });
  }

  end() {
    this.socket.destroy();
  }
}
