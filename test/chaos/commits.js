// commits.js - what was committed, in commit order, from a slot of its own read by test_decoding: the oracle of the stream's order.
// SPDX-License-Identifier: PostgreSQL
import path from 'node:path';
import { start } from '../lib/process.js';
import { until } from '../lib/wait.js';

const SLOT = 'oracle';
const MARK = /^message: transactional: 1 prefix: mark, sz: \d+ content:(\d+)$/;
const LINE = /^table public\.(\w+): (INSERT|UPDATE|DELETE): (.*)$/;
const field = (text, name) => new RegExp(`(?:^| )${name}\\[[^\\]]*\\]:(-?\\d+)`).exec(text)?.[1];

/**
 * Transactions with an index each, and for each row what they left of it: {key, version, gone, team, before, tag}. Of rows only the history that
 * some client may still ask for is kept.
 */
export class Commits {
  static async start(server, database, tables) {
    const commits = new Commits();
    commits.tables = tables;
    await database.sql("SELECT pg_create_logical_replication_slot($1, 'test_decoding')", [SLOT]);
    // nobody writes yet: what is there now comes before the slot's first transaction
    for (const table of tables) {
      for (const row of await database.sql(`SELECT id::int, team, tag::text, sync_version::int AS version FROM ${table}`)) {
        commits.rows.set(`${table}/${row.id}`, { team: row.team, gone: false, history: [{ version: row.version, index: -1, tag: row.tag }] });
      }
    }
    const args = ['-d', database.conninfo('postgres'), '--slot', SLOT, '--start', '--no-loop', '-F', '0', '-f', '-', '-o', 'skip-empty-xacts=1', '-o', 'include-timestamp=0'];
    commits.process = start(path.join(server.bin, 'pg_recvlogical'), args, { stdio: ['ignore', 'pipe', 'pipe'] });
    commits.process.stdout.setEncoding('utf8');
    commits.process.stdout.on('data', (text) => commits.take(text));
    await until('the oracle reads its slot', () => database.value('SELECT active FROM pg_replication_slots WHERE slot_name = $1', [SLOT]));
    return commits;
  }

  rows = new Map();
  list = []; // of transactions, those before `first` forgotten
  first = 0;
  changes = 0;
  issued = 0; // marks put into the WAL, and the newest of them that came back: all that was committed before it is known
  marked = 0;
  #rest = '';
  #open;

  get next() {
    return this.first + this.list.length;
  }

  take(text) {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop();
    for (const line of lines) this.#line(line);
  }

  #line(line) {
    if (line.startsWith('table ')) this.#change(line);
    else if (line.startsWith('message')) this.marked = Number(MARK.exec(line)?.[1] ?? this.marked);
    else if (line.startsWith('BEGIN')) this.#open = new Map();
    else if (line.startsWith('COMMIT') && this.#open) this.#commit();
  }

  #change(line) {
    const found = LINE.exec(line);
    if (!found || !this.tables.includes(found[1])) return;
    const [, table, what, columns] = found;
    const key = `${table}/${field(columns, 'id')}`;
    this.changes++;
    const row = this.rows.get(key);
    const known = this.#open.get(key) ?? { key, version: row?.history.at(-1).version ?? 0, before: row && !row.gone ? row.team : undefined };
    this.#open.set(key, known);
    if (what === 'DELETE') Object.assign(known, { version: known.version + 1, gone: true, team: undefined, tag: undefined });
    else Object.assign(known, { version: Number(field(columns, 'sync_version')), gone: false, team: Number(field(columns, 'team')), tag: field(columns, 'tag') });
  }

  #commit() {
    const index = this.next;
    const effects = [...this.#open.values()];
    this.#open = undefined;
    if (!effects.length) return;
    for (const { key, version, gone, team, tag } of effects) {
      const row = this.rows.get(key) ?? { history: [] };
      if (!row.history.length) this.rows.set(key, row);
      Object.assign(row, { team, gone });
      while (row.history.length > 1 && row.history[1].index < this.first) row.history.shift();
      row.history.push({ version, index, tag });
    }
    this.list.push({ index, effects });
  }

  /** The transaction that made this version of the row, or wrote over it; undefined: not heard of yet. */
  made(key, version) {
    const history = this.rows.get(key)?.history;
    if (!history || history.at(-1).version < version) return undefined;
    return history.find((entry) => entry.version >= version);
  }

  /** No client will ask for what came before `index`. */
  forget(index) {
    const count = Math.min(index - this.first, this.list.length);
    if (count < 1000) return;
    this.list.splice(0, count);
    this.first += count;
  }

  mark(database) {
    return database.sql("SELECT pg_logical_emit_message(true, 'mark', $1)", [String(++this.issued)]);
  }

  async stop() {
    this.process.kill('SIGINT');
    await this.process.exited;
  }
}
