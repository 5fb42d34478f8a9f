/* resume.c - going on in the stream without a pull: after a reconnect, a gap that was bridged, or a moment of slowness; and whether scopes are still the same. */
/* SPDX-License-Identifier: PostgreSQL */
#include "resume.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "chance.h"
#include "log.h"
#include "memory.h"
#include "metrics.h"

#define LOOK_MS 30000				/* how often the scopes of a live session are read again, for membership that depends on the time */
#define RETRY_LEAST_MS 500
#define RETRY_MOST_MS 5000
#define AGAIN_LEAST_MS 20
#define AGAIN_MOST_MS 1000
#define REPLAY_BYTES_MAX ((size_t) 8 << 20)		/* of the ring looked through for one session; more is left to a pull */
#define STATE_VALUES_MAX 1000000

static void
set_standing(struct session *s, struct standing *st)
{
	standing_leave(s->calls->standings, s->standing, s->now_ms);
	s->standing = st;
}

/* Those who come together are asked apart from then on. */
static void
plan_look(struct session *s, int64_t from_ms)
{
	s->look_at_ms = from_ms + LOOK_MS / 2 + chance_below(LOOK_MS / 2);
	if (s->look_at_ms < s->now_ms)
		s->look_at_ms = s->now_ms + chance_below(AGAIN_MOST_MS);
}

/* The token of the join is a JSON string of base64url and a dot. NULL: another text. */
static const char *
given_position(const struct session *s, const char *part, size_t *len)
{
	size_t	part_len = strlen(part);
	size_t	all = s->token != NULL ? strlen(s->token) : 0;

	if (all < part_len + 3 || memcmp(s->token + 1, part, part_len) != 0 || s->token[part_len + 1] != '.')
		return NULL;
	*len = all - part_len - 3;
	return s->token + part_len + 2;
}

void
resume_recall(struct session *s)
{
	size_t	len;
	size_t	position_len;
	char   *key = standing_key(&s->identity, s->base, &len);
	struct standing *st = key != NULL ? standing_find(s->calls->standings, key, len, s->now_ms) : NULL;

	free(key);
	s->must_pull = st == NULL || given_position(s, st->part, &position_len) == NULL || strstr(st->state, "\"verify\":true") != NULL;
	if (s->must_pull)
		standing_leave(s->calls->standings, st, s->now_ms);
	else
		s->standing = st;
}

void
resume_remember(struct session *s, const char *state)
{
	const char *part = s->part != NULL ? s->part : "";
	size_t	len;
	char   *key = standing_key(&s->identity, s->base, &len);
	struct standing *known = key != NULL ? standing_find(s->calls->standings, key, len, s->now_ms) : NULL;

	if (known != NULL && strcmp(known->part, part) == 0 && strcmp(known->state, state) == 0)
	{
		standing_renew(s->calls->standings, known, s->now_ms);
		set_standing(s, known);
		free(key);
	}
	else
	{
		standing_leave(s->calls->standings, known, s->now_ms);
		set_standing(s, key != NULL ? standing_new(s->calls->standings, key, len, s->identity.subject, part, state, s->now_ms) : NULL);
	}
	plan_look(s, s->now_ms);
}

/* What it has for certain: what it was given, if it left quietly; what went to the socket, if not; what its client says, at a join. */
static bool
find_place(const struct session *s, struct position *p)
{
	size_t	len = 0;
	const char *given = s->position == NULL && s->standing != NULL ? given_position(s, s->standing->part, &len) : NULL;

	*p = (struct position){.timeline = feed_timeline(s->feed)};
	if (s->is_quiet)
	{
		snapshot_copy(&p->snapshot, &s->snapshot);
		return true;
	}
	if (s->position != NULL)
		return position_parse(p, s->position->text, strlen(s->position->text));
	return given != NULL && position_parse(p, given, len);
}

/* A join is answered as by a pull that found nothing. */
static void
answer_join(struct session *s)
{
	size_t	len;
	const char *position = given_position(s, s->standing->part, &len);

	s->part = memory_string(s->standing->part);
	session_enter(s, SESSION_CATCHING_UP);
	session_announce(s, true);
	session_put_position(s, position, len);
}

/* The standing is in force, so what the ring says of memberships is known already: only other barriers stand in the way. */
static enum handoff
replay(struct session *s, struct position *p)
{
	struct json *state = json_parse(s->standing->state, strlen(s->standing->state), STATE_VALUES_MAX);
	enum handoff handoff = HANDOFF_AGAIN;

	s->calls->settle(s->calls->hub);
	if (state != NULL && feed_can_resume(s->feed, p, REPLAY_BYTES_MAX))
		handoff = feed_handoff(s->feed, &p->snapshot, NULL);
	if (handoff == HANDOFF_OK)
	{
		if (!s->is_quiet)		/* what was queued behind its place was thrown away */
		{
			s->cursor_xmax = p->snapshot.xmax;
			cursor_retain(s->position);
			cursor_release(s->queued);
			s->queued = s->position;
		}
		if (s->state == SESSION_AUTHENTICATED)
			answer_join(s);
		plan_look(s, s->standing->checked_ms);
		handoff = session_enter_stream(s, json_root(state), &p->snapshot);
	}
	json_free(state);
	return handoff;
}

bool
resume_try(struct session *s)
{
	struct position p;
	bool	is_live;

	if (s->must_pull || s->standing == NULL || !s->standing->is_in_force || !feed_is_ready(s->feed) || !find_place(s, &p))
		return false;
	is_live = replay(s, &p) == HANDOFF_OK;
	position_free(&p);
	if (is_live)
		metric_add_for(METRIC_CATCH_UPS, "replay", 1);
	s->must_pull = s->state != SESSION_LIVE;	/* also if the replay alone was more than its client takes */
	return is_live;
}

bool
resume_wants_look(struct session *s)
{
	bool	is_wanted = s->state == SESSION_LIVE && s->now_ms >= s->look_at_ms;

	if (s->standing == NULL)
		return false;
	if (s->state == SESSION_CATCHING_UP)
		is_wanted = feed_is_ready(s->feed) && (s->kind == SESSION_REALTIME ? s->must_pull || !s->standing->is_in_force : !s->must_pull && !s->standing->is_in_force);
	s->is_looking = is_wanted;
	s->looked_live = s->state == SESSION_LIVE;
	return is_wanted;
}

void
resume_quiet(struct session *s)
{
	struct cursor *cursor = session_live_cursor(s);
	struct position p;

	if (s->state != SESSION_LIVE)
		return;
	if (cursor != NULL && position_parse(&p, cursor->text, strlen(cursor->text)))
	{
		if (snapshot_covers(&p.snapshot, &s->snapshot))
		{
			snapshot_free(&s->snapshot);
			s->snapshot = p.snapshot;
			p.snapshot = (struct snapshot){0};
		}
		position_free(&p);
	}
	session_enter(s, SESSION_CATCHING_UP);
	s->is_quiet = true;
}

void
resume_look_again(struct session *s, int64_t at_ms)
{
	if (at_ms < s->look_at_ms)
		s->look_at_ms = at_ms;
}

/* It could not be asked: later again if that may help, else the pull says why to the client. */
static void
look_failed(struct session *s, bool is_passing)
{
	if (s->state == SESSION_LIVE && is_passing)
		s->look_at_ms = s->now_ms + RETRY_LEAST_MS + chance_below(RETRY_MOST_MS);
	else if (s->state == SESSION_LIVE)
		session_pull_later(s, s->now_ms);
	else if (is_passing)
		session_try_again(s, RETRY_LEAST_MS, RETRY_MOST_MS);
	else
	{
		s->must_pull = true;
		session_want_pull(s);
	}
}

/* The same as before, or what a topic without a pull has now. */
static void
go_on(struct session *s, bool is_same)
{
	if (s->state == SESSION_LIVE && is_same)
	{
		plan_look(s, s->now_ms);
		return;
	}
	if (s->state == SESSION_LIVE)
		session_pull_later(s, s->now_ms);
	if (!is_same && s->kind == SESSION_SYNC)
		s->must_pull = true;
	else
		s->must_pull = false;
	if (s->must_pull || !resume_try(s))
		session_want_pull(s);
}

static void
take_state(struct session *s, const struct answer *a, const struct snapshot *seen)
{
	bool	is_same = strcmp(a->json, s->standing->state) == 0;
	enum handoff handoff = feed_handoff(s->feed, seen, s->identity.subject);

	if (handoff == HANDOFF_WAIT)
	{
		if (s->state != SESSION_LIVE)
			session_wait_for_feed(s);
		return;
	}
	if (handoff == HANDOFF_AGAIN)		/* it does not show yet what it was asked for */
	{
		s->look_at_ms = s->now_ms + AGAIN_LEAST_MS;
		if (s->state != SESSION_LIVE)
			session_try_again(s, AGAIN_LEAST_MS, AGAIN_MOST_MS);
		return;
	}
	if (is_same)
		standing_renew(s->calls->standings, s->standing, s->now_ms);
	else if (s->kind == SESSION_REALTIME)
		resume_remember(s, a->json);
	go_on(s, is_same);
}

void
resume_answer(struct session *s, const struct answer *a)
{
	struct snapshot seen;

	s->is_looking = false;
	if (s->standing == NULL || (s->state != SESSION_LIVE && (s->looked_live || s->state != SESSION_CATCHING_UP)))
		return;
	if (a->status != ANSWER_OK)
		look_failed(s, request_error(a).is_passing);
	else if (a->snapshot == NULL || !snapshot_parse(&seen, a->snapshot, strlen(a->snapshot)))
		look_failed(s, true);
	else
	{
		take_state(s, a, &seen);
		snapshot_free(&seen);
	}
}
