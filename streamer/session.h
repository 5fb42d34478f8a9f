/* session.h - one joined topic: its state, its place in the stream, its pulls. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_SESSION_H
#define SYNC_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "feed.h"
#include "frame.h"
#include "judge.h"
#include "message.h"
#include "request.h"
#include "snapshot.h"
#include "standing.h"
#include "token.h"

/* In the order of life. Only session_enter() changes it. */
enum session_state
{
	SESSION_NEW,				/* made; nothing checked */
	SESSION_AUTHENTICATED,		/* its token is good; the join is not answered yet: its first pull is wanted or under way */
	SESSION_CATCHING_UP,		/* joined; takes nothing from the stream; a pull is wanted, under way, or has a time (pull_at_ms) */
	SESSION_LIVE,				/* in the hub's routes: takes what its snapshot does not see */
	SESSION_CLOSING,			/* gone for its client; freed at the end of the turn */
};

enum session_kind
{
	SESSION_SYNC,				/* a sync: topic: pulls, then batches of changes with a cursor */
	SESSION_REALTIME,			/* a realtime: topic, as Supabase's client knows them */
};

struct batches;
struct identity;
struct projection;
struct realtime;
struct rooms;
struct release;
struct route;

/* What a session may see of a table. */
struct right
{
	int32_t table_id;
	bool	is_judged;			/* row by row, by its policies */
	bool	is_verified;		/* and what comes and goes without a write is looked for by pulls */
	struct projection *projection;		/* owned reference: the columns it may read; NULL: all */
};

/* One change on its way to a session. */
struct held
{
	struct stream_change *change;		/* of release's transaction */
	struct release *release;	/* owned reference */
	const struct right *right;
	struct ticket ticket;		/* owned */
};

/* What the hub keeps for a session; only hub.c, routes.c and queue.c touch it. */
struct subscription
{
	struct session *previous;	/* in the hub's list of all sessions */
	struct session *next;
	struct route **routes;		/* with this session's place in each of them */
	size_t *places;
	size_t	route_count;
	struct right *rights;		/* ascending by table */
	size_t	right_count;
	struct identity *identity;	/* owned reference: who is asked about; NULL: nothing is judged */
	struct held *queue;			/* in commit order: to be sent at the end of the turn, or when the verdicts are there, or when its client takes more */
	size_t	queue_head;
	size_t	queue_count;
	size_t	queue_room;
	size_t	queue_bytes;
	struct session *next_touched;
	bool	is_touched;
	size_t	waiting;			/* 1 + its place among those whose queue waits; 0: none */
	bool	is_flooded;			/* more has come together than is worth sending */
	bool	has_verified;
	int64_t verify_at_ms;
	int		failures;			/* of its policies, one after the other */
};

struct session;

struct session_calls
{
	void   *hub;
	struct standings *standings;
	/* state: the answer of sync.session_state. false: it names a table that the stream does not know yet */
	bool	(*subscribe)(void *hub, struct session *s, struct json_value state);
	void	(*unsubscribe)(void *hub, struct session *s);
	void	(*discard)(void *hub, struct session *s);	/* what waits to be sent to it: it is not live any more */
	bool	(*is_blocked)(void *connection);	/* its client has not taken what was put before this turn */
	void	(*settle)(void *hub);			/* whatever was released has been handed to the live sessions */
	void	(*replay)(void *hub, struct session *s);	/* gives s what the ring holds beyond its snapshot and its resume */
	uint64_t (*given)(void *hub, const struct session *s);	/* serial of the last transaction that a live session got all of */
	void	(*put)(void *connection, struct outbox_entry entry);	/* takes the references over */
	void	(*want_pull)(void *connection, struct session *s);	/* its turn comes by session_pull_request; a live session only has something looked up */
	void	(*closed)(void *connection, struct session *s);
};

struct session
{
	uint64_t id;				/* never used twice */
	enum session_kind kind;
	enum session_state state;
	const struct session_calls *calls;	/* the same for all sessions of the process */
	void   *connection;
	const struct feed *feed;
	char   *names;				/* owned: the next three; "" before the join */
	const char *topic;
	const char *join_ref;	/* the join's ref where its client sent none */
	const char *ref;	/* of the join, for its reply */
	enum message_format format;	/* of its client */
	struct token identity;		/* owned */
	struct realtime *realtime;	/* owned; NULL unless SESSION_REALTIME */
	struct rooms *rooms;		/* of that kind: where its topic is */
	char   *device_id;			/* owned JSON string of the join; NULL: none */
	char   *base;				/* owned: the pull request's members but the token, without braces */

	char   *token;				/* owned: as given by the join; replaced by part and position once a pull has answered */
	char   *part;				/* owned: session part of the newest answer; NULL before */
	struct cursor *position;	/* owned reference: of the last frame handed to the socket; NULL before */
	struct cursor *queued;		/* likewise of the last frame queued */
	uint64_t cursor_xmax;		/* of queued */
	uint64_t resume;			/* of a realtime: topic that was live: serial of the last transaction it was given, so that none comes twice; 0: none */
	bool	is_held;			/* changes wait for it: its cursor may be this one at most */
	struct cursor *ceiling;		/* borrowed from the first of them; NULL: none */
	uint64_t ceiling_xmax;
	bool	wants_fields;		/* updates hold only what was changed, */
	uint64_t whole_below;		/* but those of transactions before this one: see note_younger_pages() */
	struct snapshot snapshot;	/* owned: of the last pull that ended, or a later place; decoded transactions that it sees are not for this session */
	struct standing *standing;	/* what the database last said of it; NULL before. See resume.h, also for the next five */
	bool	must_pull;			/* what it misses is not in the ring, or not only */
	bool	is_anew;			/* what it was sent counts for nothing, though its token may look good */
	bool	is_quiet;			/* it left the stream with all that it was given on its way: it goes on from snapshot */
	bool	is_looking;			/* the request under way is sync.session_state */
	bool	looked_live;
	int64_t look_at_ms;			/* while live: when its scopes are read again */

	bool	is_pull_wanted;
	bool	is_mid_round;		/* queued is the position of a page that others follow */
	bool	was_live;			/* since the last pull: its client is told when the next one is due */
	bool	is_waiting;			/* for the feed */
	int64_t pull_at_ms;			/* 0: none */
	int64_t backoff_ms;
	int64_t sent_ms;			/* last batch with changes */
	int64_t cursor_ms;			/* last batch at all */
	int64_t now_ms;
	struct subscription subscription;
};

struct session *session_new(uint64_t id, const struct session_calls *calls, void *connection, const struct feed *feed);
void	session_free(struct session *s);
/* Takes the identity over and wants its first pull. */
void	session_join(struct session *s, const struct message *m, struct token *identity, int64_t now_ms);
void	session_renew(struct session *s, struct token *identity);		/* takes it over: same subject and role; pulls again */

enum request_kind session_pull_request(struct session *s, struct buffer *out);	/* REQUEST_NONE: it needs no answer, and is live again if it was not */
void	session_pull_answer(struct session *s, const struct answer *a, int64_t now_ms);
void	session_sent(struct session *s, struct cursor *position);		/* a frame with this position went to the socket */

void	session_pull_later(struct session *s, int64_t at_ms);	/* leaves the stream without a word */
void	session_too_slow(struct session *s, int64_t now_ms, int64_t delay_ms);	/* what waited for its client was thrown away */
void	session_resync(struct session *s, const char *reason, int64_t now_ms, int64_t delay_ms);	/* the same, and tells the client */
void	session_lose_feed(struct session *s, int64_t now_ms, int64_t delay_ms);	/* pulls now and then until session_feed_ready */
void	session_feed_ready(struct session *s, int64_t now_ms, int64_t delay_ms);
void	session_start_anew(struct session *s, bool is_rolled_back, int64_t now_ms);		/* see hub_start_anew */
void	session_tick(struct session *s, int64_t now_ms, int64_t unix_now);

/* Changes of whole transactions, in commit order, for a live session, some of them projections of those in the transaction; hash is that of the
 * list, see batches_frame. */
void	session_deliver(struct session *s, struct batches *b, const struct stream_change *const *changes, size_t count, uint64_t hash);

/* A batch of the stream. The frame is shared by sessions of one topic. */
struct cursor *session_live_cursor(const struct session *s);		/* borrowed: what a batch now would carry */
void	session_send_live(struct session *s, struct frame *f, bool has_changes);		/* f was built with session_live_cursor; takes the reference */

/* What realtime.c shares with sync: topics. */
void	session_begin(struct session *s, const struct message *m, struct token *identity, int64_t now_ms);	/* takes the identity over: authenticated */
void	session_enter(struct session *s, enum session_state state);
void	session_want_pull(struct session *s);		/* of either kind: a request whose turn comes by session_pull_request */
void	session_put_event(struct session *s, const char *ref, const char *event, const char *payload, size_t len);
void	session_reply_to_join(struct session *s, bool is_ok, const struct buffer *response);
void	session_wait_for_feed(struct session *s);
enum handoff session_enter_stream(struct session *s, struct json_value state, struct snapshot *from);	/* OK: it is live; takes from over then */
void	session_announce(struct session *s, bool is_reply);	/* its part */
void	session_put_position(struct session *s, const char *position, size_t len);	/* an empty batch */
void	session_try_again(struct session *s, int64_t least_ms, int64_t most_ms);	/* a pull, after twice the time of the last try */

/* Ends it: phx_error or phx_close to the client (NULL event: nothing). */
void	session_close(struct session *s, const char *event, const char *reason);
void	session_fail(struct session *s, const char *code, const char *message);		/* closed by phx_error, which says both */

#endif
