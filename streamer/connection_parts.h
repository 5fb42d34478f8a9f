/* connection_parts.h - the inside of a connection, shared by connection.c (socket side, limits), channel.c (topics) and asking.c (requests). */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_CONNECTION_PARTS_H
#define SYNC_CONNECTION_PARTS_H

#include "connection.h"
#include "frame.h"
#include "map.h"
#include "rates.h"
#include "session.h"
#include "work.h"

struct connections
{
	const struct options *options;
	const struct auth *auth;
	const struct feed *feed;
	struct admission *admission;
	struct hub *hub;
	struct rooms *rooms;
	struct connections_calls calls;
	struct session_calls session_calls;
	void   *owner;
	struct connection *first;
	size_t	count;
	struct map requests;		/* id of a request under way → connection */
	uint64_t last_id;			/* of sessions and requests alike */
	int64_t now_ms;
	uint64_t turn;				/* of the loop */
	struct session *closed;		/* to be freed at the end of the turn, linked by their subscription */
};

struct connection
{
	struct connections *all;
	struct connection *previous;
	struct connection *next;
	void   *socket;
	char   *bearer;				/* owned; NULL: the handshake had none */
	enum message_format format;
	bool	is_lenient;			/* speaks to Supabase, it believes: what cannot be read is dropped, not answered with a close */
	struct session **sessions;	/* the topics joined; owned until closed */
	size_t	session_count;
	struct outbox outbox;
	struct works works;
	size_t	kept;				/* bytes of what was taken last that the socket has not taken: they lie in the library, and count as if they waited here */
	uint64_t put_turn;			/* when the outbox was last empty and something was put */
	bool	is_blocked;			/* bytes were written and the socket has not asked for more since */
	bool	is_authenticated;
	bool	is_stepping;		/* inside a session's next step */
	bool	is_closing;
	int64_t created_ms;
	int64_t heard_ms;
	int64_t ping_ms;			/* 0: no ping unanswered */
	int64_t taken_ms;			/* the socket last took something, or the outbox was empty */
	int64_t now_ms;
	int64_t unix_now;
	struct bucket messages;
	struct bucket joins;
	int64_t refused;			/* messages over the rate, less what has been forgiven */
};

/* connection.c */
void	connection_put(struct connection *c, struct outbox_entry entry);		/* takes the references over */
void	connection_put_for_session(void *connection, struct outbox_entry entry);	/* likewise, under the queue's limit */
bool	connection_is_blocked(void *connection);	/* something put in an earlier turn still waits for the client */
void	connection_reply(struct connection *c, const struct message_refs *m, bool is_ok, const char *response, size_t len);
void	connection_reply_error(struct connection *c, const struct message_refs *m, const char *code, const char *text, const char *hint);
struct session *connection_session(const struct connection *c, uint64_t id);		/* NULL: it has left */

/* Connections are counted for each user with a session in them. */
bool	connection_may_join(struct connection *c, const char *user, const char **code, const char **text);	/* and enters it; false: why not */
void	connection_enter(struct connection *c, const char *user);	/* before a session gets this user */
void	connection_left(struct connection *c, const char *user);	/* after one has lost it */

void	connection_want_output(struct connection *c);
void	connection_over(struct connection *c);		/* its last channel has ended; only a stream of events ends with that */

/* channel.c: a whole message whose rate was found good */
void	channel_take(struct connection *c, const struct message *m, const struct message_refs *refs);

/* sending.c: a broadcast, or a word about presence; false: it is neither */
bool	sending_take(struct connection *c, struct session *s, const struct message *m, const struct message_refs *refs);

/* asking.c */
void	asking_go_on(struct connection *c);		/* starts the next request, if there is one and room for its answer */
void	asking_want_pull(void *connection, struct session *s);

#endif
