/*
 * json_merge.c - JSON values in which both sides wrote: lists item by item, objects member by member.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "merge.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

#include "text_merge.h"

void
json_as_value(Jsonb *json, JsonbValue *out)
{
	if (json == NULL)
		out->type = jbvNull;
	else if (!JB_ROOT_IS_SCALAR(json) || !JsonbExtractScalar(&json->root, out))
	{
		out->type = jbvBinary;
		out->val.binary.data = &json->root;
		out->val.binary.len = VARSIZE(json) - VARHDRSZ;
	}
}

static bool
is_equal(const Jsonb *a, const Jsonb *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return compareJsonbContainers(unconstify(JsonbContainer *, &a->root), unconstify(JsonbContainer *, &b->root)) == 0;
}

static Winner
later(const JsonMerge *merge)
{
	return merge->local_is_later ? WINNER_LOCAL : WINNER_SERVER;
}

/* ---- lists ---- */

typedef struct Items
{
	bool		is_list;
	int			n;
	Jsonb	  **items;
} Items;

/* A NULL counts as an empty list. */
static Items
items_of(const Jsonb *json)
{
	Items		list = {json == NULL, 0, NULL};
	int			i;

	if (json == NULL || !JB_ROOT_IS_ARRAY(json) || JB_ROOT_IS_SCALAR(json))
		return list;
	list.is_list = true;
	list.n = JB_ROOT_COUNT(json);
	list.items = palloc(sizeof(Jsonb *) * Max(list.n, 1));
	for (i = 0; i < list.n; i++)
		list.items[i] = JsonbValueToJsonb(getIthJsonbValueFromContainer(unconstify(JsonbContainer *, &json->root), i));
	return list;
}

static bool
has_item(const Items *list, int n, const Jsonb *item)
{
	int			i;

	for (i = 0; i < n; i++)
		if (is_equal(list->items[i], item))
			return true;
	return false;
}

static void
add_item(Items *list, Jsonb *item)
{
	list->items[list->n++] = item;
}

static Jsonb *
list_json(const Items *list)
{
	JsonbParseState *state = NULL;
	JsonbValue	v;
	int			i;

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (i = 0; i < list->n; i++)
	{
		json_as_value(list->items[i], &v);
		pushJsonbValue(&state, WJB_ELEM, &v);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}

/* The server's items, then the client's own; what the client took away from the list it knew goes. Each item once. */
static Items
unite(const Items *local, const Items *server, const Items *base)
{
	Items		result = {true, 0, palloc(sizeof(Jsonb *) * (local->n + server->n + 1))};
	int			i;

	for (i = 0; i < server->n; i++)
	{
		bool		is_removed = base && has_item(base, base->n, server->items[i]) && !has_item(local, local->n, server->items[i]);

		if (!is_removed && !has_item(&result, result.n, server->items[i]))
			add_item(&result, server->items[i]);
	}
	for (i = 0; i < local->n; i++)
	{
		/* What the server took away from the list the client knew stays away. */
		bool		is_removed = base && has_item(base, base->n, local->items[i]) && !has_item(server, server->n, local->items[i]);

		if (!is_removed && !has_item(&result, result.n, local->items[i]))
			add_item(&result, local->items[i]);
	}
	return result;
}

/* The server's list, then what the client added behind what it knew. */
static Items
append_new(const Items *local, const Items *server, const Items *base)
{
	Items		result = {true, 0, palloc(sizeof(Jsonb *) * (local->n + server->n + 1))};
	int			known = 0;
	int			i;

	for (i = 0; i < server->n; i++)
		add_item(&result, server->items[i]);
	while (base && known < base->n && known < local->n && is_equal(base->items[known], local->items[known]))
		known++;
	for (i = known; i < local->n; i++)
		if (base || !has_item(server, server->n, local->items[i]))
			add_item(&result, local->items[i]);
	return result;
}

static Winner
merge_lists(const JsonMerge *merge, SyncRule rule, JsonValue local, JsonValue server, JsonValue base, JsonValue *result)
{
	Items		l = items_of(local.json);
	Items		s = items_of(server.json);
	Items		b = items_of(base.json);
	const Items *known = base.is_known && b.is_list ? &b : NULL;
	Items		merged;

	if (!l.is_list || !s.is_list)
		return later(merge);
	merged = rule == RULE_UNION ? unite(&l, &s, known) : append_new(&l, &s, known);
	result->json = list_json(&merged);
	return WINNER_BOTH;
}

/* ---- scalars ---- */

static bool
as_scalar(Jsonb *json, enum jbvType type, JsonbValue *out)
{
	json_as_value(json, out);
	return out->type == type;
}

static Winner
merge_counts(const JsonMerge *merge, JsonValue local, JsonValue server, JsonValue base, JsonValue *result)
{
	JsonbValue	l;
	JsonbValue	s;
	JsonbValue	b;
	Datum		added;

	if (!as_scalar(local.json, jbvNumeric, &l) || !as_scalar(server.json, jbvNumeric, &s) || !as_scalar(base.json, jbvNumeric, &b))
		return later(merge);
	added = DirectFunctionCall2(numeric_sub, NumericGetDatum(l.val.numeric), NumericGetDatum(b.val.numeric));
	s.val.numeric = DatumGetNumeric(DirectFunctionCall2(numeric_add, NumericGetDatum(s.val.numeric), added));
	result->json = JsonbValueToJsonb(&s);
	return WINNER_BOTH;
}

/* Numbers by value, texts by their bytes; what cannot be compared goes by time. */
static Winner
merge_extremes(const JsonMerge *merge, JsonValue local, JsonValue server, bool want_less)
{
	JsonbValue	l;
	JsonbValue	s;
	int			order;

	json_as_value(local.json, &l);
	json_as_value(server.json, &s);
	if (l.type == jbvNull || s.type == jbvNull)
		return s.type == jbvNull ? WINNER_LOCAL : WINNER_SERVER;
	if (l.type != s.type || (l.type != jbvNumeric && l.type != jbvString))
		return later(merge);
	order = compareJsonbContainers(&local.json->root, &server.json->root);
	return (want_less ? -order : order) > 0 ? WINNER_LOCAL : WINNER_SERVER;
}

static void *
allocate(size_t size)
{
	return palloc(Max(size, 1));
}

static Winner
merge_strings(const JsonMerge *merge, JsonValue local, JsonValue server, JsonValue base, JsonValue *result)
{
	JsonbValue	l;
	JsonbValue	s;
	JsonbValue	b;
	TextSlice	merged;

	if (!as_scalar(local.json, jbvString, &l) || !as_scalar(server.json, jbvString, &s) || !as_scalar(base.json, jbvString, &b) ||
		!text_merge((TextSlice) {b.val.string.val, b.val.string.len}, (TextSlice) {l.val.string.val, l.val.string.len},
					(TextSlice) {s.val.string.val, s.val.string.len}, allocate, &merged))
		return later(merge);
	s.val.string.val = unconstify(char *, merged.data);
	s.val.string.len = (int) merged.len;
	result->json = JsonbValueToJsonb(&s);
	return WINNER_BOTH;
}

/* ---- the application's own function ---- */

/* Called as the caller of push, with NULL for what is not there. */
static Winner
call_resolver(const JsonMerge *merge, Oid resolver, JsonValue local, JsonValue server, JsonValue base, JsonValue *result)
{
	Oid			types[] = {JSONBOID, JSONBOID, JSONBOID};
	Datum		values[] = {JsonbPGetDatum(local.json), JsonbPGetDatum(server.json), JsonbPGetDatum(base.json)};
	char		nulls[] = {local.json ? ' ' : 'n', server.json ? ' ' : 'n', base.json ? ' ' : 'n'};
	char	   *name = get_func_name(resolver);
	bool		isnull;
	Datum		value;

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("the resolver function of this column is gone"),
				 errhint("Its owner must set the rule anew with sync.set_column_rule().")));
	name = psprintf("SELECT %s($1, $2, $3)", quote_qualified_identifier(get_namespace_name(get_func_namespace(resolver)), name));
	SPI_execute_plan(push_plan(merge->push, name, 3, types), values, nulls, false, 1);
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	result->json = isnull ? NULL : DatumGetJsonbPCopy(value);
	return WINNER_BOTH;
}

/* ---- objects ---- */

static bool
is_object(const Jsonb *json)
{
	return json && JB_ROOT_IS_OBJECT(json);
}

static JsonValue
member_of(JsonValue object, const char *name, int len)
{
	JsonbValue *v = is_object(object.json) ? getKeyJsonValueFromContainer(&object.json->root, name, len, NULL) : NULL;

	return (JsonValue) {object.is_known, v ? JsonbValueToJsonb(v) : NULL};
}

static const SyncColumnRule *
rule_of_member(const JsonMerge *merge, const char *name, int len)
{
	ListCell   *lc;

	foreach(lc, merge->rules)
	{
		const SyncColumnRule *rule = lfirst(lc);

		if (rule->member && strlen(rule->member) == (size_t) len && memcmp(rule->member, name, len) == 0)
			return rule;
	}
	return NULL;
}

/* One member as both sides have it; what only one side changed is that side's. */
static JsonValue
merge_member(const JsonMerge *merge, const char *name, int len, JsonValue local, JsonValue server, JsonValue base)
{
	const SyncColumnRule *rule = rule_of_member(merge, name, len);
	JsonMerge	inner = {merge->push, NIL, merge->local_is_later};
	JsonValue	result = {true, NULL};
	/* Without a base, a member that one side lacks was added by the other. */
	bool		is_local_changed = base.is_known ? !is_equal(local.json, base.json) : local.json != NULL;
	bool		is_server_changed = base.is_known ? !is_equal(server.json, base.json) : server.json != NULL;

	/* Equal edits of both add up. */
	bool		is_counted = rule && (rule->rule == RULE_COUNTER || rule->rule == RULE_APPEND) && base.is_known && is_server_changed;

	if (!is_local_changed || (is_equal(local.json, server.json) && !is_counted))
		return server;
	if (!is_server_changed)
		return local;
	switch (json_merge(&inner, rule ? rule->rule : RULE_LWW, rule ? rule->resolver : InvalidOid, local, server, base, &result))
	{
		case WINNER_LOCAL:
			return local;
		case WINNER_SERVER:
			return server;
		default:
			return result;
	}
}

static void
put_member(JsonbParseState **state, JsonbValue *name, JsonValue member)
{
	JsonbValue	v;

	if (member.json == NULL)
		return;
	pushJsonbValue(state, WJB_KEY, name);
	json_as_value(member.json, &v);
	pushJsonbValue(state, WJB_VALUE, &v);
}

/* Merges the members of one side's object; skip_shared: those of the other side were dealt with already. */
static void
merge_members(const JsonMerge *merge, JsonbParseState **state, JsonValue walked, JsonValue local, JsonValue server, JsonValue base,
			  const Jsonb *done)
{
	JsonbIterator *it = JsonbIteratorInit(&walked.json->root);
	JsonbValue	name;
	JsonbValue	v;

	JsonbIteratorNext(&it, &name, true);
	while (JsonbIteratorNext(&it, &name, true) == WJB_KEY)
	{
		const char *text = name.val.string.val;
		int			len = name.val.string.len;

		JsonbIteratorNext(&it, &v, true);
		if (done && getKeyJsonValueFromContainer(unconstify(JsonbContainer *, &done->root), text, len, NULL))
			continue;
		put_member(state, &name, merge_member(merge, text, len, member_of(local, text, len), member_of(server, text, len),
											  member_of(base, text, len)));
	}
}

static Winner
merge_objects(const JsonMerge *merge, JsonValue local, JsonValue server, JsonValue base, JsonValue *result)
{
	JsonbParseState *state = NULL;

	if (!is_object(local.json) || !is_object(server.json))
		return later(merge);
	if (base.is_known && !is_object(base.json))
		base = (JsonValue) {base.json == NULL, NULL};
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	merge_members(merge, &state, server, local, server, base, NULL);
	merge_members(merge, &state, local, local, server, base, server.json);
	result->json = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	return WINNER_BOTH;
}

Winner
json_merge(const JsonMerge *merge, SyncRule rule, Oid resolver, JsonValue local, JsonValue server, JsonValue base, JsonValue *result)
{
	*result = (JsonValue) {true, NULL};
	switch (rule)
	{
		case RULE_SERVER:
			return WINNER_SERVER;
		case RULE_CLIENT:
			return WINNER_LOCAL;
		case RULE_UNION:
		case RULE_APPEND:
			return merge_lists(merge, rule, local, server, base, result);
		case RULE_COUNTER:
			return merge_counts(merge, local, server, base, result);
		case RULE_TEXT:
			return merge_strings(merge, local, server, base, result);
		case RULE_MAX:
		case RULE_MIN:
			return merge_extremes(merge, local, server, rule == RULE_MIN);
		case RULE_OBJECT:
			return merge_objects(merge, local, server, base, result);
		case RULE_RESOLVER:
			return call_resolver(merge, resolver, local, server, base, result);
		default:
			return later(merge);
	}
}
