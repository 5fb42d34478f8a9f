-- publication.sql - what pgoutput decodes: two publications, kept as tables are enabled, disabled and changed.
-- SPDX-License-Identifier: PostgreSQL

CREATE FUNCTION sync.has_identity(relation oid) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$
    SELECT CASE c.relreplident
        -- from PostgreSQL 18 on: virtual generated columns are in no WAL, so a whole row cannot be published
        WHEN 'f' THEN NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attgenerated = 'v' AND NOT a.attisdropped)
        WHEN 'd' THEN EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate AND i.indisvalid)
        WHEN 'i' THEN EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident AND i.indimmediate AND i.indisvalid)
        ELSE false END
    FROM pg_class c WHERE c.oid = has_identity.relation
$$;
COMMENT ON FUNCTION sync.has_identity(oid) IS
'Whether updates of a table can be decoded. PostgreSQL refuses UPDATE and DELETE on a published table for which they cannot.';

CREATE FUNCTION sync.adopt_publication(name name) RETURNS void
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'sync_adopt_publication';
COMMENT ON FUNCTION sync.adopt_publication(name) IS 'Makes a publication part of the extension: it goes when the extension goes, and no dump has it.';

-- pg_partition_tree() would lock them, and keep a lock on a partition whose table is still to be locked: in a deadlock with DDL, which begins at the table.
CREATE FUNCTION sync.partitions(relation oid) RETURNS TABLE (partition oid, is_leaf boolean)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$
    WITH RECURSIVE tree (relation, relkind) AS (
        SELECT c.oid, c.relkind FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = partitions.relation AND c.relispartition AND NOT i.inhdetachpending
        UNION ALL
        SELECT c.oid, c.relkind FROM tree t JOIN pg_inherits i ON i.inhparent = t.relation JOIN pg_class c ON c.oid = i.inhrelid
        WHERE c.relispartition AND NOT i.inhdetachpending)
    SELECT tree.relation, tree.relkind <> 'p' FROM tree
$$;
COMMENT ON FUNCTION sync.partitions(oid) IS 'The partitions of a table and theirs, without a lock on them.';

-- sync: tables whose rows can be told apart. sync_inserts: tombstones have no key, and only their arrival is of interest.
CREATE FUNCTION sync.published() RETURNS TABLE (publication name, relation regclass)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$
    SELECT 'sync'::name, t.relation FROM sync.synced_table t JOIN pg_class c ON c.oid = t.relation
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition AND sync.has_identity(t.relation)
      AND NOT EXISTS (SELECT FROM sync.partitions(t.relation) l JOIN pg_class p ON p.oid = l.partition
                      WHERE p.relkind = 'f' OR p.relpersistence <> 'p' OR NOT sync.has_identity(p.oid))
    UNION ALL
    SELECT 'sync', r.relation FROM (VALUES ('sync.synced_table'::regclass), ('sync.scope'), ('sync.instance')) r (relation)
    UNION ALL
    SELECT 'sync_inserts', 'sync.tombstone'::regclass
$$;
COMMENT ON FUNCTION sync.published() IS
'Which tables belong into the publications: all that are synced but those without a replica identity, whose rows nobody could update any more.';

CREATE FUNCTION sync.publication_problems() RETURNS TABLE (severity text, object text, finding text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$
    WITH wanted (name, inserts_only) AS (VALUES ('sync'::name, false), ('sync_inserts', true)),
    members AS (SELECT p.pubname, r.prrelid FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid)
    SELECT 'warning', format('publication %I', w.name), CASE WHEN p.oid IS NULL THEN 'does not exist' ELSE 'was altered' END || ', by which --plugin pgoutput decodes'
    FROM wanted w LEFT JOIN pg_publication p ON p.pubname = w.name
    WHERE p.oid IS NULL OR p.puballtables OR p.pubviaroot OR NOT (p.pubinsert AND p.pubtruncate)
       OR p.pubupdate = w.inserts_only OR p.pubdelete = w.inserts_only
    UNION ALL
    SELECT 'warning', p.relation::text, format('is missing in publication %I, by which --plugin pgoutput decodes', p.publication) FROM sync.published() p
    WHERE EXISTS (SELECT FROM pg_publication WHERE pubname = p.publication)
      AND NOT EXISTS (SELECT FROM members m WHERE m.pubname = p.publication AND m.prrelid = p.relation)
    UNION ALL
    SELECT CASE WHEN sync.has_identity(m.prrelid) THEN 'warning' ELSE 'error' END, m.prrelid::regclass::text,
           format('does not belong into publication %I', m.pubname) || CASE WHEN sync.has_identity(m.prrelid) THEN '' ELSE ': its rows cannot be updated' END FROM members m JOIN wanted w ON w.name = m.pubname
    WHERE NOT EXISTS (SELECT FROM sync.published() p WHERE p.publication = m.pubname AND p.relation = m.prrelid)
$$;
COMMENT ON FUNCTION sync.publication_problems() IS 'How the publications differ from what they should be; sync.publish() is the cure of all of it.';

CREATE FUNCTION sync.make_publication(name name, publish text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    options text := format('publish = %L, publish_via_partition_root = false', publish);
BEGIN
    IF current_setting('server_version_num')::int >= 180000 THEN
        options := options || ', publish_generated_columns = stored';
    END IF;
    IF EXISTS (SELECT FROM pg_publication p WHERE p.pubname = name AND p.puballtables) THEN
        RAISE EXCEPTION 'publication "%" is for all tables', name
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'DROP it: sync.publish() makes it anew.';
    END IF;
    EXECUTE format('%s PUBLICATION %I %s (%s)', CASE WHEN EXISTS (SELECT FROM pg_publication p WHERE p.pubname = name) THEN 'ALTER' ELSE 'CREATE' END,
                   name, CASE WHEN EXISTS (SELECT FROM pg_publication p WHERE p.pubname = name) THEN 'SET' ELSE 'WITH' END, options);
    PERFORM sync.adopt_publication(name);
END
$$;
COMMENT ON FUNCTION sync.make_publication(name, text) IS 'Makes a publication with these actions, or gives it them.';

CREATE FUNCTION sync.unpublish() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    gone record;
BEGIN
    FOR gone IN SELECT p.pubname, r.prrelid::regclass AS relation FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
                WHERE p.pubname IN ('sync', 'sync_inserts')
                  AND NOT EXISTS (SELECT FROM sync.published() w WHERE w.publication = p.pubname AND w.relation = r.prrelid) LOOP
        EXECUTE format('ALTER PUBLICATION %I DROP TABLE %s', gone.pubname, gone.relation);
    END LOOP;
END
$$;
COMMENT ON FUNCTION sync.unpublish() IS
'Takes tables out of the publications that no longer belong there. PostgreSQL would refuse every UPDATE of a published table that has lost its replica identity.';

CREATE FUNCTION sync.publish() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    missing record;
BEGIN
    IF EXISTS (SELECT FROM sync.publication_problems() p WHERE p.object IN ('publication sync', 'publication sync_inserts')) THEN
        PERFORM sync.make_publication('sync', 'insert, update, delete, truncate');
        PERFORM sync.make_publication('sync_inserts', 'insert, truncate');
    END IF;
    PERFORM sync.unpublish();
    FOR missing IN SELECT w.publication, w.relation FROM sync.published() w
                   WHERE NOT EXISTS (SELECT FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
                                     WHERE p.pubname = w.publication AND r.prrelid = w.relation) LOOP
        EXECUTE format('ALTER PUBLICATION %I ADD TABLE %s', missing.publication, missing.relation);
    END LOOP;
END
$$;
COMMENT ON FUNCTION sync.publish() IS
'Makes the publications sync and sync_inserts what they should be, for the streamer''s --plugin pgoutput. sync.enable(), sync.disable() and DDL keep them so:
it is the cure that sync.check() names after somebody changed them, or after a dump was restored without its publications. For superusers.';
