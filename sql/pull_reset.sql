-- pull_reset.sql - a token that no longer says truly what its holder has is answered with everything, and with the tables to drop first.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
-- One line for each change, one for the rest of an answer; :next pulls with the last answer's token and keeps the new answer
CREATE FUNCTION changes(answer json) RETURNS TABLE (change text) LANGUAGE sql AS
$$
SELECT concat_ws(' ', c ->> 'operation', c ->> 'entity_type', c ->> 'entity_id', 'v' || (c ->> 'server_version'), 'scope ' || (c ->> 'scope'),
                 c ->> 'reason', c ->> 'data')
FROM json_array_elements(answer -> 'changes') WITH ORDINALITY AS e (c, n) ORDER BY n
$$;
CREATE FUNCTION rest(answer json) RETURNS TABLE (reset text, withdrawn text, has_more text) LANGUAGE sql AS
$$ SELECT answer ->> 'reset', answer ->> 'withdrawn', answer ->> 'has_more' $$;
\set next 'SELECT answer, answer ->> ''next_sync_token'' AS token FROM sync.pull(jsonb_build_object(''device_id'', ''d'', ''sync_token'', :''token'')) AS answer \\gset'
CREATE ROLE pull_reset_one;
CREATE ROLE pull_reset_two;
CREATE TABLE reset_note (id int PRIMARY KEY);
CREATE TABLE reset_other (id int PRIMARY KEY);
INSERT INTO reset_note VALUES (1), (2);
INSERT INTO reset_other VALUES (1);
GRANT SELECT ON reset_note, reset_other TO pull_reset_one, pull_reset_two;
SELECT sync.enable('reset_note');
SELECT sync.enable('reset_other', priority => 3);

-- Tokens that were never ours: no error, a reset
\set token ''
:next
SELECT * FROM rest(:'answer');
\set token 'garbage'
:next
SELECT * FROM rest(:'answer');
SELECT * FROM changes(:'answer');
\set good :token
SELECT * FROM rest(sync.pull(jsonb_build_object('sync_token', :'good')));
SELECT * FROM rest(sync.pull(jsonb_build_object('sync_token', 'x' || :'good')));
SELECT * FROM rest(sync.pull(jsonb_build_object('sync_token', left(:'good', -4))));
SELECT * FROM rest(sync.pull(jsonb_build_object('sync_token', split_part(:'good', '.', 1) || '.')));
SELECT * FROM rest(sync.pull(jsonb_build_object('sync_token', '.' || split_part(:'good', '.', 2))));
SELECT * FROM rest(sync.pull(jsonb_build_object('sync_token', :'good' || '.' || :'good')));
SELECT * FROM rest(sync.pull(jsonb_build_object('sync_token', '😀.😀')));

-- Positions that are no positions: the session part of a good token, and another text behind it
CREATE FUNCTION with_position(token text, pos text) RETURNS jsonb LANGUAGE sql AS
$$ SELECT jsonb_build_object('sync_token', split_part(token, '.', 1) || '.' ||
                             translate(rtrim(replace(encode(convert_to(pos, 'UTF8'), 'base64'), E'\n', ''), '='), '+/', '-_')) $$;
CREATE FUNCTION position_of(token text) RETURNS text LANGUAGE sql AS
$$ SELECT convert_from(decode(rpad(t, (length(t) + 3) / 4 * 4, '='), 'base64'), 'UTF8') FROM translate(split_part(token, '.', 2), '-_', '+/') t $$;
SELECT position_of(:'good') ~ '^1/1/[0-9A-F]+:[0-9A-F]+/\d+:\d+:(\d+(,\d+)*)?$' AS as_written_down;
SELECT split_part(position_of(:'good'), '/', 3) AS lsn, split_part(position_of(:'good'), '/', 4) AS snapshot \gset
SELECT * FROM rest(sync.pull(with_position(:'good', '1/1/' || :'lsn' || '/' || :'snapshot')));
SELECT p, answer ->> 'reset' AS reset
FROM unnest(ARRAY['', '/', '1', '1/1/0:0/', '1/1/0:0/9:8:', '1/1/0:0/3:3', '1/1/0:0/x:y:', '1/1/0:0/3:3:7', '1/1/0:0/3:9:8,7', '2/1/0:0/3:3:',
                  '1/1/zz/3:3:', '1/1/0:0/-', '1/1/0:0/99999999999999999999:99999999999999999999:', '1/1/0:0/-/3:3:', '1/1/0:0/-/3:3:////']) p,
     sync.pull(with_position(:'good', p)) AS answer;

-- A place inside a round that is none is a bad request at worst, never a crash; here whole names all tables, then none
SELECT string_agg(id::text, ',' ORDER BY priority) AS whole, min(id) AS id FROM sync.synced_table WHERE id >= 100 \gset
\set VERBOSITY sqlstate
SELECT sync.pull(with_position(:'good', '1/1/0:0/-/' || :'snapshot' || '/' || :'whole' || '//0/W/')) ->> 'reset' AS reset;
SELECT sync.pull(with_position(:'good', '1/1/0:0/-/' || :'snapshot' || '/' || :'whole' || '//' || :'id' || '/Q/'));
SELECT sync.pull(with_position(:'good', '1/1/0:0/-/' || :'snapshot' || '/' || :'whole' || '//' || :'id' || '/W/"1"'));
SELECT sync.pull(with_position(:'good', '1/1/0:0/-/' || :'snapshot' || '/' || :'whole' || '//' || :'id' || '/W/{}'));
SELECT sync.pull(with_position(:'good', '1/1/0:0/-/' || :'snapshot' || '/' || :'whole' || '//' || :'id' || '/W/["1","2"]'));
SELECT sync.pull(with_position(:'good', '1/1/0:0/-/' || :'snapshot' || '/' || :'whole' || '//' || :'id' || '/W/[null]'));
SELECT sync.pull(with_position(:'good', '1/1/0:0/-/' || :'snapshot' || '/' || :'whole' || '//' || :'id' || '/W/["1"]')) ->> 'reset' AS reset;
SELECT sync.pull(with_position(:'good', '1/1/0:0/' || :'snapshot' || '/' || :'snapshot' || '///' || :'id' || '/T/["1"]'));
-- increments that do not say since when
SELECT phase, sync.pull(with_position(:'good', '1/1/0:0/-/' || :'snapshot' || '///' || :'id' || '/' || phase || '/')) ->> 'reset' AS reset
FROM unnest('{T,I,G,W}'::text[]) phase;
\set VERBOSITY default

-- Ahead of the current snapshot, ahead of WAL, a timeline that is not yet, older than the horizon
SELECT * FROM rest(sync.pull(with_position(:'good', '1/1/' || :'lsn' || '/4000000000000:4000000000000:')));
SELECT * FROM rest(sync.pull(with_position(:'good', '1/1/FFFFFF:0/' || :'snapshot')));
SELECT * FROM rest(sync.pull(with_position(:'good', '1/2/' || :'lsn' || '/' || :'snapshot')));
SELECT split_part(:'snapshot', ':', 1) AS xmin \gset
UPDATE sync.instance SET horizon = :'xmin';
SELECT * FROM rest(sync.pull(jsonb_build_object('sync_token', :'good')));
UPDATE sync.instance SET horizon = (:xmin - 1)::text::xid8;
SELECT * FROM rest(sync.pull(jsonb_build_object('sync_token', :'good')));
UPDATE sync.instance SET horizon = '0';

-- Another identity: role or claims; what changes with each renewal of a token is no difference
SET request.jwt.claims = '{"sub":"ada","role":"app","iat":1,"exp":2,"jti":"a"}';
SET ROLE pull_reset_one;
\set token 'none'
:next
:next
SELECT * FROM rest(:'answer');
SET request.jwt.claims = '{"jti":"b","role":"app","exp":20,"nbf":1,"auth_time":5,"session_id":"s","amr":["pwd"],"iat":10,"sub":"ada"}';
:next
SELECT * FROM rest(:'answer');
\set ada :token
SET request.jwt.claims = '{"sub":"bob","role":"app"}';
:next
SELECT * FROM rest(:'answer');
\set token :ada
SET request.jwt.claims = '{"sub":"ada","role":"app","team":1}';
:next
SELECT * FROM rest(:'answer');
\set token :ada
SET request.jwt.claims = '';
:next
SELECT * FROM rest(:'answer');
\set token :ada
SET request.jwt.claims = '{"sub":"ada","role":"app"}';
SET ROLE pull_reset_two;
:next
SELECT * FROM rest(:'answer');
SET ROLE pull_reset_one;
\set token :ada
:next
SELECT * FROM rest(:'answer');
RESET ROLE;
SET request.jwt.claims = '';

-- TRUNCATE: only that table starts anew, once
\set token :good
TRUNCATE reset_note;
INSERT INTO reset_note VALUES (3);
INSERT INTO reset_other VALUES (2);
:next
SELECT * FROM rest(:'answer');
SELECT * FROM changes(:'answer');
:next
SELECT * FROM rest(:'answer');
TRUNCATE reset_note, reset_other;
:next
SELECT * FROM rest(:'answer');
SELECT * FROM changes(:'answer');
BEGIN;
TRUNCATE reset_note;
ROLLBACK;
:next
SELECT * FROM rest(:'answer');

-- Enabled again: a table of its own
SELECT sync.disable('reset_note');
SELECT sync.enable('reset_note');
:next
SELECT * FROM rest(:'answer');
SELECT sync.disable('reset_note');
:next
SELECT * FROM rest(:'answer');
SELECT sync.enable('reset_note');
:next
SELECT * FROM rest(:'answer');
:next
SELECT * FROM rest(:'answer');

-- A set of tables: one left out is sent whole when it is asked for again, the others are not
INSERT INTO reset_note VALUES (10);
SELECT answer, answer ->> 'next_sync_token' AS token FROM sync.pull(jsonb_build_object('sync_token', :'token', 'tables', '{reset_other}'::text[])) AS answer \gset
SELECT * FROM changes(:'answer');
INSERT INTO reset_other VALUES (20);
:next
SELECT * FROM rest(:'answer');
SELECT * FROM changes(:'answer');

-- The same by priority
SELECT answer, answer ->> 'next_sync_token' AS token FROM sync.pull('{"priority":2}') AS answer \gset
SELECT * FROM changes(:'answer');
INSERT INTO reset_note VALUES (11);
SELECT answer, answer ->> 'next_sync_token' AS token FROM sync.pull(jsonb_build_object('sync_token', :'token', 'priority', 2)) AS answer \gset
SELECT * FROM rest(:'answer');
SELECT * FROM changes(:'answer');
SELECT json_array_length(sync.pull('{"priority":1}') -> 'changes');
:next
SELECT * FROM rest(:'answer');
SELECT * FROM changes(:'answer');

-- Another incarnation
SELECT sync.new_incarnation() BETWEEN 1 AND 2147483647 AS renewed;
:next
SELECT * FROM rest(:'answer');
SELECT * FROM changes(:'answer');

-- Cleaning up
SELECT sync.disable_all();
DROP TABLE reset_note, reset_other;
DROP FUNCTION changes(json), rest(json), with_position(text, text), position_of(text);
DROP ROLE pull_reset_one, pull_reset_two;
