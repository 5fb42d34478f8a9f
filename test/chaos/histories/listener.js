// listener.js - a client of a history that listens to the stream of server-sent events: the token is the id of the last one.
// SPDX-License-Identifier: PostgreSQL
import { request } from 'node:http';
import { sleep } from '../../lib/wait.js';
import { Client } from './clients.js';

const AGAIN_MS = 50;

export class Listener extends Client {
  listens = true;
  isOver = false;

  async begin() {
    this.#run();
  }

  async #run() {
    while (!this.isOver) {
      if (!this.isSilent) await this.#visit();
      await sleep(AGAIN_MS);
    }
  }

  /** One connection, until it ends. */
  #visit() {
    const { history, token } = this;
    const headers = { authorization: `Bearer ${history.token(this.user)}`, ...(token ? { 'last-event-id': token } : {}) };
    const options = { host: '127.0.0.1', port: history.gates[this.streamer].port, path: `/api/v1/sync/stream?device_id=${this.device_id}`, headers, agent: false };
    return new Promise((resolve) => {
      let text = '';
      const visit = request(options, (response) => {
        response.setEncoding('utf8');
        response.on('data', (part) => {
          const events = (text + part).split('\n\n');
          text = events.pop();
          for (const event of events) if (visit === this.visit) this.#take(event);
        });
        response.on('error', () => {});
        response.on('close', resolve);
      });
      this.visit = visit;
      visit.on('error', resolve);
      visit.end();
    });
  }

  #take(text) {
    const event = Object.fromEntries(text.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]));
    if (event.event === 'resync') this.history.tally.resyncs++;
    if (event.event !== 'changes') return;
    const batch = JSON.parse(event.data);
    this.examine(batch.changes);
    this.trace?.push({ ms: Date.now() - this.history.start, token: this.token, answer: batch, streamer: this.streamer });
    this.copy.apply(batch);
    this.token = event.id;
    this.taken = Date.now();
    if (batch.reset?.length) this.history.tally.resets++;
  }

  /** What is still on its way is nobody's. */
  hangUp() {
    this.visit?.destroy();
    this.visit = undefined;
  }

  async silent(ms) {
    this.isSilent = true;
    this.hangUp();
    await sleep(ms);
    this.isSilent = false;
  }

  async die() {
    const { saved } = this;
    this.hangUp();
    this.save();
    this.revive(saved);
  }

  async anew() {
    this.hangUp();
    this.revive();
  }

  async move() {
    this.hangUp();
    this.save();
    this.streamer = 1 - this.streamer;
  }
}
