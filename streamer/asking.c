/* asking.c - the requests of one client to the database: one at a time, in order, and no faster than it takes the answers. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>
#include <string.h>

#include "connection_parts.h"
#include "memory.h"

/* Requests of one client run one at a time, in the order they came: its changes are pushed in order, and it occupies one database
 * connection at most. */

static void
submit(struct connection *c, enum request_kind kind, const struct token *identity, const char *json)
{
	struct request r = {.kind = kind, .role = identity->role, .claims = identity->claims, .json = json};
	struct connections *all = c->all;

	c->works.request_id = ++all->last_id;
	map_put_id(&all->requests, c->works.request_id, c);
	all->calls.submit(all->owner, &r, connections_answer, all, c->works.request_id);
}

/* false: nothing has to be asked, its work is done. */
static bool
start_pull_of(struct connection *c, struct session *s)
{
	struct buffer json;
	enum request_kind kind;

	buffer_init(&json);
	c->is_stepping = true;		/* what it puts or wants now is not to start the next work */
	kind = session_pull_request(s, &json);
	c->is_stepping = false;
	memory_require(json.failed || (json.data == NULL && kind != REQUEST_NONE) ? NULL : c);
	if (kind != REQUEST_NONE)
		submit(c, kind, &s->identity, json.data);
	buffer_free(&json);
	return kind != REQUEST_NONE;
}

/* A page waits until the socket has taken everything before it; other answers need some room in the queue. */
static bool
may_start(const struct connection *c, const struct work *w, const struct session *s)
{
	if (w->kind == WORK_CATCH_UP)
		return s->state == SESSION_LIVE || (!c->is_blocked && c->outbox.count == 0);
	return c->outbox.bytes + c->kept < c->all->options->max_queue / 2;
}

void
asking_go_on(struct connection *c)
{
	while (c->works.first != NULL && c->works.request_id == 0 && !c->is_closing && !c->is_stepping)
	{
		struct work *w = c->works.first;
		struct session *s = connection_session(c, w->session);

		if (s == NULL || s->state == SESSION_CLOSING)
			work_free(works_take_first(&c->works));
		else if (!may_start(c, w, s))
		{
			connection_want_output(c);
			return;
		}
		else if (w->kind == WORK_CATCH_UP)
		{
			if (!start_pull_of(c, s))
				work_free(works_take_first(&c->works));
		}
		else
			submit(c, w->kind == WORK_PUSH ? REQUEST_PUSH : w->request, &s->identity, w->json);
	}
}

void
asking_want_pull(void *connection, struct session *s)
{
	struct connection *c = connection;

	works_add(&c->works, (struct work){.kind = WORK_CATCH_UP, .session = s->id});
	asking_go_on(c);
}

static void
reply_to_work(struct connection *c, const struct work *w, const struct answer *a)
{
	struct buffer joined;

	if (a->status != ANSWER_OK && w->pushed == NULL)
	{
		struct request_error e = request_error(a);
		char	text[REQUEST_ERROR_TEXT_MAX];

		request_error_text(&e, text);
		connection_reply_error(c, &w->refs, e.code, text, e.hint);
		return;
	}
	buffer_init(&joined);
	if (w->pushed != NULL)
		works_join(&joined, w->pushed, a);
	else
		buffer_put(&joined, a->json, a->len);
	memory_require(joined.failed ? NULL : joined.data);
	connection_reply(c, &w->refs, true, joined.data, joined.len);
	buffer_free(&joined);
}

/* A push that brought a token is followed by a pull in a transaction of its own. */
static bool
pull_after_push(struct connection *c, struct work *w, const struct session *s, const struct answer *a)
{
	if (w->kind != WORK_PUSH || w->pull_json == NULL || w->pushed != NULL || a->status != ANSWER_OK)
		return false;
	w->pushed = memory_text(a->json, a->len);
	submit(c, REQUEST_PULL, &s->identity, w->pull_json);
	return true;
}

/* The work leaves the queue before its answer is acted on: that may add more and start the next. */
static void
take_answer(struct connection *c, const struct answer *a)
{
	struct work *w = c->works.first;
	struct session *s = connection_session(c, w->session);

	c->works.request_id = 0;
	if (s != NULL && pull_after_push(c, w, s, a))
		return;
	works_take_first(&c->works);
	if (s != NULL && w->kind == WORK_CATCH_UP)
		session_pull_answer(s, a, c->now_ms);
	else if (s != NULL)
		reply_to_work(c, w, a);
	work_free(w);
	asking_go_on(c);
}

void
connections_answer(void *owner, uint64_t id, const struct answer *a)
{
	struct connections *all = owner;
	struct connection *c = map_remove_id(&all->requests, id);

	if (c == NULL)
		return;
	c->now_ms = all->now_ms;
	take_answer(c, a);
}
