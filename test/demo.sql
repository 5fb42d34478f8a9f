-- demo.sql - the demo's tables as an owner would write them, then three statements that make them sync.
-- SPDX-License-Identifier: PostgreSQL
CREATE ROLE app NOLOGIN;
GRANT app TO sync_query;

CREATE TABLE member (
  user_id text NOT NULL,
  team_id int NOT NULL,
  is_lead boolean NOT NULL DEFAULT false,
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
GRANT SELECT, INSERT, DELETE ON member TO app;
GRANT SELECT, INSERT, UPDATE, DELETE ON note TO app;

-- the owner's function looks past the policies of member, which would else ask themselves
CREATE FUNCTION my_teams(as_lead boolean DEFAULT false) RETURNS SETOF int
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
  AS $$ SELECT m.team_id FROM member m WHERE m.user_id = sync.user_id() AND (m.is_lead OR NOT as_lead) $$;
ALTER TABLE member ENABLE ROW LEVEL SECURITY;
CREATE POLICY members_of_my_teams ON member FOR SELECT TO app USING (team_id IN (SELECT my_teams()));
CREATE POLICY leads_take_in ON member FOR INSERT TO app WITH CHECK (team_id IN (SELECT my_teams(as_lead => true)));
CREATE POLICY leads_let_go ON member FOR DELETE TO app USING (team_id IN (SELECT my_teams(as_lead => true)));
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
CREATE POLICY notes_of_my_teams ON note TO app USING (team_id IN (SELECT my_teams())) WITH CHECK (team_id IN (SELECT my_teams()));

INSERT INTO member VALUES ('ada', 1, true), ('ben', 1, false), ('cleo', 2, true);
INSERT INTO note (team_id, title, body, done, created_at) VALUES
  (1, 'Book the boat', 'Saturday, six people', false, now() - interval '3 days'),
  (1, 'Ask about the weather', '', true, now() - interval '2 days'),
  (1, 'Bring the good rope', 'The blue one is frayed', false, now() - interval '1 day'),
  (2, 'Water the garden', 'Tomatoes first', false, now() - interval '2 days'),
  (2, 'Sharpen the shears', '', false, now() - interval '1 day');

-- from here on it syncs: who is in which team, and that this says all that the policy says
SELECT sync.create_scope('team', 'SELECT public.my_teams()', watch => '{public.member.user_id}');
SELECT sync.enable('note', scope => 'team', scope_column => 'team_id', policy_is_scope => true);
SELECT sync.enable('member', scope => 'team', scope_column => 'team_id', policy_is_scope => true);
-- and who may meet in a team's topic: see who is there, and tell each other what is being typed
SELECT sync.allow_topic('team:{team}', '{team}::int IN (SELECT public.my_teams())', '{join,broadcast,presence}');
