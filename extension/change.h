/*
 * change.h - one pushed change: what was asked, and its verdict. Shared by push.c, apply.c, verdict.c.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef SYNC_CHANGE_H
#define SYNC_CHANGE_H

#include "sync.h"

#include "executor/spi.h"
#include "nodes/parsenodes.h"
#include "utils/hsearch.h"
#include "utils/uuid.h"
#include "utils/resowner.h"

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

/* What goes to the conflict log when the push is done. */
typedef struct Conflict
{
	pg_uuid_t	uuid;
	char		id[37];
	const char *kind;			/* edit, delete, constraint, version */
	const char *outcome;		/* local, server, merged, open */
	const char *rule;			/* names, comma between */
	List	   *fields;			/* of char *: names of columns */
	const char *local_data;		/* JSON; NULL: none */
	const char *audience;		/* whom the entry may reach, besides that it must concern them */
	const char *server_data;	/* JSON of the row as it stood; NULL: none */
	const char *changed_by;
	int64		server_version;
} Conflict;

typedef struct Change
{
	/* what was asked */
	int			index;
	JsonbContainer *object;
	char	   *queue_id;		/* NULL: repeats are told apart by the base check only */
	int64		body_hash;
	Operation	operation;
	char	   *entity_type;
	char	   *given_id;		/* NULL on create: the key comes from the defaults */
	char	   *entity_id;		/* given, or found while applying */
	char	   *ref;			/* queue_id of the create whose key this is */
	SyncTable  *table;
	JsonbContainer *data;
	JsonbContainer *base;
	int64		local_version;	/* -1: not said */
	TimestampTz edited_at;
	bool		restores;		/* a person wants the deleted row back: what the change leaves out comes from its last image */
	/* the verdict */
	bool		is_decided;
	bool		is_repeat;
	bool		is_stored;		/* in the ledger already, or not to be put there */
	bool		is_in_ledger;	/* the ledger had its queue_id, with this body or another */
	bool		is_revived;		/* failed first, and stands since a later change of the batch did */
	const char *status;
	const char *outcome;
	char	   *result_id;		/* entity_id in the answer */
	int64		server_version; /* 0: none */
	char	   *data_now;		/* JSON of the row */
	Conflict   *conflict;		/* NULL: none */
	bool		shows_conflict; /* conflict_data belongs to the answer: something of the change was lost or is open */
	char	   *stored_answer;	/* from the ledger */
	const char *error_code;
	char	   *error_message;
	char	   *error_hint;
	char	   *error_extra;	/* further members of "error" as JSON, without braces; NULL: none */
} Change;

typedef struct Writer Writer;

/* Columns of one table, by index. */
typedef struct Rights
{
	const SyncTable *table;
	Bitmapset  *columns;		/* NULL: none */
	bool		all;
} Rights;

typedef struct Push
{
	const char *user;			/* "" for nobody */
	char	   *device;
	uint64		device_hash;	/* of user and device */
	int64		ledger_device;	/* the ledger's number for user and device; 0: none yet */
	int64		schema_version; /* -1: not said */
	int64		schema_current; /* -1: none set */
	bool		is_atomic;
	TimestampTz now;
	int			nchanges;
	Change	   *changes;
	List	   *tables;			/* of SyncListed */
	List	   *scopes;			/* of SyncScope, read once */
	List	   *plans;			/* of PushPlan */
	List	   *locks;			/* held by others on rows of this batch */
	HTAB	   *by_queue;		/* queue_id → first change with it */
	SyncPushStamp stamp;
	Rights		rights[2];		/* what the caller may insert, and update */
	Rights		readable;
	Writer	   *writer;			/* the table rows are written to without a statement each; NULL: none open */
	MemoryContext context;		/* lives as long as the push: verdicts, scopes, plans */
	MemoryContext scratch;		/* lives as long as one change is worked on */
} Push;

/* Entry of the hash table of queue ids. */
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

/* A deletion that the caller may know of. */
typedef struct Deletion
{
	int64		version;		/* 0: none */
	TimestampTz edited_at;
	uint64		device;
	char	   *scope;			/* value of the row that went; NULL: none */
	char	   *changed_by;
} Deletion;

/* attempt.c */
extern ErrorData *attempt_drop(const SyncAttempt *attempt);	/* in PG_CATCH */

/* value.c: raises the type's own error; columns that the database alone sets are passed over */
extern Field *value_read_fields(Push *push, const SyncTable *table, JsonbContainer *object, int *n);
extern Datum value_from_json(Push *push, const SyncTable *table, const SyncColumn *column, JsonbValue *v, bool *isnull);
extern Jsonb *value_to_json(const SyncColumn *column, Datum value, bool isnull);	/* NULL for a NULL */
extern bool value_is_server_column(const SyncTable *table, int column);
extern bool value_equals(const SyncColumn *column, const Field *field, Datum value, bool isnull);
extern bool value_equals_row(const SyncTable *table, const Field *field, const Row *row);
extern bool value_all_equal(const SyncTable *table, const Field *fields, int n, const Row *row);

/* row.c */
extern SPIPlanPtr push_plan(Push *push, const char *sql, int nargs, Oid *types);
extern Row	row_read(Push *push, const SyncTable *table, const Datum *keys, const char *suffix);	/* suffix: a locking clause, or "" */
extern bool row_may_see(Push *push, const SyncTable *table, const Datum *keys);
extern const SyncScope *row_scope_held(Push *push, const SyncTable *table);
extern bool row_in_held_scope(Push *push, const SyncTable *table, const Row *row);
extern bool row_is_marked(const SyncTable *table, const Row *row);
extern int64 row_version(const SyncTable *table, const Row *row);
extern const Bitmapset *row_readable(Push *push, const SyncTable *table, bool *all);	/* NULL: the caller may not read the table */
extern Bitmapset *row_writable(const SyncTable *table, AclMode mode);
extern char *row_read_again(Push *push, SyncTable *table, const char *entity_id);	/* row as JSON under today's rights, or NULL */
extern Deletion row_seen_deletion(Push *push, const Change *change);

/* read_change.c: reads members, times, privileges and edit windows; raises nothing */
extern void change_read(Push *push, Change *change, const JsonbValue *v);
extern void change_check_data(Push *push, Change *change);	/* each member of data a column that the caller may write */
extern void change_bad(Push *push, Change *change, const char *message, const char *hint);

/* ledger.c, in the order they are called */
extern void ledger_index(Push *push);	/* the first change of the batch with each queue_id */
extern void ledger_read(Push *push);	/* answers what an earlier push decided */
extern void ledger_set_repeats_aside(Push *push);	/* a queue_id twice in one batch: the second waits for the first */
extern void ledger_answer_repeats(Push *push);
extern void ledger_write(Push *push);

/* verdict.c; what it keeps is allocated in the push's context */
extern void verdict_clear(Change *change);
extern void verdict_success(Change *change, const char *outcome, int64 version);
extern void verdict_error(Push *push, Change *change, const char *code, const char *message, const char *hint);
extern bool verdict_has_code(const Change *change, const char *code);
extern void verdict_not_found(Push *push, Change *change);
extern void verdict_forbidden(Push *push, Change *change);
extern void verdict_row(Push *push, Change *change, const Row *row);	/* "data" of the answer */
extern void verdict_conflict(Change *change, const char *outcome, int64 version);	/* superseded or conflict; the collision is recorded already */
extern bool verdict_is_key_taken(const Change *change, const ErrorData *error);
extern void verdict_from_error(Push *push, Change *change, const ErrorData *error);
extern void verdict_put(StringInfo out, const Change *change);
extern void verdict_put_stored(StringInfo out, const Change *change);	/* what the ledger keeps */

/* lock.c */
extern void lock_read(Push *push);
extern bool lock_is_held(const Push *push, const Change *change);
extern void lock_refuse(Push *push, Change *change);
extern void lock_release(Push *push);

/* conflict.c */
extern void conflict_record(Push *push, Change *change, const char *kind, const char *outcome, const char *rule, List *fields,
							const Row *server, int64 server_version);	/* fields NIL: all of data; server NULL: no row */
extern void conflict_with_deletion(Push *push, Change *change, const char *outcome, const char *rule, const Deletion *deletion);
extern void conflict_record_errors(Push *push);	/* final errors of constraints and schema versions */
extern void conflict_write(Push *push);
extern void conflict_put(StringInfo out, const Change *change);	/* conflict_data */

/* decide.c: what becomes of a change that meets a living row */
typedef enum Decision
{
	DECIDE_NOOP, DECIDE_WRITE, DECIDE_LOSE
} Decision;

typedef struct Merge
{
	Decision	decision;
	const char *outcome;		/* applied, merged, superseded, conflict */
	Field	   *writes;
	int			nwrites;
	bool		lost;			/* some of its values were not taken */
} Merge;
extern Merge decide_update(Push *push, Change *change, const Row *row, Field *fields, int n);	/* records the collision */
extern bool decide_base_holds(Push *push, const Change *change, const Row *row);	/* of the row as a whole */

/* merge.c: one column in which both sides wrote */
typedef enum Winner
{
	WINNER_LOCAL, WINNER_SERVER, WINNER_BOTH
} Winner;

typedef struct Side
{
	Datum		value;
	bool		isnull;
	bool		is_known;		/* of base: the client said what it knew */
} Side;
extern const SyncColumnRule *merge_own_rule(const SyncColumn *column);	/* not a member's; NULL: none */
extern Winner merge_column(Push *push, const SyncTable *table, const SyncColumn *column, const Side *local, const Side *server, const Side *base,
						   bool local_is_later, Field *result);

/* writer.c: rows written without a statement each, where that makes no difference */
extern Writer *writer_for(Push *push, const SyncTable *table);	/* NULL: this table needs statements; closes any other */
extern Writer *writer_for_inserts(Push *push, const SyncTable *table);
extern Row	writer_read(Writer *writer, const Datum *keys);	/* locked; valid until the next */
extern Row	writer_update(Writer *writer, Push *push, const Change *change, const Field *fields, int n);	/* the row last read */
extern Row	writer_insert(Writer *writer, Push *push, const Change *change, const Field *fields, int n);	/* change NULL: stamped like SQL */
extern bool writer_knows_deletion(Writer *writer, const char *entity_id);
extern void writer_close(Push *push);
extern void writer_forget(Push *push);

/* push.c */
extern void push_begin(Push *push, const char *device);	/* who, when, and where memory comes from; the caller is inside SPI */

/* write.c: as the caller; errors of the database are raised */
typedef struct Statement
{
	StringInfoData sql;
	int			n;
	Oid		   *types;
	Datum	   *values;
	char	   *nulls;
} Statement;
extern void write_stamp(Push *push, const Change *change);	/* for the row about to be written: the client's edit time and device */
extern void write_begin(Statement *s, int room);
extern int	write_param(Statement *s, const SyncTable *table, const Field *field);	/* its number */
extern void write_key(Statement *s, const SyncTable *table, const Datum *keys);	/* " WHERE key = …" */
extern uint64 write_run(Push *push, const Change *change, const char *sql, int n, Oid *types, Datum *values, const char *nulls);
extern void write_insert(Push *push, Change *change, const Field *fields, int n);	/* these two report as well */
extern void write_update(Push *push, Change *change, const Datum *keys, const Field *fields, int n, const char *outcome);	/* of the row read last */
extern void write_report(Push *push, Change *change, const Row *row, const Datum *keys, const char *outcome);
extern void write_report_again(Push *push, Change *change, const Datum *keys, const char *outcome);	/* reads the row first */
extern void write_turned_away(Push *push, Change *change);
extern void write_raise_not_found(void) pg_attribute_noreturn();
extern bool write_has_field(const Field *fields, int n, int column);

/* revive.c */
extern const char *revive_rule_name(const SyncTable *table);
extern void revive_update(Push *push, Change *change, const Row *row, const Datum *keys, Field *fields, int n, const Deletion *deletion);
extern void revive_create(Push *push, Change *change, const Row *row, const Datum *keys, Field *fields, int n, const Deletion *deletion);

/* apply.c: decides and writes one change */
extern void apply_change(Push *push, Change *change);
extern void apply_complete_key(const SyncTable *table, const Datum *keys, Field *fields, int *n);

/* reference.c */
extern void reference_check(Push *push, const SyncTable *table, const Row *row);	/* raises */

#endif
