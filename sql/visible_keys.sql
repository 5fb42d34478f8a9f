-- visible_keys.sql - the streamer learns in one call which rows each of several callers may see; what fails for one fails for that one only.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE visible_one;
CREATE ROLE visible_two;
CREATE ROLE visible_other;
CREATE ROLE visible_streamer NOINHERIT;
GRANT visible_one, visible_two TO visible_streamer;
CREATE TABLE visible_note (id int PRIMARY KEY, owner text, body text);
CREATE TABLE visible_pair (a text, b int, owner text, PRIMARY KEY (a, b));
GRANT SELECT ON visible_note TO visible_one, visible_two, visible_other;
GRANT SELECT ON visible_pair TO visible_one;
SELECT sync.enable('visible_note', deletes => 'soft', verify => true);
SELECT sync.enable('visible_pair');
SELECT id AS note FROM sync.synced_table WHERE relation = 'visible_note'::regclass \gset
SELECT id AS pair FROM sync.synced_table WHERE relation = 'visible_pair'::regclass \gset
INSERT INTO visible_note VALUES (1, 'ada', 'a'), (2, 'bob', 'b'), (3, 'ada', 'c'), (4, 'ada', 'deleted');
INSERT INTO visible_pair VALUES ('x', 1, 'ada'), ('y "q"', 2, 'bob');
UPDATE visible_note SET body = 'later' WHERE id = 3;
DELETE FROM visible_note WHERE id = 4;
-- policies by claim and by role, one that raises for some
CREATE FUNCTION visible_may(owner text) RETURNS boolean LANGUAGE plpgsql STABLE AS
$$
BEGIN
    IF sync.user_id() = 'eve' THEN
        RAISE EXCEPTION 'no policy for eve' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN owner = sync.user_id();
END
$$;
ALTER TABLE visible_note ENABLE ROW LEVEL SECURITY;
CREATE POLICY one ON visible_note FOR SELECT TO visible_one USING (visible_may(owner));
CREATE POLICY two ON visible_note FOR SELECT TO visible_two USING (id <> 1);
-- in the order asked; the digits of seen and gone are those of the keys and old values asked about
CREATE FUNCTION seen(answer json) RETURNS TABLE (n bigint, id text, seen text, gone text, error json) LANGUAGE sql AS
$$
SELECT i.n, CASE t ->> 'id' WHEN (SELECT s.id::text FROM sync.synced_table s WHERE relation = 'visible_note'::regclass) THEN 'note'
                     WHEN (SELECT s.id::text FROM sync.synced_table s WHERE relation = 'visible_pair'::regclass) THEN 'pair' ELSE t ->> 'id' END,
       t ->> 'seen', t ->> 'gone', i.value -> 'error'
FROM json_array_elements(answer -> 'identities') WITH ORDINALITY AS i (value, n) LEFT JOIN LATERAL json_array_elements(i.value -> 'tables') t ON true
$$;
CREATE FUNCTION ask(identities text, tables text) RETURNS json LANGUAGE sql AS
$$ SELECT sync.visible_keys(jsonb_build_object('identities', identities::jsonb, 'tables', tables::jsonb)) $$;
CREATE FUNCTION notes(keys text) RETURNS text LANGUAGE sql AS
$$ SELECT json_build_array(json_build_object('id', id, 'keys', keys::json))::text FROM sync.synced_table WHERE relation = 'visible_note'::regclass $$;
SELECT notes('["1","2","3","4","5"]') AS all \gset
GRANT EXECUTE ON FUNCTION sync.visible_keys(jsonb) TO visible_streamer;
SET SESSION AUTHORIZATION visible_streamer;
SET request.jwt.claims = '{"sub":"streamer"}';

-- By claims and by role; not deleted rows, not keys that are nowhere
SELECT ask('[{"role":"visible_one","claims":{"sub":"ada"}},{"role":"visible_one","claims":{"sub":"bob"}},{"role":"visible_two","claims":{"sub":"ada"}},
             {"role":"visible_one"}]', :'all') AS answer \gset
RESET SESSION AUTHORIZATION;
SELECT * FROM seen(:'answer');

SELECT pg_snapshot_xmax((:'answer'::json ->> 'snapshot')::pg_snapshot) <= pg_snapshot_xmax(pg_current_snapshot()) AS is_no_later;
SET SESSION AUTHORIZATION visible_streamer;
SELECT current_user, sync.user_id();

-- The same again, in the other order: plans kept for one role are not used for another
SELECT ask('[{"role":"visible_two","claims":{"sub":"ada"}},{"role":"visible_one","claims":{"sub":"bob"}},{"role":"visible_one","claims":{"sub":"ada"}}]', :'all') AS answer \gset
RESET SESSION AUTHORIZATION;
SELECT n, seen FROM seen(:'answer');
SET SESSION AUTHORIZATION visible_streamer;

-- Roles that may not be taken, or are none; a policy that raises; each the answer of its identity only
SELECT ask('[{"role":"visible_one","claims":{"sub":"eve"}},{"role":"visible_other"},{"role":"postgres"},{"role":"nowhere"},{"role":"none"},{"claims":{"sub":"ada"}},
             {"role":"visible_one","claims":"{"},{"role":"visible_one","claims":{"sub":"ada"}}]', :'all') AS answer \gset
RESET SESSION AUTHORIZATION;
SELECT n, seen, error FROM seen(:'answer');
SET SESSION AUTHORIZATION visible_streamer;
SELECT current_user, sync.user_id();

-- Several tables, keys of several columns; a table without the right to read it, one that is not synced: nothing to see. A key that is none of the type
SELECT ask('[{"role":"visible_one","claims":{"sub":"ada"}},{"role":"visible_two"}]',
           '[{"id":' || :pair || ',"keys":["[\"y \\\"q\\\"\",\"2\"]","[\"x\",\"1\"]","[\"z\",\"1\"]","nothing",null,{}]},{"id":5000,"keys":["1"]}]') AS answer \gset
RESET SESSION AUTHORIZATION;
SELECT n, id, seen, error FROM seen(:'answer');
SET SESSION AUTHORIZATION visible_streamer;
SELECT ask('[{"role":"visible_one","claims":{"sub":"ada"}},{"role":"visible_two"}]',
           '[{"id":' || :pair || ',"keys":["[\"y \\\"q\\\"\",\"2\"]","[\"x\",\"1\"]","[\"z\",\"1\"]",null,{}]},{"id":5000,"keys":["1"]}]') AS answer \gset
RESET SESSION AUTHORIZATION;
SELECT n, id, seen, error FROM seen(:'answer');
SET SESSION AUTHORIZATION visible_streamer;

-- Stamps: written again since is told apart
RESET SESSION AUTHORIZATION;
SELECT format('[{"id":%s,"keys":["1","3","4"],"stamps":["%s","%s","%s"]}]', :note, (SELECT sync_xid FROM visible_note WHERE id = 1),
              (SELECT sync_xid::text::bigint - 1 FROM visible_note WHERE id = 3), 1) AS stamped \gset
SET SESSION AUTHORIZATION visible_streamer;
SELECT ask('[{"role":"visible_one","claims":{"sub":"ada"}}]', :'stamped') AS answer \gset
RESET SESSION AUTHORIZATION;
SELECT n, seen FROM seen(:'answer');

-- Tombstones are judged on what their rows were; of tables that are verified nothing can be told, where there is no policy nothing is hidden
CREATE TABLE visible_gone (id int PRIMARY KEY, owner text);
GRANT SELECT ON visible_gone TO visible_one;
ALTER TABLE visible_gone ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON visible_gone FOR SELECT TO visible_one USING (owner = sync.user_id());
SELECT sync.enable('visible_gone');
SELECT format('[{"id":%s,"keys":[],"gone":[{"owner":"ada"},{"owner":"bob"},{},null]},{"id":%s,"keys":["1"],"gone":[{"owner":"ada"},null]},{"id":%s,"keys":[],"gone":[null]}]',
              (SELECT id FROM sync.synced_table WHERE relation = 'visible_gone'::regclass), :note, :pair) AS gone \gset
SET SESSION AUTHORIZATION visible_streamer;
SELECT ask('[{"role":"visible_one","claims":{"sub":"ada"}},{"role":"visible_one","claims":{"sub":"bob"}},{"role":"visible_two"}]', :'gone') AS answer \gset
RESET SESSION AUTHORIZATION;
SELECT n, id ~ '\d' AS other, seen, gone, error FROM seen(:'answer');

-- Who takes too long is told so, alone; who is not come to in time, too
CREATE POLICY slow ON visible_note FOR SELECT TO visible_one USING (CASE WHEN sync.user_id() = 'sloth' THEN pg_sleep(10) IS NULL ELSE false END);
SET SESSION AUTHORIZATION visible_streamer;
SELECT sync.visible_keys(('{"identity_ms":50,"identities":[{"role":"visible_one","claims":{"sub":"sloth"}},{"role":"visible_one","claims":{"sub":"ada"}}],"tables":' || :'all' || '}')::jsonb) AS answer \gset
SELECT sync.visible_keys(('{"identity_ms":50,"call_ms":10,"identities":[{"role":"visible_one","claims":{"sub":"sloth"}},{"role":"visible_one","claims":{"sub":"ada"}}],"tables":' || :'all' || '}')::jsonb) -> 'identities' -> 1 AS in_time;
RESET SESSION AUTHORIZATION;
SELECT n, seen, error ->> 'code' AS code FROM seen(:'answer');
DROP POLICY slow ON visible_note;

-- A timeout is nobody's answer
RESET SESSION AUTHORIZATION;
CREATE POLICY slow ON visible_note FOR SELECT TO visible_two USING (pg_sleep(10) IS NULL);
SET SESSION AUTHORIZATION visible_streamer;
SET statement_timeout = 50;
SELECT sync.visible_keys(('{"identities":[{"role":"visible_two"}],"tables":' || :'all' || '}')::jsonb);
RESET statement_timeout;
SELECT current_user, sync.user_id();

-- Not for applications, and not behind a definer function's back
RESET SESSION AUTHORIZATION;
SET ROLE visible_one;
SELECT sync.visible_keys('{"identities":[],"tables":[]}');
RESET ROLE;
CREATE FUNCTION visible_definer() RETURNS json LANGUAGE sql SECURITY DEFINER AS
$$ SELECT sync.visible_keys('{"identities":[{"role":"visible_one"}],"tables":[]}') $$;
SET ROLE visible_one;
SELECT visible_definer();
RESET ROLE;

-- Requests that are none
SELECT sync.visible_keys('{"identities":[],"tables":[]}') -> 'identities' AS identities;
SELECT sync.visible_keys('{"tables":[]}');
SELECT sync.visible_keys('{"identities":[]}');
SELECT sync.visible_keys('{"identities":["visible_one"],"tables":[]}');
SELECT sync.visible_keys('{"identities":[],"tables":[{"id":1,"keys":["1"],"stamps":[]}]}');
SELECT sync.visible_keys(NULL);

-- Cleaning up
SET request.jwt.claims = '';
SELECT sync.disable_all();
DROP TABLE visible_note, visible_pair, visible_gone;
DROP FUNCTION visible_may(text), seen(json), ask(text, text), notes(text), visible_definer();
DROP OWNED BY visible_streamer, visible_one, visible_two, visible_other;
DROP ROLE visible_streamer, visible_one, visible_two, visible_other;
