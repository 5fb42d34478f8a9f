/*
 * apply.c - one pushed change meets the row: base check, last-write-wins, and the write under the caller's rights.
 *
 * Every write runs as the caller.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "change.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

static char *
latest_key(const Change *change)
{
	return psprintf("%d:%s", change->table->id, change->entity_id);
}

/* Did an earlier change of this batch make the row what it is, on the version its device knew? */
static bool
follows_own_change(Push *push, const Change *change, int64 version)
{
	TextEntry  *entry;
	char	   *key = latest_key(change);

	if (strlen(key) >= TEXT_KEY_MAX)
		return false;
	entry = hash_search(push->latest, key, HASH_FIND, NULL);
	return entry && push->changes[entry->index].is_chained && push->changes[entry->index].server_version == version;
}

static void
remember_own_change(Push *push, Change *change)
{
	TextEntry  *entry;
	char	   *key = latest_key(change);

	change->is_chained = true;
	if (strlen(key) < TEXT_KEY_MAX)
	{
		entry = hash_search(push->latest, key, HASH_ENTER, NULL);
		entry->index = change->index;
	}
}

/* Was everything after the version it knew written by the device itself? */
static bool
is_own_since(const Push *push, const Change *change, const Row *row)
{
	SyncWrite	write;

	sync_clock_newest(change->table, row->tuple, row->desc, &write);
	return write.device == push->device_hash;
}

static bool
base_holds(Push *push, const Change *change, const Row *row)
{
	int			n;
	Field	   *fields;
	int64		version = row_version(change->table, row);

	if (follows_own_change(push, change, version))
		return true;
	/* Who creates a row knew none: its version would only match by chance. */
	if (change->operation != OP_CREATE && change->local_version >= 0 &&
		(change->local_version == version || (change->local_version < version && is_own_since(push, change, row))))
		return true;
	if (change->base == NULL)
		return false;
	fields = value_read_fields(push, change->table, change->base, &n);
	return n > 0 && value_all_equal(change->table, fields, n, row);
}

/*
 * Does the client's edit come after the row's last? The stored time is the client's of that write, so the outcome does not depend on
 * which arrived first; a write by SQL counts with the server's time. At the same instant the server's copy wins, but a device's own
 * later change follows its earlier one.
 */
static bool
is_later(Push *push, const Change *change, const Row *row)
{
	SyncWrite	write;

	sync_clock_newest(change->table, row->tuple, row->desc, &write);
	return change->edited_at > write.edited_at ||
		(change->edited_at == write.edited_at && write.device == push->device_hash);
}

/* ---- writing ---- */

/* Runs one INSERT, UPDATE or DELETE as the caller, stamped with the client's edit time; returns the rows it touched. */
static uint64
write_row(Push *push, const Change *change, const char *sql, int n, Oid *types, Datum *values, const char *nulls)
{
	uint64		touched;

	push->stamp.relid = change->table->relid;
	push->stamp.write.edited_at = change->edited_at;
	push->stamp.write.device = push->device_hash;
	push->stamp.write.queue = change->queue_id ? sync_hash(change->queue_id, strlen(change->queue_id), 0) : 0;
	push->stamp.soft_deletes = 0;
	push->stamp.entity_id = NULL;
	sync_push_stamp = &push->stamp;
	SPI_execute_plan(push_plan(push, sql, n, types), values, nulls, false, 0);
	touched = SPI_processed;
	sync_push_stamp = NULL;
	return touched + push->stamp.soft_deletes;
}

/* A policy kept the row from being touched: an error, so that a conflict logged on the way goes too. */
static void pg_attribute_noreturn()
raise_not_found(void)
{
	ereport(ERROR, (errcode(SYNC_ERR_NOT_FOUND), errmsg("no such row")));
}

static const SyncColumn *
column_at(const SyncTable *table, AttrNumber attnum)
{
	int			i;

	for (i = 0; i < table->ncolumns; i++)
		if (table->columns[i].attnum == attnum)
			return &table->columns[i];
	return NULL;
}

/* The key of the row a foreign key points to; false when it has a NULL, or does not point to a primary key. */
static bool
referenced_key(const SyncTable *table, const SyncTable *other, const ForeignKeyCacheInfo *fk, const Row *row, Datum *keys)
{
	int			k;
	int			i;

	for (k = 0; k < other->nkeys; k++)
	{
		bool		isnull = true;

		for (i = 0; i < fk->nkeys; i++)
			if (fk->confkey[i] == other->columns[other->keys[k]].attnum && column_at(table, fk->conkey[i]) &&
				column_at(table, fk->conkey[i])->type == other->columns[other->keys[k]].type)
				keys[k] = heap_getattr(row->tuple, fk->conkey[i], row->desc, &isnull);
		if (isnull)
			return false;
	}
	return true;
}

/* A reference to a row that the caller cannot see is answered like one to a row that is not there. */
static void
check_references(Push *push, const SyncTable *table, const Row *row)
{
	Relation	relation = table_open(table->relid, AccessShareLock);
	List	   *fkeys = copyObject(RelationGetFKeyList(relation));
	ListCell   *lc;

	table_close(relation, AccessShareLock);
	foreach(lc, fkeys)
	{
		ForeignKeyCacheInfo *fk = lfirst(lc);
		SyncTable  *other = sync_table_by_relid(fk->confrelid, true);
		Datum		keys[INDEX_MAX_KEYS];
		Row			target;

		if (other == NULL || (other->scope_column == NULL && !other->has_policies) || !referenced_key(table, other, fk, row, keys))
			continue;
		target = row_read(push, other, keys, "");
		if (target.tuple == NULL || (row_in_held_scope(push, other, &target) && row_may_see(push, other, keys)))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("insert or update on table \"%s\" violates foreign key constraint \"%s\"", get_rel_name(table->relid),
						get_constraint_name(fk->conoid))));
	}
}

/* What the row has become, for the answer; also where its new scope is checked. */
static void
report_row(Push *push, Change *change, const Datum *keys, const char *outcome)
{
	Row			row = row_read(push, change->table, keys, "");
	Bitmapset  *readable;
	StringInfoData data;
	bool		all;

	if (row.tuple == NULL)
	{
		/* A trigger of the application took it away again. */
		verdict_success(change, outcome, 0);
		return;
	}
	if (!row_in_held_scope(push, change->table, &row))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the row's scope value is not held by the caller")));
	check_references(push, change->table, &row);
	verdict_success(change, outcome, row_version(change->table, &row));
	readable = sync_readable_columns(change->table, &all);
	if (readable == NULL || !row_may_see(push, change->table, keys))
		return;
	initStringInfo(&data);
	sync_render_data(&data, change->table, row.tuple, row.desc, readable);
	change->data_now = data.data;
}

static void
insert_row(Push *push, Change *change, Field *fields, int n)
{
	const SyncTable *table = change->table;
	StringInfoData sql;
	Oid		   *types = palloc(sizeof(Oid) * Max(n, 1));
	Datum	   *values = palloc(sizeof(Datum) * Max(n, 1));
	char	   *nulls = palloc(n + 1);
	Datum		keys[INDEX_MAX_KEYS];
	int			i;

	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO %s ", table->sql_name);
	for (i = 0; i < n; i++)
	{
		appendStringInfo(&sql, "%s%s", i ? ", " : "(", quote_identifier(table->columns[fields[i].column].name));
		types[i] = table->columns[fields[i].column].type;
		values[i] = fields[i].value;
		nulls[i] = fields[i].isnull ? 'n' : ' ';
	}
	appendStringInfoString(&sql, n ? ") VALUES " : "DEFAULT VALUES");
	for (i = 0; i < n; i++)
		appendStringInfo(&sql, "%s$%d", i ? ", " : "(", i + 1);
	if (n)
		appendStringInfoChar(&sql, ')');
	if (write_row(push, change, sql.data, n, types, values, nulls) == 0 || push->stamp.entity_id == NULL)
	{
		verdict_error(change, "rejected", "the database did not keep the row", "A trigger of the table turned the insert away.");
		return;
	}
	change->entity_id = MemoryContextStrdup(push->context, push->stamp.entity_id);
	if (!sync_parse_entity_id(table, change->entity_id, keys))
		elog(ERROR, "unexpected key \"%s\"", change->entity_id);
	report_row(push, change, keys, "applied");
	if (change->status && strcmp(change->status, "success") == 0)
		remember_own_change(push, change);
}

static void
update_row(Push *push, Change *change, const Datum *keys, Field *fields, int n, bool is_based)
{
	const SyncTable *table = change->table;
	StringInfoData sql;
	Oid		   *types = palloc(sizeof(Oid) * (n + table->nkeys));
	Datum	   *values = palloc(sizeof(Datum) * (n + table->nkeys));
	char	   *nulls = palloc(n + table->nkeys);
	int			i;

	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s t SET ", table->sql_name);
	for (i = 0; i < n; i++)
	{
		appendStringInfo(&sql, "%s%s = $%d", i ? ", " : "", quote_identifier(table->columns[fields[i].column].name), i + 1);
		types[i] = table->columns[fields[i].column].type;
		values[i] = fields[i].value;
		nulls[i] = fields[i].isnull ? 'n' : ' ';
	}
	appendStringInfoString(&sql, " WHERE ");
	sync_put_key(&sql, table, n + 1, types + n);
	memcpy(values + n, keys, sizeof(Datum) * table->nkeys);
	memset(nulls + n, ' ', table->nkeys);
	if (write_row(push, change, sql.data, n + table->nkeys, types, values, nulls) == 0)
		raise_not_found();
	report_row(push, change, keys, "applied");
	if (is_based)
		remember_own_change(push, change);
}

/* Does data give a key column another value than entity_id does? */
static bool
names_other_key(const SyncTable *table, const Datum *keys, const Field *fields, int n)
{
	int			k;
	int			i;

	for (k = 0; k < table->nkeys; k++)
		for (i = 0; i < n; i++)
		{
			int16		len;
			bool		byval;

			if (fields[i].column != table->keys[k])
				continue;
			get_typlenbyval(table->columns[table->keys[k]].type, &len, &byval);
			if (fields[i].isnull || !datum_image_eq(fields[i].value, keys[k], byval, len))
				return true;
		}
	return false;
}

/* Sets the key columns from entity_id where data leaves them out. */
static void
complete_key(const SyncTable *table, const Datum *keys, Field *fields, int *n)
{
	int			given = *n;
	int			k;
	int			i;

	for (k = 0; k < table->nkeys; k++)
	{
		for (i = 0; i < given && fields[i].column != table->keys[k]; i++)
			;
		if (i < given)
			continue;
		fields[*n].column = table->keys[k];
		fields[*n].isnull = false;
		fields[(*n)++].value = keys[k];
	}
}

/* A change meets a living, visible row. */
static void
merge_into(Push *push, Change *change, const Row *row, const Datum *keys, Field *fields, int n)
{
	bool		is_based;

	if (n == 0 || value_all_equal(change->table, fields, n, row))
	{
		report_row(push, change, keys, "noop");
		return;
	}
	is_based = base_holds(push, change, row);
	if (!is_based)
	{
		bool		is_won = is_later(push, change, row);

		verdict_conflict(push, change, "edit", is_won, row->tuple, row->desc, row_version(change->table, row));
		if (!is_won)
			return;
	}
	update_row(push, change, keys, fields, n, is_based);
}

static void
apply_create(Push *push, Change *change, const Datum *keys)
{
	SyncTable  *table = change->table;
	int			n;
	Field	   *fields = value_read_fields(push, table, change->data, &n);
	Row			row;

	if (keys == NULL)
	{
		insert_row(push, change, fields, n);
		return;
	}
	if (names_other_key(table, keys, fields, n))
	{
		verdict_error(change, "key_mismatch", "data names another key than entity_id", NULL);
		return;
	}
	complete_key(table, keys, fields, &n);
	row = row_read(push, table, keys, " FOR NO KEY UPDATE");
	if (row.tuple == NULL)
		insert_row(push, change, fields, n);
	else if (!row_in_held_scope(push, table, &row) || !row_may_see(push, table, keys))
		verdict_forbidden(change);
	else if (row_is_marked(table, &row))
		verdict_conflict(push, change, "delete", false, NULL, NULL, row_version(table, &row));
	else
		merge_into(push, change, &row, keys, fields, n);
}

static void
apply_update(Push *push, Change *change, const Datum *keys)
{
	SyncTable  *table = change->table;
	int			n;
	Field	   *fields = value_read_fields(push, table, change->data, &n);
	Row			row = row_read(push, table, keys, " FOR NO KEY UPDATE");
	int64		deletion;

	if (row.tuple && row_in_held_scope(push, table, &row) && !row_is_marked(table, &row) && row_may_see(push, table, keys))
	{
		if (names_other_key(table, keys, fields, n))
			verdict_error(change, "key_mismatch", "data names another key than entity_id",
						  "A key cannot be changed by a push: delete the row and create another.");
		else
			merge_into(push, change, &row, keys, fields, n);
		return;
	}
	deletion = row.tuple && !row_is_marked(table, &row) ? 0 : row_seen_deletion(push, change);
	if (deletion > 0)
		verdict_conflict(push, change, "delete", false, NULL, NULL, deletion);
	else
		verdict_not_found(change);
}

static void
delete_row(Push *push, Change *change, const Row *row, const Datum *keys)
{
	const SyncTable *table = change->table;
	StringInfoData sql;
	Oid			types[INDEX_MAX_KEYS];
	int64		version = row_version(table, row);

	/* delete_wins: the edit it runs over goes to the log. */
	if (change->local_version >= 0 && !base_holds(push, change, row))
		verdict_conflict(push, change, "delete", true, row->tuple, row->desc, version);
	initStringInfo(&sql);
	appendStringInfo(&sql, "DELETE FROM %s t WHERE ", table->sql_name);
	sync_put_key(&sql, table, 1, types);
	if (write_row(push, change, sql.data, table->nkeys, types, unconstify(Datum *, keys), NULL) == 0)
		raise_not_found();
	verdict_success(change, "applied", version + 1);
}

static void
apply_delete(Push *push, Change *change, const Datum *keys)
{
	SyncTable  *table = change->table;
	Row			row = row_read(push, table, keys, " FOR UPDATE");
	int64		deletion;

	if (row.tuple && row_in_held_scope(push, table, &row) && !row_is_marked(table, &row) && row_may_see(push, table, keys))
	{
		delete_row(push, change, &row, keys);
		return;
	}
	deletion = row.tuple && !row_is_marked(table, &row) ? 0 : row_seen_deletion(push, change);
	if (deletion > 0)
		verdict_success(change, "noop", deletion);
	else
		verdict_not_found(change);
}

/* {"ref": queue_id}: the key that an earlier create of this batch was given. */
static bool
resolve_ref(Push *push, Change *change)
{
	TextEntry  *entry;

	if (change->ref == NULL)
		return true;
	entry = hash_search(push->by_queue, change->ref, HASH_FIND, NULL);
	if (entry == NULL || entry->index >= change->index)
		return false;
	change->entity_id = push->changes[entry->index].result_id ? push->changes[entry->index].result_id : push->changes[entry->index].entity_id;
	return change->entity_id != NULL && push->changes[entry->index].status &&
		strcmp(push->changes[entry->index].status, "success") == 0;
}

void
apply_change(Push *push, Change *change)
{
	Datum		keys[INDEX_MAX_KEYS];

	if (!resolve_ref(push, change))
	{
		verdict_error(change, "not_found", "no such row", "\"ref\" must name the queue_id of an earlier create of this batch that succeeded.");
		return;
	}
	if (change->entity_id && !sync_parse_entity_id(change->table, change->entity_id, keys))
	{
		verdict_error(change, "invalid_value", "entity_id is no key of this table",
					  "The key's text; for several columns a JSON array of their texts.");
		return;
	}
	if (change->operation == OP_CREATE)
		apply_create(push, change, change->entity_id ? keys : NULL);
	else if (change->operation == OP_UPDATE)
		apply_update(push, change, keys);
	else
		apply_delete(push, change, keys);
	change->result_id = change->entity_id;
}
