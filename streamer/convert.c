/* convert.c - values as Supabase's client expects them, made from our own rendering of them. */
/* SPDX-License-Identifier: PostgreSQL */
#include "convert.h"

#include <stdint.h>
#include <string.h>

static void
put_raw(struct buffer *out, struct json_value v)
{
	buffer_put(out, v.raw, v.len);
}

static void
put_number(struct buffer *out, struct json_value v)
{
	if (json_type(v) == JSON_STRING && json_is_number(v.raw + 1, v.len - 2))
		buffer_put(out, v.raw + 1, v.len - 2);
	else
		put_raw(out, v);		/* NaN, infinities */
}

static int
base64_digit(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c != '\0' ? strchr(digits, c) : NULL;

	return at != NULL ? (int) (at - digits) : -1;
}

static void
put_hex(struct buffer *out, struct json_value v)
{
	static const char digits[] = "0123456789abcdef";
	uint32_t bits = 0;
	int		count = 0;

	if (json_type(v) != JSON_STRING)
	{
		put_raw(out, v);
		return;
	}
	buffer_putc(out, '"');
	for (size_t i = 1; i + 1 < v.len; i++)
	{
		int		digit = base64_digit(v.raw[i]);

		if (digit < 0)
			continue;			/* padding */
		bits = bits << 6 | (uint32_t) digit;
		count += 6;
		if (count >= 8)
		{
			count -= 8;
			buffer_putc(out, digits[bits >> (count + 4) & 0xf]);
			buffer_putc(out, digits[bits >> count & 0xf]);
		}
	}
	buffer_putc(out, '"');
}

static void
put_moment(struct buffer *out, struct json_value v)
{
	const char *z = json_type(v) == JSON_STRING ? memchr(v.raw, 'Z', v.len) : NULL;

	if (z == NULL)
	{
		put_raw(out, v);
		return;
	}
	buffer_put(out, v.raw, (size_t) (z - v.raw));
	buffer_puts(out, "+00:00");
	buffer_put(out, z + 1, (size_t) (v.raw + v.len - z - 1));
}

static void
put_as(struct buffer *out, const char *type, struct json_value v, bool keeps_int8)
{
	const char *separator = "";

	if (json_type(v) == JSON_ARRAY && type[0] == '_')
	{
		buffer_putc(out, '[');
		for (struct json_value e = json_first(v); json_type(e) != JSON_ABSENT; e = json_next(e))
		{
			buffer_puts(out, separator);
			put_as(out, json_type(e) == JSON_ARRAY ? type : type + 1, e, keeps_int8);
			separator = ",";
		}
		buffer_putc(out, ']');
	}
	else if (strcmp(type, "numeric") == 0 || (strcmp(type, "int8") == 0 && !keeps_int8))
		put_number(out, v);
	else if (strcmp(type, "bytea") == 0)
		put_hex(out, v);
	else if (strcmp(type, "timestamptz") == 0)
		put_moment(out, v);
	else
		put_raw(out, v);
}

void
convert_value(struct buffer *out, const struct sync_column *column, struct json_value v, bool keeps_int8)
{
	put_as(out, column->base, v, keeps_int8);
}

const char *
convert_type(const struct sync_column *column, bool keeps_int8)
{
	if (keeps_int8 && strcmp(column->base, "int8") == 0)
		return "bigint";
	if (keeps_int8 && strcmp(column->base, "_int8") == 0)
		return "bigint[]";
	return column->type;
}

static bool
is_bare(const struct sync_column *column, const char *text, size_t len)
{
	if (column->kind == 'b')
		return true;
	if (column->kind == 'j')
		return true;
	return (column->kind == 'n' || column->kind == 'f') && json_is_number(text, len);
}

/* Its JSON first, as render_json would have it, for the one conversion there is. */
void
convert_key(struct buffer *out, const struct sync_column *column, const char *text, size_t len, bool keeps_int8)
{
	struct buffer json;
	struct json *doc;

	buffer_init(&json);
	if (is_bare(column, text, len))
		buffer_put(&json, text, len);
	else
		buffer_json_string(&json, text, len);
	doc = json.failed || json.data == NULL ? NULL : json_parse(json.data, json.len, 100000);
	if (doc != NULL)
		convert_value(out, column, json_root(doc), keeps_int8);
	else
		buffer_puts(out, "null");
	json_free(doc);
	buffer_free(&json);
}
