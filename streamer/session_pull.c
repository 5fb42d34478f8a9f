/* session_pull.c - a session's pulls: what is asked, what a page brings, the hand-off from the last of a round to the stream, and what follows where one fails. */
/* SPDX-License-Identifier: PostgreSQL */
#include "session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

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
#define STATE_VALUES_MAX 1000000

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
