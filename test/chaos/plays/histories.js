// histories.js - G3: random histories of writers, clients and faults; at the end every copy equals what Postgres shows its user, and nothing leaked.
// SPDX-License-Identifier: PostgreSQL
//
// One history per seed, counted up from the run's; a seed fixes what everybody decides to do and when, not who gets the processor first.
// LANES= servers side by side, EACH= histories one after the other in one database and on the same streamers (what fails as the third of
// them is asked for again by the seed of the first, MOST=3 LANES=1), SHOW=1 a line for each history.
import { Postgres } from '../../lib/postgres.js';
import { History } from '../histories/history.js';
import { Place } from '../histories/place.js';
import { SCHEMA } from '../histories/schema.js';

const LANES = Number(process.env.LANES || 2);
const EACH = Number(process.env.EACH || 8);
const SETTINGS = { deadlock_timeout: '100ms', max_prepared_transactions: 20, log_min_messages: 'error', checkpoint_timeout: '1h', synchronous_commit: 'on' };

async function stage() {
  const server = await Postgres.start({ settings: SETTINGS });
  try {
    const base = await server.createDatabase('base');
    server.psql('postgres', ['-c', 'CREATE ROLE app NOLOGIN; CREATE ROLE guest NOLOGIN; GRANT app, guest TO sync_query']);
    server.psql('base', ['-o', '/dev/null', '-f', '-'], SCHEMA);
    await base.pool.end();
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

/** A statement outside the history's database, on a connection of its own. */
const adminOf = (server) => async (sql) => {
  const client = await server.connect('postgres');
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
};

const SHOWN = ['transactions', 'prepared', 'pulls', 'pushs', 'faults', 'resets', 'resyncs', 'changes_seen'];

async function run({ seconds, seed, most = Infinity, control, say }) {
  const end = Date.now() + seconds * 1000;
  process.setMaxListeners(0); // each streamer listens for our end
  const sums = {};
  const result = { figures: {}, failures: [] };
  let begun = 0;
  let done = 0;
  let clients = 0;
  let divergent = 0;

  const goesOn = () => begun < most && (begun === 0 || Date.now() < end) && result.failures.length < (control ? 1 : 20);

  const count = (history, where) => {
    const own = history.plan.seed;
    done++;
    clients += history.clients.length;
    for (const [name, value] of Object.entries(history.tally)) sums[name] = (sums[name] ?? 0) + value;
    if (history.failures.length) {
      divergent++;
      for (const text of history.failures) say(`SEED=${own}${where}: ${text.slice(0, 600)}`);
      result.seed ??= own;
      result.failures.push(...history.failures.map((text) => `SEED=${own}: ${text}`), `SEED=${own}${where}: ${history.notes.join('; ')}`);
    }
    if (process.env.SHOW) say(`SEED=${own}${where} ${history.tally.ms} ms ${JSON.stringify(history.tally)} ${history.notes.join('; ')}`);
    else if (done % 20 === 0) say(`${done} histories, ${result.failures.length} failures`);
  };

  /** Several in one place; false: its server may not be what it was. */
  const inOnePlace = async (server) => {
    const first = seed + begun;
    const seeds = Array.from({ length: Math.min(EACH, most - begun) }, () => seed + begun++);
    const place = await Place.open(server, adminOf(server), `h${first}`);
    try {
      for (const own of seeds) {
        const history = await new History(place, own).run();
        count(history, own === first ? '' : ` (${own - first + 1}. since SEED=${first})`);
        if (history.failures.length) return !history.failures.some((text) => /broke off|did not end/.test(text));
        if (Date.now() >= end) break;
      }
      return true;
    } finally {
      await place.close().catch((error) => result.failures.push(`SEED=${first}: did not end cleanly: ${error.stack}`));
    }
  };

  const lane = async () => {
    const server = await stage();
    try {
      while (goesOn() && (await inOnePlace(server)));
    } finally {
      await server.stop();
    }
  };
  // a lane that breaks leaves none of the others behind
  for (const { reason } of await Promise.allSettled(Array.from({ length: Math.min(LANES, most) }, lane))) {
    if (reason) result.failures.push(`broke off: ${reason.stack}`);
  }
  result.isBroken = result.failures.length > 0 && result.failures.every((text) => /broke off|: did not end|^SEED=\d+[^:]*: \d+ ms/.test(text));
  result.figures = { histories: done, clients, ...Object.fromEntries(SHOWN.map((name) => [name, sums[name] ?? 0])), divergent };
  return result;
}

export const play = { row: 'G3', name: 'histories', title: 'every client of a random history ends with what Postgres shows its user', short: 3, control: 'scope', run };
