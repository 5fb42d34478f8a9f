/* writer.c - puts what waits for WebSocket clients on their sockets: all of it with one system call per client and turn. */
/* SPDX-License-Identifier: PostgreSQL */
#include "writer.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <libwebsockets.h>

#include "loop.h"
#include "memory.h"

#define SCRATCH_KEPT ((size_t) 1 << 20)

void
writer_init(struct writer *w)
{
	*w = (struct writer){0};
	buffer_init(&w->scratch);
}

void
writer_free(struct writer *w)
{
	buffer_free(&w->scratch);
}

void
outlet_open(struct outlet *o, struct lws *wsi, struct connection *connection)
{
	o->wsi = wsi;
	o->connection = connection;
	o->is_library_only = lws_is_ssl(wsi);
}

static void
stop_waiting(struct writer *w, struct outlet *o)
{
	if (!o->is_waiting)
		return;
	if (o->previous != NULL)
		o->previous->next = o->next;
	else
		w->waiting = o->next;
	if (o->next != NULL)
		o->next->previous = o->previous;
	o->previous = o->next = NULL;
	o->is_waiting = false;
}

void
outlet_close(struct writer *w, struct outlet *o)
{
	stop_waiting(w, o);
	o->wsi = NULL;
	o->connection = NULL;
}

void
outlet_end(struct writer *w, struct outlet *o)
{
	stop_waiting(w, o);
	o->is_library_only = true;
}

void
writer_want(struct writer *w, struct outlet *o)
{
	if (o->is_waiting || o->is_full)
		return;
	if (o->is_library_only || !connection_has_frames(o->connection))
	{
		lws_callback_on_writable(o->wsi);
		return;
	}
	o->is_waiting = true;
	o->next = w->waiting;
	if (o->next != NULL)
		o->next->previous = o;
	w->waiting = o;
}

/* Frames from the given byte on, through the library: it keeps what the kernel does not take and sends it before anything else, its own
 * control frames too. Bytes written as HTTP pass through unframed. */
static bool
write_by_library(struct writer *w, struct outlet *o, const struct outgoing *out, size_t from)
{
	static const char headroom[LWS_PRE];
	struct buffer *scratch = &w->scratch;
	bool	is_good;

	buffer_reset(scratch);
	buffer_put(scratch, headroom, sizeof(headroom));
	for (size_t i = 0; i < out->count; i++)
	{
		const struct frame *f = out->frames[i];

		if (from < f->len)
			buffer_put(scratch, f->bytes + from, f->len - from);
		from -= from < f->len ? from : f->len;
	}
	memory_require(scratch->failed ? NULL : scratch->data);
	is_good = lws_write(o->wsi, (unsigned char *) scratch->data + sizeof(headroom), scratch->len - sizeof(headroom), LWS_WRITE_HTTP) >= 0;
	if (scratch->cap > SCRATCH_KEPT)
		buffer_free(scratch);
	return is_good;
}

/* How many bytes the kernel took: none when there is no room. An error shows in the library's next write. */
static size_t
send_now(struct outlet *o, struct outgoing *out)
{
	struct iovec parts[OUTGOING_FRAMES_MAX];
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = out->count};
	ssize_t sent;

	for (size_t i = 0; i < out->count; i++)
		parts[i] = (struct iovec){out->frames[i]->bytes, out->frames[i]->len};
	sent = sendmsg(lws_get_socket_fd(o->wsi), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	return sent > 0 ? (size_t) sent : 0;
}

/* The library has nothing of its own half sent, so whole frames may go past it. */
static void
flush_outlet(struct writer *w, struct outlet *o)
{
	int64_t now_ms = loop_now_ms();
	struct outgoing out;
	bool	has_more = true;

	if (lws_partial_buffered(o->wsi))
		o->is_full = true;
	while (!o->is_full && connection_has_frames(o->connection))
	{
		size_t	sent;

		has_more = connection_take(o->connection, &out, now_ms);
		sent = send_now(o, &out);
		o->is_full = sent < out.bytes;
		if (o->is_full && !write_by_library(w, o, &out, sent))
			lws_set_timeout(o->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
		if (lws_partial_buffered(o->wsi))
			connection_keep(o->connection, out.bytes - sent);
		outgoing_release(&out);
	}
	if (has_more || o->is_full)
		lws_callback_on_writable(o->wsi);
}

void
writer_flush(struct writer *w)
{
	while (w->waiting != NULL)
	{
		struct outlet *o = w->waiting;

		stop_waiting(w, o);
		flush_outlet(w, o);
	}
}

/* What the library writes it frees itself of in its own time: one call, then it asks again. */
static int
write_next(struct writer *w, struct outlet *o, bool *is_drained)
{
	struct outgoing out;
	bool	has_more = connection_take(o->connection, &out, loop_now_ms());
	bool	is_good = out.count == 0 || write_by_library(w, o, &out, 0);

	*is_drained = out.count == 0 || !has_more;
	if (lws_partial_buffered(o->wsi))
		connection_keep(o->connection, out.bytes);		/* how much of it nobody tells */
	has_more |= lws_partial_buffered(o->wsi);
	outgoing_release(&out);
	if (has_more)
		lws_callback_on_writable(o->wsi);
	return is_good ? 0 : -1;
}

int
writer_writable(struct writer *w, struct outlet *o, bool *is_drained)
{
	stop_waiting(w, o);
	*is_drained = false;
	if (lws_send_pipe_choked(o->wsi))
	{
		lws_callback_on_writable(o->wsi);
		return 0;
	}
	o->is_full = false;
	if (o->is_library_only || !connection_has_frames(o->connection))
		return write_next(w, o, is_drained);
	flush_outlet(w, o);
	return 0;
}
