/* gap_fuzz.c - any answer of sync.feed_changes: a unit that is taken is sealed, of known tables, with JSON that clients can read. */
/* SPDX-License-Identifier: PostgreSQL */
#include "fuzz.h"
#include "gap.h"

static const char feed_tables[] =
	"{\"system_id\":\"7\",\"timeline\":1,\"incarnation\":\"3\",\"message_key\":\"k\",\"tombstone\":{\"schema\":\"sync\",\"table\":\"tombstone\"},\"registry\":[],\"tables\":["
	"{\"id\":1,\"schema\":\"public\",\"table\":\"t\",\"entity_type\":\"t\",\"scope\":\"team\",\"scope_column\":\"s\",\"deleted_at\":null,\"priority\":2,"
	"\"key\":[\"n\"],\"partitions\":[],\"columns\":[{\"name\":\"n\",\"kind\":\"n\"},{\"name\":\"s\",\"kind\":\"s\"}]},"
	"{\"id\":2,\"schema\":\"public\",\"table\":\"u\",\"entity_type\":\"u\",\"scope\":null,\"scope_column\":null,\"deleted_at\":null,\"priority\":2,"
	"\"key\":[\"n\"],\"partitions\":[],\"columns\":[{\"name\":\"n\",\"kind\":\"n\"}]}]}";

static void
look_at(const struct transaction *t, const struct sync_tables *tables)
{
	REQUIRE(t->draft == NULL && t->bridged != NULL);
	for (size_t i = 0; i < t->count; i++)
	{
		const struct stream_change *c = &t->changes[i];

		REQUIRE(tables_by_id(tables, c->table_id) != NULL && c->entity_id != NULL && c->json != NULL && strlen(c->json) == c->json_len);
		REQUIRE(c->sibling == -1 || (c->sibling >= 0 && (size_t) c->sibling < t->count));
		json_free(require_json(c->json, c->json_len));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sync_tables *tables;
	struct input in = input_of(data, size);
	char   *text = input_text(&in);
	struct gap g;

	if (tables == NULL)
		tables = tables_parse(feed_tables, strlen(feed_tables));
	REQUIRE(tables != NULL);
	if (text_is_utf8(text, strlen(text)) && gap_read(&g, text, tables))
	{
		REQUIRE((g.unit != NULL) == (g.obstacle == NULL));
		if (g.unit != NULL)
			look_at(g.unit, tables);
		for (size_t i = 0; i < g.committed_count; i++)
			REQUIRE(gap_has_committed(&g, g.committed[i]));
		gap_free(&g);
	}
	free(text);
	return 0;
}
