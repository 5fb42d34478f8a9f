/* convert_test.c - our rendering of values becomes what Supabase's client expects. */
/* SPDX-License-Identifier: PostgreSQL */
#include "check.h"
#include "convert.h"

static void
becomes(const char *base, char kind, const char *json, bool keeps_int8, const char *wanted)
{
	struct sync_column column = {.name = "c", .type = (char *) "t", .base = (char *) base, .kind = kind};
	struct json *doc = json_parse(json, strlen(json), 100);
	struct buffer out;

	buffer_init(&out);
	convert_value(&out, &column, json_root(doc), keeps_int8);
	CHECK_TEXT(out.data, wanted);
	buffer_free(&out);
	json_free(doc);
}

static void
key_becomes(const char *base, char kind, const char *text, const char *wanted)
{
	struct sync_column column = {.name = "c", .type = (char *) "t", .base = (char *) base, .kind = kind};
	struct buffer out;

	buffer_init(&out);
	convert_key(&out, &column, text, strlen(text), false);
	CHECK_TEXT(out.data, wanted);
	buffer_free(&out);
}

int
main(void)
{
	struct sync_column int8 = {.type = (char *) "int8", .base = (char *) "int8"};
	struct sync_column int4 = {.type = (char *) "int4", .base = (char *) "int4"};

	becomes("int8", 's', "\"9223372036854775807\"", false, "9223372036854775807");
	becomes("int8", 's', "\"9223372036854775807\"", true, "\"9223372036854775807\"");
	becomes("int8", 's', "null", false, "null");
	becomes("_int8", 'x', "[\"1\",null,[\"2\",\"3\"]]", false, "[1,null,[2,3]]");
	becomes("_int8", 'x', "[]", false, "[]");
	becomes("_int8", 'x', "[\"1\"]", true, "[\"1\"]");
	becomes("numeric", 'd', "\"12.340\"", false, "12.340");
	becomes("numeric", 'd', "\"NaN\"", false, "\"NaN\"");
	becomes("bytea", 'y', "\"AP8Q\"", false, "\"00ff10\"");
	becomes("bytea", 'y', "\"AA==\"", false, "\"00\"");
	becomes("bytea", 'y', "\"\"", false, "\"\"");
	becomes("timestamptz", 'z', "\"2026-01-02T01:04:05.678Z\"", false, "\"2026-01-02T01:04:05.678+00:00\"");
	becomes("timestamptz", 'z', "\"0044-03-15T00:00:00Z BC\"", false, "\"0044-03-15T00:00:00+00:00 BC\"");
	becomes("timestamptz", 'z', "\"infinity\"", false, "\"infinity\"");
	becomes("text", 's', "\"12Z\"", false, "\"12Z\"");
	becomes("jsonb", 'j', "{\"a\":[\"1\"]}", false, "{\"a\":[\"1\"]}");
	key_becomes("int8", 's', "7", "7");
	key_becomes("int4", 'n', "7", "7");
	key_becomes("text", 's', "a\"b", "\"a\\\"b\"");
	key_becomes("bool", 'b', "true", "true");
	key_becomes("timestamptz", 'z', "2026-01-02T01:04:05Z", "\"2026-01-02T01:04:05+00:00\"");
	CHECK_TEXT(convert_type(&int8, false), "int8");
	CHECK_TEXT(convert_type(&int8, true), "bigint");
	CHECK_TEXT(convert_type(&int4, true), "int4");
	return CHECK_END();
}
