/* sending.c - what a client sends into a realtime: topic: broadcasts, and that it is present; each gated by its rights and limits. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>
#include <string.h>

#include "connection_parts.h"
#include "metrics.h"
#include "presence.h"
#include "realtime.h"
#include "rooms.h"
#include "text.h"
#include "topics.h"

#define PRESENCE_RATE 5				/* calls a second of one channel, */
#define PRESENCE_BURST 20			/* of which so many may come at once */
#define BROADCAST_VALUES_MAX 300000

static void
reply_ok(struct connection *c, const struct message_refs *refs)
{
	connection_reply(c, refs, true, "{}", 2);
}

/* Supabase says nothing of what it refuses unless asked for an ack; we always do: who does not listen is not disturbed. */
static void
reply_error(struct connection *c, const struct message_refs *refs, const char *member, const char *text)
{
	struct buffer response;

	buffer_init(&response);
	buffer_printf(&response, "{\"%s\":", member);
	buffer_json_string(&response, text, strlen(text));
	buffer_putc(&response, '}');
	connection_reply(c, refs, false, response.data, response.len);
	buffer_free(&response);
}

static void
reply_forbidden(struct connection *c, const struct session *s, const struct message_refs *refs, const char *what)
{
	struct buffer text;

	buffer_init(&text);
	buffer_printf(&text, "Unauthorized: You do not have permissions to %s this Channel topic: %s", what, realtime_name(s));
	reply_error(c, refs, "reason", text.data);
	buffer_free(&text);
}

/* The event and payload of either form; the texts of b are then owned. false: it is no broadcast. */
static bool
read_broadcast(struct relayed *b, const struct message *m, char **event)
{
	struct json_value payload;

	*event = NULL;
	if (m->is_binary)
	{
		b->event = m->broadcast.event;
		b->is_binary = !m->broadcast.is_json;
		b->payload = m->broadcast.payload;
		b->len = m->broadcast.payload_len;
		return b->event[0] != '\0' && strlen(b->event) <= TOPIC_EVENT_MAX;
	}
	payload = json_member(m->payload, "payload");
	*event = json_strdup(json_member(m->payload, "event"));
	b->event = *event;
	b->payload = json_type(payload) != JSON_ABSENT ? payload.raw : "{}";
	b->len = json_type(payload) != JSON_ABSENT ? payload.len : 2;
	return *event != NULL && (*event)[0] != '\0' && strlen(*event) <= TOPIC_EVENT_MAX;
}

/* A binary frame's JSON goes on as it came, but not if it is none: it would break whoever gets it. */
static bool
is_sound(const struct message *m, const struct relayed *b)
{
	struct json *doc;

	if (!m->is_binary || b->is_binary)
		return true;
	doc = text_is_utf8(b->payload, b->len) ? json_parse(b->payload, b->len, BROADCAST_VALUES_MAX) : NULL;
	json_free(doc);
	return doc != NULL;
}

static void
send_broadcast(struct connection *c, struct session *s, const struct message *m, const struct message_refs *refs)
{
	struct realtime *r = s->realtime;
	struct relayed b = {.topic = realtime_name(s), .is_private = r->is_private};
	char   *event;
	bool	is_good = read_broadcast(&b, m, &event);

	if (!r->rights.broadcast)
		reply_forbidden(c, s, refs, "write to");
	else if (!is_good || !is_sound(m, &b))
		reply_error(c, refs, "reason", "a broadcast needs an event of 1 to 255 bytes, and JSON or bytes");
	else if (b.len > c->all->options->max_broadcast)
	{
		metric_add_for(METRIC_LIMITED, "broadcast", 1);
		reply_error(c, refs, "error", "payload_size_exceeded");
	}
	else
	{
		rooms_broadcast(s->rooms, s, &b, "client");
		if (r->acks_broadcasts)
			reply_ok(c, refs);
	}
	free(event);
}

/* A bucket in thousandths of calls. */
static bool
is_within_rate(struct realtime *r, int64_t now_ms)
{
	int64_t gained = (now_ms - r->presence_ms) * PRESENCE_RATE;

	r->presence_calls = r->presence_calls > gained ? r->presence_calls - gained : 0;
	r->presence_ms = now_ms;
	if (r->presence_calls + 1000 > PRESENCE_BURST * 1000)
		return false;
	r->presence_calls += 1000;
	return true;
}

static const char *
track(struct session *s, struct json_value given)
{
	struct realtime *r = s->realtime;
	struct json *nothing = json_parse("{}", 2, 4);
	struct json_value meta = r->is_anonymous ? json_root(nothing) : given;
	const char *problem = NULL;

	if (json_type(given) != JSON_OBJECT)
		problem = "Presence track payload must be a map";
	else if (given.len > PRESENCE_META_MAX)
		problem = "Track message size exceeded";
	else
		problem = rooms_track(s->rooms, s, meta);
	json_free(nothing);
	if (problem == NULL && !r->sees_presence)
		rooms_show_presence(s->rooms, s);
	return problem;
}

static void
send_presence(struct connection *c, struct session *s, const struct message *m, const struct message_refs *refs)
{
	struct json_value what = json_member(m->payload, "event");
	const char *problem = NULL;

	if (!s->realtime->rights.presence)
	{
		reply_forbidden(c, s, refs, "be present in");
		return;
	}
	if (!is_within_rate(s->realtime, c->now_ms))
	{
		metric_add_for(METRIC_LIMITED, "presence", 1);
		problem = "Client presence rate limit exceeded";
	}
	else if (json_equals(what, "track"))
		problem = track(s, json_member(m->payload, "payload"));
	else if (json_equals(what, "untrack"))
		rooms_untrack(s->rooms, s);
	else
		problem = "Presence knows the events track and untrack";
	if (problem != NULL)
		reply_error(c, refs, "reason", problem);
	else
		reply_ok(c, refs);
}

bool
sending_take(struct connection *c, struct session *s, const struct message *m, const struct message_refs *refs)
{
	bool	is_broadcast = m->is_binary || strcmp(m->event, "broadcast") == 0;

	if (!is_broadcast && strcmp(m->event, "presence") != 0)
		return false;
	if (s->realtime->member.topic == NULL)
		reply_error(c, refs, "reason", "the topic is not joined yet");
	else if (is_broadcast)
		send_broadcast(c, s, m, refs);
	else
		send_presence(c, s, m, refs);
	return true;
}
