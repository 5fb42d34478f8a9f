/*
 * ledger.c - the first verdict of each queue_id, so that a repeat changes nothing and gets the same answer.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "change.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* Attribute numbers of sync.ledger. */
enum
{
	LEDGER_DEVICE = 1, LEDGER_QUEUE, LEDGER_BODY, LEDGER_TABLE, LEDGER_VERSION, LEDGER_AT, LEDGER_OUTCOME, LEDGER_ENTITY, LEDGER_ANSWER
};
#define LEDGER_COLUMNS LEDGER_ANSWER

static void
refuse_other_body(Push *push, Change *change)
{
	change->is_stored = true;
	verdict_clear(change);
	verdict_error(push, change, "queue_id_reused", "this queue_id was used for another change", "Give each change its own queue_id.");
}

static void
use_first_answer(Push *push, Change *change, int64 body_hash, char *answer, int32 table_id, char *entity_id)
{
	change->is_stored = true;
	if (body_hash != change->body_hash)
	{
		refuse_other_body(push, change);
		return;
	}
	verdict_clear(change);
	change->is_decided = true;
	change->is_repeat = true;
	change->stored_answer = answer;
	change->status = strstr(answer, "\"status\":\"success\"") == answer + 1 ? "success" : "other";
	change->entity_id = entity_id;
	if (table_id && entity_id && change->table && change->table->id == table_id)
		change->data_now = row_read_again(push, change->table, entity_id);
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

/* The number of this user's device; made when create is set, else 0 for a device that has pushed nothing yet. */
static int64
device_number(Push *push, bool create)
{
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[] = {CStringGetTextDatum(push->user), CStringGetTextDatum(push->device)};
	SyncRole	saved;
	bool		isnull;

	sync_become_extension(&saved);
	SPI_execute_plan(push_plan(push, create ?
							   "INSERT INTO sync.ledger_device (user_id, device_id) VALUES ($1, $2) RETURNING id" :
							   "SELECT id FROM sync.ledger_device WHERE user_id OPERATOR(pg_catalog.=) $1 "
							   "AND device_id OPERATOR(pg_catalog.=) $2", 2, types), values, NULL, false, 1);
	sync_become_back(&saved);
	if (SPI_processed == 0)
		return 0;
	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

static int64
queue_hash(const char *queue_id)
{
	return (int64) sync_hash(queue_id, strlen(queue_id), 0x6c656467);
}

/* A plain success is kept as its outcome, version and key; here it becomes the text it was. */
static char *
stored_text(Datum *values, bool *nulls)
{
	StringInfoData answer;

	if (!nulls[LEDGER_ANSWER - 1])
		return TextDatumGetCString(values[LEDGER_ANSWER - 1]);
	initStringInfo(&answer);
	appendStringInfo(&answer, "{\"status\":\"success\",\"outcome\":\"%s\"", TextDatumGetCString(values[LEDGER_OUTCOME - 1]));
	sync_render_member(&answer, "entity_id", nulls[LEDGER_ENTITY - 1] ? NULL : TextDatumGetCString(values[LEDGER_ENTITY - 1]));
	if (!nulls[LEDGER_VERSION - 1])
		appendStringInfo(&answer, ",\"server_version\":" INT64_FORMAT, DatumGetInt64(values[LEDGER_VERSION - 1]));
	appendStringInfoChar(&answer, '}');
	return answer.data;
}

static void
use_entry(Push *push, Change *change, TupleTableSlot *slot)
{
	change->is_in_ledger = true;
	slot_getallattrs(slot);
	use_first_answer(push, change, DatumGetInt64(slot->tts_values[LEDGER_BODY - 1]), stored_text(slot->tts_values, slot->tts_isnull),
					 slot->tts_isnull[LEDGER_TABLE - 1] ? 0 : DatumGetInt32(slot->tts_values[LEDGER_TABLE - 1]),
					 slot->tts_isnull[LEDGER_ENTITY - 1] ? NULL : TextDatumGetCString(slot->tts_values[LEDGER_ENTITY - 1]));
}

/*
 * Looks each queue_id up by the primary key. The snapshot is a new one: while this push waited for its device's lock, another may have
 * committed the same changes.
 */
static void
look_up(Push *push, Relation heap, Relation index, ScanKey keys)
{
	TupleTableSlot *slot = table_slot_create(heap, NULL);
	IndexScanDesc scan;
	int			i;

	PushActiveSnapshot(GetLatestSnapshot());
#if PG_VERSION_NUM >= 180000
	scan = index_beginscan(heap, index, GetActiveSnapshot(), NULL, 2, 0);
#else
	scan = index_beginscan(heap, index, GetActiveSnapshot(), 2, 0);
#endif
	for (i = 0; i < push->nchanges; i++)
	{
		Change	   *change = &push->changes[i];

		if (change->queue_id == NULL)
			continue;
		keys[1].sk_argument = Int64GetDatum(queue_hash(change->queue_id));
		index_rescan(scan, keys, 2, NULL, 0);
		if (index_getnext_slot(scan, ForwardScanDirection, slot))
			use_entry(push, change, slot);
	}
	index_endscan(scan);
	PopActiveSnapshot();
	ExecDropSingleTupleTableSlot(slot);
}

void
ledger_read(Push *push)
{
	ScanKeyData keys[2];
	Relation	heap;
	Relation	index;

	push->ledger_device = device_number(push, false);
	if (push->ledger_device == 0)
		return;
	heap = table_open(sync_relid("ledger"), AccessShareLock);
	index = index_open(sync_relid("ledger_pkey"), AccessShareLock);
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(push->ledger_device));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT8EQ, (Datum) 0);
	look_up(push, heap, index, keys);
	index_close(index, AccessShareLock);
	table_close(heap, AccessShareLock);
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

		if (change->queue_id == NULL || change->is_in_ledger)
			continue;
		entry = hash_search(push->by_queue, change->queue_id, HASH_FIND, NULL);
		if (entry->index == i)
			continue;
		/* Another body is known for a failure now: an atomic batch must hear of it in time. */
		if (change->body_hash != push->changes[entry->index].body_hash)
			refuse_other_body(push, change);
		else
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

		if (entry == NULL || entry->index == i || change->is_in_ledger)
			continue;
		first = &push->changes[entry->index];
		initStringInfo(&answer);
		verdict_put_stored(&answer, first);
		use_first_answer(push, change, first->body_hash, answer.data, 0, NULL);
		change->data_now = change->is_repeat ? first->data_now : NULL;
	}
}

static bool
belongs_in_ledger(const Change *change)
{
	return change->queue_id && !change->is_stored && !change->is_repeat && strcmp(change->outcome, "retry") != 0;
}

/* A success that says nothing but outcome, key and version. */
static bool
is_plain(const Change *change)
{
	return strcmp(change->status, "success") == 0 && change->conflict == NULL;
}

static void
fill_slot(const Push *push, const Change *change, TupleTableSlot *slot)
{
	Datum	   *values = slot->tts_values;
	char	   *entity_id = change->result_id;
	StringInfoData answer;

	ExecClearTuple(slot);
	memset(slot->tts_isnull, false, sizeof(bool) * LEDGER_COLUMNS);
	values[LEDGER_DEVICE - 1] = Int64GetDatum(push->ledger_device);
	values[LEDGER_QUEUE - 1] = Int64GetDatum(queue_hash(change->queue_id));
	values[LEDGER_BODY - 1] = Int64GetDatum(change->body_hash);
	slot->tts_isnull[LEDGER_TABLE - 1] = change->table == NULL;
	values[LEDGER_TABLE - 1] = Int32GetDatum(change->table ? change->table->id : 0);
	slot->tts_isnull[LEDGER_VERSION - 1] = change->server_version <= 0;
	values[LEDGER_VERSION - 1] = Int64GetDatum(change->server_version);
	values[LEDGER_AT - 1] = TimestampTzGetDatum(push->now);
	values[LEDGER_OUTCOME - 1] = CStringGetTextDatum(change->outcome);
	slot->tts_isnull[LEDGER_ENTITY - 1] = entity_id == NULL;
	values[LEDGER_ENTITY - 1] = entity_id ? CStringGetTextDatum(entity_id) : (Datum) 0;
	slot->tts_isnull[LEDGER_ANSWER - 1] = is_plain(change);
	if (!is_plain(change))
	{
		initStringInfo(&answer);
		verdict_put_stored(&answer, change);
		values[LEDGER_ANSWER - 1] = CStringGetTextDatum(answer.data);
	}
	ExecStoreVirtualTuple(slot);
}

#define LEDGER_BATCH 100

/* Written past SQL, like a catalogue: the table has no triggers, and nobody else may write it. */
static void
write_entries(Push *push, Relation heap)
{
	CatalogIndexState indexes = CatalogOpenIndexes(heap);
	TupleTableSlot *slots[LEDGER_BATCH];
	int			n = 0;
	int			i;

	for (i = 0; i < LEDGER_BATCH; i++)
		slots[i] = MakeSingleTupleTableSlot(RelationGetDescr(heap), &TTSOpsHeapTuple);
	for (i = 0; i < push->nchanges; i++)
	{
		if (belongs_in_ledger(&push->changes[i]))
			fill_slot(push, &push->changes[i], slots[n++]);
		if (n == LEDGER_BATCH || (n > 0 && i == push->nchanges - 1))
		{
			CatalogTuplesMultiInsertWithInfo(heap, slots, n, indexes);
			n = 0;
		}
	}
	for (i = 0; i < LEDGER_BATCH; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	CatalogCloseIndexes(indexes);
}

/* What one device can make us keep is bounded. The count is of writes; purge has taken some of them, so it is made exact before it refuses. */
static void
count_entries(Push *push)
{
	Oid			types[] = {INT8OID, INT4OID};
	Datum		values[] = {Int64GetDatum(push->ledger_device), Int32GetDatum(push->nchanges)};
	SyncRole	saved;
	int64		entries;
	bool		isnull;

	sync_become_extension(&saved);
	SPI_execute_with_args("UPDATE sync.ledger_device SET entries = entries OPERATOR(pg_catalog.+) $2 WHERE id OPERATOR(pg_catalog.=) $1 RETURNING entries",
						  2, types, values, NULL, false, 1);
	entries = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	if (entries > sync_max_ledger)
	{
		SPI_execute_with_args("UPDATE sync.ledger_device SET entries = (SELECT pg_catalog.count(*) FROM sync.ledger WHERE device OPERATOR(pg_catalog.=) $1) "
							  "WHERE id OPERATOR(pg_catalog.=) $1 RETURNING entries", 1, types, values, NULL, false, 1);
		entries = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	}
	sync_become_back(&saved);
	if (entries > sync_max_ledger)
		ereport(ERROR,
				(errcode(SYNC_ERR_TOO_MANY),
				 errmsg("this device has pushed more than %d changes lately", sync_max_ledger),
				 errhint("Push again after sync.purge() has removed old verdicts, or raise sync.max_ledger.")));
}

void
ledger_write(Push *push)
{
	Relation	heap;
	int			i;

	for (i = 0; i < push->nchanges && !belongs_in_ledger(&push->changes[i]); i++)
		;
	if (i == push->nchanges)
		return;
	if (push->ledger_device == 0)
		push->ledger_device = device_number(push, true);
	heap = table_open(sync_relid("ledger"), RowExclusiveLock);
	write_entries(push, heap);
	table_close(heap, RowExclusiveLock);
	count_entries(push);
}
