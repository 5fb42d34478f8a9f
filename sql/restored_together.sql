-- Several rows brought back by one statement: each answer tells of its own row
CREATE TABLE together (id int PRIMARY KEY, title text);
SET client_min_messages = warning;
SELECT sync.enable('together', history => true);
INSERT INTO together SELECT i, 'first ' || i FROM generate_series(1, 4) i;
UPDATE together SET title = 'second ' || id;
DELETE FROM together WHERE id <= 2;
SELECT sync.restore('together', '1') AS one, sync.restore('together', '2') AS two;
SELECT sync.rollback_to('together', '3', 1) AS three, sync.rollback_to('together', '4', 1) AS four;
SELECT id, title, sync_version FROM together ORDER BY id;
DROP TABLE together;
