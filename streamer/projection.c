/* projection.c - changes for those who get less of a row: only some columns, or only what was changed. Rendered once for each such set. */
/* SPDX-License-Identifier: PostgreSQL */
#include "projection.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "memory.h"

void
projections_init(struct projections *all)
{
	map_init(&all->map);
}

void
projections_free(struct projections *all)
{
	map_free(&all->map);
}

static void
read_columns(struct projection *p, struct json_value columns)
{
	for (struct json_value v = json_first(columns); json_type(v) != JSON_ABSENT; v = json_next(v))
	{
		char   *name = json_strdup(v);

		if (name == NULL)
			continue;
		p->columns = memory_grow(p->columns, p->column_count + 1, sizeof(*p->columns));
		p->columns[p->column_count++] = name;
	}
}

struct projection *
projection_get(struct projections *all, int32_t table_id, struct json_value columns)
{
	struct buffer key;
	struct projection *p;

	buffer_init(&key);
	buffer_put(&key, &table_id, sizeof(table_id));
	buffer_put(&key, columns.raw, columns.len);
	memory_require(key.failed ? NULL : key.data);
	p = map_get(&all->map, key.data, key.len);
	if (p == NULL)
	{
		p = memory_new(sizeof(*p));
		p->serial = ++all->last_serial;
		read_columns(p, columns);
		p->key = buffer_take(&key, &p->key_len);
		map_put(&all->map, p->key, p->key_len, p);
	}
	buffer_free(&key);
	p->refs++;
	return p;
}

void
projection_release(struct projections *all, struct projection *p)
{
	if (p == NULL || --p->refs > 0)
		return;
	map_remove(&all->map, p->key, p->key_len);
	for (size_t i = 0; i < p->column_count; i++)
		free(p->columns[i]);
	free(p->columns);
	free(p->key);
	free(p);
}

/* What is to be rendered, and of which members of `data`. */
struct rendering
{
	const struct projection *projection;
	const struct stream_change *change;
	const struct sync_table *table;		/* NULL: all columns, changed or not */
};

static bool
is_readable(const struct projection *p, struct json_value name)
{
	if (p == NULL)
		return true;
	for (size_t i = 0; i < p->column_count; i++)
		if (json_equals(name, p->columns[i]))
			return true;
	return false;
}

static bool
is_key(const struct sync_table *t, struct json_value name)
{
	for (int i = 0; i < t->key_count; i++)
		if (json_equals(name, t->columns[t->key[i]].name))
			return true;
	return false;
}

static void
put_comma(struct buffer *out)
{
	if (out->len > 0 && out->data[out->len - 1] != '{' && out->data[out->len - 1] != '[')
		buffer_putc(out, ',');
}

static void
put_member(struct buffer *out, struct json_value name)
{
	struct json_value value = json_member_value(name);

	put_comma(out);
	buffer_put(out, name.raw, name.len);
	buffer_putc(out, ':');
	buffer_put(out, value.raw, value.len);
}

static bool
is_changed(const struct rendering *r, int index)
{
	return r->table == NULL || index >= r->change->column_count || column_set_has(r->change->changed, index);
}

/* `data` has all of the table's columns, in their order. */
static void
put_data(struct buffer *out, const struct rendering *r, struct json_value data)
{
	int		index = 0;

	put_comma(out);
	buffer_puts(out, "\"data\":{");
	for (struct json_value name = json_first(data); json_type(name) != JSON_ABSENT; name = json_next(name), index++)
		if (is_readable(r->projection, name) && (is_changed(r, index) || is_key(r->table, name)))
			put_member(out, name);
	buffer_putc(out, '}');
}

static void
put_fields(struct buffer *out, const struct rendering *r, struct json_value data)
{
	int		index = 0;

	buffer_puts(out, ",\"fields\":[");
	for (struct json_value name = json_first(data); json_type(name) != JSON_ABSENT; name = json_next(name), index++)
		if (is_readable(r->projection, name) && is_changed(r, index))
		{
			put_comma(out);
			buffer_put(out, name.raw, name.len);
		}
	buffer_putc(out, ']');
}

/* The row as it was, as far as that is told; without the columns that may not be read. */
static char *
render_old(const struct projection *p, const char *old)
{
	struct json *doc = json_parse(old, strlen(old), INT_MAX);
	struct buffer out;
	char   *json;

	memory_require(doc);
	buffer_init(&out);
	buffer_putc(&out, '{');
	for (struct json_value name = json_first(json_root(doc)); json_type(name) != JSON_ABSENT; name = json_next(name))
		if (is_readable(p, name))
			put_member(&out, name);
	buffer_putc(&out, '}');
	json = buffer_take(&out, NULL);
	memory_require(json);
	json_free(doc);
	return json;
}

static char *
render(const struct rendering *r, size_t *len)
{
	struct json *doc = json_parse(r->change->json, r->change->json_len, INT_MAX);
	struct buffer out;
	char   *json;

	memory_require(doc);
	buffer_init(&out);
	buffer_putc(&out, '{');
	for (struct json_value name = json_first(json_root(doc)); json_type(name) != JSON_ABSENT; name = json_next(name))
	{
		struct json_value value = json_member_value(name);

		if (!json_equals(name, "data") || json_type(value) != JSON_OBJECT)
		{
			put_member(&out, name);
			continue;
		}
		put_data(&out, r, value);
		if (r->table != NULL)
			put_fields(&out, r, value);
	}
	buffer_putc(&out, '}');
	json = buffer_take(&out, len);
	memory_require(json);
	json_free(doc);
	return json;
}

/* A row with another key is a new one to its clients. */
static bool
has_new_key(const struct stream_change *c, const struct sync_table *t)
{
	for (int i = 0; i < t->key_count; i++)
		if (column_set_has(c->changed, t->key[i]))
			return true;
	return false;
}

/* Whoever gets it has had the row as it was before: it is not new, came from no other scope, key or hands, was not marked, and is one version ahead. */
static bool
is_exact(const struct stream_change *c, const struct sync_table *t)
{
	if (t == NULL || c->kind != CHANGE_ROW || c->changed == NULL || c->has_left || c->is_repeated || t->column_count != c->column_count || has_new_key(c, t))
		return false;
	return t->deleted_at_index < 0 || !column_set_has(c->changed, t->deleted_at_index);
}

const struct stream_change *
projection_of(struct stream_change *c, const struct projection *p, bool only_changed, const struct sync_tables *tables)
{
	const struct sync_table *t = only_changed ? tables_by_id(tables, c->table_id) : NULL;
	struct rendering r = {.projection = p, .change = c, .table = is_exact(c, t) ? t : NULL};
	struct stream_change *less;

	if ((p == NULL && r.table == NULL) || (c->kind != CHANGE_ROW && c->old == NULL))
		return c;
	for (less = c->projected; less != NULL; less = less->projected)
		if (less->projection == (p != NULL ? p->serial : 0) && less->is_partial == (r.table != NULL))
			return less;
	less = memory_new(sizeof(*less));
	*less = *c;		/* borrows all but the JSON */
	less->projection = p != NULL ? p->serial : 0;
	less->is_partial = r.table != NULL;
	less->json = render(&r, &less->json_len);
	if (p != NULL && c->old != NULL)
		less->old = render_old(p, c->old);
	c->projected = less;
	return less;
}
