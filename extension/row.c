/*
 * row.c - rows as a push meets them: read and locked as the table's owner, so that hidden ones can be told from absent ones here and
 * answered alike.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "change.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/rls.h"

typedef struct PushPlan
{
	char	   *sql;
	SPIPlanPtr	plan;
} PushPlan;

/* Plans live as long as the push: a batch writes the same few tables over and over. */
SPIPlanPtr
push_plan(Push *push, const char *sql, int nargs, Oid *types)
{
	ListCell   *lc;
	PushPlan   *entry;
	MemoryContext before;

	foreach(lc, push->plans)
		if (strcmp(((PushPlan *) lfirst(lc))->sql, sql) == 0)
			return ((PushPlan *) lfirst(lc))->plan;
	before = MemoryContextSwitchTo(push->context);
	entry = palloc(sizeof(PushPlan));
	entry->sql = pstrdup(sql);
	entry->plan = SPI_prepare(sql, nargs, types);
	if (entry->plan == NULL)
		elog(ERROR, "could not prepare \"%s\"", sql);
	push->plans = lappend(push->plans, entry);
	MemoryContextSwitchTo(before);
	return entry->plan;
}

Row
row_read(Push *push, const SyncTable *table, const Datum *keys, const char *suffix)
{
	StringInfoData sql;
	Oid			types[INDEX_MAX_KEYS];
	SyncRole	saved;
	Row			row = {NULL, NULL};

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	sync_put_all_columns(&sql, table);
	appendStringInfo(&sql, " FROM %s t WHERE ", table->from_name);
	sync_put_key(&sql, table, 1, types);
	appendStringInfoString(&sql, suffix);
	sync_become(&saved, sync_table_owner(table));
	SPI_execute_plan(push_plan(push, sql.data, table->nkeys, types), unconstify(Datum *, keys), NULL, false, 1);
	sync_become_back(&saved);
	if (SPI_processed == 1)
	{
		row.tuple = SPI_tuptable->vals[0];
		row.desc = SPI_tuptable->tupdesc;
	}
	return row;
}

/* Asks as the caller, where policies could say no. */
bool
row_may_see(Push *push, const SyncTable *table, const Datum *keys)
{
	StringInfoData sql;
	Oid			types[INDEX_MAX_KEYS];

	if (check_enable_rls(table->relid, InvalidOid, true) != RLS_ENABLED)
		return true;
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT 1 FROM %s t WHERE ", table->from_name);
	sync_put_key(&sql, table, 1, types);
	SPI_execute_plan(push_plan(push, sql.data, table->nkeys, types), unconstify(Datum *, keys), NULL, false, 1);
	return SPI_processed == 1;
}

const SyncScope *
row_scope_held(Push *push, const SyncTable *table)
{
	ListCell   *lc;
	MemoryContext before;
	SyncScope  *scope;

	foreach(lc, push->scopes)
		if (((SyncScope *) lfirst(lc))->id == table->scope_id)
			return lfirst(lc);
	before = MemoryContextSwitchTo(push->context);
	scope = sync_scope_held(table->scope_id);
	push->scopes = lappend(push->scopes, scope);
	MemoryContextSwitchTo(before);
	return scope;
}

bool
row_in_held_scope(Push *push, const SyncTable *table, const Row *row)
{
	const SyncColumn *column;
	bool		isnull;
	Datum		value;

	if (table->scope_column == NULL)
		return true;
	column = table->scope_column;
	value = heap_getattr(row->tuple, column->attnum, row->desc, &isnull);
	return !isnull && sync_scope_has(row_scope_held(push, table), sync_value_text(column, value));
}

bool
row_is_marked(const SyncTable *table, const Row *row)
{
	return sync_is_marked(table, row->tuple, row->desc);
}

int64
row_version(const SyncTable *table, const Row *row)
{
	bool		isnull;

	return DatumGetInt64(heap_getattr(row->tuple, table->version_att, row->desc, &isnull));
}

/* The last deletion of a key, if the caller may know of it. A deletion by SQL counts with the server's time. */
Deletion
row_seen_deletion(Push *push, const Change *change)
{
	static const char sql[] =
		"SELECT version, scope_value, COALESCE(edited_at, at), COALESCE(device, 0), old_values, changed_by FROM sync.tombstone "
		"WHERE table_id OPERATOR(pg_catalog.=) $1 AND entity_id OPERATOR(pg_catalog.=) $2 ORDER BY version DESC LIMIT 1";
	Oid			types[] = {INT4OID, TEXTOID};
	Datum		values[] = {Int32GetDatum(change->table->id), CStringGetTextDatum(change->entity_id)};
	SyncRole	saved;
	Deletion	deletion = {0};
	SyncPolicyCheck *policies;
	HeapTuple	tuple;
	TupleDesc	desc;
	bool		isnull;

	if (push->writer && writer_for(push, change->table) && !writer_knows_deletion(push->writer, change->entity_id))
		return deletion;
	sync_become_extension(&saved);
	SPI_execute_plan(push_plan(push, sql, 2, types), values, NULL, false, 1);
	sync_become_back(&saved);
	if (SPI_processed == 0)
		return deletion;
	tuple = SPI_tuptable->vals[0];
	desc = SPI_tuptable->tupdesc;
	if (change->table->scope_column && !sync_scope_has(row_scope_held(push, change->table), SPI_getvalue(tuple, desc, 2)))
		return deletion;
	policies = change->table->policy_is_scope ? NULL : sync_policy_check(change->table);
	if (policies && !sync_policy_allows(policies, SPI_getvalue(tuple, desc, 5)))
		return deletion;
	deletion.version = DatumGetInt64(SPI_getbinval(tuple, desc, 1, &isnull));
	deletion.edited_at = DatumGetTimestampTz(SPI_getbinval(tuple, desc, 3, &isnull));
	deletion.scope = SPI_getvalue(tuple, desc, 2);
	deletion.changed_by = SPI_getvalue(tuple, desc, 6);
	deletion.device = (uint64) DatumGetInt64(SPI_getbinval(tuple, desc, 4, &isnull));
	return deletion;
}

const Bitmapset *
row_readable(Push *push, const SyncTable *table, bool *all)
{
	Rights	   *rights = &push->readable;
	MemoryContext before;

	if (rights->table != table)
	{
		before = MemoryContextSwitchTo(push->context);
		rights->table = table;
		rights->columns = sync_readable_columns(table, &rights->all);
		MemoryContextSwitchTo(before);
	}
	*all = rights->all;
	return rights->columns;
}

/* Columns, by index, that the role in force may insert or update. */
Bitmapset *
row_writable(const SyncTable *table, AclMode mode)
{
	Bitmapset  *columns = NULL;
	bool		all = pg_class_aclcheck(table->relid, GetUserId(), mode) == ACLCHECK_OK;
	int			i;

	for (i = 0; i < table->ncolumns; i++)
		if (all || pg_attribute_aclcheck(table->relid, table->columns[i].attnum, GetUserId(), mode) == ACLCHECK_OK)
			columns = bms_add_member(columns, i);
	return columns;
}

char *
row_read_again(Push *push, SyncTable *table, const char *entity_id)
{
	Datum		keys[INDEX_MAX_KEYS];
	const Bitmapset *readable;
	StringInfoData data;
	bool		all;
	Row			row;

	readable = row_readable(push, table, &all);
	if (readable == NULL || !sync_parse_entity_id(table, entity_id, keys))
		return NULL;
	row = row_read(push, table, keys, "");
	if (row.tuple == NULL || row_is_marked(table, &row) || !row_in_held_scope(push, table, &row) || !row_may_see(push, table, keys) ||
		sync_is_too_large(table, row.tuple, row.desc, all ? NULL : readable))
		return NULL;
	initStringInfo(&data);
	sync_render_data(&data, table, row.tuple, row.desc, all ? NULL : readable);
	return data.data;
}
