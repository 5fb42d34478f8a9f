// pushers.js - devices that push operations of which each must count exactly once, again and again, by two ways, until they are acknowledged.
// SPDX-License-Identifier: PostgreSQL
import { randomUUID } from 'node:crypto';
import { sleep } from '../lib/wait.js';

export const DEVICES = 4;
export const LANES = 3; // of a device: each pushes rows of its own, so that the edits of one device to one row come in order
const SHARED = 60; // rows that all devices count in: what a merge costs, and writes to the conflict log, keeps them few
const OWN = 200; // rows of a lane
export const ROWS = SHARED + DEVICES * LANES * OWN;
const SHARED_INCREMENTS = 5;
const OWN_INCREMENTS = 150;
const CREATES = 20;
const KEPT = 20; // batches of a lane that may come once more, much later
const MOST_TRIES = 5;

export const SCHEMA = `
CREATE ROLE app LOGIN;
GRANT app TO sync_query;
CREATE TABLE tally (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, op text);
CREATE TABLE made (id uuid PRIMARY KEY, op text NOT NULL);
CREATE TABLE title (id int PRIMARY KEY, body text);
CREATE TABLE witness (op text);
CREATE FUNCTION testify() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  INSERT INTO public.witness VALUES (NEW.op);
  PERFORM pg_notify('written', pg_backend_pid()::text); -- told once it is committed
  RETURN NULL;
END $$;
CREATE TRIGGER witness AFTER INSERT OR UPDATE OF op ON tally FOR EACH ROW WHEN (NEW.op IS NOT NULL) EXECUTE FUNCTION testify();
GRANT SELECT, INSERT, UPDATE ON tally, made, title TO app;
SELECT sync.enable('tally');
SELECT sync.set_column_rule('tally', 'n', 'counter');
SELECT sync.set_column_rule('tally', 'op', 'client');
SELECT sync.enable('made');
SELECT sync.enable('title');
INSERT INTO tally SELECT i FROM generate_series(1, ${ROWS}) i;
INSERT INTO title SELECT i, 'server' FROM generate_series(1, ${SHARED}) i;
UPDATE title SET body = 'server, again';
`;

/** A batch of changes and the first verdict of each. */
class Batch {
  verdicts = [];

  constructor(device_id, changes) {
    this.body = { device_id, changes };
  }

  get isDone() {
    return this.body.changes.every((_, i) => this.verdicts[i]);
  }

  /** What an answer says that no earlier one allows. */
  take({ processed }) {
    const wrong = [];
    for (const { index, status, outcome, repeat, error } of processed) {
      const op = this.body.changes[index].queue_id;
      const first = this.verdicts[index];
      if (outcome === 'retry') {
        if (first) wrong.push(`${op} was ${first.outcome}, then to be tried again`);
        continue;
      }
      if (status === 'error') wrong.push(`${op} was refused: ${JSON.stringify(error)}`);
      if (first && (first.status !== status || first.outcome !== outcome)) wrong.push(`${op} was ${first.outcome}, then ${outcome}`);
      if (first?.isFirst && !repeat) wrong.push(`${op} was acknowledged twice as new`);
      this.verdicts[index] = { status, outcome, isFirst: first?.isFirst || !repeat };
    }
    return wrong;
  }
}

/** `ways`: functions (sub, body, cut_ms) → answer, or undefined when nobody can tell what became of it. */
export class Device {
  constructor(number, { ways, random, tally, sums }) {
    Object.assign(this, { number, ways, random, tally, sums, sub: `user${number % 2}`, local: new Array(ROWS + 1).fill(0), serial: 0 });
    this.device_id = `device-${number}`;
  }

  #change(operation, entity_type, entity_id, data, more) {
    return { queue_id: `${this.number}.${++this.serial}`, operation, entity_type, entity_id, data: data(`${this.number}.${this.serial}`), timestamp: new Date().toISOString(), ...more };
  }

  #increment(row) {
    const base = this.local[row];
    const by = 1 + this.random.below(3);
    this.local[row] += by;
    this.sums[row] += by;
    this.tally.increments++;
    return this.#change('update', 'tally', String(row), (op) => ({ n: base + by, op }), { base: { n: base } });
  }

  #batch(lane) {
    const shared = Array.from({ length: SHARED / LANES }, (_, i) => 1 + lane + i * LANES);
    const own = Array.from({ length: OWN }, (_, i) => 1 + SHARED + (this.number * LANES + lane) * OWN + i);
    const some = (rows, count) => Array.from({ length: count }, () => rows.splice(this.random.below(rows.length), 1)[0]);
    const changes = [...some(shared, SHARED_INCREMENTS), ...some(own, OWN_INCREMENTS)].map((row) => this.#increment(row));
    for (let i = 0; i < CREATES; i++) changes.push(this.#change('create', 'made', randomUUID(), (op) => ({ op })));
    this.tally.creates += CREATES;
    // edited long ago, and somebody else has written it since: it loses
    changes.push(this.#change('update', 'title', String(1 + this.random.below(SHARED)), (op) => ({ body: op }), { local_version: 1, timestamp: '2020-01-01T00:00:00Z' }));
    this.tally.conflicts++;
    return new Batch(this.device_id, changes);
  }

  async #send(batch, failures) {
    const way = this.random.pick(this.ways);
    const cut_ms = this.random.chance(0.15) ? this.random.below(25) : undefined;
    this.tally.pushes++;
    this.tally.cut += cut_ms !== undefined;
    const answer = await way(this.sub, batch.body, cut_ms);
    if (answer) failures.push(...batch.take(answer));
    return answer !== undefined;
  }

  /** Until it is acknowledged, and some times more: what is sent twice at once, and what comes late, is a repeat. */
  async #deliver(batch, failures) {
    for (let tries = 1 + this.random.below(MOST_TRIES); tries > 0 || !batch.isDone; tries--) {
      const sends = [this.#send(batch, failures)];
      if (this.random.chance(0.25)) sends.push(this.#send(batch, failures));
      const got = await Promise.all(sends);
      if (!got.some(Boolean)) await sleep(5 + this.random.below(60));
      if (failures.length || (batch.isDone && this.random.chance(0.4))) return;
    }
  }

  /** One of its lanes, while `goesOn()`. */
  async lane(number, goesOn, failures) {
    const old = [];
    while (goesOn()) {
      const batch = this.#batch(number);
      await this.#deliver(batch, failures);
      this.tally.operations += batch.body.changes.length;
      old.push(batch);
      if (old.length > KEPT) old.shift();
      if (this.random.chance(0.15)) await this.#send(this.random.pick(old), failures);
    }
  }
}
