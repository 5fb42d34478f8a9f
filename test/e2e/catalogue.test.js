// catalogue.test.js - created, dropped and created again, dumped and restored: the extension's own objects are the same; enabling and leaving spares what hangs on a table.
// SPDX-License-Identifier: PostgreSQL
// runs once: SQL only, nothing is decoded
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { CHINOOK_TABLES, chinookFile } from '../lib/chinook.js';
import { CATALOGUE, dumpSchema, run } from '../lib/dump.js';
import { Postgres } from '../lib/postgres.js';

/** What an extension's member is, wherever it came from: its definition, owner, rights, comment, and what it depends on. */
const MEMBERS = `
SELECT pg_describe_object(d.classid, d.objid, 0) AS what, obj_description(d.objid, c.relname) AS comment,
  CASE c.relname
    WHEN 'pg_proc' THEN (SELECT concat_ws(' ', md5(pg_get_functiondef(p.oid)), proowner::regrole, (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(proacl) a)) FROM pg_proc p WHERE p.oid = d.objid AND prokind <> 'a')
    WHEN 'pg_class' THEN (SELECT concat_ws(' ', relkind, relowner::regrole, (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(relacl) a), relrowsecurity, relreplident,
        (SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attacl, pg_get_expr(adbin, adrelid)), ', ' ORDER BY attnum)
           FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attrelid = d.objid AND attnum > 0 AND NOT attisdropped),
        (SELECT string_agg(pg_get_indexdef(indexrelid), ', ' ORDER BY indexrelid::regclass::text) FROM pg_index WHERE indrelid = d.objid),
        (SELECT string_agg(pg_get_constraintdef(k.oid), ', ' ORDER BY conname) FROM pg_constraint k WHERE conrelid = d.objid),
        (SELECT string_agg(pg_get_triggerdef(t.oid) || tgenabled::text, ', ' ORDER BY tgname) FROM pg_trigger t WHERE tgrelid = d.objid AND NOT tgisinternal),
        (SELECT string_agg(concat_ws(' ', polname, polcmd, pg_get_expr(polqual, polrelid)), ', ' ORDER BY polname) FROM pg_policy WHERE polrelid = d.objid),
        (SELECT string_agg(pubname, ', ' ORDER BY pubname) FROM pg_publication_rel r JOIN pg_publication p ON p.oid = prpubid WHERE prrelid = d.objid)) FROM pg_class k WHERE k.oid = d.objid)
    WHEN 'pg_event_trigger' THEN (SELECT concat_ws(' ', evtevent, evtfoid::regprocedure, evtenabled, evttags) FROM pg_event_trigger e WHERE e.oid = d.objid)
    WHEN 'pg_publication' THEN (SELECT concat_ws(' ', puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot) FROM pg_publication p WHERE p.oid = d.objid)
    WHEN 'pg_namespace' THEN (SELECT concat_ws(' ', nspowner::regrole, nspacl) FROM pg_namespace n WHERE n.oid = d.objid)
  END AS definition
FROM pg_depend d JOIN pg_class c ON c.oid = d.classid JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
WHERE e.extname = 'sync' AND d.deptype = 'e' ORDER BY what`;

/** All that outlives a database or hangs beside its tables. */
const CLUSTER = `SELECT 'role ' || rolname AS what FROM pg_roles WHERE rolname ~ 'sync' UNION ALL SELECT 'slot ' || slot_name FROM pg_replication_slots
  UNION ALL SELECT 'setting ' || setconfig::text FROM pg_db_role_setting WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY what`;
/** In this database: anything that names sync, and comments or dependencies without their object. */
const LEFT = `SELECT 'schema ' || nspname AS what FROM pg_namespace WHERE nspname ~ 'sync' UNION ALL SELECT 'event trigger ' || evtname FROM pg_event_trigger UNION ALL SELECT 'publication ' || pubname FROM pg_publication
  UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger WHERE tgname ~ 'sync' UNION ALL SELECT 'column ' || attname FROM pg_attribute WHERE attname ~ '^sync_' AND NOT attisdropped AND attrelid >= 16384
  UNION ALL SELECT 'function ' || oid::regprocedure FROM pg_proc WHERE probin ~ 'sync' UNION ALL SELECT 'index ' || relname FROM pg_class WHERE relname ~ 'sync'
  UNION ALL SELECT 'description of nothing' FROM pg_description d WHERE classoid = 'pg_proc'::regclass AND NOT EXISTS (SELECT FROM pg_proc p WHERE p.oid = d.objoid)
  UNION ALL SELECT 'rights of nothing' FROM pg_init_privs i WHERE classoid = 'pg_proc'::regclass AND NOT EXISTS (SELECT FROM pg_proc p WHERE p.oid = i.objoid)
  UNION ALL SELECT 'default privileges' FROM pg_default_acl ORDER BY what`;

const TREES = `
CREATE TABLE place (id int, kind int, name text, PRIMARY KEY (id, kind)) PARTITION BY LIST (kind);
CREATE TABLE place_1 PARTITION OF place FOR VALUES IN (1) PARTITION BY RANGE (id);
CREATE TABLE place_1_low PARTITION OF place_1 FOR VALUES FROM (0) TO (100);
CREATE TABLE place_rest PARTITION OF place DEFAULT;
CREATE TABLE thing (id int PRIMARY KEY, name text);
CREATE VIEW things AS SELECT t.*, p.kind FROM thing t LEFT JOIN place p ON p.id = t.id;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM thing;
CREATE RULE spared AS ON UPDATE TO things DO INSTEAD UPDATE thing SET name = NEW.name WHERE id = NEW.id;
CREATE FUNCTION shout(t thing) RETURNS text LANGUAGE sql AS 'SELECT upper(t.name)';
CREATE FUNCTION seen() RETURNS SETOF thing LANGUAGE sql BEGIN ATOMIC SELECT * FROM thing; END;
CREATE STATISTICS place_statistics ON id, kind FROM place;
CREATE TABLE ward (id int PRIMARY KEY REFERENCES thing);
INSERT INTO place VALUES (1, 1, 'a'), (2, 2, 'b');
INSERT INTO thing VALUES (1, 'x');
`;

let server;
before(async () => (server = await Postgres.start()));
after(() => server?.stop());

/** The indexes for pull name the transaction that made them, which is another each time. */
const members = async (database) => (await database.sql(MEMBERS)).map((row) => ({ ...row, definition: row.definition?.replace(/'\d+'::xid8/g, "'its transaction'::xid8") }));

test('created, dropped and created again, dumped and restored: each object of the extension is the same', async () => {
  const fresh = await server.createDatabase('fresh', { roles: false });
  const first = await members(fresh);
  assert.ok(first.length > 200, `${first.length} objects`);
  await fresh.sql('DROP EXTENSION sync');
  assert.deepEqual(await fresh.sql(LEFT), []);
  await fresh.sql('CREATE EXTENSION sync');
  assert.deepEqual(await members(fresh), first);
  const archive = run(server, 'pg_dump', 'fresh', ['-Fc']);
  const restored = await server.createDatabase('restored', { extension: false, roles: false });
  run(server, 'pg_restore', 'restored', ['--exit-on-error'], archive);
  assert.deepEqual(await members(restored), first);
  console.log(`catalogue: ${first.length} objects alike when created, created again and restored`);
});

test('roles.sql run, everything dropped: the roles stay, for they belong to the cluster, and nothing else does', async () => {
  const database = await server.createDatabase('with_roles');
  assert.deepEqual((await database.sql(CLUSTER)).map(({ what }) => what), ['role sync_query', 'role sync_replication', 'role sync_upkeep']);
  await database.sql("CREATE TABLE note (id int PRIMARY KEY); SELECT sync.enable('note')");
  await assert.rejects(database.sql('DROP EXTENSION sync'), /depend/);
  await database.sql('DROP EXTENSION sync CASCADE');
  // the columns and indexes are the table's own: only disable() takes them
  const left = (await database.sql(LEFT)).map(({ what }) => what).filter((what) => !/^(column|index) .*sync/.test(what));
  assert.deepEqual(left, [], 'no trigger, function, publication or event trigger is left');
  await database.sql('INSERT INTO note VALUES (1); UPDATE note SET id = 2; DELETE FROM note');
  for (const role of ['sync_query', 'sync_replication', 'sync_upkeep']) await database.sql(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
  assert.deepEqual(await database.sql(CLUSTER), []);
});

test('partitions, views, rules, functions of row types: enable and disable leave all of it as it was', async () => {
  const database = await server.createDatabase('trees', { roles: false });
  await database.sql(TREES);
  const look = async () => ({ dump: dumpSchema(server, 'trees'), catalogue: await database.sql(CATALOGUE) });
  const earlier = await look();
  for (const table of ['place', 'thing', 'ward']) await database.sql(`SELECT sync.enable('${table}')`);
  await database.sql("UPDATE place SET kind = 3 WHERE id = 1; UPDATE things SET name = 'y'; REFRESH MATERIALIZED VIEW counted");
  assert.notDeepEqual((await look()).catalogue, earlier.catalogue);
  for (const table of ['ward', 'thing', 'place']) await database.sql(`SELECT sync.disable('${table}')`);
  const later = await look();
  assert.equal(later.dump, earlier.dump);
  assert.deepEqual(later.catalogue, earlier.catalogue);
});

test('Chinook, every table: enable, use, disable_all and drop leave it as it was', async () => {
  const database = await server.createDatabase('chinook', { extension: false });
  server.psql('chinook', ['-f', chinookFile()]);
  const look = async () => ({ dump: dumpSchema(server, 'chinook'), catalogue: await database.sql(CATALOGUE) });
  const earlier = await look();
  await database.sql('CREATE EXTENSION sync');
  for (const table of CHINOOK_TABLES) await database.sql(`SELECT sync.enable('${table}')`);
  await database.sql("UPDATE artist SET name = name || '.' WHERE artist_id < 10; DELETE FROM playlist_track WHERE playlist_id = 1");
  await database.sql('SELECT sync.disable_all(); DROP EXTENSION sync');
  const later = await look();
  assert.equal(later.dump, earlier.dump);
  assert.deepEqual(later.catalogue, earlier.catalogue);
});

test('ALTER EXTENSION UPDATE: there is one version, which is up to date, and no way to another', async () => {
  const database = await server.createDatabase('updated', { roles: false });
  const earlier = await members(database);
  await database.sql('ALTER EXTENSION sync UPDATE');
  assert.deepEqual(await members(database), earlier);
  await assert.rejects(database.sql("ALTER EXTENSION sync UPDATE TO '2.0'"), /no update path/);
  assert.deepEqual((await database.sql("SELECT version, superuser, trusted, relocatable FROM pg_available_extension_versions WHERE name = 'sync'")), [{ version: '1.0', superuser: true, trusted: false, relocatable: false }]);
});
