/* tables_fuzz.c - any list of tables: whatever is taken is found again by its name and its id, and all its indexes are within it. */
/* SPDX-License-Identifier: PostgreSQL */
#include "fuzz.h"
#include "clock.h"
#include "tables.h"

static void
look_at(const struct sync_tables *all, int i)
{
	const struct sync_table *t = &all->tables[i];
	const struct sync_table *found;

	REQUIRE(tables_by_id(all, t->id) == t && (i == 0 || all->tables[i - 1].id < t->id));
	REQUIRE(tables_find(all, t->schema, t->table, &found) == TABLE_SYNCED && found == t);
	REQUIRE(t->entity_type != NULL && t->key_count >= 1 && t->column_count >= 1);
	for (int k = 0; k < t->key_count; k++)
		REQUIRE(t->key[k] >= 0 && t->key[k] < t->column_count && t->columns[t->key[k]].is_key);
	REQUIRE(t->scope_index >= -1 && t->scope_index <= t->column_count && t->deleted_at_index >= -1 && t->deleted_at_index < t->column_count);
	for (int k = 0; k < t->column_count; k++)
		REQUIRE(strchr("nfsdbjytzx", t->columns[k].kind) != NULL && t->columns[k].name != NULL && t->columns[k].type != NULL && t->columns[k].base != NULL);
}

/* The list up to a NUL; what follows is a row's sync_clock. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = input_of(data, size);
	char   *text = input_text(&in);
	char   *clock = input_text(&in);
	struct sync_tables *all = text_is_utf8(text, strlen(text)) ? tables_parse(text, strlen(text)) : NULL;
	struct value v = {.kind = VALUE_TEXT, .text = clock, .len = strlen(clock)};

	for (int i = 0; all != NULL && i < all->count; i++)
	{
		look_at(all, i);
		free(clock_changed(&all->tables[i], v));
	}
	if (all != NULL)
		REQUIRE(tables_by_id(all, -1) == NULL || all->tables[0].id < 0);
	tables_free(all);
	free(text);
	free(clock);
	return 0;
}
