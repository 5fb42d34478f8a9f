/* render.c - values as the decoders write them become the JSON, or the plain text, that clients see. */
/* SPDX-License-Identifier: PostgreSQL */
#include "render.h"

#include <limits.h>
#include <string.h>

#include "json.h"

struct slice
{
	const char *text;
	size_t	len;
};

/* Where a rendering goes: as JSON (quoted and escaped where the kind is a string) or as bare text. */
struct target
{
	struct buffer *out;
	bool	is_json;
};

static bool
equals(struct slice s, const char *text)
{
	return s.len == strlen(text) && memcmp(s.text, text, s.len) == 0;
}

static void
put_piece(struct target t, struct slice s)
{
	if (t.is_json)
		buffer_json_escaped(t.out, s.text, s.len);
	else
		buffer_put(t.out, s.text, s.len);
}

static void
put_quote(struct target t)
{
	if (t.is_json)
		buffer_putc(t.out, '"');
}

static bool
put_string(struct target t, struct slice s)
{
	put_quote(t);
	put_piece(t, s);
	put_quote(t);
	return true;
}

static bool
put_bare(struct target t, struct slice s)
{
	buffer_put(t.out, s.text, s.len);
	return true;
}

static bool
is_special_number(struct slice s)
{
	return equals(s, "NaN") || equals(s, "Infinity") || equals(s, "-Infinity");
}

static bool
put_number(struct target t, struct slice s)
{
	return json_is_number(s.text, s.len) && put_bare(t, s);
}

static bool
put_float(struct target t, struct slice s)
{
	return is_special_number(s) ? put_string(t, s) : put_number(t, s);
}

static bool
put_numeric(struct target t, struct slice s)
{
	return (is_special_number(s) || json_is_number(s.text, s.len)) && put_string(t, s);
}

static bool
put_boolean(struct target t, struct slice s)
{
	if (equals(s, "true") || equals(s, "t"))
		buffer_puts(t.out, "true");
	else if (equals(s, "false") || equals(s, "f"))
		buffer_puts(t.out, "false");
	else
		return false;
	return true;
}

/* Checked, since a text written before the column became json would break the frame of all its neighbours. */
static bool
put_document(struct target t, struct slice s)
{
	struct json *doc = json_parse(s.text, s.len, INT_MAX);

	if (doc == NULL)
		return false;
	json_free(doc);
	return put_bare(t, s);
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool
put_bytes(struct target t, struct slice s)
{
	uint8_t chunk[3 * 64] = {0};	/* whole groups of three, so that the pieces of base64 join */
	size_t	filled = 0;

	if (s.len >= 2 && s.text[0] == '\\' && s.text[1] == 'x')
		s = (struct slice) {s.text + 2, s.len - 2};
	if (s.len % 2 != 0)
		return false;
	put_quote(t);
	for (size_t i = 0; i < s.len; i += 2)
	{
		int		high = hex_digit(s.text[i]);
		int		low = hex_digit(s.text[i + 1]);

		if (high < 0 || low < 0)
			return false;
		chunk[filled++] = (uint8_t) (high << 4 | low);
		if (filled == sizeof(chunk))
		{
			buffer_base64(t.out, chunk, filled);
			filled = 0;
		}
	}
	buffer_base64(t.out, chunk, filled);
	put_quote(t);
	return true;
}

static bool
put_time(struct target t, struct slice s, bool with_zone)
{
	const char *space = memchr(s.text, ' ', s.len);
	const char *zone;
	struct slice rest;

	if (space == NULL)
		return put_string(t, s);	/* infinity */
	rest = (struct slice) {space + 1, (size_t) (s.text + s.len - space - 1)};
	put_quote(t);
	put_piece(t, (struct slice) {s.text, (size_t) (space - s.text)});
	buffer_putc(t.out, 'T');
	zone = with_zone ? memmem(rest.text, rest.len, "+00", 3) : NULL;
	if (zone != NULL)
	{
		put_piece(t, (struct slice) {rest.text, (size_t) (zone - rest.text)});
		buffer_putc(t.out, 'Z');
		rest = (struct slice) {zone + 3, (size_t) (rest.text + rest.len - zone - 3)};	/* " BC" or nothing */
	}
	put_piece(t, rest);
	put_quote(t);
	return true;
}

static bool
put_value(struct target t, char kind, struct slice s, bool is_bool)
{
	switch (kind)
	{
		case 'n':
			return put_number(t, s);
		case 'f':
			return put_float(t, s);
		case 's':
			return !is_bool && put_string(t, s);
		case 'd':
			return put_numeric(t, s);
		case 'b':
			return put_boolean(t, s);
		case 'j':
			return put_document(t, s);
		case 'y':
			return put_bytes(t, s);
		case 't':
		case 'z':
			return put_time(t, s, kind == 'z');
		default:
			return !t.is_json && put_bare(t, s);
	}
}

bool
render_json(struct buffer *out, char kind, struct value v, struct buffer *scratch)
{
	struct slice s;

	if (value_is_null(v))
	{
		buffer_puts(out, "null");
		return v.kind == VALUE_NULL || (kind != 'f' && kind != 'd');
	}
	return value_text(v, scratch, &s.text, &s.len) && put_value((struct target) {out, true}, kind, s, v.kind == VALUE_BOOL);
}

bool
render_text(struct buffer *out, char kind, struct value v, struct buffer *scratch)
{
	struct slice s;

	return value_text(v, scratch, &s.text, &s.len) && put_value((struct target) {out, false}, kind, s, v.kind == VALUE_BOOL);
}
