/* hub.c - who wants which change: routes by scope value or table, gathers each turn's batches, tells sessions of gaps. */
/* SPDX-License-Identifier: PostgreSQL */
#include "hub.h"

#include <stdlib.h>
#include <string.h>

#include "chance.h"
#include "hub_parts.h"
#include "memory.h"
#include "metrics.h"
#include "queue.h"
#include "resume.h"
#include "routes.h"

#define SPREAD_EACH_MS 2			/* with few sessions there is no herd to spread */
#define SPREAD_WATCH_MS 500			/* changes of scopes must be in force within a second */
#define STANDINGS_TICK_MS 1000
#define CURSOR_IDLE_MS 30000
#define CURSOR_AFTER_CHANGES_MS 1000	/* quiet for so long after changes: then the cursor that covers them */

struct hub *
hub_new(const struct feed *feed, const struct options *o, const struct judge_calls *calls, void *owner)
{
	struct hub *h = memory_new(sizeof(*h));

	h->feed = feed;
	h->last_serial = 1;
	h->max_queue = o->max_queue;
	h->verify_ms = o->verify_interval_s * 1000;
	h->judge = judge_new(o->query_connections, calls, owner);
	routes_init(&h->routes);
	standings_init(&h->standings);
	batches_init(&h->batches);
	return h;
}

void
hub_free(struct hub *h)
{
	if (h == NULL)
		return;
	for (size_t i = 0; i < h->pending_count; i++)
		release_free(h->pending[i]);
	free(h->pending);
	free(h->waiting);
	free(h->taken);
	free(h->outgoing);
	judge_free(h->judge);
	routes_free(&h->routes);
	standings_free(&h->standings);
	batches_free(&h->batches);
	free(h);
}

void
hub_add(struct hub *h, struct session *s)
{
	s->subscription.next = h->sessions;
	if (h->sessions != NULL)
		h->sessions->subscription.previous = s;
	h->sessions = s;
	h->count++;
}

static void
untouch(struct hub *h, struct session *s)
{
	struct session **link = &h->touched;

	while (*link != NULL && *link != s)
		link = &(*link)->subscription.next_touched;
	if (*link == s)
		*link = s->subscription.next_touched;
	s->subscription.is_touched = false;
}

static void
leave_routes(struct hub *h, struct session *s)
{
	hub_discard(h, s);
	routes_leave(&h->routes, s);
	judge_release_identity(h->judge, s->subscription.identity);
	s->subscription.identity = NULL;
}

void
hub_remove(struct hub *h, struct session *s)
{
	struct subscription *sub = &s->subscription;

	leave_routes(h, s);
	if (sub->is_touched)
		untouch(h, s);
	if (sub->previous != NULL)
		sub->previous->subscription.next = sub->next;
	else
		h->sessions = sub->next;
	if (sub->next != NULL)
		sub->next->subscription.previous = sub->previous;
	h->count--;
}

void
hub_gauges(const struct hub *h)
{
	static const char *const states[] = {"new", "authenticated", "catching_up", "live", "closing"};
	size_t	in[5] = {0};
	size_t	kinds[2] = {0};

	for (const struct session *s = h->sessions; s != NULL; s = s->subscription.next)
	{
		in[s->state]++;
		kinds[s->kind == SESSION_REALTIME]++;
	}
	for (int i = SESSION_AUTHENTICATED; i <= SESSION_LIVE; i++)
		metric_set_for(METRIC_SESSIONS, states[i], (double) in[i]);
	metric_set_for(METRIC_CHANNELS, "sync", (double) kinds[0]);
	metric_set_for(METRIC_CHANNELS, "realtime", (double) kinds[1]);
}

void
hub_each(const struct hub *h, void (*take)(void *owner, const struct session *s), void *owner)
{
	for (const struct session *s = h->sessions; s != NULL; s = s->subscription.next)
		take(owner, s);
}

size_t
hub_count(const struct hub *h)
{
	return h->count;
}

struct standings *
hub_standings(struct hub *h)
{
	return &h->standings;
}

bool
hub_subscribe(void *hub, struct session *s, struct json_value state)
{
	struct hub *h = hub;
	struct subscription *sub = &s->subscription;
	bool	is_judged = false;

	leave_routes(h, s);
	if (!routes_enter(&h->routes, s, state, feed_tables(h->feed)))
		return false;
	sub->has_verified = false;
	for (size_t i = 0; i < sub->right_count; i++)
	{
		is_judged |= sub->rights[i].is_judged;
		sub->has_verified |= sub->rights[i].is_verified;
	}
	if (is_judged)
		sub->identity = judge_identity(h->judge, s->identity.role, s->identity.claims);
	sub->verify_at_ms = s->now_ms + h->verify_ms * 3 / 4 + chance_below(h->verify_ms / 2);
	return true;
}

void
hub_unsubscribe(void *hub, struct session *s)
{
	leave_routes(hub, s);
}

int64_t
hub_spread_over(size_t count, int64_t most_ms)
{
	int64_t wide_ms = (int64_t) count * SPREAD_EACH_MS;

	return chance_below(wide_ms < most_ms ? wide_ms : most_ms);
}

int64_t
hub_spread(const struct hub *h, int64_t most_ms)
{
	return hub_spread_over(h->count, most_ms);
}

/* Whose scopes may have changed: they get nothing more before the database has been asked, in a snapshot that shows the change. */
static void
stop_concerned(struct hub *h, const struct transaction *t, const char *user, bool is_device)
{
	const struct route *r = routes_find_user(&h->routes, user);

	for (size_t i = 0; r != NULL && i < r->count; i++)
		if (is_device)
			resume_look_again(r->sessions[i], h->now_ms);
		else if (r->sessions[i]->state == SESSION_LIVE && !snapshot_sees(&r->sessions[i]->snapshot, t->xid))
			session_pull_later(r->sessions[i], h->now_ms + hub_spread_over(r->count, SPREAD_WATCH_MS));
}

/* Of a transaction that is not kept only its tables are known. */
static bool
may_lack(const struct session *s, const struct transaction *t)
{
	if (t->needs_reload || t->concerns_everyone)
		return true;
	for (size_t i = 0; i < t->lost_count; i++)
		if (t->lost[i] < TABLES_OWN_END || routes_right(s, t->lost[i]) != NULL)
			return true;
	return false;
}

/* Live sessions stop before a barrier: what lies behind it reaches them by pull, in a snapshot that sees it, or from the ring. */
static void
stop_at(struct hub *h, const struct transaction *t)
{
	struct session *next;

	hub_flush(h);
	if (t->barrier == BARRIER_WATCH && !t->concerns_everyone)
		return;
	for (struct session *s = h->sessions; s != NULL; s = next)
	{
		next = s->subscription.next;
		if (t->barrier == BARRIER_RELOAD && s->kind == SESSION_SYNC)
			session_resync(s, "the tables have changed", h->now_ms, hub_spread(h, SPREAD_MS));
		else if (s->state != SESSION_LIVE || snapshot_sees(&s->snapshot, t->xid))
			continue;
		else if (t->barrier == BARRIER_LOST)
		{
			if (may_lack(s, t))
				session_resync(s, "a transaction was too large for the stream", h->now_ms, hub_spread(h, SPREAD_MS));
		}
		else
			session_pull_later(s, h->now_ms + hub_spread(h, SPREAD_WATCH_MS));
	}
}

void
hub_released(struct hub *h, struct transaction *t, int64_t now_ms)
{
	h->now_ms = now_ms;
	t->serial = ++h->last_serial;
	standings_drop(&h->standings, t);
	if (t->barrier != BARRIER_NONE)
		stop_at(h, t);
	for (size_t i = 0; i < t->concerned_count; i++)
		stop_concerned(h, t, t->concerned[i].user, t->concerned[i].is_device);
	if (t->barrier > BARRIER_WATCH)
		return;
	if (h->pending_count == h->pending_room)
	{
		h->pending_room = h->pending_room > 0 ? h->pending_room * 2 : 64;
		h->pending = memory_grow(h->pending, h->pending_room, sizeof(struct release *));
	}
	h->pending[h->pending_count++] = release_new(t, feed_cursor(h->feed), feed_cursor_xmax(h->feed));
}

void
hub_ready(struct hub *h, int64_t now_ms)
{
	for (struct session *s = h->sessions; s != NULL; s = s->subscription.next)
		session_feed_ready(s, now_ms, hub_spread(h, SPREAD_MS));
}

/* What was released so far is sound and goes out first. */
void
hub_down(struct hub *h, int64_t now_ms)
{
	h->now_ms = now_ms;
	hub_flush(h);
	for (struct session *s = h->sessions; s != NULL; s = s->subscription.next)
		session_lose_feed(s, now_ms, hub_spread(h, SPREAD_MS));
}

void
hub_hold(struct hub *h, int64_t now_ms)
{
	h->now_ms = now_ms;
	hub_flush(h);
	standings_drop_all(&h->standings);
	for (struct session *s = h->sessions; s != NULL; s = s->subscription.next)
	{
		s->now_ms = now_ms;
		resume_quiet(s);
	}
}

void
hub_start_anew(struct hub *h, bool is_rolled_back, int64_t now_ms)
{
	struct session *next;

	hub_down(h, now_ms);
	standings_drop_all(&h->standings);
	for (struct session *s = h->sessions; s != NULL; s = next)
	{
		next = s->subscription.next;
		session_start_anew(s, is_rolled_back, now_ms);
	}
}

void
hub_renewed(struct hub *h, int64_t now_ms)
{
	struct session *next;

	for (struct session *s = h->sessions; s != NULL; s = next)
	{
		next = s->subscription.next;
		if (s->kind == SESSION_REALTIME)
			session_start_anew(s, false, now_ms);
	}
}

/* Live sessions that are quiet get a newer cursor now and then, so that what they would pull after a break stays small. */
static void
refresh_cursor(struct hub *h, struct session *s)
{
	struct cursor *cursor = session_live_cursor(s);
	bool	is_due = h->now_ms - s->cursor_ms >= CURSOR_IDLE_MS || (s->sent_ms == s->cursor_ms && h->now_ms - s->sent_ms >= CURSOR_AFTER_CHANGES_MS);

	if (s->kind == SESSION_SYNC && s->state == SESSION_LIVE && cursor != s->queued && is_due)
		session_send_live(s, batches_frame(&h->batches, s->format, s->topic, cursor, NULL, 0, 0), false);
}

static void
verify(struct hub *h, struct session *s)
{
	if (s->state == SESSION_LIVE && s->subscription.has_verified && s->kind == SESSION_SYNC && h->now_ms >= s->subscription.verify_at_ms)
		session_pull_later(s, h->now_ms);
}

void
hub_tick(struct hub *h, int64_t now_ms, int64_t unix_now)
{
	struct session *next;

	h->now_ms = now_ms;
	if (now_ms - h->standings_ms >= STANDINGS_TICK_MS)
	{
		h->standings_ms = now_ms;
		standings_tick(&h->standings, now_ms);
	}
	hub_flush(h);		/* first: a cursor may not overtake what it covers */
	for (struct session *s = h->sessions; s != NULL; s = next)
	{
		next = s->subscription.next;
		verify(h, s);
		session_tick(s, now_ms, unix_now);
		refresh_cursor(h, s);
	}
	batches_clear(&h->batches);
}
