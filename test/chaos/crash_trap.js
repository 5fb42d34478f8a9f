// crash_trap.js - ids of aborted transactions are handed out again after a crash: a cursor that saw them must not hide what they write.
// SPDX-License-Identifier: PostgreSQL
//
// Pull a cursor, burn ids in transactions that abort, crash the whole server, start, write, pull. With the flush of pull
// nothing is missed; in the control build, with the flush switched off, rows are lost, which shows that the test can tell.
import { Postgres } from '../lib/postgres.js';
import { Copy } from '../lib/client.js';
import { differences, expectedRows } from '../lib/expected.js';

const SCHEMA = `
CREATE ROLE app NOLOGIN;
CREATE TABLE item (id serial PRIMARY KEY, label text NOT NULL);
GRANT SELECT, INSERT, UPDATE, DELETE ON item TO app;
SELECT sync.enable('item');
INSERT INTO item (label) SELECT 'item ' || i FROM generate_series(1, 20) i;
`;
const CLAIMS = JSON.stringify({ sub: 'ada', role: 'app' });
// nothing but pull itself may write the log out
const SETTINGS = { synchronous_commit: 'off', wal_writer_delay: '10s', wal_writer_flush_after: '1GB', wal_buffers: '16MB', autovacuum: 'off', checkpoint_timeout: '1h', bgwriter_delay: '10s' };

async function pullOnce(client, copy, token) {
  await client.query('BEGIN');
  await client.query("SELECT set_config('role', 'app', true), set_config('request.jwt.claims', $1, true)", [CLAIMS]);
  const request = { device_id: 'trap', ...(token ? { sync_token: token } : {}) };
  const { rows } = await client.query('SELECT sync.pull($1::jsonb) AS answer', [JSON.stringify(request)]);
  await client.query('COMMIT');
  copy.apply(rows[0].answer);
  return rows[0].answer;
}

async function pullAll(client, copy, token, { mayReset = true } = {}) {
  for (;;) {
    const answer = await pullOnce(client, copy, token);
    // everything sent anew would hide whatever the increment lacks
    if (answer.reset && !mayReset) throw new Error(`pull answered with a reset, so this round proves nothing: ${JSON.stringify(answer.reset)}`);
    token = answer.next_sync_token;
    if (!answer.has_more) return token;
  }
}

async function burnIds(client, count) {
  for (let i = 0; i < count; i++) {
    await client.query('BEGIN');
    await client.query(i % 2 ? 'SELECT pg_current_xact_id()' : "INSERT INTO item (label) VALUES ('never committed')");
    await client.query('ROLLBACK');
  }
}

// The writer of the log would flush it on its own now and then; stopped, only pull can.
async function stopLogWriter(client) {
  const { rows } = await client.query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'");
  process.kill(rows[0].pid, 'SIGSTOP');
}

// More ids and more bytes than were lost: a pull that only compares its token with the present counters sees nothing odd.
async function writeAfterwards(server, count) {
  const client = await server.connect('app');
  for (let i = 0; i < count; i++) {
    if (i % 2) await client.query("INSERT INTO item (label) VALUES (repeat('after the crash ', 60))");
    else await client.query("UPDATE item SET label = label || '+' WHERE id = 1 + $1", [(i / 2) % 20]);
  }
  await client.end();
}

async function oneRound(server, mayReset, round) {
  const copy = new Copy();
  let client = await server.connect('app');
  await client.query('CHECKPOINT');
  let token = await pullAll(client, copy);
  await stopLogWriter(client);
  await client.query("UPDATE item SET label = label || '*' WHERE id = $1", [1 + (round % 20)]);
  const burned = 20 + (round % 30);
  await burnIds(client, burned);
  token = await pullAll(client, copy, token, { mayReset: false });
  await server.crash();
  await client.end().catch(() => {});
  await server.start();
  await writeAfterwards(server, 2 * burned + 20);
  client = await server.connect('app');
  await pullAll(client, copy, token, { mayReset });
  const missed = differences(copy.table('item'), await expectedRowsBy(client));
  await client.end();
  return missed;
}

const expectedRowsBy = (client) => expectedRows({ sql: async (text, values) => (await client.query(text, values)).rows }, 'item');

/** What was missed, per round; `untilLoss`: of a control, ends with the first loss. */
export async function crashTrap({ rounds, untilLoss = false, say = () => {} }) {
  const server = await Postgres.start({ settings: SETTINGS });
  const losses = [];
  try {
    await server.createDatabase('app', { roles: false });
    server.psql('app', ['-o', '/dev/null', '-f', '-'], SCHEMA);
    for (let round = 0; round < rounds; round++) {
      const missed = await oneRound(server, untilLoss, round);
      if (missed.length) losses.push({ round, missed });
      say(`round ${round + 1} of ${rounds}: ${missed.length ? `${missed.length} rows wrong, e.g. ${missed[0]}` : 'nothing missed'}`);
      if (untilLoss && missed.length) break;
    }
    return losses;
  } finally {
    await server.stop();
  }
}
