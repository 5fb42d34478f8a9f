/* change.c - a row of a synced table, or a tombstone, becomes the change object that clients see. */
/* SPDX-License-Identifier: PostgreSQL */
#include "change.h"

#include <stdlib.h>
#include <string.h>

#include "change_parts.h"
#include "clock.h"
#include "memory.h"
#include "render.h"

#define CHANGE_ROW_MAX ((size_t) 8 << 20)	/* a larger row is read again: the database says that it is too large, as pull does */

static const struct value absent = {VALUE_ABSENT, "", 0};

/* A record's columns sorted into the table's: filled in one walk, as both come in attnum order. */
struct row
{
	const struct sync_table *table;
	int		expected;			/* the column that should come next */
	bool	has_unknown;		/* a column that the table did not have when its description was read */
	struct stamp stamp;
	struct value clock;
	struct value own_scope;		/* sync_scope, of a table that takes its scope from there */
	struct value values[TABLES_COLUMN_MAX];	/* only the first column_count are set */
};

/* From the expected place on, then from the start: a dropped or absent column costs one step once, not a search each time. */
static int
find_column(const struct row *row, const struct field *f)
{
	int		count = row->table->column_count;

	for (int i = 0; i < count; i++)
	{
		int		index = row->expected + i < count ? row->expected + i : row->expected + i - count;

		if (field_is(f, row->table->columns[index].name, row->table->columns[index].name_len))
			return index;
	}
	return -1;
}

/* Where one of our own columns goes; NULL: f is none of them. */
static struct value *
own_member(struct row *row, const struct field *f)
{
	const struct
	{
		const char *name;
		struct value *value;
	}		own[] = {
		{"version", &row->stamp.version}, {"xid", &row->stamp.xid}, {"at", &row->stamp.at}, {"by", &row->stamp.by},
		{"clock", &row->clock}, {"scope", &row->own_scope},
	};

	if (f->name_len < 7 || memcmp(f->name, "sync_", 5) != 0)
		return NULL;
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (f->name_len - 5 == strlen(own[i].name) && memcmp(f->name + 5, own[i].name, f->name_len - 5) == 0)
			return own[i].value;
	return NULL;
}

static void
sort_field(struct row *row, const struct field *f)
{
	const struct sync_table *t = row->table;
	struct value *own;
	int		index;

	/* The quick case first: a user's column may well be called sync_something. */
	if (row->expected < t->column_count && field_is(f, t->columns[row->expected].name, t->columns[row->expected].name_len))
	{
		row->values[row->expected++] = f->value;
		return;
	}
	own = own_member(row, f);
	if (own != NULL)
	{
		*own = f->value;
		return;
	}
	index = find_column(row, f);
	if (index < 0)
	{
		row->has_unknown = true;
		return;
	}
	row->values[index] = f->value;
	row->expected = index + 1;
}

static void
sort_fields(struct row *row, const struct sync_table *t, const struct field *fields, size_t count)
{
	row->table = t;
	row->expected = 0;
	row->has_unknown = false;
	row->stamp = (struct stamp) {absent, absent, absent, absent};
	row->clock = row->own_scope = absent;
	for (int i = 0; i < t->column_count; i++)
		row->values[i] = absent;
	for (size_t i = 0; i < count; i++)
		sort_field(row, &fields[i]);
}

/* An unchanged TOAST value is left out of an update's columns: the old row has it, or the old key. */
static void
fill_from_old(struct row *row, const struct record *r)
{
	for (int i = 0; i < row->table->column_count; i++)
		if (row->values[i].kind == VALUE_ABSENT)
			row->values[i] = record_value(r->identity, r->identity_count, row->table->columns[i].name);
}

static char *
render_key(const struct row *row, struct buffer *scratch)
{
	const struct sync_table *t = row->table;
	struct buffer id;
	struct buffer part;
	bool	ok = true;

	buffer_init(&id);
	buffer_init(&part);
	for (int i = 0; i < t->key_count && ok; i++)
	{
		struct value v = row->values[t->key[i]];
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
	struct value value;
	char	kind;
	struct buffer text;

	if (index < 0)
		return;
	kind = is_own ? 's' : c->table->columns[index].kind;
	value = is_own ? row->own_scope : row->values[index];
	if (value_is_null(value) && (value.kind == VALUE_NULL || (kind != 'f' && kind != 'd')))
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

/* About what they take as JSON, names included. */
static size_t
size_of_values(const struct row *row)
{
	size_t	size = 0;

	for (int i = 0; i < row->table->column_count; i++)
		size += row->values[i].len + row->table->columns[i].name_len + 8;
	return size;
}

static bool
render_row(struct change *c, const struct row *row, struct buffer *scratch)
{
	bool	is_new = row->stamp.version.len == 1 && row->stamp.version.text[0] == '1';
	struct buffer out;

	buffer_init(&out);
	if (!buffer_reserve(&out, size_of_values(row) + 256))
		return false;
	change_put_head(&out, c, is_new ? "create" : "update");
	if (!put_data(&out, row, scratch) || !change_put_tail(&out, c, &row->stamp, scratch) || out.len > CHANGE_ROW_MAX)
	{
		c->needs_reread = !out.failed && !scratch->failed;
		buffer_free(&out);
		return c->needs_reread;
	}
	buffer_putc(&out, '}');
	return change_take_json(c, &out);
}

static bool
read_row(struct change *c, const struct row *row, struct buffer *scratch)
{
	int		mark = c->table->deleted_at_index;

	if (!change_has_stamp(&row->stamp, &c->xid))
		return false;
	c->entity_id = render_key(row, scratch);
	if (c->entity_id == NULL)
		return false;
	read_scope(c, row, scratch);
	c->kind = CHANGE_ROW;
	if (mark >= 0 && row->values[mark].kind != VALUE_ABSENT && !value_is_null(row->values[mark]))
	{
		c->kind = CHANGE_MARKED;
		c->needs_reread = false;
		return true;
	}
	c->needs_reread = c->needs_reread || row->has_unknown || size_of_values(row) > CHANGE_ROW_MAX;
	return c->needs_reread || render_row(c, row, scratch);
}

/* The old row as an object of what it tells. NULL: over BUFFER_MAX. */
static char *
render_old(const struct row *row, struct buffer *scratch)
{
	struct buffer out;
	char	separator = '{';

	buffer_init(&out);
	(void) buffer_reserve(&out, size_of_values(row));
	for (int i = 0; i < row->table->column_count; i++)
	{
		const struct sync_column *column = &row->table->columns[i];
		struct value v = row->values[i];
		size_t	start = out.len;

		if (v.kind == VALUE_BLANK)
			v.kind = VALUE_NULL;
		buffer_putc(&out, separator);
		put_name(&out, column->name);
		if (render_json(&out, column->kind, v, scratch))
			separator = ',';
		else
			out.len = start;
	}
	if (separator == '{')
		buffer_putc(&out, '{');
	buffer_putc(&out, '}');
	return buffer_take(&out, NULL);
}

/* What an update's record says of how the row was before. */
static bool
compare_with_old(struct change *c, const struct record *r, const struct row *row, struct buffer *scratch)
{
	struct row old;

	c->changed = clock_changed(c->table, row->clock);
	if (!record_has_old_row(r))
		return true;
	sort_fields(&old, c->table, r->identity, r->identity_count);
	if (size_of_values(&old) > CHANGE_ROW_MAX)
		return true;
	c->old = render_old(&old, scratch);
	return c->old != NULL;
}

bool
change_from_row(struct change *c, const struct record *r, const struct sync_table *t)
{
	struct row row;
	struct buffer scratch;
	bool	ok;

	*c = (struct change) {.table = t, .is_new = r->action == RECORD_INSERT};
	buffer_init(&scratch);
	sort_fields(&row, t, r->columns, r->column_count);
	if (r->identity_count > 0)
		fill_from_old(&row, r);
	ok = read_row(c, &row, &scratch) && (r->action != RECORD_UPDATE || compare_with_old(c, r, &row, &scratch));
	buffer_free(&scratch);
	if (!ok)
		change_free(c);
	return ok;
}

bool
change_read_deleted(const struct record *r, const struct sync_table *t, char **entity_id, char **old)
{
	struct row row;
	struct buffer scratch;

	if (!record_has_old_row(r))
		return false;
	buffer_init(&scratch);
	sort_fields(&row, t, r->identity, r->identity_count);
	if (size_of_values(&row) > CHANGE_ROW_MAX)
		return false;
	*entity_id = render_key(&row, &scratch);
	*old = *entity_id != NULL ? render_old(&row, &scratch) : NULL;
	buffer_free(&scratch);
	if (*old == NULL)
		free(*entity_id);
	return *old != NULL;
}

static struct value
scope_of(struct json_value v)
{
	if (json_type(v) == JSON_NULL)
		return (struct value) {VALUE_NULL, "", 0};
	return json_type(v) == JSON_STRING ? (struct value) {VALUE_ESCAPED, v.raw + 1, v.len - 2} : absent;
}

bool
change_set_json(struct change *c, struct json_value change_object)
{
	char   *json;

	if (json_type(change_object) != JSON_OBJECT)
		return false;
	json = memory_text(change_object.raw, change_object.len);
	if (!change_set_scope(c, scope_of(json_member(change_object, "scope"))))
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
	free(c->changed);
	free(c->old);
	*c = (struct change) {0};
}
