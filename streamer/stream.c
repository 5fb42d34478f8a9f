/* stream.c - server-sent events: one session whose frames leave as an HTTP response instead of a WebSocket. */
/* SPDX-License-Identifier: PostgreSQL */
#include "stream.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "chance.h"
#include "memory.h"

#define RETRY_LEAST_MS 1000		/* how long clients are asked to wait before they connect again: spread, so that they do not all come at once */
#define RETRY_SPREAD_MS 4000

static const char ready_head[] = "event: ready\ndata: {\"session\":\"";
static const char good_head[] = "event: phx_reply\ndata: {\"status\":\"ok\"";
static const char bad_head[] = "event: phx_reply\ndata: {\"status\":\"error\",\"response\":";

struct stream
{
	struct connection *connection;
	enum stream_state state;
	bool	is_ending;
	char   *part;			/* owned: session part in force with the next batch; NULL before `ready` */
	char   *refusal;		/* owned */
};

struct stream *
stream_new(struct connections *all, void *socket, const char *token, const char *payload, int64_t now_ms, int64_t unix_now)
{
	struct stream *s = memory_new(sizeof(*s));
	struct handshake h = {.format = MESSAGE_EVENTS, .bearer = token};
	struct buffer join;

	buffer_init(&join);
	buffer_printf(&join, "[\"1\",\"1\",\"sync:stream\",\"phx_join\",%s]", payload);
	memory_require(join.failed ? NULL : join.data);
	s->connection = connection_new(all, socket, &h, now_ms, unix_now);
	connection_message(s->connection, join.data, join.len, false, now_ms, unix_now);
	buffer_free(&join);
	return s;
}

void
stream_free(struct stream *s)
{
	if (s == NULL)
		return;
	connection_free(s->connection);
	free(s->part);
	free(s->refusal);
	free(s);
}

void
stream_end(struct stream *s)
{
	s->is_ending = true;
}

static bool
begins(const char *text, size_t len, const char *head, size_t head_len)
{
	return len > head_len && memcmp(text, head, head_len) == 0;
}

static void
take_part(struct stream *s, const char *text, size_t len)
{
	const char *end = memchr(text, '"', len);

	free(s->part);
	s->part = memory_text(text, end != NULL ? (size_t) (end - text) : 0);
}

/* The refusal's text is the response alone: from after the head up to the brace that closes the reply. */
static void
take_reply(struct stream *s, struct buffer *out, const char *text, size_t len)
{
	if (begins(text, len, good_head, sizeof(good_head) - 1))
	{
		s->state = STREAM_OPEN;
		buffer_printf(out, "retry: %" PRId64 "\n\n", RETRY_LEAST_MS + chance_below(RETRY_SPREAD_MS));
	}
	else if (begins(text, len, bad_head, sizeof(bad_head) - 1) && len - sizeof(bad_head) + 1 >= 3)
	{
		s->state = STREAM_REFUSED;
		s->refusal = memory_text(text + sizeof(bad_head) - 1, len - sizeof(bad_head) + 1 - 3);
	}
}

/* An event's id is the sync token that its batch leads to, so that a client which connects again says where it stands. */
static void
put_entry(struct stream *s, struct buffer *out, const struct outbox_entry *e)
{
	size_t	len;
	const char *text = frame_payload(e->frame, &len);

	if (frame_is_ping(e->frame))
		buffer_puts(out, ":\n\n");
	else if (s->state == STREAM_WAITING)
		take_reply(s, out, text, len);
	else
	{
		if (begins(text, len, ready_head, sizeof(ready_head) - 1))
			take_part(s, text + sizeof(ready_head) - 1, len - sizeof(ready_head) + 1);
		if (e->cursor != NULL && s->part != NULL)
			buffer_printf(out, "id: %s.%s\n", s->part, e->cursor->text);
		buffer_put(out, text, len);
	}
}

enum stream_state
stream_take(struct stream *s, struct buffer *out, size_t enough, int64_t now_ms)
{
	struct outbox_entry e;
	size_t	start = out->len;

	while (out->len < enough && s->state != STREAM_REFUSED && connection_take_one(s->connection, &e, now_ms))
	{
		put_entry(s, out, &e);
		frame_release(e.frame);
		cursor_release(e.cursor);
	}
	memory_require(out->failed ? NULL : out);
	if (s->is_ending && s->state == STREAM_OPEN && out->len == start)
		s->state = STREAM_OVER;
	else if (s->is_ending && s->state == STREAM_WAITING)
	{
		s->state = STREAM_REFUSED;
		s->refusal = memory_string("{\"code\":\"unavailable\",\"message\":\"the streamer cannot take the stream now\"}");
	}
	return s->state;
}

void
stream_keep(struct stream *s, size_t bytes)
{
	connection_keep(s->connection, bytes);
}

const char *
stream_refusal(const struct stream *s)
{
	return s->refusal;
}
