-- enable.sql - turning sync on and off for a table.
-- SPDX-License-Identifier: PostgreSQL

-- What stands in the way of syncing a table at all.
CREATE FUNCTION sync.relation_problem(relation regclass) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    c pg_class;
    reason text;
    cure text;
BEGIN
    SELECT * INTO c FROM pg_class WHERE oid = relation;
    IF c.relkind NOT IN ('r', 'p') THEN
        reason := CASE c.relkind WHEN 'v' THEN 'is a view' WHEN 'm' THEN 'is a materialized view' WHEN 'f' THEN 'is a foreign table' ELSE 'is not a table' END;
        cure := 'Only tables can be synced.';
    ELSIF c.relispartition THEN
        reason := 'is a partition';
        cure := format('Enable %s, the table it is a partition of.', pg_partition_root(relation));
    ELSIF c.relpersistence = 't' THEN
        reason := 'is temporary'; cure := 'Its rows are in no WAL and in no other session.';
    ELSIF c.relpersistence = 'u' THEN
        reason := 'is unlogged'; cure := 'ALTER TABLE … SET LOGGED first, as unlogged rows are in no WAL.';
    ELSIF c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('pg_catalog', 'information_schema', 'sync', 'pg_toast')) THEN
        reason := 'belongs to the system'; cure := 'Only tables of the application can be synced.';
    ELSIF c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits WHERE inhrelid = relation OR inhparent = relation) THEN
        reason := 'takes part in inheritance'; cure := 'Inheritance parents and children cannot be synced.';
    ELSIF NOT EXISTS (SELECT FROM pg_index WHERE indrelid = relation AND indisprimary) THEN
        reason := 'has no primary key'; cure := 'ALTER TABLE … ADD PRIMARY KEY first, as clients name rows by it.';
    ELSIF c.relreplident = 'd' AND NOT sync.has_identity(relation) THEN
        reason := 'has a deferrable primary key, by which updates cannot be decoded'; cure := 'ALTER TABLE … REPLICA IDENTITY FULL first.';
    ELSIF NOT sync.has_identity(relation) THEN
        reason := 'has a replica identity without a key'; cure := 'ALTER TABLE … REPLICA IDENTITY DEFAULT first.';
    ELSIF EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = relation AND a.attnum = ANY (i.indkey)
                  WHERE i.indrelid = relation AND i.indisprimary AND a.attgenerated <> '') THEN
        reason := 'has a generated column in its key'; cure := 'Its value is not known yet when the row is stamped.';
    ELSE
        SELECT format('has the partition %s, which %s', p.oid::regclass,
                      CASE WHEN p.relkind = 'f' THEN 'is a foreign table' WHEN p.relpersistence <> 'p' THEN 'is in no WAL'
                      ELSE 'has a replica identity without a key' END),
               'Detach it, or make it like the others.'
        INTO reason, cure
        FROM pg_partition_tree(relation) l JOIN pg_class p ON p.oid = l.relid
        WHERE p.oid <> relation AND (p.relkind = 'f' OR p.relpersistence <> 'p' OR NOT sync.has_identity(p.oid)) LIMIT 1;
    END IF;
    RETURN reason || ': ' || cure;
END
$$;
COMMENT ON FUNCTION sync.relation_problem(regclass) IS 'Why a table cannot be synced ("is …", "has …"), with the cure after ": "; NULL: it can.';

CREATE FUNCTION sync.check_relation(relation regclass) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    problem text := sync.relation_problem(relation);
BEGIN
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'table % %', relation, split_part(problem, ': ', 1)
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = split_part(problem, ': ', 2);
    END IF;
END
$$;
COMMENT ON FUNCTION sync.check_relation(regclass) IS 'Raises the reason why a table cannot be synced, with its cure.';

-- What the options say, checked; fills in the defaults that follow from others.
CREATE FUNCTION sync.check_options(t sync.synced_table) RETURNS sync.synced_table
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF t.rule IS NULL OR t.rule NOT IN ('merge', 'lww', 'reject', 'manual') THEN
        RAISE EXCEPTION 'unknown rule "%"', t.rule
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Rules are merge, lww, reject and manual.';
    END IF;
    IF t.delete_rule IS NULL OR t.delete_rule NOT IN ('delete_wins', 'edit_wins', 'lww') THEN
        RAISE EXCEPTION 'unknown delete_rule "%"', t.delete_rule
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Delete rules are delete_wins, edit_wins and lww.';
    END IF;
    IF t.edit_window <= interval '0' THEN
        RAISE EXCEPTION 'edit_window must be positive' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF t.priority IS NULL OR t.priority NOT BETWEEN 1 AND 3 THEN
        RAISE EXCEPTION 'priority must be 1 (critical), 2 (important) or 3 (optional)' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    t.deletes := coalesce(t.deletes, CASE WHEN t.deleted_at IS NULL THEN 'hard' ELSE 'soft' END);
    IF t.deletes NOT IN ('hard', 'soft') THEN
        RAISE EXCEPTION 'unknown kind of deletes "%"', t.deletes
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Deletes are hard or soft.';
    END IF;
    IF t.delete_rule = 'edit_wins' AND t.deletes = 'hard' AND NOT t.history THEN
        RAISE EXCEPTION 'delete_rule edit_wins needs something to bring a deleted row back from'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Add history => true, or deletes => ''soft''.';
    END IF;
    t.added_deleted_at := t.deletes = 'soft' AND t.deleted_at IS NULL;
    IF t.via IS NOT NULL AND (t.scope IS NOT NULL OR t.scope_column IS NOT NULL) THEN
        RAISE EXCEPTION 'via goes without scope and scope_column'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'The scope is that of the table it refers to.';
    END IF;
    IF (t.scope IS NULL) <> (t.scope_column IS NULL) THEN
        RAISE EXCEPTION 'scope and scope_column go together' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF t.policy_is_scope AND t.verify THEN
        RAISE EXCEPTION 'policy_is_scope and verify exclude each other'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'verify is for policies that look at more than a scope.';
    END IF;
    RETURN t;
END
$$;
COMMENT ON FUNCTION sync.check_options(sync.synced_table) IS 'Raises what does not fit together in the options of sync.enable(); returns them complete.';

CREATE FUNCTION sync.check_columns(t sync.synced_table) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    column_name name;
BEGIN
    FOREACH column_name IN ARRAY ARRAY[t.scope_column, t.updated_at, t.deleted_at, t.via] LOOP
        CONTINUE WHEN column_name IS NULL;
        IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = t.relation AND attname = column_name
                       AND attnum > 0 AND NOT attisdropped AND attgenerated = '') THEN
            RAISE EXCEPTION 'table % has no column "%" that can be used so', t.relation, column_name
                USING ERRCODE = 'undefined_column', HINT = 'It must exist and not be generated.';
        END IF;
    END LOOP;
    FOREACH column_name IN ARRAY ARRAY[t.updated_at, t.deleted_at] LOOP
        IF column_name IS NOT NULL AND EXISTS (
            SELECT FROM pg_attribute WHERE attrelid = t.relation AND attname = column_name
            AND atttypid NOT IN ('timestamptz'::regtype, 'timestamp'::regtype)) THEN
            RAISE EXCEPTION 'column "%" must be a timestamp', column_name USING ERRCODE = 'datatype_mismatch';
        END IF;
    END LOOP;
    IF t.added_deleted_at AND EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = t.relation AND attname = 'deleted_at' AND NOT attisdropped) THEN
        RAISE EXCEPTION 'table % has a column deleted_at', t.relation
            USING ERRCODE = 'duplicate_column', HINT = 'Name it: deleted_at => ''deleted_at''.';
    END IF;
END
$$;
COMMENT ON FUNCTION sync.check_columns(sync.synced_table) IS 'Raises why a column named by sync.enable() cannot be used.';

CREATE FUNCTION sync.check_scope(t sync.synced_table) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    problem text := sync.scope_problem(t);
BEGIN
    IF t.scope IS NOT NULL AND NOT EXISTS (SELECT FROM sync.scope s WHERE s.name = t.scope) THEN
        RAISE EXCEPTION 'scope "%" does not exist', t.scope
            USING ERRCODE = 'undefined_object', HINT = 'Declare it with sync.create_scope().';
    END IF;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'column "%" cannot be a scope column: %', t.scope_column, split_part(problem, ': ', 1)
            USING ERRCODE = 'datatype_mismatch', HINT = split_part(problem, ': ', 2);
    END IF;
END
$$;
COMMENT ON FUNCTION sync.check_scope(sync.synced_table) IS 'Raises why a scope, or a column for it, cannot be used.';

-- Scope values travel as texts, so equal ones must have one text only, and the same in every table of a scope.
CREATE FUNCTION sync.scope_problem(t sync.synced_table) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$
    WITH columns AS (
        SELECT s.id, s.relation, a.attname, coalesce(nullif(y.typbasetype, 0), y.oid) AS base, y.typtype,
               CASE WHEN y.typbasetype <> 0 THEN y.typtypmod ELSE a.atttypmod END AS typmod, coalesce(l.collisdeterministic, true) AS is_exact
        FROM (SELECT o.id, o.relation, o.scope_column FROM sync.synced_table o
              WHERE o.scope = t.scope AND o.scope_column <> 'sync_scope' AND o.relation <> t.relation AND o.id >= 100
              UNION ALL SELECT NULL, t.relation, t.scope_column WHERE t.scope_column <> 'sync_scope') s
        JOIN pg_attribute a ON a.attrelid = s.relation AND a.attname = s.scope_column AND NOT a.attisdropped
        JOIN pg_type y ON y.oid = a.atttypid LEFT JOIN pg_collation l ON l.oid = a.attcollation
    ), families AS (
        SELECT c.*, CASE WHEN base IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN 'integer'
                         WHEN base IN ('text'::regtype, 'varchar'::regtype, 'name'::regtype) THEN 'text'
                         ELSE format_type(base, typmod) END AS family,
               base IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'text'::regtype, 'varchar'::regtype, 'name'::regtype, 'uuid'::regtype,
                        'bool'::regtype, 'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype, 'oid'::regtype)
               OR (base IN ('numeric'::regtype, 'bpchar'::regtype) AND typmod >= 0) OR typtype = 'e' AS is_good
        FROM columns c
    )
    SELECT CASE
        WHEN NOT (is_good AND is_exact) THEN
            format('equal values of type %s can be written in several ways: Use integer, uuid, text with an ordinary collation, date, an enum, numeric(n,m) or char(n).',
                   format_type(base, typmod))
        WHEN family <> (SELECT o.family FROM families o WHERE o.id IS NOT NULL ORDER BY o.id LIMIT 1) THEN
            format('its type is %s, but that of %s is %s: All tables of a scope need scope columns of one type.', family,
                   (SELECT format('%s.%I', o.relation, o.attname) FROM families o WHERE o.id IS NOT NULL ORDER BY o.id LIMIT 1),
                   (SELECT o.family FROM families o WHERE o.id IS NOT NULL ORDER BY o.id LIMIT 1))
        END
    FROM families WHERE id IS NULL
$$;
COMMENT ON FUNCTION sync.scope_problem(sync.synced_table) IS 'Why the values of a table''s scope column cannot be compared as texts, with the cure after ": "; NULL: they can.';

-- The columns that row-local policies look at.
CREATE FUNCTION sync.check_policies(t sync.synced_table) RETURNS name[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    found record;
BEGIN
    IF NOT (SELECT relrowsecurity FROM pg_class WHERE oid = t.relation) OR t.verify THEN
        RETURN '{}';
    END IF;
    IF t.policy_is_scope THEN
        IF t.scope IS NULL THEN
            RAISE EXCEPTION 'policy_is_scope needs a scope'
                USING ERRCODE = 'invalid_parameter_value', HINT = 'Declare one that says what the policies say: sync.create_scope().';
        END IF;
        RETURN '{}';
    END IF;
    SELECT * INTO found FROM sync.policy_columns(t.relation);
    IF found.reason IS NOT NULL THEN
        RAISE EXCEPTION 'table % has policies that look at more than the row and who asks', t.relation
            USING ERRCODE = 'feature_not_supported', DETAIL = format('Its %s.', found.reason),
                  HINT = 'Declare a scope that says what they say (sync.create_scope(), then scope, scope_column and policy_is_scope => true), or let each pull compare the whole table: verify => true.';
    END IF;
    RETURN found.columns;
END
$$;
COMMENT ON FUNCTION sync.check_policies(sync.synced_table) IS 'The columns that a table''s row-local policies look at; raises when they look elsewhere.';

-- The synced table that a foreign key on column via leads to; the child is in its scope.
CREATE FUNCTION sync.find_parent(t sync.synced_table) RETURNS sync.synced_table
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    p sync.synced_table;
    referred regclass;
BEGIN
    SELECT k.confrelid INTO referred
    FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND k.conkey = ARRAY[a.attnum]
    JOIN pg_constraint pk ON pk.conrelid = k.confrelid AND pk.contype = 'p' AND pk.conkey = k.confkey
    WHERE k.conrelid = t.relation AND k.contype = 'f' AND a.attname = t.via
    ORDER BY k.oid LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'column "%" of table % refers to no table''s primary key', t.via, t.relation
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'via names a column with a foreign key to the primary key of a synced table.';
    END IF;
    SELECT * INTO p FROM sync.synced_table s WHERE s.relation = referred;
    IF NOT FOUND OR p.scope IS NULL OR p.relation = t.relation THEN
        RAISE EXCEPTION 'table % refers to %, which is not synced with a scope', t.relation, referred
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'sync.enable() that table first, with scope and scope_column or via.';
    END IF;
    IF NOT sync.caller_owns(p.relation) THEN
        RAISE EXCEPTION 'must be owner of table %', p.relation USING ERRCODE = 'insufficient_privilege';
    END IF;
    t.parent := p.id;
    t.scope := p.scope;
    t.scope_column := 'sync_scope';
    RETURN t;
END
$$;
COMMENT ON FUNCTION sync.find_parent(sync.synced_table) IS 'Fills in parent, scope and scope column of a table enabled via another.';

-- ACCESS EXCLUSIVE queues everybody behind it while it waits for a long reader: short waits, several of them.
CREATE FUNCTION sync.lock_table(relation regclass, mode text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    attempt integer := 0;
    before text := current_setting('lock_timeout');
BEGIN
    LOOP
        attempt := attempt + 1;
        BEGIN
            PERFORM set_config('lock_timeout', '2s', true);
            EXECUTE format('LOCK TABLE %s IN %s MODE', lock_table.relation, lock_table.mode);
            PERFORM set_config('lock_timeout', before, true);
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            IF attempt >= 5 THEN
                RAISE EXCEPTION 'could not lock table % in % attempts of 2 s', lock_table.relation, attempt
                    USING ERRCODE = 'lock_not_available', HINT = 'A long transaction uses it; see pg_stat_activity and try again.';
            END IF;
            RAISE NOTICE 'table % is in use, trying again', lock_table.relation;
            PERFORM pg_sleep(0.2 * attempt);
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sync.lock_table(regclass, text) IS 'Locks a table in five attempts of 2 s; raises lock_not_available.';

CREATE FUNCTION sync.add_columns(t sync.synced_table) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    EXECUTE format('ALTER TABLE %s ADD COLUMN IF NOT EXISTS sync_version bigint NOT NULL DEFAULT 1, '
                   'ADD COLUMN IF NOT EXISTS sync_xid xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(), '
                   'ADD COLUMN IF NOT EXISTS sync_at timestamptz NOT NULL DEFAULT pg_catalog.now(), '
                   'ADD COLUMN IF NOT EXISTS sync_by text, ADD COLUMN IF NOT EXISTS sync_clock bytea%s%s', t.relation,
                   CASE WHEN t.via IS NOT NULL THEN ', ADD COLUMN IF NOT EXISTS sync_scope text' ELSE '' END,
                   CASE WHEN t.added_deleted_at THEN ', ADD COLUMN deleted_at timestamptz' ELSE '' END);
END
$$;
COMMENT ON FUNCTION sync.add_columns(sync.synced_table) IS 'Adds the sync_ columns; their defaults are constants, so no row is rewritten.';

-- The one case in which enable writes rows. No trigger of the application fires: nothing that it knows of has changed.
CREATE FUNCTION sync.fill_scope(t sync.synced_table) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    p sync.synced_table;
    key name;
    before text := current_setting('session_replication_role');
    filled bigint;
BEGIN
    SELECT * INTO p FROM sync.synced_table s WHERE s.id = t.parent;
    SELECT a.attname INTO key FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = p.relation AND i.indisprimary;
    PERFORM set_config('session_replication_role', 'replica', true);
    EXECUTE format('UPDATE %s c SET sync_scope = v.value FROM (SELECT %I AS key, sync.scope_text(%I) AS value FROM %s) v '
                   'WHERE v.key = c.%I AND v.value IS DISTINCT FROM c.sync_scope', t.relation, key, p.scope_column, p.relation, t.via);
    GET DIAGNOSTICS filled = ROW_COUNT;
    EXECUTE format('UPDATE %s SET sync_scope = NULL WHERE %I IS NULL AND sync_scope IS NOT NULL', t.relation, t.via);
    PERFORM set_config('session_replication_role', before, true);
    RETURN filled;
END
$$;
COMMENT ON FUNCTION sync.fill_scope(sync.synced_table) IS 'Gives existing rows their parent''s scope value; returns how many were written.';

-- What an UPDATE must touch to take a row away from somebody.
CREATE FUNCTION sync.tombstone_condition(t sync.synced_table) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$
    SELECT string_agg(format('old.%1$I IS DISTINCT FROM new.%1$I', a.attname), ' OR ' ORDER BY a.attnum)
    FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
    WHERE a.attrelid = t.relation AND a.attnum > 0 AND NOT a.attisdropped
      AND (a.attnum = ANY (i.indkey) OR a.attname IN (t.scope_column, t.deleted_at) OR a.attname = ANY (t.policy_columns))
$$;
COMMENT ON FUNCTION sync.tombstone_condition(sync.synced_table) IS 'The condition of the trigger that looks at updates: key, scope, mark, and what policies look at.';

CREATE FUNCTION sync.make_update_trigger(t sync.synced_table) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = t.relation AND tgname = '~sync_tombstone_update') THEN
        EXECUTE format('DROP TRIGGER "~sync_tombstone_update" ON %s', t.relation);
    END IF;
    EXECUTE format('CREATE TRIGGER "~sync_tombstone_update" AFTER UPDATE ON %s FOR EACH ROW WHEN (%s) EXECUTE FUNCTION sync.leave_tombstone()',
                   t.relation, sync.tombstone_condition(t));
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER "~sync_tombstone_update"', t.relation);
END
$$;
COMMENT ON FUNCTION sync.make_update_trigger(sync.synced_table) IS 'Makes the trigger anew that looks at updates for what they take away.';

-- Partitions: triggers for rows are cloned to them, those for statements are not, and TRUNCATE can name a partition.
CREATE FUNCTION sync.arm_partitions(t sync.synced_table) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    part regclass;
BEGIN
    FOR part IN SELECT l.relid FROM pg_partition_tree(t.relation) l WHERE l.relid <> t.relation AND NOT EXISTS (
            SELECT FROM pg_trigger g WHERE g.tgrelid = l.relid AND g.tgname = '~sync_truncated') LOOP
        EXECUTE format('CREATE TRIGGER "~sync_truncated" AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION sync.truncated()', part);
    END LOOP;
    PERFORM sync.arm_triggers(t);
END
$$;
COMMENT ON FUNCTION sync.arm_partitions(sync.synced_table) IS 'Gives partitions the triggers they do not get from their root, and makes all of ours fire always.';

CREATE FUNCTION sync.arm_triggers(t sync.synced_table) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    part regclass;
    trigger_name name;
BEGIN
    FOR part, trigger_name IN SELECT g.tgrelid::regclass, g.tgname FROM pg_trigger g
                              WHERE (g.tgrelid = t.relation OR g.tgrelid IN (SELECT l.relid FROM pg_partition_tree(t.relation) l))
                                AND g.tgname LIKE '~sync\_%' AND g.tgenabled IN ('O', 'R') LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', part, trigger_name);
    END LOOP;
END
$$;
COMMENT ON FUNCTION sync.arm_triggers(sync.synced_table) IS 'Makes all of our triggers fire always: ENABLE TRIGGER ALL demotes them.';

-- Named so that they sort, and fire, after the application's own triggers.
CREATE FUNCTION sync.make_triggers(t sync.synced_table) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    EXECUTE format('CREATE TRIGGER "~sync_stamp" BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION sync.stamp()', t.relation);
    EXECUTE format('CREATE TRIGGER "~sync_tombstone_delete" BEFORE DELETE ON %s FOR EACH ROW EXECUTE FUNCTION sync.leave_tombstone()', t.relation);
    PERFORM sync.make_update_trigger(t);
    IF t.history THEN
        EXECUTE format('CREATE TRIGGER "~sync_history" AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION sync.keep_history()', t.relation);
    END IF;
    EXECUTE format('CREATE TRIGGER "~sync_truncated" AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION sync.truncated()', t.relation);
    -- In a partitioned table it tells rows that move from rows that go.
    IF t.deletes = 'soft' OR (SELECT relkind FROM pg_class WHERE oid = t.relation) = 'p' THEN
        EXECUTE format('CREATE TRIGGER "~sync_soft_delete" BEFORE DELETE ON %s FOR EACH ROW EXECUTE FUNCTION sync.soft_delete()', t.relation);
    END IF;
    IF t.parent IS NOT NULL THEN
        PERFORM sync.make_cascade(t);
    END IF;
    PERFORM sync.arm_partitions(t);
END
$$;
COMMENT ON FUNCTION sync.make_triggers(sync.synced_table) IS 'Makes the triggers of a synced table.';

-- On the parent: what moves it moves the children. Children can be written before their parent only where the foreign key is deferrable. On the child: one
-- that found no parent looks again behind its foreign key's check, which comes at the statement's end or waits for the commit.
CREATE FUNCTION sync.make_cascade(t sync.synced_table) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    p sync.synced_table;
    may_wait boolean;
BEGIN
    SELECT * INTO p FROM sync.synced_table s WHERE s.id = t.parent;
    may_wait := EXISTS (SELECT FROM pg_constraint WHERE conrelid = t.relation AND confrelid = p.relation AND condeferrable);
    EXECUTE format('CREATE %s TRIGGER "~sync_orphan" AFTER INSERT OR UPDATE ON %s %s FOR EACH ROW WHEN (new.sync_scope IS NULL) EXECUTE FUNCTION sync.adopt()',
                   CASE WHEN may_wait THEN 'CONSTRAINT' ELSE '' END, t.relation, CASE WHEN may_wait THEN 'DEFERRABLE INITIALLY DEFERRED' ELSE '' END);
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = p.relation AND tgname = '~sync_cascade') THEN
        EXECUTE format('CREATE TRIGGER "~sync_cascade" AFTER UPDATE ON %s FOR EACH ROW WHEN (old.%2$I IS DISTINCT FROM new.%2$I) '
                       'EXECUTE FUNCTION sync.cascade_scope()', p.relation, p.scope_column);
    END IF;
    IF may_wait AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = p.relation AND tgname = '~sync_cascade_insert') THEN
        EXECUTE format('CREATE TRIGGER "~sync_cascade_insert" AFTER INSERT ON %s FOR EACH ROW EXECUTE FUNCTION sync.cascade_scope()', p.relation);
    END IF;
    PERFORM sync.arm_partitions(p);
END
$$;
COMMENT ON FUNCTION sync.make_cascade(sync.synced_table) IS 'Makes the triggers by which a table enabled via another follows its parent.';

-- Who may read columns of the table may read what says which version they hold.
CREATE FUNCTION sync.grant_columns(t sync.synced_table) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    grantee oid;
BEGIN
    FOR grantee IN SELECT DISTINCT x.grantee FROM pg_attribute a, aclexplode(a.attacl) x
                   WHERE a.attrelid = t.relation AND a.attname NOT LIKE 'sync\_%' AND x.privilege_type = 'SELECT' LOOP
        EXECUTE format('GRANT SELECT (sync_version, sync_xid, sync_at, sync_by, sync_clock%s) ON %s TO %s',
                       CASE WHEN t.via IS NOT NULL THEN ', sync_scope' ELSE '' END, t.relation,
                       CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END);
    END LOOP;
END
$$;
COMMENT ON FUNCTION sync.grant_columns(sync.synced_table) IS 'Lets roles that may read single columns read the sync_ columns too.';

CREATE FUNCTION sync.enable(relation regclass, scope text DEFAULT NULL, scope_column name DEFAULT NULL, via name DEFAULT NULL,
                            rule text DEFAULT 'merge', deletes text DEFAULT NULL, delete_rule text DEFAULT 'delete_wins',
                            priority integer DEFAULT 2, history boolean DEFAULT false, edit_window interval DEFAULT NULL,
                            enforce_locks boolean DEFAULT false, anonymous boolean DEFAULT false,
                            policy_is_scope boolean DEFAULT false, verify boolean DEFAULT false, entity_type text DEFAULT NULL,
                            updated_at name DEFAULT NULL, deleted_at name DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    t sync.synced_table;
    locked timestamptz;
    filled bigint;
BEGIN
    IF enable.relation IS NULL THEN
        RAISE EXCEPTION 'sync.enable() needs a table' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT sync.caller_owns(enable.relation) THEN
        RAISE EXCEPTION 'must be owner of table %', enable.relation USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM sync.check_relation(enable.relation);
    IF EXISTS (SELECT FROM sync.synced_table s WHERE s.relation = enable.relation) THEN
        RAISE EXCEPTION 'table % is synced already', enable.relation
            USING ERRCODE = 'duplicate_object', HINT = 'sync.disable() it first to enable it with other options.';
    END IF;
    t.relation := enable.relation;
    t.entity_type := coalesce(enable.entity_type, (SELECT CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname || '.' END || c.relname
                                                   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = enable.relation));
    t.scope := enable.scope;
    t.scope_column := enable.scope_column;
    t.via := enable.via;
    t.rule := enable.rule;
    t.deletes := enable.deletes;
    t.delete_rule := enable.delete_rule;
    t.priority := enable.priority;
    t.history := coalesce(enable.history, false);
    t.edit_window := enable.edit_window;
    t.enforce_locks := coalesce(enable.enforce_locks, false);
    t.anonymous := coalesce(enable.anonymous, false);
    t.policy_is_scope := coalesce(enable.policy_is_scope, false);
    t.verify := coalesce(enable.verify, false);
    t.updated_at := enable.updated_at;
    t.deleted_at := enable.deleted_at;
    t := sync.check_options(t);
    PERFORM sync.check_columns(t);
    PERFORM sync.check_scope(t);
    IF t.via IS NOT NULL THEN
        t := sync.find_parent(t);
    END IF;
    t.policy_columns := sync.check_policies(t);
    -- Tables dropped while they were synced.
    DELETE FROM sync.synced_table s WHERE NOT EXISTS (SELECT FROM pg_class dropped WHERE dropped.oid = s.relation);
    IF EXISTS (SELECT FROM sync.synced_table s WHERE s.entity_type = t.entity_type) THEN
        RAISE EXCEPTION 'entity type "%" is taken', t.entity_type
            USING ERRCODE = 'duplicate_object', HINT = 'Give the table another entity_type.';
    END IF;

    IF t.parent IS NOT NULL THEN
        PERFORM sync.lock_table((SELECT s.relation FROM sync.synced_table s WHERE s.id = t.parent), 'SHARE ROW EXCLUSIVE');
    END IF;
    PERFORM sync.lock_table(t.relation, 'ACCESS EXCLUSIVE');
    locked := clock_timestamp();
    -- Nobody can change them any more.
    t.policy_columns := sync.check_policies(t);
    PERFORM sync.add_columns(t);
    IF t.added_deleted_at THEN
        t.deleted_at := 'deleted_at';
    END IF;
    IF t.parent IS NOT NULL THEN
        filled := sync.fill_scope(t);
    END IF;
    t.enabled_xid := pg_current_xact_id();
    t.epoch := t.enabled_xid;
    t.id := nextval('sync.synced_table_id_seq');
    INSERT INTO sync.synced_table OVERRIDING SYSTEM VALUE SELECT (t).*;
    -- Without deduplication: single writes have an id each, and rows of one large transaction that are updated one by one would make the
    -- index look through all of them (CPU of such an update measured 26 µs with, 20 µs without).
    EXECUTE sync.index_command(t);
    PERFORM sync.make_triggers(t);
    PERFORM sync.arm_watch();
    PERFORM sync.grant_columns(t);
    PERFORM sync.remember_shape(t.id);
    PERFORM sync.publish();
    RAISE NOTICE '%', sync.enabled_notice(t, filled)
        USING DETAIL = format('The table was locked (ACCESS EXCLUSIVE) for %s ms.', round(extract(epoch FROM clock_timestamp() - locked) * 1000));
END
$$;
COMMENT ON FUNCTION sync.enable(regclass, text, name, name, text, text, text, integer, boolean, interval, boolean, boolean, boolean, boolean, text, name, name) IS
'Turns sync on for a table, or for a partitioned one with all its partitions: adds the sync_ columns (no rewrite), an index and triggers.
scope with scope_column: only holders of a row''s value get it. via: a column whose foreign key leads to a synced table, whose scope value rows then have (existing rows are written once).
Policies that look only at the row and who asks are obeyed as they are; others need a scope that says the same (policy_is_scope) or verify, which compares the whole table at each pull.
rule: merge, lww, reject or manual; deletes: hard or soft; delete_rule: delete_wins, edit_wins or lww; priority: 1 to 3; edit_window: how old an offline change may be.
Refused with a reason and a hint: no primary key, views, single partitions, inheritance, unlogged, temporary and foreign tables.';

-- The key closes it, so that a page finds its place among the rows of one large transaction, which all have the same id. 32: INDEX_MAX_KEYS.
CREATE FUNCTION sync.index_command(t sync.synced_table) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$
    SELECT format('CREATE INDEX ON %s (%s) WITH (deduplicate_items = off) WHERE sync_xid > %L::xid8', t.relation,
                  concat_ws(', ', quote_ident(t.scope_column), 'sync_xid', CASE WHEN cardinality(k.names) BETWEEN 1 AND 30 THEN array_to_string(k.names, ', ') END), t.enabled_xid)
    FROM (SELECT ARRAY(SELECT quote_ident(a.attname) FROM pg_index i CROSS JOIN unnest(i.indkey) WITH ORDINALITY u (attnum, ord)
                       JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.attnum
                       WHERE i.indrelid = t.relation AND i.indisprimary AND u.ord <= i.indnkeyatts AND a.attname IS DISTINCT FROM t.scope_column
                       ORDER BY u.ord)) k (names)
$$;
COMMENT ON FUNCTION sync.index_command(sync.synced_table) IS 'The index that pulls go by: scope value, transaction, key.';

CREATE FUNCTION sync.enabled_notice(t sync.synced_table, filled bigint) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$
    SELECT format('table %s is synced as "%s": %s', t.relation, t.entity_type, concat_ws('; ',
        'rule ' || t.rule, t.deletes || ' deletes, ' || t.delete_rule,
        CASE WHEN t.via IS NOT NULL THEN format('scope %s via %I', t.scope, t.via) WHEN t.scope IS NOT NULL THEN format('scope %s by %I', t.scope, t.scope_column) END,
        CASE WHEN t.verify THEN 'policies verified at each pull' WHEN cardinality(t.policy_columns) > 0
             THEN 'policies look at ' || array_to_string(t.policy_columns, ', ') END,
        CASE WHEN filled IS NULL THEN 'no row was rewritten' ELSE format('%s rows were written to fill sync_scope', filled) END))
$$;
COMMENT ON FUNCTION sync.enabled_notice(sync.synced_table, bigint) IS 'What sync.enable() did, in one line.';

CREATE FUNCTION sync.disable(relation regclass, keep_columns boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    t sync.synced_table;
    part regclass;
    trigger_name name;
    index_name regclass;
    child regclass;
BEGIN
    SELECT * INTO t FROM sync.synced_table s WHERE s.relation = disable.relation AND s.id >= 100;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table % is not synced', disable.relation USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF NOT sync.caller_owns(disable.relation) THEN
        RAISE EXCEPTION 'must be owner of table %', disable.relation USING ERRCODE = 'insufficient_privilege';
    END IF;
    SELECT s.relation INTO child FROM sync.synced_table s WHERE s.parent = t.id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'table % is synced via %', child, disable.relation
            USING ERRCODE = 'dependent_objects_still_exist', HINT = format('sync.disable(%L) first.', child);
    END IF;
    UPDATE sync.synced_table s SET fingerprint = NULL, parent = NULL WHERE s.id = t.id;
    PERFORM sync.drop_cascade(t);
    FOR part, trigger_name IN SELECT g.tgrelid::regclass, g.tgname FROM pg_trigger g
                              WHERE (g.tgrelid = t.relation OR g.tgrelid IN (SELECT l.relid FROM pg_partition_tree(t.relation) l))
                                AND g.tgname LIKE '~sync\_%' AND g.tgparentid = 0 LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', trigger_name, part);
    END LOOP;
    FOR index_name IN SELECT i.indexrelid::regclass FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                      WHERE i.indrelid = disable.relation AND pg_get_expr(i.indpred, i.indrelid) LIKE '%sync_xid > %' LOOP
        EXECUTE format('DROP INDEX %s', index_name);
    END LOOP;
    IF NOT keep_columns THEN
        EXECUTE format('ALTER TABLE %s %s%s%s', t.relation,
            'DROP COLUMN IF EXISTS sync_version, DROP COLUMN IF EXISTS sync_xid, DROP COLUMN IF EXISTS sync_at, DROP COLUMN IF EXISTS sync_by, DROP COLUMN IF EXISTS sync_clock',
            CASE WHEN t.via IS NOT NULL THEN ', DROP COLUMN IF EXISTS sync_scope' ELSE '' END,
            CASE WHEN t.added_deleted_at THEN ', DROP COLUMN IF EXISTS deleted_at' ELSE '' END);
    END IF;
    DELETE FROM sync.tombstone WHERE table_id = t.id;
    PERFORM sync.drop_traces(t.id);
    DELETE FROM sync.synced_table WHERE id = t.id;
    IF t.scope IS NOT NULL AND NOT EXISTS (SELECT FROM sync.synced_table s WHERE s.scope = t.scope) THEN
        PERFORM sync.disarm_watch(false, t.scope);
    END IF;
    PERFORM sync.unpublish();
END
$$;
COMMENT ON FUNCTION sync.disable(regclass, boolean) IS
'Turns sync off and leaves the table as it was; keep_columns => true keeps the sync_ columns. A soft table''s marked rows stay, so with a deleted_at that sync added, they come back to life.
Refused while another table is synced via it.';

CREATE FUNCTION sync.drop_cascade(t sync.synced_table) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    p regclass := (SELECT s.relation FROM sync.synced_table s WHERE s.id = t.parent);
BEGIN
    IF p IS NOT NULL AND NOT EXISTS (SELECT FROM sync.synced_table s WHERE s.parent = t.parent AND s.id <> t.id) THEN
        EXECUTE (SELECT string_agg(format('DROP TRIGGER %I ON %s', g.tgname, p), ';') FROM pg_trigger g
                 WHERE g.tgrelid = p AND g.tgname IN ('~sync_cascade', '~sync_cascade_insert'));
    END IF;
END
$$;
COMMENT ON FUNCTION sync.drop_cascade(sync.synced_table) IS 'Drops the triggers that carry moves to children, with the last child.';

CREATE FUNCTION sync.disable_all() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    synced regclass;
BEGIN
    DELETE FROM sync.synced_table WHERE relation NOT IN (SELECT oid FROM pg_class);
    -- Children come after their parents.
    FOR synced IN SELECT t.relation FROM sync.synced_table t WHERE t.id >= 100 ORDER BY t.id DESC LOOP
        PERFORM sync.disable(synced);
    END LOOP;
    PERFORM sync.disarm_watch(true);
END
$$;
COMMENT ON FUNCTION sync.disable_all() IS 'Turns sync off for every table; run it before DROP EXTENSION sync.';

CREATE FUNCTION sync.tables() RETURNS TABLE (relation regclass, entity_type text, scope text, scope_column name, rule text, deletes text, priority integer)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$ SELECT t.relation, t.entity_type, t.scope, t.scope_column, t.rule, t.deletes, t.priority FROM sync.synced_table t WHERE t.id >= 100 ORDER BY t.priority, t.id $$;
COMMENT ON FUNCTION sync.tables() IS 'The application''s synced tables and their options.';

CREATE FUNCTION sync.new_incarnation() RETURNS bigint
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS
$$ UPDATE sync.instance SET incarnation = 1 + floor(random() * 2147483646)::bigint, message_key = replace(gen_random_uuid()::text, '-', '') RETURNING incarnation $$;
COMMENT ON FUNCTION sync.new_incarnation() IS 'Resets every client at its next pull. Run it after storage was rolled back to an earlier copy.';
