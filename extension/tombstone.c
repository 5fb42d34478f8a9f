/*
 * tombstone.c - a deletion, and a move out of a scope or key, leaves a row that says so.
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
#include "utils/rel.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(sync_leave_tombstone);
PG_FUNCTION_INFO_V1(sync_truncated);

void
sync_tombstone_add(const SyncTable *table, HeapTuple old, TupleDesc desc, const char *reason)
{
	static const char sql[] =
		"INSERT INTO sync.tombstone (table_id, entity_id, scope_value, version, sync_xid, reason, at, changed_by, edited_at, device, old_values) "
		"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {INT4OID, TEXTOID, TEXTOID, INT8OID, XID8OID, TEXTOID, TIMESTAMPTZOID, TEXTOID, TIMESTAMPTZOID, INT8OID, JSONBOID};
	Datum		values[11] = {0};
	char		nulls[] = "        nnn";
	const char *user = sync_user_id();
	bool		isnull = true;
	Datum		scope = 0;
	SyncRole	saved;

	if (table->scope_column)
		scope = heap_getattr(old, table->scope_column->attnum, desc, &isnull);
	values[0] = Int32GetDatum(table->id);
	values[1] = CStringGetTextDatum(sync_entity_id(table, old, desc));
	nulls[2] = isnull ? 'n' : ' ';
	values[2] = isnull ? (Datum) 0 : CStringGetTextDatum(sync_value_text(table->scope_column, scope));
	values[3] = Int64GetDatum(DatumGetInt64(heap_getattr(old, table->version_att, desc, &isnull)) + 1);
	values[4] = FullTransactionIdGetDatum(GetTopFullTransactionId());
	values[5] = CStringGetTextDatum(reason);
	values[6] = TimestampTzGetDatum(GetCurrentTimestamp());
	nulls[7] = user && !table->is_anonymous ? ' ' : 'n';
	values[7] = nulls[7] == ' ' ? CStringGetTextDatum(user) : (Datum) 0;
	if (sync_push_stamp && sync_push_stamp->relid == table->relid)
	{
		nulls[8] = nulls[9] = ' ';
		values[8] = TimestampTzGetDatum(sync_push_stamp->write.edited_at);
		values[9] = Int64GetDatum((int64) sync_push_stamp->write.device);
	}
	if (table->policy_columns)
	{
		nulls[10] = ' ';
		values[10] = sync_policy_values(table, old, desc);
	}

	SPI_connect();
	sync_become_extension(&saved);
	if (plan == NULL)
	{
		plan = SPI_prepare(sql, lengthof(types), types);
		SPI_keepplan(plan);
	}
	SPI_execute_plan(plan, values, nulls, false, 0);
	sync_become_back(&saved);
	SPI_finish();
}

/* The change object of a deletion, from the columns SYNC_GRAVE_COLUMNS names. */
void
sync_render_tombstone(StringInfo out, const SyncTable *table, HeapTuple row, TupleDesc desc)
{
	bool		isnull;

	appendStringInfoString(out, "{\"operation\":\"delete\"");
	sync_render_member(out, "entity_type", table->entity_type);
	sync_render_member(out, "entity_id", SPI_getvalue(row, desc, SYNC_GRAVE_ENTITY));
	appendStringInfo(out, ",\"server_version\":%s,\"timestamp\":", SPI_getvalue(row, desc, SYNC_GRAVE_VERSION));
	sync_render_timestamp(out, DatumGetTimestampTz(SPI_getbinval(row, desc, SYNC_GRAVE_AT, &isnull)));
	sync_render_member(out, "changed_by", SPI_getvalue(row, desc, SYNC_GRAVE_BY));
	if (table->scope)
		sync_render_member(out, "scope", SPI_getvalue(row, desc, SYNC_GRAVE_SCOPE));
	sync_render_member(out, "reason", SPI_getvalue(row, desc, SYNC_GRAVE_REASON));
	appendStringInfoChar(out, '}');
}

/* The text of the column that decides who is concerned; two NULLs are the same. */
static bool
same_text(const SyncColumn *column, HeapTuple old, HeapTuple new, TupleDesc desc)
{
	bool		old_null;
	bool		new_null;
	Datum		a = heap_getattr(old, column->attnum, desc, &old_null);
	Datum		b = heap_getattr(new, column->attnum, desc, &new_null);

	if (old_null || new_null)
		return old_null && new_null;
	return strcmp(sync_value_text(column, a), sync_value_text(column, b)) == 0;
}

bool
sync_is_moved(const SyncTable *table, HeapTuple old, HeapTuple new, TupleDesc desc)
{
	return table->scope_column && !same_text(table->scope_column, old, new, desc);
}

/* Might another caller's policies say something else of the new row? */
static bool
has_changed_hands(const SyncTable *table, HeapTuple old, HeapTuple new, TupleDesc desc)
{
	ListCell   *lc;

	foreach(lc, table->policy_columns)
		if (!same_text(lfirst(lc), old, new, desc))
			return true;
	return false;
}

/* What this update takes away from those who had the old row; NULL: nothing. */
static const char *
reason_of_update(const SyncTable *table, HeapTuple old, HeapTuple new, TupleDesc desc)
{
	if (sync_is_marked(table, old, desc))
		return NULL;			/* its tombstone stands already */
	if (sync_is_marked(table, new, desc))
		return "deleted";
	if (sync_is_moved(table, old, new, desc))
		return "moved";
	if (strcmp(sync_entity_id(table, old, desc), sync_entity_id(table, new, desc)) != 0)
		return "moved";
	return has_changed_hands(table, old, new, desc) ? "access" : NULL;
}

/*
 * BEFORE DELETE, so that an insert of the key, which asks for tombstones before it meets the dying row, finds this one and waits; else it could
 * ask while a long DELETE is under way and come too early. AFTER UPDATE: its WHEN clause lets only those through that touch key, scope, mark or what policies look
 * at.
 */
Datum
sync_leave_tombstone(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	SyncTable  *table;
	TupleDesc	desc;
	const char *reason;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(data->tg_event) || TRIGGER_FIRED_BY_INSERT(data->tg_event) ||
		!TRIGGER_FIRED_BEFORE(data->tg_event) != !TRIGGER_FIRED_BY_DELETE(data->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("sync.leave_tombstone() may only be called as the trigger that sync.enable() makes")));
	table = sync_table_of_trigger(RelationGetRelid(data->tg_relation));
	if (table == NULL)
		return PointerGetDatum(data->tg_trigtuple);
	desc = RelationGetDescr(data->tg_relation);
	if (TRIGGER_FIRED_BY_DELETE(data->tg_event))
		reason = sync_is_marked(table, data->tg_trigtuple, desc) ? NULL : "deleted";
	else
		reason = reason_of_update(table, data->tg_trigtuple, data->tg_newtuple, desc);
	if (reason)
		sync_tombstone_add(table, data->tg_trigtuple, desc, reason);
	return PointerGetDatum(data->tg_trigtuple);
}

/* AFTER TRUNCATE: no row says what went, so everybody starts this table anew. */
Datum
sync_truncated(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	Oid			types[] = {INT4OID, XID8OID};
	Datum		values[2];
	SyncRole	saved;
	SyncTable  *table;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BY_TRUNCATE(data->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("sync.truncated() may only be called as the trigger that sync.enable() makes")));
	/* A partition that was detached keeps this trigger. */
	table = sync_table_by_relid(RelationGetRelid(data->tg_relation), true);
	if (table == NULL)
		return PointerGetDatum(NULL);
	values[0] = Int32GetDatum(table->id);
	values[1] = FullTransactionIdGetDatum(GetTopFullTransactionId());
	SPI_connect();
	sync_become_extension(&saved);
	SPI_execute_with_args("UPDATE sync.synced_table SET epoch = $2 WHERE id OPERATOR(pg_catalog.=) $1",
						  2, types, values, NULL, false, 0);
	sync_become_back(&saved);
	SPI_finish();
	return PointerGetDatum(NULL);
}
