/* tombstone.c - an insert into sync.tombstone becomes the change object of a deletion. */
/* SPDX-License-Identifier: PostgreSQL */
#include "change_parts.h"

#include <stdlib.h>
#include <string.h>

#include "render.h"

/* The columns of the tombstone table that matter here. */
struct grave
{
	struct value table_id, entity_id, scope_value, reason, old_values;
	struct stamp stamp;
};

static void
read_grave(struct grave *g, const struct record *r)
{
	const struct
	{
		const char *name;
		struct value *value;
	}		known[] = {
		{"table_id", &g->table_id}, {"entity_id", &g->entity_id}, {"scope_value", &g->scope_value}, {"reason", &g->reason},
		{"old_values", &g->old_values},
		{"version", &g->stamp.version}, {"sync_xid", &g->stamp.xid}, {"at", &g->stamp.at}, {"changed_by", &g->stamp.by},
	};

	for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++)
		*known[k].value = record_value(r->columns, r->column_count, known[k].name);
}

static bool
render_grave(struct change *c, const struct grave *g)
{
	struct buffer out;
	struct buffer scratch;
	bool	ok;

	buffer_init(&out);
	buffer_init(&scratch);
	change_put_head(&out, c, "delete");
	ok = change_put_tail(&out, c, &g->stamp, &scratch);
	buffer_puts(&out, ",\"reason\":");
	ok = ok && render_json(&out, 's', g->reason, &scratch);
	buffer_putc(&out, '}');
	ok = ok && change_take_json(c, &out);
	buffer_free(&out);
	buffer_free(&scratch);
	return ok;
}

static bool
is_text(struct value v, const char *text)
{
	char   *copy = value_strdup(v);
	bool	is_same = copy != NULL && strcmp(copy, text) == 0;

	free(copy);
	return is_same;
}

bool
change_from_tombstone(struct change *c, const struct record *r, const struct sync_tables *tables)
{
	struct grave g;
	int64_t id;

	*c = (struct change) {.kind = CHANGE_TOMBSTONE};
	read_grave(&g, r);
	if (!value_int64(g.table_id, &id) || id < INT32_MIN || id > INT32_MAX)
		return false;
	c->table = tables_by_id(tables, (int32_t) id);
	if (c->table == NULL || !change_has_stamp(&g.stamp, &c->xid) || !value_is_text(g.reason))
		return false;
	c->entity_id = value_strdup(g.entity_id);
	c->old_values = value_strdup(g.old_values);
	c->is_handover = is_text(g.reason, "access");
	if (c->entity_id != NULL && change_set_scope(c, g.scope_value) && render_grave(c, &g))
		return true;
	change_free(c);
	return false;
}
