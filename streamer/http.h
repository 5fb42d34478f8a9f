/* http.h - plain HTTP: push and pull, health, the demo's files. Beside the sockets of server.c, in the same library. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_HTTP_H
#define SYNC_HTTP_H

#include <stddef.h>

#include "admission.h"
#include "auth.h"
#include "buffer.h"
#include "connection.h"
#include "options.h"
#include "pages.h"
#include "relay.h"
#include "request.h"

struct http;
struct http_exchange;
struct lws;

struct http_calls
{
	void	(*submit)(void *owner, const struct request *r, request_done done, void *done_owner, uint64_t id);
	void	(*broadcast)(void *owner, const struct relayed *b);
	void	(*missing)(void *owner, struct buffer *json);		/* appends JSON strings, by commas: what it takes to be ready */
	void	(*status)(void *owner, const struct token *who, struct buffer *json);	/* appends what a user may know of the server */
};

struct http *http_new(const struct options *o, const struct auth *auth, struct admission *admission, struct pages *pages, const struct http_calls *calls, void *owner);
void	http_serve(struct http *h, struct connections *connections);		/* before the first turn */
void	http_free(struct http *h);
void	http_look(struct http *h);		/* every second: have clients of streams gone? */

/* A libwebsockets callback's reason; *exchange is the connection's, NULL at first. Returns what the callback is to return. */
int		http_event(struct http *h, struct lws *wsi, int reason, struct http_exchange **exchange, const void *in, size_t len);

/* Where the client is, as it is counted; while the headers are there. */
void	http_address(const struct http *h, struct lws *wsi, char address[ADDRESS_MAX]);

/* connections_calls of streams */
void	http_stream_writable(void *exchange);
void	http_stream_close(void *exchange, int code, const char *reason);

/* Refuses a request whose headers have been read, before anything was answered. */
int		http_refuse(struct lws *wsi, unsigned int status);

#endif
