/*
 * audience.c - whom rows of the extension's own synced tables concern, and whether a caller may see a row of the application.
 *
 * An audience is user:<user id>, <scope name>:<scope value> or table:<table id>; NULL is nobody by sync.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(sync_audiences);
PG_FUNCTION_INFO_V1(sync_caller_audiences);
PG_FUNCTION_INFO_V1(sync_scope_audience);
PG_FUNCTION_INFO_V1(sync_row_audience);
PG_FUNCTION_INFO_V1(sync_may_see);
PG_FUNCTION_INFO_V1(sync_caller_columns);
PG_FUNCTION_INFO_V1(sync_caller_is_owner);

/* Names that could be mistaken for another kind of audience, or for a name with a value, are quoted. */
static char *
scope_audience(const char *scope, const char *value)
{
	StringInfoData name;

	if (strcmp(scope, "user") != 0 && strcmp(scope, "table") != 0 && strpbrk(scope, ":\"") == NULL)
		return psprintf("%s:%s", scope, value);
	initStringInfo(&name);
	sync_render_string(&name, scope, strlen(scope));
	return psprintf("%s:%s", name.data, value);
}

/* Policies of a table's own are not known here: nobody learns of its rows by sync. */
char *
sync_audience_of(const SyncTable *table, const char *scope_value)
{
	if (table->has_policies && !table->policy_is_scope)
		return NULL;
	if (table->scope_column == NULL)
		return psprintf("table:%d", table->id);
	return scope_value ? scope_audience(table->scope, scope_value) : NULL;
}

char *
sync_audience(const SyncTable *table, HeapTuple tuple, TupleDesc desc)
{
	bool		isnull = true;
	Datum		value = 0;

	if (table->scope_column)
		value = heap_getattr(tuple, table->scope_column->attnum, desc, &isnull);
	return sync_audience_of(table, isnull ? NULL : sync_value_text(table->scope_column, value));
}

/* Mistakes in the members query, or rights it lacks; anything else, such as a time-out, says nothing about what the caller holds. */
static bool
is_of_query(int sqlstate)
{
	int			category = ERRCODE_TO_CATEGORY(sqlstate);

	return category == ERRCODE_TO_CATEGORY(ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION) ||
		category == ERRCODE_TO_CATEGORY(ERRCODE_DATA_EXCEPTION) ||
		category == ERRCODE_TO_CATEGORY(ERRCODE_CARDINALITY_VIOLATION) ||
		category == ERRCODE_TO_CATEGORY(ERRCODE_PLPGSQL_ERROR);
}

/* One scope that fails for the caller must not take the others along; NULL then. */
static SyncScope *
try_scope(int32 scope_id)
{
	SyncAttempt attempt;
	SyncScope  *volatile scope = NULL;

	sync_attempt_begin(&attempt);
	PG_TRY();
	{
		scope = sync_scope_held(scope_id);
		sync_attempt_keep(&attempt);
	}
	PG_CATCH();
	{
		ErrorData  *error = sync_attempt_failed(&attempt);

		if (!is_of_query(error->sqlerrcode))
			ReThrowError(error);
		scope = NULL;
	}
	PG_END_TRY();
	return scope;
}

/* A scope's tables must all be readable: what is told about the rows of one goes to all who hold the scope. */
static bool
may_read_scope(List *tables, int32 scope_id)
{
	ListCell   *lc;
	bool		all;

	foreach(lc, tables)
	{
		const SyncTable *table = ((SyncListed *) lfirst(lc))->table;

		if (table->scope && table->scope_id == scope_id && sync_readable_columns(table, &all) == NULL)
			return false;
	}
	return true;
}

static void
add_scope(ArrayBuildState **out, int32 scope_id)
{
	SyncScope  *scope = try_scope(scope_id);
	int			i;

	for (i = 0; scope && i < scope->nvalues; i++)
		*out = accumArrayResult(*out, CStringGetTextDatum(scope_audience(scope->name, scope->values[i])), false, TEXTOID,
								CurrentMemoryContext);
}

static ArrayType *
collect_audiences(void)
{
	ArrayBuildState *out = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	List	   *tables = sync_list_tables();
	List	   *scopes = NIL;
	const char *user = sync_user_id();
	ListCell   *lc;
	bool		all;

	if (user)
		out = accumArrayResult(out, CStringGetTextDatum(psprintf("user:%s", user)), false, TEXTOID, CurrentMemoryContext);
	foreach(lc, tables)
	{
		const SyncTable *table = ((SyncListed *) lfirst(lc))->table;

		if (table->id < SYNC_FIRST_TABLE)
			continue;
		if (table->scope == NULL)
		{
			if (!table->has_policies && sync_readable_columns(table, &all))
				out = accumArrayResult(out, CStringGetTextDatum(psprintf("table:%d", table->id)), false, TEXTOID, CurrentMemoryContext);
		}
		else if (!list_member_int(scopes, table->scope_id))
		{
			scopes = lappend_int(scopes, table->scope_id);
			if (may_read_scope(tables, table->scope_id))
				add_scope(&out, table->scope_id);
		}
	}
	return DatumGetArrayTypeP(makeArrayResult(out, CurrentMemoryContext));
}

/* A pull asks once for each table, in one snapshot: the answer is kept for as long as nothing it rests on can have changed. */
static struct
{
	TimestampTz transaction;
	CommandId	command;
	uint64		identity;
	SyncSnapshot snapshot;
	MemoryContext context;
	ArrayType  *audiences;
} kept;

static bool
is_kept(const SyncSnapshot *snapshot, uint64 identity)
{
	return kept.audiences && kept.transaction == GetCurrentTransactionStartTimestamp() && kept.command == GetActiveSnapshot()->curcid &&
		kept.identity == identity && sync_snapshot_equal(&kept.snapshot, snapshot);
}

static void
keep(const SyncSnapshot *snapshot, uint64 identity, ArrayType *audiences)
{
	MemoryContext before;

	kept.audiences = NULL;
	if (kept.context == NULL)
		kept.context = AllocSetContextCreate(TopMemoryContext, "sync audiences", ALLOCSET_SMALL_SIZES);
	MemoryContextReset(kept.context);
	before = MemoryContextSwitchTo(kept.context);
	kept.transaction = GetCurrentTransactionStartTimestamp();
	kept.command = GetActiveSnapshot()->curcid;
	kept.identity = identity;
	kept.snapshot = *snapshot;
	kept.snapshot.xip = palloc(sizeof(uint64) * Max(snapshot->nxip, 1));
	memcpy(kept.snapshot.xip, snapshot->xip, sizeof(uint64) * snapshot->nxip);
	audiences = DatumGetArrayTypePCopy(PointerGetDatum(audiences));
	MemoryContextSwitchTo(before);
	kept.audiences = audiences;
}

static ArrayType *
audiences_now(void)
{
	SyncSnapshot *snapshot = sync_snapshot_now();
	uint64		identity = sync_identity_hash();
	MemoryContext caller = CurrentMemoryContext;
	ArrayType  *copy;

	if (!is_kept(snapshot, identity))
	{
		SPI_connect();
		keep(snapshot, identity, collect_audiences());
		SPI_finish();
		MemoryContextSwitchTo(caller);
	}
	copy = DatumGetArrayTypePCopy(PointerGetDatum(kept.audiences));
	return copy;
}

Datum
sync_audiences(PG_FUNCTION_ARGS)
{
	PG_RETURN_ARRAYTYPE_P(audiences_now());
}

/* For functions that run as their owner: the role that called them counts. */
Datum
sync_caller_audiences(PG_FUNCTION_ARGS)
{
	ArrayType  *audiences;
	SyncRole	saved;

	sync_become(&saved, GetOuterUserId());
	audiences = audiences_now();
	sync_become_back(&saved);
	PG_RETURN_ARRAYTYPE_P(audiences);
}

Datum
sync_scope_audience(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(scope_audience(text_to_cstring(PG_GETARG_TEXT_PP(0)), text_to_cstring(PG_GETARG_TEXT_PP(1)))));
}

/* One row by its key, marked or not, as the role in force; NULL: not there. The caller is inside SPI. */
static HeapTuple
read_row(const SyncTable *table, const char *columns, const char *entity_id, bool read_only, TupleDesc *desc)
{
	StringInfoData sql;
	Datum		keys[INDEX_MAX_KEYS];
	Oid			types[INDEX_MAX_KEYS];

	if (!sync_parse_entity_id(table, entity_id, keys))
		return NULL;
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	if (columns)
		appendStringInfoString(&sql, columns);
	else
		sync_put_all_columns(&sql, table);
	appendStringInfo(&sql, " FROM %s t WHERE ", table->sql_name);
	sync_put_key(&sql, table, 1, types);
	SPI_execute_with_args(sql.data, table->nkeys, types, keys, NULL, read_only, 1);
	if (SPI_processed != 1)
		return NULL;
	*desc = SPI_tuptable->tupdesc;
	return SPI_tuptable->vals[0];
}

Datum
sync_row_audience(PG_FUNCTION_ARGS)
{
	SyncTable  *table = sync_table_by_relid(PG_GETARG_OID(0), false);
	MemoryContext caller = CurrentMemoryContext;
	char	   *audience = NULL;
	TupleDesc	desc;
	HeapTuple	row;
	SyncRole	saved;
	text	   *result;

	SPI_connect();
	sync_become(&saved, sync_table_owner(table));
	row = read_row(table, NULL, text_to_cstring(PG_GETARG_TEXT_PP(1)), true, &desc);
	sync_become_back(&saved);
	if (row)
		audience = sync_audience(table, row, desc);
	MemoryContextSwitchTo(caller);
	result = audience ? cstring_to_text(audience) : NULL;
	SPI_finish();
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(result);
}

/* Living, allowed by privileges and policies, and of a scope value held; asked as the role in force. The caller is inside SPI. */
bool
sync_role_sees(const SyncTable *table, const char *entity_id, bool read_only)
{
	StringInfoData columns;
	TupleDesc	desc;
	HeapTuple	row;
	bool		all;

	if (sync_readable_columns(table, &all) == NULL)
		return false;
	initStringInfo(&columns);
	appendStringInfo(&columns, "%s, %s", table->deleted_at < 0 ? "NULL" :
					 psprintf("t.%s", quote_identifier(table->columns[table->deleted_at].name)),
					 table->scope_column ? psprintf("t.%s", quote_identifier(table->scope_column->name)) : "NULL");
	row = read_row(table, columns.data, entity_id, read_only, &desc);
	if (row == NULL || !heap_attisnull(row, 1, desc))
		return false;
	if (table->scope_column)
	{
		bool		isnull;
		Datum		value = heap_getattr(row, 2, desc, &isnull);

		return !isnull && sync_scope_has(sync_scope_held(table->scope_id), sync_value_text(table->scope_column, value));
	}
	return true;
}

Datum
sync_may_see(PG_FUNCTION_ARGS)
{
	SyncTable  *table = sync_table_by_relid(PG_GETARG_OID(0), false);
	SyncRole	saved;
	bool		sees;

	SPI_connect();
	sync_become(&saved, GetOuterUserId());
	sees = sync_role_sees(table, text_to_cstring(PG_GETARG_TEXT_PP(1)), true);
	sync_become_back(&saved);
	SPI_finish();
	PG_RETURN_BOOL(sees);
}

/* The columns of a synced table that the calling role may read; NULL: it may not read the table. */
Datum
sync_caller_columns(PG_FUNCTION_ARGS)
{
	SyncTable  *table = sync_table_by_relid(PG_GETARG_OID(0), false);
	char	  **names = palloc(sizeof(char *) * Max(table->ncolumns, 1));
	Bitmapset  *readable;
	SyncRole	saved;
	bool		all;
	int			n = 0;
	int			i = -1;

	sync_become(&saved, GetOuterUserId());
	readable = sync_readable_columns(table, &all);
	sync_become_back(&saved);
	if (readable == NULL)
		PG_RETURN_NULL();
	while ((i = bms_next_member(readable, i)) >= 0)
		names[n++] = table->columns[i].name;
	PG_RETURN_DATUM(sync_text_array(names, n));
}

/* Whether the role that called the running definer function owns the extension, or may act as its owner. */
Datum
sync_caller_is_owner(PG_FUNCTION_ARGS)
{
	Relation	registry = table_open(sync_relid("synced_table"), AccessShareLock);
	Oid			owner = registry->rd_rel->relowner;

	table_close(registry, AccessShareLock);
	PG_RETURN_BOOL(has_privs_of_role(GetOuterUserId(), owner));
}
