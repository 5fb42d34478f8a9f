/*
 * pull.h - a pull in progress, shared by pull.c (request and answer), round.c (where it starts) and page.c (what is sent).
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef SYNC_PULL_H
#define SYNC_PULL_H

#include "sync.h"

#include "utils/timestamp.h"

/* A table as this request sees it. */
typedef struct PullTable
{
	SyncTable  *table;
	FullTransactionId epoch;
	Bitmapset  *readable;
	bool		all_readable;
	SyncScope  *scope;			/* NULL: none */
	bool		is_whole;		/* all rows are sent */
	bool		is_reset;		/* and the client drops what it has first */
	bool		is_unchanged;	/* verify: what the caller sees is what it was sent, so nothing is */
	SyncPolicyCheck *policies;	/* of the caller; NULL: under none that a scope does not cover */
} PullTable;

typedef struct Pull
{
	/* request */
	JsonbContainer *tables;		/* NULL: all */
	int			priority;
	int			limit;
	uint64		device;
	bool		had_token;
	SyncToken  *given;			/* NULL: none, or of no use */
	/* what there is */
	List	   *selected;		/* of PullTable */
	List	   *scopes;			/* of SyncScope, each once */
	SyncToken	next;
	StringInfoData out;
	int			sent;
	int			skipped;		/* rows passed without sending since the page began */
	TimestampTz deadline;
	StringInfoData withdrawn;
} Pull;

/* round.c: sets where this page goes on, from the token given or anew; fills next, withdrawn, is_whole, is_reset */
extern void pull_place_round(Pull *pull);

/* page.c: the query of all rows of a table that the caller may have, from the token's place on; for verify.c */
extern void pull_each_row(Pull *pull, const PullTable *p, void (*take) (const PullTable *p, HeapTuple row, TupleDesc desc, void *sum), void *sum);

/* page.c: sends rows from there until the page is full; true when the round is finished */
extern bool pull_send_round(Pull *pull);

/* verify.c: tables whose policies look elsewhere are compared as a whole */
extern SyncDigest *pull_digest(const SyncToken *token, int32 table_id);	/* NULL: none */
extern void pull_compare(Pull *pull, PullTable *p, const SyncToken *valid);	/* at a round's start: sets is_unchanged or is_whole */
extern void pull_count_sent(Pull *pull, const PullTable *p, HeapTuple row, TupleDesc desc);

#endif
