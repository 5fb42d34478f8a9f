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

/* The type of the columns that hold a scope's values; 0 while no table does. */
static void
read_type(int32 scope_id, SyncColumn *column)
{
	static const char sql[] =
		"SELECT a.atttypid, a.atttypmod FROM sync.scope s JOIN sync.synced_table t ON t.scope OPERATOR(pg_catalog.=) s.name AND t.via IS NULL "
		"JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) t.relation AND a.attname OPERATOR(pg_catalog.=) t.scope_column "
		"WHERE s.id OPERATOR(pg_catalog.=) $1 AND NOT a.attisdropped ORDER BY a.atttypid OPERATOR(pg_catalog.=) 20 DESC, t.id LIMIT 1";
	SyncPlanKey key = {.shape = 'Y'};
	SyncParams	params = {0};
	SPIPlanPtr	plan;
	SyncRole	saved;
	bool		isnull;

	sync_param(&params, INT4OID, Int32GetDatum(scope_id));
	sync_become_extension(&saved);
	plan = sync_plan_find(&key);
	if (plan == NULL)
		plan = sync_plan_keep(&key, sql, &params, 0);
	sync_plan_run(plan, &params, NULL);
	sync_become_back(&saved);
	if (SPI_processed == 0)
		return;
	column->type = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	column->typmod = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
}

static int
compare_texts(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/*
 * Values travel and are compared as texts, so they are written as the column writes them: 1 as 1.00 in a numeric(10,2), team as "team " in
 * a char(5).
 */
static void
write_as_column(SyncScope *scope, SyncColumn *column)
{
	int			kept = 0;
	int			i;

	if (!OidIsValid(column->type) || scope->nvalues == 0)
		return;
	column->name = scope->name;
	sync_render_setup(column);
	for (i = 0; i < scope->nvalues; i++)
		scope->values[i] = sync_value_text(column, sync_parse_text(column, scope->values[i]));
	qsort(scope->values, scope->nvalues, sizeof(char *), compare_texts);
	for (i = 0; i < scope->nvalues; i++)
		if (kept == 0 || strcmp(scope->values[kept - 1], scope->values[i]) != 0)
			scope->values[kept++] = scope->values[i];
	scope->nvalues = kept;
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
	SyncColumn	column = {0};
	SyncReading reading;
	char	   *members;
	int			i;

	scope->id = scope_id;
	sync_read_scope(scope_id, &scope->name, &members);
	read_type(scope_id, &column);
	sync_reading_begin(&reading, "scope", scope->name);
	run_members(scope_id, members);
	sync_reading_end(&reading);
	scope->nvalues = (int) SPI_processed;
	scope->values = palloc(sizeof(char *) * Max(scope->nvalues, 1));
	scope->hashes = palloc(sizeof(uint64) * Max(scope->nvalues, 1));
	for (i = 0; i < scope->nvalues; i++)
		scope->values[i] = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
	write_as_column(scope, &column);
	for (i = 0; i < scope->nvalues; i++)
		scope->hashes[i] = sync_hash(scope->values[i], strlen(scope->values[i]), (uint64) scope_id);
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
