/*
 * via.c - rows that have their parent's scope value: taken over when they are written, and carried on when the parent moves.
 *
 * Who writes a child reads the parent's row under FOR KEY SHARE; who moves the parent holds FOR UPDATE on it before the children are
 * looked for. So either the child sees the new value, or the move sees the child. A child that found no parent looks once more when
 * its foreign key has been checked: by then the parent is there, and locked.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(sync_cascade_scope);
PG_FUNCTION_INFO_V1(sync_adopt);
PG_FUNCTION_INFO_V1(sync_scope_text);

/* The move that is being carried to children; NULL outside. */
typedef struct Cascade
{
	Oid			child;
	const char *key;			/* the parent's, as text */
	const char *value;			/* its new scope value, or NULL */
} Cascade;

static Cascade *cascade = NULL;

static const SyncColumn *
key_of(const SyncTable *parent)
{
	return &parent->columns[parent->keys[0]];
}

/* Is there a row, in the newest snapshot there is? *text: its first column, or NULL; not looked at where column is NULL. */
static bool
read_newest(const char *sql, Oid type, Datum value, const SyncColumn *column, char **text)
{
	SPIPlanPtr	plan = SPI_prepare(sql, 1, &type);
	bool		isnull = true;
	Datum		found = 0;

	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\"", sql);
	PushActiveSnapshot(GetLatestSnapshot());
	SPI_execute_snapshot(plan, &value, NULL, GetActiveSnapshot(), InvalidSnapshot, column != NULL, false, 1);
	PopActiveSnapshot();
	if (column == NULL)
		return SPI_processed > 0;
	if (SPI_processed > 0)
		found = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	*text = isnull ? NULL : sync_value_text(column, found);
	return SPI_processed > 0;
}

/*
 * Two steps: the lock lets a move of the parent that is going on end, but hands back the row as it was before; only then is the value
 * read. With the lock held no other move can end before this transaction does. Where only the second step finds a row, it is another one
 * than the first waited for, and not locked yet.
 */
static char *
parent_scope(const SyncTable *table, Datum key)
{
	const SyncColumn *via = &table->columns[table->via];
	SyncTable  *parent = sync_table_of_trigger(table->parent);
	MemoryContext caller = CurrentMemoryContext;
	const char *key_name;
	const char *lock;
	const char *read;
	char	   *value;
	bool		is_locked;
	SyncRole	saved;

	if (parent == NULL)
		return NULL;
	SPI_connect();
	key_name = quote_identifier(key_of(parent)->name);
	lock = psprintf("SELECT 1 FROM %s t WHERE t.%s OPERATOR(pg_catalog.=) $1 FOR KEY SHARE OF t", parent->from_name, key_name);
	read = psprintf("SELECT t.%s FROM %s t WHERE t.%s OPERATOR(pg_catalog.=) $1",
					quote_identifier(parent->scope_column->name), parent->from_name, key_name);
	sync_become(&saved, sync_table_owner(parent));
	do
		is_locked = read_newest(lock, via->type, key, NULL, NULL);
	while (read_newest(read, via->type, key, parent->scope_column, &value) && !is_locked);
	sync_become_back(&saved);
	if (value)
		value = MemoryContextStrdup(caller, value);
	SPI_finish();
	return value;
}

static char *
text_at(const SyncColumn *column, const Datum *values, const bool *nulls)
{
	return nulls[column->attnum - 1] ? NULL : sync_value_text(column, values[column->attnum - 1]);
}

static bool
equal_or_null(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* What a statement says about sync_scope counts for nothing. */
bool
sync_inherit_scope(const SyncTable *table, const Datum *old_values, const bool *old_nulls, Datum *values, bool *nulls)
{
	const SyncColumn *via = &table->columns[table->via];
	int			column = table->scope_column->attnum - 1;
	char	   *key = text_at(via, values, nulls);
	char	   *before = old_values ? text_at(table->scope_column, old_values, old_nulls) : NULL;
	const char *value;

	if (cascade && cascade->child == table->relid && equal_or_null(cascade->key, key))
		value = cascade->value;
	else if (old_values && equal_or_null(text_at(via, old_values, old_nulls), key))
		value = before;
	else
		value = key ? parent_scope(table, values[via->attnum - 1]) : NULL;
	nulls[column] = value == NULL;
	values[column] = value ? CStringGetTextDatum(value) : (Datum) 0;
	return old_values && !equal_or_null(before, value);
}

static void
lock_parent(const SyncTable *parent, Datum key)
{
	Oid			type = key_of(parent)->type;
	SyncRole	saved;

	sync_become(&saved, sync_table_owner(parent));
	SPI_execute_with_args(psprintf("SELECT 1 FROM %s t WHERE t.%s OPERATOR(pg_catalog.=) $1 FOR UPDATE OF t", parent->from_name,
								   quote_identifier(key_of(parent)->name)), 1, &type, &key, NULL, false, 1);
	sync_become_back(&saved);
}

/*
 * Updates the children that the condition finds. $1 is the new value, written here too: the trigger that takes it over may be switched off. Those that a
 * snapshot of the whole transaction does not show are found all the same, and end it with a serialization failure.
 */
static void
set_scope(const SyncTable *child, Cascade now, const char *condition, int n, Oid *types, Datum *values, const char *nulls)
{
	Cascade    *outer = cascade;
	bool		is_frozen = IsolationUsesXactSnapshot();
	SPIPlanPtr	plan;
	SyncRole	saved;

	sync_become(&saved, sync_table_owner(child));
	plan = SPI_prepare(psprintf("UPDATE %s t SET sync_scope = $1 WHERE %s", child->from_name, condition), n, types);
	if (plan == NULL)
		elog(ERROR, "could not prepare the move of %s", child->sql_name);
	cascade = &now;
	PG_TRY();
	{
		if (is_frozen)
			PushActiveSnapshot(GetTransactionSnapshot());
		SPI_execute_snapshot(plan, values, nulls, is_frozen ? GetLatestSnapshot() : InvalidSnapshot,
							 is_frozen ? GetActiveSnapshot() : InvalidSnapshot, false, true, 0);
		if (is_frozen)
			PopActiveSnapshot();
	}
	PG_FINALLY();
	{
		cascade = outer;
	}
	PG_END_TRY();
	sync_become_back(&saved);
}

static void
move_children(const SyncTable *child, const SyncTable *parent, Datum key, const char *value)
{
	Oid			types[] = {TEXTOID, key_of(parent)->type};
	Datum		values[] = {value ? CStringGetTextDatum(value) : (Datum) 0, key};
	char		nulls[] = {value ? ' ' : 'n', ' ', '\0'};
	Cascade		now = {child->relid, sync_value_text(key_of(parent), key), value};

	set_scope(child, now, psprintf("t.%s OPERATOR(pg_catalog.=) $2 AND t.sync_scope IS DISTINCT FROM $1",
								   quote_identifier(child->columns[child->via].name)), 2, types, values, nulls);
}

/* One child, by its key, if it still has that parent and no scope value. */
static void
adopt_child(const SyncTable *child, HeapTuple row, TupleDesc desc, Datum parent_key, const char *value)
{
	const SyncColumn *via = &child->columns[child->via];
	Cascade		now = {child->relid, sync_value_text(via, parent_key), value};
	Oid			types[INDEX_MAX_KEYS + 2] = {TEXTOID, via->type};
	Datum		values[INDEX_MAX_KEYS + 2] = {CStringGetTextDatum(value), parent_key};
	StringInfoData condition;
	bool		isnull;
	int			i;

	initStringInfo(&condition);
	appendStringInfo(&condition, "t.%s OPERATOR(pg_catalog.=) $2 AND t.sync_scope IS NULL", quote_identifier(via->name));
	for (i = 0; i < child->nkeys; i++)
	{
		const SyncColumn *key = &child->columns[child->keys[i]];

		types[i + 2] = key->type;
		values[i + 2] = heap_getattr(row, key->attnum, desc, &isnull);
		appendStringInfo(&condition, " AND t.%s OPERATOR(pg_catalog.=) $%d", quote_identifier(key->name), i + 3);
	}
	set_scope(child, now, condition.data, child->nkeys + 2, types, values, NULL);
}

static List *
children_of(const SyncTable *parent)
{
	Oid			types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(parent->id)};
	List	   *children = NIL;
	SyncRole	saved;
	uint64		i;
	bool		isnull;

	sync_become_extension(&saved);
	SPI_execute_with_args("SELECT relation::pg_catalog.oid FROM sync.synced_table WHERE parent OPERATOR(pg_catalog.=) $1 ORDER BY id",
						  1, types, values, NULL, false, 0);
	sync_become_back(&saved);
	for (i = 0; i < SPI_processed; i++)
		children = lappend_oid(children, DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull)));
	return children;
}

/* AFTER UPDATE of a parent's scope value; AFTER INSERT where children may come before their parent. */
Datum
sync_cascade_scope(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	SyncTable  *parent;
	HeapTuple	row;
	Datum		key;
	Datum		scope;
	char	   *value;
	bool		isnull;
	List	   *children;
	ListCell   *lc;

	sync_check_row_trigger(fcinfo, "sync.cascade_scope", false);
	parent = sync_table_of_trigger(RelationGetRelid(data->tg_relation));
	if (parent == NULL || parent->scope_column == NULL || parent->nkeys != 1)
		return PointerGetDatum(NULL);
	row = TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newtuple : data->tg_trigtuple;
	key = heap_getattr(row, key_of(parent)->attnum, RelationGetDescr(data->tg_relation), &isnull);
	value = NULL;
	scope = heap_getattr(row, parent->scope_column->attnum, RelationGetDescr(data->tg_relation), &isnull);
	if (!isnull)
		value = sync_value_text(parent->scope_column, scope);

	SPI_connect();
	lock_parent(parent, key);
	children = children_of(parent);
	foreach(lc, children)
	{
		SyncTable  *child = sync_table_of_trigger(lfirst_oid(lc));

		if (child && child->via >= 0)
			move_children(child, parent, key, value);
	}
	SPI_finish();
	return PointerGetDatum(NULL);
}

/* AFTER INSERT or UPDATE of a child without a scope value, behind the check of its foreign key: its parent may have come since it was looked for. */
Datum
sync_adopt(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	TupleDesc	desc;
	SyncTable  *child;
	HeapTuple	row;
	Datum		key;
	char	   *value;
	bool		isnull;

	sync_check_row_trigger(fcinfo, "sync.adopt", false);
	child = sync_table_of_trigger(RelationGetRelid(data->tg_relation));
	if (child == NULL || child->via < 0)
		return PointerGetDatum(NULL);
	desc = RelationGetDescr(data->tg_relation);
	row = TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newtuple : data->tg_trigtuple;
	key = heap_getattr(row, child->columns[child->via].attnum, desc, &isnull);
	value = isnull ? NULL : parent_scope(child, key);
	if (value == NULL)
		return PointerGetDatum(NULL);
	SPI_connect();
	adopt_child(child, row, desc, key, value);
	SPI_finish();
	return PointerGetDatum(NULL);
}

/* sync.scope_text(value): the value as tombstones, tokens and sync_scope hold it. */
Datum
sync_scope_text(PG_FUNCTION_ARGS)
{
	SyncColumn	column = {.name = "value", .type = get_fn_expr_argtype(fcinfo->flinfo, 0), .typmod = -1};

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	sync_render_setup(&column);
	PG_RETURN_TEXT_P(cstring_to_text(sync_value_text(&column, PG_GETARG_DATUM(0))));
}
