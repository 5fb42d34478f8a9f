-- digest.sql - a client that holds what it should computes the server's digest; one that does not finds the part that differs and repairs it.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE digest_app;
CREATE TABLE digest_note (id int PRIMARY KEY, body text);
CREATE TABLE digest_item (a text, b int, team text, PRIMARY KEY (a, b));
CREATE TABLE digest_member (who text, team text);
GRANT SELECT ON digest_note, digest_item, digest_member TO digest_app;
SELECT sync.create_scope('digest_team', 'SELECT team FROM public.digest_member WHERE who = sync.user_id()');
SELECT sync.enable('digest_note', deleted_at => NULL, deletes => 'soft');
SELECT sync.enable('digest_item', scope => 'digest_team', scope_column => 'team');
INSERT INTO digest_member VALUES ('ada', 'red'), ('ada', 'blue');
INSERT INTO digest_note SELECT g, 'note ' || g FROM generate_series(1, 40) g;
UPDATE digest_note SET body = 'second' WHERE id % 3 = 0;
DELETE FROM digest_note WHERE id = 40;
INSERT INTO digest_item SELECT chr(96 + g) || '/"ü', g, (ARRAY['red', 'blue', 'green'])[1 + g % 3] FROM generate_series(1, 12) g;

-- A client: what it holds, from nothing but the protocol
CREATE TEMP TABLE held (entity_type text, entity_id text, version bigint, data text, PRIMARY KEY (entity_type, entity_id));
CREATE TEMP TABLE client (token text);
INSERT INTO client VALUES (NULL);
CREATE FUNCTION word(bytes bytea) RETURNS numeric LANGUAGE sql AS
$$ SELECT sum(get_byte(sha256(bytes), i)::numeric * 256::numeric ^ (7 - i)) FROM generate_series(0, 7) i $$;
CREATE FUNCTION row_hash(id text, version bigint) RETURNS numeric LANGUAGE sql AS
$$ SELECT word(convert_to(id, 'UTF8') || '\x00' || convert_to(version::text, 'UTF8')) $$;
CREATE FUNCTION bucket(id text, n int) RETURNS int LANGUAGE sql AS $$ SELECT (word(convert_to(id, 'UTF8')) % n)::int $$;
CREATE FUNCTION apply(changes json) RETURNS void LANGUAGE plpgsql AS
$$
DECLARE
    c json;
BEGIN
    FOR c IN SELECT value FROM json_array_elements(changes) LOOP
        DELETE FROM held h WHERE h.entity_type = c ->> 'entity_type' AND h.entity_id = c ->> 'entity_id';
        IF c ->> 'operation' <> 'delete' THEN
            INSERT INTO held VALUES (c ->> 'entity_type', c ->> 'entity_id', (c ->> 'server_version')::bigint, c ->> 'data');
        END IF;
    END LOOP;
END
$$;
-- :pull goes on to the end of the round; :compare says for each table whether server and client agree
CREATE FUNCTION take(answer json) RETURNS boolean LANGUAGE plpgsql AS
$$
BEGIN
    DELETE FROM held h WHERE h.entity_type IN (SELECT json_array_elements_text(answer -> 'reset'));
    PERFORM apply(answer -> 'changes');
    UPDATE client SET token = answer ->> 'next_sync_token';
    RETURN (answer ->> 'has_more')::boolean;
END
$$;
\set pull 'SELECT sync.pull(jsonb_build_object(''device_id'', ''d'', ''sync_token'', token)) AS answer FROM client \\gset \\\\ SELECT take(:''answer'') AS has_more;'
CREATE FUNCTION compare(answer json) RETURNS TABLE (entity_type text, stale text, rows bigint, agree boolean) LANGUAGE sql AS
$$
SELECT t ->> 'entity_type', t ->> 'stale', (t ->> 'count')::bigint,
       (t ->> 'count')::bigint = (SELECT count(*) FROM held h WHERE h.entity_type = t ->> 'entity_type')
       AND (t ->> 'hash')::numeric = (SELECT coalesce(sum(row_hash(h.entity_id, h.version)), 0) % 18446744073709551616
                                      FROM held h WHERE h.entity_type = t ->> 'entity_type')
FROM json_array_elements(answer -> 'tables') t
$$;
\set digest 'SELECT sync.digest(jsonb_build_object(''device_id'', ''d'', ''sync_token'', token)) AS answer FROM client \\gset'
GRANT ALL ON held, client TO digest_app;
SET request.jwt.claims = '{"sub":"ada"}';
SET ROLE digest_app;

-- A client in step agrees, in scopes it holds, without deleted rows; the answer's token is one of this state
:pull
:digest
SELECT * FROM compare(:'answer');
SELECT :'answer'::json ->> 'stale' AS stale;
SELECT json_array_length(sync.pull(jsonb_build_object('device_id', 'd', 'sync_token', :'answer'::json ->> 'sync_token')) -> 'changes') AS changes,
       sync.pull(jsonb_build_object('device_id', 'd', 'sync_token', :'answer'::json ->> 'sync_token')) ->> 'reset' AS reset;

-- One changed table is stale, the others are still compared; a pull settles it. A deletion, or a changed row, is enough
RESET ROLE;
DELETE FROM digest_item WHERE b = 3;
SET ROLE digest_app;
:digest
SELECT * FROM compare(:'answer');
SELECT :'answer'::json ->> 'stale' AS stale, :'answer'::json ->> 'sync_token' IS NULL AS no_token;
:pull
:digest
SELECT * FROM compare(:'answer');
RESET ROLE;
UPDATE digest_note SET body = 'third' WHERE id = 6;
SET ROLE digest_app;
:digest
SELECT * FROM compare(:'answer');
:pull
:digest
SELECT * FROM compare(:'answer');

-- What changed in scopes of others makes nothing stale
RESET ROLE;
UPDATE digest_item SET a = 'moved' WHERE team = 'green';
SET ROLE digest_app;
:digest
SELECT * FROM compare(:'answer');

-- A scope gained, or lost, does
RESET ROLE;
INSERT INTO digest_member VALUES ('ada', 'green');
SET ROLE digest_app;
:digest
SELECT * FROM compare(:'answer');
:pull
:digest
SELECT * FROM compare(:'answer');
RESET ROLE;
DELETE FROM digest_member WHERE team = 'green';
SET ROLE digest_app;
:digest
SELECT * FROM compare(:'answer');
RESET ROLE;
INSERT INTO digest_member VALUES ('ada', 'green');
SET ROLE digest_app;

-- So does a token from inside a round, one of somebody else, one that is none; without a token there is nothing to be stale against
SELECT sync.pull('{"limit":1}') ->> 'next_sync_token' AS inside \gset
SELECT compare(sync.digest(jsonb_build_object('sync_token', :'inside')));
-- also where the table itself stood still
:pull
RESET ROLE;
UPDATE digest_note SET body = 'twice' WHERE id IN (6, 7);
SET ROLE digest_app;
SELECT sync.pull(jsonb_build_object('limit', 1, 'sync_token', token)) ->> 'next_sync_token' AS inside FROM client \gset
SELECT compare(sync.digest(jsonb_build_object('sync_token', :'inside')));
:pull
SELECT compare(sync.digest('{"sync_token":"garbage"}'));
SET request.jwt.claims = '{"sub":"bob"}';
:digest
SELECT * FROM compare(:'answer');
SET request.jwt.claims = '{"sub":"ada"}';
SELECT * FROM compare(sync.digest('{}'));
SELECT * FROM compare(sync.digest('{"tables":["digest_item"]}'));

-- A row that the client lost, one it should not have, one of an older version: found by their buckets
RESET ROLE;
DELETE FROM held WHERE entity_type = 'digest_note' AND entity_id = '7';
UPDATE held SET version = 1, data = 'old' WHERE entity_type = 'digest_note' AND entity_id = '9';
INSERT INTO held VALUES ('digest_note', '40', 2, 'ghost');
SET ROLE digest_app;
:digest
SELECT * FROM compare(:'answer');
SELECT sync.digest(jsonb_build_object('sync_token', token, 'buckets', 16, 'tables', '{digest_note}'::text[])) -> 'tables' -> 0 -> 'buckets' AS buckets FROM client \gset
SELECT jsonb_agg(n - 1) AS wrong, json_array_length(:'buckets') AS buckets, array_agg(DISTINCT bucket(id, 16)) @> array_agg(DISTINCT (n - 1)::int) AS of_these_rows
FROM json_array_elements(:'buckets') WITH ORDINALITY AS e (b, n), unnest('{7,9,40}'::text[]) id
WHERE (b ->> 'hash')::numeric <> (SELECT coalesce(sum(row_hash(entity_id, version)), 0) % 18446744073709551616 FROM held
                                  WHERE entity_type = 'digest_note' AND bucket(entity_id, 16) = n - 1) \gset
SELECT jsonb_array_length(:'wrong') / 3 AS wrong_buckets, :'of_these_rows' AS of_these_rows;
SELECT sync.digest(jsonb_build_object('sync_token', token, 'tables', '{digest_note}'::text[], 'buckets', 16,
                                      'repair', jsonb_build_object('digest_note', :'wrong'::jsonb))) -> 'tables' -> 0 AS repair FROM client \gset
SELECT json_array_length(:'repair'::json -> 'changes') = json_array_length(:'repair'::json -> 'keys') AS same_rows,
       json_array_length(:'repair'::json -> 'keys') < 20 AS only_a_part;
DELETE FROM held WHERE entity_type = 'digest_note' AND bucket(entity_id, 16) IN (SELECT jsonb_array_elements(:'wrong')::int)
                   AND entity_id NOT IN (SELECT json_array_elements_text(:'repair'::json -> 'keys'));
SELECT apply(:'repair'::json -> 'changes');
:digest
SELECT * FROM compare(:'answer');
SELECT data FROM held WHERE entity_type = 'digest_note' AND entity_id IN ('7', '9', '40') ORDER BY entity_id;

-- Nothing of a stale table is repaired
RESET ROLE;
UPDATE digest_note SET body = 'fourth' WHERE id = 6;
SET ROLE digest_app;
SELECT t ->> 'stale' AS stale, t -> 'keys' AS keys, t -> 'changes' AS changes, t -> 'hash' AS hash
FROM client, json_array_elements(sync.digest(jsonb_build_object('sync_token', token, 'buckets', 1, 'repair', '{"digest_note":[0]}'::jsonb)) -> 'tables') t
WHERE t ->> 'entity_type' = 'digest_note';

-- Requests that are none
SELECT sync.digest('{"buckets":257}');
SELECT sync.digest('{"repair":{"digest_note":[0]}}');
SELECT sync.digest('{"buckets":4,"repair":["digest_note"]}');
SELECT sync.digest('{"buckets":4,"repair":{"digest_note":[4]}}');
SELECT sync.digest('{"buckets":4,"repair":{"digest_note":[-1]}}');
SELECT sync.digest('{"buckets":4,"repair":{"digest_note":["x"]}}');
\echo :LAST_ERROR_SQLSTATE

-- Cleaning up
RESET ROLE;
SET request.jwt.claims = '';
SELECT sync.disable_all();
DELETE FROM sync.scope WHERE id >= 100;
DROP TABLE digest_note, digest_item, digest_member;
DROP FUNCTION word(bytea), row_hash(text, bigint), bucket(text, int), apply(json), take(json), compare(json);
DROP OWNED BY digest_app;
DROP ROLE digest_app;
