// push.js - what a push costs beside plain SQL: winning, conflicting and new rows, interleaved with its peers in random order.
// SPDX-License-Identifier: PostgreSQL
//
// Alone: `node test/bench/sql/push.js`, ROUNDS= SIZES=1000,10000. Milliseconds per 1,000 changes around the one statement, as a client sees
// it: text sent over loopback, parsed, written, committed with fsync. The peer is the best plain statement; ratios are medians over rounds.
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { Postgres } from '../../lib/postgres.js';
import { Random } from '../../lib/random.js';

const RESIDENT = 100_000;
const TEAMS = 10;
const USER_COLUMNS = 'team_id int NOT NULL, title text NOT NULL, body text NOT NULL, done boolean NOT NULL, place int NOT NULL, due timestamptz NOT NULL';
const FIELDS = 'id, team_id, title, body, done, place, due';
const SET = ['title', 'body', 'done', 'place', 'due'];

const SCHEMA = `
SET client_min_messages = warning;
CREATE ROLE bench_push_app NOLOGIN;
CREATE TABLE member (who text PRIMARY KEY, team_id int[]);
INSERT INTO member VALUES ('bench', (SELECT array_agg(g) FROM generate_series(0, ${TEAMS - 1}) g));
GRANT SELECT ON member TO bench_push_app;
CREATE TABLE peer (id uuid PRIMARY KEY, ${USER_COLUMNS}, version bigint NOT NULL DEFAULT 1, txid xid8 NOT NULL DEFAULT pg_current_xact_id(), edited timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON peer (team_id, txid);
CREATE TABLE synced (id uuid PRIMARY KEY, ${USER_COLUMNS});
GRANT SELECT, INSERT, UPDATE, DELETE ON peer, synced TO bench_push_app;
SELECT sync.create_scope('team', 'SELECT unnest(team_id) FROM public.member WHERE who = sync.user_id()');
SELECT sync.enable('synced', scope => 'team', scope_column => 'team_id');
INSERT INTO peer (${FIELDS}) SELECT gen_random_uuid(), i % ${TEAMS}, 'title ' || i, repeat('body ', 40), false, i, now() FROM generate_series(1, ${RESIDENT}) i;
INSERT INTO synced (${FIELDS}) SELECT ${FIELDS} FROM peer;
CREATE FUNCTION naive(changes jsonb) RETURNS int LANGUAGE plpgsql AS
$$
DECLARE
    c jsonb;
    row peer;
    written int := 0;
BEGIN
    FOR c IN SELECT * FROM jsonb_array_elements(changes) LOOP
        SELECT * INTO row FROM peer p WHERE p.id = (c ->> 'id')::uuid FOR UPDATE;
        IF NOT FOUND THEN
            INSERT INTO peer (${FIELDS}, edited) SELECT ${FIELDS}, edited FROM jsonb_populate_record(NULL::peer, c);
            written := written + 1;
        ELSIF (c ->> 'edited')::timestamptz > row.edited THEN
            UPDATE peer p SET (${SET}, edited, version, txid) =
                (SELECT ${SET.map((f) => `r.${f}`)}, r.edited, p.version + 1, pg_current_xact_id() FROM jsonb_populate_record(NULL::peer, c) r) WHERE p.id = row.id;
            written := written + 1;
        END IF;
    END LOOP;
    RETURN written;
END
$$;
GRANT EXECUTE ON FUNCTION naive TO bench_push_app;
`;
const PEER = `INSERT INTO peer AS p (${FIELDS}, edited) SELECT ${FIELDS}, edited FROM jsonb_populate_recordset(NULL::peer, $1::jsonb)
  ON CONFLICT (id) DO UPDATE SET ${SET.map((f) => `${f} = excluded.${f}`)}, edited = excluded.edited, version = p.version + 1, txid = pg_current_xact_id()
  WHERE excluded.edited > p.edited RETURNING id, version`;
const DAY = 86_400_000;

// kind → how the rows stand to the change: known (version right), or written by SQL meanwhile with a later or earlier edit of ours
const KINDS = {
  new: { status: 'success' },
  winning: { status: 'success' },
  'conflict, later': { status: 'success', logged: true },
  'conflict, earlier': { status: 'conflict', logged: true },
};

class Bench {
  constructor(server, client, random) {
    Object.assign(this, { server, client, random });
  }

  async query(text, values) {
    return (await this.client.query({ text, values, rowMode: 'array' })).rows;
  }

  async asUser(work) {
    // one user meets more conflicts here than a log keeps of a user: trimming it is not what is measured
    await this.query('SET sync.max_conflicts = 1000000');
    await this.query('SET ROLE bench_push_app');
    await this.query(`SELECT set_config('request.jwt.claims', '{"sub":"bench","role":"app"}', false)`);
    try {
      return await work();
    } finally {
      await this.query('RESET ROLE');
    }
  }

  /** Rows to change, all columns written by SQL just now: [id, team, version]. */
  async resident(table, size) {
    const from = this.random.below(RESIDENT - size);
    const version = table === 'synced' ? 'sync_version' : 'version';
    const more = table === 'synced' ? '' : ', version = version + 1, edited = now(), txid = pg_current_xact_id()';
    return this.query(`WITH wanted AS (SELECT id FROM ${table} WHERE place BETWEEN $1 AND $2 LIMIT $3)
      UPDATE ${table} t SET title = 'by sql ' || clock_timestamp(), body = repeat('text ', 40) || random(), done = NOT done, due = now() - interval '1 h' * random()${more}
      FROM wanted WHERE t.id = wanted.id RETURNING t.id, t.team_id, t.${version}, t.place`, [from, from + size * 2, size]);
  }

  data(i, place) {
    return { title: `pushed ${i} ${this.random.below(1e6)}`, body: 'word '.repeat(40) + this.random.below(1e6), done: i % 2 === 0, place, due: new Date(Date.now() - i * 1000).toISOString() };
  }

  async rows(table, kind, size) {
    if (kind !== 'new') return this.resident(table, size);
    return Array.from({ length: size }, (_, i) => [randomUUID(), i % TEAMS, 0, RESIDENT * 10 + i]);
  }

  when(kind) {
    return new Date(Date.now() + (kind === 'conflict, earlier' ? -DAY : 50_000)).toISOString();
  }

  async peerPayload(kind, size) {
    const rows = await this.rows('peer', kind, size);
    return JSON.stringify(rows.map(([id, team_id, , place], i) => ({ id, team_id, ...this.data(i, place), edited: this.when(kind) })));
  }

  async pushPayload(kind, size) {
    const rows = await this.rows('synced', kind, size);
    const known = (version) => (kind === 'new' ? {} : { local_version: kind === 'winning' ? Number(version) : 1 });
    const changes = rows.map(([id, team_id, version, place], i) => ({
      queue_id: randomUUID(), operation: kind === 'new' ? 'create' : 'update', entity_type: 'synced', entity_id: id,
      data: { ...(kind === 'new' ? { team_id } : {}), ...this.data(i, place) }, ...known(version), timestamp: this.when(kind),
    }));
    return JSON.stringify({ device_id: 'bench', changes });
  }

  async timed(text, payload) {
    const started = performance.now();
    const rows = await this.query(text, [payload]);
    return [performance.now() - started, rows];
  }

  async once(form, kind, size) {
    const payload = form === 'sync.push' ? await this.pushPayload(kind, size) : await this.peerPayload(kind, size);
    const [ms, rows] = await this.asUser(() => this.timed({ 'plain SQL': PEER, 'naive loop': 'SELECT naive($1::jsonb)', 'sync.push': 'SELECT sync.push($1::jsonb)::text' }[form], payload));
    const done = form === 'plain SQL' ? rows.length : form === 'naive loop' ? rows[0][0] : JSON.parse(rows[0][0]).processed.filter((v) => v.status === KINDS[kind].status && Boolean(v.conflict_id) === Boolean(KINDS[kind].logged)).length;
    const expected = kind === 'conflict, earlier' && form !== 'sync.push' ? 0 : size;
    if (done !== expected) throw new Error(`${form}, ${kind}: ${done} of ${expected} done: this would measure something else: ${form === 'sync.push' ? rows[0][0].slice(0, 600) : ''}`);
    if (kind === 'new') await this.query(`DELETE FROM ${form === 'sync.push' ? 'synced' : 'peer'} WHERE place >= ${RESIDENT * 10}`);
    return (ms * 1000) / size;
  }
}

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const FORMS = ['plain SQL', 'naive loop', 'sync.push'];

function table(size, results) {
  const lines = [`push of ${size} changes, ms per 1,000: median (range), ratio to plain SQL of the same kind`, '| kind | plain SQL | naive loop | ratio | sync.push | ratio | to plain SQL winning |', '|---|---|---|---|---|---|---|'];
  const show = (list) => `${median(list).toFixed(1)} (${Math.min(...list).toFixed(1)}–${Math.max(...list).toFixed(1)})`;
  const ratio = (a, b) => median(a.map((ms, i) => ms / b[i])).toFixed(2);
  for (const kind of Object.keys(KINDS)) {
    const [plain, naive, push] = FORMS.map((form) => results[`${form}/${kind}`]);
    lines.push(`| ${kind} | ${show(plain)} | ${show(naive)} | ${ratio(naive, plain)} | ${show(push)} | ${ratio(push, plain)} | ${ratio(push, results['plain SQL/winning'])} |`);
  }
  return lines;
}

export const name = 'push';

/** Prints its tables by `say`; a server of its own (fsync on, TCP) unless one is given. */
export async function run({ server, rounds = Number(process.env.ROUNDS || 5), sizes = (process.env.SIZES || '1000,10000').split(',').map(Number), say = console.log } = {}) {
  const own = server ?? (await Postgres.start({ tcp: true, fsync: true, settings: { shared_buffers: '512MB', max_wal_size: '8GB', autovacuum: 'off' } }));
  try {
    const database = await own.createDatabase('bench_push', { roles: false });
    own.psql('bench_push', ['-o', '/dev/null', '-f', '-'], SCHEMA);
    const client = await database.connect();
    const bench = new Bench(own, client, new Random(rounds));
    for (const size of sizes) {
      const results = {};
      for (let round = 0; round <= rounds; round++) {
        await bench.query('DELETE FROM sync.conflict');
        await bench.query('DELETE FROM sync.ledger');
        for (const one of ['peer', 'synced', 'sync.conflict', 'sync.ledger']) await bench.query(`VACUUM ANALYZE ${one}`);
        await bench.query('CHECKPOINT');
        const turns = FORMS.flatMap((form) => Object.keys(KINDS).map((kind) => [bench.random.next(), form, kind])).sort((a, b) => a[0] - b[0]);
        for (const [, form, kind] of turns) {
          const ms = await bench.once(form, kind, size);
          if (round > 0) (results[`${form}/${kind}`] ??= []).push(ms); // the first round warms up
        }
      }
      for (const line of table(size, results)) say(line);
    }
    await client.end();
  } finally {
    if (!server) await own.stop();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await run();
