/* stream.h - server-sent events: one session whose frames leave as an HTTP response instead of a WebSocket. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_STREAM_H
#define SYNC_STREAM_H

#include "buffer.h"
#include "connection.h"

enum stream_state
{
	STREAM_WAITING,		/* for the join's answer: nothing may be sent yet */
	STREAM_OPEN,
	STREAM_REFUSED,		/* the join was: stream_refusal */
	STREAM_OVER,		/* all has been taken: the response ends */
};

struct stream;

/* Joins with the payload, an object's text. The connection's calls stream_writable and stream_close get the socket. */
struct stream *stream_new(struct connections *all, void *socket, const char *token, const char *payload, int64_t now_ms, int64_t unix_now);
void	stream_free(struct stream *s);		/* NULL is fine */
void	stream_end(struct stream *s);		/* stream_close was called: over as soon as what waits has been taken */

/* The socket can take more: appends whole events, of at least `enough` bytes if there are as many. */
enum stream_state stream_take(struct stream *s, struct buffer *out, size_t enough, int64_t now_ms);
void	stream_keep(struct stream *s, size_t bytes);		/* so many bytes of what was just taken wait below, until the next call */
const char *stream_refusal(const struct stream *s);		/* the error's JSON: {"code", "message", "hint"?, "reason"} */

#endif
