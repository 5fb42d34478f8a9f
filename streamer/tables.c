/* tables.c - reads sync.feed_tables() into structs and hashes the names of all tables the stream must notice. */
/* SPDX-License-Identifier: PostgreSQL */
#include "tables.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "memory.h"

#define VALUES_MAX 4000000

struct table_name
{
	char   *schema;			/* owned; NULL: free place */
	char   *table;
	enum table_role role;
	int32_t id;				/* of a synced table */
};

/* Open addressing; never more than half full. */
struct table_names
{
	size_t	mask;
	struct table_name entries[];
};

/* FNV-1a over both names, with the NUL between them. */
static size_t
hash_names(const char *schema, const char *table)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	do
		hash = (hash ^ (unsigned char) *schema) * UINT64_C(0x100000001b3);
	while (*schema++ != '\0');
	for (; *table != '\0'; table++)
		hash = (hash ^ (unsigned char) *table) * UINT64_C(0x100000001b3);
	return (size_t) (hash ^ hash >> 32);
}

/* The entry of these names, or the free place where they belong. */
static struct table_name *
find_entry(struct table_names *names, const char *schema, const char *table)
{
	size_t	i = hash_names(schema, table) & names->mask;

	while (names->entries[i].schema != NULL &&
		   (strcmp(names->entries[i].table, table) != 0 || strcmp(names->entries[i].schema, schema) != 0))
		i = (i + 1) & names->mask;
	return &names->entries[i];
}

static bool
add_name(struct table_names *names, const char *schema, const char *table, enum table_role role, int32_t id)
{
	struct table_name *entry = find_entry(names, schema, table);

	if (entry->schema != NULL)
		return false;			/* the same table twice, or in two roles that exclude each other */
	*entry = (struct table_name) {memory_string(schema), memory_string(table), role, id};
	return true;
}

static struct table_names *
create_names(size_t count)
{
	size_t	size = 16;
	struct table_names *names;

	while (size < count * 2)
		size *= 2;
	names = memory_new(sizeof(struct table_names) + size * sizeof(struct table_name));
	names->mask = size - 1;
	return names;
}

static void
free_names(struct table_names *names)
{
	if (names == NULL)
		return;
	for (size_t i = 0; i <= names->mask; i++)
	{
		free(names->entries[i].schema);
		free(names->entries[i].table);
	}
	free(names);
}

static bool
read_text(struct json_value object, const char *name, char **out)
{
	*out = json_strdup(json_member(object, name));
	return *out != NULL;
}

static bool
read_text_or_null(struct json_value object, const char *name, char **out)
{
	return json_type(json_member(object, name)) == JSON_NULL || read_text(object, name, out);
}

static bool
read_int(struct json_value object, const char *name, int64_t least, int64_t most, int64_t *out)
{
	return json_int64(json_member(object, name), out) && *out >= least && *out <= most;
}

static int
find_column(const struct sync_table *t, const char *name)
{
	for (int i = 0; i < t->column_count; i++)
		if (strcmp(t->columns[i].name, name) == 0)
			return i;
	return -1;
}

static bool
read_type(struct sync_column *column, struct json_value v)
{
	int64_t hash = 0;

	column->name_len = strlen(column->name);
	if (json_type(json_member(v, "hash")) != JSON_ABSENT && !read_int(v, "hash", 0, UINT32_MAX, &hash))
		return false;
	column->name_hash = (uint32_t) hash;
	column->follows = json_bool(json_member(v, "follows"), false);
	column->type = json_type(json_member(v, "type")) == JSON_ABSENT ? memory_string("") : json_strdup(json_member(v, "type"));
	column->base = json_type(json_member(v, "base")) == JSON_ABSENT ? memory_string("") : json_strdup(json_member(v, "base"));
	return column->type != NULL && column->base != NULL;
}

static bool
read_columns(struct sync_table *t, struct json_value list)
{
	int		count = json_size(list);

	if (json_type(list) != JSON_ARRAY || count < 1 || count > TABLES_COLUMN_MAX)
		return false;
	t->columns = memory_new((size_t) count * sizeof(struct sync_column));
	for (struct json_value c = json_first(list); c.index >= 0; c = json_next(c))
	{
		struct sync_column *column = &t->columns[t->column_count];
		char	kind[2];

		if (!json_string(json_member(c, "kind"), kind, sizeof(kind)) || kind[0] == '\0' || strchr("nfsdbjytzx", kind[0]) == NULL)
			return false;
		if (!read_text(c, "name", &column->name) || find_column(t, column->name) >= 0 || !read_type(column, c))
		{
			free(column->name);
			free(column->type);
			free(column->base);
			return false;
		}
		column->kind = kind[0];
		t->column_count++;
	}
	return true;
}

static bool
read_key(struct sync_table *t, struct json_value list)
{
	int		count = json_size(list);

	if (json_type(list) != JSON_ARRAY || count < 1 || count > t->column_count)
		return false;
	t->key = memory_new((size_t) count * sizeof(int));
	for (struct json_value k = json_first(list); k.index >= 0; k = json_next(k))
	{
		char	name[256];
		int		index;

		if (!json_string(k, name, sizeof(name)))
			return false;
		index = find_column(t, name);
		if (index < 0 || t->columns[index].is_key)
			return false;
		t->columns[index].is_key = true;
		t->key[t->key_count++] = index;
	}
	return true;
}

static bool
read_table(struct sync_table *t, struct json_value v)
{
	int64_t id;
	int64_t priority;

	if (!read_int(v, "id", INT32_MIN, INT32_MAX, &id) || !read_int(v, "priority", INT_MIN, INT_MAX, &priority))
		return false;
	t->id = (int32_t) id;
	t->priority = (int) priority;
	if (!read_text(v, "schema", &t->schema) || !read_text(v, "table", &t->table) || !read_text(v, "entity_type", &t->entity_type))
		return false;
	if (!read_text_or_null(v, "scope", &t->scope) || !read_text_or_null(v, "scope_column", &t->scope_column) ||
		!read_text_or_null(v, "deleted_at", &t->deleted_at))
		return false;
	if (!read_columns(t, json_member(v, "columns")) || !read_key(t, json_member(v, "key")))
		return false;
	t->scope_index = t->scope_column == NULL ? -1 : strcmp(t->scope_column, "sync_scope") == 0 ? t->column_count : find_column(t, t->scope_column);
	t->deleted_at_index = t->deleted_at != NULL ? find_column(t, t->deleted_at) : -1;
	return (t->scope_column == NULL) == (t->scope_index < 0) && (t->scope == NULL) == (t->scope_column == NULL) &&
		(t->deleted_at == NULL) == (t->deleted_at_index < 0);
}

static int
compare_ids(const void *a, const void *b)
{
	int32_t left = ((const struct sync_table *) a)->id;
	int32_t right = ((const struct sync_table *) b)->id;

	return (left > right) - (left < right);
}

static bool read_pairs(struct sync_tables *t, struct json_value list, enum table_role role, int32_t id);

static bool
read_partitions(struct sync_tables *t, struct json_value list)
{
	for (struct json_value v = json_first(list); v.index >= 0; v = json_next(v))
	{
		int64_t id;

		if (!json_int64(json_member(v, "id"), &id) || !read_pairs(t, json_member(v, "partitions"), TABLE_SYNCED, (int32_t) id))
			return false;
	}
	return true;
}

static size_t
count_names(struct json_value tables)
{
	size_t	count = 0;

	for (struct json_value v = json_first(tables); v.index >= 0; v = json_next(v))
		count += 1 + (size_t) json_size(json_member(v, "partitions"));
	return count;
}

static bool
read_tables(struct sync_tables *t, struct json_value list)
{
	if (json_type(list) != JSON_ARRAY)
		return false;
	t->tables = memory_new(((size_t) json_size(list) + 1) * sizeof(struct sync_table));
	for (struct json_value v = json_first(list); v.index >= 0; v = json_next(v))
		if (!read_table(&t->tables[t->count++], v))
			return false;
	qsort(t->tables, (size_t) t->count, sizeof(struct sync_table), compare_ids);
	for (int i = 0; i < t->count; i++)
	{
		const struct sync_table *table = &t->tables[i];

		if ((i > 0 && table->id == table[-1].id) || !add_name(t->names, table->schema, table->table, TABLE_SYNCED, table->id))
			return false;
	}
	return read_partitions(t, list);
}

/* An array of [schema, table] pairs. */
static bool
read_pairs(struct sync_tables *t, struct json_value list, enum table_role role, int32_t id)
{
	if (json_type(list) != JSON_ARRAY)
		return false;
	for (struct json_value pair = json_first(list); pair.index >= 0; pair = json_next(pair))
	{
		struct json_value first = json_first(pair);
		char	schema[256];
		char	table[256];

		if (json_type(pair) != JSON_ARRAY || json_size(pair) != 2 || !json_string(first, schema, sizeof(schema)) ||
			!json_string(json_next(first), table, sizeof(table)) || !add_name(t->names, schema, table, role, id))
			return false;
	}
	return true;
}

static bool
read_tombstone(struct sync_tables *t, struct json_value v)
{
	char	schema[256];
	char	table[256];

	return json_string(json_member(v, "schema"), schema, sizeof(schema)) &&
		json_string(json_member(v, "table"), table, sizeof(table)) && add_name(t->names, schema, table, TABLE_TOMBSTONE, 0);
}

static bool
read_all(struct sync_tables *t, struct json_value v)
{
	struct json_value registry = json_member(v, "registry");
	struct json_value tables = json_member(v, "tables");
	int64_t timeline;

	t->names = create_names((size_t) json_size(registry) + count_names(tables) + 1);
	if (!read_int(v, "timeline", 0, UINT32_MAX, &timeline))
		return false;
	t->timeline = (uint32_t) timeline;
	if (json_type(json_member(v, "unpublished")) == JSON_STRING && !read_text(v, "unpublished", &t->unpublished))
		return false;
	return read_text(v, "system_id", &t->system_id) && read_text(v, "incarnation", &t->incarnation) && read_text(v, "message_key", &t->message_key) &&
		read_tombstone(t, json_member(v, "tombstone")) && read_pairs(t, registry, TABLE_REGISTRY, 0) &&
		read_tables(t, tables);
}

struct sync_tables *
tables_parse(const char *json, size_t len)
{
	struct json *doc = json_parse(json, len, VALUES_MAX);
	struct sync_tables *t = doc != NULL ? memory_new(sizeof(struct sync_tables)) : NULL;

	if (t != NULL && !read_all(t, json_root(doc)))
	{
		tables_free(t);
		t = NULL;
	}
	json_free(doc);
	return t;
}

static void
free_table(struct sync_table *t)
{
	for (int i = 0; i < t->column_count; i++)
	{
		free(t->columns[i].name);
		free(t->columns[i].type);
		free(t->columns[i].base);
	}
	free(t->columns);
	free(t->key);
	free(t->schema);
	free(t->table);
	free(t->entity_type);
	free(t->scope);
	free(t->scope_column);
	free(t->deleted_at);
}

void
tables_free(struct sync_tables *t)
{
	if (t == NULL)
		return;
	for (int i = 0; i < t->count; i++)
		free_table(&t->tables[i]);
	free(t->tables);
	free(t->system_id);
	free(t->incarnation);
	free(t->message_key);
	free(t->unpublished);
	free_names(t->names);
	free(t);
}

enum table_role
tables_find(const struct sync_tables *t, const char *schema, const char *table, const struct sync_table **found)
{
	const struct table_name *entry = find_entry(t->names, schema, table);
	bool	is_synced = entry->schema != NULL && entry->role == TABLE_SYNCED;

	if (found != NULL)
		*found = is_synced ? tables_by_id(t, entry->id) : NULL;
	return entry->schema != NULL ? entry->role : TABLE_OTHER;
}

const struct sync_table *
tables_by_id(const struct sync_tables *t, int32_t id)
{
	struct sync_table wanted = {.id = id};

	return bsearch(&wanted, t->tables, (size_t) t->count, sizeof(struct sync_table), compare_ids);
}
