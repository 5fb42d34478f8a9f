// writing.js - carries out the plans of the writers and the owner by plain SQL; what a fault cuts short is given up, as a program would.
// SPDX-License-Identifier: PostgreSQL
import { sleep } from '../../lib/wait.js';

const SETTINGS = "SET lock_timeout = '1500ms'; SET deadlock_timeout = '100ms'";

/** One session that connects anew when it was cut off. */
class Session {
  constructor(history) {
    this.history = history;
  }

  async client() {
    while (!this.open) {
      try {
        this.open = await this.history.database.connect();
        this.open.on('end', () => (this.open = undefined));
        await this.open.query(SETTINGS);
      } catch {
        this.open = undefined;
        await sleep(30);
      }
    }
    return this.open;
  }

  async close() {
    const client = this.open;
    this.open = undefined;
    await client?.end().catch(() => {});
  }
}

/** A statement that may fail; `guarded` undoes it alone. Throws when the transaction is lost. */
async function statement(client, sql, guarded, tally) {
  if (guarded) await client.query('SAVEPOINT one');
  try {
    await client.query(sql);
    tally.statements++;
    if (guarded) await client.query('RELEASE one');
  } catch (error) {
    tally.refused++;
    if (!guarded || !error.code || /^(40|57|08)/.test(error.code)) throw error;
    await client.query('ROLLBACK TO one');
  }
}

async function run(client, history, { name, steps, guarded, end }) {
  const marks = new Set();
  await client.query('BEGIN');
  for (const { sql, mark, back, hold } of steps) {
    if (sql) await statement(client, sql, guarded, history.tally);
    else if (hold) await sleep(hold);
    else if (mark) {
      await client.query(`SAVEPOINT m${mark}`);
      marks.add(mark);
    } else if (marks.has(back)) {
      await client.query(`ROLLBACK TO m${back}`);
      for (const later of [...marks].filter((one) => one > back)) marks.delete(later);
      history.tally.rolled_back++;
    }
  }
  await client.query({ commit: 'COMMIT', rollback: 'ROLLBACK', prepare: `PREPARE TRANSACTION '${history.name}_${name}'` }[end]);
}

async function settle(history, { name, settle_ms, settled }) {
  const session = new Session(history);
  await sleep(settle_ms);
  const client = await session.client();
  await client.query(`${settled} PREPARED '${history.name}_${name}'`).then(() => history.tally.prepared++, () => {});
  await session.close();
}

/** All transactions of one writer; resolves when the last has ended, the prepared ones too. */
export async function write(history, plan) {
  const session = new Session(history);
  const prepared = [];
  for (const transaction of plan) {
    await sleep(transaction.wait);
    const client = await session.client();
    try {
      await run(client, history, transaction);
      history.tally.transactions++;
      if (transaction.end === 'prepare') prepared.push(settle(history, transaction));
    } catch (error) {
      history.tally.given_up++;
      await client.query('ROLLBACK').catch(() => {});
      if (!error.code || /^(57|08)/.test(error.code)) await session.close();
    }
  }
  await Promise.all(prepared);
  await session.close();
}

/** The owner's steps, each at its moment. */
export async function own(history, steps) {
  const session = new Session(history);
  for (const { at, sql } of steps) {
    await history.until(at);
    const client = await session.client();
    try {
      await client.query(sql);
      history.tally.owner_steps++;
    } catch (error) {
      history.tally.given_up++;
      await client.query('ROLLBACK').catch(() => {});
      if (!error.code || /^(57|08)/.test(error.code)) await session.close();
    }
  }
  await session.close();
}
