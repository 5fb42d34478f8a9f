/*
 * bridge.c - sync.feed_changes(): all that changed in the synced tables between two snapshots, so that the streamer can bridge a gap once for all clients.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(sync_feed_changes);

typedef struct Bridge
{
	const SyncSnapshot *from;
	const SyncSnapshot *now;
	StringInfoData changes;
	int			count;
	int			most;
	int			most_bytes;
	const char *obstacle;		/* why the gap cannot be bridged; NULL so far */
} Bridge;

/* Ids that ran in the first snapshot and are finished in the second. */
static Datum
finished_since(const Bridge *b)
{
	Datum	   *ids = palloc(sizeof(Datum) * Max(b->from->nxip, 1));
	int			n = 0;
	int			i;

	for (i = 0; i < b->from->nxip; i++)
		if (sync_snapshot_sees(b->now, b->from->xip[i]))
			ids[n++] = UInt64GetDatum(b->from->xip[i]);
	return PointerGetDatum(construct_array(ids, n, XID8OID, 8, true, TYPALIGN_DOUBLE));
}

/* The two ranges of pull: what ran then, what began since. The caller has put the query's head; $1 and $2 belong to the ranges. */
static void
run_range(Bridge *b, const char *head, const char *tail, bool is_running)
{
	Oid			types[] = {is_running ? get_array_type(XID8OID) : XID8OID, XID8OID};
	Datum		values[] = {is_running ? finished_since(b) : UInt64GetDatum(b->from->xmax), UInt64GetDatum(b->now->xmax)};
	char	   *sql = psprintf("%s AND t.sync_xid %s AND t.sync_xid OPERATOR(pg_catalog.<) $2%s LIMIT %d", head,
							   is_running ? "OPERATOR(pg_catalog.=) ANY ($1)" : "OPERATOR(pg_catalog.>=) $1", tail, b->most - b->count + 1);

	SPI_execute_with_args(sql, 2, types, values, NULL, true, 0);
}

/* A stamp from a restore lies ahead of the counter, or belongs to a transaction that runs: such a row is no change of this gap. */
static bool
put_head(Bridge *b, const SyncTable *table, uint64 xid)
{
	if (!sync_snapshot_sees(b->now, xid) || b->obstacle)
		return false;
	if (b->count >= b->most || b->changes.len > b->most_bytes)
	{
		b->obstacle = "too much has changed";
		return false;
	}
	appendStringInfo(&b->changes, "%s{\"table\":%d,\"xid\":\"" UINT64_FORMAT "\"", b->count++ ? "," : "", table->id, xid);
	return true;
}

static uint64
xid_of(HeapTuple row, TupleDesc desc, int column)
{
	bool		isnull;

	return U64FromFullTransactionId(DatumGetFullTransactionId(SPI_getbinval(row, desc, column, &isnull)));
}

static void
put_tombstones(Bridge *b, const SyncTable *table, bool is_running)
{
	SyncRole	saved;
	uint64		i;

	sync_become_extension(&saved);
	run_range(b, psprintf("SELECT " SYNC_GRAVE_COLUMNS " FROM sync.tombstone t WHERE t.table_id OPERATOR(pg_catalog.=) %d", table->id),
			  " ORDER BY t.sync_xid, t.id", is_running);
	sync_become_back(&saved);
	for (i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;

		if (!put_head(b, table, xid_of(row, desc, SYNC_GRAVE_XID)))
			continue;
		sync_render_member(&b->changes, "old_values", SPI_getvalue(row, desc, SYNC_GRAVE_OLD));
		appendStringInfoString(&b->changes, ",\"change\":");
		sync_render_tombstone(&b->changes, table, row, desc);
		appendStringInfoChar(&b->changes, '}');
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Living rows as the table's owner reads them; the literal lets the planner use the partial index where the range lies in it. */
static void
put_rows(Bridge *b, const SyncTable *table, bool is_running)
{
	uint64		enabled = U64FromFullTransactionId(table->enabled_xid);
	StringInfoData head;
	SyncRole	saved;
	uint64		i;

	initStringInfo(&head);
	appendStringInfoString(&head, "SELECT ");
	sync_put_all_columns(&head, table);
	appendStringInfo(&head, " FROM %s t WHERE true", table->from_name);
	if (table->deleted_at >= 0)
		appendStringInfo(&head, " AND t.%s IS NULL", quote_identifier(table->columns[table->deleted_at].name));
	if ((is_running ? b->from->xmin : b->from->xmax) > enabled)
		appendStringInfo(&head, " AND t.sync_xid OPERATOR(pg_catalog.>) '" UINT64_FORMAT "'::pg_catalog.xid8", enabled);
	sync_become(&saved, sync_table_owner(table));
	run_range(b, head.data, "", is_running);
	sync_become_back(&saved);
	for (i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;

		if (!put_head(b, table, xid_of(row, desc, table->xid_att)))
			continue;
		appendStringInfoString(&b->changes, ",\"change\":");
		sync_render_row(&b->changes, table, row, desc, NULL);
		appendStringInfoChar(&b->changes, '}');
	}
	SPI_freetuptable(SPI_tuptable);
}

/* What no row tells: tables that started anew (TRUNCATE, DDL, enable), tombstones that are gone, another history. */
static const char *
obstacle(const Bridge *b, const List *tables)
{
	SyncInstance instance;
	ListCell   *lc;

	if (b->from->xmax > b->now->xmax)
		return "the snapshot lies ahead of the server";
	sync_read_instance(&instance);
	if (b->from->xmin <= instance.horizon)
		return "tombstones were purged since";
	foreach(lc, tables)
		if (!sync_snapshot_knows_epoch(b->from, ((SyncListed *) lfirst(lc))->epoch))
			return psprintf("table %s started anew", ((SyncListed *) lfirst(lc))->table->entity_type);
	return NULL;
}

static void
put_changes(Bridge *b, const List *tables)
{
	ListCell   *lc;
	int			pass;

	/* Tombstones first: a row that is there now came after them. Ids that ran then are lower than those begun since. */
	for (pass = 0; pass < 4; pass++)
		foreach(lc, tables)
		{
			SyncListed *listed = lfirst(lc);

			if (pass == 2)
				listed->table = sync_table_by_relid(listed->table->relid, true);
			if (listed->table == NULL)
				b->obstacle = "a table has gone";
			if (b->obstacle)
				return;
			if (pass < 2)
				put_tombstones(b, listed->table, pass == 0);
			else
				put_rows(b, listed->table, pass == 2);
		}
}

/* Of the transactions that ran in the first snapshot those that have committed; one too old to be known counts. */
static void
put_committed(StringInfo out, const Bridge *b)
{
	Oid			types[] = {get_array_type(XID8OID)};
	Datum		ids = finished_since(b);
	uint64		i;

	SPI_execute_with_args("SELECT x::pg_catalog.text FROM pg_catalog.unnest($1) x "
						  "WHERE COALESCE(pg_catalog.pg_xact_status(x), 'committed') OPERATOR(pg_catalog.=) 'committed'", 1, types, &ids, NULL, true, 0);
	for (i = 0; i < SPI_processed; i++)
		appendStringInfo(out, "%s\"%s\"", i ? "," : "", SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));
}

/* WAL is flushed as for a pull: what is told here must not be taken back by a crash. */
Datum
sync_feed_changes(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	Bridge		b = {.most = PG_GETARG_INT32(1), .most_bytes = PG_GETARG_INT32(2)};
	StringInfoData out;
	List	   *tables;
	text	   *answer;

	if (RecoveryInProgress())
		ereport(ERROR, (errcode(SYNC_ERR_WRONG_STATE), errmsg("cannot bridge a gap of the feed during recovery")));
	b.from = sync_snapshot_parse(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	if (b.from == NULL || b.most < 0 || b.most_bytes < 0)
		ereport(ERROR, (errcode(SYNC_ERR_BAD_REQUEST), errmsg("sync.feed_changes() takes a snapshot and limits of 0 or more")));
	SPI_connect();
	b.now = sync_snapshot_now();
	sync_flush_wal();
	initStringInfo(&b.changes);
	initStringInfo(&out);
	tables = sync_list_tables();
	b.obstacle = obstacle(&b, tables);
	put_changes(&b, tables);
	appendStringInfo(&out, "{\"snapshot\":\"%s\",\"committed\":[", sync_snapshot_text(b.now));
	put_committed(&out, &b);
	if (b.obstacle)
	{
		appendStringInfoString(&out, "],\"obstacle\":");
		sync_render_string(&out, b.obstacle, strlen(b.obstacle));
		appendStringInfoChar(&out, '}');
	}
	else
		appendStringInfo(&out, "],\"changes\":[%s]}", b.changes.data);
	MemoryContextSwitchTo(caller);
	answer = cstring_to_text_with_len(out.data, out.len);
	SPI_finish();
	PG_RETURN_TEXT_P(answer);
}
