// light.js - a client that keeps its token and no rows: it joins, hands every batch on, and comes back whenever its connection ends.
// SPDX-License-Identifier: PostgreSQL
import WebSocket from 'ws';
import { sleep } from '../lib/wait.js';

export class LightClient {
  /** `take(batch)` gets every batch, `told(event, payload)` what else the channel says; `join`: more members of the join. */
  constructor(streamer, sub, { take, told = () => {}, join = {}, delay = () => 50 + Math.random() * 200 } = {}) {
    Object.assign(this, { streamer, sub, take, told, join, delay });
    this.device_id = `light-${sub}-${streamer.port}-${Math.floor(Math.random() * 1e9)}`;
  }

  joins = 0;
  isLive = false;
  isOver = false;
  closes = new Map(); // code → how often
  #session;

  start() {
    this.running = this.#run();
    return this;
  }

  async #run() {
    while (!this.isOver) {
      await this.#visit();
      this.isLive = false;
      if (!this.isOver) await sleep(this.delay());
    }
  }

  /** One connection, until it ends. */
  #visit() {
    const ws = new WebSocket(`ws://127.0.0.1:${this.streamer.port}/socket/websocket?vsn=2.0.0`, { perMessageDeflate: false, handshakeTimeout: 20_000 });
    this.ws = ws;
    ws.on('open', () => {
      const token = this.sync_token ? { sync_token: this.sync_token } : {};
      ws.send(JSON.stringify(['1', '1', 'sync:light', 'phx_join', { access_token: this.streamer.token(this.sub), device_id: this.device_id, ...token, ...this.join }]));
    });
    ws.on('message', (data) => this.#message(ws, JSON.parse(data.toString())));
    ws.on('error', () => {});
    return new Promise((resolve) => ws.on('close', (code) => {
      this.closes.set(code, (this.closes.get(code) ?? 0) + 1);
      resolve();
    }));
  }

  #message(ws, [, , , event, payload]) {
    if (ws !== this.ws || this.isOver) return;
    if (event === 'phx_reply' && payload.status === 'ok') {
      this.joins++;
      this.#session = payload.response.session ?? this.#session;
    } else if (event === 'ready') this.#session = payload.session;
    else if (event === 'changes') this.#batch(payload);
    else this.told(event, payload);
    if (event === 'phx_error' || event === 'phx_close' || (event === 'phx_reply' && payload.status !== 'ok')) ws.terminate();
  }

  #batch(batch) {
    this.take(batch);
    if (batch.cursor) this.sync_token = `${this.#session}.${batch.cursor}`;
    if (batch.has_more !== true) this.isLive = true;
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
