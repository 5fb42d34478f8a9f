/* json_string.c - the unescaped text of JSON strings; lone surrogates and U+0000, which PostgreSQL cannot hold, are refused. */
/* SPDX-License-Identifier: PostgreSQL */
#include <string.h>

#include "json.h"

static unsigned
hex4(const char *p)
{
	unsigned value = 0;

	for (int i = 0; i < 4; i++)
	{
		unsigned c = (unsigned char) p[i];

		value = value << 4 | (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	return value;
}

/* Reads the \uXXXX (or pair of them) at p; returns the bytes read, 0 for U+0000 and lone surrogates. */
static size_t
read_unicode(const char *p, const char *end, unsigned *code)
{
	unsigned high = hex4(p + 2);
	unsigned low;

	*code = high;
	if (high < 0xd800 || high > 0xdfff)
		return high == 0 ? 0 : 6;
	if (high > 0xdbff || end - p < 12 || p[6] != '\\' || p[7] != 'u')
		return 0;
	low = hex4(p + 8);
	if (low < 0xdc00 || low > 0xdfff)
		return 0;
	*code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
	return 12;
}

static size_t
encode_utf8(unsigned code, char out[4])
{
	if (code < 0x80)
	{
		out[0] = (char) code;
		return 1;
	}
	if (code < 0x800)
	{
		out[0] = (char) (0xc0 | code >> 6);
		out[1] = (char) (0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000)
	{
		out[0] = (char) (0xe0 | code >> 12);
		out[1] = (char) (0x80 | (code >> 6 & 0x3f));
		out[2] = (char) (0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (char) (0xf0 | code >> 18);
	out[1] = (char) (0x80 | (code >> 12 & 0x3f));
	out[2] = (char) (0x80 | (code >> 6 & 0x3f));
	out[3] = (char) (0x80 | (code & 0x3f));
	return 4;
}

/* One escape at p into out (at most 4 bytes, *out_len); returns the bytes read, 0 if it stands for no character. */
static size_t
read_escape(const char *p, const char *end, char out[4], size_t *out_len)
{
	static const char letters[] = "\"\\/bfnrt";
	static const char meanings[] = "\"\\/\b\f\n\r\t";
	unsigned code;
	size_t	used = 2;

	if (p[1] == 'u')
	{
		used = read_unicode(p, end, &code);
		if (used > 0)
			*out_len = encode_utf8(code, out);
		return used;
	}
	out[0] = meanings[strchr(letters, p[1]) - letters];
	*out_len = 1;
	return used;
}

bool
json_unescape(struct json_value v, struct buffer *out)
{
	return json_type(v) == JSON_STRING && json_unescape_text(v.raw + 1, v.len - 2, out);
}

bool
json_unescape_text(const char *text, size_t len, struct buffer *out)
{
	size_t	start = out->len;
	const char *p = text;
	const char *end = text + len;

	while (p < end)
	{
		const char *backslash = memchr(p, '\\', (size_t) (end - p));
		char	plain[4];
		size_t	plain_len;
		size_t	used;

		buffer_put(out, p, (size_t) ((backslash != NULL ? backslash : end) - p));
		if (backslash == NULL)
			break;
		used = read_escape(backslash, end, plain, &plain_len);
		if (used == 0)
		{
			out->len = start;
			if (out->data != NULL)
				out->data[start] = '\0';
			return false;
		}
		buffer_put(out, plain, plain_len);
		p = backslash + used;
	}
	return !out->failed;
}

bool
json_string(struct json_value v, char *dst, size_t size)
{
	const char *p = v.raw + 1;
	const char *end = v.raw + v.len - 1;
	size_t	len = 0;

	if (json_type(v) != JSON_STRING || size == 0)
		return false;
	while (p < end)
	{
		char	plain[4] = {*p};
		size_t	plain_len = 1;
		size_t	used = *p == '\\' ? read_escape(p, end, plain, &plain_len) : 1;

		if (used == 0 || len + plain_len >= size)
			return false;
		memcpy(dst + len, plain, plain_len);
		len += plain_len;
		p += used;
	}
	dst[len] = '\0';
	return true;
}

char *
json_strdup(struct json_value v)
{
	struct buffer text;
	char   *result = NULL;

	buffer_init(&text);
	if (json_unescape(v, &text))
		result = buffer_take(&text, NULL);
	buffer_free(&text);
	return result;
}
