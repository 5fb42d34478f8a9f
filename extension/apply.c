/*
 * apply.c - one pushed change meets the row: what is there, and which of the three operations is asked for.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "change.h"

#include "access/htup_details.h"
#include "utils/memutils.h"

/* Does data give a key column another value than entity_id does? */
static bool
names_other_key(const SyncTable *table, const Datum *keys, const Field *fields, int n)
{
	int			k;
	int			i;

	for (k = 0; k < table->nkeys; k++)
		for (i = 0; i < n; i++)
			if (fields[i].column == table->keys[k] && !value_equals(&table->columns[table->keys[k]], &fields[i], keys[k], false))
				return true;
	return false;
}

/* Sets the key columns from entity_id where data leaves them out. */
void
apply_complete_key(const SyncTable *table, const Datum *keys, Field *fields, int *n)
{
	int			given = *n;
	int			k;

	for (k = 0; k < table->nkeys; k++)
	{
		if (write_has_field(fields, given, table->keys[k]))
			continue;
		fields[*n].column = table->keys[k];
		fields[*n].isnull = false;
		fields[(*n)++].value = keys[k];
	}
}

static Row
read_for_update(Push *push, const SyncTable *table, const Datum *keys)
{
	Writer	   *writer = writer_for(push, table);

	return writer ? writer_read(writer, keys) : row_read(push, table, keys, " FOR NO KEY UPDATE");
}

/* ---- a living row ---- */

static void
meet_row(Push *push, Change *change, const Row *row, const Datum *keys, Field *fields, int n)
{
	Merge		merge = decide_update(push, change, row, fields, n);

	if (merge.decision == DECIDE_NOOP)
		write_report(push, change, row, keys, "noop");
	else if (merge.decision == DECIDE_LOSE)
		verdict_conflict(change, merge.outcome, row_version(change->table, row));
	else
	{
		write_update(push, change, keys, merge.writes, merge.nwrites, merge.outcome);
		change->shows_conflict = merge.lost;
	}
}

/* ---- the three operations ---- */

static bool
is_met(Push *push, const SyncTable *table, const Row *row, const Datum *keys)
{
	return row->tuple && row_in_held_scope(push, table, row) && !row_is_marked(table, row) && row_may_see(push, table, keys);
}

/* A deletion of the key, unless a living row hides it. */
static Deletion
deletion_of(Push *push, const Change *change, const Row *row)
{
	if (row->tuple && (!row_is_marked(change->table, row) || !row_in_held_scope(push, change->table, row)))
		return (Deletion) {0};
	return row_seen_deletion(push, change);
}

static void
apply_create(Push *push, Change *change, const Datum *keys)
{
	SyncTable  *table = change->table;
	int			n;
	Field	   *fields = value_read_fields(push, table, change->data, &n);
	Row			row;
	Deletion	deletion;

	if (keys == NULL)
	{
		write_insert(push, change, fields, n);
		return;
	}
	if (names_other_key(table, keys, fields, n))
	{
		verdict_error(push, change, "key_mismatch", "data names another key than entity_id", NULL);
		return;
	}
	apply_complete_key(table, keys, fields, &n);
	row = read_for_update(push, table, keys);
	deletion = deletion_of(push, change, &row);
	if (is_met(push, table, &row, keys))
		meet_row(push, change, &row, keys, fields, n);
	else if (deletion.version > 0)
		revive_create(push, change, &row, keys, fields, n, &deletion);
	else if (row.tuple)
		verdict_forbidden(push, change);
	else
		write_insert(push, change, fields, n);
}

static void
apply_update(Push *push, Change *change, const Datum *keys)
{
	SyncTable  *table = change->table;
	int			n;
	Field	   *fields = value_read_fields(push, table, change->data, &n);
	Row			row = read_for_update(push, table, keys);
	bool		met = is_met(push, table, &row, keys);
	Deletion	deletion = met ? (Deletion) {0} : deletion_of(push, change, &row);

	if (!met && deletion.version == 0)
		verdict_not_found(push, change);
	else if (names_other_key(table, keys, fields, n))
		verdict_error(push, change, "key_mismatch", "data names another key than entity_id",
					  "A key cannot be changed by a push: delete the row and create another.");
	else if (met)
		meet_row(push, change, &row, keys, fields, n);
	else
		revive_update(push, change, &row, keys, fields, n, &deletion);
}

/* Does the deletion run over an edit that its device did not know? Without any word of what it knew, it means the row as it is. */
static bool
is_blind(Push *push, const Change *change, const Row *row)
{
	return (change->local_version >= 0 || change->base) && !decide_base_holds(push, change, row);
}

static void
delete_row(Push *push, Change *change, const Row *row, const Datum *keys)
{
	const SyncTable *table = change->table;
	int64		version = row_version(table, row);
	SyncWrite	newest;
	bool		is_won = true;
	Statement	s;

	if (is_blind(push, change, row))
	{
		sync_clock_newest(table, row->tuple, row->desc, &newest);
		is_won = table->delete_rule == DELETE_WINS || (table->delete_rule == DELETE_LWW && change->edited_at > newest.edited_at);
		conflict_record(push, change, "delete", is_won ? "local" : "server", revive_rule_name(table), NULL, row, version);
	}
	if (!is_won)
	{
		verdict_conflict(change, "superseded", version);
		return;
	}
	write_begin(&s, table->nkeys);
	appendStringInfo(&s.sql, "DELETE FROM %s t", table->sql_name);
	write_key(&s, table, keys);
	if (write_run(push, change, s.sql.data, s.n, s.types, s.values, s.nulls) == 0)
		write_raise_not_found();
	verdict_success(change, "applied", version + 1);
}

static void
apply_delete(Push *push, Change *change, const Datum *keys)
{
	SyncTable  *table = change->table;
	Row			row;
	Deletion	deletion;

	writer_close(push);
	row = row_read(push, table, keys, " FOR UPDATE");
	if (is_met(push, table, &row, keys))
	{
		delete_row(push, change, &row, keys);
		return;
	}
	deletion = deletion_of(push, change, &row);
	if (deletion.version > 0)
		verdict_success(change, "noop", deletion.version);
	else
		verdict_not_found(push, change);
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

/* A lock is told of to those who get the row; to others the row is not there. */
static bool
sees_row(Push *push, const Change *change, const Datum *keys)
{
	Row			row = read_for_update(push, change->table, keys);

	return is_met(push, change->table, &row, keys);
}

static void
apply_operation(Push *push, Change *change)
{
	Datum		keys[INDEX_MAX_KEYS];

	push->stamp.merged = NIL;
	if (!resolve_ref(push, change))
	{
		verdict_error(push, change, "not_found", "no such row",
					  "\"ref\" must name the queue_id of an earlier create of this batch that succeeded.");
		return;
	}
	if (change->entity_id && !sync_parse_entity_id(change->table, change->entity_id, keys))
	{
		verdict_error(push, change, "invalid_value", "entity_id is no key of this table",
					  "The key's text; for several columns a JSON array of their texts.");
		return;
	}
	if (lock_is_held(push, change) && sees_row(push, change, keys))
	{
		lock_refuse(push, change);
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

void
apply_change(Push *push, Change *change)
{
	MemoryContext before = MemoryContextSwitchTo(push->scratch);

	apply_operation(push, change);
	MemoryContextSwitchTo(before);
	MemoryContextReset(push->scratch);
}
