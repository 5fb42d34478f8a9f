/*
 * push.c - sync.push(): reads a batch, answers repeats from the ledger, applies the rest so that one bad change harms no other.
 *
 * The set is tried as a whole in a subtransaction; where it fails it is cut at the change that raised (or in halves, when a deferred
 * constraint did) until the bad one stands alone.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "change.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

PG_FUNCTION_INFO_V1(sync_push);

#define QUEUE_ID_MAX 200

/* ---- reading the request ---- */

static HTAB *
text_table(const char *name)
{
	HASHCTL		control = {.keysize = TEXT_KEY_MAX, .entrysize = sizeof(TextEntry), .hcxt = CurrentMemoryContext};

	return hash_create(name, 256, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

static void
read_head(Push *push, Jsonb *request)
{
	const char *user = sync_user_id();

	if (user == NULL && !sync_allow_nobody)
		ereport(ERROR,
				(errcode(SYNC_ERR_NOBODY),
				 errmsg("the caller has no user"),
				 errhint("Set request.jwt.claims to claims with a \"sub\", or sync.allow_nobody to on.")));
	if (VARSIZE(request) > SYNC_PUSH_LIMIT)
		ereport(ERROR,
				(errcode(SYNC_ERR_TOO_LARGE),
				 errmsg("a push may hold at most %d MiB", SYNC_PUSH_LIMIT / 1024 / 1024)));
	push->user = user ? pstrdup(user) : "";
	push->device = sync_json_string(&request->root, "device_id", true, 256);
	push->device_hash = sync_hash(push->device, strlen(push->device), 0);
	push->is_atomic = sync_json_bool(&request->root, "atomic", false);
	push->now = GetCurrentTimestamp();
	push->context = CurrentMemoryContext;
	push->latest = text_table("rows of this push");
	push->by_queue = text_table("queue ids of this push");
}

/* A mistake in one change is that change's verdict, never an error of the request. */
static void
bad_change(Change *change, const char *message, const char *hint)
{
	verdict_error(change, "invalid_change", message, hint);
}

static char *
optional_text(Change *change, const char *name, int max)
{
	JsonbValue *v = sync_json_get(change->object, name);

	if (v == NULL || v->type == jbvNull)
		return NULL;
	if (v->type != jbvString || v->val.string.len == 0 || v->val.string.len > max)
	{
		bad_change(change, psprintf("\"%s\" must be a string of 1 to %d bytes", name, max), NULL);
		return NULL;
	}
	return sync_json_text(v);
}

static JsonbContainer *
optional_object(Change *change, const char *name)
{
	JsonbValue *v = sync_json_get(change->object, name);

	if (v == NULL || v->type == jbvNull)
		return NULL;
	if (v->type != jbvBinary || !JsonContainerIsObject(v->val.binary.data))
	{
		bad_change(change, psprintf("\"%s\" must be an object", name), NULL);
		return NULL;
	}
	return v->val.binary.data;
}

static void
read_operation(Change *change)
{
	static const char *const names[] = {"create", "update", "delete"};
	char	   *name = optional_text(change, "operation", 16);
	int			i;

	for (i = 0; name && i < (int) lengthof(names); i++)
		if (strcmp(name, names[i]) == 0)
		{
			change->operation = i;
			return;
		}
	bad_change(change, "\"operation\" must be create, update or delete", NULL);
}

static void
read_entity_id(Change *change)
{
	JsonbValue *v = sync_json_get(change->object, "entity_id");
	JsonbValue *ref;

	if (v && v->type == jbvBinary && JsonContainerIsObject(v->val.binary.data))
	{
		ref = sync_json_get(v->val.binary.data, "ref");
		if (ref == NULL || ref->type != jbvString)
			bad_change(change, "\"entity_id\" as an object must be {\"ref\": queue_id}", NULL);
		else
			change->ref = sync_json_text(ref);
	}
	else if (v && v->type == jbvNumeric)
		change->given_id = sync_json_text(v);
	else
		change->given_id = optional_text(change, "entity_id", 8192);
	change->entity_id = change->given_id;
	if (!change->is_decided && change->given_id == NULL && change->ref == NULL && change->operation != OP_CREATE)
		bad_change(change, "\"entity_id\" is missing", NULL);
}

static void
read_local_version(Change *change)
{
	JsonbValue *v = sync_json_get(change->object, "local_version");
	char	   *text = v && (v->type == jbvNumeric || v->type == jbvString) ? sync_json_text(v) : NULL;
	char	   *end;

	change->local_version = -1;
	if (v == NULL || v->type == jbvNull)
		return;
	errno = 0;
	if (text)
		change->local_version = strtoll(text, &end, 10);
	if (text == NULL || errno || end == text || *end || change->local_version < 0)
		bad_change(change, "\"local_version\" must be a whole number from 0", NULL);
}

/*
 * The time of the edit by the client's clock, as ISO 8601 or milliseconds since 1970. A clock that leads by more than a minute is set
 * back to that; without a time the edit counts as made now.
 */
static void
read_timestamp(const Push *push, Change *change)
{
	JsonbValue *v = sync_json_get(change->object, "timestamp");

	change->edited_at = push->now;
	if (v == NULL || v->type == jbvNull)
		return;
	if (v->type == jbvNumeric)
	{
		double		ms = DatumGetFloat8(DirectFunctionCall1(numeric_float8, NumericGetDatum(v->val.numeric)));

		if (ms < -62135596800000.0 || ms > 253402300799999.0)
		{
			bad_change(change, "\"timestamp\" is out of range", NULL);
			return;
		}
		change->edited_at = (TimestampTz) (ms * 1000.0) - (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	}
	else if (v->type == jbvString)
		change->edited_at = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(sync_json_text(v)),
																	ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	else
		bad_change(change, "\"timestamp\" must be a time in ISO 8601 or milliseconds since 1970", NULL);
	change->edited_at = Min(change->edited_at, push->now + SYNC_CLOCK_AHEAD);
}

static void
find_table(const Push *push, Change *change)
{
	ListCell   *lc;
	bool		all;

	foreach(lc, push->tables)
	{
		SyncTable  *table = ((SyncListed *) lfirst(lc))->table;

		if (strcmp(table->entity_type, change->entity_type) == 0 && sync_readable_columns(table, &all))
			change->table = table;
	}
	if (change->table == NULL)
		verdict_error(change, "unknown_table", psprintf("\"%s\" is no synced table", change->entity_type),
					  "entity_type is a table's name, with its schema outside public, or the alias given to sync.enable().");
}

static int
column_by_name(const SyncTable *table, const JsonbValue *name)
{
	int			i;

	for (i = 0; i < table->ncolumns; i++)
		if (strlen(table->columns[i].name) == (size_t) name->val.string.len &&
			memcmp(table->columns[i].name, name->val.string.val, name->val.string.len) == 0)
			return i;
	return -1;
}

static bool
may_write(const SyncTable *table, int column, AclMode mode)
{
	return pg_class_aclcheck(table->relid, GetUserId(), mode) == ACLCHECK_OK ||
		pg_attribute_aclcheck(table->relid, table->columns[column].attnum, GetUserId(), mode) == ACLCHECK_OK;
}

/* Each member of "data" must be a column that the caller may write. */
static void
check_data(Change *change)
{
	SyncTable  *table = change->table;
	AclMode		mode = change->operation == OP_CREATE ? ACL_INSERT : ACL_UPDATE;
	JsonbIterator *it = JsonbIteratorInit(change->data);
	JsonbValue	name;
	JsonbValue	value;

	JsonbIteratorNext(&it, &name, true);
	while (!change->is_decided && JsonbIteratorNext(&it, &name, true) == WJB_KEY)
	{
		char	   *text = pnstrdup(name.val.string.val, name.val.string.len);
		int			column = column_by_name(table, &name);

		JsonbIteratorNext(&it, &value, true);
		if (strncmp(text, "sync_", 5) == 0)
			verdict_error(change, "server_column", psprintf("column \"%s\" is kept by the server", text), NULL);
		else if (column < 0)
			verdict_error(change, "unknown_column", psprintf("table \"%s\" has no column \"%s\"", change->entity_type, text), NULL);
		else if (column == table->deleted_at && value.type != jbvNull)
			verdict_error(change, "server_column", psprintf("column \"%s\" is kept by the server", text),
						  "Use operation delete.");
		else if (!table->columns[column].is_generated && column != table->updated_at && column != table->deleted_at &&
				 !may_write(table, column, mode))
			verdict_error(change, "forbidden", psprintf("column \"%s\" may not be written", text), NULL);
	}
}

static void
read_body(Change *change)
{
	change->data = optional_object(change, "data");
	change->base = change->is_decided ? NULL : optional_object(change, "base");
	if (change->is_decided)
		return;
	if (change->data == NULL && change->operation != OP_DELETE)
		bad_change(change, "\"data\" is missing", NULL);
	else if (change->operation == OP_DELETE)
	{
		change->data = NULL;
		if (pg_class_aclcheck(change->table->relid, GetUserId(), ACL_DELETE) != ACLCHECK_OK)
			verdict_error(change, "forbidden", "rows of this table may not be deleted", NULL);
	}
	else
		check_data(change);
}

static void
read_change(const Push *push, Change *change, const JsonbValue *v)
{
	if (v->type != jbvBinary || !JsonContainerIsObject(v->val.binary.data))
	{
		bad_change(change, "a change must be an object", NULL);
		return;
	}
	change->object = v->val.binary.data;
	change->body_hash = (int64) sync_hash((char *) v->val.binary.data, v->val.binary.len, 0);
	change->queue_id = optional_text(change, "queue_id", QUEUE_ID_MAX);
	if (!change->is_decided && v->val.binary.len > SYNC_ROW_LIMIT)
		verdict_error(change, "too_large", psprintf("a change may hold at most %d bytes", SYNC_ROW_LIMIT),
					  "Keep media elsewhere and sync a reference.");
	if (!change->is_decided)
		read_operation(change);
	if (!change->is_decided)
		change->entity_type = optional_text(change, "entity_type", 256);
	if (!change->is_decided && change->entity_type == NULL)
		bad_change(change, "\"entity_type\" is missing", NULL);
	if (!change->is_decided)
		find_table(push, change);
	if (!change->is_decided)
		read_entity_id(change);
	if (!change->is_decided)
		read_local_version(change);
	if (!change->is_decided)
		read_body(change);
}

/* ---- subtransactions ---- */

typedef struct Attempt
{
	MemoryContext context;
	ResourceOwner owner;
} Attempt;

static void
begin_attempt(Attempt *attempt)
{
	attempt->context = CurrentMemoryContext;
	attempt->owner = CurrentResourceOwner;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(attempt->context);
}

static void
keep_attempt(const Attempt *attempt)
{
	ReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(attempt->context);
	CurrentResourceOwner = attempt->owner;
}

/* Returns the error that ended it, unless that must end the whole request: a cancelled or broken backend. */
static ErrorData *
drop_attempt(const Attempt *attempt)
{
	ErrorData  *error;
	int			category;

	MemoryContextSwitchTo(attempt->context);
	error = CopyErrorData();
	category = ERRCODE_TO_CATEGORY(error->sqlerrcode);
	if (category == ERRCODE_OPERATOR_INTERVENTION || category == ERRCODE_INSUFFICIENT_RESOURCES ||
		category == ERRCODE_SYSTEM_ERROR || category == ERRCODE_INTERNAL_ERROR)
		PG_RE_THROW();
	FlushErrorState();
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(attempt->context);
	CurrentResourceOwner = attempt->owner;
	sync_push_stamp = NULL;
	return error;
}

/* A malformed time raises: it is read in a subtransaction of its own. */
static void
read_time_text(Push *push, Change *change)
{
	Attempt		attempt;

	begin_attempt(&attempt);
	PG_TRY();
	{
		read_timestamp(push, change);
		keep_attempt(&attempt);
	}
	PG_CATCH();
	{
		drop_attempt(&attempt);
		bad_change(change, "\"timestamp\" must be a time in ISO 8601 or milliseconds since 1970", NULL);
	}
	PG_END_TRY();
}

static void
read_times(Push *push)
{
	int			i;

	for (i = 0; i < push->nchanges; i++)
	{
		Change	   *change = &push->changes[i];
		JsonbValue *v = change->is_decided ? NULL : sync_json_get(change->object, "timestamp");

		if (v && v->type == jbvString)
			read_time_text(push, change);
		else if (!change->is_decided)
			read_timestamp(push, change);
	}
}

static void
set_constraints(bool deferred)
{
	ConstraintsSetStmt statement = {.type = T_ConstraintsSetStmt, .constraints = NIL, .deferred = deferred};

	AfterTriggerSetState(&statement);
}

/* Tries changes [from, to) together. Returns -1 when they stand, else how far it came: to means a deferred constraint raised. */
static int
try_range(Push *push, int from, int to, ErrorData **error)
{
	Attempt		attempt;
	volatile int at = from;
	volatile int failed_at = -1;

	begin_attempt(&attempt);
	PG_TRY();
	{
		set_constraints(true);
		for (; at < to; at++)
			if (!push->changes[at].is_decided)
				apply_change(push, &push->changes[at]);
		/* Else COMMIT would be the one to raise, for everybody. */
		set_constraints(false);
		keep_attempt(&attempt);
	}
	PG_CATCH();
	{
		*error = drop_attempt(&attempt);
		failed_at = at;
	}
	PG_END_TRY();
	return failed_at;
}

/* Takes back the verdicts of an attempt that was rolled back; those that reading the request gave stay. */
static void
clear_range(Push *push, const bool *was_decided, int from, int to)
{
	int			i;

	for (i = from; i < to; i++)
		if (!was_decided[i])
			verdict_clear(&push->changes[i]);
}

static void
apply_range(Push *push, const bool *was_decided, int from, int to)
{
	ErrorData  *error = NULL;
	int			failed_at;

	CHECK_FOR_INTERRUPTS();
	if (from >= to)
		return;
	failed_at = try_range(push, from, to, &error);
	if (failed_at < 0)
		return;
	clear_range(push, was_decided, from, to);
	if (to - from == 1)
	{
		verdict_from_error(&push->changes[from], error);
		return;
	}
	if (failed_at == to)
	{
		apply_range(push, was_decided, from, (from + to) / 2);
		apply_range(push, was_decided, (from + to) / 2, to);
		return;
	}
	apply_range(push, was_decided, from, failed_at);
	apply_range(push, was_decided, failed_at, failed_at + 1);
	apply_range(push, was_decided, failed_at + 1, to);
}

static int
first_failure(const Push *push)
{
	int			i;

	for (i = 0; i < push->nchanges; i++)
		if (push->changes[i].is_decided && strcmp(push->changes[i].status, "success") != 0)
			return i;
	return -1;
}

/* All or nothing: a change that does not succeed takes the others back. */
static void
apply_atomic(Push *push, const bool *was_decided)
{
	Attempt		attempt;
	int			bad = first_failure(push);
	ErrorData  *error = NULL;
	volatile int at = 0;
	volatile bool is_kept = false;
	int			i;

	if (bad < 0)
	{
		begin_attempt(&attempt);
		PG_TRY();
		{
			set_constraints(true);
			for (; at < push->nchanges; at++)
				if (!push->changes[at].is_decided)
					apply_change(push, &push->changes[at]);
			set_constraints(false);
			if (first_failure(push) < 0)
			{
				keep_attempt(&attempt);
				is_kept = true;
			}
			else
			{
				RollbackAndReleaseCurrentSubTransaction();
				MemoryContextSwitchTo(attempt.context);
				CurrentResourceOwner = attempt.owner;
			}
		}
		PG_CATCH();
		{
			error = drop_attempt(&attempt);
		}
		PG_END_TRY();
		if (is_kept)
			return;
		bad = error ? at : first_failure(push);
	}
	for (i = 0; i < push->nchanges; i++)
	{
		Change	   *change = &push->changes[i];

		change->is_stored = true;	/* nothing happened: the ledger stays as it is */
		if (was_decided[i])
			continue;
		if (error && (i == bad || bad == push->nchanges))
		{
			verdict_clear(change);
			verdict_from_error(change, error);
		}
		else if (i != bad)
		{
			verdict_clear(change);
			verdict_error(change, "atomic", "another change of this atomic batch failed", NULL);
		}
		else
			change->conflict_id = NULL;	/* its log entry went with the rest */
	}
}

/* ---- the ledger ---- */

static void
use_first_answer(Push *push, Change *change, int64 body_hash, char *answer, char *table_id, char *entity_id)
{
	change->is_stored = true;
	if (body_hash != change->body_hash)
	{
		verdict_clear(change);
		verdict_error(change, "queue_id_reused", "this queue_id was used for another change", "Give each change its own queue_id.");
		return;
	}
	verdict_clear(change);
	change->is_decided = true;
	change->is_repeat = true;
	change->stored_answer = answer;
	change->status = strstr(answer, "\"status\":\"success\"") == answer + 1 ? "success" : "other";
	change->entity_id = entity_id;
	if (table_id && entity_id && change->table && change->table->id == atoi(table_id))
		change->data_now = apply_read_again(push, change->table, entity_id);
}

static char **
queue_ids(const Push *push, int *n)
{
	char	  **ids = palloc(sizeof(char *) * Max(push->nchanges, 1));
	int			i;

	*n = 0;
	for (i = 0; i < push->nchanges; i++)
		if (push->changes[i].queue_id)
			ids[(*n)++] = push->changes[i].queue_id;
	return ids;
}

/* The first change of this batch with each queue_id; later ones with the same are its repeats. */
static void
index_queue_ids(Push *push)
{
	int			i;

	for (i = 0; i < push->nchanges; i++)
	{
		Change	   *change = &push->changes[i];
		bool		found;
		TextEntry  *entry;

		if (change->queue_id == NULL)
			continue;
		entry = hash_search(push->by_queue, change->queue_id, HASH_ENTER, &found);
		if (!found)
			entry->index = i;
	}
}

static void
read_ledger(Push *push)
{
	static const char sql[] =
		"SELECT queue_id, body_hash, answer, table_id, entity_id FROM sync.ledger WHERE user_id OPERATOR(pg_catalog.=) $1 "
		"AND device_id OPERATOR(pg_catalog.=) $2 AND queue_id OPERATOR(pg_catalog.=) ANY ($3)";
	Oid			types[] = {TEXTOID, TEXTOID, TEXTARRAYOID};
	Datum		values[3];
	SyncRole	saved;
	SPITupleTable *rows;
	uint64		found;
	uint64		i;
	int			n;
	char	  **ids = queue_ids(push, &n);

	if (n == 0)
		return;
	values[0] = CStringGetTextDatum(push->user);
	values[1] = CStringGetTextDatum(push->device);
	values[2] = sync_text_array(ids, n);
	sync_become_extension(&saved);
	SPI_execute_with_args(sql, 3, types, values, NULL, false, 0);
	sync_become_back(&saved);
	rows = SPI_tuptable;
	found = SPI_processed;
	for (i = 0; i < found; i++)
	{
		HeapTuple	row = rows->vals[i];
		TextEntry  *entry = hash_search(push->by_queue, SPI_getvalue(row, rows->tupdesc, 1), HASH_FIND, NULL);

		use_first_answer(push, &push->changes[entry->index], strtoll(SPI_getvalue(row, rows->tupdesc, 2), NULL, 10),
						 SPI_getvalue(row, rows->tupdesc, 3), SPI_getvalue(row, rows->tupdesc, 4), SPI_getvalue(row, rows->tupdesc, 5));
	}
}

/* A queue_id that stands twice in one batch: the second waits for the first's verdict. */
static void
set_repeats_aside(Push *push)
{
	int			i;

	for (i = 0; i < push->nchanges; i++)
	{
		Change	   *change = &push->changes[i];
		TextEntry  *entry;

		if (change->queue_id == NULL)
			continue;
		entry = hash_search(push->by_queue, change->queue_id, HASH_FIND, NULL);
		if (entry->index != i)
			verdict_success(change, "noop", 0);
	}
}

static void
answer_repeats(Push *push)
{
	int			i;

	for (i = 0; i < push->nchanges; i++)
	{
		Change	   *change = &push->changes[i];
		TextEntry  *entry = change->queue_id ? hash_search(push->by_queue, change->queue_id, HASH_FIND, NULL) : NULL;
		Change	   *first;
		StringInfoData answer;

		if (entry == NULL || entry->index == i)
			continue;
		first = &push->changes[entry->index];
		initStringInfo(&answer);
		if (first->stored_answer)
			appendStringInfoString(&answer, first->stored_answer);
		else
			verdict_put_stored(&answer, first);
		use_first_answer(push, change, first->body_hash, answer.data, NULL, NULL);
		change->data_now = change->is_repeat ? first->data_now : NULL;
	}
}

static bool
belongs_in_ledger(const Change *change)
{
	return change->queue_id && !change->is_stored && !change->is_repeat && strcmp(change->outcome, "retry") != 0;
}

static void
write_ledger(Push *push)
{
	static const char sql[] =
		"INSERT INTO sync.ledger (user_id, device_id, queue_id, body_hash, answer, table_id, entity_id) "
		"SELECT $1, $2, q, h::pg_catalog.int8, a::pg_catalog.json, nullif(t, '')::pg_catalog.int4, nullif(e, '') "
		"FROM unnest($3, $4, $5, $6, $7) AS u(q, h, a, t, e)";
	Oid			types[] = {TEXTOID, TEXTOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID};
	Datum		values[lengthof(types)];
	char	  **columns[5];
	SyncRole	saved;
	int			n = 0;
	int			i;

	for (i = 0; i < 5; i++)
		columns[i] = palloc(sizeof(char *) * Max(push->nchanges, 1));
	for (i = 0; i < push->nchanges; i++)
	{
		Change	   *change = &push->changes[i];
		StringInfoData answer;

		if (!belongs_in_ledger(change))
			continue;
		initStringInfo(&answer);
		verdict_put_stored(&answer, change);
		columns[0][n] = change->queue_id;
		columns[1][n] = psprintf(INT64_FORMAT, change->body_hash);
		columns[2][n] = answer.data;
		columns[3][n] = change->table ? psprintf("%d", change->table->id) : "";
		columns[4][n++] = change->result_id ? change->result_id : "";
	}
	if (n == 0)
		return;
	values[0] = CStringGetTextDatum(push->user);
	values[1] = CStringGetTextDatum(push->device);
	for (i = 0; i < 5; i++)
		values[2 + i] = sync_text_array(columns[i], n);
	sync_become_extension(&saved);
	SPI_execute_with_args(sql, lengthof(types), types, values, NULL, false, 0);
	sync_become_back(&saved);
}

/* ---- the request ---- */

static void
read_changes(Push *push, Jsonb *request)
{
	JsonbContainer *array = sync_json_array(&request->root, "changes", true);
	int			i;

	push->nchanges = JsonContainerSize(array);
	if (push->nchanges > SYNC_PUSH_CHANGES)
		ereport(ERROR,
				(errcode(SYNC_ERR_TOO_LARGE),
				 errmsg("a push may hold at most %d changes", SYNC_PUSH_CHANGES)));
	push->changes = palloc0(sizeof(Change) * Max(push->nchanges, 1));
	push->tables = sync_list_tables();
	for (i = 0; i < push->nchanges; i++)
	{
		push->changes[i].index = i;
		push->changes[i].local_version = -1;
		read_change(push, &push->changes[i], getIthJsonbValueFromContainer(array, i));
	}
}

/* An acknowledged push survives a crash, whatever the session's setting. */
static void
force_synchronous_commit(void)
{
	if (synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
		set_config_option("synchronous_commit", "local", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
}

/* Two batches of one device take turns: the second may repeat what the first is still doing. */
static void
lock_device(const Push *push)
{
	uint64		key = sync_hash(push->device, strlen(push->device), sync_hash(push->user, strlen(push->user), 0x53594e43));

	DirectFunctionCall1(pg_advisory_xact_lock_int8, Int64GetDatum((int64) key));
}

static text *
answer_push(const Push *push)
{
	StringInfoData out;
	bool		is_success = true;
	int			i;

	for (i = 0; i < push->nchanges; i++)
		is_success &= strcmp(push->changes[i].status, "success") == 0;
	initStringInfo(&out);
	appendStringInfo(&out, "{\"success\":%s,\"processed\":[", is_success ? "true" : "false");
	for (i = 0; i < push->nchanges; i++)
	{
		if (i)
			appendStringInfoChar(&out, ',');
		verdict_put(&out, &push->changes[i]);
	}
	appendStringInfoString(&out, "],\"server_time\":");
	sync_render_timestamp(&out, GetCurrentTimestamp());
	appendStringInfoChar(&out, '}');
	return cstring_to_text_with_len(out.data, out.len);
}

static void
run_push(Push *push, Jsonb *request)
{
	bool	   *was_decided;
	int			i;

	read_head(push, request);
	lock_device(push);
	force_synchronous_commit();
	read_changes(push, request);
	read_times(push);
	index_queue_ids(push);
	read_ledger(push);
	set_repeats_aside(push);
	was_decided = palloc(sizeof(bool) * Max(push->nchanges, 1));
	for (i = 0; i < push->nchanges; i++)
		was_decided[i] = push->changes[i].is_decided;
	if (push->is_atomic)
		apply_atomic(push, was_decided);
	else
		apply_range(push, was_decided, 0, push->nchanges);
	answer_repeats(push);
	write_ledger(push);
}

Datum
sync_push(PG_FUNCTION_ARGS)
{
	Jsonb	   *request = sync_request(fcinfo);
	MemoryContext caller = CurrentMemoryContext;
	Push		push = {0};
	text	   *answer = NULL;

	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(SYNC_ERR_WRONG_STATE),
				 errmsg("cannot push during recovery"),
				 errhint("Push to the primary.")));
	SPI_connect();
	PG_TRY();
	{
		run_push(&push, request);
	}
	PG_FINALLY();
	{
		sync_push_stamp = NULL;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	answer = answer_push(&push);
	SPI_finish();
	PG_RETURN_TEXT_P(answer);
}
