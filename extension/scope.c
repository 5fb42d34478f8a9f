/*
 * scope.c - which values of a scope the caller holds.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"

Datum
sync_text_array(char **values, int n)
{
	Datum	   *datums = palloc(sizeof(Datum) * Max(n, 1));
	int			i;

	for (i = 0; i < n; i++)
		datums[i] = CStringGetTextDatum(values[i]);
	return PointerGetDatum(construct_array(datums, n, TEXTOID, -1, false, TYPALIGN_INT));
}

static void
run_members(int32 scope_id, const char *members)
{
	SyncPlanKey key = {.table = sync_hash(members, strlen(members), scope_id), .shape = 'M'};
	SyncParams	params = {0};
	SPIPlanPtr	plan = sync_plan_find(&key);

	if (plan == NULL)
		plan = sync_plan_keep(&key, psprintf("SELECT DISTINCT m::pg_catalog.text COLLATE \"C\" FROM (%s) AS held(m) WHERE m IS NOT NULL ORDER BY 1",
											 members), &params, 0);
	sync_plan_run(plan, &params, NULL);
}

/* The members query runs as the caller, under the caller's own policies. NULL is in nobody's scope. */
SyncScope *
sync_scope_held(int32 scope_id)
{
	SyncScope  *scope = palloc0(sizeof(SyncScope));
	char	   *members;
	uint64		i;

	scope->id = scope_id;
	sync_read_scope(scope_id, &scope->name, &members);
	run_members(scope_id, members);
	scope->nvalues = (int) SPI_processed;
	scope->values = palloc(sizeof(char *) * Max(scope->nvalues, 1));
	scope->hashes = palloc(sizeof(uint64) * Max(scope->nvalues, 1));
	for (i = 0; i < SPI_processed; i++)
	{
		char	   *value = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);

		scope->values[i] = value;
		scope->hashes[i] = sync_hash(value, strlen(value), (uint64) scope_id);
	}
	return scope;
}

bool
sync_scope_has(const SyncScope *scope, const char *value)
{
	int			i;

	for (i = 0; value && i < scope->nvalues; i++)
		if (strcmp(scope->values[i], value) == 0)
			return true;
	return false;
}
