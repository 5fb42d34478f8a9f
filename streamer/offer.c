/* offer.c - what becomes of a change for the bindings of a channel: which of them it meets, and the postgres_changes frames for these. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>
#include <string.h>

#include "bindings_parts.h"
#include "convert.h"
#include "memory.h"

#define CHANGE_VALUES_MAX 4000000
#define FRAMES_MAX(shapes) (2 * (shapes) + 1)	/* of one change: an event and a leaving for each shape, and the end */

/* One change, read as far as bindings look at it. */
struct reading
{
	const struct stream_change *change;
	const struct sync_table *table;
	int		event;
	struct json *doc;			/* owned; of change->json */
	struct json_value data;		/* absent in a deletion */
	struct buffer key_text;		/* owned: the key's columns and what else is known of the row before, in our rendering */
	struct json *key_doc;
	struct json_value known;	/* key_doc's */
	struct json *old_doc;		/* owned; of change->old, if it may be shown */
	struct json_value old;		/* absent: not known */
};

/* The text of one key column out of the entity id. */
static bool
key_part(const struct sync_table *t, const char *entity_id, int place, struct buffer *out)
{
	struct json *doc;
	struct json_value v;
	bool	is_good;

	if (t->key_count == 1)
	{
		buffer_puts(out, entity_id);
		return !out->failed;
	}
	doc = json_parse(entity_id, strlen(entity_id), 1000);
	v = json_first(json_root(doc));
	for (int i = 0; i < place; i++)
		v = json_next(v);
	is_good = json_unescape(v, out);
	json_free(doc);
	return is_good;
}

static bool
is_bare(char kind, const char *text, size_t len)
{
	return kind == 'b' || ((kind == 'n' || kind == 'f') && json_is_number(text, len));
}

/* The values that tombstones keep for policies are PostgreSQL's texts; booleans and bytes look otherwise in our rendering. */
static void
put_kept_value(struct buffer *out, const struct sync_column *column, struct json_value v)
{
	if (json_type(v) == JSON_STRING && column->kind == 'b')
		buffer_puts(out, v.raw[1] == 't' ? "true" : "false");
	else
		buffer_put(out, v.raw, v.len);
}

static void
put_kept(struct buffer *out, const struct sync_table *t, const char *old_values)
{
	struct json *doc = old_values != NULL ? json_parse(old_values, strlen(old_values), CHANGE_VALUES_MAX) : NULL;

	for (int i = 0; doc != NULL && i < t->column_count; i++)
	{
		struct json_value v = json_member(json_root(doc), t->columns[i].name);

		if (json_type(v) == JSON_ABSENT || t->columns[i].kind == 'y' || t->columns[i].is_key)
			continue;
		buffer_puts(out, ",");
		buffer_json_string(out, t->columns[i].name, strlen(t->columns[i].name));
		buffer_putc(out, ':');
		put_kept_value(out, &t->columns[i], v);
	}
	json_free(doc);
}

static void
put_known(struct buffer *out, const struct stream_change *c, const struct sync_table *t)
{
	struct buffer part;

	buffer_init(&part);
	buffer_putc(out, '{');
	for (int i = 0; i < t->key_count; i++)
	{
		const struct sync_column *column = &t->columns[t->key[i]];

		buffer_reset(&part);
		buffer_puts(out, i > 0 ? "," : "");
		buffer_json_string(out, column->name, strlen(column->name));
		buffer_putc(out, ':');
		if (!key_part(t, c->entity_id, i, &part))
			buffer_puts(out, "null");
		else if (is_bare(column->kind, part.data, part.len))
			buffer_put(out, part.data, part.len);
		else
			buffer_json_string(out, part.data != NULL ? part.data : "", part.len);
	}
	put_kept(out, t, c->old_values);
	buffer_putc(out, '}');
	buffer_free(&part);
}

/* A row of version 1 is new; so is one that nobody can say a changed column of: an insert by SQL that brought a deleted key back. */
static int
event_of(const struct stream_change *c, struct json_value change)
{
	if (c->kind == CHANGE_TOMBSTONE)
		return EVENT_DELETE;
	if (json_equals(json_member(change, "operation"), "create"))
		return EVENT_INSERT;
	return c->changed == NULL && c->old == NULL ? EVENT_INSERT : EVENT_UPDATE;
}

/* The update brought a soft-deleted row back: its user was told that it is gone, and what it was meanwhile is nobody's to see. */
static bool
was_marked(const struct reading *r)
{
	const struct sync_table *t = r->table;
	int		mark = t->deleted_at_index;
	enum json_type type;

	if (mark < 0 || r->event == EVENT_DELETE)
		return false;
	if (r->change->changed != NULL && column_set_has(r->change->changed, mark))
		return true;
	type = json_type(json_member(r->old, t->columns[mark].name));
	return type != JSON_ABSENT && type != JSON_NULL;
}

/* Of a deletion that reached its user, as it was judged by the row that went. Of an update the row before may have been another's: of another scope, or
 * hidden by policies. */
static bool
may_show_old(const struct reading *r, bool is_judged)
{
	const struct sync_table *t = r->table;
	struct json_value before;
	struct json_value now;

	if (r->event == EVENT_DELETE || t->scope == NULL)
		return r->event == EVENT_DELETE || !is_judged;
	if (is_judged || t->scope_index >= t->column_count)
		return false;
	before = json_member(r->old, t->columns[t->scope_index].name);
	now = json_member(r->data, t->columns[t->scope_index].name);
	return before.index >= 0 && before.len == now.len && memcmp(before.raw, now.raw, now.len) == 0;
}

static bool
read_change(struct reading *r, const struct stream_change *c, const struct sync_table *t, bool is_judged)
{
	*r = (struct reading) {.change = c, .table = t};
	buffer_init(&r->key_text);
	r->doc = json_parse(c->json, c->json_len, CHANGE_VALUES_MAX);
	if (r->doc == NULL)
		return false;
	r->event = event_of(c, json_root(r->doc));
	r->data = json_member(json_root(r->doc), "data");
	put_known(&r->key_text, c, t);
	r->key_doc = r->key_text.failed ? NULL : json_parse(r->key_text.data, r->key_text.len, CHANGE_VALUES_MAX);
	r->known = json_root(r->key_doc);
	if (c->old != NULL)
		r->old_doc = json_parse(c->old, strlen(c->old), CHANGE_VALUES_MAX);
	r->old = json_root(r->old_doc);
	if (was_marked(r))
		r->event = EVENT_INSERT;
	if (r->event == EVENT_INSERT || !may_show_old(r, is_judged))
		r->old.index = -1;
	return r->key_doc != NULL;
}

static void
free_reading(struct reading *r)
{
	json_free(r->doc);
	json_free(r->key_doc);
	json_free(r->old_doc);
	buffer_free(&r->key_text);
}

/* Did this update touch what the filter looks at? */
static bool
touches(const struct reading *r, const struct filter *f)
{
	for (int i = 0; i < filter_count(f); i++)
		for (int j = 0; j < r->table->column_count; j++)
			if (strcmp(r->table->columns[j].name, filter_column(f, i)) == 0 && column_set_has(r->change->changed, j))
				return true;
	return false;
}

/* The event that a binding is told of, 0 for none. A row that an update takes out of the filter is gone for whoever filters. */
static int
meets(const struct reading *r, const struct bound *b)
{
	if (r->event == EVENT_DELETE)
		return (b->events & EVENT_DELETE) != 0 && filter_eval(b->filter, r->old.index >= 0 ? r->old : r->known) != FILTER_NO ? EVENT_DELETE : 0;
	if (filter_eval(b->filter, r->data) != FILTER_NO)
		return b->events & r->event;
	if (r->event == EVENT_INSERT || (b->events & EVENT_DELETE) == 0)
		return 0;
	if (r->old.index >= 0 && filter_eval(b->filter, r->old) == FILTER_NO)
		return 0;
	return r->change->changed != NULL && touches(r, b->filter) ? EVENT_DELETE : 0;
}

static bool
shows(const struct shape *s, int column)
{
	return s->columns == NULL || column_set_has(s->columns, column);
}

/* Columns that the row's rendering does not have are not for this user. */
static void
put_columns(struct buffer *out, const struct reading *r, const struct shape *s, struct json_value row)
{
	const char *separator = "";

	buffer_puts(out, ",\"columns\":[");
	for (int i = 0; i < r->table->column_count; i++)
	{
		const struct sync_column *column = &r->table->columns[i];
		const char *type = convert_type(column, s->keeps_int8);

		if (!shows(s, i) || (!column->is_key && json_type(json_member(row, column->name)) == JSON_ABSENT))
			continue;
		buffer_puts(out, separator);
		buffer_puts(out, "{\"name\":");
		buffer_json_string(out, column->name, strlen(column->name));
		buffer_puts(out, ",\"type\":");
		buffer_json_string(out, type, strlen(type));
		buffer_putc(out, '}');
		separator = ",";
	}
	buffer_putc(out, ']');
}

static void
put_row(struct buffer *out, const struct reading *r, const struct shape *s, struct json_value row, bool only_key)
{
	const char *separator = "";

	buffer_putc(out, '{');
	for (int i = 0; i < r->table->column_count; i++)
	{
		const struct sync_column *column = &r->table->columns[i];
		struct json_value v = json_member(row, column->name);

		if (!shows(s, i) || json_type(v) == JSON_ABSENT || (only_key && !column->is_key))
			continue;
		buffer_puts(out, separator);
		buffer_json_string(out, column->name, strlen(column->name));
		buffer_putc(out, ':');
		convert_value(out, column, v, s->keeps_int8);
		separator = ",";
	}
	buffer_putc(out, '}');
}

/* UTC with milliseconds. Ours has as many digits as there are. */
static void
put_time(struct buffer *out, struct json_value at)
{
	const char *point = json_type(at) == JSON_STRING ? memchr(at.raw, '.', at.len) : NULL;
	size_t	digits = 0;

	if (json_type(at) != JSON_STRING || at.raw[at.len - 2] != 'Z')
	{
		buffer_puts(out, "null");
		return;
	}
	buffer_put(out, at.raw, (size_t) ((point != NULL ? point : at.raw + at.len - 2) - at.raw));
	buffer_putc(out, '.');
	for (; digits < 3 && point != NULL && point[1 + digits] >= '0' && point[1 + digits] <= '9'; digits++)
		buffer_putc(out, point[1 + digits]);
	buffer_puts(out, digits == 0 ? "000Z\"" : digits == 1 ? "00Z\"" : digits == 2 ? "0Z\"" : "Z\"");
}

static void
put_data(struct buffer *out, const struct reading *r, const struct shape *s, int event)
{
	struct json_value row = r->event == EVENT_DELETE ? (r->old.index >= 0 ? r->old : r->known) : r->data;
	bool	is_leaving = event == EVENT_DELETE && r->event != EVENT_DELETE;

	buffer_puts(out, "{\"schema\":");
	buffer_json_string(out, r->table->schema, strlen(r->table->schema));
	buffer_puts(out, ",\"table\":");
	buffer_json_string(out, r->table->table, strlen(r->table->table));
	buffer_puts(out, ",\"commit_timestamp\":");
	put_time(out, json_member(json_root(r->doc), "timestamp"));
	buffer_printf(out, ",\"type\":\"%s\"", event == EVENT_INSERT ? "INSERT" : event == EVENT_UPDATE ? "UPDATE" : "DELETE");
	put_columns(out, r, s, row);
	if (event != EVENT_DELETE)
	{
		buffer_puts(out, ",\"record\":");
		put_row(out, r, s, r->data, false);
	}
	if (event != EVENT_INSERT)
	{
		buffer_puts(out, ",\"old_record\":");
		put_row(out, r, s, r->old.index >= 0 && !is_leaving ? r->old : r->known, r->old.index < 0 || is_leaving);
	}
	buffer_puts(out, ",\"errors\":null}");
}

/* The frame for those bindings of one shape that the change means this event to; NULL: none. */
static struct frame *
make_frame(const struct bindings *b, const struct wanted_table *w, const struct reading *r, const int *events, size_t shape, int event)
{
	struct buffer payload;
	struct buffer text;
	struct frame *f = NULL;
	const char *separator = "{\"ids\":[";

	buffer_init(&payload);
	for (size_t i = 0; i < w->bound_count; i++)
		if (w->bounds[i].shape == shape && events[i] == event)
		{
			buffer_printf(&payload, "%s%u", separator, w->bounds[i].id);
			separator = ",";
		}
	if (payload.len > 0)
	{
		buffer_init(&text);
		buffer_puts(&payload, "],\"data\":");
		put_data(&payload, r, &w->shapes[shape], event);
		buffer_putc(&payload, '}');
		memory_require(payload.failed ? NULL : payload.data);
		message_put(&text, b->format, NULL, NULL, b->topic, "postgres_changes", payload.data, payload.len);
		memory_require(text.failed ? NULL : text.data);
		f = frame_text(text.data, text.len);
		buffer_free(&text);
	}
	buffer_free(&payload);
	return f;
}

static void
make_frames(const struct bindings *b, const struct wanted_table *w, const struct reading *r, struct frame **frames)
{
	static const int kinds[] = {EVENT_INSERT, EVENT_UPDATE, EVENT_DELETE};
	int	   *events = memory_new(w->bound_count * sizeof(*events));
	int		any = 0;
	size_t	n = 0;

	for (size_t i = 0; i < w->bound_count; i++)
		any |= events[i] = meets(r, &w->bounds[i]);
	for (size_t shape = 0; any != 0 && shape < w->shape_count; shape++)
		for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
			if ((any & kinds[k]) != 0 && (frames[n] = make_frame(b, w, r, events, shape, kinds[k])) != NULL)
				n++;
	free(events);
}

static void
free_frames(void *value)
{
	struct frame **frames = value;

	for (size_t i = 0; frames[i] != NULL; i++)
		frame_release(frames[i]);
	free(frames);
}

struct frame *const *
bindings_frames(const struct bindings *b, struct batches *turn, const struct sync_tables *known, const struct stream_change *c)
{
	static struct frame *const none[] = {NULL};
	struct
	{
		const struct bindings *bindings;
		const struct stream_change *change;
	}		key = {b, c};
	const struct wanted_table *w = NULL;
	const struct sync_table *t = tables_by_id(known, c->table_id);
	struct frame **frames = batches_find(turn, &key, sizeof(key));
	struct reading r;

	if (frames != NULL)
		return frames;
	for (size_t i = 0; i < b->table_count && w == NULL; i++)
		if (b->tables[i].id == c->table_id)
			w = &b->tables[i];
	if (w == NULL || t == NULL)
		return none;
	frames = memory_new(FRAMES_MAX(w->shape_count) * sizeof(*frames));
	if (read_change(&r, c, t, w->is_judged))
		make_frames(b, w, &r, frames);
	free_reading(&r);
	batches_keep(turn, &key, sizeof(key), frames, free_frames);
	return frames;
}
