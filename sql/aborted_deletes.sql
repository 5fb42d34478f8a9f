-- aborted_deletes.sql - rows of keys whose deletion was rolled back: "could not find block containing chunk", or a backend that dies.
-- SPDX-License-Identifier: PostgreSQL
SET client_min_messages = warning;
CREATE TABLE again (id int PRIMARY KEY, label text NOT NULL);
SELECT sync.enable('again');

-- Leaves tombstones that nobody will ever see. One scan of them serves all rows of an insert, while each row has a memory context of its own.
CREATE FUNCTION delete_in_vain() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM again;
  RAISE EXCEPTION 'in vain';
EXCEPTION WHEN raise_exception THEN
  TRUNCATE again;	-- the rows go, without a tombstone
END $$;
CREATE FUNCTION live_again(width int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  intact bigint;
BEGIN
  INSERT INTO again SELECT i, repeat(chr(64 + i), width * i) FROM generate_series(1, 20) i;
  PERFORM delete_in_vain();
  INSERT INTO again SELECT i, repeat(chr(64 + i), width * i) FROM generate_series(1, 20) i;
  SELECT count(*) INTO intact FROM again WHERE label = repeat(chr(64 + id), width * id) AND sync_version = 1;
  PERFORM delete_in_vain();
  RETURN intact;
END $$;
SELECT count(*), sum(live_again(width)) AS intact FROM generate_series(1, 801, 40) width;
DROP FUNCTION live_again, delete_in_vain;
DROP TABLE again;
