/* gap.c - what sync.feed_changes answers about a gap in the stream, as one unit for all sessions. */
/* SPDX-License-Identifier: PostgreSQL */
#include "gap.h"

#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "memory.h"
#include "text.h"

#define VALUES_MAX 8000000

void
gap_free(struct gap *g)
{
	snapshot_free(&g->now);
	transaction_release(g->unit);
	free(g->obstacle);
	free(g->committed);
	*g = (struct gap){0};
}

bool
gap_has_committed(const struct gap *g, uint64_t xid)
{
	for (size_t i = 0; i < g->committed_count; i++)
		if (g->committed[i] == xid)
			return true;
	return false;
}

static bool
read_xid(struct json_value v, uint64_t *xid)
{
	char	text[24];

	return json_string(v, text, sizeof(text)) && text_uint64(text, strlen(text), xid);
}

static bool
read_committed(struct gap *g, struct json_value list)
{
	g->committed = memory_new((size_t) json_size(list) * sizeof(*g->committed) + 1);
	for (struct json_value v = json_first(list); json_type(v) != JSON_ABSENT; v = json_next(v))
		if (!read_xid(v, &g->committed[g->committed_count++]))
			return false;
	return json_type(list) == JSON_ARRAY;
}

static bool
read_change(struct change *c, struct json_value v, const struct sync_tables *tables)
{
	struct json_value object = json_member(v, "change");
	int64_t id = 0;

	*c = (struct change){0};
	if (!json_int64(json_member(v, "table"), &id) || !read_xid(json_member(v, "xid"), &c->xid))
		return false;
	c->table = tables_by_id(tables, (int32_t) id);
	c->kind = json_equals(json_member(object, "operation"), "delete") ? CHANGE_TOMBSTONE : CHANGE_ROW;
	c->entity_id = json_strdup(json_member(object, "entity_id"));
	c->old_values = json_strdup(json_member(v, "old_values"));
	c->scope_is_null = json_type(json_member(object, "scope")) == JSON_NULL;
	if (c->table != NULL && c->entity_id != NULL && change_set_json(c, object))
		return true;
	change_free(c);
	return false;
}

static bool
read_changes(struct gap *g, struct json_value list, const struct sync_tables *tables)
{
	struct change c;

	for (struct json_value v = json_first(list); json_type(v) != JSON_ABSENT; v = json_next(v))
	{
		if (!read_change(&c, v, tables))
			return false;
		transaction_add(g->unit, &c);
	}
	transaction_seal(g->unit);
	return json_type(list) == JSON_ARRAY;
}

static bool
read_answer(struct gap *g, struct json_value root, const struct sync_tables *tables)
{
	char   *snapshot = json_strdup(json_member(root, "snapshot"));
	bool	is_good = snapshot != NULL && snapshot_parse(&g->now, snapshot, strlen(snapshot)) && read_committed(g, json_member(root, "committed"));

	free(snapshot);
	g->obstacle = json_strdup(json_member(root, "obstacle"));
	if (!is_good || g->obstacle != NULL)
		return is_good;
	g->unit = transaction_new(0);
	g->unit->bridged = memory_new(sizeof(*g->unit->bridged));
	snapshot_copy(g->unit->bridged, &g->now);
	return read_changes(g, json_member(root, "changes"), tables);
}

bool
gap_read(struct gap *g, const char *json, const struct sync_tables *tables)
{
	struct json *doc = json_parse(json, strlen(json), VALUES_MAX);
	bool	is_good;

	*g = (struct gap){0};
	is_good = doc != NULL && read_answer(g, json_root(doc), tables);
	if (!is_good)
		gap_free(g);
	json_free(doc);
	return is_good;
}
