/*
 * partition.c - a row that moves to another partition fires BEFORE UPDATE, BEFORE DELETE, BEFORE INSERT and AFTER DELETE: here these are
 * known for one move of a row that lives on.
 *
 * The key always changes with it, since it holds what the partitions go by: AFTER DELETE leaves a tombstone of the old key, as an update of
 * the key does.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "utils/rel.h"

/*
 * The last updates of rows in partitions. BEFORE DELETE and BEFORE INSERT of a move follow their BEFORE UPDATE at once; several are kept
 * because the application's own triggers may update other rows in between.
 */
#define MOVES 16

typedef struct Move
{
	Oid			partition;
	ItemPointerData place;		/* of the old row */
	Oid			root;
	uint64		key;			/* hash of the new row's entity id */
	int64		version;		/* of the new row */
	SubTransactionId subxact;
	FullTransactionId xact;
	bool		has_left;		/* the old row was deleted for it */
} Move;

static Move moves[MOVES];
static int	next_move = 0;

static uint64
hash_key(const SyncTable *table, HeapTuple row, TupleDesc desc)
{
	char	   *entity_id = sync_entity_id(table, row, desc);

	return sync_hash(entity_id, strlen(entity_id), 0);
}

/* What a rolled-back subtransaction did says nothing about now: a failed move ends its subtransaction. */
static bool
is_of_now(const Move *move)
{
	return FullTransactionIdEquals(move->xact, GetTopFullTransactionIdIfAny()) && move->subxact == GetCurrentSubTransactionId();
}

void
sync_may_leave(const TriggerData *data, const SyncTable *table, HeapTuple new)
{
	Move	   *move = &moves[next_move];
	bool		isnull;

	next_move = (next_move + 1) % MOVES;
	move->partition = RelationGetRelid(data->tg_relation);
	move->place = data->tg_trigtuple->t_self;
	move->root = table->relid;
	move->key = hash_key(table, new, RelationGetDescr(data->tg_relation));
	move->version = DatumGetInt64(heap_getattr(new, table->version_att, RelationGetDescr(data->tg_relation), &isnull));
	move->subxact = GetCurrentSubTransactionId();
	move->has_left = false;
	move->xact = GetTopFullTransactionId();
}

/* A row that was updated and then deleted is another one by then, in another place. */
bool
sync_is_leaving(const TriggerData *data)
{
	int			i;

	for (i = 0; i < MOVES; i++)
		if (is_of_now(&moves[i]) && !moves[i].has_left && moves[i].partition == RelationGetRelid(data->tg_relation) &&
			ItemPointerEquals(&moves[i].place, &data->tg_trigtuple->t_self))
			return moves[i].has_left = true;
	return false;
}

/* The row that left, with the stamp that its BEFORE UPDATE gave it. */
bool
sync_is_arriving(const SyncTable *table, HeapTuple row, TupleDesc desc)
{
	bool		isnull;
	Datum		version = heap_getattr(row, table->version_att, desc, &isnull);
	int			i;

	for (i = 0; i < MOVES && !isnull; i++)
		if (is_of_now(&moves[i]) && moves[i].has_left && moves[i].root == table->relid && moves[i].version == DatumGetInt64(version) &&
			moves[i].key == hash_key(table, row, desc))
		{
			moves[i].root = InvalidOid;
			return true;
		}
	return false;
}
