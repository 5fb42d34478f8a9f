/* entrance.c - who may be in a realtime: topic and do what there: asked at the join, with a new token, and whenever it may have changed. */
/* SPDX-License-Identifier: PostgreSQL */
#include "entrance.h"

#include <string.h>

#include "chance.h"
#include "realtime.h"
#include "rooms.h"
#include "topics.h"

#define RECHECK_MS 60000			/* rights may depend on time, or on tables that nobody watches */
#define RECHECK_AGAIN_MS 1000		/* the stream may run ahead of what a query sees */
#define RIGHTS_VALUES_MAX 100

static enum entrance
refuse(struct session *s, const char *code, const char *text, bool names_topic)
{
	struct buffer full;

	buffer_init(&full);
	buffer_printf(&full, "%s%s", text, names_topic ? realtime_name(s) : "");
	if (!s->realtime->is_answered)
		realtime_refuse(s, code, full.data);
	else
	{
		realtime_system(s, "system", false, full.data);
		session_close(s, "phx_close", NULL);
	}
	buffer_free(&full);
	return ENTRANCE_REFUSED;
}

/* A public topic serves everybody, or nobody: then only changes of rows can come by it. One that could carry nothing is refused. */
static enum entrance
enter_public(struct session *s)
{
	struct realtime *r = s->realtime;

	if (rooms_allow_public(s->rooms))
		r->rights = (struct rights){true, true, true};
	else if (r->has_presence || r->binding_count == 0)
		return refuse(s, "PrivateOnly", "This project only allows private channels", false);
	return ENTRANCE_GRANTED;
}

enum entrance
entrance_ask(struct session *s)
{
	if (strlen(realtime_name(s)) > TOPIC_NAME_MAX)
		return refuse(s, "TopicNameTooLong", "A topic has at most 240 bytes", false);
	if (!s->realtime->is_private)
		return enter_public(s);
	s->realtime->is_rights_due = true;
	session_want_pull(s);
	return ENTRANCE_ASKED;
}

static void
lose_presence(struct session *s)
{
	rooms_untrack(s->rooms, s);
	s->realtime->sees_presence = false;
}

static enum entrance
use_rights(struct session *s, struct rights rights)
{
	struct realtime *r = s->realtime;

	r->rights = rights;
	if (!rights.join && r->is_answered)
		return refuse(s, "Unauthorized", "You no longer have permission to read from this Channel topic: ", true);
	if (!rights.join)
		return refuse(s, "Unauthorized", "You do not have permissions to read from this Channel topic: ", true);
	if (!rights.presence)
		lose_presence(s);
	r->recheck_ms = s->now_ms + (r->is_recheck_doubled ? RECHECK_AGAIN_MS : RECHECK_MS + chance_below(RECHECK_MS / 4));
	r->is_recheck_doubled = false;
	return ENTRANCE_GRANTED;
}

/* Without an answer a client that is there stays; one that comes, or has become somebody else, tries again. */
static enum entrance
go_without_answer(struct session *s, bool is_recheck)
{
	s->realtime->recheck_ms = s->now_ms + RECHECK_AGAIN_MS + chance_below(RECHECK_AGAIN_MS);
	if (is_recheck)
		return ENTRANCE_GRANTED;
	if (!s->realtime->is_answered)
		return refuse(s, "UnableToConnectToProject", "Realtime was unable to connect to the project database", false);
	session_close(s, "phx_error", "the rights in this topic could not be read");
	return ENTRANCE_REFUSED;
}

enum entrance
entrance_answer(struct session *s, const struct answer *a)
{
	bool	is_recheck = s->realtime->step != REALTIME_RIGHTS;
	struct json *doc;
	enum entrance result;

	if (a->status != ANSWER_OK && request_error(a).is_passing)
		return go_without_answer(s, is_recheck);
	doc = a->status == ANSWER_OK ? json_parse(a->json, a->len, RIGHTS_VALUES_MAX) : NULL;
	result = use_rights(s, rights_read(json_root(doc)));
	json_free(doc);
	return result;
}

void
entrance_enter(struct session *s)
{
	struct realtime *r = s->realtime;

	if (r->rights.join)
		rooms_enter(s->rooms, s);
	if (r->has_presence && r->rights.presence)
		rooms_show_presence(s->rooms, s);
	else if (r->has_presence)
		realtime_system(s, "system", false, "You do not have permissions to see who is present in this Channel topic");
}

void
entrance_recheck(struct session *s, int64_t at_ms)
{
	struct realtime *r = s->realtime;

	if (at_ms < r->recheck_ms)
		r->recheck_ms = at_ms;
	r->is_recheck_doubled = true;
}

void
entrance_tick(struct session *s)
{
	struct realtime *r = s->realtime;

	if (!r->is_answered || !r->is_private || s->now_ms < r->recheck_ms || r->is_rights_due)
		return;
	r->recheck_ms = s->now_ms + RECHECK_MS;		/* the answer sets another time */
	r->is_rights_due = true;
	session_want_pull(s);
}
