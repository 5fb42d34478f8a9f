/*
 * partition.c - a row that moves to another partition fires BEFORE UPDATE, BEFORE DELETE, BEFORE INSERT and AFTER DELETE: here these are
 * known for one move of a row that lives on.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "access/htup_details.h"
#include "access/tupconvert.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "utils/rel.h"

/*
 * The last updates of rows in partitions. BEFORE DELETE and BEFORE INSERT of a move follow their BEFORE UPDATE within the same command;
 * several are kept because the application's own triggers may update other rows in between.
 */
#define MOVES 16

typedef struct Move
{
	Oid			partition;
	ItemPointerData place;		/* of the old row */
	Oid			root;
	uint64		key;			/* hash of the new row's entity id */
	SubTransactionId subxact;
	CommandId	command;
	FullTransactionId xact;
} Move;

static Move moves[MOVES];
static int	next_move = 0;

static uint64
hash_key(const SyncTable *table, HeapTuple row, TupleDesc desc)
{
	char	   *entity_id = sync_entity_id(table, row, desc);

	return sync_hash(entity_id, strlen(entity_id), 0);
}

/* A rolled-back subtransaction's and an earlier command's updates say nothing about this one. */
static bool
is_of_now(const Move *move)
{
	return FullTransactionIdEquals(move->xact, GetTopFullTransactionIdIfAny()) && move->subxact == GetCurrentSubTransactionId() && move->command == GetCurrentCommandId(false);
}

void
sync_may_leave(const TriggerData *data, const SyncTable *table, HeapTuple new)
{
	Move	   *move = &moves[next_move];

	next_move = (next_move + 1) % MOVES;
	move->partition = RelationGetRelid(data->tg_relation);
	move->place = data->tg_trigtuple->t_self;
	move->root = table->relid;
	move->key = hash_key(table, new, RelationGetDescr(data->tg_relation));
	move->subxact = GetCurrentSubTransactionId();
	move->command = GetCurrentCommandId(false);
	move->xact = GetTopFullTransactionId();
}

bool
sync_is_leaving(const TriggerData *data)
{
	int			i;

	for (i = 0; i < MOVES; i++)
		if (is_of_now(&moves[i]) && moves[i].partition == RelationGetRelid(data->tg_relation) &&
			ItemPointerEquals(&moves[i].place, &data->tg_trigtuple->t_self))
			return true;
	return false;
}

/* The key decides: while the old row is there, no other insert of the same command can take it. */
bool
sync_is_arriving(const SyncTable *table, HeapTuple row, TupleDesc desc)
{
	uint64		key = 0;
	int			i;

	for (i = 0; i < MOVES; i++)
	{
		if (!is_of_now(&moves[i]) || moves[i].root != table->relid)
			continue;
		if (key == 0)
			key = hash_key(table, row, desc);
		if (moves[i].key == key)
		{
			moves[i].root = InvalidOid;
			return true;
		}
	}
	return false;
}

static HeapTuple
in_order_of(HeapTuple row, TupleDesc from, TupleDesc to)
{
	TupleConversionMap *map = convert_tuples_by_name(from, to);

	return map ? execute_attr_map_tuple(row, map) : row;
}

HeapTuple
sync_living_row(const SyncTable *table, HeapTuple old, TupleDesc desc)
{
	SyncTable  *root = sync_table_of_trigger(table->relid);
	StringInfoData sql;
	Oid			types[INDEX_MAX_KEYS];
	Datum		keys[INDEX_MAX_KEYS];
	MemoryContext caller = CurrentMemoryContext;
	HeapTuple	found = NULL;
	SyncRole	saved;
	bool		isnull;
	int			i;

	if (root == NULL)
		return NULL;
	for (i = 0; i < table->nkeys; i++)
		keys[i] = heap_getattr(old, table->columns[table->keys[i]].attnum, desc, &isnull);
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT t.* FROM %s t WHERE ", root->from_name);
	sync_put_key(&sql, root, 1, types);
	SPI_connect();
	sync_become(&saved, sync_table_owner(root));
	SPI_execute_with_args(sql.data, root->nkeys, types, keys, NULL, false, 1);
	sync_become_back(&saved);
	if (SPI_processed == 1)
	{
		MemoryContext inner = MemoryContextSwitchTo(caller);

		found = heap_copytuple(in_order_of(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, desc));
		MemoryContextSwitchTo(inner);
	}
	SPI_finish();
	return found;
}
