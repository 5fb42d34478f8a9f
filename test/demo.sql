-- demo.sql - the demo's tables as an owner would write them, then three statements that make them sync.
-- SPDX-License-Identifier: PostgreSQL
CREATE ROLE app NOLOGIN;
GRANT app TO sync_query;

CREATE TABLE member (
  user_id text NOT NULL,
  team_id int NOT NULL,
  PRIMARY KEY (user_id, team_id)
);
CREATE TABLE note (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  team_id int NOT NULL,
  title text NOT NULL CHECK (title <> '' AND length(title) <= 120),
  body text NOT NULL DEFAULT '',
  done boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT ON member TO app;
GRANT SELECT, INSERT, UPDATE, DELETE ON note TO app;

ALTER TABLE member ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_memberships ON member FOR SELECT TO app USING (user_id = sync.user_id());
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
CREATE POLICY notes_of_my_teams ON note TO app
  USING (team_id IN (SELECT m.team_id FROM member m WHERE m.user_id = sync.user_id()))
  WITH CHECK (team_id IN (SELECT m.team_id FROM member m WHERE m.user_id = sync.user_id()));

INSERT INTO member VALUES ('ada', 1), ('ben', 1), ('cleo', 2);
INSERT INTO note (team_id, title, body, done, created_at) VALUES
  (1, 'Book the boat', 'Saturday, six people', false, now() - interval '3 days'),
  (1, 'Ask about the weather', '', true, now() - interval '2 days'),
  (1, 'Bring the good rope', 'The blue one is frayed', false, now() - interval '1 day'),
  (2, 'Water the garden', 'Tomatoes first', false, now() - interval '2 days'),
  (2, 'Sharpen the shears', '', false, now() - interval '1 day');

-- from here on it syncs: who is in which team, and that this says all that the policy says
SELECT sync.create_scope('team', 'SELECT m.team_id FROM public.member m WHERE m.user_id = sync.user_id()', watch => '{public.member.user_id}');
SELECT sync.enable('note', scope => 'team', scope_column => 'team_id', policy_is_scope => true);
