// light.js - clients that keep no rows: a channel that comes back whenever its connection ends, the sync channel on it, and the stream as server-sent events.
// SPDX-License-Identifier: PostgreSQL
import { request as httpRequest } from 'node:http';
import WebSocket from 'ws';
import { sleep } from '../lib/wait.js';

/** One topic on one connection. `told(event, payload)` gets what it says; `join()` makes the payload of each join. */
export class LightChannel {
  constructor(streamer, sub, topic, { told = () => {}, join = () => ({}), delay = () => 50 + Math.random() * 200 } = {}) {
    Object.assign(this, { streamer, sub, topic, told, join, delay });
  }

  joins = 0;
  refused = 0;
  isJoined = false;
  isOver = false;
  closes = new Map(); // code → how often
  #ref = 1;

  start() {
    this.running = this.#run();
    return this;
  }

  async #run() {
    while (!this.isOver) {
      await this.#visit();
      this.isJoined = false;
      this.ended();
      if (!this.isOver) await sleep(this.delay());
    }
  }

  ended() {}

  /** One connection, until it ends. */
  #visit() {
    const ws = new WebSocket(`ws://127.0.0.1:${this.streamer.port}/socket/websocket?vsn=2.0.0`, { perMessageDeflate: false, handshakeTimeout: 20_000 });
    this.ws = ws;
    ws.on('open', () => ws.send(JSON.stringify(['1', '1', this.topic, 'phx_join', { access_token: this.streamer.token(this.sub), ...this.join() }])));
    ws.on('message', (data) => this.#message(ws, JSON.parse(data.toString())));
    ws.on('error', () => {});
    return new Promise((resolve) => ws.on('close', (code) => {
      this.closes.set(code, (this.closes.get(code) ?? 0) + 1);
      resolve();
    }));
  }

  #message(ws, [, ref, , event, payload]) {
    if (ws !== this.ws || this.isOver) return;
    if (event === 'phx_reply' && ref === '1') {
      this.isJoined = payload.status === 'ok';
      this.joins += this.isJoined;
      this.refused += !this.isJoined;
    }
    this.message(event, payload, ref === '1');
    if (event === 'phx_error' || event === 'phx_close' || (event === 'phx_reply' && ref === '1' && !this.isJoined)) ws.terminate();
  }

  message(event, payload) {
    this.told(event, payload);
  }

  /** Whether it could be said. */
  say(event, payload) {
    if (!this.isJoined || this.ws.readyState !== WebSocket.OPEN) return false;
    this.ws.send(JSON.stringify(['1', String(++this.#ref), this.topic, event, payload]));
    return true;
  }

  /** The connection ends without a word; the client comes back by itself. */
  cut() {
    this.ws?.terminate();
  }

  pause() {
    this.ws?._socket?.pause();
  }

  resume() {
    this.ws?._socket?.resume();
  }

  async stop() {
    this.isOver = true;
    this.ws?.terminate();
    await this.running;
  }
}

/** The sync channel: `take(batch)` gets every batch, and it comes back with its token. `join`: more members of the join. */
export class LightClient extends LightChannel {
  constructor(streamer, sub, { take, join = {}, label = 'light', device_id = `light-${sub}-${Math.floor(Math.random() * 1e9)}`, ...options } = {}) {
    const payload = () => ({ device_id, ...(this.sync_token ? { sync_token: this.sync_token } : {}), ...join });
    super(streamer, sub, `sync:${label}`, { ...options, join: () => payload() });
    this.take = take;
    this.device_id = device_id;
  }

  isLive = false;
  #session;

  ended() {
    this.isLive = false;
  }

  message(event, payload, isJoin) {
    if (event === 'phx_reply' && isJoin) this.#session = payload.response.session ?? this.#session;
    else if (event === 'ready') this.#session = payload.session;
    else if (event === 'changes') this.#batch(payload);
    else this.told(event, payload);
  }

  #batch(batch) {
    this.take(batch);
    if (batch.cursor) this.sync_token = `${this.#session}.${batch.cursor}`;
    if (batch.has_more !== true) this.isLive = true;
  }
}

/** The same by server-sent events: the token is the id of the last event. */
export class LightStream {
  constructor(streamer, sub, { take, told = () => {}, device_id = `sse-${sub}-${streamer.port}` }) {
    Object.assign(this, { streamer, sub, take, told, device_id });
  }

  visits = 0;
  isLive = false;
  isOver = false;

  start() {
    this.running = this.#run();
    return this;
  }

  async #run() {
    while (!this.isOver) {
      await this.#visit();
      this.isLive = false;
      if (!this.isOver) await sleep(200);
    }
  }

  #visit() {
    const headers = { authorization: `Bearer ${this.streamer.token(this.sub)}`, ...(this.sync_token ? { 'last-event-id': this.sync_token } : {}) };
    return new Promise((resolve) => {
      let text = '';
      this.request = httpRequest({ host: '127.0.0.1', port: this.streamer.port, path: `/api/v1/sync/stream?device_id=${this.device_id}`, headers, agent: false }, (response) => {
        this.visits += response.statusCode === 200;
        response.setEncoding('utf8');
        response.on('data', (part) => {
          const events = (text + part).split('\n\n');
          text = events.pop();
          for (const event of events) this.#event(event);
        });
        response.on('error', () => {});
        response.on('close', resolve);
      });
      this.request.on('error', resolve);
      this.request.end();
    });
  }

  #event(text) {
    const event = Object.fromEntries(text.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]));
    if (event.event !== 'changes') {
      if (event.event) this.told(event.event, event.data);
      return;
    }
    const batch = JSON.parse(event.data);
    this.take(batch);
    this.sync_token = event.id;
    if (batch.has_more !== true) this.isLive = true;
  }

  cut() {
    this.request?.destroy();
  }

  async stop() {
    this.isOver = true;
    this.request?.destroy();
    await this.running;
  }
}
