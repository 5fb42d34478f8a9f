/*
 * policy_check.c - a table's row-local policies, asked about rows that are gone: from the old values in their tombstones.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "access/table.h"
#include "catalog/pg_authid.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "rewrite/rowsecurity.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

struct SyncPolicyCheck
{
	const SyncTable *table;
	PlannedStmt *plan;			/* SELECT what the policies say, with a parameter for each column; NULL: they look elsewhere, nothing can be told */
	ParamListInfo params;		/* by attribute number */
};

typedef struct ParamContext
{
	int			depth;
} ParamContext;

static Node *
put_params(Node *node, ParamContext *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Query))
	{
		Query	   *query;

		context->depth++;
		query = query_tree_mutator((Query *) node, put_params, context, 0);
		context->depth--;
		return (Node *) query;
	}
	if (IsA(node, Var) && ((Var *) node)->varlevelsup == context->depth)
	{
		Var		   *var = (Var *) node;
		Param	   *param = makeNode(Param);

		param->paramkind = PARAM_EXTERN;
		param->paramid = var->varattno;
		param->paramtype = var->vartype;
		param->paramtypmod = var->vartypmod;
		param->paramcollid = var->varcollid;
		param->location = -1;
		return (Node *) param;
	}
	return expression_tree_mutator(node, put_params, context);
}

static bool
is_for_role(const RowSecurityPolicy *policy, Oid role)
{
	const Oid  *roles = (const Oid *) ARR_DATA_PTR(policy->roles);
	int			i;

	for (i = 0; i < ARR_DIMS(policy->roles)[0]; i++)
		if (roles[i] == ACL_ID_PUBLIC || has_privs_of_role(role, roles[i]))
			return true;
	return false;
}

/* As PostgreSQL joins them: any permissive one, and all restrictive ones; without a permissive one nothing is seen. */
static Expr *
join_policies(Relation relation, Oid role, bool *has_sublinks)
{
	List	   *permissive = NIL;
	List	   *restrictive = NIL;
	ListCell   *lc;

	foreach(lc, relation->rd_rsdesc ? relation->rd_rsdesc->policies : NIL)
	{
		RowSecurityPolicy *policy = lfirst(lc);

		if (!sync_policy_is_for_reading(policy) || !is_for_role(policy, role))
			continue;
		*has_sublinks |= policy->hassublinks;
		if (policy->permissive)
			permissive = lappend(permissive, copyObject(policy->qual));
		else
			restrictive = lappend(restrictive, copyObject(policy->qual));
	}
	if (permissive == NIL)
		return (Expr *) makeBoolConst(false, false);
	return makeBoolExpr(AND_EXPR, lappend(restrictive, makeBoolExpr(OR_EXPR, permissive, -1)), -1);
}

static PlannedStmt *
plan_policies(Relation relation)
{
	Query	   *query = makeNode(Query);
	ParamContext context = {0};
	Expr	   *allowed = join_policies(relation, GetUserId(), &query->hasSubLinks);

	allowed = (Expr *) put_params((Node *) allowed, &context);
	query->commandType = CMD_SELECT;
	query->canSetTag = true;
	query->jointree = makeFromExpr(NIL, NULL);
	query->targetList = list_make1(makeTargetEntry(allowed, 1, pstrdup("allowed"), false));
	return pg_plan_query(query, "", 0, NULL);
}

SyncPolicyCheck *
sync_policy_check(const SyncTable *table)
{
	SyncPolicyCheck *check;
	Relation	relation;
	int			i;

	if (check_enable_rls(table->relid, InvalidOid, true) != RLS_ENABLED)
		return NULL;
	check = palloc0(sizeof(SyncPolicyCheck));
	check->table = table;
	check->params = makeParamList(table->natts);
	relation = table_open(table->relid, AccessShareLock);
	for (i = 0; i < table->natts; i++)
	{
		check->params->params[i].isnull = true;
		check->params->params[i].ptype = TupleDescAttr(RelationGetDescr(relation), i)->atttypid;
	}
	if (!table->verify)
		check->plan = plan_policies(relation);
	table_close(relation, AccessShareLock);
	return check;
}

/* false: a column that the policies look at is not among the values. */
static bool
set_values(SyncPolicyCheck *check, const char *old_values)
{
	Jsonb	   *values = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(old_values)));
	ListCell   *lc;

	foreach(lc, check->table->policy_columns)
	{
		const SyncColumn *column = lfirst(lc);
		ParamExternData *param = &check->params->params[column->attnum - 1];
		JsonbValue *value = sync_json_get(&values->root, column->name);

		if (value == NULL)
			return false;
		param->isnull = value->type == jbvNull;
		if (!param->isnull)
			param->value = sync_parse_text(column, sync_json_text(value));
	}
	return true;
}

static bool
run_check(SyncPolicyCheck *check, const char *old_values)
{
	QueryDesc  *query;
	TupleTableSlot *slot;
	MemoryContext before;
	bool		isnull = true;
	bool		allowed = false;

	if (!set_values(check, old_values))
		return false;
	query = CreateQueryDesc(check->plan, "", GetActiveSnapshot(), InvalidSnapshot, None_Receiver, check->params, NULL, 0);
	ExecutorStart(query, 0);
	before = MemoryContextSwitchTo(query->estate->es_query_cxt);
	slot = ExecProcNode(query->planstate);
	if (!TupIsNull(slot))
		allowed = DatumGetBool(slot_getattr(slot, 1, &isnull));
	MemoryContextSwitchTo(before);
	ExecutorFinish(query);
	ExecutorEnd(query);
	FreeQueryDesc(query);
	return allowed && !isnull;
}

/*
 * Runs as the caller: the functions that policies call do too. Values that a policy cannot take, as in a division by zero, are those of a row that
 * no SELECT of the caller's could show; raised here, the error would come again with each pull until the tombstone is purged.
 */
bool
sync_policy_allows(SyncPolicyCheck *check, const char *old_values)
{
	SyncAttempt attempt;
	volatile bool allowed = false;

	if (check->plan == NULL || old_values == NULL)
		return false;
	sync_attempt_begin(&attempt);
	PG_TRY();
	{
		allowed = run_check(check, old_values);
		sync_attempt_keep(&attempt);
	}
	PG_CATCH();
	{
		ErrorData  *error = sync_attempt_failed(&attempt);

		if (sync_error_is_of_moment(error->sqlerrcode))
			ReThrowError(error);
		FreeErrorData(error);
	}
	PG_END_TRY();
	return allowed;
}

/* {column: text}, in the rendering that sync_parse_text reads back exactly. */
Datum
sync_policy_values(const SyncTable *table, HeapTuple row, TupleDesc desc)
{
	StringInfoData json;
	ListCell   *lc;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	foreach(lc, table->policy_columns)
	{
		const SyncColumn *column = lfirst(lc);
		bool		isnull;
		Datum		value = heap_getattr(row, column->attnum, desc, &isnull);

		char	   *text = isnull ? NULL : sync_value_text(column, value);

		if (json.len > 1)
			appendStringInfoChar(&json, ',');
		sync_render_string(&json, column->name, strlen(column->name));
		appendStringInfoChar(&json, ':');
		if (text)
			sync_render_string(&json, text, strlen(text));
		else
			appendStringInfoString(&json, "null");
	}
	appendStringInfoChar(&json, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}
