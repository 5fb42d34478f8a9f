/* bindings.c - what a realtime: channel wants of the tables: its bindings of postgres_changes, met with what its user may read. */
/* SPDX-License-Identifier: PostgreSQL */
#include "bindings.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bindings_parts.h"
#include "map.h"
#include "memory.h"

#define LIST_VALUES_MAX 100000

static struct map pool;			/* key → struct bindings, of the whole process */

/* Equal ones get equal ids, in whatever channel, so that frames for many can be shared. 0 is none to the client. */
static uint32_t
binding_id(struct json_value binding)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < binding.len; i++)
		hash = (hash ^ (unsigned char) binding.raw[i]) * 16777619u;
	return (hash & 0x7ffffff) + 1;
}

void
bindings_echo(struct buffer *out, struct json_value list)
{
	static const char *const without[] = {"id", NULL};
	const char *separator = "";
	struct buffer id;

	buffer_init(&id);
	buffer_putc(out, '[');
	for (struct json_value v = json_first(list); json_type(list) == JSON_ARRAY && json_type(v) != JSON_ABSENT; v = json_next(v))
	{
		if (json_type(v) != JSON_OBJECT)
			continue;
		buffer_reset(&id);
		buffer_printf(&id, "\"id\":%u", binding_id(v));
		buffer_puts(out, separator);
		request_rewrite(out, v, without, id.data);
		separator = ",";
	}
	buffer_putc(out, ']');
	buffer_free(&id);
}

int
bindings_count(struct json_value list)
{
	int		count = 0;

	for (struct json_value v = json_first(list); json_type(list) == JSON_ARRAY && json_type(v) != JSON_ABSENT; v = json_next(v))
		count += json_type(v) == JSON_OBJECT;
	return count;
}

static bool
read_name(struct json_value v, const char *fallback, char name[NAME_SIZE])
{
	if (json_type(v) == JSON_ABSENT || json_type(v) == JSON_NULL)
		return snprintf(name, NAME_SIZE, "%s", fallback) >= 0;
	return json_string(v, name, NAME_SIZE);
}

/* Schema public if only a table is named, all of a schema's tables if only that is. */
static bool
read_wish(struct wish *w, struct json_value v)
{
	struct json_value schema = json_member(v, "schema");
	struct json_value table = json_member(v, "table");
	char	event[8];

	*w = (struct wish) {.id = binding_id(v), .filter = json_member(v, "filter"), .select = json_member(v, "select")};
	w->is_named = json_type(schema) == JSON_STRING || json_type(table) == JSON_STRING;
	w->keeps_int8 = json_equals(json_member(v, "int8"), "string");
	if (!json_string(json_member(v, "event"), event, sizeof(event)))
		event[0] = '\0';
	w->events = strcasecmp(event, "INSERT") == 0 ? EVENT_INSERT : strcasecmp(event, "UPDATE") == 0 ? EVENT_UPDATE : strcasecmp(event, "DELETE") == 0 ? EVENT_DELETE :
		EVENT_INSERT | EVENT_UPDATE | EVENT_DELETE;
	return read_name(schema, "public", w->schema) && read_name(table, "*", w->table);
}

static bool
covers(const struct wish *w, const struct sync_table *t)
{
	return (strcmp(w->schema, "*") == 0 ? strcmp(t->schema, "sync") != 0 : strcmp(w->schema, t->schema) == 0) &&
		(strcmp(w->table, "*") == 0 || strcmp(w->table, t->table) == 0);
}

/* The extension's own tables come only to those who name them. */
void
bindings_request(struct buffer *out, const char *list, const struct sync_tables *known)
{
	struct json *doc = json_parse(list, strlen(list), LIST_VALUES_MAX);
	struct wish w;

	buffer_puts(out, "{\"tables\":[\"*\"");
	for (struct json_value v = json_first(json_root(doc)); json_type(v) != JSON_ABSENT; v = json_next(v))
		for (int i = 0; known != NULL && i < known->count; i++)
			if (read_wish(&w, v) && strcmp(w.schema, "sync") == 0 && covers(&w, &known->tables[i]))
			{
				buffer_putc(out, ',');
				buffer_json_string(out, known->tables[i].entity_type, strlen(known->tables[i].entity_type));
			}
	buffer_puts(out, "]}");
	json_free(doc);
}

static void
add_problem(struct bindings *b, struct buffer *text)
{
	b->problems = memory_grow(b->problems, b->problem_count + 1, sizeof(*b->problems));
	b->problems[b->problem_count++] = memory_text(text->data, text->len);
	buffer_reset(text);
}

static void
put_parameters(struct buffer *out, const struct wish *w, const struct filter *f)
{
	static const char *const names[] = {[EVENT_INSERT] = "INSERT", [EVENT_UPDATE] = "UPDATE", [EVENT_DELETE] = "DELETE", [7] = "*"};

	buffer_printf(out, "[event: %s, schema: %s, table: %s, filters: ", names[w->events], w->schema, w->table);
	filter_describe(f, out);
	buffer_puts(out, ", select: ");
	if (json_type(w->select) == JSON_ABSENT)
		buffer_puts(out, "nil");
	else
		buffer_put(out, w->select.raw, w->select.len);
	buffer_putc(out, ']');
}

static struct wanted_table *
wanted_table(struct bindings *b, const struct sync_table *t)
{
	struct wanted_table *w;

	for (size_t i = 0; i < b->table_count; i++)
		if (b->tables[i].id == t->id)
			return &b->tables[i];
	b->tables = memory_grow(b->tables, b->table_count + 1, sizeof(*b->tables));
	w = &b->tables[b->table_count++];
	*w = (struct wanted_table) {.id = t->id};
	return w;
}

/* The columns that it may read; NULL: all. Owned by the caller. */
static uint8_t *
readable_columns(const struct sync_table *t, struct json_value names)
{
	uint8_t *set;

	if (json_type(names) != JSON_ARRAY)
		return NULL;
	set = memory_new(COLUMN_SET_BYTES(t->column_count));
	for (struct json_value v = json_first(names); json_type(v) != JSON_ABSENT; v = json_next(v))
		for (int i = 0; i < t->column_count; i++)
			if (json_equals(v, t->columns[i].name))
				set[i / 8] |= (uint8_t) (1 << i % 8);
	return set;
}

static bool
is_readable(void *set, int column)
{
	return set == NULL || column_set_has(set, column);
}

/* false: *problem says which column is none. */
static bool
read_select(const struct sync_table *t, struct json_value names, uint8_t *readable, uint8_t **set, struct buffer *problem)
{
	*set = memory_new(COLUMN_SET_BYTES(t->column_count));
	for (int i = 0; i < t->key_count; i++)
		(*set)[t->key[i] / 8] |= (uint8_t) (1 << t->key[i] % 8);
	for (struct json_value v = json_first(names); json_type(v) != JSON_ABSENT; v = json_next(v))
	{
		int		i = 0;

		while (i < t->column_count && !(json_equals(v, t->columns[i].name) && is_readable(readable, i)))
			i++;
		if (i == t->column_count)
		{
			buffer_puts(problem, "invalid column for select ");
			buffer_put(problem, v.raw, v.len);
			return false;
		}
		(*set)[i / 8] |= (uint8_t) (1 << i % 8);
	}
	return true;
}

static bool
same_set(const uint8_t *a, const uint8_t *b, int count)
{
	return a == NULL || b == NULL ? a == b : memcmp(a, b, COLUMN_SET_BYTES(count)) == 0;
}

/* Takes the set over. */
static size_t
shape_of(struct wanted_table *w, const struct sync_table *t, uint8_t *set, bool keeps_int8)
{
	for (size_t i = 0; i < w->shape_count; i++)
		if (w->shapes[i].keeps_int8 == keeps_int8 && same_set(w->shapes[i].columns, set, t->column_count))
		{
			free(set);
			return i;
		}
	w->shapes = memory_grow(w->shapes, w->shape_count + 1, sizeof(*w->shapes));
	w->shapes[w->shape_count] = (struct shape) {.columns = set, .keeps_int8 = keeps_int8};
	return w->shape_count++;
}

/* One binding meets one table that may be read. */
static bool
bind_table(struct bindings *b, const struct wish *w, const struct sync_table *t, struct json_value right, struct buffer *problem)
{
	char   *text = json_strdup(w->filter);
	struct filter *f = text != NULL ? filter_parse(text, strlen(text), problem) : NULL;
	uint8_t *readable = readable_columns(t, json_member(right, "columns"));
	uint8_t *set = NULL;
	bool	is_good = (f == NULL || filter_bind(f, t, is_readable, readable, problem)) &&
		(json_type(w->select) != JSON_ARRAY || read_select(t, w->select, readable, &set, problem));

	if (is_good && filter_has_pattern(f) && b->pattern_count++ == BINDINGS_PATTERNS_MAX)
	{
		buffer_printf(problem, "more than %d bindings with patterns", BINDINGS_PATTERNS_MAX);
		is_good = false;
	}
	if (is_good)
	{
		struct wanted_table *wanted = wanted_table(b, t);

		wanted->is_judged = json_bool(json_member(right, "policies"), false) || json_bool(json_member(right, "verify"), false);
		if (set == NULL && readable != NULL)
			is_good = read_select(t, json_member(right, "columns"), readable, &set, problem);
		wanted->bounds = memory_grow(wanted->bounds, wanted->bound_count + 1, sizeof(*wanted->bounds));
		wanted->bounds[wanted->bound_count] = (struct bound) {.id = w->id, .events = w->events, .filter = f};
		wanted->bounds[wanted->bound_count++].shape = shape_of(wanted, t, set, w->keeps_int8);
	}
	else
	{
		filter_free(f);
		free(set);
	}
	free(readable);
	free(text);
	return is_good;
}

/* What is wrong with a binding whatever the tables are; false: it is served no further. */
static bool
check_wish(const struct wish *w, struct buffer *problem)
{
	char   *text = json_strdup(w->filter);
	struct filter *f = text != NULL ? filter_parse(text, strlen(text), problem) : NULL;
	bool	has_wildcard = strcmp(w->schema, "*") == 0 || strcmp(w->table, "*") == 0;
	struct buffer reason = *problem;

	buffer_init(problem);
	if (f == NULL && reason.len > 0)
	{
		buffer_puts(problem, "Error parsing `filter` params: ");
		buffer_put(problem, reason.data, reason.len);
	}
	else if (!w->is_named)
	{
		buffer_puts(problem, "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to: ");
		put_parameters(problem, w, f);
	}
	else if (json_type(w->select) > JSON_NULL && (json_type(w->select) != JSON_ARRAY || has_wildcard))
		buffer_puts(problem, has_wildcard ? "Error parsing `select` params: select needs an explicit schema and table" : "Error parsing `select` params: select must be a list of columns");
	filter_free(f);
	free(text);
	buffer_free(&reason);
	return problem->len == 0;
}

static void
put_failure(struct buffer *out, const struct wish *w, const struct buffer *why)
{
	struct buffer none;
	char   *text = json_strdup(w->filter);
	struct filter *f;

	buffer_init(&none);
	f = text != NULL ? filter_parse(text, strlen(text), &none) : NULL;
	buffer_puts(out, "Unable to subscribe to changes with given parameters. ");
	buffer_puts(out, why->len > 0 ? "An exception happened so please check your connect parameters: " : "Please check Realtime is enabled for the given connect parameters: ");
	put_parameters(out, w, f);
	if (why->len > 0)
	{
		buffer_puts(out, ". Exception: ");
		buffer_put(out, why->data, why->len);
	}
	filter_free(f);
	free(text);
	buffer_free(&none);
}

/* Of several tables it is served for those that it fits. */
static void
bind_wish(struct bindings *b, const struct wish *w, struct json_value state, const struct sync_tables *known)
{
	struct buffer why;
	struct buffer text;
	bool	is_served = false;
	int64_t id;

	buffer_init(&why);
	buffer_init(&text);
	if (check_wish(w, &text))
	{
		for (struct json_value right = json_first(json_member(state, "tables")); json_type(right) != JSON_ABSENT; right = json_next(right))
		{
			const struct sync_table *t = json_int64(json_member(right, "id"), &id) ? tables_by_id(known, (int32_t) id) : NULL;

			if (t == NULL || !covers(w, t))
				continue;
			buffer_reset(&why);
			is_served = bind_table(b, w, t, right, &why) || is_served;
		}
		if (!is_served)
			put_failure(&text, w, &why);
	}
	if (text.len > 0)
		add_problem(b, &text);
	buffer_free(&why);
	buffer_free(&text);
}

static void
resolve(struct bindings *b, const char *list, struct json_value state, const struct sync_tables *known)
{
	struct json *doc = json_parse(list, strlen(list), LIST_VALUES_MAX);
	struct wish w;
	int		count = 0;

	for (struct json_value v = json_first(json_root(doc)); json_type(v) != JSON_ABSENT; v = json_next(v))
	{
		if (json_type(v) != JSON_OBJECT)
			continue;
		if (count++ < BINDINGS_MAX && read_wish(&w, v))
			bind_wish(b, &w, state, known);
		else
		{
			struct buffer text;

			buffer_init(&text);
			buffer_printf(&text, count > BINDINGS_MAX ? "more than %d bindings" : "a name is too long", BINDINGS_MAX);
			add_problem(b, &text);
			buffer_free(&text);
			if (count > BINDINGS_MAX)
				break;
		}
	}
	json_free(doc);
}

/* Everything that resolve() and the frames depend on. false: a table of the state is not known. */
static bool
put_key(struct buffer *key, enum message_format format, const char *topic, const char *list, struct json_value state, const struct sync_tables *known)
{
	struct json_value tables = json_member(state, "tables");

	buffer_printf(key, "%d%s%s", (int) format, topic, list);
	for (struct json_value v = json_first(tables); json_type(v) != JSON_ABSENT; v = json_next(v))
	{
		int64_t id;
		const struct sync_table *t = json_int64(json_member(v, "id"), &id) ? tables_by_id(known, (int32_t) id) : NULL;

		if (t == NULL)
			return false;
		buffer_printf(key, "\n%d %s.%s", t->id, t->schema, t->table);
		for (int i = 0; i < t->column_count; i++)
			buffer_printf(key, " %s:%s:%s", t->columns[i].name, t->columns[i].type, t->columns[i].base);
		buffer_put(key, v.raw, v.len);
	}
	return true;
}

struct bindings *
bindings_get(enum message_format format, const char *topic, const char *list, struct json_value state, const struct sync_tables *known)
{
	struct bindings *b = NULL;
	struct buffer key;

	buffer_init(&key);
	if (put_key(&key, format, topic, list, state, known))
	{
		memory_require(key.failed ? NULL : key.data);
		b = map_get(&pool, key.data, key.len);
		if (b == NULL)
		{
			b = memory_new(sizeof(*b));
			b->key_len = key.len;
			b->key = memory_text(key.data, key.len);
			b->format = format;
			b->topic = memory_string(topic);
			resolve(b, list, state, known);
			map_put(&pool, b->key, b->key_len, b);
		}
		b->refs++;
	}
	buffer_free(&key);
	return b;
}

static void
free_table(struct wanted_table *t)
{
	for (size_t i = 0; i < t->bound_count; i++)
		filter_free(t->bounds[i].filter);
	for (size_t i = 0; i < t->shape_count; i++)
		free(t->shapes[i].columns);
	free(t->bounds);
	free(t->shapes);
}

void
bindings_release(struct bindings *b)
{
	if (b == NULL || --b->refs > 0)
		return;
	map_remove(&pool, b->key, b->key_len);
	if (pool.count == 0)
		map_free(&pool);
	for (size_t i = 0; i < b->table_count; i++)
		free_table(&b->tables[i]);
	for (size_t i = 0; i < b->problem_count; i++)
		free(b->problems[i]);
	free(b->tables);
	free(b->problems);
	free(b->topic);
	free(b->key);
	free(b);
}

size_t
bindings_problem_count(const struct bindings *b)
{
	return b->problem_count;
}

const char *
bindings_problem(const struct bindings *b, size_t i)
{
	return b->problems[i];
}

static bool
wants(const struct bindings *b, int64_t id)
{
	for (size_t i = 0; i < b->table_count; i++)
		if (b->tables[i].id == id)
			return true;
	return false;
}

static bool
wants_scope(const struct bindings *b, const struct sync_tables *known, struct json_value name)
{
	for (size_t i = 0; i < b->table_count; i++)
	{
		const struct sync_table *t = tables_by_id(known, b->tables[i].id);

		if (t != NULL && t->scope != NULL && json_equals(name, t->scope))
			return true;
	}
	return false;
}

void
bindings_state(const struct bindings *b, struct buffer *out, struct json_value state, const struct sync_tables *known)
{
	const char *separator = "";
	int64_t id;

	buffer_puts(out, "{\"tables\":[");
	for (struct json_value v = json_first(json_member(state, "tables")); json_type(v) != JSON_ABSENT; v = json_next(v))
		if (json_int64(json_member(v, "id"), &id) && wants(b, id))
		{
			buffer_puts(out, separator);
			buffer_put(out, v.raw, v.len);
			separator = ",";
		}
	buffer_puts(out, "],\"scopes\":{");
	separator = "";
	for (struct json_value name = json_first(json_member(state, "scopes")); json_type(name) != JSON_ABSENT; name = json_next(name))
		if (wants_scope(b, known, name))
		{
			struct json_value values = json_member_value(name);

			buffer_puts(out, separator);
			buffer_put(out, name.raw, name.len);
			buffer_putc(out, ':');
			buffer_put(out, values.raw, values.len);
			separator = ",";
		}
	buffer_puts(out, "}}");
}
