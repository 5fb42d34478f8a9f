/* change_fuzz.c - any line: what is rendered must be valid JSON with the members that clients rely on. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>
#include <string.h>

#include "change.h"

int		LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* every kind once, keys of two columns, scope and mark */
static const char feed_tables[] =
	"{\"system_id\":\"7\",\"timeline\":1,\"incarnation\":\"3\",\"message_key\":\"k\",\"tombstone\":{\"schema\":\"sync\",\"table\":\"tombstone\"},\"registry\":[],\"watch\":[],\"tables\":["
	"{\"id\":1,\"schema\":\"public\",\"table\":\"t\",\"entity_type\":\"t\",\"scope\":\"team\",\"scope_column\":\"s\",\"deleted_at\":\"g\",\"priority\":2,"
	"\"key\":[\"s\",\"n\"],\"partitions\":[],\"columns\":[{\"name\":\"n\",\"kind\":\"n\"},{\"name\":\"s\",\"kind\":\"s\"},{\"name\":\"d\",\"kind\":\"d\"},{\"name\":\"g\",\"kind\":\"z\"}]},"
	"{\"id\":2,\"schema\":\"public\",\"table\":\"u\",\"entity_type\":\"u\",\"scope\":null,\"scope_column\":null,\"deleted_at\":null,\"priority\":2,"
	"\"key\":[\"s\"],\"partitions\":[],\"columns\":[{\"name\":\"s\",\"kind\":\"s\"},{\"name\":\"f\",\"kind\":\"f\"},{\"name\":\"b\",\"kind\":\"b\"},{\"name\":\"j\",\"kind\":\"j\"},"
	"{\"name\":\"y\",\"kind\":\"y\"},{\"name\":\"t\",\"kind\":\"t\"},{\"name\":\"z\",\"kind\":\"z\"}]}]}";

static int
count_brackets(const char *text)
{
	int		count = 0;

	for (; *text != '\0'; text++)
		count += *text == '[' || *text == '{';
	return count;
}

static void
check(struct change *c)
{
	struct json *doc;

	if (c->entity_id == NULL || (c->json == NULL) != (c->needs_reread || c->kind == CHANGE_MARKED))
		abort();
	if (c->json != NULL)
	{
		doc = json_parse(c->json, c->json_len, 1000000);
		if (doc != NULL && !json_equals(json_member(json_root(doc), "entity_id"), c->entity_id) && strlen(c->entity_id) < 256)
			abort();
		/* only a json column that nests deeply may be too deep for the reader once two levels are around it */
		if (doc == NULL && count_brackets(c->json) < 64)
			abort();
		json_free(doc);
	}
	change_free(c);
}

static struct sync_tables *tables;

static void
take(void *owner, const struct record *r)
{
	struct change c;
	char   *entity_id;
	char   *old;

	(void) owner;
	for (int32_t id = 1; id <= 2; id++)
	{
		if (change_from_row(&c, r, tables_by_id(tables, id)))
			check(&c);
		if (change_read_deleted(r, tables_by_id(tables, id), &entity_id, &old))
		{
			free(entity_id);
			free(old);
		}
	}
	if (change_from_tombstone(&c, r, tables))
		check(&c);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct reader *reader;

	if (tables == NULL)
	{
		tables = tables_parse(feed_tables, strlen(feed_tables));
		reader = reader_new(PLUGIN_WAL2JSON);
	}
	if (tables == NULL || reader == NULL)
		abort();
	(void) reader_read(reader, (const char *) data, size, 7, take, NULL);
	return 0;
}
