/*
 * ledger.c - the first verdict of each queue_id, so that a repeat changes nothing and gets the same answer.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "change.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

static void
use_first_answer(Push *push, Change *change, int64 body_hash, char *answer, char *table_id, char *entity_id)
{
	change->is_stored = true;
	if (body_hash != change->body_hash)
	{
		verdict_clear(change);
		verdict_error(push, change, "queue_id_reused", "this queue_id was used for another change", "Give each change its own queue_id.");
		return;
	}
	verdict_clear(change);
	change->is_decided = true;
	change->is_repeat = true;
	change->stored_answer = answer;
	change->status = strstr(answer, "\"status\":\"success\"") == answer + 1 ? "success" : "other";
	change->entity_id = entity_id;
	if (table_id && entity_id && change->table && change->table->id == atoi(table_id))
		change->data_now = row_read_again(push, change->table, entity_id);
}

static char **
queue_ids(const Push *push, int *n)
{
	char	  **ids = palloc(sizeof(char *) * Max(push->nchanges, 1));
	int			i;

	*n = 0;
	for (i = 0; i < push->nchanges; i++)
		if (push->changes[i].queue_id)
			ids[(*n)++] = push->changes[i].queue_id;
	return ids;
}

/* The first change of this batch with each queue_id; later ones with the same are its repeats. */
void
ledger_index(Push *push)
{
	int			i;

	for (i = 0; i < push->nchanges; i++)
	{
		Change	   *change = &push->changes[i];
		bool		found;
		TextEntry  *entry;

		if (change->queue_id == NULL)
			continue;
		entry = hash_search(push->by_queue, change->queue_id, HASH_ENTER, &found);
		if (!found)
			entry->index = i;
	}
}

void
ledger_read(Push *push)
{
	static const char sql[] =
		"SELECT queue_id, body_hash, answer, table_id, entity_id FROM sync.ledger WHERE user_id OPERATOR(pg_catalog.=) $1 "
		"AND device_id OPERATOR(pg_catalog.=) $2 AND queue_id OPERATOR(pg_catalog.=) ANY ($3)";
	Oid			types[] = {TEXTOID, TEXTOID, TEXTARRAYOID};
	Datum		values[3];
	SyncRole	saved;
	SPITupleTable *rows;
	uint64		found;
	uint64		i;
	int			n;
	char	  **ids = queue_ids(push, &n);

	if (n == 0)
		return;
	values[0] = CStringGetTextDatum(push->user);
	values[1] = CStringGetTextDatum(push->device);
	values[2] = sync_text_array(ids, n);
	sync_become_extension(&saved);
	SPI_execute_with_args(sql, 3, types, values, NULL, false, 0);
	sync_become_back(&saved);
	rows = SPI_tuptable;
	found = SPI_processed;
	for (i = 0; i < found; i++)
	{
		HeapTuple	row = rows->vals[i];
		TextEntry  *entry = hash_search(push->by_queue, SPI_getvalue(row, rows->tupdesc, 1), HASH_FIND, NULL);

		use_first_answer(push, &push->changes[entry->index], strtoll(SPI_getvalue(row, rows->tupdesc, 2), NULL, 10),
						 SPI_getvalue(row, rows->tupdesc, 3), SPI_getvalue(row, rows->tupdesc, 4), SPI_getvalue(row, rows->tupdesc, 5));
	}
}

/* A queue_id that stands twice in one batch: the second waits for the first's verdict. */
void
ledger_set_repeats_aside(Push *push)
{
	int			i;

	for (i = 0; i < push->nchanges; i++)
	{
		Change	   *change = &push->changes[i];
		TextEntry  *entry;

		if (change->queue_id == NULL)
			continue;
		entry = hash_search(push->by_queue, change->queue_id, HASH_FIND, NULL);
		if (entry->index != i)
			verdict_success(change, "noop", 0);
	}
}

void
ledger_answer_repeats(Push *push)
{
	int			i;

	for (i = 0; i < push->nchanges; i++)
	{
		Change	   *change = &push->changes[i];
		TextEntry  *entry = change->queue_id ? hash_search(push->by_queue, change->queue_id, HASH_FIND, NULL) : NULL;
		Change	   *first;
		StringInfoData answer;

		if (entry == NULL || entry->index == i)
			continue;
		first = &push->changes[entry->index];
		initStringInfo(&answer);
		if (first->stored_answer)
			appendStringInfoString(&answer, first->stored_answer);
		else
			verdict_put_stored(&answer, first);
		use_first_answer(push, change, first->body_hash, answer.data, NULL, NULL);
		change->data_now = change->is_repeat ? first->data_now : NULL;
	}
}

static bool
belongs_in_ledger(const Change *change)
{
	return change->queue_id && !change->is_stored && !change->is_repeat && strcmp(change->outcome, "retry") != 0;
}

void
ledger_write(Push *push)
{
	static const char sql[] =
		"INSERT INTO sync.ledger (user_id, device_id, queue_id, body_hash, answer, table_id, entity_id) "
		"SELECT $1, $2, q, h::pg_catalog.int8, a::pg_catalog.json, nullif(t, '')::pg_catalog.int4, nullif(e, '') "
		"FROM unnest($3, $4, $5, $6, $7) AS u(q, h, a, t, e)";
	Oid			types[] = {TEXTOID, TEXTOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID};
	Datum		values[lengthof(types)];
	char	  **columns[5];
	SyncRole	saved;
	int			n = 0;
	int			i;

	for (i = 0; i < 5; i++)
		columns[i] = palloc(sizeof(char *) * Max(push->nchanges, 1));
	for (i = 0; i < push->nchanges; i++)
	{
		Change	   *change = &push->changes[i];
		StringInfoData answer;

		if (!belongs_in_ledger(change))
			continue;
		initStringInfo(&answer);
		verdict_put_stored(&answer, change);
		columns[0][n] = change->queue_id;
		columns[1][n] = psprintf(INT64_FORMAT, change->body_hash);
		columns[2][n] = answer.data;
		columns[3][n] = change->table ? psprintf("%d", change->table->id) : "";
		columns[4][n++] = change->result_id ? change->result_id : "";
	}
	if (n == 0)
		return;
	values[0] = CStringGetTextDatum(push->user);
	values[1] = CStringGetTextDatum(push->device);
	for (i = 0; i < 5; i++)
		values[2 + i] = sync_text_array(columns[i], n);
	sync_become_extension(&saved);
	SPI_execute_with_args(sql, lengthof(types), types, values, NULL, false, 0);
	sync_become_back(&saved);
}

