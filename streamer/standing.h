/* standing.h - what the database last said an identity may follow, kept a moment after it has left: who comes back meanwhile needs no pull. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_STANDING_H
#define SYNC_STANDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "json.h"
#include "map.h"
#include "token.h"
#include "transaction.h"

#define STANDING_KEPT_MS 30000		/* after the last session with it has left */
#define STANDINGS_BYTES_MAX ((size_t) 64 << 20)		/* over it nothing more is kept; sessions pull then */

/* Shared by sessions of one identity that asked for the same, and by the cache. */
struct standing
{
	size_t	refs;
	size_t	users;			/* sessions among the references */
	char   *key;			/* owned; role, claims that identify, request */
	size_t	key_len;
	char   *user;			/* owned, folded */
	char   *part;			/* owned: session part of the sync token */
	char   *state;			/* owned: answer of sync.session_state */
	size_t	bytes;
	bool	is_in_force;	/* it is in the cache: nothing is known that may have changed it */
	int64_t checked_ms;		/* when the database last said so */
	int64_t left_ms;		/* when users came to 0 */
	struct standing *previous;	/* in the cache's list */
	struct standing *next;
	struct standing *same_previous;	/* of the same user's */
	struct standing *same_next;
};

struct standings
{
	struct map map;				/* key → standing in force */
	struct map users;			/* folded user → the first of theirs */
	struct standing *first;
	size_t	bytes;
};

void	standings_init(struct standings *all);
void	standings_free(struct standings *all);		/* every session has left */

/* The key of an identity (role and claims without those that each token has anew) and a join's payload without its tokens. NULL: the claims cannot be read. */
char   *standing_key(const struct token *identity, const char *request, size_t *len);

/* In force from now on, in place of the one before. The caller's session holds it: standing_leave. key is taken over. */
struct standing *standing_new(struct standings *all, char *key, size_t key_len, const char *user, const char *part, const char *state, int64_t now_ms);
struct standing *standing_find(struct standings *all, const char *key, size_t len, int64_t now_ms);	/* held for the caller's session; NULL: none in force */
void	standing_leave(struct standings *all, struct standing *st, int64_t now_ms);		/* NULL is fine */
void	standing_renew(struct standings *all, struct standing *st, int64_t now_ms);		/* the database has just said the same again */

/* What may have changed is no longer in force; sessions keep what they hold, to compare with. */
void	standings_drop(struct standings *all, const struct transaction *t);		/* those whose rights t may have changed */
void	standings_drop_all(struct standings *all);
void	standings_tick(struct standings *all, int64_t now_ms);		/* once a second or so */

#endif
