/*
 * revive.c - a change meets a deletion: who wins, and how a row comes back.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "change.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/rel.h"

/* The device knew of the deletion, or made it itself: only a create or sync.restore() brings the row back. */
static bool
is_known(const Push *push, const Change *change, const Deletion *deletion)
{
	return change->local_version >= deletion->version || (deletion->device != 0 && deletion->device == push->device_hash);
}

static void
lose_to_deletion(Push *push, Change *change, const Deletion *deletion, const char *rule)
{
	conflict_with_deletion(push, change, "server", rule, deletion);
	verdict_conflict(change, "superseded", deletion->version);
}

const char *
revive_rule_name(const SyncTable *table)
{
	return table->delete_rule == EDIT_WINS ? "edit_wins" : table->delete_rule == DELETE_LWW ? "lww" : "delete_wins";
}

/* Would the caller be allowed to write the row as it is now? An update that changes nothing asks all there is to ask. */
static bool
may_update(Push *push, const SyncTable *table, const Datum *keys)
{
	const char *key = quote_identifier(table->columns[table->keys[0]].name);
	Statement	s;

	write_begin(&s, table->nkeys);
	appendStringInfo(&s.sql, "UPDATE %s t SET %s = t.%s", table->sql_name, key, key);
	write_key(&s, table, keys);
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
	write_begin(&s, n + table->nkeys);
	appendStringInfo(&s.sql, "UPDATE %s t SET %s = NULL", table->sql_name, quote_identifier(table->columns[table->deleted_at].name));
	for (i = 0; i < n; i++)
		appendStringInfo(&s.sql, ", %s = $%d", quote_identifier(table->columns[fields[i].column].name), write_param(&s, table, &fields[i]));
	write_key(&s, table, keys);
	sync_become(&saved, sync_table_owner(table));
	write_run(push, change, s.sql.data, s.n, s.types, s.values, s.nulls);
	sync_become_back(&saved);
	/* That the row was deleted the caller knows, so this tells nothing new. */
	if (!may_update(push, table, keys))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("the row may not be written")));
	write_report_again(push, change, keys, outcome);
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

		if (att->attnotnull && !att->atthasdef && !att->attidentity && !write_has_field(fields, n, i))
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
		if (!write_has_field(fields, n, writes[i].column))
			all[nall++] = writes[i];
	apply_complete_key(table, keys, all, &nall);
	if (!is_complete(table, all, nall))
		return false;
	write_insert(push, change, all, nall);
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
void
revive_update(Push *push, Change *change, const Row *row, const Datum *keys, Field *fields, int n, const Deletion *deletion)
{
	const SyncTable *table = change->table;
	bool		is_won = table->delete_rule == EDIT_WINS ||
		(table->delete_rule == DELETE_LWW && change->edited_at > deletion->edited_at);

	if (is_won && !is_known(push, change, deletion))
	{
		conflict_with_deletion(push, change, "local", revive_rule_name(table), deletion);
		if (revive(push, change, row, keys, fields, n, "merged"))
			return;
	}
	lose_to_deletion(push, change, deletion, revive_rule_name(table));
}

/* A create of a key that was deleted brings it back on purpose, unless it was made before the deletion. */
void
revive_create(Push *push, Change *change, const Row *row, const Datum *keys, Field *fields, int n, const Deletion *deletion)
{
	if (!is_known(push, change, deletion) && change->edited_at <= deletion->edited_at)
		lose_to_deletion(push, change, deletion, revive_rule_name(change->table));
	else if (row->tuple)
		revive_marked(push, change, keys, fields, n, "applied");
	else if (!change->restores || !revive_gone(push, change, keys, fields, n, "applied"))
		write_insert(push, change, fields, n);
}
