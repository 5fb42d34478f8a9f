/*
 * upkeep.c - the part of purge that cannot be SQL: really deleting rows of a soft table, as the table's owner.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(sync_purge_rows);

/* The table whose marked rows are being purged, so that its BEFORE DELETE trigger lets them go; InvalidOid: none. */
Oid			sync_purged_table = InvalidOid;

static Oid
table_owner(Oid relid)
{
	Relation	relation = table_open(relid, RowExclusiveLock);
	Oid			owner = relation->rd_rel->relowner;

	table_close(relation, NoLock);
	return owner;
}

static uint64
delete_rows(Oid relid, Datum rows)
{
	Oid			types[] = {TIDARRAYOID};
	char	   *schema = get_namespace_name(get_rel_namespace(relid));
	char	   *sql = psprintf("DELETE FROM ONLY %s WHERE ctid OPERATOR(pg_catalog.=) ANY ($1)",
							   quote_qualified_identifier(schema, get_rel_name(relid)));
	uint64		deleted;

	SPI_execute_with_args(sql, 1, types, &rows, NULL, false, 0);
	deleted = SPI_processed;
	/* Deferred triggers would run at commit, when the caller's role is back: an owner's code must not run under it. */
	SPI_execute("SET CONSTRAINTS ALL IMMEDIATE", false, 0);
	return deleted;
}

/*
 * Deletes rows by their place; the caller has locked them and found them marked and free of references. The table's triggers run, under
 * its owner's rights and never under those of who called purge.
 */
Datum
sync_purge_rows(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	Oid			owner = table_owner(relid);
	Oid			outer = sync_purged_table;
	SyncRole	saved;
	uint64		deleted = 0;

	SPI_connect();
	sync_become(&saved, owner);
	PG_TRY();
	{
		sync_purged_table = relid;
		deleted = delete_rows(relid, PG_GETARG_DATUM(1));
	}
	PG_FINALLY();
	{
		sync_purged_table = outer;
	}
	PG_END_TRY();
	sync_become_back(&saved);
	SPI_finish();
	PG_RETURN_INT64((int64) deleted);
}
