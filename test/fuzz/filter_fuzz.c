/* filter_fuzz.c - any filter text on a table of many types: what is read is bound or refused, and judges any row. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>
#include <string.h>

#include "filter.h"
#include "text.h"

int		LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct sync_column columns[] = {
	{.name = "a", .type = "int8", .base = "int8"}, {.name = "b", .type = "numeric", .base = "numeric"}, {.name = "c", .type = "float8", .base = "float8"},
	{.name = "d", .type = "bool", .base = "bool"}, {.name = "e", .type = "text", .base = "text"}, {.name = "f", .type = "date", .base = "date"},
	{.name = "g", .type = "timestamptz", .base = "timestamptz"}, {.name = "h", .type = "uuid", .base = "uuid"}, {.name = "i", .type = "bytea", .base = "bytea"},
	{.name = "j", .type = "time", .base = "time"}, {.name = "k", .type = "bpchar", .base = "bpchar"}, {.name = "l", .type = "mood", .base = "enum"},
};
static int key[] = {0};
static const struct sync_table table = {.column_count = sizeof(columns) / sizeof(columns[0]), .columns = columns, .key_count = 1, .key = key};

/* The text up to a NUL is the filter, what follows the value of every column. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *) data;
	const char *split = memchr(text, '\0', size);
	size_t	len = split != NULL ? (size_t) (split - text) : size;
	struct buffer problem;
	struct buffer row;
	struct filter *f;
	struct json *doc;

	if (!text_is_utf8(text, size))
		return 0;
	buffer_init(&problem);
	buffer_init(&row);
	f = filter_parse(text, len, &problem);
	if (f != NULL && problem.len > 0)
		abort();
	if (f != NULL)
		filter_describe(f, &problem);
	buffer_reset(&problem);
	if (f != NULL && filter_bind(f, &table, NULL, NULL, &problem) == (problem.len > 0))
		abort();
	if (f != NULL && problem.len == 0 && split != NULL)
	{
		for (int i = 0; i < table.column_count; i++)
		{
			buffer_printf(&row, "%s\"%s\":", i == 0 ? "{" : ",", columns[i].name);
			buffer_json_string(&row, split + 1, size - len - 1);
		}
		buffer_putc(&row, '}');
		doc = json_parse(row.data, row.len, 1000);
		if (doc != NULL)
			(void) filter_eval(f, json_root(doc));
		json_free(doc);
	}
	filter_free(f);
	buffer_free(&problem);
	buffer_free(&row);
	return 0;
}
