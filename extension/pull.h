/*
 * pull.h - a pull in progress, shared by pull.c (request and answer), round.c (where it starts) and part.c (its queries) and page.c (what is sent).
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
	bool		is_withdrawn;	/* a scope of it was lost */
} PullTable;

typedef struct Pull
{
	/* request */
	JsonbContainer *tables;		/* NULL: all */
	int			priority;
	int			limit;
	uint64		device;
	int			schema_version;	/* -1: not said */
	int64		number;			/* "n", -1: none */
	bool		had_token;		/* or number: something to start anew from */
	SyncToken  *given;			/* NULL: none, or of no use */
	/* what there is */
	List	   *selected;		/* of PullTable */
	List	   *scopes;			/* of SyncScope, each once */
	List	   *gone;			/* entity types that the client has and will hear nothing more of */
	SyncToken	next;
	StringInfoData out;
	int			sent;
	int			skipped;		/* rows passed without sending since the page began */
	bool		is_full;		/* what comes next goes on the next page */
	MemoryContext context;		/* of the call */
	TimestampTz deadline;
	StringInfoData withdrawn;
} Pull;

/* Clients that insist on a number as their cursor: 12 bits of the incarnation above 41 of an id below which everything was sent. */
#define PULL_NUMBER_BITS 41
#define PULL_INCARNATION_MASK 0xfff

/* pull.c */
extern bool pull_leaves_out(const Pull *pull, int32 table_id, const char *name);	/* it is there for who asks, but the request does not name it */
extern void pull_begin(Pull *pull, Jsonb *request);
extern Datum pull_answer(FunctionCallInfo fcinfo, void (*make) (Pull *pull, Jsonb *request));

/* round.c: sets where this page goes on, from the token given or anew; fills next, withdrawn, is_whole, is_reset */
extern void pull_place_round(Pull *pull);

/* page.c: sends rows from there until the page is full; true when the round is finished */
extern bool pull_send_round(Pull *pull);

/* verify.c: tables whose policies look elsewhere are compared as a whole */
extern SyncDigest *pull_digest(const SyncToken *token, int32 table_id);	/* NULL: none */
extern void pull_compare(Pull *pull, PullTable *p, const SyncToken *valid);	/* at a round's start: sets is_unchanged or is_whole */
extern void pull_count_sent(Pull *pull, const PullTable *p, TupleTableSlot *slot);
/* Is there a deletion since the lower cursor that concerns the caller? */
extern bool pull_has_tombstones(const Pull *pull, const PullTable *p);

/* place.c: where in a part a page goes on. value: of the scope, where the part goes value by value, else NULL */
extern void pull_check_place(const Pull *pull, const PullTable *p, char phase);
extern bool pull_by_value(const Pull *pull, const PullTable *p, char phase);
extern const char *pull_place_value(const Pull *pull, const PullTable *p, char phase);
extern char **pull_place(const Pull *pull, const PullTable *p, char phase, const char *value);
extern char *pull_row_place(const Pull *pull, const PullTable *p, char phase, const char *value, const Datum *values);

/* part.c: the queries. A range of ids not seen by the lower cursor: the rest of the one that the place is in, those that ran then and are finished, those begun since. */
typedef enum PullRange
{
	RANGE_ALL, RANGE_THIS, RANGE_RUNNING, RANGE_SINCE
} PullRange;
extern bool pull_has_range(const Pull *pull, const PullTable *p, char phase, PullRange range, const char *value);
extern char **pull_part_values(const Pull *pull, const PullTable *p, char phase, int *n);
extern void pull_query_rows(const Pull *pull, const PullTable *p, char phase, PullRange range, const char *value,
							DestReceiver *dest);
extern void pull_query_tombstones(const Pull *pull, const PullTable *p, PullRange range);	/* as the extension */
extern bool pull_has_changed(const Pull *pull, const PullTable *p, uint64 since);	/* was any row of the scopes held written or deleted, whoever may see it? */
extern bool pull_is_alive(const Pull *pull, const PullTable *p, const Datum *keys);

#endif
