/*
 * change.h - one pushed change: what was asked, and its verdict. Shared by push.c, apply.c, verdict.c.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef SYNC_CHANGE_H
#define SYNC_CHANGE_H

#include "sync.h"

#include "executor/spi.h"
#include "utils/hsearch.h"

typedef enum Operation
{
	OP_CREATE, OP_UPDATE, OP_DELETE
} Operation;

/* One column of "data" or "base" as its type reads it. */
typedef struct Field
{
	int			column;			/* index into table->columns */
	bool		isnull;
	Datum		value;
} Field;

typedef struct Change
{
	/* what was asked */
	int			index;
	JsonbContainer *object;
	char	   *queue_id;		/* NULL: repeats are told apart by the base check only */
	int64		body_hash;
	Operation	operation;
	char	   *operation_name;
	char	   *entity_type;
	char	   *given_id;		/* NULL on create: the key comes from the defaults */
	char	   *entity_id;		/* given, or found while applying */
	char	   *ref;			/* queue_id of the create whose key this is */
	SyncTable  *table;
	JsonbContainer *data;
	JsonbContainer *base;
	int64		local_version;	/* -1: not said */
	TimestampTz edited_at;
	/* the verdict */
	bool		is_decided;
	bool		is_repeat;
	bool		is_stored;		/* in the ledger already */
	bool		is_chained;		/* applied on the version its device knew, so that its next change follows on */
	const char *status;
	const char *outcome;
	char	   *result_id;		/* entity_id in the answer */
	int64		server_version; /* 0: none */
	char	   *data_now;		/* JSON of the row */
	char	   *conflict_id;
	char	   *conflict_data;
	char	   *stored_answer;	/* from the ledger */
	const char *error_code;
	char	   *error_message;
	char	   *error_hint;
} Change;

typedef struct Push
{
	const char *user;			/* "" for nobody */
	char	   *device;
	uint64		device_hash;
	bool		is_atomic;
	TimestampTz now;
	int			nchanges;
	Change	   *changes;
	List	   *tables;			/* of SyncListed */
	List	   *scopes;			/* of SyncScope, read once */
	List	   *plans;			/* of PushPlan */
	HTAB	   *latest;			/* entity → index of the last change that wrote it */
	HTAB	   *by_queue;		/* queue_id → first change with it */
	SyncPushStamp stamp;
	MemoryContext context;		/* lives as long as the push */
} Push;

/* Entry of the two hash tables of a push; longer keys are left out. */
#define TEXT_KEY_MAX 256
typedef struct TextEntry
{
	char		key[TEXT_KEY_MAX];
	int			index;			/* into changes */
} TextEntry;

/* A row as it stands, or none. */
typedef struct Row
{
	HeapTuple	tuple;			/* NULL: absent */
	TupleDesc	desc;
} Row;

/* value.c: raises the type's own error; columns that the database alone sets are passed over */
extern Field *value_read_fields(Push *push, const SyncTable *table, JsonbContainer *object, int *n);
extern bool value_all_equal(const SyncTable *table, const Field *fields, int n, const Row *row);

/* row.c */
extern SPIPlanPtr push_plan(Push *push, const char *sql, int nargs, Oid *types);
extern Row	row_read(Push *push, const SyncTable *table, const Datum *keys, const char *suffix);	/* suffix: a locking clause, or "" */
extern bool row_may_see(Push *push, const SyncTable *table, const Datum *keys);
extern const SyncScope *row_scope_held(Push *push, const SyncTable *table);
extern bool row_in_held_scope(Push *push, const SyncTable *table, const Row *row);
extern bool row_is_marked(const SyncTable *table, const Row *row);
extern int64 row_version(const SyncTable *table, const Row *row);
extern char *row_read_again(Push *push, SyncTable *table, const char *entity_id);	/* row as JSON under today's rights, or NULL */
extern int64 row_seen_deletion(Push *push, const Change *change);	/* version of a deletion the caller may know of; 0: none */

/* read_change.c: reads members and privileges; the time apart, because a malformed one raises */
extern void change_read(const Push *push, Change *change, const JsonbValue *v);
extern void change_read_timestamp(const Push *push, Change *change);
extern void change_bad(Change *change, const char *message, const char *hint);

/* ledger.c, in the order they are called */
extern void ledger_index(Push *push);	/* the first change of the batch with each queue_id */
extern void ledger_read(Push *push);	/* answers what an earlier push decided */
extern void ledger_set_repeats_aside(Push *push);	/* a queue_id twice in one batch: the second waits for the first */
extern void ledger_answer_repeats(Push *push);
extern void ledger_write(Push *push);

/* verdict.c */
extern void verdict_clear(Change *change);
extern void verdict_success(Change *change, const char *outcome, int64 version);
extern void verdict_error(Change *change, const char *code, const char *message, const char *hint);
extern void verdict_not_found(Change *change);
extern void verdict_forbidden(Change *change);
extern bool verdict_is_key_taken(const Change *change, const ErrorData *error);
extern void verdict_from_error(Change *change, const ErrorData *error);
extern void verdict_conflict(Push *push, Change *change, const char *kind, bool is_won, HeapTuple server, TupleDesc desc,
							 int64 server_version);
extern void verdict_put(StringInfo out, const Change *change);
extern void verdict_put_stored(StringInfo out, const Change *change);	/* what the ledger keeps */

/* apply.c: decides and writes one change; errors of the database are raised */
extern void apply_change(Push *push, Change *change);

#endif
