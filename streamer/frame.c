/* frame.c - ready WebSocket frames, built once and shared, and the queue of those waiting for one client. */
/* SPDX-License-Identifier: PostgreSQL */
#include "frame.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "message.h"
#include "snapshot.h"

#define PING 0x89		/* final */

struct cursor *
cursor_new(const char *text, size_t len)
{
	struct cursor *c = memory_new(sizeof(*c) + len + 1);

	c->refs = 1;
	memcpy(c->text, text, len);
	return c;
}

struct cursor *
cursor_retain(struct cursor *c)
{
	if (c != NULL)
		c->refs++;
	return c;
}

void
cursor_release(struct cursor *c)
{
	if (c == NULL || --c->refs > 0)
		return;
	cursor_release(c->later);
	free(c);
}

/* NULL: it stands there already, or is in the middle of a round. */
static struct cursor *
move(const struct cursor *c, uint64_t lsn)
{
	struct position p;
	struct buffer text;
	struct cursor *later = NULL;

	if (!position_parse(&p, c->text, strlen(c->text)))
		return NULL;
	if (p.lsn < lsn - 1)
	{
		p.lsn = lsn - 1;
		buffer_init(&text);
		position_put(&text, &p);
		memory_require(text.failed ? NULL : text.data);
		later = cursor_new(text.data, text.len);
		later->reaches = lsn;
		buffer_free(&text);
	}
	position_free(&p);
	return later;
}

struct cursor *
cursor_at(struct cursor *c, uint64_t lsn)
{
	struct cursor *later;

	if (c == NULL || c->reaches >= lsn)
		return c;
	if (c->later != NULL && c->later->reaches >= lsn)
		return c->later;
	later = move(c, lsn);
	if (later == NULL)
	{
		c->reaches = lsn;
		return c;
	}
	cursor_release(c->later);
	c->later = later;
	return later;
}

static struct frame *
build(const char *payload, size_t len, bool is_binary)
{
	unsigned char header[10];
	size_t	header_len = message_frame_header(header, len, is_binary);
	struct frame *f = memory_new(sizeof(*f) + header_len + len);

	f->refs = 1;
	f->len = header_len + len;
	memcpy(f->bytes, header, header_len);
	memcpy(f->bytes + header_len, payload, len);
	return f;
}

struct frame *
frame_text(const char *payload, size_t len)
{
	return build(payload, len, false);
}

struct frame *
frame_binary(const char *payload, size_t len)
{
	return build(payload, len, true);
}

bool
frame_is_ping(const struct frame *f)
{
	return f->bytes[0] == PING;
}

const char *
frame_payload(const struct frame *f, size_t *len)
{
	size_t	header = f->bytes[1] < 126 ? 2 : f->bytes[1] == 126 ? 4 : 10;

	*len = f->len - header;
	return (const char *) f->bytes + header;
}

struct frame *
frame_ping(void)
{
	static const unsigned char ping[] = {PING, 1, '.'};		/* final; with a payload, as the library says nothing of a pong without */
	struct frame *f = memory_new(sizeof(*f) + sizeof(ping));

	f->refs = 1;
	f->len = sizeof(ping);
	memcpy(f->bytes, ping, sizeof(ping));
	return f;
}

struct frame *
frame_retain(struct frame *f)
{
	f->refs++;
	return f;
}

void
frame_release(struct frame *f)
{
	if (f != NULL && --f->refs == 0)
		free(f);
}

bool
outgoing_has_room(const struct outgoing *out, size_t next)
{
	return out->count == 0 || (out->count < OUTGOING_FRAMES_MAX && out->bytes + next <= OUTGOING_BYTES_MAX);
}

void
outgoing_put(struct outgoing *out, struct frame *f)
{
	out->frames[out->count++] = f;
	out->bytes += f->len;
}

void
outgoing_release(struct outgoing *out)
{
	for (size_t i = 0; i < out->count; i++)
		frame_release(out->frames[i]);
	out->count = out->bytes = 0;
}

void
outbox_init(struct outbox *o)
{
	*o = (struct outbox){0};
}

static void
release_entry(struct outbox_entry *e)
{
	frame_release(e->frame);
	cursor_release(e->cursor);
}

void
outbox_free(struct outbox *o)
{
	struct outbox_entry e;

	while (outbox_take(o, &e))
		release_entry(&e);
	free(o->entries);
	outbox_init(o);
}

static void
grow(struct outbox *o)
{
	size_t	room = o->room > 0 ? o->room * 2 : 8;
	struct outbox_entry *entries = memory_new(room * sizeof(*entries));

	for (size_t i = 0; i < o->count; i++)
		entries[i] = o->entries[(o->head + i) % o->room];
	free(o->entries);
	o->entries = entries;
	o->room = room;
	o->head = 0;
}

void
outbox_put(struct outbox *o, struct outbox_entry entry)
{
	if (o->count == o->room)
		grow(o);
	o->entries[(o->head + o->count++) % o->room] = entry;
	o->bytes += entry.frame->len;
}

bool
outbox_take(struct outbox *o, struct outbox_entry *entry)
{
	if (o->count == 0)
		return false;
	*entry = o->entries[o->head];
	o->head = (o->head + 1) % o->room;
	o->count--;
	o->bytes -= entry->frame->len;
	if (o->count == 0)		/* most clients are idle most of the time */
	{
		free(o->entries);
		o->entries = NULL;
		o->room = o->head = 0;
	}
	return true;
}

size_t
outbox_next_size(const struct outbox *o)
{
	return o->count > 0 ? o->entries[o->head].frame->len : 0;
}

void
outbox_drop_live(struct outbox *o, uint64_t session)
{
	size_t	count = o->count;
	struct outbox_entry e;

	while (count-- > 0 && outbox_take(o, &e))
	{
		if (e.is_live && e.session == session)
			release_entry(&e);
		else
			outbox_put(o, e);
	}
}
