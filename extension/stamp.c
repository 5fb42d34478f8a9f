/*
 * stamp.c - the BEFORE triggers: every write is stamped with version, transaction, time and user; a soft DELETE becomes a mark.
 *
 * All bookkeeping is computed from OLD, so nothing a statement says about it counts.
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
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(sync_stamp);
PG_FUNCTION_INFO_V1(sync_soft_delete);

SyncPushStamp *sync_push_stamp = NULL;

static void
check_row_trigger(FunctionCallInfo fcinfo, const char *name, bool is_before)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(data->tg_event) ||
		!TRIGGER_FIRED_BEFORE(data->tg_event) != !is_before)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("%s() may only be called as the trigger that sync.enable() makes", name)));
}

static bool
is_column_changed(const SyncColumn *column, HeapTuple old, HeapTuple new, TupleDesc desc)
{
	Form_pg_attribute att = TupleDescAttr(desc, column->attnum - 1);
	bool		old_null;
	bool		new_null;
	Datum		old_value = heap_getattr(old, column->attnum, desc, &old_null);
	Datum		new_value = heap_getattr(new, column->attnum, desc, &new_null);

	if (old_null || new_null)
		return old_null != new_null;
	return !datum_image_eq(old_value, new_value, att->attbyval, att->attlen);
}

/* Which columns an update writes. A stored generated column is NULL in a BEFORE trigger's new row, and follows from the others. */
static Bitmapset *
changed_columns(const SyncTable *table, HeapTuple old, HeapTuple new, TupleDesc desc)
{
	Bitmapset  *changed = NULL;
	int			i;

	for (i = 0; i < table->ncolumns; i++)
		if (!table->columns[i].is_generated && is_column_changed(&table->columns[i], old, new, desc))
			changed = bms_add_member(changed, i);
	return changed;
}

static bool
is_key_changed(const SyncTable *table, HeapTuple old, HeapTuple new, TupleDesc desc)
{
	int			i;

	for (i = 0; i < table->nkeys; i++)
		if (is_column_changed(&table->columns[table->keys[i]], old, new, desc))
			return true;
	return false;
}

/* Keeps the stamp that OLD has, whatever the statement set. */
static HeapTuple
keep_stamp(const SyncTable *table, HeapTuple old, HeapTuple new, TupleDesc desc)
{
	int			cols[] = {table->version_att, table->xid_att, table->at_att, table->by_att, table->clock_att};
	Datum		values[lengthof(cols)];
	bool		nulls[lengthof(cols)];
	int			i;

	for (i = 0; i < (int) lengthof(cols); i++)
		values[i] = heap_getattr(old, cols[i], desc, &nulls[i]);
	return heap_modify_tuple_by_cols(new, desc, lengthof(cols), cols, values, nulls);
}

/* now as the application's own column wants it: a timestamp without time zone is taken to mean UTC. */
static Datum
timestamp_for(const SyncColumn *column, TimestampTz now)
{
	return sync_base_type(column->type) == TIMESTAMPTZOID ? TimestampTzGetDatum(now) : TimestampGetDatum((Timestamp) now);
}

/* The write that is going on: a pushed change, or SQL. */
static SyncWrite
current_write(const SyncTable *table, int64 version, TimestampTz now)
{
	SyncWrite	write = {.version = version, .edited_at = now};

	if (sync_push_stamp && sync_push_stamp->relid == table->relid)
	{
		write = sync_push_stamp->write;
		write.version = version;
	}
	return write;
}

/* A table whose rows win or lose as a whole needs no account of columns. */
static Datum
next_clock(const SyncTable *table, HeapTuple old, TupleDesc desc, const Bitmapset *changed, int64 version, TimestampTz now, bool *isnull)
{
	SyncWrite	write = current_write(table, version, now);

	return sync_clock_next(table, old, desc, table->rule == RULE_LWW ? NULL : changed, &write, isnull);
}

static HeapTuple
set_stamp(const SyncTable *table, HeapTuple old, HeapTuple new, TupleDesc desc, const Bitmapset *changed, int64 version)
{
	int			cols[6] = {table->version_att, table->xid_att, table->at_att, table->by_att, table->clock_att};
	Datum		values[6];
	bool		nulls[6] = {false};
	int			n = 5;
	TimestampTz now = GetCurrentTimestamp();
	const char *user = sync_user_id();

	values[0] = Int64GetDatum(version);
	values[1] = FullTransactionIdGetDatum(GetTopFullTransactionId());
	values[2] = TimestampTzGetDatum(now);
	nulls[3] = user == NULL || table->is_anonymous;
	values[3] = nulls[3] ? (Datum) 0 : CStringGetTextDatum(user);
	values[4] = next_clock(table, old, desc, changed, version, now, &nulls[4]);
	if (sync_push_stamp && sync_push_stamp->relid == table->relid)
		sync_push_stamp->entity_id = MemoryContextStrdup(TopTransactionContext, sync_entity_id(table, new, desc));
	if (table->updated_at >= 0)
	{
		cols[n] = table->columns[table->updated_at].attnum;
		values[n++] = timestamp_for(&table->columns[table->updated_at], now);
	}
	return heap_modify_tuple_by_cols(new, desc, n, cols, values, nulls);
}

Datum
sync_stamp(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	SyncTable  *table;
	TupleDesc	desc;
	Bitmapset  *changed;
	HeapTuple	row;
	bool		isnull;
	int64		version;

	check_row_trigger(fcinfo, "sync.stamp", true);
	table = sync_table_of_trigger(RelationGetRelid(data->tg_relation));
	if (table == NULL)
		return PointerGetDatum(TRIGGER_FIRED_BY_INSERT(data->tg_event) ? data->tg_trigtuple : data->tg_newtuple);
	desc = RelationGetDescr(data->tg_relation);

	if (TRIGGER_FIRED_BY_INSERT(data->tg_event))
	{
		if (table->is_partition && sync_is_arriving(table, data->tg_trigtuple, desc))
			return PointerGetDatum(data->tg_trigtuple);
		/* A key that lived before goes on counting, so that no client takes the new row for an old one. */
		version = sync_tombstone_version(table, sync_entity_id(table, data->tg_trigtuple, desc)) + 1;
		row = set_stamp(table, NULL, data->tg_trigtuple, desc, NULL, version);
		return PointerGetDatum(table->via < 0 ? row : sync_inherit_scope(table, NULL, row, desc));
	}
	row = table->via < 0 ? data->tg_newtuple : sync_inherit_scope(table, data->tg_trigtuple, data->tg_newtuple, desc);
	changed = changed_columns(table, data->tg_trigtuple, row, desc);
	/* A row that follows its parent into another scope counts as a change of who its parent is. */
	if (changed == NULL && table->via >= 0 && sync_is_moved(table, data->tg_trigtuple, row, desc))
		changed = bms_make_singleton(table->via);
	if (changed == NULL)
		return PointerGetDatum(keep_stamp(table, data->tg_trigtuple, row, desc));
	version = DatumGetInt64(heap_getattr(data->tg_trigtuple, table->version_att, desc, &isnull)) + 1;
	/* A row that takes a key which lived before goes on counting from there, like an insert. */
	if (is_key_changed(table, data->tg_trigtuple, row, desc))
		version = Max(version, sync_tombstone_version(table, sync_entity_id(table, row, desc)) + 1);
	row = set_stamp(table, data->tg_trigtuple, row, desc, changed, version);
	if (table->is_partition)
		sync_may_leave(data, table, row);
	return PointerGetDatum(row);
}

/*
 * Marks the row as its table's owner: DELETE rights and policies have decided already, and UPDATE rights or a policy
 * "deleted_at IS NULL" must not stand in the way.
 */
static void
mark_row(const SyncTable *table, Relation relation, HeapTuple old)
{
	const SyncColumn *mark = &table->columns[table->deleted_at];
	TupleDesc	desc = RelationGetDescr(relation);
	Oid			types[INDEX_MAX_KEYS + 1];
	Datum		values[INDEX_MAX_KEYS + 1];
	bool		isnull;
	SyncRole	saved;
	StringInfoData sql;
	int			i;

	for (i = 0; i < table->nkeys; i++)
		values[i] = heap_getattr(old, table->columns[table->keys[i]].attnum, desc, &isnull);
	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s t SET %s = $%d WHERE ", table->from_name, quote_identifier(mark->name), i + 1);
	sync_put_key(&sql, table, 1, types);
	types[i] = sync_base_type(mark->type);
	values[i] = timestamp_for(mark, GetCurrentTimestamp());

	SPI_connect();
	sync_become(&saved, relation->rd_rel->relowner);
	SPI_execute_with_args(sql.data, i + 1, types, values, NULL, false, 0);
	sync_become_back(&saved);
	SPI_finish();
}

Datum
sync_soft_delete(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	SyncTable  *table;
	bool		isnull;

	check_row_trigger(fcinfo, "sync.soft_delete", true);
	table = sync_table_of_trigger(RelationGetRelid(data->tg_relation));
	if (table == NULL || (table->is_partition && sync_is_leaving(data)) || !table->is_soft)
		return PointerGetDatum(data->tg_trigtuple);

	heap_getattr(data->tg_trigtuple, table->columns[table->deleted_at].attnum,
				 RelationGetDescr(data->tg_relation), &isnull);
	if (isnull)
	{
		mark_row(table, data->tg_relation, data->tg_trigtuple);
		if (sync_push_stamp && sync_push_stamp->relid == table->relid)
			sync_push_stamp->soft_deletes++;
	}
	return PointerGetDatum(NULL);	/* the row stays */
}
