/*
 * plan.c - plans kept from call to call of a backend, and running them.
 *
 * A plan belongs to the role it was made for: which policies apply is decided when a statement is planned, so a plan is found again only by the
 * same role under the same row_security setting, whatever PostgreSQL's own plan cache makes of it (CVE-2026-14666).
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "executor/spi.h"
#include "jit/jit.h"
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "utils/plancache.h"
#include "utils/resowner.h"
#include "utils/rls.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#define MAX_PLANS 500

typedef struct PlanEntry
{
	SyncPlanKey key;
	SPIPlanPtr	plan;
} PlanEntry;

static HTAB *plans = NULL;
static int	calls_running = 0;

/* Drops all plans when there are many, but never under a query that runs one. Every call needs its end, also after an error. */
void
sync_plans_begin(void)
{
	HASH_SEQ_STATUS scan;
	PlanEntry  *entry;

	if (plans && calls_running == 0 && hash_get_num_entries(plans) > MAX_PLANS)
	{
		hash_seq_init(&scan, plans);
		while ((entry = hash_seq_search(&scan)) != NULL)
		{
			SPI_freeplan(entry->plan);
			hash_search(plans, &entry->key, HASH_REMOVE, NULL);
		}
	}
	calls_running++;
}

void
sync_plans_end(void)
{
	calls_running--;
}

SPIPlanPtr
sync_plan_find(SyncPlanKey *key)
{
	PlanEntry  *entry;

	key->user = GetUserId();
	key->row_security = row_security;
	entry = plans ? hash_search(plans, key, HASH_FIND, NULL) : NULL;
	return entry ? entry->plan : NULL;
}

/* The caller has not found it, and is inside SPI. */
SPIPlanPtr
sync_plan_keep(const SyncPlanKey *key, const char *sql, const SyncParams *params, int options)
{
	HASHCTL		control = {.keysize = sizeof(SyncPlanKey), .entrysize = sizeof(PlanEntry), .hcxt = TopMemoryContext};
	SPIPlanPtr	plan = SPI_prepare_cursor(sql, params->n, unconstify(SyncParams *, params)->types, options);
	PlanEntry  *entry;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	if (plans == NULL)
		plans = hash_create("sync plans", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	entry = hash_search(plans, key, HASH_ENTER, NULL);
	entry->plan = plan;
	return plan;
}

int
sync_param(SyncParams *params, Oid type, Datum value)
{
	Assert(params->n < SYNC_MAX_PARAMS);
	params->types[params->n] = type;
	params->values[params->n] = value;
	return ++params->n;
}

/*
 * Plans a query that goes along an index, where one has its order, and stops at its LIMIT. Without its parameters the planner expects few rows, and would
 * rather gather and sort them: all that one transaction wrote, for each page again. Where it must sort all the same, what that costs without leave would
 * have each page compiled by JIT, for seconds.
 */
void
sync_plan_along_index(SPIPlanPtr plan)
{
	bool		sort = enable_sort;
	bool		incremental_sort = enable_incremental_sort;
	bool		jit = jit_enabled;
	CachedPlan *cached;

	PG_TRY();
	{
		enable_sort = enable_incremental_sort = jit_enabled = false;
		cached = SPI_plan_get_cached_plan(plan);
	}
	PG_FINALLY();
	{
		enable_sort = sort;
		enable_incremental_sort = incremental_sort;
		jit_enabled = jit;
	}
	PG_END_TRY();
	if (cached)
		ReleaseCachedPlan(cached, CurrentResourceOwner);
}

/* Under the active snapshot. dest NULL: the rows are in SPI_tuptable. */
void
sync_plan_run(SPIPlanPtr plan, const SyncParams *params, DestReceiver *dest)
{
	SPIExecuteOptions options = {.read_only = true, .dest = dest};
	int			i;
	int			result;

	if (params->n > 0)
		options.params = makeParamList(params->n);
	for (i = 0; i < params->n; i++)
	{
		ParamExternData *param = &options.params->params[i];

		param->value = params->values[i];
		param->isnull = false;
		param->pflags = PARAM_FLAG_CONST;
		param->ptype = params->types[i];
	}
	result = SPI_execute_plan_extended(plan, &options);
	if (result != SPI_OK_SELECT)
		elog(ERROR, "a query of pull failed: %s", SPI_result_code_string(result));
}

/* The streamer knows such errors by this line, and who looks after it learns from the line where to look. */
static void
tell_reading(void *arg)
{
	const SyncReading *reading = arg;

	errcontext("sync reads as its caller: %s \"%s\"", reading->kind, reading->name);
}

void
sync_reading_begin(SyncReading *reading, const char *kind, const char *name)
{
	reading->kind = kind;
	reading->name = name;
	reading->callback.callback = tell_reading;
	reading->callback.arg = reading;
	reading->callback.previous = error_context_stack;
	error_context_stack = &reading->callback;
}

void
sync_reading_end(const SyncReading *reading)
{
	error_context_stack = reading->callback.previous;
}
