/*
 * lock.c - field locks as a push meets them: refused where another device holds one and the table asks for that, released after a save.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "change.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* A lock that another device holds on a row of this batch. */
typedef struct Held
{
	int32		table_id;
	char	   *entity_id;
	char	   *field;			/* NULL: the whole row */
	char	   *holder;
	TimestampTz expires_at;
} Held;

static void
read_locks_of(Push *push, const SyncTable *table)
{
	Oid			types[] = {INT4OID, TEXTARRAYOID, TEXTOID, TEXTOID};
	char	  **ids = palloc(sizeof(char *) * Max(push->nchanges, 1));
	Datum		values[4];
	SyncRole	saved;
	uint64		i;
	int			n = 0;
	bool		isnull;

	for (i = 0; i < (uint64) push->nchanges; i++)
		if (push->changes[i].table == table && push->changes[i].given_id)
			ids[n++] = push->changes[i].given_id;
	values[0] = Int32GetDatum(table->id);
	values[1] = sync_text_array(ids, n);
	values[2] = CStringGetTextDatum(push->user);
	values[3] = CStringGetTextDatum(push->device);
	sync_become_extension(&saved);
	SPI_execute_with_args("SELECT entity_id, field, holder, expires_at FROM sync.blocking_locks($1, $2, $3, $4)", 4, types, values, NULL, false, 0);
	sync_become_back(&saved);
	for (i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		Held	   *held = palloc(sizeof(Held));

		held->table_id = table->id;
		held->entity_id = SPI_getvalue(row, SPI_tuptable->tupdesc, 1);
		held->field = SPI_getvalue(row, SPI_tuptable->tupdesc, 2);
		held->holder = SPI_getvalue(row, SPI_tuptable->tupdesc, 3);
		held->expires_at = DatumGetTimestampTz(SPI_getbinval(row, SPI_tuptable->tupdesc, 4, &isnull));
		push->locks = lappend(push->locks, held);
	}
}

/* Before anything is applied, in the push's own context: one question for each table that enforces locks. */
void
lock_read(Push *push)
{
	List	   *asked = NIL;
	int			i;

	for (i = 0; i < push->nchanges; i++)
	{
		SyncTable  *table = push->changes[i].table;

		if (table == NULL || !table->enforce_locks || list_member_ptr(asked, table))
			continue;
		asked = lappend(asked, table);
		read_locks_of(push, table);
	}
}

static bool
covers(const Held *held, const Change *change)
{
	if (held->table_id != change->table->id || change->entity_id == NULL || strcmp(held->entity_id, change->entity_id) != 0)
		return false;
	return held->field == NULL || change->operation == OP_DELETE || (change->data && sync_json_get(change->data, held->field));
}

static const Held *
held_on(const Push *push, const Change *change)
{
	ListCell   *lc;

	foreach(lc, push->locks)
		if (covers(lfirst(lc), change))
			return lfirst(lc);
	return NULL;
}

bool
lock_is_held(const Push *push, const Change *change)
{
	return held_on(push, change) != NULL;
}

/* Of a change that a lock is held on: the queue sends it again when the lock is gone. */
void
lock_refuse(Push *push, Change *change)
{
	const Held *held = held_on(push, change);
	MemoryContext before;
	StringInfoData extra;

	verdict_error(push, change, "locked", held->field ? psprintf("somebody is editing \"%s\"", held->field) : "somebody is editing this row",
				  "Send it again after expires_at, or when the lock is released.");
	change->outcome = "retry";
	before = MemoryContextSwitchTo(push->context);
	initStringInfo(&extra);
	appendStringInfoString(&extra, "\"expires_at\":");
	sync_render_timestamp(&extra, held->expires_at);
	sync_render_member(&extra, "holder", held->holder);
	if (held->field)
		sync_render_member(&extra, "field", held->field);
	change->error_extra = extra.data;
	MemoryContextSwitchTo(before);
}

static bool
holds_any(Push *push)
{
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[] = {CStringGetTextDatum(push->user), CStringGetTextDatum(push->device)};
	SyncRole	saved;
	bool		isnull;

	sync_become_extension(&saved);
	SPI_execute_plan(push_plan(push, "SELECT sync.holds_locks($1, $2)", 2, types), values, NULL, false, 1);
	sync_become_back(&saved);
	return DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

static Datum
names_in(JsonbContainer *data)
{
	JsonbIterator *it = JsonbIteratorInit(data);
	char	  **names = palloc(sizeof(char *) * (JsonContainerSize(data) + 1));
	JsonbValue	v;
	int			n = 0;

	JsonbIteratorNext(&it, &v, true);
	while (JsonbIteratorNext(&it, &v, true) == WJB_KEY)
	{
		names[n++] = pnstrdup(v.val.string.val, v.val.string.len);
		JsonbIteratorNext(&it, &v, true);
	}
	return sync_text_array(names, n);
}

/* A save ends the device's own locks on what it wrote. */
void
lock_release(Push *push)
{
	Oid			types[] = {INT4OID, TEXTOID, TEXTARRAYOID, TEXTOID, TEXTOID};
	Datum		values[5];
	SyncRole	saved;
	int			i;

	if (!holds_any(push))
		return;
	values[3] = CStringGetTextDatum(push->user);
	values[4] = CStringGetTextDatum(push->device);
	for (i = 0; i < push->nchanges; i++)
	{
		const Change *change = &push->changes[i];

		if (change->is_repeat || change->table == NULL || change->entity_id == NULL || strcmp(change->status, "success") != 0)
			continue;
		values[0] = Int32GetDatum(change->table->id);
		values[1] = CStringGetTextDatum(change->entity_id);
		values[2] = change->data ? names_in(change->data) : (Datum) 0;
		sync_become_extension(&saved);
		SPI_execute_plan(push_plan(push, "SELECT sync.release_locks($1, $2, $3, $4, $5)", 5, types), values, change->data ? NULL : "  n  ",
						 false, 1);
		sync_become_back(&saved);
	}
}
