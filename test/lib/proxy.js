// proxy.js - a TCP proxy to a server, whose connections can be left hanging as a broken network leaves them, or cut.
// SPDX-License-Identifier: PostgreSQL
import { connect, createServer } from 'node:net';

export class Proxy {
  static async start(host, port) {
    const proxy = new Proxy();
    proxy.listener = createServer((client) => proxy.#pass(client, connect(port, host)));
    await new Promise((resolve) => proxy.listener.listen(0, '127.0.0.1', resolve));
    proxy.port = proxy.listener.address().port;
    return proxy;
  }

  #pairs = new Set();
  #hangs = false;

  #pass(client, server) {
    const pair = [client, server];
    this.#pairs.add(pair);
    for (const [from, to] of [pair, [server, client]]) {
      from.on('data', (bytes) => (this.#hangs ? undefined : to.write(bytes)));
      from.on('error', () => {});
      // a network that is gone tells nobody that the other side has left
      from.on('close', () => {
        if (!this.#hangs) to.destroy();
      });
    }
  }

  /** From now on nothing arrives any more, and nobody is told. */
  hang() {
    this.#hangs = true;
  }

  /** All connections end; new ones pass again. */
  heal() {
    this.#hangs = false;
    for (const pair of this.#pairs) for (const end of pair) end.destroy();
    this.#pairs.clear();
  }

  async stop() {
    this.heal();
    await new Promise((resolve) => this.listener.close(resolve));
  }
}
