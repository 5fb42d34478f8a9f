/*
 * write.c - rows written under the caller's rights, by a writer or by a statement, and what the answer says of them.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "change.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

/* Sets the stamp that the row about to be written gets: the client's edit time and device instead of "by SQL, now". */
void
write_stamp(Push *push, const Change *change)
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
uint64
write_run(Push *push, const Change *change, const char *sql, int n, Oid *types, Datum *values, const char *nulls)
{
	uint64		touched;

	write_stamp(push, change);
	SPI_execute_plan(push_plan(push, sql, n, types), values, nulls, false, 0);
	touched = SPI_processed;
	sync_push_stamp = NULL;
	return touched + push->stamp.soft_deletes;
}

/* A policy kept the row from being touched: an error, so that what was done on the way goes too. */
void
write_raise_not_found(void)
{
	ereport(ERROR, (errcode(SYNC_ERR_NOT_FOUND), errmsg("no such row")));
}

/* What the row has become, for the answer; also where its new scope and what it refers to are checked. */
void
write_report(Push *push, Change *change, const Row *row, const Datum *keys, const char *outcome)
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

void
write_report_again(Push *push, Change *change, const Datum *keys, const char *outcome)
{
	Row			row = row_read(push, change->table, keys, "");

	write_report(push, change, &row, keys, outcome);
}


void
write_begin(Statement *s, int room)
{
	initStringInfo(&s->sql);
	s->n = 0;
	s->types = palloc(sizeof(Oid) * Max(room, 1));
	s->values = palloc(sizeof(Datum) * Max(room, 1));
	s->nulls = palloc(room + 1);
}

int
write_param(Statement *s, const SyncTable *table, const Field *field)
{
	s->types[s->n] = table->columns[field->column].type;
	s->values[s->n] = field->value;
	s->nulls[s->n] = field->isnull ? 'n' : ' ';
	return ++s->n;
}

void
write_key(Statement *s, const SyncTable *table, const Datum *keys)
{
	appendStringInfoString(&s->sql, " WHERE ");
	sync_put_key(&s->sql, table, s->n + 1, s->types + s->n);
	memcpy(s->values + s->n, keys, sizeof(Datum) * table->nkeys);
	memset(s->nulls + s->n, ' ', table->nkeys);
	s->n += table->nkeys;
}

void
write_turned_away(Push *push, Change *change)
{
	verdict_error(push, change, "rejected", "the database did not keep the row", "A trigger of the table turned it away.");
}

static bool
insert_by_statement(Push *push, Change *change, const Field *fields, int n)
{
	const SyncTable *table = change->table;
	Statement	s;
	int			i;

	write_begin(&s, n);
	appendStringInfo(&s.sql, "INSERT INTO %s ", table->sql_name);
	for (i = 0; i < n; i++)
		appendStringInfo(&s.sql, "%s%s", i ? ", " : "(", quote_identifier(table->columns[fields[i].column].name));
	appendStringInfoString(&s.sql, n ? ") VALUES " : "DEFAULT VALUES");
	for (i = 0; i < n; i++)
		appendStringInfo(&s.sql, "%s$%d", i ? ", " : "(", write_param(&s, table, &fields[i]));
	if (n)
		appendStringInfoChar(&s.sql, ')');
	return write_run(push, change, s.sql.data, s.n, s.types, s.values, s.nulls) > 0 && push->stamp.entity_id;
}

void
write_insert(Push *push, Change *change, const Field *fields, int n)
{
	Writer	   *writer = writer_for(push, change->table);
	Row			row = {0};
	Datum		keys[INDEX_MAX_KEYS];

	if (writer)
		row = writer_insert(writer, push, change, fields, n);
	if (writer ? row.tuple == NULL : !insert_by_statement(push, change, fields, n))
	{
		write_turned_away(push, change);
		return;
	}
	change->entity_id = MemoryContextStrdup(push->context, push->stamp.entity_id);
	if (!sync_parse_entity_id(change->table, change->entity_id, keys))
		elog(ERROR, "unexpected key \"%s\"", change->entity_id);
	if (writer)
		write_report(push, change, &row, keys, "applied");
	else
		write_report_again(push, change, keys, "applied");
}

/* The row was read and locked just before. */
void
write_update(Push *push, Change *change, const Datum *keys, const Field *fields, int n, const char *outcome)
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
			write_report(push, change, &row, keys, outcome);
		else
			write_turned_away(push, change);
		return;
	}
	write_begin(&s, n + table->nkeys);
	appendStringInfo(&s.sql, "UPDATE %s t SET ", table->sql_name);
	for (i = 0; i < n; i++)
		appendStringInfo(&s.sql, "%s%s = $%d", i ? ", " : "", quote_identifier(table->columns[fields[i].column].name),
						 write_param(&s, table, &fields[i]));
	write_key(&s, table, keys);
	if (write_run(push, change, s.sql.data, s.n, s.types, s.values, s.nulls) == 0)
		write_raise_not_found();
	write_report_again(push, change, keys, outcome);
}

bool
write_has_field(const Field *fields, int n, int column)
{
	int			i;

	for (i = 0; i < n; i++)
		if (fields[i].column == column)
			return true;
	return false;
}
