/* realtime.c - a realtime: topic, as Supabase's client knows them: its config, the steps of its join, what its server says beside changes. */
/* SPDX-License-Identifier: PostgreSQL */
#include "realtime.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "entrance.h"
#include "chance.h"
#include "log.h"
#include "memory.h"

#define AGAIN_LEAST_MS 20			/* the answer was a moment too early for the ring */
#define AGAIN_MOST_MS 1000
#define LOOK_MS 30000				/* how often the rights of a live channel are read again, for membership that depends on the time */
#define RETRY_LEAST_MS 500			/* the database could not answer */
#define RETRY_MOST_MS 5000

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
	bindings_release(r->bindings);
	free(r->state);
	free(r->list);
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

/* Whatever is missing or of another type has its default, as with Supabase. */
static struct realtime *
read_config(struct json_value payload)
{
	struct realtime *r = memory_new(sizeof(*r));
	struct json_value config = json_member(payload, "config");
	struct json_value broadcast = json_member(config, "broadcast");
	struct json_value presence = json_member(config, "presence");
	struct json_value list = json_member(config, "postgres_changes");

	r->is_private = read_flag(config, "private");
	r->acks_broadcasts = read_flag(broadcast, "ack");
	r->hears_itself = read_flag(broadcast, "self");
	r->asks_readiness = read_flag(broadcast, "replication_ready");
	r->has_presence = read_flag(presence, "enabled");
	r->is_supabase = json_type(json_member(config, "postgres_changes")) == JSON_ARRAY;
	r->is_anonymous = read_flag(presence, "anonymous");
	if (!json_string(json_member(presence, "key"), r->presence_key, sizeof(r->presence_key)))
		r->presence_key[0] = '\0';
	r->binding_count = bindings_count(list);
	r->list = r->binding_count > 0 ? memory_text(list.raw, list.len) : NULL;
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

/* The reply repeats each binding as it came, with its id: the client takes them by their place. */
static void
reply(struct session *s)
{
	struct realtime *r = s->realtime;
	struct json *doc = r->list != NULL ? json_parse(r->list, strlen(r->list), INT_MAX) : NULL;
	struct buffer response;

	r->is_answered = true;
	buffer_init(&response);
	buffer_puts(&response, "{\"postgres_changes\":");
	bindings_echo(&response, json_root(doc));
	buffer_putc(&response, '}');
	session_reply_to_join(s, true, &response);
	buffer_free(&response);
	json_free(doc);
}

/* What became of the bindings. Those that can be served are, whatever the others are. */
static void
tell_bindings(struct session *s)
{
	const struct bindings *b = s->realtime->bindings;

	if (b == NULL)
		return;
	for (size_t i = 0; i < bindings_problem_count(b); i++)
		realtime_system(s, "postgres_changes", false, bindings_problem(b, i));
	if (bindings_problem_count(b) == 0)
		realtime_system(s, "postgres_changes", true, "Subscribed to PostgreSQL");
}

/* The join's last step, or that of a new token. */
static void
be_ready(struct session *s)
{
	bool	is_join = !s->realtime->is_answered;

	s->realtime->step = REALTIME_READY;
	if (s->state == SESSION_AUTHENTICATED)
		session_enter(s, SESSION_CATCHING_UP);
	if (is_join)
		reply(s);
	tell_bindings(s);
	if (is_join)
		entrance_enter(s);
	if (is_join && s->realtime->asks_readiness)
		realtime_system(s, "system", true, "Replication connection established");		/* they come by the stream that every join waits for */
}

static void
ask_state(struct session *s)
{
	s->realtime->is_state_due = true;
	session_want_pull(s);
}

static void
go_on(struct session *s)
{
	struct realtime *r = s->realtime;

	if (r->binding_count > 0)
		ask_state(s);
	else
		be_ready(s);
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

/* Nothing goes out under the old rights from here on; what comes meanwhile waits in the ring. */
void
realtime_renew(struct session *s, struct token *identity)
{
	token_free(&s->identity);
	s->identity = *identity;
	*identity = (struct token){0};
	if (s->state == SESSION_LIVE)
		session_pull_later(s, s->now_ms);
	ask_rights(s);
}

enum request_kind
realtime_request(struct session *s, struct buffer *out)
{
	struct realtime *r = s->realtime;

	r->has_asked_rights = r->is_rights_due;
	r->is_rights_due = false;
	if (r->has_asked_rights)
	{
		buffer_puts(out, realtime_name(s));
		return REQUEST_TOPIC;
	}
	r->is_state_due = false;
	bindings_request(out, r->list, feed_tables(s->feed));
	return REQUEST_STATE;
}

static void
again(struct session *s)
{
	session_try_again(s, AGAIN_LEAST_MS, AGAIN_MOST_MS);
}

/* In one turn: what was released before goes to whoever is live, then this channel is one of them, the join is answered, and what the ring has beyond the
 * snapshot, or beyond what it had before a break, follows the reply. false: a moment too early. */
static bool
go_live(struct session *s, struct json_value state, struct snapshot *snapshot)
{
	struct realtime *r = s->realtime;
	const struct sync_tables *known = feed_tables(s->feed);
	struct bindings *b;
	struct buffer wanted;
	struct json *doc;
	bool	is_live;

	s->calls->settle(s->calls->hub);
	if (s->state == SESSION_CLOSING || feed_handoff(s->feed, snapshot, s->identity.subject) != HANDOFF_OK)
		return false;
	if (s->resume != 0 && feed_handoff(s->feed, &s->snapshot, NULL) != HANDOFF_OK)
	{
		session_close(s, "phx_error", "the stream has gone on too far");
		return true;
	}
	b = bindings_get(s->format, s->topic, r->list, state, known);
	if (b == NULL)
		return false;
	buffer_init(&wanted);
	bindings_state(b, &wanted, state, known);
	memory_require(wanted.failed ? NULL : wanted.data);
	doc = json_parse(wanted.data, wanted.len, INT_MAX);
	is_live = s->calls->subscribe(s->calls->hub, s, json_root(doc));
	json_free(doc);
	buffer_free(&wanted);
	bindings_release(is_live ? r->bindings : b);
	if (!is_live)
		return false;
	r->bindings = b;
	s->backoff_ms = 0;
	if (s->resume == 0)
	{
		snapshot_free(&s->snapshot);
		s->snapshot = *snapshot;
		*snapshot = (struct snapshot){0};
	}
	s->is_quiet = s->must_pull = false;
	s->look_at_ms = s->now_ms + LOOK_MS / 2 + chance_below(LOOK_MS / 2);
	session_enter(s, SESSION_LIVE);
	if (r->step != REALTIME_READY)
		be_ready(s);
	s->calls->replay(s->calls->hub, s);
	return true;
}

/* The client has no cursor that would bring what a gain or loss of rights means for it. */
static void
tell_rights(struct session *s, const char *rights)
{
	struct realtime *r = s->realtime;

	if (r->state != NULL && strcmp(r->state, rights) != 0)
		realtime_system(s, "postgres_changes", true, "Your rights have changed: read again what you show");
	free(r->state);
	r->state = memory_string(rights);
}

static void
take_state(struct session *s, const struct answer *a)
{
	struct json *state = json_parse(a->json, a->len, INT_MAX);
	struct snapshot snapshot;

	if (state == NULL || !snapshot_parse(&snapshot, a->snapshot, strlen(a->snapshot)))
	{
		log_event(LOG_LEVEL_ERROR, "state_unreadable", "session=%" PRIu64, s->id);
		again(s);
	}
	else
	{
		if (!go_live(s, json_root(state), &snapshot))
			again(s);
		else if (s->state == SESSION_LIVE)
			tell_rights(s, a->json);
		snapshot_free(&snapshot);
	}
	json_free(state);
}

static void
take_refusal(struct session *s, const struct answer *a)
{
	struct request_error e = request_error(a);
	char	text[REQUEST_ERROR_TEXT_MAX];

	request_error_text(&e, text);
	if (e.is_passing)
		session_try_again(s, RETRY_LEAST_MS, RETRY_MOST_MS);
	else if (s->realtime->is_answered)
		session_fail(s, e.code, text);
	else
		realtime_refuse(s, strcmp(e.code, "forbidden") == 0 ? "Unauthorized" : "UnableToConnectToProject", text[0] != '\0' ? text : e.code);
}

/* A live channel had its rights looked up again. Others than before are taken on as at a join. */
static void
compare_state(struct session *s, const struct answer *a)
{
	s->look_at_ms = s->now_ms + LOOK_MS / 2 + chance_below(LOOK_MS / 2);
	if (a->status != ANSWER_OK ? !request_error(a).is_passing : s->realtime->state == NULL || strcmp(a->json, s->realtime->state) != 0)
		session_pull_later(s, s->now_ms);
}

/* If another one is wanted already, that is for a reason which this one did not know. */
static void
take_answer(struct session *s, const struct answer *a)
{
	if (s->realtime->is_state_due)
		return;
	if (s->state == SESSION_LIVE)
		compare_state(s, a);
	else if (a->status == ANSWER_OK)
		take_state(s, a);
	else
		take_refusal(s, a);
}

void
realtime_answer(struct session *s, const struct answer *a)
{
	struct realtime *r = s->realtime;

	if (!r->has_asked_rights)
		take_answer(s, a);
	else if (entrance_answer(s, a) != ENTRANCE_GRANTED)
		return;
	else if (r->step == REALTIME_RIGHTS)
	{
		r->step = REALTIME_CHANGES;
		go_on(s);
	}
	else if (r->is_state_due)		/* its request was used up for this one */
		session_want_pull(s);
}

static bool
is_state_wanted(const struct session *s)
{
	if (s->realtime->binding_count == 0 || s->realtime->is_state_due || s->realtime->step == REALTIME_RIGHTS)
		return false;
	if (s->state == SESSION_LIVE)
		return s->now_ms >= s->look_at_ms;
	return s->pull_at_ms != 0 && s->now_ms >= s->pull_at_ms && feed_is_ready(s->feed);
}

void
realtime_tick(struct session *s)
{
	struct realtime *r = s->realtime;

	if (!r->is_answered && s->now_ms - r->begun_ms > REALTIME_JOIN_MS)
	{
		realtime_refuse(s, "UnableToConnectToProject", feed_is_ready(s->feed) ? "The database did not answer in time" : "The stream of changes is not ready yet");
		return;
	}
	if (is_state_wanted(s))
		ask_state(s);
	entrance_tick(s);
}

/* A channel that lags too far behind is closed on the way. */
void
realtime_deliver(struct session *s, struct batches *b, const struct stream_change *const *changes, size_t count)
{
	for (size_t i = 0; i < count && s->state == SESSION_LIVE; i++)
	{
		struct frame *const *frames = bindings_frames(s->realtime->bindings, b, feed_tables(s->feed), changes[i]);

		for (; *frames != NULL && s->state == SESSION_LIVE; frames++)
		{
			(*frames)->committed_us = b->is_replay ? 0 : changes[i]->committed_us;
			s->calls->put(s->connection, (struct outbox_entry){.frame = frame_retain(*frames), .session = s->id, .is_live = true});
		}
	}
}
