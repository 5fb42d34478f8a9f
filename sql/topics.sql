-- topics.sql - private topics: patterns, conditions run as the caller, the most specific pattern, what is refused when they are declared.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
\set VERBOSITY terse
\pset null '<null>'
SET client_min_messages = warning;
CREATE ROLE topic_app;
CREATE ROLE topic_owner;
CREATE TABLE topic_member (who text, journey bigint, may_write boolean);
INSERT INTO topic_member VALUES ('ada', 7, true), ('bob', 7, false), ('cyd', 8, true);
ALTER TABLE topic_member ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON topic_member TO topic_app USING (who = sync.user_id());
GRANT SELECT ON topic_member TO topic_app;

-- What is refused, and why
SELECT sync.allow_topic(p, 'true', '{join}') FROM (VALUES ('')) AS bad (p);
SELECT sync.allow_topic('a::b', 'true', '{join}');
SELECT sync.allow_topic('a:x{b}', 'true', '{join}');
SELECT sync.allow_topic('a:{b}:{b}', 'true', '{join}');
SELECT sync.allow_topic('a:{B}', 'true', '{join}');
SELECT sync.allow_topic('a:{1b}', 'true', '{join}');
SELECT sync.allow_topic(repeat('x', 241), 'true', '{join}');
SELECT sync.allow_topic('a:{b}', NULL, '{join}');
SELECT sync.allow_topic('a:{b}', 'true', '{}');
SELECT sync.allow_topic('a:{b}', 'true', '{join,fly}');
\set VERBOSITY default
SELECT sync.allow_topic('a:{b}', '{c} = 1', '{join}');
SELECT sync.allow_topic('a:{b}', 'SELECT journey FROM public.topic_member', '{join}');
SELECT sync.allow_topic('a:{b}', 'EXISTS (SELECT FROM topic_member)', '{join}');
SELECT sync.allow_topic('a:{b}', 'true); DROP TABLE sync.topic; SELECT (true', '{join}');
SELECT sync.allow_topic('a:{b}', 'tru', '{join}');
\set VERBOSITY terse
SET ROLE topic_owner;
SELECT sync.allow_topic('a:{b}', 'true', '{join}');
RESET ROLE;

-- Conditions run as the caller, on the caller's rows
SELECT sync.allow_topic('journey:{journey}:{client}', $$ EXISTS (SELECT FROM public.topic_member m WHERE m.journey = {journey}::bigint AND {client} = sync.user_id()) $$);
SELECT sync.allow_topic('journey:{journey}:all', $$ SELECT EXISTS (SELECT FROM public.topic_member m WHERE m.journey = {journey}::bigint) $$, '{join,presence}');
SELECT sync.allow_topic('journey:{j}:all', $$ EXISTS (SELECT FROM public.topic_member m WHERE m.journey = {j}::bigint AND m.may_write) $$, '{broadcast}');
SELECT sync.allow_topic('lobby', 'sync.user_id() IS NOT NULL');
SELECT sync.allow_topic('{any}:{of}:all', 'true', '{join}');
-- A variable's braces within strings, names and comments are none
SELECT sync.allow_topic('quotes:{x}', $q$ {x} = ANY ('{x,y}'::text[]) OR {x} = 'it''s {x}' OR {x} = E'\'{x}' OR {x} = $${x}$$ -- {x} {y}
 OR EXISTS (SELECT 1 AS "{x}" WHERE {x} = 'q') /* {z} /* nested {z} */ {z} */ $q$, '{join}');
SELECT pattern, actions FROM sync.topics();
CREATE FUNCTION rights(who text, topic text) RETURNS json LANGUAGE plpgsql AS
$$ BEGIN PERFORM set_config('request.jwt.claims', json_build_object('sub', who)::text, true); RETURN sync.topic_rights(topic); END $$;
SET ROLE topic_app;
SELECT who, topic, rights(who, topic)
FROM (VALUES ('ada', 'journey:7:ada'), ('ada', 'journey:7:bob'), ('bob', 'journey:8:bob'), ('ada', 'journey:7:all'), ('bob', 'journey:7:all'), ('cyd', 'journey:7:all'),
             ('ada', 'journey:7'), ('ada', 'journey:7:ada:more'), ('ada', 'journey:7:'), ('ada', 'journey:none:ada'), ('ada', 'journey:7 OR true:ada'),
             ('ada', 'lobby'), (NULL, 'lobby'), ('ada', 'other:7:all'), ('ada', 'quotes:x'), ('ada', 'quotes:q'), ('ada', 'quotes:{x}'), ('ada', 'quotes:''{x}'), ('ada', 'quotes:it''s {x}'), ('ada', 'quotes:z'),
             ('ada', 'quotes:$1'), ('ada', 'quotes:''; DROP TABLE sync.topic; --')) AS asked (who, topic);
SELECT rights('ada', '');
SELECT rights('ada', repeat('x', 241));
SELECT * FROM sync.topics();
SELECT sync.drop_topic('lobby');
-- A condition that needs more than its caller may do fails for the caller; other topics stay
RESET ROLE;
REVOKE SELECT ON topic_member FROM topic_app;
SET ROLE topic_app;
SELECT rights('ada', 'journey:7:ada');
SELECT rights('ada', 'lobby');
RESET ROLE;
GRANT SELECT ON topic_member TO topic_app;

-- Taken back, by whatever names the variables have
SELECT sync.drop_topic('journey:{x}:all', '{broadcast}');
SELECT sync.drop_topic('journey:{x}:all', '{broadcast}');
SELECT sync.drop_topic('journey:{x}:{y}');
SET ROLE topic_app;
SELECT rights('ada', 'journey:7:all'), rights('ada', 'journey:7:ada');
RESET ROLE;
SELECT sync.drop_topic(pattern) FROM sync.topics();

-- Messages: what may be sent, and by whom
SELECT sync.broadcast('', 'x', '{}');
SELECT sync.broadcast(repeat('x', 241), 'x', '{}');
SELECT sync.broadcast('lobby', repeat('x', 256), '{}');
SELECT sync.broadcast('lobby', NULL, '{}');
SELECT sync.broadcast('lobby', 'x', jsonb_build_object('a', repeat('x', 65530)));
SELECT sync.broadcast('lobby', 'x', NULL), sync.broadcast('lobby', 'x', jsonb_build_object('a', repeat('x', 65527)), false);
SELECT sync.relay(to_json(repeat('x', 524288)));
SET ROLE topic_app;
SELECT sync.broadcast('lobby', 'x', '{}');
SELECT sync.relay('{}');
RESET ROLE;
DROP FUNCTION rights;
DROP TABLE topic_member;
DROP ROLE topic_app, topic_owner;
