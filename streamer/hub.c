/* hub.c - who wants which change: routes by scope value or table, gathers each turn's batches, tells sessions of gaps. */
/* SPDX-License-Identifier: PostgreSQL */
#include "hub.h"

#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "chance.h"
#include "memory.h"
#include "metrics.h"
#include "routes.h"

#define SPREAD_MS 2000				/* a resync of everybody is spread over at most this */
#define SPREAD_WATCH_MS 500			/* changes of scopes must be in force within a second */
#define SPREAD_EACH_MS 2			/* with few sessions there is no herd to spread */
#define NUDGE_MS 1000				/* changes of tables whose columns a session may not all read */
#define CURSOR_IDLE_MS 30000
#define CURSOR_AFTER_CHANGES_MS 1000	/* quiet for so long after changes: then the cursor that covers them */

struct hub
{
	const struct feed *feed;
	struct session *sessions;
	size_t	count;
	struct routes routes;
	struct transaction **pending;		/* owned references: released in this turn */
	size_t	pending_count;
	size_t	pending_room;
	struct session *touched;			/* sessions with something to send */
	struct batches batches;
	uint64_t last_serial;
	uint64_t routed;					/* serial of the last transaction that went to the live sessions */
	int64_t now_ms;
};

struct hub *
hub_new(const struct feed *feed)
{
	struct hub *h = memory_new(sizeof(*h));

	h->feed = feed;
	h->last_serial = 1;
	routes_init(&h->routes);
	batches_init(&h->batches);
	return h;
}

void
hub_free(struct hub *h)
{
	if (h == NULL)
		return;
	for (size_t i = 0; i < h->pending_count; i++)
		transaction_release(h->pending[i]);
	free(h->pending);
	routes_free(&h->routes);
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

void
hub_remove(struct hub *h, struct session *s)
{
	struct subscription *sub = &s->subscription;

	routes_leave(&h->routes, s);
	if (sub->is_touched)
		untouch(h, s);
	if (sub->previous != NULL)
		sub->previous->subscription.next = sub->next;
	else
		h->sessions = sub->next;
	if (sub->next != NULL)
		sub->next->subscription.previous = sub->previous;
	free(sub->batch);
	sub->batch = NULL;
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

bool
hub_subscribe(void *hub, struct session *s, struct json_value state)
{
	struct hub *h = hub;

	return routes_enter(&h->routes, s, state, feed_tables(h->feed));
}

void
hub_unsubscribe(void *hub, struct session *s)
{
	struct hub *h = hub;

	routes_leave(&h->routes, s);
}

static void
touch(struct hub *h, struct session *s)
{
	if (s->subscription.is_touched)
		return;
	s->subscription.is_touched = true;
	s->subscription.next_touched = h->touched;
	h->touched = s;
}

static void
draft(struct hub *h, struct session *s, const struct stream_change *c)
{
	struct subscription *sub = &s->subscription;

	if (sub->batch_count == sub->batch_room)
	{
		sub->batch_room = sub->batch_room > 0 ? sub->batch_room * 2 : 4;
		sub->batch = memory_grow(sub->batch, sub->batch_room, sizeof(*sub->batch));
	}
	if (sub->batch_count == 0)
		sub->batch_hash = 0;
	sub->batch[sub->batch_count++] = c;
	sub->batch_hash = (sub->batch_hash ^ (uint64_t) (uintptr_t) c) * 0x9e3779b97f4a7c15u;
	touch(h, s);
}

/* The session is in the change's route; the table, and the row's new place, decide. */
static void
offer(struct hub *h, struct session *s, const struct transaction *t, const struct stream_change *c, const struct route *sibling)
{
	enum wanted wanted;

	if (s->state != SESSION_LIVE || snapshot_sees(&s->snapshot, t->xid))
		return;
	wanted = routes_wanted(s, c->table_id);
	if (wanted == WANTED_WHOLE && (sibling == NULL || !route_has(sibling, s)))
		draft(h, s, c);
	else if (wanted == WANTED_PARTLY)
	{
		s->subscription.is_nudged = true;
		touch(h, s);
	}
}

static const struct route *
sibling_route(const struct hub *h, const struct transaction *t, const struct stream_change *c)
{
	return c->sibling >= 0 ? routes_find(&h->routes, &t->changes[c->sibling]) : NULL;
}

static void
route_transaction(struct hub *h, const struct transaction *t)
{
	for (size_t i = 0; i < t->count; i++)
	{
		const struct stream_change *c = &t->changes[i];
		const struct route *r = routes_find(&h->routes, c);
		const struct route *sibling = sibling_route(h, t, c);

		for (size_t j = 0; r != NULL && j < r->count; j++)
			offer(h, r->sessions[j], t, c, sibling);
	}
}

/* A session that must pull gets no batch before: its cursor might claim what only the pull will bring. */
static void
deliver(struct hub *h, struct session *s)
{
	struct subscription *sub = &s->subscription;

	if (sub->is_nudged)
		session_resync(s, "a table that is not wholly readable has changed", s->now_ms, NUDGE_MS / 2 + chance_below(NUDGE_MS));
	else if (sub->batch_count > 0 && s->state == SESSION_LIVE)
	{
		metric_add(METRIC_BATCHES, 1);
		metric_add(METRIC_CHANGES, sub->batch_count);
		session_deliver(s, &h->batches, sub->batch, sub->batch_count, sub->batch_hash);
	}
	sub->batch_count = 0;
	sub->is_nudged = false;
}

static void
deliver_touched(struct hub *h)
{
	while (h->touched != NULL)
	{
		struct session *s = h->touched;

		h->touched = s->subscription.next_touched;
		s->subscription.is_touched = false;
		s->now_ms = h->now_ms;
		deliver(h, s);
	}
	batches_clear(&h->batches);
}

void
hub_flush(void *hub)
{
	struct hub *h = hub;

	if (h->pending_count == 0)
		return;
	for (size_t i = 0; i < h->pending_count; i++)
	{
		route_transaction(h, h->pending[i]);
		h->routed = h->pending[i]->serial;
	}
	deliver_touched(h);
	for (size_t i = 0; i < h->pending_count; i++)
		transaction_release(h->pending[i]);
	h->pending_count = 0;
}

uint64_t
hub_given(void *hub, const struct session *s)
{
	const struct hub *h = hub;

	return s->resume > h->routed ? s->resume : h->routed;
}

struct replay
{
	struct hub *hub;
	struct session *session;
};

static void
replay_transaction(void *owner, struct transaction *t)
{
	struct replay *r = owner;

	for (size_t i = 0; i < t->count; i++)
	{
		const struct stream_change *c = &t->changes[i];
		const struct route *route = routes_find(&r->hub->routes, c);

		if (route != NULL && route_has(route, r->session))
			offer(r->hub, r->session, t, c, sibling_route(r->hub, t, c));
	}
}

void
hub_replay(void *hub, struct session *s)
{
	struct replay r = {hub, s};

	if (s->resume != 0)
		feed_replay_since(r.hub->feed, s->resume, replay_transaction, &r);
	else
		feed_replay(r.hub->feed, &s->snapshot, replay_transaction, &r);
	if (s->kind == SESSION_REALTIME)
		s->resume = r.hub->last_serial;
	r.hub->batches.is_replay = true;
	deliver_touched(r.hub);
	r.hub->batches.is_replay = false;
}

static int64_t
spread(const struct hub *h, int64_t most_ms)
{
	int64_t wide_ms = (int64_t) h->count * SPREAD_EACH_MS;

	return chance_below(wide_ms < most_ms ? wide_ms : most_ms);
}

/* Live sessions stop before a barrier: what lies behind it reaches them by pull, in a snapshot that sees it, or from the ring. */
static void
stop_at(struct hub *h, const struct transaction *t)
{
	struct session *next;

	hub_flush(h);
	for (struct session *s = h->sessions; s != NULL; s = next)
	{
		next = s->subscription.next;
		if (t->barrier == BARRIER_RELOAD && s->kind == SESSION_SYNC)
			session_resync(s, "the tables have changed", h->now_ms, spread(h, SPREAD_MS));
		else if (s->state != SESSION_LIVE || snapshot_sees(&s->snapshot, t->xid))
			continue;
		else if (t->barrier == BARRIER_LOST)
			session_resync(s, "a transaction was too large for the stream", h->now_ms, spread(h, SPREAD_MS));
		else
			session_pull_later(s, h->now_ms + spread(h, SPREAD_WATCH_MS));
	}
}

void
hub_released(struct hub *h, struct transaction *t, int64_t now_ms)
{
	h->now_ms = now_ms;
	t->serial = ++h->last_serial;
	if (t->barrier != BARRIER_NONE)
	{
		stop_at(h, t);
		return;
	}
	if (h->pending_count == h->pending_room)
	{
		h->pending_room = h->pending_room > 0 ? h->pending_room * 2 : 64;
		h->pending = memory_grow(h->pending, h->pending_room, sizeof(struct transaction *));
	}
	h->pending[h->pending_count++] = transaction_retain(t);
}

void
hub_resync(struct hub *h, const char *reason, int64_t now_ms)
{
	struct session *next;

	h->now_ms = now_ms;
	hub_flush(h);
	for (struct session *s = h->sessions; s != NULL; s = next)
	{
		next = s->subscription.next;
		session_resync(s, reason, now_ms, spread(h, SPREAD_MS));
	}
}

void
hub_ready(struct hub *h, int64_t now_ms)
{
	for (struct session *s = h->sessions; s != NULL; s = s->subscription.next)
		session_feed_ready(s, now_ms, spread(h, SPREAD_MS));
}

/* What was released so far is sound and goes out first. */
void
hub_down(struct hub *h, int64_t now_ms)
{
	h->now_ms = now_ms;
	hub_flush(h);
	for (struct session *s = h->sessions; s != NULL; s = s->subscription.next)
		session_lose_feed(s, now_ms);
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

void
hub_tick(struct hub *h, int64_t now_ms, int64_t unix_now)
{
	struct session *next;

	h->now_ms = now_ms;
	hub_flush(h);		/* first: a cursor may not overtake what it covers */
	for (struct session *s = h->sessions; s != NULL; s = next)
	{
		next = s->subscription.next;
		session_tick(s, now_ms, unix_now);
		refresh_cursor(h, s);
	}
	batches_clear(&h->batches);
}
