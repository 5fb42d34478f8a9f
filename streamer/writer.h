/* writer.h - puts what waits for WebSocket clients on their sockets: all of it with one system call per client and turn. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_WRITER_H
#define SYNC_WRITER_H

#include <stdbool.h>

#include "buffer.h"
#include "connection.h"

struct lws;

/* The way out of one socket; zeroed before outlet_open. */
struct outlet
{
	struct lws *wsi;
	struct connection *connection;
	struct outlet *previous;	/* in the writer's list of those with something to send in this turn */
	struct outlet *next;
	bool	is_waiting;			/* is in that list */
	bool	is_full;			/* the kernel took no more: the library says when it does */
	bool	is_library_only;	/* TLS, or the end has begun: every byte goes through the library */
};

struct writer
{
	struct outlet *waiting;
	struct buffer scratch;		/* LWS_PRE bytes, then what the library is to write */
};

void	writer_init(struct writer *w);
void	writer_free(struct writer *w);

void	outlet_open(struct outlet *o, struct lws *wsi, struct connection *connection);
void	outlet_close(struct writer *w, struct outlet *o);
void	outlet_end(struct writer *w, struct outlet *o);		/* nothing goes past the library from now on */

void	writer_want(struct writer *w, struct outlet *o);	/* the connection has something: sent at the end of the turn */
void	writer_flush(struct writer *w);			/* the end of the turn */
int		writer_writable(struct writer *w, struct outlet *o, bool *is_drained);		/* the library's WRITEABLE callback; -1: close it */

#endif
