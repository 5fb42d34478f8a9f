/*
 * policy.c - row-level security that looks at nothing but the row and who asks: told from other policies.
 *
 * A policy is row-local when all it reads is columns of its row, the role, and the claims that sync_identity_hash covers. Such a row changes
 * hands only by being written, so a tombstone with the old values of these columns says to whom it was lost (policy_check.c).
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/functions.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_func.h"
#include "rewrite/rowsecurity.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(sync_policy_columns);
PG_FUNCTION_INFO_V1(sync_policy_functions);

#define NESTED_MAX 10			/* functions calling functions */

typedef struct Judge
{
	const char *policy;
	TupleDesc	desc;			/* of the table */
	int			depth;			/* of queries, counted as varlevelsup does */
	int			nested;			/* above 0: inside a function's body, whose Vars are its own */
	bool		is_ours;		/* a table of the extension */
	Bitmapset  *columns;
	uint64		functions;		/* what the functions are that the policies call, and these in turn */
	char	   *reason;			/* NULL so far */
} Judge;

static bool judge_node(Node *node, Judge *judge);

/* Ends the walk: the first reason is enough. */
static bool
refuse(Judge *judge, char *what)
{
	judge->reason = psprintf("policy \"%s\" %s", judge->policy, what);
	return true;
}

static bool
judge_column(const Var *var, Judge *judge)
{
	Form_pg_attribute att;

	if (judge->nested > 0 || var->varlevelsup != judge->depth)
		return false;
	if (var->varattno <= 0)
		return refuse(judge, "looks at the row as a whole or at a system column");
	att = TupleDescAttr(judge->desc, var->varattno - 1);
	if (strncmp(NameStr(att->attname), "sync_", 5) == 0)
		return refuse(judge, psprintf("looks at %s, which every write changes", NameStr(att->attname)));
	judge->columns = bms_add_member(judge->columns, var->varattno);
	return false;
}

static bool
judge_query(Query *query, Judge *judge)
{
	ListCell   *lc;
	bool		is_refused;

	if (query->commandType != CMD_SELECT)
		return refuse(judge, "writes");
	foreach(lc, query->rtable)
	{
		RangeTblEntry *entry = lfirst(lc);

		if (entry->rtekind == RTE_RELATION)
			return refuse(judge, psprintf("looks at table %s", get_rel_name(entry->relid)));
	}
	judge->depth++;
	is_refused = query_tree_walker(query, judge_node, judge, 0);
	judge->depth--;
	return is_refused;
}

/* Only what sync_identity_hash covers: with anything else a client's token would outlive what it may see. */
static bool
judge_setting(const FuncExpr *call, Judge *judge)
{
	Node	   *name = linitial(call->args);

	if (!IsA(name, Const) || ((Const *) name)->constisnull)
		return refuse(judge, "reads a setting whose name is computed");
	if (sync_is_identity_setting(TextDatumGetCString(((Const *) name)->constvalue)))
		return expression_tree_walker((Node *) call->args, judge_node, judge);
	return refuse(judge, psprintf("reads the setting %s, which is no part of who asks", TextDatumGetCString(((Const *) name)->constvalue)));
}

/* Stable functions of PostgreSQL that read neither tables nor the clock. Those of dates and times depend on settings, and 'now' is one. */
static bool
is_harmless_builtin(const char *name)
{
	static const char *const harmless[] = {
		"array_in", "array_out", "array_to_string", "concat", "concat_ws", "current_database", "enum_in", "enum_out", "format", "json_build_array",
		"json_build_object", "json_object_agg", "json_agg", "jsonb_agg", "jsonb_build_array", "jsonb_build_object", "jsonb_object_agg",
		"record_out", "to_json", "to_jsonb", "row_to_json", "array_to_json", "jsonb_populate_record", "string_to_array"
	};
	int			i;

	for (i = 0; i < (int) lengthof(harmless); i++)
		if (strcmp(harmless[i], name) == 0)
			return true;
	return false;
}

/* A function's queries, analysed under the settings it runs with; NIL: it has no single body in SQL that can be read. */
static List *
read_body(HeapTuple function)
{
	Form_pg_proc form = (Form_pg_proc) GETSTRUCT(function);
	bool		isnull;
	Datum		body = SysCacheGetAttr(PROCOID, function, Anum_pg_proc_prosqlbody, &isnull);
	Datum		config;
	SQLFunctionParseInfoPtr info;
	List	   *statements;
	char	   *source;
	List	   *queries;
	int			level;

	if (!isnull)
	{
		Node	   *node = stringToNode(TextDatumGetCString(body));

		return IsA(node, List) ? linitial_node(List, (List *) node) : list_make1(node);
	}
	source = TextDatumGetCString(SysCacheGetAttr(PROCOID, function, Anum_pg_proc_prosrc, &isnull));
	config = SysCacheGetAttr(PROCOID, function, Anum_pg_proc_proconfig, &isnull);
	level = NewGUCNestLevel();
	/* Without a path of its own it sees what any caller sees for sure. */
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	if (!isnull)
		ProcessGUCArray(DatumGetArrayTypeP(config), PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE);
	statements = pg_parse_query(source);
	if (list_length(statements) != 1 || form->prokind != PROKIND_FUNCTION)
		queries = NIL;
	else
	{
		info = prepare_sql_fn_parse_info(function, NULL, InvalidOid);
		queries = pg_analyze_and_rewrite_withcb(linitial(statements), source, (ParserSetupHook) sql_fn_parser_setup, info, NULL);
	}
	AtEOXact_GUC(true, level);
	return queries;
}

/* The same, NIL instead of an error: a body that cannot be read now may still be another one tomorrow. */
static List *
try_body(HeapTuple function)
{
	SyncAttempt attempt;
	List	   *volatile queries = NIL;

	sync_attempt_begin(&attempt);
	PG_TRY();
	{
		queries = read_body(function);
		sync_attempt_keep(&attempt);
	}
	PG_CATCH();
	{
		ErrorData  *error = sync_attempt_failed(&attempt);

		if (sync_error_is_of_moment(error->sqlerrcode))
			ReThrowError(error);
		queries = NIL;
	}
	PG_END_TRY();
	return queries;
}

static bool
judge_body(HeapTuple function, Judge *judge)
{
	char	   *name = NameStr(((Form_pg_proc) GETSTRUCT(function))->proname);
	List	   *queries = judge->nested < NESTED_MAX ? try_body(function) : NIL;
	int			depth = judge->depth;
	bool		is_refused;

	if (list_length(queries) != 1 || !IsA(linitial(queries), Query))
		return refuse(judge, psprintf("calls function %s(), whose body cannot be judged", name));
	judge->nested++;
	judge->depth = -1;
	is_refused = judge_query(linitial(queries), judge);
	judge->depth = depth;
	judge->nested--;
	return is_refused;
}

static bool
is_user_id(Oid function)
{
	return function == LookupFuncName(list_make2(makeString("sync"), makeString("user_id")), 0, NULL, true);
}

/* One that is replaced keeps its id: its row in the catalogue is what tells. In any order, as often as it is called. */
static void
note_function(HeapTuple tuple, Judge *judge)
{
	Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);

	if (form->oid >= FirstNormalObjectId)
		judge->functions += sync_hash((const char *) tuple->t_data + tuple->t_data->t_hoff, tuple->t_len - tuple->t_data->t_hoff, 0);
}

static bool
judge_catalogued(HeapTuple tuple, Judge *judge)
{
	Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);
	char	   *name = NameStr(form->proname);

	note_function(tuple, judge);
	if (form->provolatile == PROVOLATILE_VOLATILE)
		return refuse(judge, psprintf("calls function %s(), which is volatile", name));
	if (form->prolang == SQLlanguageId && form->oid >= FirstGenbkiObjectId)
		return judge_body(tuple, judge);
	/* The conflict log asks what its scope asks, and for the privileges whose change starts every table anew. */
	if (judge->is_ours && form->pronamespace == get_namespace_oid("sync", false))
		return false;
	if (form->provolatile == PROVOLATILE_IMMUTABLE || is_user_id(form->oid))
		return false;
	if (form->oid >= FirstGenbkiObjectId)
		return refuse(judge, psprintf("calls function %s(), which is not written in SQL, so what it looks at cannot be told", name));
	/* The caller's own memberships are part of the identity. */
	if (is_harmless_builtin(name) || (strcmp(name, "pg_has_role") == 0 && form->pronargs == 2))
		return false;
	return refuse(judge, psprintf("calls function %s(), which looks at the clock, the session or the catalogue", name));
}

/* For check_functions_in_node. */
static bool
judge_function(Oid function, void *context)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	bool		is_refused;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	is_refused = judge_catalogued(tuple, context);
	ReleaseSysCache(tuple);
	return is_refused;
}

static bool
judge_sql_value(const SQLValueFunction *value, Judge *judge)
{
	switch (value->op)
	{
		case SVFOP_CURRENT_ROLE:
		case SVFOP_CURRENT_USER:
		case SVFOP_USER:
		case SVFOP_CURRENT_CATALOG:
			return false;
		case SVFOP_SESSION_USER:
		case SVFOP_CURRENT_SCHEMA:
			return refuse(judge, "looks at the session");
		default:
			return refuse(judge, "looks at the clock");
	}
}

/* true ends the walk: the node looks at something else than the row and who asks. */
static bool
judge_node(Node *node, Judge *judge)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_Var:
			return judge_column((Var *) node, judge);
		case T_Query:
			return judge_query((Query *) node, judge);
		case T_SQLValueFunction:
			return judge_sql_value((SQLValueFunction *) node, judge);
		case T_NextValueExpr:
		case T_XmlExpr:
			return refuse(judge, "uses an expression that cannot be judged");
		case T_FuncExpr:
			if (((FuncExpr *) node)->funcid == F_CURRENT_SETTING_TEXT || ((FuncExpr *) node)->funcid == F_CURRENT_SETTING_TEXT_BOOL)
				return judge_setting((FuncExpr *) node, judge);
			break;
		default:
			break;
	}
	if (check_functions_in_node(node, judge_function, judge))
		return true;
	return expression_tree_walker(node, judge_node, judge);
}

bool
sync_policy_is_for_reading(const RowSecurityPolicy *policy)
{
	return (policy->polcmd == '*' || policy->polcmd == ACL_SELECT_CHR) && policy->qual != NULL;
}

static Judge
judge_policies(Oid relid)
{
	Relation	relation = table_open(relid, AccessShareLock);
	Judge		judge = {.desc = RelationGetDescr(relation), .is_ours = RelationGetNamespace(relation) == get_namespace_oid("sync", false)};
	ListCell   *lc;

	foreach(lc, relation->rd_rsdesc ? relation->rd_rsdesc->policies : NIL)
	{
		RowSecurityPolicy *policy = lfirst(lc);

		judge.policy = policy->policy_name;
		if (sync_policy_is_for_reading(policy) && judge_node((Node *) copyObject(policy->qual), &judge))
			break;
	}
	table_close(relation, AccessShareLock);
	return judge;
}

char *
sync_policy_judge(Oid relid, Bitmapset **columns)
{
	Judge		judge = judge_policies(relid);

	*columns = judge.columns;
	return judge.reason;
}

/* sync.policy_functions(relation): another number when one of the functions that its policies call is replaced. */
Datum
sync_policy_functions(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64((int64) judge_policies(PG_GETARG_OID(0)).functions);
}

/* sync.policy_columns(relation): what its policies look at, or why they look elsewhere. */
Datum
sync_policy_columns(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	Bitmapset  *columns;
	char	   *reason = sync_policy_judge(relid, &columns);
	Datum		names[MaxHeapAttributeNumber];
	int			n = 0;
	int			attnum = -1;
	TupleDesc	desc;
	Datum		values[2];
	bool		nulls[2] = {reason != NULL, reason == NULL};

	while ((attnum = bms_next_member(columns, attnum)) >= 0)
		names[n++] = DirectFunctionCall1(namein, CStringGetDatum(get_attname(relid, attnum, false)));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = PointerGetDatum(construct_array(names, n, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR));
	values[1] = reason ? CStringGetTextDatum(reason) : (Datum) 0;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}
