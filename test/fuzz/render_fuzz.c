/* render_fuzz.c - any value of any kind of column: what is rendered is JSON of the kind promised, the same with JSON's escapes as without, and readable once converted. */
/* SPDX-License-Identifier: PostgreSQL */
#include "convert.h"
#include "fuzz.h"
#include "render.h"

static const char kinds[] = "nfsdbjytzx";
static const char *const types[] = {"int8", "_int8", "numeric", "_numeric", "bytea", "_bytea", "timestamptz", "_timestamptz", "text", "json"};

static void
convert(struct json_value v, const char *type, bool keeps_int8)
{
	struct sync_column column = {.name = "c", .type = "t", .base = (char *) type, .kind = 's'};
	struct buffer out;

	buffer_init(&out);
	convert_value(&out, &column, v, keeps_int8);
	require_json_text(&out);
	REQUIRE(convert_type(&column, keeps_int8) != NULL);
	buffer_free(&out);
}

static void
check_type(char kind, struct json_value v)
{
	enum json_type type = json_type(v);

	if (kind == 'n')
		REQUIRE(type == JSON_NUMBER);
	else if (kind == 'b')
		REQUIRE(type == JSON_BOOL);
	else if (kind == 'f')
		REQUIRE(type == JSON_NUMBER || type == JSON_STRING);
	else if (kind != 'j')
		REQUIRE(type == JSON_STRING);
}

static void
render(char kind, const char *text, size_t len, const char *type, bool keeps_int8)
{
	struct value plain = {.kind = VALUE_TEXT, .text = text, .len = len};
	struct value escaped = {.kind = VALUE_ESCAPED};
	struct buffer one;
	struct buffer other;
	struct buffer scratch;
	struct buffer wire;
	struct json *doc;

	buffer_init(&one);
	buffer_init(&other);
	buffer_init(&scratch);
	buffer_init(&wire);
	buffer_json_escaped(&wire, text, len);
	escaped.text = wire.data != NULL ? wire.data : "";
	escaped.len = wire.len;
	if (render_json(&one, kind, plain, &scratch))
	{
		doc = require_json(one.data, one.len);
		REQUIRE(render_json(&other, kind, escaped, &scratch) && other.len == one.len && memcmp(one.data, other.data, one.len) == 0);
		if (doc != NULL)
		{
			check_type(kind, json_root(doc));
			convert(json_root(doc), type, keeps_int8);
		}
		json_free(doc);
	}
	else
		REQUIRE(!render_json(&other, kind, escaped, &scratch));
	buffer_reset(&one);
	if (render_text(&one, kind, plain, &scratch) && kind == 's')
		REQUIRE(one.len == len && memcmp(one.data != NULL ? one.data : "", text, len) == 0);
	buffer_free(&one);
	buffer_free(&other);
	buffer_free(&scratch);
	buffer_free(&wire);
}

static void
key(const char *text, size_t len, char kind, const char *type, bool keeps_int8)
{
	struct sync_column column = {.name = "c", .type = "t", .base = (char *) type, .kind = kind};
	struct buffer out;

	buffer_init(&out);
	convert_key(&out, &column, text, len, keeps_int8);
	require_json_text(&out);
	buffer_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = input_of(data, size);
	char	kind = kinds[input_byte(&in) % (sizeof(kinds) - 1)];
	unsigned how = input_byte(&in);
	const char *type = types[(how >> 1) % (sizeof(types) / sizeof(types[0]))];
	size_t	len;
	char   *text = input_rest(&in, &len);
	struct json *doc;

	if (text_is_utf8(text, len) && (len == 0 || memchr(text, '\0', len) == NULL))
	{
		render(kind, text, len, type, (how & 1) != 0);
		key(text, len, kind, type, (how & 1) != 0);
		doc = json_parse(text, len, 1000);
		if (doc != NULL)
			convert(json_root(doc), type, (how & 1) != 0);
		json_free(doc);
	}
	free(text);
	return 0;
}
