/*
 * forget.c - takes a person's name from the rows of a synced table, and lets the rows travel once more without it.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(sync_forget_rows);

const char *sync_forgotten_user = NULL;

/*
 * Version and transaction move on, so that every client replaces its copy; time, contents and who wrote which column last do not, so that
 * no offline edit meets a write that never was.
 */
HeapTuple
sync_forget_stamp(const SyncTable *table, HeapTuple old, HeapTuple new, TupleDesc desc)
{
	int			cols[] = {table->version_att, table->xid_att, table->at_att, table->by_att, table->clock_att};
	Datum		values[lengthof(cols)];
	bool		nulls[lengthof(cols)] = {false};
	bool		isnull;

	values[0] = Int64GetDatum(DatumGetInt64(heap_getattr(old, table->version_att, desc, &isnull)) + 1);
	values[1] = FullTransactionIdGetDatum(GetTopFullTransactionId());
	values[2] = heap_getattr(old, table->at_att, desc, &isnull);
	values[3] = (Datum) 0;
	nulls[3] = true;
	values[4] = sync_clock_keep(table, old, desc, DatumGetInt64(values[0]));
	return heap_modify_tuple_by_cols(new, desc, lengthof(cols), cols, values, nulls);
}

/* The application's triggers stay silent: sync.forget_user() has set session_replication_role, and only ours fire always. */
Datum
sync_forget_rows(PG_FUNCTION_ARGS)
{
	SyncTable  *table = sync_table_by_relid(PG_GETARG_OID(0), false);
	Oid			types[] = {TEXTOID};
	Datum		values[] = {PG_GETARG_DATUM(1)};
	int64		rows = 0;

	SPI_connect();
	sync_forgotten_user = text_to_cstring(PG_GETARG_TEXT_PP(1));
	PG_TRY();
	{
		SPI_execute_with_args(psprintf("UPDATE %s SET sync_by = NULL WHERE sync_by OPERATOR(pg_catalog.=) $1", table->sql_name),
							  1, types, values, NULL, false, 0);
		rows = SPI_processed;
	}
	PG_FINALLY();
	{
		sync_forgotten_user = NULL;
	}
	PG_END_TRY();
	SPI_finish();
	PG_RETURN_INT64(rows);
}
