// proxy.js - a network that can be broken: passes bytes on from a port or socket of its own, cuts, stalls, or swallows them without a word.
// SPDX-License-Identifier: PostgreSQL
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort } from '../../lib/postgres.js';

export class Proxy {
  #pairs = new Set();
  #isStalled = false;

  /** From a TCP port of its own to a TCP port. */
  static async tcp(target) {
    const proxy = new Proxy(() => connect(target, '127.0.0.1'));
    proxy.port = await freePort();
    await proxy.#listen(proxy.port, '127.0.0.1');
    return proxy;
  }

  /** From a directory of its own to the socket of the same name in another. */
  static async socket(directory, name) {
    const proxy = new Proxy(() => connect(path.join(directory, name)));
    proxy.directory = mkdtempSync(path.join(tmpdir().length > 60 ? '/tmp' : tmpdir(), 'sync-net.'));
    await proxy.#listen(path.join(proxy.directory, name));
    return proxy;
  }

  constructor(reach) {
    this.reach = reach;
    this.server = createServer({ allowHalfOpen: false }, (near) => this.#join(near));
  }

  #listen(...where) {
    return new Promise((resolve, reject) => this.server.once('error', reject).listen(...where, resolve));
  }

  #join(near) {
    const far = this.reach();
    const pair = { near, far, isOpen: false, isSwallowed: false };
    this.#pairs.add(pair);
    for (const socket of [near, far]) {
      socket.on('error', () => {});
      socket.setNoDelay?.(true);
      socket.on('close', () => {
        // who is left hanging is told nothing until the break is over
        if (pair.isSwallowed) return;
        this.#end(pair);
      });
    }
    if (!this.#isStalled) this.#open(pair);
  }

  #open(pair) {
    if (pair.isOpen) return; // piped twice, every byte would pass twice
    pair.isOpen = true;
    pair.near.pipe(pair.far);
    pair.far.pipe(pair.near);
  }

  #end(pair) {
    this.#pairs.delete(pair);
    pair.near.destroy();
    pair.far.destroy();
  }

  #pause(pair) {
    const { near, far } = pair;
    pair.isOpen = false;
    near.unpipe(far);
    far.unpipe(near);
    near.pause();
    far.pause();
  }

  /** All connections end at once. */
  cut() {
    for (const pair of [...this.#pairs]) this.#end(pair);
  }

  /** Nothing passes, nothing is lost. */
  stall() {
    this.#isStalled = true;
    for (const pair of this.#pairs) this.#pause(pair);
  }

  /** The far end is gone; the near one is not told, whatever it sends is lost. */
  swallow() {
    for (const pair of this.#pairs) {
      this.#pause(pair);
      pair.isSwallowed = true;
      pair.far.destroy();
      pair.near.resume();
    }
  }

  /** As before; connections whose bytes were swallowed end now. */
  heal() {
    this.#isStalled = false;
    for (const pair of [...this.#pairs]) {
      if (pair.isSwallowed) this.#end(pair);
      else this.#open(pair);
    }
  }

  async close() {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
    if (this.directory) rmSync(this.directory, { recursive: true, force: true });
  }
}
