-- user_id.sql - the user is the claim sub; no claims, empty claims and an empty sub are nobody.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
\pset null '<null>'

-- Unset, empty, without a sub
SELECT sync.user_id();
SET request.jwt.claims = '';
SELECT sync.user_id();
SET request.jwt.claims = '{}';
SELECT sync.user_id();
SET request.jwt.claims = '{"role":"app"}';
SELECT sync.user_id();
SET request.jwt.claims = '{"sub":null}';
SELECT sync.user_id();
SET request.jwt.claims = '{"sub":""}';
SELECT sync.user_id();
SET request.jwt.claims = '{"sub":{"name":"ada"}}';
SELECT sync.user_id();

-- A user; numbers as their text; the setting is followed as it changes, within a transaction too
SET request.jwt.claims = '{"sub":"ada","role":"app"}';
SELECT sync.user_id();
BEGIN;
SET LOCAL request.jwt.claims = '{"sub":"bob"}';
SELECT sync.user_id();
ROLLBACK;
SELECT sync.user_id();
SET request.jwt.claims = '{"sub":42}';
SELECT sync.user_id();
SET request.jwt.claims = '{"sub":" Ünder \"quotes\" 😀 "}';
SELECT sync.user_id();
RESET request.jwt.claims;
SELECT sync.user_id();

-- Malformed claims are an error, never somebody
SET request.jwt.claims = '{"sub":"ada"';
SELECT sync.user_id();
\echo :LAST_ERROR_SQLSTATE
SET request.jwt.claims = '["ada"]';
SELECT sync.user_id();
\echo :LAST_ERROR_SQLSTATE
SET request.jwt.claims = '"ada"';
SELECT sync.user_id();
SELECT sync.pull('{}');
SELECT sync.push('{"device_id":"d","changes":[]}');
SET request.jwt.claims = '{"sub":"ada"}';
SELECT sync.user_id();
