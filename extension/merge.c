/*
 * merge.c - one column in which both sides wrote: the rules that settle it without a person.
 *
 * Without the value the client knew (base) nobody can tell an addition from a removal: lists then only grow, and counters and texts fall back
 * to last-write-wins.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "change.h"

#include "merge.h"
#include "text_merge.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

static Winner
later(bool local_is_later)
{
	return local_is_later ? WINNER_LOCAL : WINNER_SERVER;
}

/* max: what compares as greater; a NULL is less than anything. */
static Winner
greater(const SyncColumn *column, const Side *local, const Side *server, bool want_less)
{
	TypeCacheEntry *type = lookup_type_cache(sync_base_type(column->type), TYPECACHE_CMP_PROC_FINFO);
	int			order;

	if (local->isnull || server->isnull)
		return server->isnull ? WINNER_LOCAL : WINNER_SERVER;
	if (!OidIsValid(type->cmp_proc_finfo.fn_oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("values of column \"%s\" have no order", column->name)));
	order = DatumGetInt32(FunctionCall2Coll(&type->cmp_proc_finfo, get_typcollation(column->type), local->value, server->value));
	return (want_less ? -order : order) > 0 ? WINNER_LOCAL : WINNER_SERVER;
}

/* server + (local - base), by the type's own operators; an overflow is an error of the change. */
static Winner
count(Push *push, const SyncColumn *column, const Side *local, const Side *server, const Side *base, bool local_is_later, Field *result)
{
	Oid			type = sync_base_type(column->type);
	Oid			types[] = {type, type, type};
	Datum		values[] = {server->value, local->value, base->value};
	char	   *name = format_type_be_qualified(type);

	if (!base->is_known || base->isnull || local->isnull || server->isnull)
		return later(local_is_later);
	SPI_execute_plan(push_plan(push, psprintf("SELECT ($1 OPERATOR(pg_catalog.+) ($2 OPERATOR(pg_catalog.-) $3))::%s", name), 3, types),
					 values, NULL, false, 1);
	result->value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &result->isnull);
	return WINNER_BOTH;
}

static void *
allocate(size_t size)
{
	return palloc(Max(size, 1));
}

static TextSlice
slice_of(Datum value)
{
	text	   *t = DatumGetTextPP(value);

	return (TextSlice) {VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t)};
}

static Winner
merge_text(const SyncColumn *column, const Side *local, const Side *server, const Side *base, bool local_is_later, Field *result)
{
	TextSlice	merged;

	if (!base->is_known || base->isnull || local->isnull || server->isnull ||
		!text_merge(slice_of(base->value), slice_of(local->value), slice_of(server->value), allocate, &merged))
		return later(local_is_later);
	/* The type may have a limit: char(n), varchar(n). */
	result->value = sync_parse_text(column, pnstrdup(merged.data, merged.len));
	return WINNER_BOTH;
}

static JsonValue
json_side(const SyncColumn *column, const Side *side)
{
	return (JsonValue) {side->is_known, side->is_known ? value_to_json(column, side->value, side->isnull) : NULL};
}

/* Through JSON: lists, objects, and what an application's function makes of it. */
static Winner
merge_json(Push *push, const SyncTable *table, const SyncColumn *column, const SyncColumnRule *rule, SyncRule how, const Side *local,
		   const Side *server, const Side *base, bool local_is_later, Field *result)
{
	JsonMerge	merge = {.push = push, .rules = column->rules, .local_is_later = local_is_later};
	JsonValue	merged;
	Winner		winner;
	JsonbValue	v;

	winner = json_merge(&merge, how, rule ? rule->resolver : InvalidOid, json_side(column, local), json_side(column, server),
						json_side(column, base), &merged);
	if (winner != WINNER_BOTH)
		return winner;
	json_as_value(merged.json, &v);
	result->value = value_from_json(push, table, column, &v, &result->isnull);
	return WINNER_BOTH;
}

const SyncColumnRule *
merge_own_rule(const SyncColumn *column)
{
	ListCell   *lc;

	foreach(lc, column->rules)
		if (((SyncColumnRule *) lfirst(lc))->member == NULL)
			return lfirst(lc);
	return NULL;
}

Winner
merge_column(Push *push, const SyncTable *table, const SyncColumn *column, const Side *local, const Side *server, const Side *base,
			 bool local_is_later, Field *result)
{
	const SyncColumnRule *rule = merge_own_rule(column);
	SyncRule	how = rule ? rule->rule : column->rules ? RULE_OBJECT : RULE_LWW;

	switch (how)
	{
		case RULE_SERVER:
			return WINNER_SERVER;
		case RULE_CLIENT:
			return WINNER_LOCAL;
		case RULE_MAX:
		case RULE_MIN:
			return greater(column, local, server, how == RULE_MIN);
		case RULE_COUNTER:
			if (column->kind != 'j')
				return count(push, column, local, server, base, local_is_later, result);
			break;
		case RULE_TEXT:
			if (column->kind != 'j')
				return merge_text(column, local, server, base, local_is_later, result);
			break;
		case RULE_UNION:
		case RULE_APPEND:
		case RULE_OBJECT:
		case RULE_RESOLVER:
			break;
		default:
			return later(local_is_later);
	}
	return merge_json(push, table, column, rule, how, local, server, base, local_is_later, result);
}
