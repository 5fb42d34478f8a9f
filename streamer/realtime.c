/* realtime.c - a realtime: topic, as Supabase's client knows them: its config, the steps of its join, what its server says beside changes. */
/* SPDX-License-Identifier: PostgreSQL */
#include "realtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "entrance.h"
#include "memory.h"

const char *
realtime_name(const struct session *s)
{
	return s->topic + strlen(REALTIME_TOPIC_PREFIX);
}

void
realtime_free(struct realtime *r)
{
	if (r == NULL)
		return;
	free(r->response);
	free(r);
}

/* Some clients write booleans as strings. */
static bool
read_flag(struct json_value object, const char *name)
{
	struct json_value v = json_member(object, name);
	char	text[8];

	return json_bool(v, false) || (json_string(v, text, sizeof(text)) && strcasecmp(text, "true") == 0);
}

/* The client finds its bindings by their place and compares them with what it sent: each goes back as it came, with an id. Equal ones get equal ids,
 * in whatever channel, so that frames for many can be shared. */
static uint32_t
binding_id(struct json_value binding)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < binding.len; i++)
		hash = (hash ^ (unsigned char) binding.raw[i]) * 16777619u;
	return (hash & 0x7ffffff) + 1;		/* 0 is none to the client */
}

static void
put_bindings(struct realtime *r, struct json_value list)
{
	static const char *const without[] = {"id", NULL};
	struct buffer out;
	char	extra[32];

	buffer_init(&out);
	buffer_puts(&out, "{\"postgres_changes\":[");
	for (struct json_value v = json_first(list); json_type(list) == JSON_ARRAY && json_type(v) != JSON_ABSENT; v = json_next(v))
		if (json_type(v) == JSON_OBJECT)
		{
			snprintf(extra, sizeof(extra), "\"id\":%u", binding_id(v));
			buffer_puts(&out, r->binding_count++ > 0 ? "," : "");
			request_rewrite(&out, v, without, extra);
		}
	buffer_puts(&out, "]}");
	r->response = buffer_take(&out, NULL);
	memory_require(r->response);
}

/* Whatever is missing or of another type has its default, as with Supabase. */
static struct realtime *
read_config(struct json_value payload)
{
	struct realtime *r = memory_new(sizeof(*r));
	struct json_value config = json_member(payload, "config");
	struct json_value broadcast = json_member(config, "broadcast");
	struct json_value presence = json_member(config, "presence");

	r->is_private = read_flag(config, "private");
	r->acks_broadcasts = read_flag(broadcast, "ack");
	r->hears_itself = read_flag(broadcast, "self");
	r->has_presence = read_flag(presence, "enabled");
	r->is_supabase = json_type(json_member(config, "postgres_changes")) == JSON_ARRAY;
	r->is_anonymous = read_flag(presence, "anonymous");
	if (!json_string(json_member(presence, "key"), r->presence_key, sizeof(r->presence_key)))
		r->presence_key[0] = '\0';
	put_bindings(r, json_member(config, "postgres_changes"));
	return r;
}

void
realtime_put_reason(struct buffer *out, const char *code, const char *text)
{
	buffer_puts(out, "{\"reason\":\"");
	buffer_json_escaped(out, code, strlen(code));
	buffer_puts(out, ": ");
	buffer_json_escaped(out, text, strlen(text));
	buffer_puts(out, "\"}");
}

void
realtime_refuse(struct session *s, const char *code, const char *text)
{
	struct buffer response;

	buffer_init(&response);
	realtime_put_reason(&response, code, text);
	session_reply_to_join(s, false, &response);
	buffer_free(&response);
	session_close(s, NULL, NULL);
}

void
realtime_system(struct session *s, const char *extension, bool is_ok, const char *text)
{
	struct buffer payload;

	buffer_init(&payload);
	buffer_printf(&payload, "{\"extension\":\"%s\",\"status\":\"%s\",\"message\":", extension, is_ok ? "ok" : "error");
	buffer_json_string(&payload, text, strlen(text));
	buffer_puts(&payload, ",\"channel\":");
	buffer_json_string(&payload, realtime_name(s), strlen(realtime_name(s)));
	buffer_putc(&payload, '}');
	session_put_event(s, NULL, "system", payload.data, payload.len);
	buffer_free(&payload);
}

void
realtime_token_problem(const char *problem, const char **code, const char **text)
{
	*code = "InvalidJWTToken";
	*text = problem;
	if (strcmp(problem, "token has expired") == 0)
		*text = "Token has expired";
	else if (strcmp(problem, "bad signature") == 0)
	{
		*code = "JwtSignatureError";
		*text = "Failed to validate JWT signature";
	}
	else if (strcmp(problem, "malformed token") == 0)
	{
		*code = "MalformedJWT";
		*text = "The token provided is not a valid JWT";
	}
	else if (strcmp(problem, "token has no expiry (exp)") == 0 || strcmp(problem, "the token names no role") == 0)
		*text = "Fields `role` and `exp` are required in JWT";
}

/* The join's last step, or that of a new token. */
static void
answer_join(struct session *s)
{
	struct realtime *r = s->realtime;
	struct buffer response;

	if (s->state == SESSION_AUTHENTICATED)
		session_enter(s, SESSION_CATCHING_UP);
	if (r->is_answered)
		return;
	r->is_answered = true;
	buffer_init(&response);
	buffer_puts(&response, r->response);
	session_reply_to_join(s, true, &response);
	buffer_free(&response);
	entrance_enter(s);
}

static void
go_on(struct session *s)
{
	struct realtime *r = s->realtime;

	r->step = REALTIME_READY;
	answer_join(s);
}

static void
ask_rights(struct session *s)
{
	s->realtime->step = REALTIME_RIGHTS;
	if (entrance_ask(s) != ENTRANCE_GRANTED)
		return;
	s->realtime->step = REALTIME_CHANGES;
	go_on(s);
}

void
realtime_join(struct session *s, const struct message *m, struct token *identity, int64_t now_ms)
{
	s->kind = SESSION_REALTIME;
	s->realtime = read_config(m->payload);
	s->realtime->begun_ms = now_ms;
	session_begin(s, m, identity, now_ms);
	if (realtime_name(s)[0] == '\0')
		realtime_refuse(s, "TopicNameRequired", "You must provide a topic name");
	else
		ask_rights(s);
}

void
realtime_renew(struct session *s, struct token *identity)
{
	token_free(&s->identity);
	s->identity = *identity;
	*identity = (struct token){0};
	ask_rights(s);
}

enum request_kind
realtime_request(struct session *s, struct buffer *out)
{
	struct realtime *r = s->realtime;

	r->has_asked_rights = r->is_rights_due;
	r->is_rights_due = false;
	buffer_puts(out, r->has_asked_rights ? realtime_name(s) : "{}");
	return r->has_asked_rights ? REQUEST_TOPIC : REQUEST_STATE;
}

void
realtime_answer(struct session *s, const struct answer *a)
{
	struct realtime *r = s->realtime;

	if (!r->has_asked_rights)
		go_on(s);
	else if (entrance_answer(s, a) != ENTRANCE_GRANTED)
		return;
	else if (r->step == REALTIME_RIGHTS)
	{
		r->step = REALTIME_CHANGES;
		go_on(s);
	}
	else if (r->step == REALTIME_CHANGES)		/* its request was used up for this one */
		session_want_pull(s);
}

void
realtime_tick(struct session *s)
{
	entrance_tick(s);
}

void
realtime_deliver(struct session *s, struct batches *b, const struct stream_change *const *changes, size_t count)
{
	(void) s;
	(void) b;
	(void) changes;
	(void) count;
}
