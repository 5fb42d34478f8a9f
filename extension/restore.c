/*
 * restore.c - sync.rollback_to() and sync.restore(): writes a row back to an earlier version under the caller's rights.
 *
 * In C, because the application's triggers must find the caller's own search_path.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(sync_rollback_to);
PG_FUNCTION_INFO_V1(sync_restore);

static void
refuse_missing(void)
{
	ereport(ERROR,
			(errcode(SYNC_ERR_NOT_FOUND),
			 errmsg("there is no such version of this row for you"),
			 errhint("See sync.history(); a table that was enabled without history => true keeps none.")));
}

/* The image of a version as the caller may see it; NULL: none. The caller is inside SPI. */
static Datum
find_image(Oid relid, text *entity_id, const char *condition, int64 version, bool *isnull)
{
	Oid			types[] = {OIDOID, TEXTOID, INT8OID};
	Datum		values[] = {ObjectIdGetDatum(relid), PointerGetDatum(entity_id), Int64GetDatum(version)};

	*isnull = true;
	SPI_execute_with_args(psprintf("SELECT COALESCE(h.data, h.old_data) FROM sync.history($1, $2, $3, 1) h WHERE %s", condition),
						  3, types, values, NULL, false, 1);
	if (SPI_processed == 0)
		return (Datum) 0;
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, isnull);
}

static bool
is_in_image(Datum image, const SyncColumn *column)
{
	return sync_json_get(&DatumGetJsonbP(image)->root, column->name) != NULL;
}

/* The image's values as a row of the table. Its JSON is the one rendering: bytea is base64 there, which no input function reads. */
static HeapTuple
read_image(const SyncTable *table, Datum image, TupleDesc *desc)
{
	StringInfoData sql;
	Oid			types[] = {JSONBOID};
	int			i;
	int			n = 0;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT r.* FROM pg_catalog.jsonb_populate_record(NULL::%s, $1", table->sql_name);
	for (i = 0; i < table->ncolumns; i++)
		if (table->columns[i].kind == 'y' && is_in_image(image, &table->columns[i]))
		{
			char	   *name = quote_literal_cstr(table->columns[i].name);

			appendStringInfo(&sql, "%s%s, COALESCE(pg_catalog.to_jsonb(pg_catalog.decode($1 OPERATOR(pg_catalog.->>) %s, 'base64')), 'null')",
							 n++ ? ", " : " OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object(", name, name);
		}
	appendStringInfo(&sql, "%s) r", n ? ")" : "");
	SPI_execute_with_args(sql.data, 1, types, &image, NULL, true, 1);
	*desc = SPI_tuptable->tupdesc;
	return SPI_tuptable->vals[0];
}

static void
run(StringInfo sql, int nargs, Oid *types, Datum *values, const char *nulls)
{
	int			result = SPI_execute_with_args(sql->data, nargs, types, values, nulls, false, 0);

	if (result < 0)
		elog(ERROR, "could not run \"%s\"", sql->data);
}

/* The row must end up where the caller sees it, its scope included: else everything is undone. */
static void
check_result(const SyncTable *table, const char *entity_id, uint64 written)
{
	if (written == 0 || !sync_role_sees(table, entity_id, false))
		ereport(ERROR,
				(errcode(SYNC_ERR_FORBIDDEN),
				 errmsg("this row may not be brought back by you"),
				 errhint("It takes the right to update or insert it, and its scope value must be one you hold.")));
}

static void
put_set(StringInfo sql, const SyncTable *table, const Bitmapset *columns, int first)
{
	int			i = -1;
	int			n = 0;

	while ((i = bms_next_member(columns, i)) >= 0)
	{
		appendStringInfo(sql, "%s%s = $%d", n ? ", " : "", quote_identifier(table->columns[i].name), first + n);
		n++;
	}
}

static void
put_values(const SyncTable *table, const Bitmapset *columns, HeapTuple row, TupleDesc desc, int first, Oid *types, Datum *values, char *nulls)
{
	int			i = -1;

	while ((i = bms_next_member(columns, i)) >= 0)
	{
		bool		isnull;

		types[first] = table->columns[i].type;
		values[first] = heap_getattr(row, table->columns[i].attnum, desc, &isnull);
		nulls[first++] = isnull ? 'n' : ' ';
	}
}

static void
update_row(const SyncTable *table, Datum *keys, const Bitmapset *columns, HeapTuple image, TupleDesc desc)
{
	int			n = bms_num_members(columns) + table->nkeys;
	Oid		   *types = palloc(sizeof(Oid) * n);
	Datum	   *values = palloc(sizeof(Datum) * n);
	char	   *nulls = palloc0(n + 1);
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s t SET ", table->sql_name);
	put_set(&sql, table, columns, table->nkeys + 1);
	appendStringInfoString(&sql, " WHERE ");
	sync_put_key(&sql, table, 1, types);
	memcpy(values, keys, sizeof(Datum) * table->nkeys);
	memset(nulls, ' ', table->nkeys);
	put_values(table, columns, image, desc, table->nkeys, types, values, nulls);
	run(&sql, n, types, values, nulls);
}

static void
insert_row(const SyncTable *table, const Bitmapset *columns, HeapTuple image, TupleDesc desc)
{
	int			n = bms_num_members(columns);
	Oid		   *types = palloc(sizeof(Oid) * n);
	Datum	   *values = palloc(sizeof(Datum) * n);
	char	   *nulls = palloc0(n + 1);
	StringInfoData sql;
	int			i = -1;
	int			k;

	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO %s (", table->sql_name);
	for (k = 0; (i = bms_next_member(columns, i)) >= 0; k++)
		appendStringInfo(&sql, "%s%s", k ? ", " : "", quote_identifier(table->columns[i].name));
	appendStringInfoString(&sql, ") OVERRIDING SYSTEM VALUE VALUES (");
	for (k = 1; k <= n; k++)
		appendStringInfo(&sql, "%s$%d", k > 1 ? ", " : "", k);
	appendStringInfoChar(&sql, ')');
	put_values(table, columns, image, desc, 0, types, values, nulls);
	run(&sql, n, types, values, nulls);
}

/* The row as the caller may see it now; NULL: not there for the caller. Columns the caller may not read are NULL. */
static HeapTuple
read_now(const SyncTable *table, Datum *keys, const Bitmapset *readable, TupleDesc *desc)
{
	char	  **names = palloc0(sizeof(char *) * (table->natts + 1));
	StringInfoData sql;
	Oid			types[INDEX_MAX_KEYS];
	int			i;

	for (i = 0; i < table->ncolumns; i++)
		if (bms_is_member(i, readable))
			names[table->columns[i].attnum] = psprintf("t.%s", quote_identifier(table->columns[i].name));
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	for (i = 1; i <= table->natts; i++)
		appendStringInfo(&sql, "%s%s", i > 1 ? ", " : "", names[i] ? names[i] : "NULL");
	appendStringInfo(&sql, " FROM %s t WHERE ", table->sql_name);
	sync_put_key(&sql, table, 1, types);
	run(&sql, table->nkeys, types, keys, NULL);
	*desc = SPI_tuptable->tupdesc;
	return SPI_processed == 1 ? SPI_tuptable->vals[0] : NULL;
}

/* Columns of the image that this may write; now: only those that differ, NULL: all. */
static Bitmapset *
columns_to_write(const SyncTable *table, Datum image, HeapTuple then, TupleDesc then_desc, HeapTuple now, TupleDesc now_desc)
{
	Bitmapset  *columns = NULL;
	int			i;

	for (i = 0; i < table->ncolumns; i++)
	{
		const SyncColumn *column = &table->columns[i];
		bool		then_null;
		bool		now_null;
		Datum		a;
		Datum		b;

		if (column->is_generated || i == table->updated_at || i == table->deleted_at || !is_in_image(image, column))
			continue;
		if (now)
		{
			a = heap_getattr(then, column->attnum, then_desc, &then_null);
			b = heap_getattr(now, column->attnum, now_desc, &now_null);
			if (then_null == now_null && (then_null || datum_image_eq(a, b, column->byval, column->len)))
				continue;
		}
		columns = bms_add_member(columns, i);
	}
	return columns;
}

static int
updatable_column(const SyncTable *table)
{
	int			i;

	for (i = 0; i < table->ncolumns; i++)
		if (!table->columns[i].is_generated && i != table->deleted_at &&
			(pg_class_aclcheck(table->relid, GetUserId(), ACL_UPDATE) == ACLCHECK_OK ||
			 pg_attribute_aclcheck(table->relid, table->columns[i].attnum, GetUserId(), ACL_UPDATE) == ACLCHECK_OK))
			return i;
	ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied for table %s", get_rel_name(table->relid))));
}

static uint64
set_one(const SyncTable *table, const char *column, const char *value, const char *also, Datum *keys)
{
	StringInfoData sql;
	Oid			types[INDEX_MAX_KEYS];

	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s t SET %s = %s WHERE ", table->sql_name, quote_identifier(column), value);
	sync_put_key(&sql, table, 1, types);
	appendStringInfoString(&sql, also);
	run(&sql, table->nkeys, types, keys, NULL);
	return SPI_processed;
}

/*
 * Takes a row's mark away. A policy "deleted_at IS NULL" hides the row from an UPDATE by the caller, so the owner does it; then the caller
 * sets a column to what it is, which rights and policies on the living row must allow.
 */
static bool
unmark(const SyncTable *table, const char *entity_id, Datum *keys)
{
	const char *mark;
	const char *name;
	SyncRole	saved;
	uint64		found;

	if (table->deleted_at < 0)
		return false;
	name = quote_identifier(table->columns[updatable_column(table)].name);
	mark = table->columns[table->deleted_at].name;
	sync_become(&saved, sync_table_owner(table));
	found = set_one(table, mark, "NULL", psprintf(" AND t.%s IS NOT NULL", quote_identifier(mark)), keys);
	sync_become_back(&saved);
	if (found == 0)
		return false;
	/* Answered as if it were not there: whoever may not have the row shall not learn that it was deleted. */
	if (set_one(table, table->columns[updatable_column(table)].name, psprintf("t.%s", name), "", keys) == 0 ||
		!sync_role_sees(table, entity_id, false))
		refuse_missing();
	return true;
}

static void
write_image(const SyncTable *table, const char *entity_id, Datum *keys, Datum image)
{
	bool		all;
	Bitmapset  *readable = sync_readable_columns(table, &all);
	TupleDesc	then_desc;
	TupleDesc	now_desc;
	HeapTuple	then;
	HeapTuple	now;
	Bitmapset  *columns;

	unmark(table, entity_id, keys);
	then = read_image(table, image, &then_desc);
	now = read_now(table, keys, readable, &now_desc);
	columns = columns_to_write(table, image, then, then_desc, now, now_desc);
	if (now == NULL)
		insert_row(table, columns, then, then_desc);
	else if (columns)
		update_row(table, keys, columns, then, then_desc);
	check_result(table, entity_id, now == NULL || columns ? SPI_processed : 1);
}

static char *
describe(const SyncTable *table, const char *entity_id, Datum *keys)
{
	StringInfoData out;
	Oid			types[INDEX_MAX_KEYS];

	initStringInfo(&out);
	appendStringInfo(&out, "SELECT t.sync_version FROM %s t WHERE ", table->sql_name);
	sync_put_key(&out, table, 1, types);
	run(&out, table->nkeys, types, keys, NULL);
	if (SPI_processed == 0)
		refuse_missing();
	resetStringInfo(&out);
	appendStringInfoString(&out, "{\"success\":true");
	sync_render_member(&out, "entity_id", entity_id);
	appendStringInfo(&out, ",\"version\":%s}", SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	return out.data;
}

Datum
sync_rollback_to(PG_FUNCTION_ARGS)
{
	SyncTable  *table = sync_table_by_relid(PG_GETARG_OID(0), false);
	char	   *entity_id = text_to_cstring(PG_GETARG_TEXT_PP(1));
	MemoryContext caller = CurrentMemoryContext;
	Datum		keys[INDEX_MAX_KEYS];
	Datum		image;
	text	   *answer;
	char	   *told;
	bool		isnull;
	int64		version = PG_GETARG_INT64(2);

	if (!sync_parse_entity_id(table, entity_id, keys))
		refuse_missing();
	SPI_connect();
	image = find_image(table->relid, PG_GETARG_TEXT_PP(1),
					   psprintf("h.operation OPERATOR(pg_catalog.<>) 'delete' AND h.version OPERATOR(pg_catalog.=) " INT64_FORMAT, version),
					   version + 1, &isnull);
	if (isnull)
		refuse_missing();
	write_image(table, entity_id, keys, image);
	told = describe(table, entity_id, keys);	/* queries, which end in SPI's memory */
	MemoryContextSwitchTo(caller);
	answer = cstring_to_text(told);
	SPI_finish();
	PG_RETURN_TEXT_P(answer);
}

Datum
sync_restore(PG_FUNCTION_ARGS)
{
	SyncTable  *table = sync_table_by_relid(PG_GETARG_OID(0), false);
	char	   *entity_id = text_to_cstring(PG_GETARG_TEXT_PP(1));
	MemoryContext caller = CurrentMemoryContext;
	Datum		keys[INDEX_MAX_KEYS];
	text	   *answer;
	char	   *told;
	bool		isnull = true;

	if (!sync_parse_entity_id(table, entity_id, keys))
		refuse_missing();
	SPI_connect();
	if (!unmark(table, entity_id, keys))
	{
		Datum		image = 0;

		if (table->has_history)
			image = find_image(table->relid, PG_GETARG_TEXT_PP(1), "h.operation OPERATOR(pg_catalog.=) 'delete'", PG_INT64_MAX, &isnull);
		if (isnull)
			refuse_missing();
		write_image(table, entity_id, keys, image);
	}
	told = describe(table, entity_id, keys);	/* queries, which end in SPI's memory */
	MemoryContextSwitchTo(caller);
	answer = cstring_to_text(told);
	SPI_finish();
	PG_RETURN_TEXT_P(answer);
}
