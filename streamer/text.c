/* text.c - strict readers for the small texts inside tokens and WAL lines: UTF-8, decimals, WAL positions. */
/* SPDX-License-Identifier: PostgreSQL */
#include "text.h"

/* Length of the UTF-8 sequence at p (2 to 4 bytes), 0 if there is none: overlong forms, surrogates and > U+10FFFF are refused. */
static size_t
sequence_length(const unsigned char *p, size_t left)
{
	size_t	len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	unsigned low = 0x80;
	unsigned high = 0xbf;

	if (p[0] < 0xc2 || p[0] > 0xf4 || left < len)
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

bool
text_is_utf8(const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *) text;

	for (size_t i = 0; i < len;)
	{
		size_t	step = p[i] < 0x80 ? 1 : sequence_length(p + i, len - i);

		if (step == 0)
			return false;
		i += step;
	}
	return true;
}

bool
text_is_printable(const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *) text;

	for (size_t i = 0; i < len; i++)
		if (p[i] < 0x20 || p[i] == 0x7f || (p[i] == 0xc2 && i + 1 < len && p[i + 1] < 0xa0))
			return false;
	return text_is_utf8(text, len);
}

bool
text_uint64(const char *text, size_t len, uint64_t *out)
{
	uint64_t value = 0;

	if (len == 0 || len > 20 || (text[0] == '0' && len > 1))
		return false;
	for (size_t i = 0; i < len; i++)
	{
		unsigned digit = (unsigned) (unsigned char) text[i] - '0';

		if (digit > 9 || value > (UINT64_MAX - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*out = value;
	return true;
}

bool
text_int64(const char *text, size_t len, int64_t *out)
{
	bool	negative = len > 0 && text[0] == '-';
	uint64_t limit = (uint64_t) INT64_MAX + (negative ? 1 : 0);
	uint64_t value;

	if (!text_uint64(text + negative, len - negative, &value) || value > limit)
		return false;
	*out = negative ? -(int64_t) (value - (value > 0)) - (value > 0) : (int64_t) value;
	return true;
}

static bool
hex32(const char *text, size_t len, uint32_t *out)
{
	uint32_t value = 0;

	if (len == 0 || len > 8 || (text[0] == '0' && len > 1))
		return false;
	for (size_t i = 0; i < len; i++)
	{
		char	c = text[i];

		if (c >= '0' && c <= '9')
			value = value << 4 | (uint32_t) (c - '0');
		else if (c >= 'A' && c <= 'F')
			value = value << 4 | (uint32_t) (c - 'A' + 10);
		else
			return false;
	}
	*out = value;
	return true;
}

bool
text_lsn(const char *text, size_t len, char separator, uint64_t *out)
{
	size_t	high_len = 0;
	uint32_t high;
	uint32_t low;

	while (high_len < len && text[high_len] != separator)
		high_len++;
	if (high_len == len)
		return false;
	if (!hex32(text, high_len, &high) || !hex32(text + high_len + 1, len - high_len - 1, &low))
		return false;
	*out = (uint64_t) high << 32 | low;
	return true;
}
