/* server.h - the listening socket and its WebSocket clients: handshakes checked, messages whole, one write per client and turn. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_SERVER_H
#define SYNC_SERVER_H

#include <stdbool.h>

#include "connection.h"
#include "http.h"
#include "loop.h"
#include "options.h"

struct server;

/* NULL: it cannot listen there; the reason was logged. */
struct server *server_new(struct loop *l, const struct options *o, struct http *http, struct admission *admission);
void	server_free(struct server *s);		/* after the loop is gone: libwebsockets closes clients when its context goes */
void	server_serve(struct server *s, struct connections *connections);		/* before the first turn */
void	server_look(struct server *s);			/* once a second: takes a changed certificate */
void	server_stop_listening(struct server *s);
void	server_turn_end(struct server *s);		/* sends what this turn has made */

/* connections_calls */
void	server_writable(void *socket);
void	server_close(void *socket, int code, const char *reason);

#endif
