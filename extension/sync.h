/*
 * sync.h - the extension's one header: what it knows of a synced table, and what each file offers the others.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef SYNC_H
#define SYNC_H

#include "postgres.h"

#include "access/htup.h"
#include "access/transam.h"
#include "access/tupdesc.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"
#include "tcop/dest.h"
#include "utils/date.h"
#include "utils/jsonb.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

/* Whole-request errors carry an HTTP status in their SQLSTATE, so that every transport answers alike. */
#define SYNC_ERR_BAD_REQUEST	MAKE_SQLSTATE('S','Y','4','0','0')
#define SYNC_ERR_NOBODY			MAKE_SQLSTATE('S','Y','4','0','1')
#define SYNC_ERR_FORBIDDEN		MAKE_SQLSTATE('S','Y','4','0','3')
#define SYNC_ERR_NOT_FOUND		MAKE_SQLSTATE('S','Y','4','0','4')	/* of one change: undoes what it logged */
#define SYNC_ERR_WRONG_STATE	MAKE_SQLSTATE('S','Y','4','0','9')
#define SYNC_ERR_TOO_OLD		MAKE_SQLSTATE('S','Y','4','2','6')
#define SYNC_ERR_TOO_MANY		MAKE_SQLSTATE('S','Y','4','2','9')
#define SYNC_ERR_UNPROCESSABLE	MAKE_SQLSTATE('S','Y','4','2','2')
#define SYNC_ERR_TOO_LARGE		MAKE_SQLSTATE('S','Y','4','1','3')
#define SYNC_ERR_TOO_MANY		MAKE_SQLSTATE('S','Y','4','2','9')

/* Limits, by name. */
#define SYNC_ROW_LIMIT			(1024 * 1024)		/* one pushed change, bytes of JSON */
#define SYNC_PUSH_LIMIT			(16 * 1024 * 1024)	/* one push */
#define SYNC_PUSH_CHANGES		10000
#define SYNC_PAGE_BYTES			(8 * 1024 * 1024)	/* a page of pull, and the largest row sent */
#define SYNC_PAGE_ROWS			1000				/* default of "limit" */
#define SYNC_PAGE_ROWS_MAX		10000
#define SYNC_PAGE_MS			2000				/* time budget of a page */
#define SYNC_BROADCAST_LIMIT	(64 * 1024)			/* payload of sync.broadcast() */
#define SYNC_RELAY_LIMIT		(512 * 1024)		/* what one streamer tells the others at once */
#define SYNC_XIP_LIMIT			500					/* above it a cursor falls back to xmin:xmin: */
#define SYNC_FIRST_TABLE		100					/* ids below belong to the extension's own synced tables */
#define SYNC_CLOCK_AHEAD		(60 * USECS_PER_SEC) /* a client's clock may lead by this much */

/* A column of a synced table, in attnum order; dropped and sync_ columns are not listed. */
typedef struct SyncColumn
{
	char	   *name;
	AttrNumber	attnum;
	Oid			type;
	int32		typmod;
	Oid			base;			/* the type, below domains */
	char		kind;			/* how it is written as JSON, see render.c */
	char	   *json_name;		/* "name": */
	int			json_name_len;
	bool		is_generated;
	uint32		name_hash;		/* what sync_clock knows it by */
	int16		len;
	bool		byval;
	FmgrInfo	output;
	List	   *rules;			/* of SyncColumnRule: for the column, or for members of its JSON; NIL: the table's rule decides */
} SyncColumn;

typedef enum SyncRule
{
	RULE_MERGE, RULE_LWW, RULE_REJECT, RULE_MANUAL,	/* of tables */
	RULE_UNION, RULE_APPEND, RULE_COUNTER, RULE_TEXT, RULE_SERVER, RULE_CLIENT, RULE_MAX, RULE_MIN, RULE_OBJECT, RULE_RESOLVER	/* of columns, besides lww */
} SyncRule;
extern SyncRule sync_rule_by_name(const char *name);
extern const char *sync_rule_name(SyncRule rule);

typedef struct SyncColumnRule
{
	char	   *member;			/* of a JSON column; NULL: the column itself */
	SyncRule	rule;
	Oid			resolver;
} SyncColumnRule;

typedef enum SyncDeleteRule
{
	DELETE_WINS, EDIT_WINS, DELETE_LWW
} SyncDeleteRule;

typedef struct SyncTable
{
	Oid			relid;
	int32		id;				/* new at each enable */
	uint64		generation;		/* of this reading of the registry: no other has the same in this backend */
	char	   *entity_type;
	char	   *json_type;		/* ,"entity_type":"…","entity_id": */
	int			json_type_len;
	char	   *scope;			/* scope name or NULL */
	int32		scope_id;
	bool		is_soft;		/* DELETE marks deleted_at */
	SyncRule	rule;
	SyncDeleteRule delete_rule;
	bool		has_history;
	bool		enforce_locks;
	bool		is_anonymous;	/* others see no name */
	bool		verify;
	Interval   *edit_window;	/* NULL: none */
	List	   *policy_columns;	/* of SyncColumn: what row-local policies look at */
	bool		policy_is_scope;
	bool		has_policies;	/* row-level security is on */
	int			priority;
	FullTransactionId enabled_xid;	/* the index holds ids above it */
	FullTransactionId known_epoch;	/* registry.c: word has come of all that this and earlier epochs brought */
	int			ncolumns;
	SyncColumn *columns;
	int			nkeys;
	int		   *keys;			/* indexes into columns, in key order */
	bool		scope_is_indexed;	/* by an index of all rows that begins with the scope column */
	SyncColumn *scope_column;	/* NULL: none; for tables enabled via another it is sync_scope, which is not among columns */
	int			deleted_at;		/* likewise */
	int			updated_at;		/* likewise */
	AttrNumber	version_att;
	AttrNumber	xid_att;
	AttrNumber	at_att;
	AttrNumber	by_att;
	AttrNumber	clock_att;
	int			natts;			/* of the relation when this was read */
	char	   *sql_name;		/* quoted schema.table */
	char	   *from_name;		/* the same for FROM and UPDATE: with ONLY, unless its rows are in partitions */
	int			via;			/* index into columns: names the parent row whose scope value this one has; -1: none */
	Oid			parent;			/* the synced table that via refers to */
	bool		is_partition;	/* as its triggers see it: attribute numbers are the partition's, relid and names the root's */
	char	   *broken;			/* why it cannot be pulled, and the cure; NULL: it can */
	bool		is_unsound;		/* broken so that not even its rows can be stamped */
} SyncTable;

/* sync.c: settings and identity */
extern bool sync_allow_nobody;
extern int	sync_max_conflicts;
extern int	sync_max_ledger;
extern const char *sync_user_id(void);	/* claim sub; NULL for nobody. Valid until the claims change. */
extern uint64 sync_identity_hash(void);
extern bool sync_is_identity_setting(const char *name);
extern uint64 sync_device_hash(const char *user, const char *device);
extern uint64 sync_hash(const char *data, int len, uint64 seed);

typedef struct SyncRole
{
	Oid			user;
	int			context;
} SyncRole;
extern void sync_become(SyncRole *saved, Oid role);
extern void sync_become_extension(SyncRole *saved);
extern void sync_message(const char *json, bool transactional);	/* to the streamers, by the WAL; in feed.c */
extern char *sync_message_key(void);
extern void sync_write_message(const char *key, const char *json, bool transactional);
extern void sync_become_back(const SyncRole *saved);

/* table.c: the registry, cached per backend */
extern void sync_table_init(void);
extern SyncTable *sync_table_by_relid(Oid relid, bool missing_ok);	/* a broken one counts as missing; held until the transaction ends */
extern SyncTable *sync_table_even_broken(Oid relid);
extern SyncTable *sync_table_of_trigger(Oid relid);	/* of the table or partition; NULL: it cannot be stamped, so writes pass */
extern Oid	sync_relid(const char *name);	/* an internal table or index of schema sync */
extern Bitmapset *sync_readable_columns(const SyncTable *table, bool *all);	/* NULL: may not read the table at all */
extern char *sync_operator(Oid type, bool less);	/* "OPERATOR(schema.=)", or > for less = true's mirror */
extern Oid	sync_base_type(Oid type);
extern const char *sync_key_constraint(const SyncTable *table);
extern bool sync_is_marked(const SyncTable *table, HeapTuple tuple, TupleDesc desc);	/* deleted softly */
extern Oid	sync_table_owner(const SyncTable *table);
extern void sync_put_all_columns(StringInfo sql, const SyncTable *table);	/* a select list in attnum order, alias t */
extern void sync_put_key(StringInfo sql, const SyncTable *table, int first_param, Oid *types);	/* "t.k = $n AND …" */

/* table_read.c: of the table or its partition relid, in a context of its own that outlives the transaction; NULL: not synced */
extern SyncTable *sync_table_read(Oid relid, Oid root, MemoryContext *kept);

/* What sync.set_schema_version() says; -1: nothing. The caller is inside SPI. */
extern void sync_schema_versions(int64 *oldest, int64 *current);

/* registry.c: our own small tables, as the active snapshot shows them */
typedef struct SyncListed
{
	SyncTable  *table;
	FullTransactionId epoch;	/* clients whose cursor does not see it start anew */
	bool		is_held;		/* table is, by sync_table_by_relid() */
} SyncListed;
extern SyncTable *sync_table_by_id(const List *tables, int32 id);	/* of such a list; NULL: not synced */
extern SyncTable *sync_table_held(const List *tables, int32 id);	/* the same, until the transaction ends; NULL also when it went meanwhile */
extern List *sync_list_tables(void);	/* of SyncListed, by priority and id */
extern List *sync_list_broken(void);	/* those left out of it */

typedef struct SyncInstance
{
	uint32		incarnation;
	uint64		horizon;		/* the highest transaction of a purged tombstone */
	int			schema_oldest;	/* of clients that are served; 0: any */
} SyncInstance;
extern void sync_read_instance(SyncInstance *instance);
extern void sync_read_scope(int32 scope_id, char **name, char **members);

/* format.c: the pieces that JSON is written of */
#define SYNC_FORMAT_ROOM 64		/* the longest of the texts below, and of a number */
extern void sync_put(StringInfo out, const char *data, int len);
extern void sync_render_string(StringInfo out, const char *text, int len);
extern void sync_render_member(StringInfo out, const char *name, const char *text);	/* ,"name":"text" or null */
extern void sync_render_timestamp(StringInfo out, TimestampTz at);
extern int	sync_format_timestamp(char *out, Timestamp at, bool with_zone);	/* 0: an edge that the output function must write */
extern int	sync_format_date(char *out, DateADT date);
extern int	sync_format_uuid(char *out, const unsigned char *bytes);
extern void sync_iso_timestamp(char *text);

/* render.c: the one JSON rendering */
extern char sync_kind(Oid type);
extern void sync_render_setup(SyncColumn *column);
extern void sync_render_value(StringInfo out, const SyncColumn *column, Datum value);
extern char *sync_value_text(const SyncColumn *column, Datum value);	/* without quotes: keys, scopes */
extern char *sync_entity_id(const SyncTable *table, HeapTuple tuple, TupleDesc desc);
extern char *sync_entity_id_of(const SyncTable *table, const Datum *keys);
extern bool sync_parse_entity_id(const SyncTable *table, const char *entity_id, Datum *keys);
extern Datum sync_parse_text(const SyncColumn *column, const char *text);

/* One living row as a change object; readable NULL: every column. Values are in the order of attribute numbers. */
extern void sync_render_change(StringInfo out, const SyncTable *table, const Datum *values, const bool *nulls,
							   const Bitmapset *readable, bool is_origin);
extern void sync_render_row(StringInfo out, const SyncTable *table, HeapTuple tuple, TupleDesc desc, const Bitmapset *readable);
extern void sync_render_data(StringInfo out, const SyncTable *table, HeapTuple tuple, TupleDesc desc,
							 const Bitmapset *readable);
extern bool sync_is_too_large(const SyncTable *table, HeapTuple tuple, TupleDesc desc, const Bitmapset *readable);	/* to be sent: told without reading it */

/* plan.c: plans kept per backend, each for one role */
#define SYNC_MAX_PARAMS (16 + INDEX_MAX_KEYS)
typedef struct SyncParams
{
	int			n;
	Oid			types[SYNC_MAX_PARAMS];
	Datum		values[SYNC_MAX_PARAMS];
} SyncParams;

/* What a plan was made for, without padding. sync_plan_find fills in the role. */
typedef struct SyncPlanKey
{
	uint64		table;			/* generation of the table, or a hash of the text */
	uint64		readable;		/* hash of the columns that may be read, 0: all */
	uint32		shape;
	int32		limit;
	Oid			user;
	uint32		row_security;
} SyncPlanKey;
struct _SPI_plan;
extern void sync_plans_begin(void);
extern void sync_plans_end(void);
extern int	sync_param(SyncParams *params, Oid type, Datum value);	/* its number */
extern struct _SPI_plan *sync_plan_find(SyncPlanKey *key);	/* NULL: not there */
extern struct _SPI_plan *sync_plan_keep(const SyncPlanKey *key, const char *sql, const SyncParams *params, int options);
extern void sync_plan_along_index(struct _SPI_plan *plan);	/* a generic one; before each run */
extern void sync_plan_run(struct _SPI_plan *plan, const SyncParams *params, DestReceiver *dest);

/* Between these an error comes of what the application says of its rows: policies, scopes, types. Its context names what was read. */
typedef struct SyncReading
{
	ErrorContextCallback callback;
	const char *kind;
	const char *name;
} SyncReading;
extern void sync_reading_begin(SyncReading *reading, const char *kind, const char *name);
extern void sync_reading_end(const SyncReading *reading);

/* snapshot.c */
typedef struct SyncSnapshot
{
	uint64		xmin;
	uint64		xmax;
	int			nxip;
	uint64	   *xip;
} SyncSnapshot;
extern SyncSnapshot *sync_snapshot_now(void);	/* the active snapshot */
extern SyncSnapshot *sync_snapshot_parse(const char *text);	/* NULL if malformed */
extern char *sync_snapshot_text(const SyncSnapshot *snapshot);
extern bool sync_snapshot_sees(const SyncSnapshot *snapshot, uint64 xid);
extern bool sync_snapshot_knows_epoch(const SyncSnapshot *snapshot, FullTransactionId epoch);
extern bool sync_snapshot_equal(const SyncSnapshot *a, const SyncSnapshot *b);
extern XLogRecPtr sync_flush_wal(void);

/* token.c */
typedef struct SyncHeldScope
{
	int32		scope_id;
	int			nhashes;
	uint64	   *hashes;
} SyncHeldScope;

/* Of the rows of one table that its holder was sent; for tables enabled with verify. */
typedef struct SyncDigest
{
	int32		table;
	uint64		count;
	uint64		sum;			/* of a hash of entity id and version of each */
} SyncDigest;

/* What a token's holder was sent, and where it stands. */
typedef struct SyncToken
{
	/* session part */
	uint64		system_id;
	uint32		incarnation;
	uint64		identity;
	int			schema_version;	/* of the client's own tables; -1: it does not say */
	int			ntables;
	int32	   *tables;
	char	  **names;			/* their entity types: one that is no longer there, or not for its holder, has to be named */
	int			nscopes;
	SyncHeldScope *scopes;
	int			ndigests;
	SyncDigest *digests;
	uint64		digest_xmin;	/* of the cursor that they were counted for, */
	uint64		digest_place;	/* and its sync_token_place() */
	/* position */
	uint32		timeline;
	XLogRecPtr	lsn;
	SyncSnapshot *lower;		/* C; NULL: nothing was sent before this round */
	SyncSnapshot *upper;		/* S; NULL: the round is finished */
	int			nwhole;			/* tables sent whole in this round */
	int32	   *whole;
	List	   *gained;			/* of SyncHeldScope: scopes sent whole in this round */
	int32		part_table;		/* where the next page starts */
	char		part_phase;
	char	   *part_key;		/* JSON array text of the last row's place, "" at a part's start */
} SyncToken;
extern bool sync_token_is_streamed(const SyncToken *token);	/* its position was made by the streamer */
extern uint64 sync_token_place(const SyncSnapshot *cursor);
extern bool sync_held_has(const SyncHeldScope *held, uint64 hash);	/* held NULL: no */
extern char *sync_token_write(const SyncToken *token);
extern SyncToken *sync_token_read(const char *text);	/* NULL: not a token of ours */
extern bool sync_token_covers(const SyncToken *token, int32 table_id);

/* scope.c: which scope values the caller holds */
typedef struct SyncScope
{
	int32		id;
	char	   *name;
	int			nvalues;
	char	  **values;
	uint64	   *hashes;
} SyncScope;
extern SyncScope *sync_scope_held(int32 scope_id);	/* inside SPI, as the caller */
extern bool sync_scope_has(const SyncScope *scope, const char *value);
extern Datum sync_text_array(char **values, int n);

/*
 * clock.c: who last wrote each column. A write by SQL has device 0. Columns that have no write of their own in sync_clock share its entry for
 * the rest; a NULL sync_clock means that all were last written by the write of sync_version, at sync_at, by SQL.
 */
typedef struct SyncWrite
{
	int64		version;
	TimestampTz edited_at;		/* already clamped */
	uint64		device;
	uint64		queue;
} SyncWrite;
extern SyncWrite *sync_clock_columns(const SyncTable *table, HeapTuple tuple, TupleDesc desc);	/* of each, indexed like table->columns */
/* What a row says before it is written. */
typedef struct SyncOldClock
{
	int64		version;
	TimestampTz at;
	Datum		clock;
	bool		isnull;
} SyncOldClock;
extern Datum sync_clock_next(const SyncTable *table, const SyncOldClock *old, const int *changed, int nchanged, const SyncWrite *write,
							 TimestampTz at, bool *isnull);	/* old or changed NULL: every column is written */
extern Datum sync_clock_keep(const SyncTable *table, HeapTuple old, TupleDesc desc, int64 version);	/* the same writes, under a new version */
extern void sync_clock_newest(const SyncTable *table, HeapTuple tuple, TupleDesc desc, SyncWrite *out);	/* of the row */

/* attempt.c: one that failed or is undone takes back what was written since it began */
typedef struct SyncAttempt
{
	MemoryContext context;
	ResourceOwner owner;
} SyncAttempt;
extern void sync_attempt_begin(SyncAttempt *attempt);
extern void sync_attempt_keep(const SyncAttempt *attempt);
extern void sync_attempt_undo(const SyncAttempt *attempt);
extern ErrorData *sync_attempt_failed(const SyncAttempt *attempt);	/* in PG_CATCH */
extern bool sync_error_is_of_moment(int sqlstate);	/* it says nothing of what was read */

/* policy.c: row-level security that looks at nothing but the row and who asks */
struct RowSecurityPolicy;
extern char *sync_policy_judge(Oid relid, Bitmapset **columns);	/* attribute numbers; or why they look elsewhere, else NULL */
extern bool sync_policy_is_for_reading(const struct RowSecurityPolicy *policy);

/* policy_check.c: the same, asked about rows that are gone */
typedef struct SyncPolicyCheck SyncPolicyCheck;
extern SyncPolicyCheck *sync_policy_check(const SyncTable *table);	/* of the caller; NULL: under no policy */
extern bool sync_policy_allows(SyncPolicyCheck *check, const char *old_values);	/* text of tombstone.old_values, or NULL */
extern Datum sync_policy_values(const SyncTable *table, HeapTuple row, TupleDesc desc);	/* jsonb for tombstone.old_values */

/* via.c: rows that have their parent's scope value */
extern bool sync_inherit_scope(const SyncTable *table, const Datum *old_values, const bool *old_nulls, Datum *values, bool *nulls);	/* true: it has another
																																	 * one than OLD; old NULL: an insert */
extern bool sync_is_moved(const SyncTable *table, HeapTuple old, HeapTuple new, TupleDesc desc);	/* has another scope value */

/* partition.c: rows that move from one partition to another, seen as UPDATE, DELETE and INSERT */
struct TriggerData;
extern void sync_may_leave(const struct TriggerData *data, const SyncTable *table, HeapTuple new);	/* BEFORE UPDATE */
extern bool sync_is_leaving(const struct TriggerData *data);	/* BEFORE DELETE */
extern bool sync_is_arriving(const SyncTable *table, HeapTuple row, TupleDesc desc);	/* BEFORE INSERT */

/* stamp.c */
extern void sync_check_row_trigger(FunctionCallInfo fcinfo, const char *name, bool is_before);	/* an error where a trigger function is called as anything else */
/* While a push writes one row, its stamp is the client's edit time instead of "by SQL, now". */
typedef struct SyncPushStamp
{
	Oid			relid;
	SyncWrite	write;			/* its version is set by the trigger */
	List	   *merged;			/* hashes of the names of columns that take in what others wrote, see decide.c */
	int			soft_deletes;	/* rows our BEFORE DELETE trigger marked */
	char	   *entity_id;		/* key of the last row stamped, in TopTransactionContext */
} SyncPushStamp;
extern SyncPushStamp *sync_push_stamp;	/* NULL outside push */

/* tombstone_scan.c */
typedef struct SyncTombstoneScan SyncTombstoneScan;
extern void sync_tombstone_scan_init(void);
extern SyncTombstoneScan *sync_tombstone_scan_begin(MemoryContext context);	/* of the statement: ends with it */
extern int64 sync_tombstone_version(SyncTombstoneScan *open, const SyncTable *table, const char *entity_id);

/* tombstone.c */
extern void sync_tombstone_add(const SyncTable *table, HeapTuple old, TupleDesc desc, const char *reason);
#define SYNC_GRAVE_COLUMNS "t.id, t.entity_id, t.scope_value, t.version, t.sync_xid, t.reason, t.at, t.changed_by, t.old_values"
enum
{
	SYNC_GRAVE_ID = 1, SYNC_GRAVE_ENTITY, SYNC_GRAVE_SCOPE, SYNC_GRAVE_VERSION, SYNC_GRAVE_XID, SYNC_GRAVE_REASON, SYNC_GRAVE_AT, SYNC_GRAVE_BY,
	SYNC_GRAVE_OLD
};
extern void sync_render_tombstone(StringInfo out, const SyncTable *table, HeapTuple row, TupleDesc desc);

/* audience.c */
extern char *sync_audience_of(const SyncTable *table, const char *scope_value);	/* of a row with that value; NULL for none */
extern char *sync_audience(const SyncTable *table, HeapTuple tuple, TupleDesc desc);	/* of what is told about a row; NULL: nobody by sync */
extern bool sync_role_sees(const SyncTable *table, const char *entity_id, bool read_only);	/* read_only false: own writes count as well */

/* history.c */
extern const char *sync_write_device;	/* device_id of the push that is writing; NULL outside push */

/* device.c */
extern int	sync_max_devices;
extern int	sync_max_notifications;
extern void sync_device_note(const char *user, const char *device);	/* writes at first use, then at most hourly */
extern void sync_device_check(const char *user, const char *device);	/* refuses a revoked one, never writes */
extern void sync_device_log(const char *user, const char *device, const char *kind, int changes, int64 bytes, const char *status,
							double ms);

/* forget.c */
extern const char *sync_forgotten_user;	/* NULL but while a person's name is taken from rows */
extern HeapTuple sync_forget_stamp(const SyncTable *table, HeapTuple old, HeapTuple new, TupleDesc desc);

/* upkeep.c */
extern Oid	sync_purged_table;	/* rows of it that are marked are really deleted now; InvalidOid: none */

/* request.c: reading requests */
extern JsonbValue *sync_json_get(JsonbContainer *object, const char *name);
extern char *sync_json_text(const JsonbValue *value);	/* a string's, number's or bool's text; NULL for null and containers */
extern char *sync_json_string(JsonbContainer *object, const char *name, bool required, int max_len);
extern bool sync_json_bool(JsonbContainer *object, const char *name, bool fallback);
extern int64 sync_json_int(JsonbContainer *object, const char *name, int64 fallback, int64 min, int64 max);
extern JsonbContainer *sync_json_array(JsonbContainer *object, const char *name, bool required);
extern Jsonb *sync_request(FunctionCallInfo fcinfo);

#endif
