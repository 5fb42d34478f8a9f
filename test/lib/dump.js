// dump.js - what a database looks like from outside: pg_dump, and the whole catalogue as rows that can be compared.
// SPDX-License-Identifier: PostgreSQL
import { spawnSync } from 'node:child_process';
import path from 'node:path';

/** Runs one of PostgreSQL's own programs on a database. */
export function run(server, program, database, args = [], input = undefined) {
  const result = spawnSync(path.join(server.bin, program), ['-d', server.conninfo(database), ...args], { input, maxBuffer: 1 << 28 });
  if (result.status !== 0) throw new Error(`${program}: ${result.error?.message ?? result.stderr}`);
  return result.stdout;
}

/** The schema as SQL, without the random words that newer minors guard it with. */
export const dumpSchema = (server, database) => run(server, 'pg_dump', database, ['--schema-only']).toString().replace(/^\\(un)?restrict .*$/gm, '');

const OURS = "IN ('pg_catalog', 'information_schema', 'pg_toast', 'sync')";

/** One line for each object of the database that belongs neither to the system nor to sync. */
export const CATALOGUE = `
SELECT what, line FROM (
  SELECT 'schema' AS what, concat_ws(' ', nspname, nspowner::regrole, nspacl) AS line FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'sync'
  UNION ALL SELECT 'relation', concat_ws(' ', c.oid::regclass, relkind, relowner::regrole, relacl, reloptions, relrowsecurity, relforcerowsecurity, relreplident, relpersistence, relhasrules)
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname NOT ${OURS}
  UNION ALL SELECT 'column', concat_ws(' ', attrelid::regclass, attnum, attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated, attstorage, attcompression, attstattarget, attacl, attoptions,
      attcollation, (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef d WHERE d.adrelid = attrelid AND d.adnum = attnum), col_description(attrelid, attnum))
    FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname NOT ${OURS} AND attnum > 0 AND NOT attisdropped
  UNION ALL SELECT 'trigger', concat_ws(' ', tgrelid::regclass, tgenabled, pg_get_triggerdef(t.oid)) FROM pg_trigger t WHERE NOT tgisinternal AND tgrelid NOT IN (SELECT oid FROM pg_class WHERE relnamespace::regnamespace::text = 'sync')
  UNION ALL SELECT 'index', concat_ws(' ', indexrelid::regclass, indisvalid, indisreplident, pg_get_indexdef(indexrelid)) FROM pg_index i JOIN pg_class c ON c.oid = indrelid JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname NOT ${OURS}
  UNION ALL SELECT 'constraint', concat_ws(' ', conrelid::regclass, conname, convalidated, pg_get_constraintdef(k.oid)) FROM pg_constraint k JOIN pg_namespace n ON n.oid = connamespace WHERE nspname NOT ${OURS}
  UNION ALL SELECT 'policy', concat_ws(' ', polrelid::regclass, polname, polcmd, pg_get_expr(polqual, polrelid)) FROM pg_policy WHERE polrelid NOT IN (SELECT oid FROM pg_class WHERE relnamespace::regnamespace::text = 'sync')
  UNION ALL SELECT 'function', concat_ws(' ', p.oid::regprocedure, proowner::regrole, proacl, md5(prosrc)) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname NOT ${OURS}
  UNION ALL SELECT 'type', concat_ws(' ', t.oid::regtype, typtype) FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace WHERE nspname NOT ${OURS}
  UNION ALL SELECT 'publication', concat_ws(' ', pubname, prrelid::regclass, prattrs) FROM pg_publication p LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid
  UNION ALL SELECT 'statistics', stxname FROM pg_statistic_ext
  UNION ALL SELECT 'event trigger', concat_ws(' ', evtname, evtevent) FROM pg_event_trigger WHERE evtname !~ '^sync'
  UNION ALL SELECT 'default acl', defaclacl::text FROM pg_default_acl
  UNION ALL SELECT 'setting', concat_ws(' ', setconfig) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase WHERE datname = current_database()
) everything ORDER BY what, line COLLATE "C"`;
