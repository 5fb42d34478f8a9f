// order.js - one client's log against what was committed: whole transactions, in commit order, nothing left out without a word.
// SPDX-License-Identifier: PostgreSQL
//
// Of its rows a watcher keeps the version alone. After each live batch the copy must be what the tables were after some commit. After the last page of a
// pull it may lack whole transactions that its snapshot did not show; these must be the next to come. So must, while the stream's own connection
// is being broken, those that a bridged gap did not show.

const tableOf = (key) => key.slice(0, key.indexOf('/'));
const RECENT = 6; // batches that a failure is told with

export class Watcher {
  /** `teams`: whose rows it may see; `judged`: tables of which a version may be left out when a newer one follows. */
  constructor(name, commits, { teams, judged = [] }) {
    Object.assign(this, { name, commits, judged });
    this.teams = new Set(teams);
  }

  held = new Map(); // key → version; less than 0: it is gone since that version
  reached = -1; // the newest transaction of which something is held
  failures = [];
  counts = { events: 0, pulled: 0, repeats: 0, batches: 0, pages: 0, late: 0 };
  #lacking = []; // transactions up to `reached` that are still to come, in their order
  #waiting = []; // batches that tell of transactions the oracle has not read yet
  #page; // of a round that is under way: what came since it began
  #recent = []; // the last batches that were looked at, as a failure tells them

  /** A batch as it came; `loose`: a break of the stream was under way. */
  take(batch, { loose = false } = {}) {
    // what is missing, because it was written over meanwhile, is judged by what was committed until now
    const mark = this.commits.issued + 1;
    this.#waiting.push({ batch, loose, mark, at: Date.now() });
    this.go_on();
  }

  /** What could not be looked at because the oracle was behind. */
  go_on() {
    while (this.#waiting.length && this.failures.length < 20) {
      const { batch, loose, mark, at } = this.#waiting[0];
      if (this.commits.marked < mark) return;
      const unknown = batch.changes.find(({ entity_type, entity_id, server_version }) => !this.commits.made(`${entity_type}/${entity_id}`, server_version));
      if (unknown) {
        if (Date.now() - at > 60_000) this.#fail(`was sent what was never committed: ${JSON.stringify(unknown).slice(0, 300)}`);
        return;
      }
      this.#waiting.shift();
      this.#remember(batch, { loose, mark, at });
      if (batch.session) this.#takePage(batch);
      else this.#takeLive(batch, loose);
    }
  }

  get behind() {
    return this.#waiting.length;
  }

  #fail(text) {
    const trace = this.failures.length ? '' : `; lacking ${this.#lacking.map(({ index }) => index)}; reached ${this.reached}; the last batches:\n${this.#recent.join('\n')}`;
    this.failures.push(`${this.name}: ${text}${trace}`);
  }

  #remember(batch, { loose, mark, at }) {
    const ids = batch.changes.slice(0, 60).map(({ entity_type, entity_id, server_version, operation }) => `${entity_type[0]}${entity_id}:${server_version}:${this.commits.made(`${entity_type}/${entity_id}`, server_version).index}${operation === 'delete' ? 'd' : ''}`);
    this.#recent.push(`  ${new Date(at).toISOString()} ${batch.session ? 'page' : 'live'}${batch.has_more ? ' of more' : ''}${loose ? ' loose' : ''}, mark ${mark}, reached ${this.reached}, cursor ${batch.cursor}, reset ${batch.reset}, ${batch.changes.length} changes: ${ids.join(' ')}`);
    if (this.#recent.length > RECENT) this.#recent.shift();
  }

  /** Whether a row of that table and team is any of ours. */
  #mine(key, team) {
    return team !== undefined && (key.startsWith('plain/') || this.teams.has(team));
  }

  /** Puts a change into the copy: the index of its transaction, or undefined if it was known already. */
  #apply({ operation, entity_type, entity_id, server_version, data }) {
    const key = `${entity_type}/${entity_id}`;
    const made = this.commits.made(key, server_version);
    const version = this.held.get(key) ?? 0;
    const gone = operation === 'delete';
    if (Math.abs(version) > server_version || (Math.abs(version) === server_version && (version > 0 || gone))) {
      this.counts.repeats++;
      return undefined;
    }
    this.held.set(key, gone ? -server_version : server_version);
    if (!gone && made.version === server_version && data.tag !== undefined && String(data.tag) !== made.tag) this.#fail(`${key} version ${server_version} has the tag ${data.tag} of another transaction, not ${made.tag}`);
    return made.index;
  }

  /** What of a transaction's effects is there and what is not. Not strict: a version that was written over since may have been left out for good. */
  #look({ effects }, strict = false) {
    const seen = { there: 0, missing: [] };
    for (const { key, version, gone, team, before } of effects) {
      const present = !gone && this.#mine(key, team);
      if (!present && !this.#mine(key, before)) continue;
      const held = this.held.get(key) ?? 0;
      if (!present && held === version) this.#fail(`holds ${key} version ${version}, which went out of its sight`);
      if (present ? Math.abs(held) >= version : held <= 0 || held > version) seen.there += Math.abs(held) === version;
      else if (strict && !this.judged.includes(tableOf(key))) seen.missing.push(`${key} version ${version}${present ? '' : ' (gone)'}, held is ${held}`);
      else if (this.commits.rows.get(key).history.at(-1).version === version) seen.missing.push(`${key} version ${version}${present ? '' : ' (gone)'}, held is ${held}`);
    }
    return seen;
  }

  #transactions(from, to) {
    return this.commits.list.slice(Math.max(0, from - this.commits.first), to + 1 - this.commits.first);
  }

  #takePage(batch) {
    this.counts.pages++;
    this.counts.pulled += batch.changes.length;
    this.#page ??= { newest: this.reached, reset: false };
    for (const table of batch.reset ?? []) {
      this.#page.reset = true;
      for (const key of this.held.keys()) if (key.startsWith(`${table}/`)) this.held.delete(key);
    }
    for (const change of batch.changes) this.#page.newest = Math.max(this.#page.newest, this.#apply(change) ?? -1);
    if (batch.has_more) return;
    const { newest, reset } = this.#page;
    this.#page = undefined;
    const again = reset ? this.#transactions(0, this.reached) : this.#lacking;
    this.#settle([...again, ...this.#transactions(this.reached + 1, newest)]);
    this.reached = newest;
  }

  /** After a pull, or a gap: what is not there must be missing whole, and is to come. */
  #settle(transactions) {
    this.#lacking = transactions.filter((transaction) => {
      const seen = this.#look(transaction);
      if (seen.missing.length && seen.there) this.#fail(`holds half of transaction ${transaction.index}: ${seen.there} of its rows, and lacks ${seen.missing.length}, as ${seen.missing[0]}`);
      return seen.missing.length > 0;
    });
    this.counts.late += this.#lacking.length;
  }

  #takeLive(batch, loose) {
    this.counts.batches++;
    this.counts.events += batch.changes.length;
    let newest = -1;
    for (const change of batch.changes) {
      const index = this.#apply(change);
      if (index === undefined) continue;
      if (index < newest && !loose) this.#fail(`got transaction ${index} behind ${newest}`);
      newest = Math.max(newest, index);
    }
    if (newest < 0) return;
    const came = this.#transactions(this.reached + 1, newest);
    const reached = this.reached;
    this.reached = Math.max(reached, newest);
    if (loose) this.#settle([...this.#lacking, ...came]);
    else this.#follow(came, newest > reached);
  }

  /** The usual case: first what was lacking, then all up to the newest, each whole. */
  #follow(came, isFurther) {
    const lacking = this.#lacking.map((transaction) => ({ transaction, whole: !this.#look(transaction).missing.length }));
    const firstLeft = lacking.findIndex(({ whole }) => !whole);
    this.#lacking = lacking.filter(({ whole }) => !whole).map(({ transaction }) => transaction);
    if (firstLeft >= 0 && (isFurther || lacking.slice(firstLeft).some(({ whole }) => whole))) {
      const { index } = lacking[firstLeft].transaction;
      this.#fail(`was not sent transaction ${index}, but later ones up to ${this.reached}: ${this.#look(lacking[firstLeft].transaction).missing[0]}`);
    }
    for (const transaction of came) {
      const { there, missing } = this.#look(transaction, true);
      if (missing.length) this.#fail(`${there ? `holds ${there} rows of transaction ${transaction.index}` : `was not sent transaction ${transaction.index}`}, and of ${this.reached}: lacks ${missing.length}, as ${missing[0]}`);
    }
  }

  /** The least index that may still be asked for. */
  get needs() {
    return Math.min(this.reached + 1, this.#lacking[0]?.index ?? Infinity);
  }

  /** What differs from the tables when nothing is written any more; empty when it is all there. */
  differences() {
    const found = [];
    for (const [key, row] of this.commits.rows) {
      const { version } = row.history.at(-1);
      const held = this.held.get(key) ?? 0;
      const present = !row.gone && this.#mine(key, row.team);
      if (present ? held !== version : held > 0) found.push(`${key} is ${present ? `at version ${version}` : 'gone'}, held is ${held}`);
    }
    return found;
  }
}
