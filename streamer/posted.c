/* posted.c - broadcasts posted over HTTP: one by its address, or a batch; whose rights must be asked, and what is to be sent. */
/* SPDX-License-Identifier: PostgreSQL */
#include "posted.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "memory.h"
#include "rights.h"
#include "text.h"

#define BODY_VALUES_MAX 300000
#define PREFIX "/api/broadcast"

static const struct posted_problem no_problem = {0, NULL, NULL};

/* What follows /api/broadcast, with or without /realtime/v1 before it; NULL: another address. */
static const char *
after_prefix(const char *path)
{
	static const char gateway[] = "/realtime/v1";

	if (strncmp(path, gateway, sizeof(gateway) - 1) == 0)
		path += sizeof(gateway) - 1;
	if (strncmp(path, PREFIX, sizeof(PREFIX) - 1) != 0)
		return NULL;
	path += sizeof(PREFIX) - 1;
	return *path == '\0' || *path == '/' ? path : NULL;
}

bool
posted_is_address(const char *path)
{
	return after_prefix(path) != NULL;
}

static bool
is_name(const char *name, size_t len, size_t most)
{
	return len > 0 && len <= most && text_is_printable(name, len);
}

/* The last /events/ divides: an event's name is the developer's, a topic's may hold what users chose. */
static const char *
find_events(const char *path)
{
	static const char word[] = "/events/";
	const char *found = NULL;

	for (const char *p = strstr(path, word); p != NULL; p = strstr(p + 1, word))
		found = p;
	return found;
}

static bool
read_address(struct posted *p, const char *rest, bool is_private)
{
	const char *topic = rest + 1;
	const char *events = find_events(rest);
	const char *event = events != NULL ? events + strlen("/events/") : NULL;

	if (events == NULL || events <= rest || !is_name(topic, (size_t) (events - topic), TOPIC_NAME_MAX) || !is_name(event, strlen(event), TOPIC_EVENT_MAX))
		return false;
	p->messages[0] = (struct posted_message){.topic = memory_text(topic, (size_t) (events - topic)), .event = memory_string(event), .is_private = is_private};
	p->messages[0].payload.index = -1;
	p->count = 1;
	return true;
}

static bool
is_media(const char *given, const char *wanted)
{
	size_t	len = strlen(wanted);

	return strncasecmp(given, wanted, len) == 0 && (given[len] == '\0' || given[len] == ';' || given[len] == ' ');
}

struct posted *
posted_new(const char *path, bool is_private, const char *media, struct posted_problem *problem)
{
	const char *rest = after_prefix(path);
	struct posted *p;

	*problem = no_problem;
	if (rest == NULL)
		return NULL;
	p = memory_new(sizeof(*p));
	p->is_batch = *rest == '\0';
	p->is_binary = is_media(media, "application/octet-stream");
	if ((p->is_binary && p->is_batch) || (!p->is_binary && !is_media(media, "application/json")))
		*problem = (struct posted_problem){415, "unsupported_media_type", p->is_batch ? "the body must be application/json" : "the body must be application/json or application/octet-stream"};
	else if (!p->is_batch && !read_address(p, rest, is_private))
		*problem = (struct posted_problem){404, "not_found", "the address is not /api/broadcast/<topic>/events/<event>"};
	return p;
}

void
posted_free(struct posted *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < p->count; i++)
	{
		free(p->messages[i].topic);
		free(p->messages[i].event);
	}
	json_free(p->doc);
	free(p);
}

static const char *
read_message(struct posted *p, struct json_value v)
{
	struct posted_message *m = &p->messages[p->count];

	if (p->count == POSTED_MESSAGES_MAX)
		return "too many messages in one request";
	m->topic = json_strdup(json_member(v, "topic"));
	m->event = json_strdup(json_member(v, "event"));
	m->payload = json_member(v, "payload");
	m->is_private = json_bool(json_member(v, "private"), false);
	p->count++;
	if (m->topic == NULL || !is_name(m->topic, strlen(m->topic), TOPIC_NAME_MAX))
		return "a message needs a topic of 1 to 240 bytes";
	if (m->event == NULL || !is_name(m->event, strlen(m->event), TOPIC_EVENT_MAX))
		return "a message needs an event of 1 to 255 bytes";
	return json_type(m->payload) == JSON_ABSENT ? "a message needs a payload" : NULL;
}

static const char *
read_batch(struct posted *p)
{
	struct json_value list = json_member(json_root(p->doc), "messages");
	const char *problem = NULL;

	if (json_type(list) != JSON_ARRAY || json_size(list) == 0)
		return "the body must be {\"messages\": [{\"topic\", \"event\", \"payload\", \"private\"?}]}";
	for (struct json_value v = json_first(list); problem == NULL && json_type(v) != JSON_ABSENT; v = json_next(v))
		problem = read_message(p, v);
	return problem;
}

static size_t
payload_size(const struct posted *p, const struct posted_message *m)
{
	return json_type(m->payload) == JSON_ABSENT ? p->len : m->payload.len;
}

struct posted_problem
posted_read(struct posted *p, const char *body, size_t len, size_t max_payload, bool allows_public)
{
	const char *text = NULL;

	p->body = body;
	p->len = len;
	if (!p->is_binary && (len == 0 || !text_is_utf8(body, len) || (p->doc = json_parse(body, len, BODY_VALUES_MAX)) == NULL))
		return (struct posted_problem){422, "bad_request", "the body is not JSON"};
	if (p->is_batch && (text = read_batch(p)) != NULL)
		return (struct posted_problem){422, "bad_request", text};
	for (size_t i = 0; i < p->count; i++)
	{
		if (payload_size(p, &p->messages[i]) > max_payload)
			return (struct posted_problem){422, "payload_size_exceeded", "the payload is larger than the server takes (--max-broadcast)"};
		if (!p->messages[i].is_private && !allows_public)
			return (struct posted_problem){403, "PrivateOnly", "this server only allows private topics: send with private true"};
	}
	return no_problem;
}

const char *
posted_topic(struct posted *p)
{
	while (p->asked < p->count)
	{
		const struct posted_message *m = &p->messages[p->asked];
		bool	is_known = !m->is_private;

		for (size_t i = 0; i < p->asked && !is_known; i++)
			is_known = p->messages[i].is_private && strcmp(p->messages[i].topic, m->topic) == 0;
		if (!is_known)
			return m->topic;
		p->asked++;
	}
	return NULL;
}

bool
posted_may(struct posted *p, struct json_value rights)
{
	p->asked++;
	return rights_read(rights).broadcast;
}

void
posted_send(const struct posted *p, void (*send)(void *owner, const struct relayed *b), void *owner)
{
	for (size_t i = 0; i < p->count; i++)
	{
		const struct posted_message *m = &p->messages[i];
		struct json_value payload = p->is_batch ? m->payload : json_root(p->doc);
		struct relayed b = {.topic = m->topic, .is_private = m->is_private, .event = m->event, .is_binary = p->is_binary, .payload = payload.raw, .len = payload.len};

		if (p->is_binary)
		{
			b.payload = p->body;
			b.len = p->len;
		}
		send(owner, &b);
	}
}
