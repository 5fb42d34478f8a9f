/* buffer.c - the growing byte buffer, with the two encodings we write everywhere: JSON strings and base64. */
/* SPDX-License-Identifier: PostgreSQL */
#include "buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

#define FIRST_SIZE 64

void
buffer_init(struct buffer *b)
{
	*b = (struct buffer) {0};
}

void
buffer_free(struct buffer *b)
{
	free(b->data);
	buffer_init(b);
}

void
buffer_reset(struct buffer *b)
{
	b->len = 0;
	b->failed = false;
	if (b->data != NULL)
		b->data[0] = '\0';
}

bool
buffer_reserve(struct buffer *b, size_t extra)
{
	size_t	cap = b->cap > 0 ? b->cap : FIRST_SIZE;

	if (b->failed || extra >= BUFFER_MAX - b->len)
	{
		b->failed = true;
		return false;
	}
	if (b->len + extra < b->cap)	/* one byte is kept for the NUL */
		return true;
	if (b->cap == 0 && extra >= cap)
		cap = extra + 1;			/* a first reservation is taken at its word */
	while (cap <= b->len + extra)
		cap *= 2;
	b->data = memory_grow(b->data, cap, 1);
	b->cap = cap;
	b->data[b->len] = '\0';
	return true;
}

void
buffer_put(struct buffer *b, const void *data, size_t len)
{
	if (!buffer_reserve(b, len))
		return;
	if (len > 0)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void
buffer_puts(struct buffer *b, const char *text)
{
	buffer_put(b, text, strlen(text));
}

void
buffer_putc(struct buffer *b, char c)
{
	buffer_put(b, &c, 1);
}

void
buffer_printf(struct buffer *b, const char *format,...)
{
	va_list args;
	int		len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0)
		b->failed = true;
	if (!buffer_reserve(b, len < 0 ? 0 : (size_t) len))
		return;
	va_start(args, format);
	vsnprintf(b->data + b->len, (size_t) len + 1, format, args);
	va_end(args);
	b->len += (size_t) len;
}

/* The letter after the backslash, 'u' for a control character without a short form, 0 for what stays raw. */
static char
escape_letter(unsigned char c)
{
	switch (c)
	{
		case '"':
			return '"';
		case '\\':
			return '\\';
		case '\b':
			return 'b';
		case '\f':
			return 'f';
		case '\n':
			return 'n';
		case '\r':
			return 'r';
		case '\t':
			return 't';
		default:
			return c < 0x20 ? 'u' : 0;
	}
}

void
buffer_json_escaped(struct buffer *b, const char *text, size_t len)
{
	size_t	done = 0;

	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) text[i];
		char	letter;

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		letter = escape_letter(c);
		buffer_put(b, text + done, i - done);
		done = i + 1;
		if (letter == 'u')
			buffer_printf(b, "\\u%04x", c);
		else
			buffer_put(b, (char[]) {'\\', letter}, 2);
	}
	buffer_put(b, text + done, len - done);
}

void
buffer_json_string(struct buffer *b, const char *text, size_t len)
{
	buffer_putc(b, '"');
	buffer_json_escaped(b, text, len);
	buffer_putc(b, '"');
}

static const char base64_letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64url_letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void
put_base64(struct buffer *b, const uint8_t *data, size_t len, const char *letters, bool pad)
{
	if (len >= BUFFER_MAX || !buffer_reserve(b, (len + 2) / 3 * 4))
	{
		b->failed = true;
		return;
	}
	for (size_t i = 0; i < len; i += 3)
	{
		size_t	left = len - i;
		uint32_t bits = (uint32_t) data[i] << 16;
		char	quad[4];

		if (left > 1)
			bits |= (uint32_t) data[i + 1] << 8;
		if (left > 2)
			bits |= data[i + 2];
		quad[0] = letters[bits >> 18];
		quad[1] = letters[(bits >> 12) & 63];
		quad[2] = left > 1 ? letters[(bits >> 6) & 63] : '=';
		quad[3] = left > 2 ? letters[bits & 63] : '=';
		buffer_put(b, quad, left > 2 || pad ? 4 : left + 1);
	}
}

void
buffer_base64(struct buffer *b, const uint8_t *data, size_t len)
{
	put_base64(b, data, len, base64_letters, true);
}

void
buffer_base64url(struct buffer *b, const uint8_t *data, size_t len)
{
	put_base64(b, data, len, base64url_letters, false);
}

static int
base64url_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '-')
		return 62;
	return c == '_' ? 63 : -1;
}

bool
buffer_unbase64url(struct buffer *b, const char *text, size_t len)
{
	size_t	start = b->len;
	uint32_t bits = 0;
	unsigned held = 0;

	/* One letter alone in the last group carries no whole byte; the length also rules out padding. */
	if (len % 4 == 1 || !buffer_reserve(b, len / 4 * 3 + 3))
		return false;
	for (size_t i = 0; i < len; i++)
	{
		int		value = base64url_value(text[i]);

		if (value < 0)
			break;
		bits = bits << 6 | (uint32_t) value;
		held += 6;
		if (held >= 8)
		{
			held -= 8;
			b->data[b->len++] = (char) (bits >> held & 0xff);
		}
		if (i == len - 1 && (bits & ((1u << held) - 1)) == 0)
		{
			b->data[b->len] = '\0';
			return true;
		}
	}
	/* A foreign letter, or bits left over: two spellings of one value would let a token be altered unseen. */
	b->len = start;
	b->data[start] = '\0';
	return len == 0;
}

char *
buffer_take(struct buffer *b, size_t *len)
{
	char   *data = NULL;

	if (!b->failed && buffer_reserve(b, 0))
	{
		data = b->data;
		b->data = NULL;
		if (len != NULL)
			*len = b->len;
		if (b->cap / 2 > b->len + FIRST_SIZE)	/* long-lived: do not keep a large unused tail */
		{
			char   *smaller = realloc(data, b->len + 1);

			data = smaller != NULL ? smaller : data;
		}
	}
	buffer_free(b);
	return data;
}
