// hostile_socket.js - one TCP connection of somebody who means no good: it writes bytes at its own pace, reads frames or text, and ends as it likes.
// SPDX-License-Identifier: PostgreSQL
import { connect } from 'node:net';
import { CLOSE, handshake, readFrames, TEXT, frame } from '../../lib/frames.js';
import { sleep } from '../../lib/wait.js';

export class HostileSocket {
  /** From this local address, so that the streamer counts it apart from the good ones. */
  constructor(port, from) {
    this.port = port;
    this.socket = connect({ port, host: '127.0.0.1', localAddress: from });
    this.socket.setNoDelay(true);
    this.socket.on('error', () => {});
    this.socket.on('data', (data) => this.#take(data));
    this.closed = new Promise((resolve) => this.socket.once('close', resolve));
    this.socket.once('close', () => this.#look());
  }

  text = ''; // what came before an upgrade
  frames = [];
  isUpgraded = false;
  #rest = Buffer.alloc(0);
  #read = 0;
  #replies = new Map();
  #waiting = [];

  #take(data) {
    if (this.isUpgraded) {
      const { frames, rest } = readFrames(Buffer.concat([this.#rest, data]));
      this.#rest = rest;
      this.frames.push(...frames);
    } else {
      this.text += data.toString('latin1');
      const end = this.text.indexOf('\r\n\r\n');
      if (end >= 0 && this.text.startsWith('HTTP/1.1 101 ')) {
        const more = Buffer.from(this.text.slice(end + 4), 'latin1');
        this.text = this.text.slice(0, end + 4);
        this.isUpgraded = true;
        this.#take(more);
      }
    }
    this.#look();
  }

  #look() {
    for (const look of this.#waiting.splice(0)) look();
  }

  get isOver() {
    return this.socket.destroyed || this.socket.readableEnded;
  }

  /** The HTTP status of the answer, 0 without one. */
  get status() {
    return Number(/^HTTP\/1\.[01] (\d+)/.exec(this.text)?.[1] ?? 0);
  }

  /** The code of the close frame that came; 'none' if the connection ended without. */
  get closeCode() {
    const close = this.frames.findLast(({ opcode }) => opcode === CLOSE);
    return close ? String(close.payload.length >= 2 ? close.payload.readUInt16BE(0) : 1005) : 'none';
  }

  /** The replies so far, by their ref; each frame is read once. */
  replied() {
    for (; this.#read < this.frames.length; this.#read++) {
      const { opcode, payload } = this.frames[this.#read];
      if (opcode !== TEXT) continue;
      const [, ref, , event, what] = JSON.parse(payload.toString());
      if (event === 'phx_reply') this.#replies.set(ref, what);
    }
    return this.#replies;
  }

  /** Resolves once the kernel took it; false: there is nobody any more. */
  write(bytes) {
    if (this.socket.destroyed) return Promise.resolve(false);
    return new Promise((resolve) => {
      this.socket.write(bytes, (error) => resolve(!error));
      this.closed.then(() => resolve(false));
    });
  }

  /** In pieces of `size` bytes, a pause after each. */
  async drip(bytes, size, pause_ms) {
    const all = Buffer.from(bytes);
    for (let at = 0; at < all.length && !this.isOver; at += size) {
      await this.write(all.subarray(at, at + size));
      await sleep(pause_ms);
    }
  }

  /** Until `wanted` holds or the connection has ended, at most so long; whether it holds. */
  until(wanted, limit_ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), limit_ms);
      const look = () => {
        if (!wanted() && !this.socket.destroyed) {
          this.#waiting.push(look);
          return;
        }
        clearTimeout(timer);
        resolve(Boolean(wanted()));
      };
      look();
    });
  }

  answered(limit_ms) {
    return this.until(() => this.text.includes('\r\n\r\n'), limit_ms);
  }

  /** Until it says why it closes, or has closed without a word; false: it does neither. */
  async ended(limit_ms) {
    return this.until(() => this.closeCode !== 'none' || this.isOver, limit_ms);
  }

  async upgrade(how = {}) {
    await this.write(handshake(this.port, how));
    return this.until(() => this.isUpgraded, 15_000);
  }

  say(...message) {
    return this.write(frame(TEXT, JSON.stringify(message)));
  }

  /** Until so many replies as there are refs have come; the payloads of those that have. */
  async replies(refs, limit_ms = 15_000) {
    await this.until(() => this.replied().size >= refs.length || this.closeCode !== 'none', limit_ms);
    return refs.filter((ref) => this.replied().has(ref)).map((ref) => this.replied().get(ref));
  }

  end() {
    this.socket.destroy();
  }

  /** With a reset: whatever is under way in the other direction is lost. */
  reset() {
    if (!this.socket.destroyed) this.socket.resetAndDestroy();
  }
}
