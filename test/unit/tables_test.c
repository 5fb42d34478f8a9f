/* tables_test.c - the list of tables is read whole or not at all, and found by name and id. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>

#include "buffer.h"
#include "check.h"
#include "tables.h"

#define HEAD "{\"system_id\":\"7\",\"timeline\":1,\"incarnation\":\"3\",\"message_key\":\"k\",\"tombstone\":{\"schema\":\"sync\",\"table\":\"tombstone\"}," \
	"\"registry\":[[\"sync\",\"synced_table\"],[\"sync\",\"scope\"]],\"tables\":["
#define NOTE "{\"id\":9,\"schema\":\"public\",\"table\":\"note\",\"entity_type\":\"note\",\"scope\":\"team\",\"scope_column\":\"team_id\",\"deleted_at\":\"gone\"," \
	"\"priority\":2,\"key\":[\"id\"],\"partitions\":[],\"columns\":[{\"name\":\"id\",\"kind\":\"n\"},{\"name\":\"team_id\",\"kind\":\"s\"},{\"name\":\"gone\",\"kind\":\"z\"}]}"
#define PARTED "{\"id\":5,\"schema\":\"public\",\"table\":\"log\",\"entity_type\":\"log\",\"scope\":\"team\",\"scope_column\":\"sync_scope\",\"deleted_at\":null," \
	"\"priority\":2,\"key\":[\"id\"],\"partitions\":[[\"public\",\"log_1\"],[\"old\",\"log_2\"]],\"columns\":[{\"name\":\"id\",\"kind\":\"n\"}]}"
#define PAIR "{\"id\":7,\"schema\":\"a\",\"table\":\"pair\",\"entity_type\":\"p\",\"scope\":null,\"scope_column\":null,\"deleted_at\":null," \
	"\"priority\":1,\"key\":[\"y\",\"x\"],\"partitions\":[],\"columns\":[{\"name\":\"x\",\"kind\":\"n\"},{\"name\":\"y\",\"kind\":\"s\"}]}"

static void
tables_are_found(void)
{
	static const char text[] = HEAD NOTE "," PAIR "]}";
	struct sync_tables *t = tables_parse(text, strlen(text));
	const struct sync_table *found;

	if (!CHECK(t != NULL))
		return;
	CHECK(t->count == 2 && t->timeline == 1 && t->tables[0].id == 7);
	CHECK_TEXT(t->system_id, "7");
	CHECK(tables_find(t, "public", "note", &found) == TABLE_SYNCED && found->id == 9);
	CHECK(found->scope_index == 1 && found->deleted_at_index == 2 && found->columns[0].is_key && !found->columns[1].is_key);
	CHECK(tables_find(t, "a", "pair", &found) == TABLE_SYNCED && found->key_count == 2 && found->key[0] == 1 && found->key[1] == 0);
	CHECK(found->scope == NULL && found->scope_index == -1 && found->deleted_at_index == -1);
	CHECK(tables_find(t, "sync", "tombstone", &found) == TABLE_TOMBSTONE && found == NULL);
	CHECK(tables_find(t, "sync", "scope", NULL) == TABLE_REGISTRY);
	CHECK(tables_find(t, "public", "pair", &found) == TABLE_OTHER && found == NULL);
	CHECK(tables_find(t, "", "", NULL) == TABLE_OTHER);
	CHECK(tables_by_id(t, 9) != NULL && tables_by_id(t, 9)->priority == 2 && tables_by_id(t, 8) == NULL);
	tables_free(t);
}

/* The WAL names partitions; a scope of a parent's is in a column that is not the user's. */
static void
partitions_are_their_table(void)
{
	static const char text[] = HEAD NOTE "," PARTED "]}";
	static const char twice[] = HEAD PARTED "," "{\"id\":6,\"schema\":\"public\",\"table\":\"log_1\",\"entity_type\":\"e\",\"scope\":null,\"scope_column\":null,"
		"\"deleted_at\":null,\"priority\":2,\"key\":[\"id\"],\"partitions\":[],\"columns\":[{\"name\":\"id\",\"kind\":\"n\"}]}]}";
	struct sync_tables *t = tables_parse(text, strlen(text));
	const struct sync_table *found;

	if (!CHECK(t != NULL))
		return;
	CHECK(tables_find(t, "public", "log_1", &found) == TABLE_SYNCED && found->id == 5);
	CHECK(tables_find(t, "old", "log_2", &found) == TABLE_SYNCED && found->id == 5);
	CHECK(tables_find(t, "public", "log", &found) == TABLE_SYNCED && found->scope_index == found->column_count);
	CHECK(tables_find(t, "public", "log_2", &found) == TABLE_OTHER);
	tables_free(t);
	CHECK(tables_parse(twice, strlen(twice)) == NULL);
}

/* Every cut of a good text, and every good text with one piece replaced, is refused or read, never half read. */
static void
malformed_is_refused(void)
{
	static const char *const swaps[][2] = {
		{"\"id\":9", "\"id\":7"}, {"\"id\":9", "\"id\":null"}, {"\"id\":9", "\"id\":99999999999"}, {"\"kind\":\"z\"", "\"kind\":\"q\""},
		{"\"kind\":\"z\"", "\"kind\":\"\""}, {"\"scope_column\":\"team_id\"", "\"scope_column\":\"nope\""}, {"\"deleted_at\":\"gone\"", "\"deleted_at\":\"x\""},
		{"\"key\":[\"id\"]", "\"key\":[]"}, {"\"key\":[\"id\"]", "\"key\":[\"no\"]"}, {"\"key\":[\"id\"]", "\"key\":[\"id\",\"id\"]"},
		{"\"key\":[\"id\"]", "\"key\":\"id\""}, {"\"scope\":\"team\"", "\"scope\":null"}, {"\"name\":\"gone\"", "\"name\":\"id\""},
		{"\"timeline\":1", "\"timeline\":-1"}, {"[\"sync\",\"scope\"]", "[\"sync\"]"}, {"[\"sync\",\"scope\"]", "[\"sync\",\"tombstone\"]"},
		{"\"schema\":\"public\"", "\"schema\":1"}, {"\"system_id\":\"7\"", "\"system_id\":7"}, {"\"registry\":", "\"registered\":"},
		{"\"table\":\"note\"", "\"table\":\"pair\",\"schema\":\"a\""},
	};
	static const char text[] = HEAD NOTE "," PAIR "]}";

	for (size_t len = 0; len < strlen(text); len++)
		if (tables_parse(text, len) != NULL)
			CHECK(false);
	for (size_t i = 0; i < sizeof(swaps) / sizeof(swaps[0]); i++)
	{
		const char *at = strstr(text, swaps[i][0]);
		struct buffer b;
		struct sync_tables *t;

		buffer_init(&b);
		buffer_put(&b, text, (size_t) (at - text));
		buffer_puts(&b, swaps[i][1]);
		buffer_puts(&b, at + strlen(swaps[i][0]));
		t = tables_parse(b.data, b.len);
		if (!CHECK(t == NULL))
			fprintf(stderr, "    %s\n", swaps[i][1]);
		tables_free(t);
		buffer_free(&b);
	}
}

static void
many_tables_are_found(void)
{
	struct buffer b;
	struct sync_tables *t;
	int		found = 0;

	buffer_init(&b);
	buffer_puts(&b, HEAD);
	for (int i = 0; i < 500; i++)
		buffer_printf(&b, "%s{\"id\":%d,\"schema\":\"s%d\",\"table\":\"t\",\"entity_type\":\"e\",\"scope\":null,\"scope_column\":null,\"deleted_at\":null,"
					  "\"priority\":1,\"key\":[\"id\"],\"partitions\":[],\"columns\":[{\"name\":\"id\",\"kind\":\"n\"}]}", i > 0 ? "," : "", 1000 - i, i);
	buffer_puts(&b, "]}");
	t = tables_parse(b.data, b.len);
	for (int i = 0; t != NULL && i < 500; i++)
	{
		const struct sync_table *table;
		char	schema[16];

		snprintf(schema, sizeof(schema), "s%d", i);
		found += tables_find(t, schema, "t", &table) == TABLE_SYNCED && table->id == 1000 - i;
	}
	CHECK(found == 500);
	tables_free(t);
	buffer_free(&b);
}

int
main(void)
{
	tables_are_found();
	partitions_are_their_table();
	malformed_is_refused();
	many_tables_are_found();
	return CHECK_END();
}
