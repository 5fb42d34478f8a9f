/* connection.c - one WebSocket client: what goes out to it, what comes in, and its limits. */
/* SPDX-License-Identifier: PostgreSQL */
#include "connection.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "chance.h"
#include "connection_parts.h"
#include "log.h"
#include "memory.h"
#include "metrics.h"

#define SLOW_LIMIT_MS 30000			/* something waits for the client, and it takes nothing */
#define PONG_LIMIT_MS 10000
#define SLOW_RESYNC_MS 2000
#define BROADCAST_HEAD 2048			/* what stands around a payload; twice the payload's limit is read, to say that it is too large */
#define ABUSE_SECONDS 5				/* so many seconds' worth of refused messages close the connection */

static const char *
close_name(int code)
{
	static const struct { int code; const char *name; } names[] = {
		{CLOSE_GOING_AWAY, "going_away"}, {CLOSE_UNSUPPORTED, "unsupported"}, {CLOSE_POLICY, "policy"}, {CLOSE_TOO_BIG, "too_big"},
		{CLOSE_NO_JOIN, "no_join"}, {CLOSE_NO_ANSWER, "no_pong"}, {CLOSE_TOO_SLOW, "too_slow"}};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].code == code)
			return names[i].name;
	return "other";
}

static void
close_connection(struct connection *c, int code, const char *reason)
{
	if (c->is_closing)
		return;
	c->is_closing = true;
	metric_add_for(METRIC_CONNECTIONS_CLOSED, close_name(code), 1);
	log_event(LOG_LEVEL_DEBUG, "client_closed", "code=%d reason=\"%s\"", code, reason);
	if (c->format == MESSAGE_EVENTS)
		c->all->calls.stream_close(c->socket, code, reason);
	else
		c->all->calls.close(c->socket, code, reason);
}

void
connection_want_output(struct connection *c)
{
	if (c->format == MESSAGE_EVENTS)
		c->all->calls.stream_writable(c->socket);
	else
		c->all->calls.writable(c->socket);
}

void
connection_over(struct connection *c)
{
	if (c->format == MESSAGE_EVENTS && c->session_count == 0)
		close_connection(c, CLOSE_NORMAL, "the stream has ended");
}

void
connection_put(struct connection *c, struct outbox_entry entry)
{
	bool	was_empty = c->outbox.count == 0;

	outbox_put(&c->outbox, entry);
	if (!was_empty)
		return;
	c->taken_ms = c->now_ms;
	c->put_turn = c->all->turn;
	connection_want_output(c);
}

bool
connection_is_blocked(void *connection)
{
	const struct connection *c = connection;

	return c->kept > 0 || (c->outbox.count > 0 && c->put_turn != c->all->turn);
}

struct session *
connection_session(const struct connection *c, uint64_t id)
{
	for (size_t i = 0; i < c->session_count; i++)
		if (c->sessions[i]->id == id)
			return c->sessions[i];
	return NULL;
}

/* Batches of the stream may not pile up: over the limit they are thrown away and the session pulls instead, once the rest has drained. */
void
connection_put_for_session(void *connection, struct outbox_entry entry)
{
	struct connection *c = connection;
	struct session *s;

	if (!entry.is_live || c->outbox.bytes + c->kept + entry.frame->len <= c->all->options->max_queue)
	{
		connection_put(c, entry);
		return;
	}
	s = connection_session(c, entry.session);
	frame_release(entry.frame);
	cursor_release(entry.cursor);
	outbox_drop_live(&c->outbox, entry.session);
	if (s != NULL && s->kind == SESSION_REALTIME)
		session_close(s, "phx_error", "too slow");		/* it joins again, and learns who is there then */
	else if (s != NULL)
		session_too_slow(s, s->now_ms, chance_below(SLOW_RESYNC_MS));
}

void
connection_reply(struct connection *c, const struct message_refs *m, bool is_ok, const char *response, size_t len)
{
	struct buffer text;

	buffer_init(&text);
	message_put_reply(&text, c->format, m->join_ref, m->ref, m->topic, is_ok, response, len);
	memory_require(text.failed ? NULL : text.data);
	connection_put(c, (struct outbox_entry){.frame = frame_text(text.data, text.len)});
	buffer_free(&text);
}

void
connection_reply_error(struct connection *c, const struct message_refs *m, const char *code, const char *text, const char *hint)
{
	struct buffer response;

	metric_add_for(METRIC_ERRORS, code, 1);
	buffer_init(&response);
	message_error_object(&response, code, text, hint);
	connection_reply(c, m, false, response.data, response.len);
	buffer_free(&response);
}

static bool
is_within_rate(struct connection *c)
{
	int		rate = c->all->options->max_messages_per_second;

	if (bucket_is_full(&c->messages, rate, c->now_ms))
		c->refused = 0;
	return bucket_take(&c->messages, rate, c->now_ms);
}

static void
refuse_rate(struct connection *c, const struct message_refs *refs)
{
	if (++c->refused > (int64_t) c->all->options->max_messages_per_second * ABUSE_SECONDS)
		close_connection(c, CLOSE_POLICY, "too many messages");
	else
		connection_reply_error(c, refs, "rate_limited", "too many messages", NULL);
}

/* Of a message of this kind, in bytes of its frame. */
static size_t
limit_of(const struct connection *c, const char *event)
{
	const struct options *o = c->all->options;
	size_t	broadcast = 2 * o->max_broadcast + BROADCAST_HEAD;

	if (strcmp(event, "push") == 0)
		return o->max_push;
	return strcmp(event, "broadcast") == 0 && broadcast > o->max_frame ? broadcast : o->max_frame;
}

static void
refs_of(struct message_refs *refs, const struct message *m)
{
	memcpy(refs->join_ref, m->join_ref, sizeof(refs->join_ref));
	memcpy(refs->ref, m->ref, sizeof(refs->ref));
	memcpy(refs->topic, m->topic, sizeof(refs->topic));
}

/* Supabase drops what cannot be read, and its clients may count on that; a client of ours is broken then. */
static void
refuse_unreadable(struct connection *c, const char *problem, size_t len, bool is_binary)
{
	log_event(LOG_LEVEL_DEBUG, "message_unreadable", "reason=\"%s\" bytes=%zu", problem, len);
	if (!c->is_lenient)
		close_connection(c, is_binary ? CLOSE_UNSUPPORTED : CLOSE_POLICY, problem);
	else if (!is_within_rate(c) && ++c->refused > (int64_t) c->all->options->max_messages_per_second * ABUSE_SECONDS)
		close_connection(c, CLOSE_POLICY, "too many messages");
}

static const char *
parse(const struct connection *c, struct message *m, const char *text, size_t len, bool is_binary)
{
	if (is_binary && c->format != MESSAGE_ARRAYS)
		return "binary frames are not supported";
	return is_binary ? message_parse_binary(m, text, len) : message_parse(m, c->format, text, len);
}

bool
connection_message(struct connection *c, const char *text, size_t len, bool is_binary, int64_t now_ms, int64_t unix_now)
{
	struct message m;
	struct message_refs refs;
	const char *problem;

	metric_add(METRIC_MESSAGES_IN, 1);
	metric_add(METRIC_BYTES_IN, len);
	c->now_ms = now_ms;
	c->unix_now = unix_now;
	connection_heard(c, now_ms);
	if (c->is_closing)
		return false;
	problem = parse(c, &m, text, len, is_binary);
	if (problem != NULL)
	{
		refuse_unreadable(c, problem, len, is_binary);
		return !c->is_closing;
	}
	refs_of(&refs, &m);
	if (len > limit_of(c, m.event))
		close_connection(c, CLOSE_TOO_BIG, "message too big");
	else if (!is_within_rate(c))
		refuse_rate(c, &refs);
	else
		channel_take(c, &m, &refs);
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
connection_has_frames(const struct connection *c)
{
	return c->outbox.count > 0;
}

/* The commit's time is the server's, the other ours: on two machines their clocks have to agree. */
static void
note_time(int64_t committed_us, int64_t *sent_us)
{
	struct timespec now;

	if (*sent_us == 0)
	{
		clock_gettime(CLOCK_REALTIME, &now);
		*sent_us = (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
	}
	metric_observe(METRIC_COMMIT_TO_SEND, *sent_us - committed_us);
}

bool
connection_take(struct connection *c, struct outgoing *out, int64_t now_ms)
{
	struct outbox_entry e;
	int64_t sent_us = 0;

	out->count = out->bytes = 0;
	c->now_ms = now_ms;
	c->taken_ms = now_ms;
	c->kept = 0;
	c->is_blocked = false;
	if (c->outbox.count == 0)
		asking_go_on(c);
	while (outgoing_has_room(out, outbox_next_size(&c->outbox)) && outbox_take(&c->outbox, &e))
	{
		struct session *s = e.cursor != NULL ? connection_session(c, e.session) : NULL;

		if (s != NULL)
			session_sent(s, e.cursor);
		if (e.frame->committed_us != 0)
			note_time(e.frame->committed_us, &sent_us);
		outgoing_put(out, e.frame);
		cursor_release(e.cursor);
	}
	metric_add(METRIC_MESSAGES_OUT, out->count);
	metric_add(METRIC_BYTES_OUT, out->bytes);
	c->is_blocked = out->count > 0;
	for (size_t i = 0; c->outbox.count == 0 && i < c->session_count; i++)
		hub_drained(c->all->hub, c->sessions[i]);
	return c->outbox.count > 0 || (c->is_blocked && c->works.first != NULL);
}

void
connection_keep(struct connection *c, size_t bytes)
{
	c->kept = bytes;
}

/* An API key that is no token of ours, such as "anon" or sb_publishable_…, is only a name: whoever joins then brings a token. A good one
 * shows that the client is somebody, which spares it the time limit for its first join. */
static void
take_bearer(struct connection *c, const struct handshake *h)
{
	struct token identity;
	const char *token = h->bearer != NULL ? h->bearer : h->api_key;
	bool	is_good = token != NULL && auth_verify(c->all->auth, &identity, token, strlen(token), c->unix_now) == NULL;

	if (is_good)
		token_free(&identity);
	c->is_authenticated = is_good && h->bearer == NULL;
	c->bearer = is_good || h->bearer != NULL ? memory_string(token) : NULL;
}

bool
connection_take_one(struct connection *c, struct outbox_entry *e, int64_t now_ms)
{
	struct session *s;

	c->now_ms = now_ms;
	c->taken_ms = now_ms;
	c->kept = 0;
	c->is_blocked = false;
	if (c->outbox.count == 0)
		asking_go_on(c);
	if (!outbox_take(&c->outbox, e))
		return false;
	s = e->cursor != NULL ? connection_session(c, e->session) : NULL;
	if (s != NULL)
		session_sent(s, e->cursor);
	metric_add(METRIC_MESSAGES_OUT, 1);
	metric_add(METRIC_BYTES_OUT, e->frame->len);
	c->is_blocked = true;
	return true;
}

struct connection *
connection_new(struct connections *all, void *socket, const struct handshake *h, int64_t now_ms, int64_t unix_now)
{
	struct connection *c = memory_new(sizeof(*c));

	c->all = all;
	c->socket = socket;
	c->format = h->format;
	c->unix_now = unix_now;
	c->is_lenient = h->api_key != NULL;
	take_bearer(c, h);
	c->created_ms = c->heard_ms = c->taken_ms = c->now_ms = now_ms;
	bucket_fill(&c->messages, all->options->max_messages_per_second, now_ms);
	bucket_fill(&c->joins, all->options->max_joins_per_second, now_ms);
	metric_add_for(METRIC_CONNECTIONS_OPENED, "websocket", 1);
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
	if (!c->is_closing)
		metric_add_for(METRIC_CONNECTIONS_CLOSED, "client", 1);
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
	else if (c->ping_ms != 0 && connection_is_blocked(c))
		c->ping_ms = now_ms;		/* it may wait here still */
	else if (c->ping_ms != 0 && now_ms - c->ping_ms > PONG_LIMIT_MS)
		close_connection(c, CLOSE_NO_ANSWER, "no pong");
	else if (c->ping_ms == 0 && now_ms - c->heard_ms > (int64_t) o->ping_interval_s * 1000)
	{
		if (c->format == MESSAGE_EVENTS)
			c->heard_ms = now_ms;		/* nobody answers there: what the socket takes must do */
		else
			c->ping_ms = now_ms;
		connection_put(c, (struct outbox_entry){.frame = frame_ping()});
	}
}

struct connections *
connections_new(const struct options *o, const struct auth *auth, const struct feed *feed, struct hub *hub, struct rooms *rooms, const struct connections_calls *calls, void *owner)
{
	struct connections *all = memory_new(sizeof(*all));

	all->options = o;
	all->auth = auth;
	all->feed = feed;
	all->hub = hub;
	all->rooms = rooms;
	all->calls = *calls;
	all->owner = owner;
	map_init(&all->requests);
	return all;
}

void
connections_limit(struct connections *all, struct admission *admission)
{
	all->admission = admission;
}

/* Counted by its first channel in the user's name. */
static bool
has_user(const struct connection *c, const char *user)
{
	for (size_t i = 0; i < c->session_count; i++)
		if (strcmp(c->sessions[i]->identity.subject, user) == 0)
			return true;
	return false;
}

void
connection_enter(struct connection *c, const char *user)
{
	if (!has_user(c, user))
		admission_user_enter(c->all->admission, user);
}

bool
connection_may_join(struct connection *c, const char *user, const char **code, const char **text)
{
	if (c->session_count >= (size_t) c->all->options->max_joins)
	{
		*code = "too_many_joins";
		*text = "this connection has joined as many topics as it may";
	}
	else if (!has_user(c, user) && !admission_user_has_room(c->all->admission, user))
	{
		*code = "too_many_clients";
		*text = "this user has as many connections as allowed";
	}
	else
	{
		connection_enter(c, user);
		return true;
	}
	return false;
}

void
connection_left(struct connection *c, const char *user)
{
	if (!has_user(c, user))
		admission_user_leave(c->all->admission, user);
}

static bool
is_of_device(const struct session *s, const char *user, const char *device)
{
	struct json *doc;
	char   *id;
	bool	is_it;

	if (s->device_id == NULL || strcmp(s->identity.subject, user) != 0)
		return false;
	doc = json_parse(s->device_id, strlen(s->device_id), 2);
	id = json_strdup(json_root(doc));
	is_it = id != NULL && strcmp(id, device) == 0;
	free(id);
	json_free(doc);
	return is_it;
}

void
connections_revoke(struct connections *all, const char *user, const char *device)
{
	for (struct connection *c = all->first; c != NULL; c = c->next)
		for (size_t i = c->session_count; i > 0; i--)
			if (is_of_device(c->sessions[i - 1], user, device))
				session_close(c->sessions[i - 1], "phx_error", "device_revoked");
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
	all->turn++;
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

void
connections_gauges(const struct connections *all)
{
	size_t	bytes = 0;
	size_t	most = 0;
	size_t	works = 0;

	for (const struct connection *c = all->first; c != NULL; c = c->next)
	{
		size_t	waits = c->outbox.bytes + c->kept;

		bytes += waits;
		most = waits > most ? waits : most;
		works += c->works.count;
	}
	metric_set(METRIC_CONNECTIONS, (double) all->count);
	metric_set(METRIC_OUTBOX_BYTES, (double) bytes);
	metric_set(METRIC_OUTBOX_BYTES_MAX, (double) most);
	metric_set(METRIC_WORKS_WAITING, (double) works);
}

size_t
connections_count(const struct connections *all)
{
	return all->count;
}

size_t
connection_frame_limit(const struct connection *c, const char *text, size_t len, bool is_binary)
{
	char	event[MESSAGE_EVENT_MAX + 1];

	if (is_binary)
		return limit_of(c, "broadcast");
	return limit_of(c, message_peek_event(c->format, text, len, event, sizeof(event)) ? event : "");
}
