// demo.js - the demo's server, streamer and page, started step by step; `make demo` and its test share it.
// SPDX-License-Identifier: PostgreSQL
import { copyFileSync, cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Postgres, ROOT } from './postgres.js';
import { Streamer } from './streamer.js';

export const PEOPLE = [
  { sub: 'ada', name: 'Ada', team: 1, streamer: 1 },
  { sub: 'ben', name: 'Ben', team: 1, streamer: 2 },
  { sub: 'cleo', name: 'Cleo', team: 2, streamer: 1 },
];
const TOKEN_SECONDS = 12 * 3600;

/** A copy of the page's files beside which the npm client and the tokens can lie. */
function makePage() {
  const directory = mkdtempSync(path.join(tmpdir(), 'sync-demo.'));
  cpSync(path.join(ROOT, 'streamer/demo'), directory, { recursive: true });
  const phoenix = path.join(path.dirname(createRequire(import.meta.url).resolve('phoenix')), 'phoenix.mjs');
  copyFileSync(phoenix, path.join(directory, 'phoenix.js'));
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function writeTokens(directory, [streamer, second]) {
  const exp = Math.floor(Date.now() / 1000) + TOKEN_SECONDS;
  const people = PEOPLE.map((person) => ({ ...person, token: streamer.token(person.sub, { exp }) }));
  const text = `// tokens.js - made by the demo's start: development tokens, good for ${TOKEN_SECONDS / 3600} hours on this machine.\nexport const streamers = ${JSON.stringify([streamer, second].map(({ port }) => `127.0.0.1:${port}`))};\nexport const people = ${JSON.stringify(people, null, 2)};\n`;
  writeFileSync(path.join(directory, 'tokens.js'), text);
}

export class Demo {
  static async start({ port, say = () => {} } = {}) {
    const demo = new Demo();
    try {
      say('starting a private PostgreSQL in a temporary directory');
      demo.server = await Postgres.start();
      say('loading the tables, policies and sample notes of test/demo.sql, sync switched on at its end');
      demo.database = await demo.server.createDatabase('demo');
      demo.server.psql('demo', ['-o', '/dev/null', '-f', path.join(ROOT, 'test/demo.sql')]);
      demo.directory = makePage();
      say('starting the streamer on loopback, with development tokens for Ada, Ben and Cleo');
      demo.streamer = await Streamer.start(demo.database, { demo: demo.directory }, { port });
      say('starting a second one beside it, which Ben connects to');
      demo.second = await Streamer.start(demo.database, { 'allow-origin': demo.streamer.url }, { secret: demo.streamer.secret });
      writeTokens(demo.directory, [demo.streamer, demo.second]);
    } catch (error) {
      await demo.stop().catch(() => {});
      throw error;
    }
    return demo;
  }

  get url() {
    return `${this.streamer.url}/demo/`;
  }

  async stop() {
    try {
      for (const streamer of [this.second, this.streamer]) if (streamer) await streamer.stop();
    } finally {
      if (this.server) await this.server.stop();
      if (this.directory) rmSync(this.directory, { recursive: true, force: true });
    }
  }
}
