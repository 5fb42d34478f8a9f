/* channel.c - what a client's message means: joins, leaves, renewals, requests, heartbeats. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>
#include <string.h>

#include "connection_parts.h"
#include "memory.h"

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
		.subscribe = hub_subscribe, .unsubscribe = hub_unsubscribe, .discard = hub_discard, .is_blocked = connection_is_blocked, .settle = hub_flush, .replay = hub_replay, .put = connection_put_for_session, .want_pull = asking_want_pull,
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
		connection_reply_error(c, refs, "unauthorized", problem, NULL);
		return;
	}
	if (c->session_count >= (size_t) c->all->options->max_joins)
	{
		token_free(&identity);
		connection_reply_error(c, refs, "too_many_joins", "this connection has joined as many topics as it may", NULL);
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

static void
leave(struct connection *c, struct session *s, const struct message_refs *refs)
{
	connection_reply(c, refs, true, "{}", 2);
	if (s != NULL)
		session_close(s, "phx_close", NULL);
}

static void
take_request(struct connection *c, struct session *s, const struct message *m, const struct message_refs *refs)
{
	struct work w = {.kind = strcmp(m->event, "push") == 0 ? WORK_PUSH : WORK_PULL, .session = s->id, .refs = *refs};

	if (works_are_full(&c->works, m->payload.len, c->all->options->max_push))
	{
		connection_reply_error(c, refs, "busy", "too many requests of this connection wait", NULL);
		return;
	}
	works_prepare(&w, m->payload, s->device_id);
	works_add(&c->works, w);
	asking_go_on(c);
}

void
channel_take(struct connection *c, const struct message *m, const struct message_refs *refs)
{
	struct session *s = find_topic(c, m->topic);

	if (strcmp(m->topic, "phoenix") == 0 && strcmp(m->event, "heartbeat") == 0)
		connection_reply(c, refs, true, "{}", 2);
	else if (strcmp(m->event, "phx_leave") == 0)
		leave(c, s, refs);
	else if (strcmp(m->event, "phx_join") == 0 && strncmp(m->topic, SYNC_TOPIC, strlen(SYNC_TOPIC)) == 0)
		join(c, m, refs);
	else if (s == NULL)
		reply_unmatched(c, refs);
	else if (strcmp(m->event, "access_token") == 0)
		renew(c, s, m, refs);
	else if (strcmp(m->event, "push") == 0 || strcmp(m->event, "pull") == 0)
		take_request(c, s, m, refs);
	else
		connection_reply_error(c, refs, "unknown_event", "this topic does not know the event", NULL);
}
