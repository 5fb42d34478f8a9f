/* change_bench.c - how many lines a second become change objects, on one core: run by `make bench-change`. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "change.h"

#define LINES 1000000

static const char feed_tables[] =
	"{\"system_id\":\"7\",\"timeline\":1,\"incarnation\":\"3\",\"message_key\":\"k\",\"tombstone\":{\"schema\":\"sync\",\"table\":\"tombstone\"},\"registry\":[],\"watch\":[],\"tables\":["
	"{\"id\":1,\"schema\":\"public\",\"table\":\"note\",\"entity_type\":\"note\",\"scope\":\"team\",\"scope_column\":\"team_id\",\"deleted_at\":null,\"priority\":2,"
	"\"key\":[\"id\"],\"partitions\":[],\"columns\":[{\"name\":\"id\",\"kind\":\"s\"},{\"name\":\"team_id\",\"kind\":\"n\"},{\"name\":\"title\",\"kind\":\"s\"},{\"name\":\"body\",\"kind\":\"j\"}]}]}";

/* four columns of the user's and five of ours */
static const char line[] =
	"{\"action\":\"I\",\"xid\":725,\"timestamp\":\"2026-11-21 07:51:42.65369+00\",\"lsn\":\"0/1539B58\",\"schema\":\"public\",\"table\":\"note\",\"columns\":["
	"{\"name\":\"id\",\"value\":\"0d9bb0d1-4c2a-4d8b-9f2e-6a1a36a4d3d1\"},{\"name\":\"team_id\",\"value\":42},{\"name\":\"title\",\"value\":\"a title of \\\"some\\\" length\"},"
	"{\"name\":\"body\",\"value\":\"{\\\"a\\\": 1, \\\"b\\\": [1, 2, 3]}\"},{\"name\":\"sync_version\",\"value\":1},{\"name\":\"sync_xid\",\"value\":\"725\"},"
	"{\"name\":\"sync_at\",\"value\":\"2026-11-21 07:51:42.653306+00\"},{\"name\":\"sync_by\",\"value\":\"alice\"},{\"name\":\"sync_clock\",\"value\":\"00ff00ff00ff00ff\"}]}";

int
main(void)
{
	struct sync_tables *tables = tables_parse(feed_tables, strlen(feed_tables));
	struct timespec start;
	struct timespec end;
	double	seconds;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (int i = 0; i < LINES; i++)
	{
		struct record r;
		struct change c;

		if (tables == NULL || !record_parse(&r, line, strlen(line)) || !change_from_row(&c, &r, tables_by_id(tables, 1)) || c.needs_reread)
			return 1;
		change_free(&c);
		record_free(&r);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	seconds = (double) (end.tv_sec - start.tv_sec) + (double) (end.tv_nsec - start.tv_nsec) / 1e9;
	printf("%d lines of %zu bytes in %.2f s: %.0f lines/s\n", LINES, strlen(line), seconds, LINES / seconds);
	tables_free(tables);
	return 0;
}
