/*
 * history.c - the AFTER trigger that keeps each version of a row and tells its audience who did what.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/rel.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(sync_keep_history);

const char *sync_write_device = NULL;

/* One version as it goes into sync.history. */
typedef struct Version
{
	const char *operation;
	HeapTuple	row;			/* whose key, scope and audience count */
	int64		number;
	Bitmapset  *fields;			/* columns the write changed; NULL: all */
	HeapTuple	old;			/* NULL: no old image */
	HeapTuple	new;			/* NULL: no new image */
} Version;

/* After the write, so generated columns count. */
static Bitmapset *
changed_fields(const SyncTable *table, HeapTuple old, HeapTuple new, TupleDesc desc)
{
	Bitmapset  *changed = NULL;
	int			i;

	for (i = 0; i < table->ncolumns; i++)
	{
		AttrNumber	attnum = table->columns[i].attnum;
		Form_pg_attribute att = TupleDescAttr(desc, attnum - 1);
		bool		old_null;
		bool		new_null;
		Datum		a = heap_getattr(old, attnum, desc, &old_null);
		Datum		b = heap_getattr(new, attnum, desc, &new_null);

		if (old_null != new_null || (!old_null && !datum_image_eq(a, b, att->attbyval, att->attlen)))
			changed = bms_add_member(changed, i);
	}
	return changed;
}

static int64
version_of(const SyncTable *table, HeapTuple row, TupleDesc desc)
{
	bool		isnull;

	return DatumGetInt64(heap_getattr(row, table->version_att, desc, &isnull));
}

/* What the trigger's event comes to; false: no new version. */
static bool
read_version(const SyncTable *table, TriggerData *data, TupleDesc desc, Version *v)
{
	HeapTuple	old = data->tg_trigtuple;

	memset(v, 0, sizeof(*v));
	if (TRIGGER_FIRED_BY_INSERT(data->tg_event))
	{
		v->operation = "create";
		v->row = v->new = data->tg_trigtuple;
		v->number = version_of(table, v->row, desc);
		return true;
	}
	if (TRIGGER_FIRED_BY_DELETE(data->tg_event))
	{
		v->operation = "delete";
		v->row = v->old = old;
		v->number = version_of(table, old, desc) + 1;
		return !sync_is_marked(table, old, desc);	/* a purge is no second deletion */
	}
	v->row = v->new = data->tg_newtuple;
	v->old = old;
	v->number = version_of(table, v->row, desc);
	v->fields = changed_fields(table, old, v->row, desc);
	v->operation = "update";
	if (sync_is_marked(table, v->row, desc) != sync_is_marked(table, old, desc))
		v->operation = sync_is_marked(table, old, desc) ? "restore" : "delete";
	return v->fields != NULL;
}

static Datum
image(const SyncTable *table, HeapTuple row, TupleDesc desc, const Bitmapset *fields)
{
	StringInfoData json;

	initStringInfo(&json);
	sync_render_data(&json, table, row, desc, fields);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}

static Datum
field_names(const SyncTable *table, const Bitmapset *fields)
{
	char	  **names = palloc(sizeof(char *) * Max(table->ncolumns, 1));
	int			n = 0;
	int			i;

	for (i = 0; i < table->ncolumns; i++)
		if (fields == NULL || bms_is_member(i, fields))
			names[n++] = table->columns[i].name;
	return sync_text_array(names, n);
}

/* Where columns are granted one by one, even the name of a changed one is not for everybody. */
static bool
has_column_grants(const SyncTable *table)
{
	HeapTuple	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(table->relid), Int16GetDatum(table->version_att));
	bool		result = HeapTupleIsValid(tuple) && !heap_attisnull(tuple, Anum_pg_attribute_attacl, NULL);

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return result;
}

#define HISTORY_SQL \
	"WITH kept AS (INSERT INTO sync.history (table_id, entity_id, version, operation, user_id, device_id, fields, old_row, new_row, scope_value) " \
	"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)) " \
	"INSERT INTO sync.activity (audience, table_id, entity_type, entity_id, actor, action, fields) " \
	"VALUES ($11, $1, $12, $2, $13, $4, $14)"

enum
{
	H_TABLE, H_ENTITY, H_VERSION, H_OPERATION, H_USER, H_DEVICE, H_FIELDS, H_OLD, H_NEW, H_SCOPE, H_AUDIENCE, H_TYPE, H_ACTOR, H_SHOWN, H_N
};

static Datum
text_or_null(const char *text, char *isnull)
{
	*isnull = text ? ' ' : 'n';
	return text ? CStringGetTextDatum(text) : (Datum) 0;
}

static const char *
scope_value(const SyncTable *table, HeapTuple row, TupleDesc desc)
{
	bool		isnull = true;
	Datum		value = 0;

	if (table->scope_column)
		value = heap_getattr(row, table->scope_column->attnum, desc, &isnull);
	return isnull ? NULL : sync_value_text(table->scope_column, value);
}

/* History keeps the true user, also where others see no name. Of an update the old image holds only what changed. */
static void
fill_values(const SyncTable *table, const Version *v, TupleDesc desc, Datum *values, char *nulls)
{
	const char *user = sync_user_id();

	memset(nulls, ' ', H_N);
	values[H_TABLE] = Int32GetDatum(table->id);
	values[H_ENTITY] = CStringGetTextDatum(sync_entity_id(table, v->row, desc));
	values[H_VERSION] = Int64GetDatum(v->number);
	values[H_OPERATION] = CStringGetTextDatum(v->operation);
	values[H_USER] = text_or_null(user, &nulls[H_USER]);
	values[H_DEVICE] = text_or_null(sync_write_device, &nulls[H_DEVICE]);
	values[H_FIELDS] = field_names(table, v->fields);
	nulls[H_OLD] = v->old ? ' ' : 'n';
	values[H_OLD] = v->old ? image(table, v->old, desc, v->fields) : (Datum) 0;
	nulls[H_NEW] = v->new ? ' ' : 'n';
	values[H_NEW] = v->new ? image(table, v->new, desc, NULL) : (Datum) 0;
	values[H_SCOPE] = text_or_null(scope_value(table, v->row, desc), &nulls[H_SCOPE]);
	values[H_AUDIENCE] = text_or_null(sync_audience(table, v->row, desc), &nulls[H_AUDIENCE]);
	values[H_TYPE] = CStringGetTextDatum(table->entity_type);
	values[H_ACTOR] = text_or_null(table->is_anonymous ? NULL : user, &nulls[H_ACTOR]);
	nulls[H_SHOWN] = has_column_grants(table) ? 'n' : ' ';
	values[H_SHOWN] = values[H_FIELDS];
}

Datum
sync_keep_history(PG_FUNCTION_ARGS)
{
	static SPIPlanPtr plan = NULL;
	TriggerData *data = (TriggerData *) fcinfo->context;
	Oid			types[H_N] = {INT4OID, TEXTOID, INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTARRAYOID, JSONBOID, JSONBOID, TEXTOID,
		TEXTOID, TEXTOID, TEXTOID, TEXTARRAYOID};
	Datum		values[H_N];
	char		nulls[H_N + 1] = {0};
	SyncTable  *table;
	TupleDesc	desc;
	Version		version;
	SyncRole	saved;

	sync_check_row_trigger(fcinfo, "sync.keep_history", false);
	table = sync_table_of_trigger(RelationGetRelid(data->tg_relation));
	desc = RelationGetDescr(data->tg_relation);
	if (table == NULL || !table->has_history || sync_forgotten_user || !read_version(table, data, desc, &version))
		return PointerGetDatum(NULL);

	SPI_connect();
	fill_values(table, &version, desc, values, nulls);
	sync_become_extension(&saved);
	if (plan == NULL)
	{
		plan = SPI_prepare(HISTORY_SQL, H_N, types);
		if (plan == NULL)
			elog(ERROR, "could not prepare the history");
		SPI_keepplan(plan);
	}
	SPI_execute_plan(plan, values, nulls, false, 0);
	sync_become_back(&saved);
	SPI_finish();
	return PointerGetDatum(NULL);
}
