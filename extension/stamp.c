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

void
sync_check_row_trigger(FunctionCallInfo fcinfo, const char *name, bool is_before)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(data->tg_event) ||
		!TRIGGER_FIRED_BEFORE(data->tg_event) != !is_before)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("%s() may only be called as the trigger that sync.enable() makes", name)));
}

/*
 * What one statement's rows share: fn_extra of the trigger, in the executor's context, the parent of the one for a row that triggers are
 * called in (fn_mcxt outlives COPY). The user is the one who started the statement.
 */
typedef struct Stamping
{
	MemoryContext context;
	SyncTombstoneScan *tombstones;	/* NULL until a key was looked up */
	bool		has_user;
	Datum		user;
	int			natts;
	Datum	   *old_values;
	bool	   *old_nulls;
	Datum	   *values;
	bool	   *nulls;
	int		   *changed;		/* indexes of table->columns */
	int			nchanged;
} Stamping;

static Stamping *
stamping_of(FmgrInfo *flinfo, int natts)
{
	Stamping   *s = flinfo->fn_extra;
	MemoryContext before;
	const char *user;

	if (s && s->natts == natts)
		return s;
	before = MemoryContextSwitchTo(MemoryContextGetParent(CurrentMemoryContext));
	s = palloc0(sizeof(Stamping));
	s->context = CurrentMemoryContext;
	user = sync_user_id();
	s->has_user = user != NULL;
	s->user = user ? CStringGetTextDatum(user) : (Datum) 0;
	s->natts = natts;
	s->old_values = palloc(sizeof(Datum) * natts * 2);
	s->values = s->old_values + natts;
	s->old_nulls = palloc(sizeof(bool) * natts * 2);
	s->nulls = s->old_nulls + natts;
	s->changed = palloc(sizeof(int) * natts);
	MemoryContextSwitchTo(before);
	flinfo->fn_extra = s;
	return s;
}

/* The same bytes, TOAST pointers included, need no detoasting. */
static bool
is_same_value(Datum a, Datum b, Form_pg_attribute att)
{
	if (att->attbyval)
		return a == b;
	if (att->attlen == -1)
	{
		Size		size = VARSIZE_ANY(DatumGetPointer(a));

		if (size == VARSIZE_ANY(DatumGetPointer(b)) && memcmp(DatumGetPointer(a), DatumGetPointer(b), size) == 0)
			return true;
	}
	return datum_image_eq(a, b, false, att->attlen);
}

static bool
is_column_changed(const Stamping *s, const SyncColumn *column, TupleDesc desc)
{
	int			i = column->attnum - 1;

	if (s->old_nulls[i] || s->nulls[i])
		return s->old_nulls[i] != s->nulls[i];
	return !is_same_value(s->old_values[i], s->values[i], TupleDescAttr(desc, i));
}

/* Which columns an update writes. A stored generated column is NULL in a BEFORE trigger's new row, and follows from the others. */
static void
find_changed(Stamping *s, const SyncTable *table, TupleDesc desc)
{
	int			i;

	s->nchanged = 0;
	for (i = 0; i < table->ncolumns; i++)
		if (!table->columns[i].is_generated && is_column_changed(s, &table->columns[i], desc))
			s->changed[s->nchanged++] = i;
}

static bool
is_key_changed(const Stamping *s, const SyncTable *table)
{
	int			i;
	int			k;

	for (i = 0; i < s->nchanged; i++)
		for (k = 0; k < table->nkeys; k++)
			if (s->changed[i] == table->keys[k])
				return true;
	return false;
}

static HeapTuple
form_tuple(const Stamping *s, TupleDesc desc, HeapTuple new)
{
	HeapTuple	tuple = heap_form_tuple(desc, s->values, s->nulls);

	tuple->t_data->t_ctid = new->t_data->t_ctid;
	tuple->t_self = new->t_self;
	tuple->t_tableOid = new->t_tableOid;
	return tuple;
}

/* Keeps the stamp that OLD has, whatever the statement set. */
static HeapTuple
keep_stamp(Stamping *s, const SyncTable *table, TupleDesc desc, HeapTuple new)
{
	int			cols[] = {table->version_att, table->xid_att, table->at_att, table->by_att, table->clock_att};
	bool		is_kept = table->via < 0;	/* its scope value is set anew */
	int			i;

	for (i = 0; i < (int) lengthof(cols); i++)
	{
		int			c = cols[i] - 1;

		if (s->old_nulls[c] != s->nulls[c] ||
			(!s->nulls[c] && !is_same_value(s->old_values[c], s->values[c], TupleDescAttr(desc, c))))
			is_kept = false;
		s->values[c] = s->old_values[c];
		s->nulls[c] = s->old_nulls[c];
	}
	return is_kept ? new : form_tuple(s, desc, new);
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

static void
set_value(Stamping *s, AttrNumber attnum, Datum value, bool isnull)
{
	s->values[attnum - 1] = value;
	s->nulls[attnum - 1] = isnull;
}

/* Columns that a push merged with what others wrote are written by nobody, the others by its device. */
static Datum
clock_of_merge(const Stamping *s, const SyncTable *table, const SyncOldClock *before, const SyncWrite *write, TimestampTz now, bool *isnull)
{
	SyncWrite	nobodys = {write->version, write->edited_at, 0, 0};
	SyncOldClock old = *before;
	int		   *columns = palloc(sizeof(int) * s->nchanged);
	int			nmerged = 0;
	int			end = s->nchanged;
	int			i;

	for (i = 0; i < s->nchanged; i++)
		if (list_member_oid(sync_push_stamp->merged, table->columns[s->changed[i]].name_hash))
			columns[nmerged++] = s->changed[i];
		else
			columns[--end] = s->changed[i];
	old.clock = nmerged > 0 ? sync_clock_next(table, &old, columns, nmerged, &nobodys, now, isnull) : old.clock;
	if (end == s->nchanged)
		return old.clock;
	if (nmerged > 0)
	{
		old.version = write->version;
		old.at = now;
		old.isnull = false;
	}
	return sync_clock_next(table, &old, columns + end, s->nchanged - end, write, now, isnull);
}

/* A table whose rows win or lose as a whole needs no account of columns. */
static void
set_clock(Stamping *s, const SyncTable *table, bool is_insert, int64 version, TimestampTz now)
{
	SyncWrite	write = current_write(table, version, now);
	SyncOldClock old = {0};
	bool		isnull;
	Datum		clock;

	if (!is_insert)
	{
		old.version = DatumGetInt64(s->old_values[table->version_att - 1]);
		old.at = DatumGetTimestampTz(s->old_values[table->at_att - 1]);
		old.clock = s->old_values[table->clock_att - 1];
		old.isnull = s->old_nulls[table->clock_att - 1];
	}
	if (!is_insert && table->rule != RULE_LWW && sync_push_stamp && sync_push_stamp->relid == table->relid && sync_push_stamp->merged)
		clock = clock_of_merge(s, table, &old, &write, now, &isnull);
	else
		clock = sync_clock_next(table, is_insert ? NULL : &old, table->rule == RULE_LWW ? NULL : s->changed, s->nchanged, &write, now, &isnull);
	set_value(s, table->clock_att, clock, isnull);
}

static char *
entity_id_of(const Stamping *s, const SyncTable *table)
{
	Datum		keys[INDEX_MAX_KEYS];
	int			i;

	for (i = 0; i < table->nkeys; i++)
	{
		int			c = table->columns[table->keys[i]].attnum - 1;

		/* no key: NOT NULL is checked after us */
		if (s->nulls[c])
			return NULL;
		keys[i] = s->values[c];
	}
	return sync_entity_id_of(table, keys);
}

/* A key that lived before goes on counting, so that no client takes the new row for an old one. */
static int64
version_of_key(Stamping *s, const SyncTable *table, const char *entity_id)
{
	if (entity_id == NULL)
		return 0;
	if (s->tombstones == NULL)
		s->tombstones = sync_tombstone_scan_begin(s->context);
	return sync_tombstone_version(s->tombstones, table, entity_id);
}

/* A push wants to know that its row came this far, and by which key: another trigger may have turned it away. */
static void
tell_push(const Stamping *s, const SyncTable *table)
{
	char	   *entity_id;

	if (sync_push_stamp == NULL || sync_push_stamp->relid != table->relid)
		return;
	entity_id = entity_id_of(s, table);
	sync_push_stamp->entity_id = entity_id ? MemoryContextStrdup(TopTransactionContext, entity_id) : NULL;
}

static HeapTuple
set_stamp(Stamping *s, const SyncTable *table, TupleDesc desc, HeapTuple new, bool is_insert, int64 version)
{
	TimestampTz now = GetCurrentTimestamp();

	set_clock(s, table, is_insert, version, now);
	set_value(s, table->version_att, Int64GetDatum(version), false);
	set_value(s, table->xid_att, FullTransactionIdGetDatum(GetTopFullTransactionId()), false);
	set_value(s, table->at_att, TimestampTzGetDatum(now), false);
	set_value(s, table->by_att, s->user, !s->has_user || table->is_anonymous);
	if (table->updated_at >= 0)
		set_value(s, table->columns[table->updated_at].attnum, timestamp_for(&table->columns[table->updated_at], now), false);
	tell_push(s, table);
	return form_tuple(s, desc, new);
}

/* A row that follows its parent into another scope counts as a change of who its parent is. */
static void
follow_parent(Stamping *s, const SyncTable *table)
{
	if (sync_inherit_scope(table, s->old_values, s->old_nulls, s->values, s->nulls) && s->nchanged == 0)
		s->changed[s->nchanged++] = table->via;
}

static HeapTuple
stamp_insert(Stamping *s, const SyncTable *table, TupleDesc desc, HeapTuple new)
{
	int64		version;

	if (table->is_partition && sync_is_arriving(table, new, desc))
		return new;
	heap_deform_tuple(new, desc, s->values, s->nulls);
	if (table->via >= 0)
		sync_inherit_scope(table, NULL, NULL, s->values, s->nulls);
	version = version_of_key(s, table, entity_id_of(s, table)) + 1;
	return set_stamp(s, table, desc, new, true, version);
}

Datum
sync_stamp(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	SyncTable  *table;
	TupleDesc	desc;
	Stamping   *s;
	HeapTuple	row;
	int64		version;

	sync_check_row_trigger(fcinfo, "sync.stamp", true);
	table = sync_table_of_trigger(RelationGetRelid(data->tg_relation));
	if (table == NULL)
		return PointerGetDatum(TRIGGER_FIRED_BY_INSERT(data->tg_event) ? data->tg_trigtuple : data->tg_newtuple);
	desc = RelationGetDescr(data->tg_relation);
	s = stamping_of(fcinfo->flinfo, desc->natts);

	if (TRIGGER_FIRED_BY_INSERT(data->tg_event))
		return PointerGetDatum(stamp_insert(s, table, desc, data->tg_trigtuple));
	heap_deform_tuple(data->tg_trigtuple, desc, s->old_values, s->old_nulls);
	heap_deform_tuple(data->tg_newtuple, desc, s->values, s->nulls);
	find_changed(s, table, desc);
	if (table->via >= 0)
		follow_parent(s, table);
	if (s->nchanged == 0 && sync_forgotten_user)
		return PointerGetDatum(sync_forget_stamp(table, data->tg_trigtuple, data->tg_newtuple, desc));
	if (s->nchanged == 0)
	{
		tell_push(s, table);
		return PointerGetDatum(keep_stamp(s, table, desc, data->tg_newtuple));
	}
	version = DatumGetInt64(s->old_values[table->version_att - 1]) + 1;
	/* A row that takes a key which lived before goes on counting from there, like an insert. */
	if (is_key_changed(s, table))
		version = Max(version, version_of_key(s, table, entity_id_of(s, table)) + 1);
	row = set_stamp(s, table, desc, data->tg_newtuple, false, version);
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
	sync_become(&saved, sync_table_owner(table));
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

	sync_check_row_trigger(fcinfo, "sync.soft_delete", true);
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
	else if (sync_purged_table == table->relid)
		return PointerGetDatum(data->tg_trigtuple);
	return PointerGetDatum(NULL);	/* the row stays */
}
