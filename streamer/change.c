/* change.c - a row of a synced table, or a tombstone, becomes the change object that clients see. */
/* SPDX-License-Identifier: PostgreSQL */
#include "change.h"

#include <stdlib.h>
#include <string.h>

#include "change_parts.h"
#include "render.h"

static const struct json_value absent = {NULL, -1, "", 0};

/* A record's columns sorted into the table's: filled in one walk, as both come in attnum order. */
struct row
{
	const struct sync_table *table;
	int		expected;			/* the column that should come next */
	bool	has_unknown;		/* a column that the table did not have when its description was read */
	struct stamp stamp;
	struct json_value own_scope;	/* sync_scope, of a table that takes its scope from there */
	struct json_value values[TABLES_COLUMN_MAX];	/* only the first column_count are set */
};

/* From the expected place on, then from the start: a dropped or absent column costs one step once, not a search each time. */
static int
find_column(const struct row *row, struct json_value name)
{
	int		count = row->table->column_count;

	for (int i = 0; i < count; i++)
	{
		int		index = row->expected + i < count ? row->expected + i : row->expected + i - count;

		if (json_equals(name, row->table->columns[index].name))
			return index;
	}
	return -1;
}

static struct json_value *
stamp_member(struct stamp *stamp, struct json_value name)
{
	if (json_equals(name, "sync_version"))
		return &stamp->version;
	if (json_equals(name, "sync_xid"))
		return &stamp->xid;
	if (json_equals(name, "sync_at"))
		return &stamp->at;
	return json_equals(name, "sync_by") ? &stamp->by : NULL;
}

static void
sort_column(struct row *row, struct json_value name, struct json_value value)
{
	const struct sync_table *t = row->table;
	struct json_value *member;
	int		index;

	/* The quick case first: a user's column may well be called sync_something. */
	if (row->expected < t->column_count && json_equals(name, t->columns[row->expected].name))
	{
		row->values[row->expected++] = value;
		return;
	}
	if (name.len > 6 && memcmp(name.raw, "\"sync_", 6) == 0)
	{
		member = t->scope_index == t->column_count && json_equals(name, "sync_scope") ? &row->own_scope : stamp_member(&row->stamp, name);
		if (member != NULL)
			*member = value;
		if (member != NULL || json_equals(name, "sync_clock"))
			return;
	}
	index = find_column(row, name);
	if (index < 0)
	{
		row->has_unknown = true;
		return;
	}
	row->values[index] = value;
	row->expected = index + 1;
}

static void
sort_columns(struct row *row, const struct record *r, const struct sync_table *t)
{
	row->table = t;
	row->expected = 0;
	row->has_unknown = false;
	row->stamp = (struct stamp) {absent, absent, absent, absent};
	row->own_scope = absent;
	for (int i = 0; i < t->column_count; i++)
		row->values[i] = absent;
	for (struct json_value c = json_first(r->columns); c.index >= 0; c = json_next(c))
	{
		struct json_value name;
		struct json_value value;

		change_read_column(c, &name, &value);
		sort_column(row, name, value);
	}
}

/* An unchanged key value may be left out of an update's columns (TOAST): the old key then has it. */
static struct json_value
key_value(const struct row *row, const struct record *r, int index)
{
	struct json_value name;
	struct json_value value;

	if (row->values[index].index >= 0)
		return row->values[index];
	for (struct json_value c = json_first(r->identity); c.index >= 0; c = json_next(c))
	{
		change_read_column(c, &name, &value);
		if (json_equals(name, row->table->columns[index].name))
			return value;
	}
	return absent;
}

static char *
render_key(const struct row *row, const struct record *r, struct buffer *scratch)
{
	const struct sync_table *t = row->table;
	struct buffer id;
	struct buffer part;
	bool	ok = true;

	buffer_init(&id);
	buffer_init(&part);
	for (int i = 0; i < t->key_count && ok; i++)
	{
		struct json_value v = key_value(row, r, t->key[i]);
		char	kind = t->columns[t->key[i]].kind;

		if (t->key_count == 1)
			ok = render_text(&id, kind, v, scratch);
		else
		{
			buffer_reset(&part);
			ok = render_text(&part, kind, v, scratch) && !part.failed;
			buffer_putc(&id, i == 0 ? '[' : ',');
			if (ok)
				buffer_json_string(&id, part.data != NULL ? part.data : "", part.len);
		}
	}
	if (t->key_count > 1)
		buffer_putc(&id, ']');
	buffer_free(&part);
	if (ok)
		return buffer_take(&id, NULL);
	buffer_free(&id);
	return NULL;
}

/* Sets scope from the row; what cannot be told from it asks for a re-read. */
static void
read_scope(struct change *c, const struct row *row, struct buffer *scratch)
{
	int		index = c->table->scope_index;
	bool	is_own = index == c->table->column_count;
	struct json_value value;
	char	kind;
	struct buffer text;

	if (index < 0)
		return;
	kind = is_own ? 's' : c->table->columns[index].kind;
	value = is_own ? row->own_scope : row->values[index];
	if (json_type(value) == JSON_NULL && kind != 'f' && kind != 'd')
	{
		c->scope_is_null = true;
		return;
	}
	buffer_init(&text);
	if (kind != 'x' && render_text(&text, kind, value, scratch))
		c->scope = buffer_take(&text, NULL);
	else
		c->needs_reread = true;
	buffer_free(&text);
}

static void
put_name(struct buffer *out, const char *name)
{
	buffer_json_string(out, name, strlen(name));
	buffer_putc(out, ':');
}

static bool
put_data(struct buffer *out, const struct row *row, struct buffer *scratch)
{
	buffer_puts(out, ",\"data\":");
	for (int i = 0; i < row->table->column_count; i++)
	{
		const struct sync_column *column = &row->table->columns[i];

		buffer_putc(out, i == 0 ? '{' : ',');
		put_name(out, column->name);
		if (!render_json(out, column->kind, row->values[i], scratch))
			return false;
	}
	buffer_putc(out, '}');
	return true;
}

static bool
render_row(struct change *c, const struct record *r, const struct row *row, struct buffer *scratch)
{
	bool	is_new = row->stamp.version.len == 1 && row->stamp.version.raw[0] == '1';
	struct buffer out;

	buffer_init(&out);
	if (!buffer_reserve(&out, r->columns.len + 256))	/* the object is hardly ever longer than wal2json's own */
		return false;
	change_put_head(&out, c, is_new ? "create" : "update");
	if (!put_data(&out, row, scratch) || !change_put_tail(&out, c, &row->stamp, scratch))
	{
		c->needs_reread = !out.failed && !scratch->failed;
		buffer_free(&out);
		return c->needs_reread;
	}
	buffer_putc(&out, '}');
	return change_take_json(c, &out);
}

static bool
read_row(struct change *c, const struct record *r, const struct row *row, struct buffer *scratch)
{
	int		mark = c->table->deleted_at_index;

	if (!change_has_stamp(&row->stamp, &c->xid))
		return false;
	c->entity_id = render_key(row, r, scratch);
	if (c->entity_id == NULL)
		return false;
	read_scope(c, row, scratch);
	c->kind = CHANGE_ROW;
	if (mark >= 0 && row->values[mark].index >= 0 && json_type(row->values[mark]) != JSON_NULL)
	{
		c->kind = CHANGE_MARKED;
		c->needs_reread = false;
		return true;
	}
	c->needs_reread = c->needs_reread || row->has_unknown;
	return c->needs_reread || render_row(c, r, row, scratch);
}

bool
change_from_row(struct change *c, const struct record *r, const struct sync_table *t)
{
	struct row row;
	struct buffer scratch;
	bool	ok;

	*c = (struct change) {.table = t};
	buffer_init(&scratch);
	sort_columns(&row, r, t);
	ok = read_row(c, r, &row, &scratch);
	buffer_free(&scratch);
	if (!ok)
		change_free(c);
	return ok;
}

bool
change_set_json(struct change *c, struct json_value change_object)
{
	char   *json;

	if (json_type(change_object) != JSON_OBJECT)
		return false;
	json = strndup(change_object.raw, change_object.len);
	if (json == NULL || !change_set_scope(c, json_member(change_object, "scope")))
	{
		free(json);
		return false;
	}
	free(c->json);
	c->json = json;
	c->json_len = change_object.len;
	c->needs_reread = false;
	return true;
}

void
change_free(struct change *c)
{
	free(c->entity_id);
	free(c->scope);
	free(c->json);
	free(c->old_values);
	*c = (struct change) {0};
}
