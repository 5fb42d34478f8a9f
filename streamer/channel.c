/* channel.c - what a client's message means: joins, leaves, renewals, requests, heartbeats. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>
#include <string.h>

#include "client_stats.h"
#include "connection_parts.h"
#include "memory.h"
#include "metrics.h"
#include "realtime.h"
#include "rooms.h"

#define SYNC_TOPIC "sync:"

static struct session *
find_topic(const struct connection *c, const char *topic)
{
	for (size_t i = 0; i < c->session_count; i++)
		if (strcmp(c->sessions[i]->topic, topic) == 0)
			return c->sessions[i];
	return NULL;
}

static void
reply_unmatched(struct connection *c, const struct message_refs *m)
{
	static const char response[] = "{\"reason\":\"unmatched topic\"}";

	connection_reply(c, m, false, response, sizeof(response) - 1);
}

/* Locks are released when no channel of a device is left. */
static void
tell_device(struct connection *c, const struct session *s, bool is_here)
{
	struct json *doc = s->device_id != NULL ? json_parse(s->device_id, strlen(s->device_id), 2) : NULL;
	char   *device = json_strdup(json_root(doc));

	if (device != NULL && s->identity.subject[0] != '\0')
		c->all->calls.device(c->all->owner, s->identity.subject, device, is_here);
	free(device);
	json_free(doc);
}

static void
session_closed(void *connection, struct session *s)
{
	struct connection *c = connection;
	size_t	i = 0;

	while (c->sessions[i] != s)
		i++;
	c->sessions[i] = c->sessions[--c->session_count];
	rooms_leave(c->all->rooms, s);
	hub_remove(c->all->hub, s);
	tell_device(c, s, false);
	connection_left(c, s->identity.subject);
	s->subscription.next = c->all->closed;
	c->all->closed = s;
	connection_over(c);
}

/* Supabase's clients put what their gateway knows as a key where a token would be: it is none. */
static char *
given_token(struct json_value payload)
{
	char   *token = json_strdup(json_member(payload, "access_token"));

	if (token == NULL)
		token = json_strdup(json_member(payload, "user_token"));
	if (token != NULL && strncmp(token, "sb_", 3) != 0)
		return token;
	free(token);
	return NULL;
}

static void
refuse_join(struct connection *c, const struct message_refs *refs, bool is_realtime, const char *code, const char *text)
{
	struct buffer response;

	metric_add_for(METRIC_JOINS_REFUSED, is_realtime ? "realtime" : "sync", 1);
	if (!is_realtime)
	{
		connection_reply_error(c, refs, code, text, NULL);
		return;
	}
	if (strcmp(code, "too_many_joins") == 0)
	{
		code = "ChannelRateLimitReached";
		text = "Too many channels";
	}
	else if (strcmp(code, "too_many_clients") == 0)
	{
		code = "ConnectionRateLimitReached";
		text = "Too many connected users";
	}
	else if (strcmp(code, "rate_limited") == 0)
	{
		code = "ClientJoinRateLimitReached";
		text = "Too many joins per second";
	}
	else
		realtime_token_problem(text, &code, &text);
	buffer_init(&response);
	realtime_put_reason(&response, code, text);
	connection_reply(c, refs, false, response.data, response.len);
	buffer_free(&response);
}

static struct session *
add_session(struct connection *c)
{
	static const struct session_calls template = {
		.subscribe = hub_subscribe, .unsubscribe = hub_unsubscribe, .discard = hub_discard, .is_blocked = connection_is_blocked, .settle = hub_flush, .replay = hub_replay, .given = hub_given, .put = connection_put_for_session, .want_pull = asking_want_pull,
		.closed = session_closed};
	struct session *s;

	c->all->session_calls = template;
	c->all->session_calls.hub = c->all->hub;
	c->all->session_calls.standings = hub_standings(c->all->hub);
	s = session_new(++c->all->last_id, &c->all->session_calls, c, c->all->feed);
	s->format = c->format;
	s->rooms = c->all->rooms;
	c->sessions = memory_grow(c->sessions, c->session_count + 1, sizeof(struct session *));
	c->sessions[c->session_count++] = s;
	hub_add(c->all->hub, s);
	return s;
}

static void
join(struct connection *c, const struct message *m, const struct message_refs *refs, bool is_realtime)
{
	struct session *s = find_topic(c, m->topic);
	struct token identity;
	const char *code;
	const char *text;
	char   *given;
	const char *token;
	const char *problem;

	if (!bucket_take(&c->joins, c->all->options->max_joins_per_second, c->now_ms))
	{
		metric_add_for(METRIC_LIMITED, "max-joins-per-second", 1);
		refuse_join(c, refs, is_realtime, "rate_limited", "too many joins");
		return;
	}
	given = given_token(m->payload);
	token = given != NULL ? given : c->bearer;
	problem = token != NULL ? auth_verify(c->all->auth, &identity, token, strlen(token), c->unix_now) : "no access token was given";

	free(given);
	if (s != NULL)
		session_close(s, "phx_close", NULL);
	if (problem != NULL)
	{
		refuse_join(c, refs, is_realtime, "unauthorized", problem);
		return;
	}
	if (!connection_may_join(c, identity.subject, &code, &text))
	{
		token_free(&identity);
		metric_add_for(METRIC_LIMITED, code, 1);
		refuse_join(c, refs, is_realtime, code, text);
		return;
	}
	c->is_authenticated = true;
	c->is_lenient = c->is_lenient || is_realtime;
	s = add_session(c);
	if (is_realtime)
		realtime_join(s, m, &identity, c->now_ms);
	else
	{
		session_join(s, m, &identity, c->now_ms);
		tell_device(c, s, true);
	}
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
		connection_reply_error(c, refs, "unauthorized", problem, NULL);
		return;
	}
	if (strcmp(identity.subject, s->identity.subject) != 0 || strcmp(identity.role, s->identity.role) != 0)
		connection_reply_error(c, refs, "unauthorized", "the new token is for somebody else: join again", NULL);
	else
	{
		connection_reply(c, refs, true, "{}", 2);
		session_renew(s, &identity);
	}
	token_free(&identity);
}

/* Supabase's client waits for no reply. A token that is refused changes nothing: the old one stays in force until it runs out. */
static void
renew_realtime(struct connection *c, struct session *s, const struct message *m)
{
	char   *token = given_token(m->payload);
	struct token identity;
	const char *problem;
	const char *code;
	const char *text;

	if (token == NULL)
		return;
	problem = auth_verify(c->all->auth, &identity, token, strlen(token), c->unix_now);
	free(token);
	if (problem != NULL)
	{
		realtime_token_problem(problem, &code, &text);
		realtime_system(s, "system", false, text);
		return;
	}
	if (strcmp(identity.claims, s->identity.claims) != 0)
	{
		char   *before = memory_string(s->identity.subject);

		connection_enter(c, identity.subject);
		realtime_renew(s, &identity);
		connection_left(c, before);
		free(before);
	}
	token_free(&identity);
}

/* A leave that names an earlier join of this topic is about that. */
static bool
is_stale(const struct session *s, const struct message *m)
{
	return m->join_ref[0] != '\0' && strcmp(m->join_ref, s->join_ref) != 0;
}

static void
leave(struct connection *c, struct session *s, const struct message *m, const struct message_refs *refs)
{
	connection_reply(c, refs, true, "{}", 2);
	if (s != NULL && !is_stale(s, m))
		session_close(s, "phx_close", NULL);
}

static void
take_request(struct connection *c, struct session *s, enum request_kind kind, const struct message *m, const struct message_refs *refs)
{
	struct work w = {.kind = kind == REQUEST_PUSH ? WORK_PUSH : WORK_ASK, .request = kind, .session = s->id, .refs = *refs};

	if (works_are_full(&c->works, m->payload.len, c->all->options->max_push))
	{
		connection_reply_error(c, refs, "busy", "too many requests of this connection wait", NULL);
		return;
	}
	works_prepare(&w, m->payload, s->device_id);
	works_add(&c->works, w);
	asking_go_on(c);
}

static void
take_realtime(struct connection *c, struct session *s, const struct message *m, const struct message_refs *refs)
{
	if (strcmp(m->event, "access_token") == 0)
		renew_realtime(c, s, m);
	else if (!sending_take(c, s, m, refs))
		connection_reply_error(c, refs, "unknown_event", "this topic does not know the event", NULL);
}

static void
take_stats(struct connection *c, const struct message *m, const struct message_refs *refs)
{
	const char *problem = client_stats_take(m->payload);

	if (problem != NULL)
		connection_reply_error(c, refs, "bad_request", problem, NULL);
	else
		connection_reply(c, refs, true, "{}", 2);
}

static void
take_sync(struct connection *c, struct session *s, const struct message *m, const struct message_refs *refs)
{
	enum request_kind kind;

	if (strcmp(m->event, "access_token") == 0)
		renew(c, s, m, refs);
	else if (request_named(m->event, &kind))
		take_request(c, s, kind, m, refs);
	else if (strcmp(m->event, "stats") == 0)
		take_stats(c, m, refs);
	else
		connection_reply_error(c, refs, "unknown_event", "this topic does not know the event", NULL);
}

static bool
begins(const char *topic, const char *prefix)
{
	return strncmp(topic, prefix, strlen(prefix)) == 0;
}

void
channel_take(struct connection *c, const struct message *m, const struct message_refs *refs)
{
	struct session *s = find_topic(c, m->topic);
	bool	is_join = strcmp(m->event, "phx_join") == 0;

	if (strcmp(m->topic, "phoenix") == 0 && strcmp(m->event, "heartbeat") == 0)
		connection_reply(c, refs, true, "{}", 2);
	else if (strcmp(m->event, "phx_leave") == 0)
		leave(c, s, m, refs);
	else if (is_join && (begins(m->topic, SYNC_TOPIC) || begins(m->topic, REALTIME_TOPIC_PREFIX)))
		join(c, m, refs, begins(m->topic, REALTIME_TOPIC_PREFIX));
	else if (s == NULL)
		reply_unmatched(c, refs);
	else if (s->kind == SESSION_REALTIME)
		take_realtime(c, s, m, refs);
	else
		take_sync(c, s, m, refs);
}
