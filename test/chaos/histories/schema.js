// schema.js - the tables of the random histories: each way to say who sees what, each kind of deletion, each rule; and who may ever see what.
// SPDX-License-Identifier: PostgreSQL
//
// Memberships and friendships change all the time, but only within each user's pool: what lies outside it may never reach them.

/** Values each user may at some time hold. u7 is a guest (a role that is granted less), u8 belongs nowhere; team 9 is nobody's. */
export const USERS = {
  u1: { role: 'app', teams: [1, 2, 3], friends: ['u2', 'u3'] },
  u2: { role: 'app', teams: [1, 2], friends: ['u1'] },
  u3: { role: 'app', teams: [2, 3], friends: ['u4'] },
  u4: { role: 'app', teams: [3, 4], friends: ['u1'] },
  u5: { role: 'app', teams: [4, 5, 1], friends: [] },
  u6: { role: 'app', teams: [5], friends: [] },
  u7: { role: 'guest', teams: [1, 4], friends: [] },
  u8: { role: 'app', teams: [], friends: [] },
};
export const NAMES = Object.keys(USERS);
export const TEAMS = [1, 2, 3, 4, 5];
export const SECRET_TEAM = 9;
export const KEYS = 24; // the keys that everybody fights over are 1..KEYS
/** Documents from here on are never opened; the thousands say whose they are. */
export const PRIVATE_FROM = 100_000;

export const TABLES = ['note', 'todo', 'event', 'comment', 'doc', 'post', 'label', 'tally'];

/** What a row's visibility asks beyond its table's policies; `sync_query` and the stream ask the scope as well. */
const HELD = '(SELECT m.team_id FROM public.member m WHERE m.user_id = sync.user_id())';
export const SEEN = {
  note: `team_id IN ${HELD}`,
  todo: `team_id IN ${HELD} AND deleted_at IS NULL`,
  event: `team_id IN ${HELD}`,
  comment: `note_id IN (SELECT p.id FROM public.note p WHERE p.team_id IN ${HELD})`,
};

const TEAM_POLICY = (table) => `
ALTER TABLE ${table} ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON ${table} TO app, guest USING (team_id IN ${HELD}) WITH CHECK (team_id IN ${HELD});`;

const AUDITED = TABLES.map((table) => `CREATE TRIGGER audited AFTER INSERT OR UPDATE ON ${table} FOR EACH ROW EXECUTE FUNCTION audit('${table}');`).join('\n');

const ROWS = `
INSERT INTO note SELECT i, 1 + i % 5, 'note ' || i FROM generate_series(1, 16) i;
INSERT INTO note SELECT 9000 + i, ${SECRET_TEAM}, 'secret ' || i FROM generate_series(1, 4) i;
INSERT INTO todo (id, team_id, title, place) SELECT i, 1 + i % 5, 'todo ' || i, i FROM generate_series(1, 12) i;
INSERT INTO todo (id, team_id, title) SELECT 9000 + i, ${SECRET_TEAM}, 'secret ' || i FROM generate_series(1, 3) i;
INSERT INTO event SELECT i, i % 20, 1 + i % 5, 'event ' || i FROM generate_series(1, 16) i;
INSERT INTO comment SELECT i, 1 + i % 16, 'comment ' || i FROM generate_series(1, 16) i;
INSERT INTO doc SELECT i, 'u' || 1 + i % 8, i % 3 = 0, 'doc ' || i FROM generate_series(1, 16) i;
INSERT INTO doc SELECT ${PRIVATE_FROM} * u + i, 'u' || u, false, 'private ' || i FROM generate_series(1, 8) u, generate_series(1, 2) i;
INSERT INTO post SELECT i, 'u' || 1 + i % 8, 'post ' || i FROM generate_series(1, 16) i;
INSERT INTO label SELECT i, 'label ' || i, i FROM generate_series(1, 12) i;
INSERT INTO tally SELECT i, 'tally ' || i FROM generate_series(1, 4) i;
`;

const POLICY = 'owner = sync.user_id() OR open';

export const SCHEMA = `
SET client_min_messages = warning;
CREATE TABLE member (user_id text, team_id int, PRIMARY KEY (user_id, team_id));
CREATE TABLE friend (user_id text, of text, PRIMARY KEY (user_id, of));
CREATE TABLE note (id int PRIMARY KEY, team_id int NOT NULL, title text NOT NULL, body text NOT NULL DEFAULT '', done boolean NOT NULL DEFAULT false);
CREATE TABLE todo (id int PRIMARY KEY, team_id int NOT NULL, title text NOT NULL, place int, deleted_at timestamptz);
CREATE TABLE event (id int, day int, team_id int NOT NULL, title text NOT NULL, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE event_early PARTITION OF event FOR VALUES FROM (0) TO (10);
CREATE TABLE event_late PARTITION OF event FOR VALUES FROM (10) TO (20);
CREATE TABLE comment (id int PRIMARY KEY, note_id int NOT NULL REFERENCES note ON DELETE CASCADE ON UPDATE CASCADE, title text NOT NULL);
CREATE TABLE doc (id int PRIMARY KEY, owner text NOT NULL, open boolean NOT NULL DEFAULT false, title text NOT NULL);
CREATE TABLE post (id int PRIMARY KEY, author text NOT NULL, title text NOT NULL);
CREATE TABLE label (id int PRIMARY KEY, title text NOT NULL, price int);
CREATE TABLE tally (id int PRIMARY KEY, title text NOT NULL, n int NOT NULL DEFAULT 0);
GRANT SELECT ON member, friend TO app, guest;
GRANT SELECT, INSERT, UPDATE, DELETE ON note, todo, event, comment, doc, post, tally TO app, guest;
GRANT SELECT (id, title), INSERT, UPDATE, DELETE ON label TO app, guest;
GRANT SELECT (price) ON label TO app;
${TEAM_POLICY('note')}
ALTER TABLE doc ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_or_open ON doc TO app, guest USING (${POLICY}) WITH CHECK (${POLICY});
ALTER TABLE post ENABLE ROW LEVEL SECURITY;
CREATE POLICY friends ON post TO app, guest USING (author = sync.user_id() OR author IN (SELECT f.of FROM friend f WHERE f.user_id = sync.user_id()));
SELECT sync.create_scope('team', 'SELECT m.team_id FROM public.member m WHERE m.user_id = sync.user_id()', watch => '{public.member.user_id}');
SELECT sync.enable('note', scope => 'team', scope_column => 'team_id', policy_is_scope => true, priority => 1);
SELECT sync.enable('todo', scope => 'team', scope_column => 'team_id', rule => 'lww', delete_rule => 'lww', deleted_at => 'deleted_at');
SELECT sync.enable('event', scope => 'team', scope_column => 'team_id', rule => 'reject');
SELECT sync.enable('comment', via => 'note_id');
SELECT sync.enable('doc', history => true, delete_rule => 'edit_wins');
SELECT sync.enable('post', verify => true);
SELECT sync.enable('label', priority => 3);
SELECT sync.enable('tally');
SELECT sync.set_column_rule('tally', 'n', 'counter');
SELECT sync.set_column_rule('note', 'body', 'text');

-- what the oracle counts by, in the writing transaction itself: increments by SQL, and each time a pushed title was written
CREATE TABLE witness (tally int, d int);
CREATE TABLE audit (rel text, title text);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
$$
BEGIN
    IF NEW.title LIKE 'push %' AND (TG_OP = 'INSERT' OR OLD.title IS DISTINCT FROM NEW.title) THEN
        INSERT INTO public.audit VALUES (TG_ARGV[0], NEW.title);
    END IF;
    RETURN NULL;
END
$$;
${AUDITED}

${ROWS}`;

/** The tables as SCHEMA made them, in a database where a history was: by deletions, a TRUNCATE and DDL, as an owner would. */
export const AGAIN = `
DELETE FROM note; DELETE FROM event; DELETE FROM doc; DELETE FROM post; DELETE FROM label; DELETE FROM tally;
DELETE FROM member; DELETE FROM friend; DELETE FROM witness; DELETE FROM audit;
TRUNCATE todo;
DO $$
DECLARE
    extra record;
BEGIN
    FOR extra IN SELECT a.attrelid::regclass AS rel, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
                  WHERE a.attname LIKE 'extra\\_%' AND NOT a.attisdropped AND c.relnamespace = 'public'::regnamespace AND NOT c.relispartition LOOP
        EXECUTE format('ALTER TABLE %s DROP COLUMN %I', extra.rel, extra.attname);
    END LOOP;
END
$$;
ALTER TABLE note ADD COLUMN IF NOT EXISTS body text NOT NULL DEFAULT '', ADD COLUMN IF NOT EXISTS done boolean NOT NULL DEFAULT false;
ALTER TABLE todo ADD COLUMN IF NOT EXISTS place int;
ALTER TABLE label ALTER COLUMN price TYPE int;
ALTER POLICY own_or_open ON doc USING (${POLICY});
GRANT SELECT (price) ON label TO app;
SELECT sync.set_column_rule('note', 'body', 'text');
${ROWS}`;

/** Why this change may never reach this user, or undefined. Sound, not complete: only what no moment of any history allows. */
export function leakOf(user, { entity_type, entity_id, data, scope }) {
  const { role, teams, friends } = USERS[user];
  if (scope !== undefined && scope !== null && !teams.includes(Number(scope))) return `a row of team ${scope}`;
  if (data?.team_id !== undefined && !teams.includes(data.team_id)) return `a row that says team ${data.team_id}`;
  if (entity_type === 'doc') {
    const owner = Math.floor(Number(entity_id) / PRIVATE_FROM);
    if (owner && `u${owner}` !== user) return `a private document of u${owner}`;
    if (data && data.owner !== user && data.open === false) return `a closed document of ${data.owner}`;
  }
  if (entity_type === 'post' && data && data.author !== user && !friends.includes(data.author)) return `a post of ${data.author}`;
  if (entity_type === 'label' && role === 'guest' && data && 'price' in data) return 'a column without a grant';
  return undefined;
}
