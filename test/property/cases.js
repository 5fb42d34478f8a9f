// cases.js - runs many cases against one server, shrinks what fails, counts what settles without a person.
// SPDX-License-Identifier: PostgreSQL
import { Postgres } from '../lib/postgres.js';
import { Random } from '../lib/random.js';
import { Generator, MIXES } from './generate.js';
import { Trial } from './harness.js';
import { MAIN_TABLES, TABLES, schema } from './tables.js';

const WORKERS = 2;
const CLEAR_EVERY = 200; // cases: what a user may store is bounded

/** A server with the schema of the property test. */
export class Arena {
  static async start() {
    const arena = new Arena();
    arena.server = await Postgres.start();
    try {
      arena.database = await arena.server.createDatabase('property', { roles: false });
      arena.server.psql('property', ['-o', '/dev/null', '-f', '-'], schema(WORKERS));
      for (const { id, entity_type } of await arena.database.sql('SELECT id, entity_type FROM sync.synced_table WHERE id >= 100')) TABLES[entity_type].id = id;
      arena.clients = await Promise.all(Array.from({ length: WORKERS }, () => arena.database.connect()));
    } catch (error) {
      await arena.stop();
      throw error;
    }
    return arena;
  }

  #cases = 0;

  trial(worker, table) {
    return new Trial(this.clients[worker], worker, ++this.#cases, table);
  }

  async clear(worker) {
    await this.clients[worker].query(`DELETE FROM sync.conflict WHERE pushed_by LIKE '%${worker}'; DELETE FROM sync.ledger USING sync.ledger_device d WHERE d.id = device AND d.user_id LIKE '%${worker}'`);
  }

  async stop() {
    for (const client of this.clients ?? []) await client.end();
    await this.server.stop();
  }
}

function pickTable(random, mix, only) {
  if (only) return TABLES[only];
  if (mix !== 'typical') return random.pick(MAIN_TABLES);
  const place = random.next();
  const rule = place < 0.93 ? 'merge' : place < 0.97 ? 'lww' : place < 0.99 ? 'reject' : 'manual';
  return random.pick(MAIN_TABLES.filter((table) => table.rule === rule && table.delete_rule === 'delete_wins' && !table.scoped && !table.window));
}

const isCollision = (verdict) => verdict.logged || verdict.outcome === 'merged';
// an open conflict, or one that the database refused: somebody must look
const needsPerson = (verdict) => verdict.outcome === 'conflict' || (verdict.status === 'error' && verdict.logged);

/** One case by its seed: undefined, or what differed and the history that led there. */
export async function runCase(arena, worker, { seed, mix = 'hard', table, tally }) {
  const random = new Random(seed);
  const trial = arena.trial(worker, pickTable(random, mix, table));
  const history = [];
  for (const step of new Generator(random, trial, MIXES[mix]).steps()) {
    history.push(step);
    const why = await attempt(trial, step);
    if (why) return { seed, mix, table: trial.table.name, why, history, last: trial.last };
    if (tally && step.push) count(tally, trial.last.expected);
  }
  return undefined;
}

function count(tally, verdicts) {
  tally.changes += verdicts.length;
  for (const verdict of verdicts) {
    tally.outcomes[verdict.outcome] = (tally.outcomes[verdict.outcome] ?? 0) + 1;
    if (verdict.repeat || !isCollision(verdict)) continue;
    tally.conflicts++;
    if (!needsPerson(verdict)) tally.settled++;
  }
}

const attempt = (trial, step) => trial.run(step).catch((error) => `the step failed: ${error.code ?? ''} ${error.message}`);

/** A kept history once more: undefined, or what differs. */
export async function replay(arena, worker, table, history) {
  const trial = arena.trial(worker, TABLES[table]);
  for (const step of history) {
    const why = await attempt(trial, step);
    if (why) return { why, last: trial.last };
  }
  return undefined;
}

const kindOf = (why) => why.replace(/change \d+/, 'change').replace(/@k\d|c\d+-\w+/g, '').slice(0, 40);

/** Drops steps, changes and members as long as the same thing still differs. */
export async function shrink(arena, worker, failure) {
  let best = failure;
  const holds = async (history) => {
    const found = await replay(arena, worker, failure.table, history);
    if (!found || kindOf(found.why) !== kindOf(failure.why)) return false;
    best = { ...best, ...found, history };
    return true;
  };
  for (let again = true; again; ) {
    again = false;
    for (const smaller of smallerHistories(best.history)) {
      if (await holds(smaller)) {
        again = true;
        break;
      }
    }
  }
  return best;
}

function* smallerHistories(history) {
  const replaced = (i, step) => history.map((one, j) => (j === i ? step : one));
  for (let i = history.length - 1; i >= 0; i--) yield history.filter((_, j) => j !== i);
  for (const [i, step] of history.entries()) {
    if (step.sql?.data) for (const data of without(step.sql.data)) yield replaced(i, { sql: { ...step.sql, data } });
    if (!step.push) continue;
    const { changes } = step.push;
    const withChanges = (list) => replaced(i, { push: { ...step.push, changes: list } });
    if (changes.length > 1) for (let j = 0; j < changes.length; j++) yield withChanges(changes.filter((_, k) => k !== j));
    if (step.push.atomic) yield replaced(i, { push: { ...step.push, atomic: false } });
    for (const [j, change] of changes.entries()) {
      for (const smaller of smallerChanges(change)) yield withChanges(changes.map((one, k) => (k === j ? smaller : one)));
    }
  }
}

const without = (object) => Object.keys(object).map((name) => Object.fromEntries(Object.entries(object).filter(([other]) => other !== name)));

function* smallerChanges(change) {
  for (const name of ['queue', 'when', 'base', 'local_version']) {
    if (name in change) yield Object.fromEntries(Object.entries(change).filter(([other]) => other !== name));
  }
  for (const name of ['data', 'base']) {
    if (change[name] && Object.keys(change[name]).length > 1) for (const less of without(change[name])) yield { ...change, [name]: less };
  }
}

/** `count` cases from `seed` on. Up to `most` failures, shrunk; a tally. */
export async function runCases(arena, { seed, count: cases, mix = 'hard', table, most = 1, say = () => {} }) {
  const failures = [];
  const tally = { cases: 0, changes: 0, conflicts: 0, settled: 0, outcomes: {} };
  let next = 0;
  const work = async (worker) => {
    while (next < cases && failures.length < most) {
      const i = next++;
      const failure = await runCase(arena, worker, { seed: seed + i, mix, table, tally });
      if (failure) failures.push(await shrink(arena, worker, failure));
      tally.cases++;
      if (i % CLEAR_EVERY < WORKERS) await arena.clear(worker);
      if (tally.cases % 2000 === 0) say(`${tally.cases} cases, ${tally.changes} changes, ${failures.length} differences`);
    }
  };
  await Promise.all(arena.clients.map((_, worker) => work(worker)));
  return { failures, tally };
}

export function describe({ seed, mix, table, why, history, last }) {
  return [`SEED=${seed} MIX=${mix} table ${table}: ${why}`, ...history.map((step, i) => `  ${i + 1}. ${JSON.stringify(step)}`), `  answer: ${JSON.stringify(last?.answer?.processed)}`, `  model: ${JSON.stringify(last?.expected)}`].join('\n');
}
