// server_clock.js - the clock of the PostgreSQL server itself, put forward and back while it runs; only where libfaketime is there.
// SPDX-License-Identifier: PostgreSQL
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const PLACES = [process.env.SYNC_FAKETIME, '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1', '/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1', '/usr/lib/faketime/libfaketime.so.1'];
const STEPS = ['+0', '+0', '-3600s', '+3600s', '-30s', '+86400s', '-86400s', '+90s'];

export class ServerClock {
  /** Starts the server once more under the library, if there is one. */
  static async take(server) {
    const clock = new ServerClock();
    const library = PLACES.find((place) => place && existsSync(place));
    clock.isFake = Boolean(library);
    if (!library) return clock;
    const directory = mkdtempSync(path.join(tmpdir(), 'sync-clock.'));
    process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
    chmodSync(directory, 0o755);
    clock.file = path.join(directory, 'offset');
    clock.#set('+0');
    // the library comes in only here, where the user is the server's own: it keeps a semaphore of its process
    writeFileSync(path.join(directory, 'postgres'), `#!/bin/sh
export LD_PRELOAD=${library} FAKETIME_TIMESTAMP_FILE=${clock.file} FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1
exec ${path.join(server.bin, 'postgres')} "$@"
`);
    chmodSync(path.join(directory, 'postgres'), 0o755);
    const { bin } = server;
    server.bin = directory;
    try {
      await server.restart();
    } finally {
      server.bin = bin;
    }
    return clock;
  }

  #set(offset) {
    writeFileSync(this.file, `${offset}\n`);
    chmodSync(this.file, 0o644);
  }

  /** Another time from now on; whether there is a clock to set. */
  async step(random) {
    if (!this.isFake) return false;
    this.#set(random.pick(STEPS));
    return true;
  }
}
