// pull.js - pages of JSON, and pulls that find nothing new.
// SPDX-License-Identifier: PostgreSQL
import { fillTable } from './enable.js';

const PAGE = 1000;
const SMALL_TABLES = 10;

/*
 * Pages are made and timed inside the backend: what is compared is the server's work, and no client's reading of half a megabyte a page. Each returns rows per second.
 * Finding the next page's place is not timed.
 */
const FUNCTIONS = `
CREATE FUNCTION pull_pages(tables jsonb, pages int) RETURNS float LANGUAGE plpgsql AS $$
DECLARE
    answer json;
    token text;
    sent bigint := 0;
    spent float := 0;
    started timestamptz;
BEGIN
    FOR page IN 1..pages LOOP
        started := clock_timestamp();
        answer := sync.pull(jsonb_build_object('device_id', 'bench', 'tables', tables, 'sync_token', token, 'limit', ${PAGE}));
        spent := spent + extract(epoch FROM clock_timestamp() - started);
        sent := sent + ${PAGE};
        token := substring(right(answer::text, 20000) FROM '"next_sync_token":"([^"]*)"');
        EXIT WHEN right(answer::text, 20000) LIKE '%"has_more":false%';
    END LOOP;
    RETURN sent / spent;
END $$;
-- what one writes by hand
CREATE FUNCTION json_pages(pages int) RETURNS float LANGUAGE plpgsql AS $$
DECLARE
    answer json;
    last uuid := '00000000-0000-0000-0000-000000000000';
    spent float := 0;
    started timestamptz;
BEGIN
    FOR page IN 1..pages LOOP
        started := clock_timestamp();
        SELECT json_agg(row_to_json(t)) INTO answer FROM (SELECT * FROM plain WHERE id > last ORDER BY id LIMIT ${PAGE}) t;
        spent := spent + extract(epoch FROM clock_timestamp() - started);
        SELECT id INTO last FROM plain WHERE id > last ORDER BY id OFFSET ${PAGE - 1} LIMIT 1;
    END LOOP;
    RETURN pages * ${PAGE} / spent;
END $$;
-- rows as text, without JSON
CREATE FUNCTION text_pages(pages int) RETURNS float LANGUAGE plpgsql AS $$
DECLARE
    last uuid := '00000000-0000-0000-0000-000000000000';
    spent float := 0;
    started timestamptz;
BEGIN
    FOR page IN 1..pages LOOP
        started := clock_timestamp();
        EXECUTE format('COPY (SELECT * FROM plain WHERE id > %L ORDER BY id LIMIT ${PAGE}) TO ''/dev/null''', last);
        spent := spent + extract(epoch FROM clock_timestamp() - started);
        SELECT id INTO last FROM plain WHERE id > last ORDER BY id OFFSET ${PAGE - 1} LIMIT 1;
    END LOOP;
    RETURN pages * ${PAGE} / spent;
END $$;
`;

const figure = async (client, text, values) => {
  const { rows: [row] } = await client.query(text, values);
  return Object.values(row)[0];
};

/** A pull from a token when other tables have changed since: milliseconds, the mean of many. */
async function emptyPull(client, database, tables, token, times) {
  await database.sql('INSERT INTO elsewhere VALUES (1)');
  const before = performance.now();
  for (let i = 0; i < times; i++) {
    await client.query({ name: 'pull', text: 'SELECT sync.pull($1::jsonb)::text AS answer', values: [JSON.stringify({ device_id: 'bench', tables, sync_token: token })] });
  }
  return (performance.now() - before) / times;
}

async function lastToken(client, tables) {
  let token = null;
  for (;;) {
    const { rows: [{ answer }] } = await client.query('SELECT sync.pull($1::jsonb) AS answer', [JSON.stringify({ device_id: 'bench', tables, sync_token: token, limit: 10000 })]);
    token = answer.next_sync_token;
    if (!answer.has_more) return token;
  }
}

export async function run({ server, compare, rows }) {
  const database = await server.createDatabase('bench_pull', { roles: false });
  const pages = Math.min(rows / PAGE, 300);
  await fillTable(database, 'big', rows);
  await fillTable(database, 'scoped', rows);
  await database.sql('CREATE INDEX ON scoped (team, id)');
  await database.sql('CREATE TABLE elsewhere (n int)');
  await database.sql(`SELECT sync.create_scope('teams', $$SELECT pg_catalog.unnest(pg_catalog.string_to_array(pg_catalog.current_setting('bench.teams'), ','))$$)`);
  await database.sql(`SELECT sync.enable('scoped', scope => 'teams', scope_column => 'team')`);
  await fillTable(database, 'plain', rows);
  await database.sql(`SELECT sync.enable('big')`);
  for (let i = 0; i < SMALL_TABLES; i++) await database.sql(`CREATE TABLE small_${i} (id int PRIMARY KEY); SELECT sync.enable('small_${i}')`);
  await database.sql('VACUUM ANALYZE');
  const client = await database.connect();
  await client.query(`SET bench.teams = '${Array.from({ length: 40 }, (_, i) => `team ${i}`)}'`);
  await database.sql(FUNCTIONS);
  try {
    await compare(`pages of ${PAGE} rows, ${rows} rows of about 290 bytes, in the backend`, 'rows/s', [
      { name: 'json_agg(row_to_json) a page', run: () => figure(client, 'SELECT json_pages($1)', [pages]) },
      { name: 'sync.pull, whole table', run: () => figure(client, `SELECT pull_pages('["big"]', $1)`, [pages]) },
      { name: 'sync.pull, 40 of 100 scopes', run: () => figure(client, `SELECT pull_pages('["scoped"]', $1)`, [pages]) },
      { name: 'plain rows, COPY a page', run: () => figure(client, 'SELECT text_pages($1)', [pages]) },
    ]);
    const long = await database.connect();
    await long.query('BEGIN');
    await long.query('INSERT INTO small_0 VALUES (-1)');
    const all = ['big', ...Array.from({ length: SMALL_TABLES }, (_, i) => `small_${i}`)];
    const [one, many] = [await lastToken(client, ['big']), await lastToken(client, all)];
    await compare('a pull that finds nothing, beside an old open transaction, round trip', 'ms', [
      { name: 'SELECT 1', run: async () => emptyQuery(client, 300) },
      { name: 'sync.pull, one table', run: () => emptyPull(client, database, ['big'], one, 300) },
      { name: `sync.pull, ${all.length} tables`, run: () => emptyPull(client, database, all, many, 300) },
    ]);
    await long.query('ROLLBACK');
    await long.end();
  } finally {
    await client.end();
  }
}

async function emptyQuery(client, times) {
  const before = performance.now();
  for (let i = 0; i < times; i++) await client.query({ name: 'one', text: 'SELECT $1::int', values: [1] });
  return (performance.now() - before) / times;
}

export const name = 'pull';
