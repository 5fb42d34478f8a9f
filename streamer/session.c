/* session.c - one joined topic: its state and its place in the stream. */
/* SPDX-License-Identifier: PostgreSQL */
#include "session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "batch.h"
#include "log.h"
#include "memory.h"
#include "metrics.h"
#include "realtime.h"
#include "resume.h"

#define EXPIRY_GRACE_S 30

/* From here on the stream sends what pull has not counted, and may say so with the cursor that came from pull. */
static void
mark_streamed(struct session *s)
{
	struct position p;
	struct buffer text;

	if (!s->subscription.has_verified || s->queued == NULL || !position_parse(&p, s->queued->text, strlen(s->queued->text)))
		return;
	p.lsn -= p.lsn % 8 == 0;
	buffer_init(&text);
	position_put(&text, &p);
	memory_require(text.failed ? NULL : text.data);
	cursor_release(s->queued);
	s->queued = cursor_new(text.data, text.len);
	buffer_free(&text);
	position_free(&p);
}

static void
arrive(struct session *s, enum session_state state)
{
	switch (state)
	{
		case SESSION_NEW:
		case SESSION_AUTHENTICATED:
			s->pull_at_ms = 0;
			break;
		case SESSION_LIVE:
			s->pull_at_ms = 0;
			mark_streamed(s);
			break;
		case SESSION_CATCHING_UP:
			break;
		case SESSION_CLOSING:
			s->calls->unsubscribe(s->calls->hub, s);
			s->pull_at_ms = 0;
			standing_leave(s->calls->standings, s->standing, s->now_ms);
			s->standing = NULL;
			break;
	}
}

/* What is drafted for the end of this turn belongs to a live session only. */
static void
leave(struct session *s, enum session_state state)
{
	if (state != SESSION_LIVE)
		return;
	if (s->kind == SESSION_REALTIME)
		s->resume = s->calls->given(s->calls->hub, s);
	s->calls->discard(s->calls->hub, s);
}

void
session_enter(struct session *s, enum session_state state)
{
	if (s->state == state)
		return;
	if (s->state == SESSION_CLOSING || (state < s->state && !(s->state == SESSION_LIVE && state == SESSION_CATCHING_UP)))
		abort();
	leave(s, s->state);
	s->state = state;
	arrive(s, state);
}

struct session *
session_new(uint64_t id, const struct session_calls *calls, void *connection, const struct feed *feed)
{
	struct session *s = memory_new(sizeof(*s));

	s->id = id;
	s->calls = calls;
	s->connection = connection;
	s->feed = feed;
	s->state = SESSION_NEW;
	s->topic = s->ref = s->join_ref = "";
	return s;
}

void
session_free(struct session *s)
{
	token_free(&s->identity);
	free(s->names);
	free(s->device_id);
	free(s->base);
	free(s->token);
	free(s->part);
	cursor_release(s->position);
	cursor_release(s->queued);
	snapshot_free(&s->snapshot);
	realtime_free(s->realtime);
	free(s);
}

void
session_want_pull(struct session *s)
{
	s->pull_at_ms = 0;
	if (s->is_pull_wanted)
		return;
	s->is_pull_wanted = true;
	s->calls->want_pull(s->connection, s);
}

static char *
raw_text(struct json_value v)
{
	return json_type(v) == JSON_STRING ? memory_text(v.raw, v.len) : NULL;
}

/* In one piece of memory: there may be many thousands of sessions. */
static void
keep_names(struct session *s, const char *topic, const char *ref, const char *join_ref)
{
	size_t	topic_size = strlen(topic) + 1;
	size_t	ref_size = strlen(ref) + 1;

	s->names = memory_new(topic_size + ref_size + strlen(join_ref) + 1);
	s->topic = memcpy(s->names, topic, topic_size);
	s->ref = memcpy(s->names + topic_size, ref, ref_size);
	s->join_ref = strcpy(s->names + topic_size + ref_size, join_ref);
}

void
session_begin(struct session *s, const struct message *m, struct token *identity, int64_t now_ms)
{
	s->now_ms = now_ms;
	keep_names(s, m->topic, m->ref, m->join_ref[0] != '\0' ? m->join_ref : m->ref);
	s->identity = *identity;
	*identity = (struct token){0};
	session_enter(s, SESSION_AUTHENTICATED);
}

void
session_join(struct session *s, const struct message *m, struct token *identity, int64_t now_ms)
{
	static const char *const without[] = {"access_token", "sync_token", "fields", "compress", NULL};
	struct buffer base;

	session_begin(s, m, identity, now_ms);
	s->device_id = raw_text(json_member(m->payload, "device_id"));
	s->token = raw_text(json_member(m->payload, "sync_token"));
	if (s->format == MESSAGE_ARRAYS && json_equals(json_member(m->payload, "compress"), "deflate"))
		s->format = MESSAGE_DEFLATED;
	s->wants_fields = json_equals(json_member(m->payload, "fields"), "changed");
	buffer_init(&base);
	request_rewrite(&base, m->payload, without, NULL);
	s->base = buffer_take(&base, NULL);
	memory_require(s->base);
	resume_recall(s);
	session_want_pull(s);
}

void
session_renew(struct session *s, struct token *identity)
{
	token_free(&s->identity);
	s->identity = *identity;
	*identity = (struct token){0};
	s->must_pull = true;
	session_pull_later(s, s->now_ms);
	session_want_pull(s);
}

static void
put_text(struct session *s, const struct buffer *text, struct cursor *cursor)
{
	memory_require(text->failed ? NULL : text->data);
	s->calls->put(s->connection, (struct outbox_entry){.frame = frame_text(text->data, text->len), .cursor = cursor_retain(cursor), .session = s->id});
}

void
session_put_event(struct session *s, const char *ref, const char *event, const char *payload, size_t len)
{
	struct buffer text;

	buffer_init(&text);
	message_put(&text, s->format, ref, ref, s->topic, event, payload, len);
	put_text(s, &text, NULL);
	buffer_free(&text);
}

void
session_reply_to_join(struct session *s, bool is_ok, const struct buffer *response)
{
	struct buffer text;

	metric_add_for(is_ok ? METRIC_JOINS : METRIC_JOINS_REFUSED, s->kind == SESSION_SYNC ? "sync" : "realtime", 1);
	buffer_init(&text);
	message_put_reply(&text, s->format, s->join_ref, s->ref, s->topic, is_ok, response->data, response->len);
	put_text(s, &text, NULL);
	buffer_free(&text);
}

void
session_announce(struct session *s, bool is_reply)
{
	struct buffer payload;

	buffer_init(&payload);
	buffer_printf(&payload, "{\"session\":\"%s\"}", s->part);
	if (is_reply)
		session_reply_to_join(s, true, &payload);
	session_put_event(s, NULL, "ready", payload.data, payload.len);
	buffer_free(&payload);
}

static void
close_with(struct session *s, const char *event, const char *reason, const char *message)
{
	struct buffer payload;

	if (s->state == SESSION_CLOSING)
		return;
	buffer_init(&payload);
	buffer_puts(&payload, "{");
	if (reason != NULL)
	{
		buffer_puts(&payload, "\"reason\":");
		buffer_json_string(&payload, reason, strlen(reason));
	}
	if (message != NULL)
	{
		buffer_puts(&payload, ",\"message\":");
		buffer_json_string(&payload, message, strlen(message));
	}
	buffer_puts(&payload, "}");
	if (event != NULL)
		session_put_event(s, s->join_ref, event, payload.data, payload.len);
	buffer_free(&payload);
	session_enter(s, SESSION_CLOSING);
	s->calls->closed(s->connection, s);
}

void
session_close(struct session *s, const char *event, const char *reason)
{
	close_with(s, event, reason, NULL);
}

void
session_fail(struct session *s, const char *code, const char *message)
{
	metric_add_for(METRIC_ERRORS, code, 1);
	close_with(s, "phx_error", code, message);
}

void
session_sent(struct session *s, struct cursor *position)
{
	cursor_retain(position);
	cursor_release(s->position);
	s->position = position;
}

void
session_pull_later(struct session *s, int64_t at_ms)
{
	if (s->state != SESSION_LIVE && s->state != SESSION_CATCHING_UP)
		return;
	if (s->kind == SESSION_REALTIME)
		resume_quiet(s);
	session_enter(s, SESSION_CATCHING_UP);
	s->must_pull = true;
	if (s->pull_at_ms == 0 || at_ms < s->pull_at_ms)
		s->pull_at_ms = at_ms;
}

/* One line for each cause and second: a whole hub may be told at once. */
static void
note_resync(const struct session *s, const char *reason)
{
	static char last[METRIC_LABEL_MAX];
	static int64_t last_ms;
	char	cause[METRIC_LABEL_MAX];

	metric_label(reason, cause);
	metric_add_for(METRIC_RESYNCS, cause, 1);
	if (strcmp(cause, last) == 0 && s->now_ms - last_ms < 1000)
		return;
	memcpy(last, cause, sizeof(last));
	last_ms = s->now_ms;
	log_event(LOG_LEVEL_INFO, "session_resync", "session=%" PRIu64 " cause=%s so_far=%.0f", s->id, cause, metric_value_for(METRIC_RESYNCS, cause));
}

static void
put_resync(struct session *s, const char *reason, int64_t delay_ms)
{
	struct buffer payload;

	note_resync(s, reason);
	buffer_init(&payload);
	buffer_puts(&payload, "{\"reason\":");
	buffer_json_string(&payload, reason, strlen(reason));
	buffer_printf(&payload, ",\"delay_ms\":%" PRId64 "}", delay_ms);
	session_put_event(s, NULL, "resync", payload.data, payload.len);
	buffer_free(&payload);
}

void
session_too_slow(struct session *s, int64_t now_ms, int64_t delay_ms)
{
	bool	must_pull = s->must_pull;

	session_resync(s, "too slow", now_ms, delay_ms);
	s->must_pull = must_pull;
}

void
session_resync(struct session *s, const char *reason, int64_t now_ms, int64_t delay_ms)
{
	if (s->state != SESSION_LIVE)
		return;
	if (s->kind == SESSION_REALTIME)
	{
		session_close(s, "phx_error", reason);		/* its client cannot pull: it joins again and reads what it shows */
		return;
	}
	session_pull_later(s, now_ms + delay_ms);
	put_resync(s, reason, delay_ms);
}

void
session_lose_feed(struct session *s, int64_t now_ms, int64_t delay_ms)
{
	s->now_ms = now_ms;
	if (s->kind == SESSION_REALTIME)
	{
		resume_quiet(s);
		return;
	}
	if (s->state != SESSION_LIVE && !s->is_quiet)
		return;
	session_enter(s, SESSION_CATCHING_UP);
	s->is_quiet = false;
	s->was_live = true;
	session_wait_for_feed(s);
	s->pull_at_ms = now_ms + delay_ms;		/* it has waited for the stream long enough */
}

void
session_feed_ready(struct session *s, int64_t now_ms, int64_t delay_ms)
{
	if ((!s->is_waiting && !s->is_quiet) || s->state != SESSION_CATCHING_UP)
		return;
	s->is_waiting = false;
	s->pull_at_ms = now_ms + delay_ms;
	if (s->was_live)
		put_resync(s, "the stream was interrupted", delay_ms);
	s->was_live = false;
}

/* Supabase's client has no token: it joins again and reads what it shows. */
void
session_start_anew(struct session *s, bool is_rolled_back, int64_t now_ms)
{
	s->now_ms = now_ms;
	s->must_pull = true;
	if (s->kind == SESSION_SYNC)
		s->is_anew |= is_rolled_back;
	else if (s->resume != 0 || s->state == SESSION_LIVE)
		session_close(s, "phx_error", "the server is not what it was");
}

void
session_tick(struct session *s, int64_t now_ms, int64_t unix_now)
{
	s->now_ms = now_ms;
	if (s->identity.expires_at != 0 && unix_now > s->identity.expires_at + EXPIRY_GRACE_S)
		session_close(s, "phx_error", "token_expired");
	else if (s->state == SESSION_LIVE && s->standing != NULL && now_ms >= s->look_at_ms)
		session_want_pull(s);
	else if (s->kind == SESSION_REALTIME && s->standing == NULL)
		realtime_tick(s);
	else if (s->state == SESSION_CATCHING_UP && s->pull_at_ms != 0 && now_ms >= s->pull_at_ms)
		session_want_pull(s);
}

static uint64_t
live_xmax(const struct session *s)
{
	return s->is_held ? s->ceiling_xmax : feed_cursor_xmax(s->feed);
}

struct cursor *
session_live_cursor(const struct session *s)
{
	struct cursor *newest = s->is_held ? s->ceiling : feed_cursor(s->feed);

	return cursor_at(newest != NULL && live_xmax(s) >= s->cursor_xmax ? newest : s->queued, feed_reached(s->feed));
}

void
session_send_live(struct session *s, struct frame *f, bool has_changes)
{
	struct cursor *cursor = session_live_cursor(s);

	if (cursor != s->queued)
	{
		cursor_retain(cursor);
		cursor_release(s->queued);
		s->queued = cursor;
		if (live_xmax(s) > s->cursor_xmax)
			s->cursor_xmax = live_xmax(s);
	}
	s->cursor_ms = s->now_ms;
	if (has_changes)
		s->sent_ms = s->now_ms;
	s->calls->put(s->connection, (struct outbox_entry){.frame = f, .cursor = cursor_retain(cursor), .session = s->id, .is_live = true});
}

void
session_deliver(struct session *s, struct batches *b, const struct stream_change *const *changes, size_t count, uint64_t hash)
{
	if (s->kind == SESSION_REALTIME)
		realtime_deliver(s, b, changes, count);
	else
		session_send_live(s, batches_frame(b, s->format, s->topic, session_live_cursor(s), changes, count, hash), true);
}
