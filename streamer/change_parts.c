/* change_parts.c - the parts of a change object that rows and tombstones have in common. */
/* SPDX-License-Identifier: PostgreSQL */
#include "change_parts.h"

#include <stdlib.h>
#include <string.h>

#include "render.h"

bool
change_has_stamp(const struct stamp *stamp, uint64_t *xid)
{
	int64_t version;

	return value_int64(stamp->version, &version) && version >= 0 && value_uint64(stamp->xid, xid) && value_is_text(stamp->at);
}

bool
change_set_scope(struct change *c, struct value v)
{
	char   *scope = NULL;

	if (c->table->scope_index < 0)
		return true;
	if (!value_is_null(v))
	{
		scope = value_strdup(v);
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
	buffer_put(out, stamp->version.text, stamp->version.len);
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
