-- check.sql - what is misconfigured, and how to mend it.
-- SPDX-License-Identifier: PostgreSQL

CREATE FUNCTION sync.check_server() RETURNS TABLE (severity text, object text, finding text, cure text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$
WITH server AS (
    SELECT current_setting('server_version_num')::int AS version,
           -- the minors that do not apply another role's policies to a cached plan, and load no output plugin that is not listed
           (SELECT first FROM (VALUES (15, 150019), (16, 160015), (17, 170011), (18, 180006)) v (major, first)
            WHERE major = current_setting('server_version_num')::int / 10000) AS first_minor)
SELECT 'error', 'wal_level', 'is ' || current_setting('wal_level') || ': changes cannot be decoded', 'ALTER SYSTEM SET wal_level = logical; -- and restart the server'
WHERE current_setting('wal_level') <> 'logical'
UNION ALL
SELECT 'error', 'output_plugin_libraries', 'does not list wal2json: this minor loads no plugin that is not listed',
       'ALTER SYSTEM SET output_plugin_libraries = ''pgoutput'', ''test_decoding'', ''wal2json''; SELECT pg_reload_conf();'
FROM server WHERE version >= coalesce(first_minor, 190000)
  -- a streamer that runs with --plugin pgoutput does not need it
  AND NOT EXISTS (SELECT FROM pg_replication_slots s WHERE s.slot_name LIKE 'sync\_%' AND s.plugin = 'pgoutput')
  AND NOT 'wal2json' = ANY (regexp_split_to_array(coalesce(current_setting('output_plugin_libraries', true), ''), '[\s,"]+'))
UNION ALL
SELECT 'warning', 'server_version', format('%s applies policies of another role to cached plans (CVE-2026-14666)', current_setting('server_version')),
       format('-- upgrade to %s.%s or later', first_minor / 10000, first_minor % 10000)
FROM server WHERE version < first_minor
UNION ALL
SELECT 'warning', 'max_slot_wal_keep_size', 'is -1: a slot that nobody reads can fill the disk', 'ALTER SYSTEM SET max_slot_wal_keep_size = ''10GB''; SELECT pg_reload_conf();'
WHERE current_setting('max_slot_wal_keep_size') = '-1'
UNION ALL
SELECT 'error', s.name, 'is off: a crash can destroy the database', format('ALTER SYSTEM SET %I = on; SELECT pg_reload_conf();', s.name)
FROM pg_settings s WHERE s.name IN ('fsync', 'full_page_writes') AND s.setting = 'off'
UNION ALL
SELECT 'warning', 'synchronous_commit', 'is off: a crash loses the last commits (pushes are committed synchronously all the same)',
       'ALTER SYSTEM SET synchronous_commit = on; SELECT pg_reload_conf();'
WHERE current_setting('synchronous_commit') = 'off'
UNION ALL
SELECT 'error', 'server_encoding', 'is ' || current_setting('server_encoding') || ', not UTF8', '-- create the database with ENCODING ''UTF8'' and load a dump into it'
WHERE current_setting('server_encoding') <> 'UTF8'
UNION ALL
SELECT 'error', 'max_replication_slots', 'all are in use: the streamer cannot make its slot', 'ALTER SYSTEM SET max_replication_slots = 20; -- and restart the server, or drop slots that nobody uses'
WHERE (SELECT count(*) FROM pg_replication_slots) >= current_setting('max_replication_slots')::int
UNION ALL
SELECT 'error', 'max_wal_senders', 'all are in use: the streamer cannot connect', 'ALTER SYSTEM SET max_wal_senders = 20; -- and restart the server'
WHERE (SELECT count(*) FROM pg_stat_replication) >= current_setting('max_wal_senders')::int
UNION ALL
SELECT 'warning', 'wal_sender_timeout', 'is 0: a streamer that vanished keeps its slot', 'ALTER SYSTEM SET wal_sender_timeout = ''60s''; SELECT pg_reload_conf();'
FROM pg_settings WHERE name = 'wal_sender_timeout' AND setting = '0'
UNION ALL
SELECT 'notice', 'idle_in_transaction_session_timeout', 'is 0: a forgotten transaction holds cursors and new slots back',
       'ALTER SYSTEM SET idle_in_transaction_session_timeout = ''60s''; SELECT pg_reload_conf();'
FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout' AND setting = '0'
UNION ALL
SELECT 'warning', 'transaction of pid ' || a.pid, format('of %s runs since %s: cursors do not move past it, and no slot can be made', a.usename, a.xact_start::timestamptz(0)),
       format('SELECT pg_terminate_backend(%s);', a.pid)
FROM pg_stat_activity a WHERE a.backend_xid IS NOT NULL AND a.xact_start < now() - interval '10 minutes' AND a.pid <> pg_backend_pid()
UNION ALL
SELECT 'warning', 'prepared transaction ' || p.gid, format('of %s is open since %s: cursors do not move past it, and no slot can be made', p.owner, p.prepared::timestamptz(0)),
       format('ROLLBACK PREPARED %L; -- or COMMIT PREPARED, in database %I', p.gid, p.database)
FROM pg_prepared_xacts p
$$;
COMMENT ON FUNCTION sync.check_server() IS 'The part of sync.check() about settings, versions and open transactions.';

CREATE FUNCTION sync.check_roles() RETURNS TABLE (severity text, object text, finding text, cure text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$
WITH RECURSIVE wanted (name, login, inherit, replication) AS (
    VALUES ('sync_replication', true, NULL::boolean, true), ('sync_query', true, false, false), ('sync_upkeep', true, NULL, false)),
wrong AS (
    SELECT r.rolname, a.finding, a.cure FROM wanted w JOIN pg_roles r ON r.rolname = w.name, LATERAL (VALUES
        (NOT r.rolcanlogin, 'may not log in', 'LOGIN'),
        (r.rolsuper, 'is a superuser', 'NOSUPERUSER'),
        (r.rolbypassrls, 'bypasses row-level security', 'NOBYPASSRLS'),
        (r.rolinherit AND w.inherit IS FALSE, 'inherits the rights of its roles: a call without a role could use them', 'NOINHERIT'),
        (w.replication AND NOT r.rolreplication, 'may not replicate', 'REPLICATION'),
        (r.rolreplication AND NOT w.replication, 'may read all WAL', 'NOREPLICATION')) a (is_wrong, finding, cure)
    WHERE a.is_wrong),
named AS (
    SELECT m.roleid FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = 'sync_query'
    UNION
    SELECT m.roleid FROM pg_auth_members m JOIN named n ON m.member = n.roleid)
SELECT 'error', w.name, 'does not exist', 'psql -f streamer/roles.sql' FROM wanted w WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = w.name)
UNION ALL
SELECT 'error', w.rolname, w.finding, format('ALTER ROLE %I %s;', w.rolname, w.cure) FROM wrong w
UNION ALL
SELECT 'warning', 'sync_query', 'is a member of no role: no token can name one', 'GRANT app_user TO sync_query; -- for each role that tokens name'
WHERE EXISTS (SELECT FROM pg_roles WHERE rolname = 'sync_query') AND NOT EXISTS (SELECT FROM named)
UNION ALL
SELECT 'error', 'sync_query', format('may become %I, which %s: a token could name it', r.rolname, CASE WHEN r.rolsuper THEN 'is a superuser' ELSE 'bypasses row-level security' END),
       format('REVOKE %I FROM sync_query; -- or from the role between', r.rolname)
FROM named n JOIN pg_roles r ON r.oid = n.roleid WHERE r.rolsuper OR r.rolbypassrls
UNION ALL
SELECT 'warning', 'sync_query', 'has no ' || s.name || ': one call can hold a connection for ever', format('ALTER ROLE sync_query SET %s = %L;', s.name, s.value)
FROM (VALUES ('statement_timeout', '30s'), ('lock_timeout', '5s'), ('idle_in_transaction_session_timeout', '60s')) s (name, value), pg_roles r
WHERE r.rolname = 'sync_query' AND NOT EXISTS (SELECT FROM unnest(r.rolconfig) c WHERE c ~ ('^' || s.name || '=') AND c !~ '=0$')
UNION ALL
SELECT 'error', 'sync_upkeep', 'may not run ' || f.function, format('GRANT EXECUTE ON FUNCTION %s TO sync_upkeep;', f.function)
FROM unnest('{sync.checkpoint(bigint),sync.feed_tables(),"sync.feed_rows(integer,text[])","sync.purge(interval,integer,interval)",sync.status()}'::text[]) f (function), pg_roles r
WHERE r.rolname = 'sync_upkeep' AND NOT has_function_privilege(r.oid, f.function, 'EXECUTE')
UNION ALL
SELECT 'error', 'sync_upkeep', 'may not use schema sync', 'GRANT USAGE ON SCHEMA sync TO sync_upkeep;'
FROM pg_roles r WHERE r.rolname = 'sync_upkeep' AND NOT has_schema_privilege(r.oid, 'sync', 'USAGE')
$$;
COMMENT ON FUNCTION sync.check_roles() IS 'The part of sync.check() about the streamer''s roles.';

CREATE FUNCTION sync.enable_again(relation regclass) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$
SELECT format('SELECT sync.disable(%L, keep_columns => true); SELECT sync.enable(%L', t.relation, t.relation)
    || CASE WHEN t.scope IS NOT NULL AND t.via IS NULL THEN format(', scope => %L, scope_column => %L', t.scope, t.scope_column) ELSE '' END
    || CASE WHEN t.via IS NOT NULL THEN format(', via => %L', t.via) ELSE '' END
    || format(', rule => %L, deletes => %L, delete_rule => %L, priority => %s', t.rule, t.deletes, t.delete_rule, t.priority)
    || CASE WHEN t.history THEN ', history => true' ELSE '' END
    || CASE WHEN t.edit_window IS NOT NULL THEN format(', edit_window => %L', t.edit_window) ELSE '' END
    || CASE WHEN t.enforce_locks THEN ', enforce_locks => true' ELSE '' END
    || CASE WHEN t.anonymous THEN ', anonymous => true' ELSE '' END
    || CASE WHEN t.policy_is_scope THEN ', policy_is_scope => true' ELSE '' END
    || CASE WHEN t.verify THEN ', verify => true' ELSE '' END
    || format(', entity_type => %L', t.entity_type)
    || CASE WHEN t.updated_at IS NOT NULL THEN format(', updated_at => %L', t.updated_at) ELSE '' END
    || CASE WHEN t.deleted_at IS NOT NULL THEN format(', deleted_at => %L', t.deleted_at) ELSE '' END || ');'
    || coalesce((SELECT string_agg(format(' SELECT sync.set_column_rule(%L, %L, %L%s);', t.relation, r.path, r.rule,
                                          CASE WHEN r.resolver IS NOT NULL THEN format(', %L', r.resolver) ELSE '' END), '' ORDER BY r.path)
                 FROM sync.column_rule r WHERE r.table_id = t.id), '')
FROM sync.synced_table t WHERE t.relation = enable_again.relation
$$;
COMMENT ON FUNCTION sync.enable_again(regclass) IS 'For sync.check(): the commands that turn sync off and on again with a table''s own options; its clients start the table anew.';

-- Triggers, columns, index, key: what enable() made must be there, fire always, and last.
CREATE FUNCTION sync.check_bookkeeping() RETURNS TABLE (severity text, object text, finding text, cure text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$
WITH t AS (
    SELECT s.*, c.relkind, c.relreplident, format('%I.%I', n.nspname, c.relname) AS name
    FROM sync.synced_table s JOIN pg_class c ON c.oid = s.relation JOIN pg_namespace n ON n.oid = c.relnamespace WHERE s.id >= 100),
ours AS (
    SELECT t.relation, t.name, w.tgname AS wanted, g.* FROM t
    CROSS JOIN LATERAL (VALUES ('~sync_stamp', true), ('~sync_tombstone_delete', true), ('~sync_tombstone_update', true), ('~sync_truncated', true),
                               ('~sync_soft_delete', t.deletes = 'soft'), ('~sync_orphan', t.via IS NOT NULL)) w (tgname, is_wanted)
    LEFT JOIN pg_trigger g ON g.tgrelid = t.relation AND g.tgname = w.tgname
    WHERE w.is_wanted)
SELECT 'error', t.name, 'clients cannot pull it: ' || t.broken, sync.enable_again(t.relation) FROM t WHERE t.broken IS NOT NULL
UNION ALL
SELECT 'error', o.name, format('trigger %I is missing: changes are not noticed', o.wanted), sync.enable_again(o.relation) FROM ours o WHERE o.tgname IS NULL
UNION ALL
SELECT 'error', o.name, format('trigger %I does not fire always (ENABLE TRIGGER ALL demotes it): changes by replication or a loader are not noticed', o.tgname),
       format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I;', o.name, o.tgname)
FROM ours o WHERE o.tgenabled <> 'A'
UNION ALL
-- bits of tgtype: row 1, before 2, insert 4, delete 8, update 16
SELECT 'error', o.name, format('trigger %I fires after %I and can change what it set', g.tgname, o.tgname),
       format('ALTER TRIGGER %I ON %s RENAME TO %I;', g.tgname, o.name, left('a_' || regexp_replace(g.tgname::text, '[^ -}]', '_', 'g'), 60))
FROM ours o JOIN pg_trigger g ON g.tgrelid = o.relation AND NOT g.tgisinternal AND g.tgname NOT LIKE '~sync\_%'
WHERE g.tgname > o.tgname AND o.tgtype & 3 = 3 AND g.tgtype & 3 = 3 AND o.tgtype & g.tgtype & 28 <> 0
UNION ALL
SELECT 'error', t.name, format('column %I is missing', w.column_name), sync.enable_again(t.relation)
FROM t CROSS JOIN unnest('{sync_version,sync_xid,sync_at,sync_by,sync_clock}'::name[]) w (column_name)
WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = t.relation AND attname = w.column_name AND NOT attisdropped)
UNION ALL
SELECT 'error', t.name, format('column %I, named as %s, is gone', w.column_name, w.what), format('SELECT sync.disable(%L, keep_columns => true); -- and enable it without', t.relation)
FROM t CROSS JOIN LATERAL (VALUES (t.scope_column, 'scope_column'), (t.via, 'via'), (t.updated_at, 'updated_at'), (t.deleted_at, 'deleted_at')) w (column_name, what)
WHERE w.column_name IS NOT NULL AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = t.relation AND attname = w.column_name AND NOT attisdropped)
UNION ALL
SELECT 'error', t.name, 'its index on sync_xid is missing: each pull reads the whole table',
       sync.index_command(s) || ';'
FROM t JOIN sync.synced_table s ON s.id = t.id WHERE EXISTS (SELECT FROM pg_attribute WHERE attrelid = t.relation AND attname = 'sync_xid' AND NOT attisdropped) AND NOT EXISTS (
    SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) WHERE i.indrelid = t.relation AND a.attname = 'sync_xid')
UNION ALL
SELECT 'warning', t.name, 'was restored from a cluster with more transactions: its index holds no new rows, and each pull reads the whole table', sync.enable_again(t.relation)
FROM t WHERE t.enabled_xid >= pg_snapshot_xmax(pg_current_snapshot())
UNION ALL
SELECT 'error', t.name, format('index %s is invalid', i.indexrelid::regclass), format('REINDEX INDEX %s;', i.indexrelid::regclass)
FROM t JOIN pg_index i ON i.indrelid = t.relation JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) AND a.attname = 'sync_xid'
WHERE NOT (i.indisvalid AND i.indisready)
UNION ALL
SELECT 'error', t.name, 'has no primary key any more', format('ALTER TABLE %s ADD PRIMARY KEY (…);', t.name)
FROM t WHERE NOT EXISTS (SELECT FROM pg_index WHERE indrelid = t.relation AND indisprimary)
UNION ALL
SELECT 'error', t.name, 'has a replica identity without a key',
       format('ALTER TABLE %s REPLICA IDENTITY %s;', t.name, CASE t.relreplident WHEN 'd' THEN 'FULL' ELSE 'DEFAULT' END)
FROM t WHERE NOT sync.has_identity(t.relation) AND EXISTS (SELECT FROM pg_index WHERE indrelid = t.relation AND indisprimary)
UNION ALL
SELECT p.severity, p.object, p.finding, 'SELECT sync.publish();' FROM sync.publication_problems() p
UNION ALL
SELECT 'error', 'sync.tombstone', format('is in publication %I: purge cannot delete from it', p.pubname), 'ALTER TABLE sync.tombstone REPLICA IDENTITY FULL;'
FROM pg_publication p JOIN pg_class c ON c.oid = 'sync.tombstone'::regclass
WHERE c.relreplident <> 'f' AND (p.pubupdate OR p.pubdelete) AND EXISTS (
    SELECT FROM pg_publication_tables m WHERE m.pubname = p.pubname AND m.schemaname = 'sync' AND m.tablename = 'tombstone')
UNION ALL
SELECT 'error', format('event trigger %I', e.evtname), 'is disabled: changes of columns, policies and privileges are not noticed', format('ALTER EVENT TRIGGER %I ENABLE ALWAYS;', e.evtname)
FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid WHERE p.pronamespace = 'sync'::regnamespace AND e.evtenabled <> 'A'
UNION ALL
SELECT 'warning', s.entity_type, 'its table was dropped', format('DELETE FROM sync.synced_table WHERE id = %s;', s.id)
FROM sync.synced_table s WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = s.relation)
UNION ALL
SELECT 'error', t.name, format('the rule of %L names a column that is gone', r.path), format('SELECT sync.set_column_rule(%L, %L, NULL);', t.relation, r.path)
FROM sync.column_rule r JOIN t ON t.id = r.table_id
WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = t.relation AND attname = r.column_name AND NOT attisdropped)
UNION ALL
SELECT 'error', t.name, format('the resolver of %L is gone', r.path), format('SELECT sync.set_column_rule(%L, %L, NULL);', t.relation, r.path)
FROM sync.column_rule r JOIN t ON t.id = r.table_id
WHERE r.resolver IS NOT NULL AND NOT EXISTS (SELECT FROM pg_proc WHERE oid = r.resolver)
$$;
COMMENT ON FUNCTION sync.check_bookkeeping() IS 'The part of sync.check() about what sync.enable() made: triggers, columns, indexes, rules.';

-- What the application's own schema makes hard: who reads, soft deletions, publications, keys.
CREATE FUNCTION sync.check_schema() RETURNS TABLE (severity text, object text, finding text, cure text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$
WITH t AS (
    SELECT s.*, c.relrowsecurity, c.relacl, c.relowner, format('%I.%I', n.nspname, c.relname) AS name
    FROM sync.synced_table s JOIN pg_class c ON c.oid = s.relation JOIN pg_namespace n ON n.oid = c.relnamespace WHERE s.id >= 100),
-- foreign keys onto or from synced tables, and whether an index serves the referencing side
keys AS (
    SELECT k.*, format('%I.%I', n.nspname, c.relname) AS child,
           (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY u.ord) FROM unnest(k.conkey) WITH ORDINALITY u (attnum, ord)
            JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum) AS columns,
           EXISTS (SELECT FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indpred IS NULL AND i.indisvalid
                   AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey) AS is_indexed
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE k.contype = 'f' AND k.conparentid = 0)
SELECT 'warning', t.name, 'row-level security was turned on after it was synced, and no scope says the same', sync.enable_again(t.relation)
FROM t WHERE t.relrowsecurity AND NOT t.policy_is_scope AND NOT t.verify AND t.policy_columns = '{}'
UNION ALL
SELECT 'warning', t.name, 'has no scope and no policies, and everybody may SELECT it: every row goes to every caller',
       format('REVOKE SELECT ON %s FROM PUBLIC; -- or declare a scope', t.name)
FROM t WHERE t.scope IS NULL AND NOT t.relrowsecurity
  AND EXISTS (SELECT FROM aclexplode(coalesce(t.relacl, acldefault('r', t.relowner))) x WHERE x.grantee = 0 AND x.privilege_type = 'SELECT')
UNION ALL
SELECT 'warning', t.name, format('a value of unique index %s stays taken after a soft deletion', i.indexrelid::regclass),
       CASE WHEN k.conname IS NULL THEN format('DROP INDEX %s; ', i.indexrelid::regclass) ELSE format('ALTER TABLE %s DROP CONSTRAINT %I; ', t.name, k.conname) END
       || pg_get_indexdef(i.indexrelid) || CASE WHEN i.indpred IS NULL THEN ' WHERE ' ELSE ' AND ' END || format('%I IS NULL;', t.deleted_at)
FROM t JOIN pg_index i ON i.indrelid = t.relation AND i.indisunique AND NOT i.indisprimary
LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = t.relation AND k.contype = 'u'
WHERE t.deletes = 'soft' AND coalesce(pg_get_expr(i.indpred, i.indrelid), '') !~ ('\m' || t.deleted_at || '"? IS NULL')
UNION ALL
SELECT 'notice', t.name, format('soft deletions do not reach %s: foreign key %I (ON DELETE %s) sees the row stay, and purge keeps it while it is referenced', k.child, k.conname,
           CASE k.confdeltype WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' WHEN 'd' THEN 'SET DEFAULT' WHEN 'r' THEN 'RESTRICT' ELSE 'NO ACTION' END),
       '-- delete the children too, or enable the table with deletes => ''hard'''
FROM t JOIN keys k ON k.confrelid = t.relation WHERE t.deletes = 'soft'
UNION ALL
SELECT 'warning', k.child, format('foreign key %I has no index: purging %s and moving rows reads the whole table', k.conname, t.name), format('CREATE INDEX ON %s (%s);', k.child, k.columns)
FROM t JOIN keys k ON k.confrelid = t.relation
WHERE NOT k.is_indexed AND (t.deletes = 'soft' OR EXISTS (
    SELECT FROM t v JOIN pg_attribute a ON a.attrelid = v.relation AND a.attname = v.via WHERE v.relation = k.conrelid AND k.conkey = ARRAY[a.attnum]))
UNION ALL
SELECT 'notice', t.name, format('is in publication %I: subscribers must have the sync_ columns', p.pubname),
       CASE WHEN p.puballtables THEN '-- add the columns at the subscribers, or publish tables by name'
            ELSE format('ALTER PUBLICATION %I DROP TABLE %s; ALTER PUBLICATION %I ADD TABLE %s (%s);', p.pubname, t.name, p.pubname, t.name,
                        (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
                         WHERE a.attrelid = t.relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attname NOT LIKE 'sync\_%')) END
FROM t JOIN pg_publication p ON p.puballtables OR EXISTS (
    SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = t.relation AND (r.prattrs IS NULL OR EXISTS (
        SELECT FROM pg_attribute a WHERE a.attrelid = t.relation AND a.attname = 'sync_xid' AND a.attnum = ANY (r.prattrs))))
WHERE p.pubname NOT IN ('sync', 'sync_inserts')
UNION ALL
SELECT 'notice', t.name, format('key %I counts up: whoever may create rows learns from a taken key that it exists', a.attname),
       '-- use random keys made by the client: id uuid DEFAULT gen_random_uuid()'
FROM t JOIN pg_index i ON i.indrelid = t.relation AND i.indisprimary AND i.indnkeyatts = 1
JOIN pg_attribute a ON a.attrelid = t.relation AND a.attnum = i.indkey[0]
WHERE t.scope IS NOT NULL AND (a.attidentity <> '' OR pg_get_serial_sequence(t.name, a.attname) IS NOT NULL)
UNION ALL
SELECT 'warning', t.name, format('detaching %s was broken off: the table shows its rows no more, clients keep them', i.inhrelid::regclass),
       format('ALTER TABLE %s DETACH PARTITION %s FINALIZE;', i.inhparent::regclass, i.inhrelid::regclass)
FROM t JOIN pg_inherits i ON i.inhdetachpending AND coalesce(pg_partition_root(i.inhparent), i.inhparent) = t.relation
$$;
COMMENT ON FUNCTION sync.check_schema() IS 'The part of sync.check() about the application''s own tables: who reads, soft deletions, foreign keys, publications, keys.';

CREATE FUNCTION sync.check_scopes() RETURNS TABLE (severity text, object text, finding text, cure text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    s record;
    started timestamptz;
BEGIN
    PERFORM set_config('request.jwt.claims', '', true);
    PERFORM set_config('search_path', (SELECT reset_val FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) 'search_path'), true);
    FOR s IN SELECT name, members FROM sync.scope ORDER BY name LOOP
        started := pg_catalog.clock_timestamp();
        BEGIN
            EXECUTE pg_catalog.format('SELECT DISTINCT m::pg_catalog.text FROM (%s) AS held(m) WHERE m IS NOT NULL', s.members);
            IF pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) started OPERATOR(pg_catalog.>) interval '0.2 s' THEN
                RETURN QUERY SELECT 'warning', pg_catalog.format('scope %I', s.name), 'its query takes long for a caller without a user, and runs at each pull and join',
                    '-- add an index for it; see EXPLAIN ANALYZE of sync.scope.members';
            END IF;
        EXCEPTION WHEN OTHERS THEN
            RETURN QUERY SELECT 'error', pg_catalog.format('scope %I', s.name), pg_catalog.format('its query fails for a caller without a user: %s', SQLERRM),
                pg_catalog.format('UPDATE sync.scope SET members = ''SELECT …'' WHERE name = %L;', s.name);
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sync.check_scopes() IS 'The part of sync.check() about scopes: runs each query as a caller without a user.';

CREATE FUNCTION sync.check() RETURNS TABLE (severity text, object text, finding text, cure text)
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS
$$
SELECT f.severity, f.object, f.finding, f.cure
FROM (SELECT * FROM sync.check_server() UNION ALL SELECT * FROM sync.check_roles() UNION ALL SELECT * FROM sync.check_bookkeeping()
      UNION ALL SELECT * FROM sync.check_schema() UNION ALL SELECT * FROM sync.check_scopes()) f
ORDER BY CASE f.severity WHEN 'error' THEN 1 WHEN 'warning' THEN 2 ELSE 3 END, f.object, f.finding, f.cure
$$;
COMMENT ON FUNCTION sync.check() IS
'What is misconfigured: severity (error: changes are missed or leak, or the streamer cannot work; warning; notice), object, finding, and the cure as SQL where one exists (what follows -- is for people).
For superusers. No row: nothing was found.';
