// hoppers.js - clients that do nothing but come and go: many channels on a few sockets, each with a copy that has to stay complete.
// SPDX-License-Identifier: PostgreSQL
import WebSocket from 'ws';
import { Copy } from '../lib/client.js';
import { sleep, until } from '../lib/wait.js';

const LIMIT_MS = 60_000;

/** One web socket for several hoppers; cut now and then, opened again when one of them wants it. */
class Line {
  constructor(streamer) {
    this.streamer = streamer;
  }

  hoppers = new Map(); // topic → hopper

  async open() {
    while (this.ws?.readyState !== WebSocket.OPEN) {
      this.opening ??= this.#connect().finally(() => (this.opening = undefined));
      await this.opening; // another hopper may cut it just then
    }
  }

  #connect() {
    if (this.ws?.readyState === WebSocket.OPEN) return Promise.resolve();
    const ws = new WebSocket(`ws://127.0.0.1:${this.streamer.port}/socket/websocket?vsn=2.0.0`, { perMessageDeflate: false, handshakeTimeout: LIMIT_MS });
    this.ws = ws;
    ws.on('message', (data) => {
      const frame = JSON.parse(data.toString());
      if (ws === this.ws) this.hoppers.get(frame[2])?.take(frame);
    });
    ws.on('error', () => {});
    ws.on('close', () => {
      if (ws === this.ws) for (const hopper of this.hoppers.values()) hopper.isGone = true;
    });
    return new Promise((resolve) => {
      ws.on('open', resolve);
      ws.on('close', resolve);
    });
  }

  send(frame) {
    if (this.ws?.readyState === WebSocket.OPEN) this.ws.send(JSON.stringify(frame));
  }

  cut() {
    const { ws } = this;
    this.ws = undefined; // whatever still comes is nobody's
    ws?.terminate();
    for (const hopper of this.hoppers.values()) hopper.isGone = true;
  }
}

export class Hopper {
  copy = new Copy();
  isGone = true; // its channel is over, or its socket
  isLive = false; // its round has ended: the stream is next
  visits = 0;
  joins = 0;
  #ref = 0;

  constructor(line, sub, number, random) {
    Object.assign(this, { line, sub, topic: `sync:${number}`, device_id: `hopper-${number}`, random });
    line.hoppers.set(this.topic, this);
  }

  take([, ref, , event, payload]) {
    if (this.isGone) return;
    if (event === 'changes') this.#batch(payload);
    else if (event === 'ready') this.session = payload.session;
    else if (event === 'phx_error' || event === 'phx_close') this.isGone = true;
    else if (event === 'phx_reply' && ref === this.leaving) this.isGone = true;
    else if (event === 'phx_reply' && ref === this.joining) this.#joined(payload);
  }

  #joined({ status, response }) {
    if (status === 'ok') this.session = response.session;
    else this.isGone = true;
  }

  #batch(batch) {
    this.copy.apply(batch);
    this.token = `${this.session}.${batch.cursor}`;
    if (!batch.has_more) this.isLive = true;
  }

  /** Joins, with its token or without anything; true once its first round has ended. */
  async join() {
    await this.line.open();
    if (this.random.chance(0.04)) this.forget();
    this.isGone = this.isLive = false;
    this.leaving = undefined;
    this.joining = String(++this.#ref);
    this.joins++;
    const payload = { access_token: this.line.streamer.token(this.sub), device_id: this.device_id, ...(this.token ? { sync_token: this.token } : {}) };
    this.line.send([this.joining, this.joining, this.topic, 'phx_join', payload]);
  }

  /** Where its token stands, for people. */
  get position() {
    return this.token && Buffer.from(this.token.split('.')[1], 'base64url').toString();
  }

  forget() {
    this.copy = new Copy();
    this.token = undefined;
  }

  async leave() {
    if (this.isGone) return;
    this.leaving = String(++this.#ref);
    this.line.send([this.joining, this.leaving, this.topic, 'phx_leave', {}]);
    await until('leaving is answered', () => this.isGone, { limit_ms: LIMIT_MS, every_ms: 5 });
  }

  /** Comes and goes until `stays()`; then it is in, and stays. */
  async hop(stays) {
    for (;;) {
      await this.join();
      const patience = this.random.chance(0.15) ? this.random.below(40) : LIMIT_MS;
      const end = Date.now() + patience;
      await until('the join ends', () => this.isGone || this.isLive || Date.now() > end, { limit_ms: LIMIT_MS, every_ms: 5 });
      this.visits += this.isLive;
      if (stays() && this.isLive && !this.isGone) return;
      await sleep(this.random.below(this.random.chance(0.3) ? 150 : 30));
      if (!stays() && this.random.chance(0.02)) this.line.cut(); // with those that it shares it with
      else await this.leave();
      if (this.isGone && !this.isLive) await sleep(20);
    }
  }
}

/** `channels` of them on `sockets` sockets of each streamer. */
export function makeHoppers(streamers, { sockets, channels, random }) {
  const hoppers = [];
  for (const streamer of streamers) {
    for (let i = 0; i < sockets; i++) {
      const line = new Line(streamer);
      for (let k = 0; k < channels; k++) hoppers.push(new Hopper(line, `user${i % 5}`, hoppers.length, random));
    }
  }
  return hoppers;
}
