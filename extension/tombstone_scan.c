/*
 * tombstone_scan.c - the version that a key's tombstones hold: every insert asks, so one statement asks with one index scan.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/tuptable.h"
#include "lib/ilist.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

/* Attribute number of sync.tombstone.version. */
#define TOMBSTONE_VERSION 6

/*
 * Relations, scan and slot belong to the statement: its resource owner holds them, and they are closed with its memory context. An abort may
 * release the owner before the context goes, or the other way round; owner is NULL once it was released.
 */
struct SyncTombstoneScan
{
	dlist_node	node;
	ResourceOwner owner;
	MemoryContext context;
	Relation	heap;
	Relation	index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	SnapshotData dirty;
	MemoryContextCallback callback;
};

static dlist_head open_scans = DLIST_STATIC_INIT(open_scans);
static Oid	heap_id = InvalidOid;
static Oid	index_id = InvalidOid;

static void
forget_ids(Datum arg, Oid relid)
{
	if (relid == heap_id || relid == index_id || !OidIsValid(relid))
		heap_id = index_id = InvalidOid;
}

static void
forget_owner(ResourceReleasePhase phase, bool is_commit, bool is_top, void *arg)
{
	dlist_iter	iter;

	if (phase == RESOURCE_RELEASE_BEFORE_LOCKS)
		dlist_foreach(iter, &open_scans)
		{
			SyncTombstoneScan *open = dlist_container(SyncTombstoneScan, node, iter.cur);

			if (open->owner == CurrentResourceOwner)
				open->owner = NULL;
		}
}

static void
end_scan(void *arg)
{
	SyncTombstoneScan *open = arg;
	ResourceOwner saved = CurrentResourceOwner;

	dlist_delete(&open->node);
	if (open->owner == NULL || !IsTransactionState())
		return;					/* aborting: the owner lets go of everything */
	CurrentResourceOwner = open->owner;
	index_endscan(open->scan);
	ExecDropSingleTupleTableSlot(open->slot);
	index_close(open->index, NoLock);
	table_close(open->heap, NoLock);
	CurrentResourceOwner = saved;
}

void
sync_tombstone_scan_init(void)
{
	CacheRegisterRelcacheCallback(forget_ids, (Datum) 0);
	RegisterResourceReleaseCallback(forget_owner, NULL);
}

SyncTombstoneScan *
sync_tombstone_scan_begin(MemoryContext context)
{
	MemoryContext before = MemoryContextSwitchTo(context);
	SyncTombstoneScan *open = palloc0(sizeof(SyncTombstoneScan));
	Oid			heap = OidIsValid(heap_id) ? heap_id : sync_relid("tombstone");
	Oid			index = OidIsValid(index_id) ? index_id : sync_relid("tombstone_entity");

	/* The locks stay until the transaction ends, like those of any reader. */
	open->heap = table_open(heap, AccessShareLock);
	open->index = index_open(index, AccessShareLock);
	heap_id = heap;
	index_id = index;
	InitDirtySnapshot(open->dirty);
	open->scan = index_beginscan(open->heap, open->index, &open->dirty, 2, 0);
	open->slot = table_slot_create(open->heap, NULL);
	open->owner = CurrentResourceOwner;
	open->context = context;
	open->callback.func = end_scan;
	open->callback.arg = open;
	dlist_push_head(&open_scans, &open->node);
	MemoryContextRegisterResetCallback(context, &open->callback);
	MemoryContextSwitchTo(before);
	return open;
}

/*
 * One pass over a key's tombstones: the highest version, or the transaction that is about to leave another. In the scan's own memory: an index
 * scan that meets dead entries makes itself a list of them wherever it is called, and keeps it until it ends.
 */
static int64
scan_versions(SyncTombstoneScan *open, ScanKey keys, TransactionId *running)
{
	MemoryContext before = MemoryContextSwitchTo(open->context);
	int64		version = 0;

	*running = InvalidTransactionId;
	index_rescan(open->scan, keys, 2, NULL, 0);
	while (index_getnext_slot(open->scan, ForwardScanDirection, open->slot))
	{
		bool		isnull;

		if (TransactionIdIsValid(open->dirty.xmin) && !TransactionIdIsCurrentTransactionId(open->dirty.xmin))
			*running = open->dirty.xmin;
		version = Max(version, DatumGetInt64(slot_getattr(open->slot, TOMBSTONE_VERSION, &isnull)));
	}
	if (version > 0)
	{
		/* no page stays pinned between two rows */
		ExecClearTuple(open->slot);
		index_rescan(open->scan, keys, 2, NULL, 0);
	}
	MemoryContextSwitchTo(before);
	return version;
}

/*
 * The highest version a key's tombstones hold, 0 if it never lived. Waits for a transaction that is deleting the key now:
 * the unique index would make the insert wait for it anyway, but after its version was chosen.
 */
int64
sync_tombstone_version(SyncTombstoneScan *open, const SyncTable *table, const char *entity_id)
{
	Datum		entity = CStringGetTextDatum(entity_id);
	ScanKeyData keys[2];
	TransactionId running;
	int64		version;

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(table->id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ, entity);
	keys[1].sk_collation = open->index->rd_indcollation[1];
	for (;;)
	{
		version = scan_versions(open, keys, &running);
		if (!TransactionIdIsValid(running))
			return version;
		XactLockTableWait(running, open->heap, NULL, XLTW_None);
	}
}
