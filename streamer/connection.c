/* connection.c - one WebSocket client as Phoenix channels see it: its topics, its requests one by one, its outgoing frames, its limits. */
/* SPDX-License-Identifier: PostgreSQL */
#include "connection.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "chance.h"
#include "frame.h"
#include "log.h"
#include "map.h"
#include "memory.h"
#include "work.h"

#define SLOW_LIMIT_MS 30000			/* something waits for the client, and it takes nothing */
#define PONG_LIMIT_MS 10000
#define SLOW_RESYNC_MS 2000
#define ABUSE_SECONDS 5				/* so many seconds' worth of refused messages close the connection */
#define SYNC_TOPIC "sync:"

struct connections
{
	const struct options *options;
	const struct auth *auth;
	const struct feed *feed;
	struct hub *hub;
	struct connections_calls calls;
	void   *owner;
	struct connection *first;
	size_t	count;
	struct map requests;		/* id of a request under way → connection */
	uint64_t last_id;			/* of sessions and requests alike */
	int64_t now_ms;
	struct session *closed;		/* to be freed at the end of the turn, linked by their subscription */
};

struct connection
{
	struct connections *all;
	struct connection *previous;
	struct connection *next;
	void   *socket;
	char   *bearer;				/* owned; NULL: the handshake had none */
	struct session **sessions;	/* the topics joined; owned until closed */
	size_t	session_count;
	struct outbox outbox;
	struct works works;
	bool	is_blocked;			/* bytes were written and the socket has not asked for more since */
	bool	is_authenticated;
	bool	is_closing;
	int64_t created_ms;
	int64_t heard_ms;
	int64_t ping_ms;			/* 0: no ping unanswered */
	int64_t taken_ms;			/* the socket last took something, or the outbox was empty */
	int64_t now_ms;
	int64_t unix_now;
	int64_t tokens_ms;			/* rate limit: a full bucket minus what was used, in thousandths of messages */
	int64_t tokens;
	int64_t refused;			/* messages over the rate, less what has been forgiven */
};

static void
close_connection(struct connection *c, int code, const char *reason)
{
	if (c->is_closing)
		return;
	c->is_closing = true;
	log_event(LOG_LEVEL_DEBUG, "client_closed", "code=%d reason=\"%s\"", code, reason);
	c->all->calls.close(c->socket, code, reason);
}

static void
put(struct connection *c, struct outbox_entry entry)
{
	if (c->outbox.count == 0)
	{
		c->taken_ms = c->now_ms;
		c->all->calls.writable(c->socket);
	}
	outbox_put(&c->outbox, entry);
}

static struct session *
find_session(const struct connection *c, uint64_t id)
{
	for (size_t i = 0; i < c->session_count; i++)
		if (c->sessions[i]->id == id)
			return c->sessions[i];
	return NULL;
}

static struct session *
find_topic(const struct connection *c, const char *topic)
{
	for (size_t i = 0; i < c->session_count; i++)
		if (strcmp(c->sessions[i]->topic, topic) == 0)
			return c->sessions[i];
	return NULL;
}

/* Batches of the stream may not pile up: over the limit they are thrown away and the session pulls instead, once the rest has drained. */
static void
put_for_session(void *connection, struct outbox_entry entry)
{
	struct connection *c = connection;
	struct session *s;

	if (!entry.is_live || c->outbox.bytes + entry.frame->len <= c->all->options->max_queue)
	{
		put(c, entry);
		return;
	}
	s = find_session(c, entry.session);
	frame_release(entry.frame);
	cursor_release(entry.cursor);
	outbox_drop_live(&c->outbox, entry.session);
	if (s != NULL)
		session_resync(s, "too slow", s->now_ms, chance_below(SLOW_RESYNC_MS));
}

static void
reply(struct connection *c, const struct message_refs *m, bool is_ok, const char *response, size_t len)
{
	struct buffer text;

	buffer_init(&text);
	message_put_reply(&text, m->join_ref, m->ref, m->topic, is_ok, response, len);
	memory_require(text.failed ? NULL : text.data);
	put(c, (struct outbox_entry){.frame = frame_text(text.data, text.len)});
	buffer_free(&text);
}

static void
reply_error(struct connection *c, const struct message_refs *m, const char *code, const char *text, const char *hint)
{
	struct buffer response;

	buffer_init(&response);
	message_error_object(&response, code, text, hint);
	reply(c, m, false, response.data, response.len);
	buffer_free(&response);
}

static void
reply_unmatched(struct connection *c, const struct message_refs *m)
{
	static const char response[] = "{\"reason\":\"unmatched topic\"}";

	reply(c, m, false, response, sizeof(response) - 1);
}

/* Requests of one client run one at a time, in the order they came: its changes are pushed in order, and it occupies one database
 * connection at most. */

static void go_on(struct connection *c);

static void
submit(struct connection *c, enum request_kind kind, const struct token *identity, const char *json)
{
	struct request r = {.kind = kind, .role = identity->role, .claims = identity->claims, .json = json};
	struct connections *all = c->all;

	c->works.request_id = ++all->last_id;
	map_put_id(&all->requests, c->works.request_id, c);
	all->calls.submit(all->owner, &r, connections_answer, all, c->works.request_id);
}

static void
start_pull_of(struct connection *c, struct session *s)
{
	struct buffer json;

	buffer_init(&json);
	session_pull_request(s, &json);
	memory_require(json.failed ? NULL : json.data);
	submit(c, REQUEST_CATCH_UP, &s->identity, json.data);
	buffer_free(&json);
}

/* A page waits until the socket has taken everything before it; other answers need some room in the queue. */
static bool
may_start(const struct connection *c, const struct work *w)
{
	if (w->kind == WORK_CATCH_UP)
		return !c->is_blocked && c->outbox.count == 0;
	return c->outbox.bytes < c->all->options->max_queue / 2;
}

static void
go_on(struct connection *c)
{
	while (c->works.first != NULL && c->works.request_id == 0 && !c->is_closing)
	{
		struct work *w = c->works.first;
		struct session *s = find_session(c, w->session);

		if (s == NULL || s->state == SESSION_CLOSING)
			work_free(works_take_first(&c->works));
		else if (!may_start(c, w))
		{
			c->all->calls.writable(c->socket);
			return;
		}
		else if (w->kind == WORK_CATCH_UP)
			start_pull_of(c, s);
		else
			submit(c, w->kind == WORK_PUSH ? REQUEST_PUSH : REQUEST_PULL, &s->identity, w->json);
	}
}

static void
want_pull(void *connection, struct session *s)
{
	struct connection *c = connection;

	works_add(&c->works, (struct work){.kind = WORK_CATCH_UP, .session = s->id});
	go_on(c);
}

static void
reply_to_work(struct connection *c, const struct work *w, const struct answer *a)
{
	struct buffer joined;

	if (a->status != ANSWER_OK && w->pushed == NULL)
	{
		struct request_error e = request_error(a);

		reply_error(c, &w->refs, e.code, e.text != NULL ? e.text : "", e.hint);
		return;
	}
	buffer_init(&joined);
	if (w->pushed != NULL)
		works_join(&joined, w->pushed, a);
	else
		buffer_put(&joined, a->json, a->len);
	memory_require(joined.failed ? NULL : joined.data);
	reply(c, &w->refs, true, joined.data, joined.len);
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
	struct session *s = find_session(c, w->session);

	c->works.request_id = 0;
	if (s != NULL && pull_after_push(c, w, s, a))
		return;
	works_take_first(&c->works);
	if (s != NULL && w->kind == WORK_CATCH_UP)
		session_pull_answer(s, a, c->now_ms);
	else if (s != NULL)
		reply_to_work(c, w, a);
	work_free(w);
	go_on(c);
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

static void
session_closed(void *connection, struct session *s)
{
	struct connection *c = connection;
	size_t	i = 0;

	while (c->sessions[i] != s)
		i++;
	c->sessions[i] = c->sessions[--c->session_count];
	hub_remove(c->all->hub, s);
	s->subscription.next = c->all->closed;
	c->all->closed = s;
}

static void
join(struct connection *c, const struct message *m, const struct message_refs *refs)
{
	static const struct session_calls template = {
		.subscribe = hub_subscribe, .unsubscribe = hub_unsubscribe, .settle = hub_flush, .replay = hub_replay, .put = put_for_session, .want_pull = want_pull,
		.closed = session_closed};
	struct session_calls calls = template;
	struct session *s = find_topic(c, m->topic);
	struct token identity;
	char   *given = json_strdup(json_member(m->payload, "access_token"));
	const char *token = given != NULL ? given : c->bearer;
	const char *problem = token != NULL ? auth_verify(c->all->auth, &identity, token, strlen(token), c->unix_now) : "no access token was given";

	free(given);
	if (s != NULL)
		session_close(s, "phx_close", NULL);
	if (problem != NULL)
	{
		reply_error(c, refs, "unauthorized", problem, NULL);
		return;
	}
	if (c->session_count >= (size_t) c->all->options->max_joins)
	{
		token_free(&identity);
		reply_error(c, refs, "too_many_joins", "this connection has joined as many topics as it may", NULL);
		return;
	}
	c->is_authenticated = true;
	calls.hub = c->all->hub;
	s = session_new(++c->all->last_id, &calls, c, c->all->feed);
	c->sessions = memory_grow(c->sessions, c->session_count + 1, sizeof(struct session *));
	c->sessions[c->session_count++] = s;
	hub_add(c->all->hub, s);
	session_join(s, m, &identity, c->now_ms);
}

static void
renew(struct connection *c, struct session *s, const struct message *m, const struct message_refs *refs)
{
	char   *token = json_strdup(json_member(m->payload, "access_token"));
	const char *problem = "no access token was given";
	struct token identity;

	if (token != NULL)
		problem = auth_verify(c->all->auth, &identity, token, strlen(token), c->unix_now);
	free(token);
	if (problem != NULL)
	{
		reply_error(c, refs, "unauthorized", problem, NULL);
		return;
	}
	if (strcmp(identity.subject, s->identity.subject) != 0 || strcmp(identity.role, s->identity.role) != 0)
		reply_error(c, refs, "unauthorized", "the new token is for somebody else: join again", NULL);
	else
	{
		reply(c, refs, true, "{}", 2);
		session_renew(s, &identity);
	}
	token_free(&identity);
}

static void
leave(struct connection *c, struct session *s, const struct message_refs *refs)
{
	reply(c, refs, true, "{}", 2);
	if (s != NULL)
		session_close(s, "phx_close", NULL);
}

static void
take_request(struct connection *c, struct session *s, const struct message *m, const struct message_refs *refs)
{
	struct work w = {.kind = strcmp(m->event, "push") == 0 ? WORK_PUSH : WORK_PULL, .session = s->id, .refs = *refs};

	if (works_are_full(&c->works, m->payload.len, c->all->options->max_push))
	{
		reply_error(c, refs, "busy", "too many requests of this connection wait", NULL);
		return;
	}
	works_prepare(&w, m->payload, s->device_id);
	works_add(&c->works, w);
	go_on(c);
}

static void
dispatch(struct connection *c, const struct message *m)
{
	struct session *s = find_topic(c, m->topic);
	struct message_refs refs;

	memcpy(refs.join_ref, m->join_ref, sizeof(refs.join_ref));
	memcpy(refs.ref, m->ref, sizeof(refs.ref));
	memcpy(refs.topic, m->topic, sizeof(refs.topic));
	if (strcmp(m->topic, "phoenix") == 0 && strcmp(m->event, "heartbeat") == 0)
		reply(c, &refs, true, "{}", 2);
	else if (strcmp(m->event, "phx_leave") == 0)
		leave(c, s, &refs);
	else if (strcmp(m->event, "phx_join") == 0 && strncmp(m->topic, SYNC_TOPIC, strlen(SYNC_TOPIC)) == 0)
		join(c, m, &refs);
	else if (s == NULL)
		reply_unmatched(c, &refs);
	else if (strcmp(m->event, "access_token") == 0)
		renew(c, s, m, &refs);
	else if (strcmp(m->event, "push") == 0 || strcmp(m->event, "pull") == 0)
		take_request(c, s, m, &refs);
	else
		reply_error(c, &refs, "unknown_event", "this topic does not know the event", NULL);
}

/* A bucket of two seconds' worth of messages, filled evenly. */
static bool
is_within_rate(struct connection *c)
{
	int64_t rate = c->all->options->max_messages_per_second;
	int64_t full = rate * 2000;

	c->tokens += (c->now_ms - c->tokens_ms) * rate;
	c->tokens_ms = c->now_ms;
	if (c->tokens >= full)
	{
		c->tokens = full;
		c->refused = 0;
	}
	if (c->tokens < 1000)
		return false;
	c->tokens -= 1000;
	return true;
}

static void
refuse_rate(struct connection *c, const struct message *m)
{
	struct message_refs refs;

	memcpy(refs.join_ref, m->join_ref, sizeof(refs.join_ref));
	memcpy(refs.ref, m->ref, sizeof(refs.ref));
	memcpy(refs.topic, m->topic, sizeof(refs.topic));
	if (++c->refused > (int64_t) c->all->options->max_messages_per_second * ABUSE_SECONDS)
		close_connection(c, CLOSE_POLICY, "too many messages");
	else
		reply_error(c, &refs, "rate_limited", "too many messages", NULL);
}

bool
connection_message(struct connection *c, const char *text, size_t len, int64_t now_ms, int64_t unix_now)
{
	struct message m;
	const char *problem;

	c->now_ms = now_ms;
	c->unix_now = unix_now;
	connection_heard(c, now_ms);
	if (c->is_closing)
		return false;
	problem = message_parse(&m, text, len);
	if (problem != NULL)
	{
		log_event(LOG_LEVEL_DEBUG, "message_unreadable", "reason=\"%s\" bytes=%zu", problem, len);
		close_connection(c, CLOSE_POLICY, problem);
		return false;
	}
	if (len > c->all->options->max_frame && strcmp(m.event, "push") != 0)
		close_connection(c, CLOSE_TOO_BIG, "message too big");
	else if (!is_within_rate(c))
		refuse_rate(c, &m);
	else
		dispatch(c, &m);
	message_free(&m);
	return !c->is_closing;
}

void
connection_heard(struct connection *c, int64_t now_ms)
{
	c->heard_ms = now_ms;
	c->ping_ms = 0;
}

bool
connection_take(struct connection *c, struct buffer *out, size_t most, int64_t now_ms)
{
	size_t	start = out->len;
	struct outbox_entry e;

	c->now_ms = now_ms;
	c->taken_ms = now_ms;
	c->is_blocked = false;
	if (c->outbox.count == 0)
		go_on(c);
	while ((out->len == start || out->len - start + outbox_next_size(&c->outbox) <= most) && outbox_take(&c->outbox, &e))
	{
		struct session *s = e.cursor != NULL ? find_session(c, e.session) : NULL;

		buffer_put(out, e.frame->bytes, e.frame->len);
		if (s != NULL)
			session_sent(s, e.cursor);
		frame_release(e.frame);
		cursor_release(e.cursor);
	}
	c->is_blocked = out->len > start;
	return c->outbox.count > 0 || (c->is_blocked && c->works.first != NULL);
}

struct connection *
connection_new(struct connections *all, void *socket, const char *bearer, int64_t now_ms)
{
	struct connection *c = memory_new(sizeof(*c));

	c->all = all;
	c->socket = socket;
	c->bearer = memory_string(bearer);
	c->created_ms = c->heard_ms = c->taken_ms = c->now_ms = c->tokens_ms = now_ms;
	c->tokens = (int64_t) all->options->max_messages_per_second * 2000;
	outbox_init(&c->outbox);
	works_init(&c->works);
	c->next = all->first;
	if (all->first != NULL)
		all->first->previous = c;
	all->first = c;
	all->count++;
	return c;
}

void
connection_free(struct connection *c)
{
	c->is_closing = true;
	while (c->session_count > 0)
		session_close(c->sessions[0], NULL, NULL);
	if (c->works.request_id != 0)
		map_remove_id(&c->all->requests, c->works.request_id);
	works_free(&c->works);
	outbox_free(&c->outbox);
	if (c->previous != NULL)
		c->previous->next = c->next;
	else
		c->all->first = c->next;
	if (c->next != NULL)
		c->next->previous = c->previous;
	c->all->count--;
	free(c->sessions);
	free(c->bearer);
	free(c);
}

static void
tick(struct connection *c, int64_t now_ms)
{
	const struct options *o = c->all->options;

	c->now_ms = now_ms;
	if (!c->is_authenticated && now_ms - c->created_ms > (int64_t) o->auth_timeout_s * 1000)
		close_connection(c, CLOSE_NO_JOIN, "nothing joined in time");
	else if (c->outbox.count > 0 && now_ms - c->taken_ms > SLOW_LIMIT_MS)
		close_connection(c, CLOSE_TOO_SLOW, "too slow");
	else if (c->ping_ms != 0 && now_ms - c->ping_ms > PONG_LIMIT_MS)
		close_connection(c, CLOSE_NO_ANSWER, "no pong");
	else if (c->ping_ms == 0 && now_ms - c->heard_ms > (int64_t) o->ping_interval_s * 1000)
	{
		c->ping_ms = now_ms;
		put(c, (struct outbox_entry){.frame = frame_ping()});
	}
}

struct connections *
connections_new(const struct options *o, const struct auth *auth, const struct feed *feed, struct hub *hub, const struct connections_calls *calls, void *owner)
{
	struct connections *all = memory_new(sizeof(*all));

	all->options = o;
	all->auth = auth;
	all->feed = feed;
	all->hub = hub;
	all->calls = *calls;
	all->owner = owner;
	map_init(&all->requests);
	return all;
}

void
connections_clock(struct connections *all, int64_t now_ms)
{
	all->now_ms = now_ms;
}

void
connections_tick(struct connections *all, int64_t now_ms, int64_t unix_now)
{
	struct connection *next;

	for (struct connection *c = all->first; c != NULL; c = next)
	{
		next = c->next;
		c->unix_now = unix_now;
		tick(c, now_ms);
	}
}

void
connections_turn_end(struct connections *all)
{
	while (all->closed != NULL)
	{
		struct session *s = all->closed;

		all->closed = s->subscription.next;
		session_free(s);
	}
}

void
connections_close(struct connections *all, int code, const char *reason)
{
	struct connection *next;

	for (struct connection *c = all->first; c != NULL; c = next)
	{
		next = c->next;
		close_connection(c, code, reason);
	}
}

void
connections_free(struct connections *all)
{
	if (all == NULL)
		return;
	while (all->first != NULL)
		connection_free(all->first);
	connections_turn_end(all);
	map_free(&all->requests);
	free(all);
}

size_t
connections_count(const struct connections *all)
{
	return all->count;
}

/* The event is the fourth element: three strings or nulls come before it. Only pushes may be large. */
size_t
connection_frame_limit(const struct connections *all, const char *text, size_t len)
{
	const char *end = text + len;
	const char *p = memchr(text, '[', len);
	static const char event[] = "\"push\"";

	for (int i = 0; i < 3 && p != NULL; i++)
	{
		const char *start = p + 1;

		while (start < end && (*start == ' ' || *start == '\n' || *start == '\t' || *start == '\r'))
			start++;
		if (start < end && *start == '"')
			start = memchr(start + 1, '"', (size_t) (end - start - 1));
		p = start != NULL && start < end ? memchr(start, ',', (size_t) (end - start)) : NULL;
	}
	for (p = p != NULL ? p + 1 : end; p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'); p++)
		;
	if ((size_t) (end - p) >= sizeof(event) - 1 && memcmp(p, event, sizeof(event) - 1) == 0)
		return all->options->max_push;
	return all->options->max_frame;
}
