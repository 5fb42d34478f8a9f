/* session.c - one joined topic: its state, its place in the stream, its pulls. */
/* SPDX-License-Identifier: PostgreSQL */
#include "session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "batch.h"
#include "chance.h"
#include "control.h"
#include "log.h"
#include "memory.h"
#include "metrics.h"
#include "page.h"
#include "realtime.h"
#include "resume.h"

#define WAITING_PULL_MS 3000		/* how often a session pulls while there is no stream */
#define AGAIN_LEAST_MS 20			/* the pull was a moment too early for the ring */
#define AGAIN_MOST_MS 1000
#define RETRY_LEAST_MS 500			/* the database could not answer */
#define RETRY_MOST_MS 5000
#define EXPIRY_GRACE_S 30
#define STATE_VALUES_MAX 1000000

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

/* base is an object; its closing brace makes room for the token. */
enum request_kind
session_pull_request(struct session *s, struct buffer *out)
{
	size_t	len;

	s->is_pull_wanted = false;
	if (resume_wants_look(s))
	{
		buffer_puts(out, s->base);
		return REQUEST_STATE;
	}
	if (s->state != SESSION_LIVE && resume_try(s))
		return REQUEST_NONE;
	if (s->kind == SESSION_REALTIME)
		return realtime_request(s, out);
	if (s->state == SESSION_LIVE)
		return REQUEST_NONE;
	if (!s->is_mid_round && control_off("visible"))		/* as if all that was decoded before a pull could be seen in it */
		s->resume = s->calls->given(s->calls->hub, s);
	len = strlen(s->base) - 1;
	buffer_put(out, s->base, len);
	if (s->part != NULL && s->position != NULL)
		buffer_printf(out, "%s\"sync_token\":\"%s.%s\"", len > 1 ? "," : "", s->part, s->is_anew ? "" : s->position->text);
	else if (s->token != NULL)
	{
		buffer_puts(out, len > 1 ? ",\"sync_token\":" : "\"sync_token\":");
		buffer_puts(out, s->token);
	}
	buffer_putc(out, '}');
	return REQUEST_CATCH_UP;
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

static void
put_page(struct session *s, const struct page *page)
{
	struct cursor *cursor = cursor_new(page->position, strlen(page->position));
	struct buffer payload;

	buffer_init(&payload);
	page_put(&payload, page);
	memory_require(payload.failed ? NULL : payload.data);
	s->calls->put(s->connection, (struct outbox_entry){.frame = batch_frame(s->format, s->topic, payload.data, payload.len), .cursor = cursor_retain(cursor), .session = s->id});
	cursor_release(s->queued);
	s->queued = cursor;
	s->is_mid_round = page->has_more;
	s->cursor_ms = s->now_ms;
	buffer_free(&payload);
}

void
session_put_position(struct session *s, const char *position, size_t len)
{
	char   *text = memory_text(position, len);
	struct json *doc = json_parse("[]", 2, 1);
	struct page page = {.changes = json_root(doc), .token = s->part, .position = text};

	put_page(s, &page);
	json_free(doc);
	free(text);
}

/* A page that tells the client nothing but a newer cursor is left out: the next batch carries one. */
static bool
is_news(const struct session *s, const struct page *page, bool is_new_part)
{
	return is_new_part || page->has_more || s->is_mid_round || s->queued == NULL || !page_is_empty(page);
}

/* `ready` announces a session part; it is in force with the batch behind it: with an older position it would claim rows still to come. */
static void
send_page(struct session *s, const struct page *page)
{
	bool	is_first = s->part == NULL;
	bool	is_new_part = is_first || strcmp(s->part, page->token) != 0;

	if (is_new_part)
	{
		free(s->part);
		s->part = memory_string(page->token);
	}
	if (is_first)
		session_enter(s, SESSION_CATCHING_UP);
	if (is_new_part)
		session_announce(s, is_first);
	if (is_news(s, page, is_new_part))
		put_page(s, page);
}

void
session_wait_for_feed(struct session *s)
{
	s->is_waiting = true;
	s->pull_at_ms = s->now_ms + WAITING_PULL_MS * 3 / 4 + chance_below(WAITING_PULL_MS / 2);
}

void
session_try_again(struct session *s, int64_t least_ms, int64_t most_ms)
{
	s->backoff_ms = s->backoff_ms * 2 < least_ms ? least_ms : s->backoff_ms * 2;
	if (s->backoff_ms > most_ms)
		s->backoff_ms = most_ms;
	s->pull_at_ms = s->now_ms + s->backoff_ms / 2 + chance_below(s->backoff_ms);
}

/* The hand-off: in one turn, what was released before goes to those who are live already, then this session gets all of the ring that its
 * snapshot does not see, then it is live. So nothing falls between, and nothing comes out of order. */
enum handoff
session_enter_stream(struct session *s, struct json_value state, struct snapshot *from)
{
	if (!s->calls->subscribe(s->calls->hub, s, state))
		return HANDOFF_AGAIN;
	s->backoff_ms = 0;
	s->is_waiting = s->was_live = s->is_quiet = s->must_pull = false;
	snapshot_free(&s->snapshot);
	s->snapshot = *from;
	*from = (struct snapshot){0};
	session_enter(s, SESSION_LIVE);
	s->calls->replay(s->calls->hub, s);
	return HANDOFF_OK;
}

static void
go_live(struct session *s, const char *state_text, struct json_value state, struct position *p)
{
	enum handoff handoff;

	s->calls->settle(s->calls->hub);
	handoff = feed_handoff(s->feed, &p->snapshot, s->identity.subject);
	if (handoff == HANDOFF_OK && p->timeline != feed_timeline(s->feed))		/* one of the two is on a server that was left */
		handoff = HANDOFF_AGAIN;
	if (handoff == HANDOFF_OK)
	{
		s->cursor_xmax = p->snapshot.xmax;
		resume_remember(s, state_text);
		handoff = session_enter_stream(s, state, &p->snapshot);
	}
	if (handoff == HANDOFF_WAIT)
		session_wait_for_feed(s);
	else if (handoff == HANDOFF_AGAIN)
		session_try_again(s, AGAIN_LEAST_MS, AGAIN_MOST_MS);
	else
		metric_add_for(METRIC_CATCH_UPS, "pull", 1);
}

/*
 * Later pages are read in younger snapshots than the round's: a row that was written over before its page came is not among them, and its next version
 * says only what changed since one that the client never got. What the last page's snapshot may have seen is sent whole.
 */
static void
note_younger_pages(struct session *s, const struct answer *a, bool had_pages)
{
	struct snapshot now;

	s->whole_below = 0;
	if (!had_pages || a->snapshot == NULL || !snapshot_parse(&now, a->snapshot, strlen(a->snapshot)))
		return;
	s->whole_below = now.xmax;
	snapshot_free(&now);
}

static void
round_ended(struct session *s, const struct page *page, const char *state_text)
{
	struct json *state = json_parse(state_text, strlen(state_text), STATE_VALUES_MAX);
	struct position p;

	if (state == NULL || !position_parse(&p, page->position, strlen(page->position)))
	{
		log_event(LOG_LEVEL_ERROR, "pull_unreadable", "session=%" PRIu64 " what=%s", s->id, state == NULL ? "state" : "position");
		session_try_again(s, RETRY_LEAST_MS, RETRY_MOST_MS);
	}
	else
	{
		go_live(s, state_text, json_root(state), &p);
		position_free(&p);
	}
	json_free(state);
}

static void
pull_failed(struct session *s, const struct answer *a)
{
	struct request_error e = request_error(a);
	char	text[REQUEST_ERROR_TEXT_MAX];
	struct buffer response;

	if (s->state == SESSION_CATCHING_UP && e.is_passing)
	{
		session_try_again(s, RETRY_LEAST_MS, RETRY_MOST_MS);
		return;
	}
	request_error_text(&e, text);
	if (s->state == SESSION_CATCHING_UP)
	{
		session_fail(s, e.code, text);
		return;
	}
	metric_add_for(METRIC_ERRORS, e.code, 1);
	buffer_init(&response);
	message_error_object(&response, e.code, text, e.hint);
	session_reply_to_join(s, false, &response);
	buffer_free(&response);
	session_close(s, NULL, NULL);
}

void
session_pull_answer(struct session *s, const struct answer *a, int64_t now_ms)
{
	struct answer unreadable = {.status = ANSWER_REFUSED};
	struct page page = {0};

	s->now_ms = now_ms;
	if (s->is_looking)
	{
		resume_answer(s, a);
		return;
	}
	if (s->kind == SESSION_REALTIME && s->state != SESSION_CLOSING)
	{
		realtime_answer(s, a);
		return;
	}
	if (s->state != SESSION_AUTHENTICATED && s->state != SESSION_CATCHING_UP)
		return;
	if (a->status != ANSWER_OK)
		pull_failed(s, a);
	else if (!page_read(&page, a->json, a->len))
	{
		log_event(LOG_LEVEL_ERROR, "pull_unreadable", "session=%" PRIu64 " what=page", s->id);
		pull_failed(s, &unreadable);
	}
	else
	{
		s->is_anew = false;
		note_younger_pages(s, a, s->is_mid_round);
		send_page(s, &page);
		if (page.has_more)
			session_want_pull(s);
		else if (!s->is_pull_wanted)		/* else another one is wanted already, for a reason this one did not know */
			round_ended(s, &page, a->state);
	}
	page_free(&page);
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
