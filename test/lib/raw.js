// raw.js - a bare web socket and bare TCP, for saying what no decent client would say.
// SPDX-License-Identifier: PostgreSQL
import { connect } from 'node:net';
import WebSocket from 'ws';
import { until, within } from './wait.js';

export class RawSocket {
  /** Resolves when open; rejects with the HTTP status in `.status` when the handshake was refused. */
  static async open(streamer, { path = '/socket/websocket?vsn=2.0.0', ...options } = {}) {
    const raw = new RawSocket();
    raw.ws = new WebSocket(`${streamer.url.replace(/^http/, 'ws')}${path}`, options);
    raw.ws.on('message', (data) => raw.#take(data.toString()));
    raw.closed = new Promise((resolve) => raw.ws.on('close', (code, reason) => resolve({ code, reason: reason.toString() })));
    const opened = new Promise((resolve, reject) => {
      raw.ws.on('open', () => resolve(raw));
      raw.ws.on('unexpected-response', (_, response) => reject(Object.assign(new Error(`refused with ${response.statusCode}`), { status: response.statusCode })));
      raw.ws.on('error', reject);
    });
    return within(60_000, 'the handshake', opened);
  }

  frames = [];
  error; // once something came that is no JSON
  #ref = 0;

  #take(text) {
    try {
      this.frames.push(JSON.parse(text));
    } catch (error) {
      this.error = error;
    }
  }

  /** What `find` finds among the frames. */
  look(find) {
    if (this.error) throw this.error;
    return this.frames.find(find);
  }

  send(text) {
    this.ws.send(text);
  }

  /** Sends one Phoenix message and waits for its reply's payload. */
  async ask(topic, event, payload, join_ref) {
    const ref = String(++this.#ref);
    this.send(JSON.stringify([join_ref ?? (event === 'phx_join' ? ref : null), ref, topic, event, payload]));
    const frame = await until(`a reply to ${event}`, () => this.look((f) => f[3] === 'phx_reply' && f[1] === ref), { limit_ms: 60_000 });
    return frame[4];
  }

  close() {
    this.ws.terminate();
  }
}

/** Sends bytes over TCP; what came back until the other side closed, or until `enough` of it. */
export function exchange(port, bytes, { enough = () => false, limit_ms = 10_000 } = {}) {
  const answer = new Promise((resolve, reject) => {
    let text = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    const timer = setTimeout(() => finish(), limit_ms);
    const finish = () => {
      clearTimeout(timer);
      socket.destroy();
      resolve(text);
    };
    socket.on('data', (data) => {
      text += data.toString('latin1');
      if (enough(text)) finish();
    });
    socket.on('close', finish);
    socket.on('error', (error) => (text ? finish() : reject(error)));
  });
  return answer;
}
