/* connection.h - one WebSocket client as Phoenix channels see it: its topics, its requests one by one, its outgoing frames, its limits. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_CONNECTION_H
#define SYNC_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "admission.h"
#include "auth.h"
#include "buffer.h"
#include "frame.h"
#include "hub.h"
#include "options.h"
#include "request.h"
#include "rooms.h"

/* Close codes of ours, beside RFC 6455's 1000-1011. */
#define CLOSE_NORMAL 1000
#define CLOSE_GOING_AWAY 1001
#define CLOSE_UNSUPPORTED 1003
#define CLOSE_POLICY 1008
#define CLOSE_TOO_BIG 1009
#define CLOSE_NO_JOIN 4001		/* nothing joined within the time for it */
#define CLOSE_NO_ANSWER 4002	/* no pong */
#define CLOSE_TOO_SLOW 4008		/* what waited for the client did not drain */

struct connection;
struct connections;

struct connections_calls
{
	void	(*submit)(void *owner, const struct request *r, request_done done, void *done_owner, uint64_t id);
	void	(*writable)(void *socket);		/* calls connection_take when the socket can take something */
	void	(*close)(void *socket, int code, const char *reason);	/* soon; then connection_free */
	void	(*stream_writable)(void *socket);	/* the same two for server-sent events */
	void	(*stream_close)(void *socket, int code, const char *reason);
	void	(*device)(void *owner, const char *user, const char *device, bool is_here);	/* a channel of a user's device began or ended */
};

/* All connections of the process, and what they share. */
struct connections *connections_new(const struct options *o, const struct auth *auth, const struct feed *feed, struct hub *hub, struct rooms *rooms, const struct connections_calls *calls,
									void *owner);
void	connections_free(struct connections *all);
void	connections_tick(struct connections *all, int64_t now_ms, int64_t unix_now);	/* time limits, pings: once a second */
void	connections_clock(struct connections *all, int64_t now_ms);	/* at least 20 times a second: the time of answers */
void	connections_turn_end(struct connections *all);		/* frees what was closed in this turn */
void	connections_close(struct connections *all, int code, const char *reason);
void	connections_gauges(const struct connections *all);
size_t	connections_count(const struct connections *all);

/* What the handshake said; borrowed. */
struct handshake
{
	const char *bearer;			/* token of the Authorization header, or NULL */
	const char *api_key;		/* of Supabase's clients, or NULL: a token for whoever joins without one, if it is good as that */
	enum message_format format;
};

void	connections_revoke(struct connections *all, const char *user, const char *device);		/* ends every channel of the device */

/* Joins and users are counted there; once, before the first client. */
void	connections_limit(struct connections *all, struct admission *admission);

struct connection *connection_new(struct connections *all, void *socket, const struct handshake *h, int64_t now_ms, int64_t unix_now);
void	connection_free(struct connection *c);		/* the socket is gone */

void	connection_heard(struct connection *c, int64_t now_ms);		/* any frame of the client */
void	connections_answer(void *all, uint64_t id, const struct answer *a);		/* request_done of its own requests */
bool	connection_message(struct connection *c, const char *text, size_t len, bool is_binary, int64_t now_ms, int64_t unix_now);	/* false: it is being closed */
bool	connection_has_frames(const struct connection *c);
/* The socket can take more: the next whole frames, none if nothing waits. True: call again when it can take more. */
bool	connection_take(struct connection *c, struct outgoing *out, int64_t now_ms);

void	connection_keep(struct connection *c, size_t bytes);		/* so many bytes of what was just taken wait below: nothing more is due before the next call */

/* The same one by one, for what writes them in another form; the references are the caller's then. Once nothing is left it is called again when the socket can take more. */
bool	connection_take_one(struct connection *c, struct outbox_entry *e, int64_t now_ms);

/* The frame begun with this text may grow to so many bytes. */
size_t	connection_frame_limit(const struct connection *c, const char *text, size_t len, bool is_binary);

#endif
