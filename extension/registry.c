/*
 * registry.c - reads the extension's own small tables straight from the heap, as each pull and push must: without a plan, and as the caller's snapshot
 * shows them. A copy kept in the backend could be older than that: word of a change comes after the change can be seen.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#define MAX_COLUMNS 8

typedef struct Scan
{
	Relation	relation;
	TableScanDesc scan;
	TupleTableSlot *slot;
	AttrNumber	atts[MAX_COLUMNS];
} Scan;

static void
open_scan(Scan *s, const char *table, const char *const *columns, int n)
{
	int			i;

	s->relation = table_open(sync_relid(table), AccessShareLock);
	for (i = 0; i < n; i++)
	{
		s->atts[i] = get_attnum(RelationGetRelid(s->relation), columns[i]);
		if (s->atts[i] == InvalidAttrNumber)
			elog(ERROR, "table sync.%s has no column %s", table, columns[i]);
	}
	s->slot = table_slot_create(s->relation, NULL);
	s->scan = table_beginscan(s->relation, GetActiveSnapshot(), 0, NULL);
}

static bool
next_row(Scan *s)
{
	if (!table_scan_getnextslot(s->scan, ForwardScanDirection, s->slot))
		return false;
	slot_getallattrs(s->slot);
	return true;
}

static Datum
get(const Scan *s, int column, bool *isnull)
{
	*isnull = s->slot->tts_isnull[s->atts[column] - 1];
	return s->slot->tts_values[s->atts[column] - 1];
}

static uint64
get_xid(const Scan *s, int column)
{
	bool		isnull;

	return U64FromFullTransactionId(DatumGetFullTransactionId(get(s, column, &isnull)));
}

static void
close_scan(Scan *s)
{
	table_endscan(s->scan);
	ExecDropSingleTupleTableSlot(s->slot);
	table_close(s->relation, AccessShareLock);
}

static int
by_priority(const ListCell *a, const ListCell *b)
{
	const SyncTable *x = ((SyncListed *) lfirst(a))->table;
	const SyncTable *y = ((SyncListed *) lfirst(b))->table;

	return x->priority != y->priority ? x->priority - y->priority : x->id < y->id ? -1 : x->id > y->id;
}

/*
 * What a transaction committed can be seen a moment before others are told that what they hold in their caches is old: grants, functions, and what we know
 * of a table. It gives up its locks after that. So whoever sees an epoch for the first time waits for those.
 */
static void
await_word(FullTransactionId epoch)
{
	TransactionId xid = XidFromFullTransactionId(epoch);

	if (U64FromFullTransactionId(ReadNextFullTransactionId()) - U64FromFullTransactionId(epoch) > PG_INT32_MAX ||
		TransactionIdIsCurrentTransactionId(xid))
		return;
	XactLockTableWait(xid, NULL, NULL, XLTW_None);
	AcceptInvalidationMessages();
}

/* Tables dropped while they were synced stay registered until the next enable: NULL. */
static SyncTable *
table_as_of(Oid relid, FullTransactionId epoch)
{
	SyncTable  *table;

	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		return NULL;
	table = sync_table_even_broken(relid);
	if (table && FullTransactionIdEquals(table->known_epoch, epoch))
		return table;
	await_word(epoch);
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		return NULL;
	table = sync_table_even_broken(relid);
	if (table)
		table->known_epoch = epoch;
	return table;
}

static List *
list_tables(bool broken)
{
	static const char *const columns[] = {"relation", "epoch"};
	List	   *relids = NIL;
	List	   *result = NIL;
	ListCell   *lc;
	Scan		s;
	bool		isnull;

	open_scan(&s, "synced_table", columns, lengthof(columns));
	while (next_row(&s))
	{
		SyncListed *listed = palloc0(sizeof(SyncListed));

		relids = lappend_oid(relids, DatumGetObjectId(get(&s, 0, &isnull)));
		listed->epoch = FullTransactionIdFromU64(get_xid(&s, 1));
		result = lappend(result, listed);
	}
	close_scan(&s);
	foreach(lc, relids)
	{
		SyncListed *listed = list_nth(result, foreach_current_index(lc));

		listed->table = table_as_of(lfirst_oid(lc), listed->epoch);
		if (listed->table && (listed->table->broken != NULL) != broken)
			listed->table = NULL;
	}
	foreach(lc, result)
		if (((SyncListed *) lfirst(lc))->table == NULL)
			result = foreach_delete_current(result, lc);
	list_sort(result, by_priority);
	return result;
}

List *
sync_list_tables(void)
{
	return list_tables(false);
}

List *
sync_list_broken(void)
{
	return list_tables(true);
}

void
sync_read_instance(SyncInstance *instance)
{
	static const char *const columns[] = {"incarnation", "horizon", "schema_oldest"};
	Scan		s;
	bool		isnull;
	Datum		oldest;

	open_scan(&s, "instance", columns, lengthof(columns));
	if (!next_row(&s))
		elog(ERROR, "table sync.instance is empty");
	instance->incarnation = (uint32) DatumGetInt64(get(&s, 0, &isnull));
	instance->horizon = get_xid(&s, 1);
	oldest = get(&s, 2, &isnull);
	instance->schema_oldest = isnull ? 0 : DatumGetInt32(oldest);
	close_scan(&s);
}

void
sync_read_scope(int32 scope_id, char **name, char **members)
{
	static const char *const columns[] = {"id", "name", "members"};
	Scan		s;
	bool		isnull;

	*name = NULL;
	open_scan(&s, "scope", columns, lengthof(columns));
	while (*name == NULL && next_row(&s))
		if (DatumGetInt32(get(&s, 0, &isnull)) == scope_id)
		{
			*name = TextDatumGetCString(get(&s, 1, &isnull));
			*members = TextDatumGetCString(get(&s, 2, &isnull));
		}
	close_scan(&s);
	if (*name == NULL)
		elog(ERROR, "scope %d does not exist", scope_id);
}

SyncTable *
sync_table_by_id(const List *tables, int32 id)
{
	ListCell   *lc;

	foreach(lc, tables)
		if (((SyncListed *) lfirst(lc))->table->id == id)
			return ((SyncListed *) lfirst(lc))->table;
	return NULL;
}

SyncTable *
sync_table_held(const List *tables, int32 id)
{
	SyncTable  *table = sync_table_by_id(tables, id);

	return table ? sync_table_by_relid(table->relid, true) : NULL;
}
