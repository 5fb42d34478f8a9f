/* change_parts.c - the parts of a change object that rows and tombstones have in common. */
/* SPDX-License-Identifier: PostgreSQL */
#include "change_parts.h"

#include <stdlib.h>
#include <string.h>

#include "render.h"
#include "text.h"

static const struct json_value absent = {NULL, -1, "", 0};

void
change_read_column(struct json_value column, struct json_value *name, struct json_value *value)
{
	*name = *value = absent;
	if (json_type(column) != JSON_OBJECT)
		return;
	for (struct json_value m = json_first(column); m.index >= 0; m = json_next(m))
	{
		if (json_equals(m, "name"))
			*name = json_member_value(m);
		else if (json_equals(m, "value"))
			*value = json_member_value(m);
	}
}

/* xid8 comes as a string, bigint bare; both are accepted. */
static bool
read_uint64(struct json_value v, uint64_t *out)
{
	if (json_type(v) == JSON_STRING)
		return text_uint64(v.raw + 1, v.len - 2, out);
	return json_type(v) == JSON_NUMBER && text_uint64(v.raw, v.len, out);
}

bool
change_has_stamp(const struct stamp *stamp, uint64_t *xid)
{
	int64_t version;

	return json_int64(stamp->version, &version) && version >= 0 && read_uint64(stamp->xid, xid) && json_type(stamp->at) == JSON_STRING;
}

bool
change_set_scope(struct change *c, struct json_value v)
{
	char   *scope = NULL;

	if (c->table->scope_index < 0)
		return true;
	if (json_type(v) != JSON_NULL)
	{
		scope = json_strdup(v);
		if (scope == NULL)
			return false;
	}
	free(c->scope);
	c->scope = scope;
	c->scope_is_null = scope == NULL;
	return true;
}

void
change_put_head(struct buffer *out, const struct change *c, const char *operation)
{
	buffer_puts(out, "{\"operation\":\"");
	buffer_puts(out, operation);
	buffer_puts(out, "\",\"entity_type\":");
	buffer_json_string(out, c->table->entity_type, strlen(c->table->entity_type));
	buffer_puts(out, ",\"entity_id\":");
	buffer_json_string(out, c->entity_id, strlen(c->entity_id));
}

bool
change_put_tail(struct buffer *out, const struct change *c, const struct stamp *stamp, struct buffer *scratch)
{
	buffer_puts(out, ",\"server_version\":");
	buffer_put(out, stamp->version.raw, stamp->version.len);
	buffer_puts(out, ",\"timestamp\":");
	if (!render_json(out, 'z', stamp->at, scratch))
		return false;
	buffer_puts(out, ",\"changed_by\":");
	if (!render_json(out, 's', stamp->by, scratch))
		return false;
	if (c->table->scope_index < 0)
		return true;
	buffer_puts(out, ",\"scope\":");
	if (c->scope != NULL)
		buffer_json_string(out, c->scope, strlen(c->scope));
	else
		buffer_puts(out, "null");
	return true;
}

bool
change_take_json(struct change *c, struct buffer *out)
{
	c->json = buffer_take(out, &c->json_len);
	return c->json != NULL;
}
