/* transaction.h - the changes of one committed transaction: collected, reduced to what clients must see, then sealed and shared. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_TRANSACTION_H
#define SYNC_TRANSACTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "change.h"
#include "snapshot.h"

#define TRANSACTION_CHANGES_MAX 100000

/* One change as sessions get it. */
struct stream_change
{
	int32_t table_id;
	int32_t sibling;		/* a deletion whose row lives on under another scope value: index of that row; else -1 */
	char   *route;			/* owned; see route_put */
	size_t	route_len;
	char   *json;			/* owned; the change object */
	size_t	json_len;
	uint64_t xid;			/* sync_xid of the row or tombstone */
	int64_t committed_us;		/* its transaction's */
	enum change_kind kind;	/* CHANGE_ROW or CHANGE_TOMBSTONE */
	char   *entity_id;		/* owned */
	char   *old_values;		/* owned; what a tombstone keeps for judging policies, JSON; else NULL */
	bool	is_new;			/* a row that the transaction inserted */
	uint8_t *changed;		/* owned; which of its table's columns the transaction changed (column_set_has of clock.h), as they stood in the list of
							 * tables when it was decoded; NULL: all (it is new), or it is not known */
	char   *old;			/* owned; JSON object of the row before the transaction, only with REPLICA IDENTITY FULL; else NULL */
	int		column_count;	/* of the table, when it was decoded */
	bool	has_left;		/* a row: the same transaction leaves a tombstone of it, so not everybody who gets it had it before */
	bool	is_repeated;	/* a row: the transaction wrote it more than once */
	uint64_t docket;		/* the judge's: the docket it stands on, and its place there */
	uint32_t docket_place;
	uint64_t projection;	/* of a projected one: the serial of its projection; 0: all columns */
	bool	is_partial;		/* of a projected one: only what was changed */
	struct stream_change *projected;	/* owned list, linked by itself: the same change for those who get less of it */
};

/* Why sessions cannot go on past a transaction, but must pull in a snapshot that sees it. */
enum barrier
{
	BARRIER_NONE,
	BARRIER_WATCH,			/* scopes of those concerned may have changed */
	BARRIER_RELOAD,			/* the tables may have changed */
	BARRIER_LOST,			/* its changes are not all here */
};

struct draft;

/* A user whose rights a transaction may have changed; see concern.h. */
struct concerned
{
	char   *user;			/* owned; folded */
	bool	is_device;		/* only a device of theirs was written */
};

struct transaction
{
	struct transaction *next;	/* the feed's: first in its queue of arrivals, then in its ring */
	size_t	refs;
	size_t	releases;		/* that hold it, see queue.h */
	uint64_t xid;
	uint64_t serial;			/* the hub's: ascending in the order of release; 0: never released, see feed_calls.hold */
	enum barrier barrier;
	bool	needs_reload;		/* the list of tables must be read again before this is released */
	size_t	bytes;				/* of memory, about */
	size_t	count;				/* 0 before it is sealed */
	struct stream_change *changes;
	int64_t committed_us;	/* when it was committed, by the server's clock; 0: nobody knows */
	char  **messages;		/* owned: JSON objects of our own WAL messages, in the order they were written */
	size_t	message_count;
	struct concerned *concerned;	/* owned */
	size_t	concerned_count;
	bool	concerns_everyone;
	int32_t *lost;				/* owned; with BARRIER_LOST: ids of the tables that it changed */
	size_t	lost_count;
	struct snapshot *bridged;	/* owned: not a transaction, but all that was missed in a gap up to this snapshot; NULL: none. Its xid is 0 */
	struct draft *draft;		/* NULL once sealed */
};

struct transaction *transaction_new(uint64_t xid);		/* one reference */
struct transaction *transaction_retain(struct transaction *t);
void	transaction_release(struct transaction *t);

bool	transaction_is_seen(const struct transaction *t, const struct snapshot *s);		/* nothing in it is news to s */
bool	transaction_change_is_seen(const struct transaction *t, const struct stream_change *c, const struct snapshot *s);

/* Takes c's strings over. Earlier changes of the same row that c makes pointless are dropped. */
void	transaction_add(struct transaction *t, struct change *c);
/* A deleted row's values, for its tombstone, which stands before the deletion; takes old over. */
void	transaction_set_old(struct transaction *t, int32_t table_id, const char *entity_id, char *old);
void	transaction_raise(struct transaction *t, enum barrier barrier);		/* the strongest stays */
size_t	transaction_size(const struct transaction *t);		/* changes added so far, the dropped ones too */
void	transaction_lose(struct transaction *t);		/* drops all changes but their tables: BARRIER_LOST */
void	transaction_lose_table(struct transaction *t, int32_t table_id);		/* one more change that is not kept */

/* Changes whose JSON has to be fetched: *place starts at 0; NULL at the end. */
struct change *transaction_next_unread(struct transaction *t, size_t *place);
void	transaction_drop(struct transaction *t, struct change *c);

void	transaction_add_message(struct transaction *t, const char *json);

/* Every change has its JSON or was dropped: now sessions may have it. */
void	transaction_seal(struct transaction *t);

/* Where a change is looked up: under its scope's name and value, or under its table's id if that has no scope. */
void	route_put_scope(struct buffer *out, const char *scope, const char *value);
void	route_put_table(struct buffer *out, int32_t table_id);

#endif
