/* judge.h - who may see which change, where policies decide: asked of the database for many identities and many changes at once. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_JUDGE_H
#define SYNC_JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "request.h"
#include "transaction.h"

#define JUDGE_CHANGES_MAX 1000			/* in one question */
#define JUDGE_IDENTITIES_MAX 1000
#define JUDGE_CELLS_MAX 100000			/* changes times identities */
#define JUDGE_CLAIMS_MAX ((size_t) 1 << 20)	/* bytes of identities in one question */
#define JUDGE_IDENTITY_MS 500			/* one identity's policies may take so long; then it is asked about alone, */
#define JUDGE_SLOW_IDENTITY_MS 5000		/* and may take this long */
#define JUDGE_CALL_MS 1000				/* after so long a question leaves the identities that are left for another one */

struct judge;
struct identity;			/* role and claims, shared by all sessions that have the same */
struct docket;				/* changes, and the identities they are judged for */

/* A place in a docket, as plain data; it holds a reference. docket NULL: nothing is to be judged. */
struct ticket
{
	struct docket *docket;
	uint32_t change;
	uint32_t identity;
};

enum verdict
{
	VERDICT_OPEN,
	VERDICT_HIDDEN,
	VERDICT_SEEN,
	VERDICT_NEWER,			/* seen, but written again since: its newer version follows */
	VERDICT_FAILED,			/* nothing can be said */
};

struct judge_calls
{
	void	(*ask)(void *owner, uint64_t id, const char *json);	/* REQUEST_VISIBLE; judge_answer follows, never from within the call */
	void	(*wake)(void *owner, int64_t delay_ms);				/* calls judge_go_on then */
};

struct judge *judge_new(int connections, const struct judge_calls *calls, void *owner);		/* connections: that the questions share with others */
void	judge_free(struct judge *j);		/* no ticket and no identity is out any more */

struct identity *judge_identity(struct judge *j, const char *role, const char *claims);		/* a reference */
void	judge_release_identity(struct judge *j, struct identity *who);		/* NULL is fine */

/* c is of t, and a row, or a tombstone that is judged on its old values. */
struct ticket judge_enter(struct judge *j, struct identity *who, struct transaction *t, struct stream_change *c);
enum verdict judge_verdict(struct ticket ticket);		/* of no docket: seen */
void	judge_drop(struct judge *j, struct ticket ticket);

/* Asks what has come together, as far as questions may be under way. */
void	judge_go_on(struct judge *j, int64_t now_ms);
void	judge_answer(struct judge *j, uint64_t id, const struct answer *a, int64_t now_ms);

#endif
