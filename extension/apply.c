/*
 * apply.c - one pushed change meets the row: what is there, what is decided, and the write under the caller's rights.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "change.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* Sets the stamp that the row about to be written gets: the client's edit time and device instead of "by SQL, now". */
void
apply_stamp(Push *push, const Change *change)
{
	push->stamp.relid = change->table->relid;
	push->stamp.write.edited_at = change->edited_at;
	push->stamp.write.device = push->device_hash;
	push->stamp.write.queue = change->queue_id ? sync_hash(change->queue_id, strlen(change->queue_id), 0) : 0;
	push->stamp.soft_deletes = 0;
	push->stamp.entity_id = NULL;
	sync_push_stamp = &push->stamp;
}

/* Runs one INSERT, UPDATE or DELETE as the caller; returns the rows it touched. */
static uint64
write_row(Push *push, const Change *change, const char *sql, int n, Oid *types, Datum *values, const char *nulls)
{
	uint64		touched;

	apply_stamp(push, change);
	SPI_execute_plan(push_plan(push, sql, n, types), values, nulls, false, 0);
	touched = SPI_processed;
	sync_push_stamp = NULL;
	return touched + push->stamp.soft_deletes;
}

/* A policy kept the row from being touched: an error, so that what was done on the way goes too. */
static void pg_attribute_noreturn()
raise_not_found(void)
{
	ereport(ERROR, (errcode(SYNC_ERR_NOT_FOUND), errmsg("no such row")));
}

/* What the row has become, for the answer; also where its new scope and what it refers to are checked. */
static void
report(Push *push, Change *change, const Row *row, const Datum *keys, const char *outcome)
{
	if (row->tuple == NULL)
	{
		/* A trigger of the application took it away again. */
		verdict_success(change, outcome, 0);
		return;
	}
	if (!row_in_held_scope(push, change->table, row))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the row's scope value is not held by the caller")));
	reference_check(push, change->table, row);
	verdict_success(change, outcome, row_version(change->table, row));
	if (row_may_see(push, change->table, keys))
		verdict_row(push, change, row);
}

static void
report_again(Push *push, Change *change, const Datum *keys, const char *outcome)
{
	Row			row = row_read(push, change->table, keys, "");

	report(push, change, &row, keys, outcome);
}

typedef struct Statement
{
	StringInfoData sql;
	int			n;
	Oid		   *types;
	Datum	   *values;
	char	   *nulls;
} Statement;

static void
begin_statement(Statement *s, int room)
{
	initStringInfo(&s->sql);
	s->n = 0;
	s->types = palloc(sizeof(Oid) * Max(room, 1));
	s->values = palloc(sizeof(Datum) * Max(room, 1));
	s->nulls = palloc(room + 1);
}

static int
add_param(Statement *s, const SyncTable *table, const Field *field)
{
	s->types[s->n] = table->columns[field->column].type;
	s->values[s->n] = field->value;
	s->nulls[s->n] = field->isnull ? 'n' : ' ';
	return ++s->n;
}

static void
add_key(Statement *s, const SyncTable *table, const Datum *keys)
{
	appendStringInfoString(&s->sql, " WHERE ");
	sync_put_key(&s->sql, table, s->n + 1, s->types + s->n);
	memcpy(s->values + s->n, keys, sizeof(Datum) * table->nkeys);
	memset(s->nulls + s->n, ' ', table->nkeys);
	s->n += table->nkeys;
}

static void
turned_away(Push *push, Change *change)
{
	verdict_error(push, change, "rejected", "the database did not keep the row", "A trigger of the table turned it away.");
}

static bool
insert_by_statement(Push *push, Change *change, const Field *fields, int n)
{
	const SyncTable *table = change->table;
	Statement	s;
	int			i;

	begin_statement(&s, n);
	appendStringInfo(&s.sql, "INSERT INTO %s ", table->sql_name);
	for (i = 0; i < n; i++)
		appendStringInfo(&s.sql, "%s%s", i ? ", " : "(", quote_identifier(table->columns[fields[i].column].name));
	appendStringInfoString(&s.sql, n ? ") VALUES " : "DEFAULT VALUES");
	for (i = 0; i < n; i++)
		appendStringInfo(&s.sql, "%s$%d", i ? ", " : "(", add_param(&s, table, &fields[i]));
	if (n)
		appendStringInfoChar(&s.sql, ')');
	return write_row(push, change, s.sql.data, s.n, s.types, s.values, s.nulls) > 0 && push->stamp.entity_id;
}

static void
insert_row(Push *push, Change *change, const Field *fields, int n)
{
	Writer	   *writer = writer_for(push, change->table);
	Row			row = {0};
	Datum		keys[INDEX_MAX_KEYS];

	if (writer)
		row = writer_insert(writer, push, change, fields, n);
	if (writer ? row.tuple == NULL : !insert_by_statement(push, change, fields, n))
	{
		turned_away(push, change);
		return;
	}
	change->entity_id = MemoryContextStrdup(push->context, push->stamp.entity_id);
	if (!sync_parse_entity_id(change->table, change->entity_id, keys))
		elog(ERROR, "unexpected key \"%s\"", change->entity_id);
	if (writer)
		report(push, change, &row, keys, "applied");
	else
		report_again(push, change, keys, "applied");
}

/* The row was read and locked just before. */
static void
update_row(Push *push, Change *change, const Datum *keys, const Field *fields, int n, const char *outcome)
{
	const SyncTable *table = change->table;
	Writer	   *writer = writer_for(push, table);
	Row			row;
	Statement	s;
	int			i;

	if (writer)
	{
		row = writer_update(writer, push, change, fields, n);
		if (row.tuple)
			report(push, change, &row, keys, outcome);
		else
			turned_away(push, change);
		return;
	}
	begin_statement(&s, n + table->nkeys);
	appendStringInfo(&s.sql, "UPDATE %s t SET ", table->sql_name);
	for (i = 0; i < n; i++)
		appendStringInfo(&s.sql, "%s%s = $%d", i ? ", " : "", quote_identifier(table->columns[fields[i].column].name),
						 add_param(&s, table, &fields[i]));
	add_key(&s, table, keys);
	if (write_row(push, change, s.sql.data, s.n, s.types, s.values, s.nulls) == 0)
		raise_not_found();
	report_again(push, change, keys, outcome);
}

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
		report(push, change, row, keys, "noop");
	else if (merge.decision == DECIDE_LOSE)
		verdict_conflict(change, merge.outcome, row_version(change->table, row));
	else
	{
		update_row(push, change, keys, merge.writes, merge.nwrites, merge.outcome);
		change->shows_conflict = merge.lost;
	}
}

/* ---- a deleted row ---- */

/* The device knew of the deletion, or made it itself: only a create or sync.restore() brings the row back. */
static bool
is_known_deletion(const Push *push, const Change *change, const Deletion *deletion)
{
	return change->local_version >= deletion->version || (deletion->device != 0 && deletion->device == push->device_hash);
}

static void
lose_to_deletion(Push *push, Change *change, const Deletion *deletion, const char *rule)
{
	conflict_with_deletion(push, change, "server", rule, deletion);
	verdict_conflict(change, "superseded", deletion->version);
}

static const char *
delete_rule_name(const SyncTable *table)
{
	return table->delete_rule == EDIT_WINS ? "edit_wins" : table->delete_rule == DELETE_LWW ? "lww" : "delete_wins";
}

/* Would the caller be allowed to write the row as it is now? An update that changes nothing asks all there is to ask. */
static bool
may_update(Push *push, const SyncTable *table, const Datum *keys)
{
	const char *key = quote_identifier(table->columns[table->keys[0]].name);
	Statement	s;

	begin_statement(&s, table->nkeys);
	appendStringInfo(&s.sql, "UPDATE %s t SET %s = t.%s", table->sql_name, key, key);
	add_key(&s, table, keys);
	SPI_execute_plan(push_plan(push, s.sql.data, s.n, s.types), s.values, s.nulls, false, 0);
	return SPI_processed == 1;
}

/*
 * Brings a marked row back with the change's values. The mark is taken away by the owner, as deleting set it, in one update with them; a
 * caller who may not write the row then gets nothing.
 */
static void
revive_marked(Push *push, Change *change, const Datum *keys, Field *fields, int n, const char *outcome)
{
	const SyncTable *table = change->table;
	Statement	s;
	SyncRole	saved;
	int			i;

	writer_close(push);
	begin_statement(&s, n + table->nkeys);
	appendStringInfo(&s.sql, "UPDATE %s t SET %s = NULL", table->sql_name, quote_identifier(table->columns[table->deleted_at].name));
	for (i = 0; i < n; i++)
		appendStringInfo(&s.sql, ", %s = $%d", quote_identifier(table->columns[fields[i].column].name), add_param(&s, table, &fields[i]));
	add_key(&s, table, keys);
	sync_become(&saved, sync_table_owner(table));
	write_row(push, change, s.sql.data, s.n, s.types, s.values, s.nulls);
	sync_become_back(&saved);
	/* That the row was deleted the caller knows, so this tells nothing new. */
	if (!may_update(push, table, keys))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("the row may not be written")));
	report_again(push, change, keys, outcome);
}

static bool
has_field(const Field *fields, int n, int column)
{
	int			i;

	for (i = 0; i < n; i++)
		if (fields[i].column == column)
			return true;
	return false;
}

/* Does the change itself hold whatever a row of the table must have? */
static bool
is_complete(const SyncTable *table, const Field *fields, int n)
{
	Relation	relation = table_open(table->relid, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(relation);
	bool		complete = true;
	int			i;

	for (i = 0; i < table->ncolumns; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, table->columns[i].attnum - 1);

		if (att->attnotnull && !att->atthasdef && !att->attidentity && !has_field(fields, n, i))
			complete = false;
	}
	table_close(relation, AccessShareLock);
	return complete;
}

/* The last image that the history holds of a row; NULL: none. */
static JsonbContainer *
last_image(Push *push, const Change *change)
{
	static const char sql[] = "SELECT sync.last_image($1, $2)";
	Oid			types[] = {INT4OID, TEXTOID};
	Datum		values[] = {Int32GetDatum(change->table->id), CStringGetTextDatum(change->entity_id)};
	SyncRole	saved;
	bool		isnull;
	Datum		image;

	if (!change->table->has_history)
		return NULL;
	sync_become_extension(&saved);
	SPI_execute_plan(push_plan(push, sql, 2, types), values, NULL, false, 1);
	sync_become_back(&saved);
	if (SPI_processed == 0)
		return NULL;
	image = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	return isnull ? NULL : &DatumGetJsonbPCopy(image)->root;
}

/* Inserts a deleted row again: its last image with the change's values over it. False when neither says enough. */
static bool
revive_gone(Push *push, Change *change, const Datum *keys, Field *fields, int n, const char *outcome)
{
	const SyncTable *table = change->table;
	JsonbContainer *image = last_image(push, change);
	int			nimage;
	Field	   *writes = value_read_fields(push, table, image, &nimage);
	Field	   *all = palloc(sizeof(Field) * (table->ncolumns * 2 + 1));
	int			nall = n;
	int			i;

	memcpy(all, fields, sizeof(Field) * n);
	for (i = 0; i < nimage; i++)
		if (!has_field(fields, n, writes[i].column))
			all[nall++] = writes[i];
	complete_key(table, keys, all, &nall);
	if (!is_complete(table, all, nall))
		return false;
	insert_row(push, change, all, nall);
	if (change->status && strcmp(change->status, "success") == 0)
		change->outcome = outcome;
	return true;
}

static bool
revive(Push *push, Change *change, const Row *row, const Datum *keys, Field *fields, int n, const char *outcome)
{
	if (row->tuple == NULL)
		return revive_gone(push, change, keys, fields, n, outcome);
	revive_marked(push, change, keys, fields, n, outcome);
	return true;
}

/* An update comes too late: the table's delete rule says who wins. */
static void
meet_deletion(Push *push, Change *change, const Row *row, const Datum *keys, Field *fields, int n, const Deletion *deletion)
{
	const SyncTable *table = change->table;
	bool		is_won = table->delete_rule == EDIT_WINS ||
		(table->delete_rule == DELETE_LWW && change->edited_at > deletion->edited_at);

	if (is_won && !is_known_deletion(push, change, deletion))
	{
		conflict_with_deletion(push, change, "local", delete_rule_name(table), deletion);
		if (revive(push, change, row, keys, fields, n, "merged"))
			return;
	}
	lose_to_deletion(push, change, deletion, delete_rule_name(table));
}

/* A create of a key that was deleted brings it back on purpose, unless it was made before the deletion. */
static void
create_again(Push *push, Change *change, const Row *row, const Datum *keys, Field *fields, int n, const Deletion *deletion)
{
	if (!is_known_deletion(push, change, deletion) && change->edited_at <= deletion->edited_at)
		lose_to_deletion(push, change, deletion, delete_rule_name(change->table));
	else if (row->tuple)
		revive_marked(push, change, keys, fields, n, "applied");
	else if (!change->restores || !revive_gone(push, change, keys, fields, n, "applied"))
		insert_row(push, change, fields, n);
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
		insert_row(push, change, fields, n);
		return;
	}
	if (names_other_key(table, keys, fields, n))
	{
		verdict_error(push, change, "key_mismatch", "data names another key than entity_id", NULL);
		return;
	}
	complete_key(table, keys, fields, &n);
	row = read_for_update(push, table, keys);
	deletion = deletion_of(push, change, &row);
	if (is_met(push, table, &row, keys))
		meet_row(push, change, &row, keys, fields, n);
	else if (deletion.version > 0)
		create_again(push, change, &row, keys, fields, n, &deletion);
	else if (row.tuple)
		verdict_forbidden(push, change);
	else
		insert_row(push, change, fields, n);
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
		meet_deletion(push, change, &row, keys, fields, n, &deletion);
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
		conflict_record(push, change, "delete", is_won ? "local" : "server", delete_rule_name(table), NULL, row, version);
	}
	if (!is_won)
	{
		verdict_conflict(change, "superseded", version);
		return;
	}
	begin_statement(&s, table->nkeys);
	appendStringInfo(&s.sql, "DELETE FROM %s t", table->sql_name);
	add_key(&s, table, keys);
	if (write_row(push, change, s.sql.data, s.n, s.types, s.values, s.nulls) == 0)
		raise_not_found();
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

static void
apply_operation(Push *push, Change *change)
{
	Datum		keys[INDEX_MAX_KEYS];

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
	if (lock_refuses(push, change))
		return;
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
