// demo.js - runs the demo until Ctrl-C: says what it does, prints the address of the page, stops what it started.
// SPDX-License-Identifier: PostgreSQL
import { createServer } from 'node:net';
import { Demo } from './lib/demo.js';

const PORT = Number(process.env.PORT || 4000);
const say = (line) => console.log(`demo: ${line}`);

/** The usual port if nobody has it, else whichever is free. */
async function usualPort() {
  const probe = createServer();
  const free = await new Promise((resolve) => probe.once('error', () => resolve(false)).listen(PORT, '127.0.0.1', () => resolve(true)));
  if (free) await new Promise((resolve) => probe.close(resolve));
  return free ? PORT : undefined;
}

let demo;
let stopping = false;
async function stop(why, code) {
  if (stopping) return;
  stopping = true;
  say(`${why}: stopping streamer and PostgreSQL`);
  try {
    await demo?.stop();
    say('stopped, nothing is left behind');
  } catch (error) {
    console.error(error.message);
    code = 1;
  }
  process.exit(code);
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => stop(signal === 'SIGINT' ? 'Ctrl-C' : signal, 0));

try {
  demo = await Demo.start({ port: await usualPort(), say });
  say(`psql: psql '${demo.database.conninfo()}'   (change a note there and watch the page)`);
  say('');
  say(`open ${demo.url}`);
  say('');
  say('Ctrl-C ends it');
  demo.streamer.process.exited.then(({ code, signal }) => stop(`the streamer ended (${signal ?? code})\n${demo.streamer.log.slice(-2000)}`, 1));
} catch (error) {
  console.error(error.message);
  await stop('it did not start', 1);
}
