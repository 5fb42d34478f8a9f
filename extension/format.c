/*
 * format.c - the pieces that JSON is written of: strings, numbers, times and uuids, without the output functions' detours.
 *
 * What is written here equals the types' output text under TimeZone UTC and ISO dates; render.c says which type is written how.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "miscadmin.h"
#include "utils/date.h"
#include "utils/datetime.h"

#define EACH_BYTE(c) (UINT64CONST(0x0101010101010101) * (c))
#define HIGH_BITS EACH_BYTE(0x80)

void
sync_put(StringInfo out, const char *data, int len)
{
	if (unlikely(out->len + len >= out->maxlen))
		enlargeStringInfo(out, len);
	memcpy(out->data + out->len, data, len);
	out->len += len;
	out->data[out->len] = '\0';
}

/* Is one of eight bytes a control character, a quote or a backslash? Never wrong about "none". */
static inline bool
has_escape(uint64 word)
{
	uint64		quote = word ^ EACH_BYTE('"');
	uint64		backslash = word ^ EACH_BYTE('\\');

	return (((word - EACH_BYTE(0x20)) & ~word) | ((quote - EACH_BYTE(1)) & ~quote) |
			((backslash - EACH_BYTE(1)) & ~backslash)) & HIGH_BITS;
}

/* How many bytes from the start need no escape. */
static int
plain_length(const char *text, int len)
{
	int			i = 0;

	for (; i + 8 <= len; i += 8)
	{
		uint64		word;

		memcpy(&word, text + i, 8);
		if (has_escape(word))
			break;
	}
	for (; i < len; i++)
	{
		unsigned char c = (unsigned char) text[i];

		if (c < 0x20 || c == '"' || c == '\\')
			break;
	}
	return i;
}

static void
put_escape(StringInfo out, unsigned char c)
{
	switch (c)
	{
		case '"':
			sync_put(out, "\\\"", 2);
			break;
		case '\\':
			sync_put(out, "\\\\", 2);
			break;
		case '\b':
			sync_put(out, "\\b", 2);
			break;
		case '\f':
			sync_put(out, "\\f", 2);
			break;
		case '\n':
			sync_put(out, "\\n", 2);
			break;
		case '\r':
			sync_put(out, "\\r", 2);
			break;
		case '\t':
			sync_put(out, "\\t", 2);
			break;
		default:
			appendStringInfo(out, "\\u%04x", c);
	}
}

void
sync_render_string(StringInfo out, const char *text, int len)
{
	sync_put(out, "\"", 1);
	for (;;)
	{
		int			plain = plain_length(text, len);

		sync_put(out, text, plain);
		if (plain == len)
			break;
		put_escape(out, (unsigned char) text[plain]);
		text += plain + 1;
		len -= plain + 1;
	}
	sync_put(out, "\"", 1);
}

void
sync_render_member(StringInfo out, const char *name, const char *text)
{
	sync_put(out, ",\"", 2);
	sync_put(out, name, strlen(name));
	sync_put(out, "\":", 2);
	if (text)
		sync_render_string(out, text, strlen(text));
	else
		sync_put(out, "null", 4);
}

/* ---- texts of values: each returns the length written to the buffer, which is not terminated ---- */

static char *
put_digits(char *p, int number, int digits)
{
	int			i;

	for (i = digits - 1; i >= 0; i--)
	{
		p[i] = '0' + number % 10;
		number /= 10;
	}
	return p + digits;
}

static char *
put_date(char *p, int year, int month, int day)
{
	p = put_digits(p, year, 4);
	*p++ = '-';
	p = put_digits(p, month, 2);
	*p++ = '-';
	return put_digits(p, day, 2);
}

/* "2026-01-02T01:04:05.5Z"; 0 when the year has not four digits, for which the output function knows the form. */
int
sync_format_timestamp(char *out, Timestamp at, bool with_zone)
{
	struct pg_tm tm;
	fsec_t		fsec;
	char	   *p = out;

	if (TIMESTAMP_NOT_FINITE(at) || timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0 || tm.tm_year < 1 || tm.tm_year > 9999)
		return 0;
	p = put_date(p, tm.tm_year, tm.tm_mon, tm.tm_mday);
	*p++ = 'T';
	p = put_digits(p, tm.tm_hour, 2);
	*p++ = ':';
	p = put_digits(p, tm.tm_min, 2);
	*p++ = ':';
	p = put_digits(p, tm.tm_sec, 2);
	if (fsec != 0)
	{
		*p++ = '.';
		p = put_digits(p, fsec, 6);
		while (p[-1] == '0')
			p--;
	}
	if (with_zone)
		*p++ = 'Z';
	return p - out;
}

/* 0 likewise. */
int
sync_format_date(char *out, DateADT date)
{
	int			year;
	int			month;
	int			day;

	if (DATE_NOT_FINITE(date))
		return 0;
	j2date(date + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	if (year < 1 || year > 9999)
		return 0;
	return put_date(out, year, month, day) - out;
}

int
sync_format_uuid(char *out, const unsigned char *bytes)
{
	static const char hex[] = "0123456789abcdef";
	char	   *p = out;
	int			i;

	for (i = 0; i < 16; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = hex[bytes[i] >> 4];
		*p++ = hex[bytes[i] & 15];
	}
	return p - out;
}

void
sync_render_timestamp(StringInfo out, TimestampTz at)
{
	struct pg_tm tm;
	fsec_t		fsec;
	char		text[MAXDATELEN + 1];
	int			len = sync_format_timestamp(text, at, true);

	/* A client's clock may say so. */
	if (TIMESTAMP_NOT_FINITE(at))
		len = sprintf(text, "%s", TIMESTAMP_IS_NOBEGIN(at) ? EARLY : LATE);
	else if (len == 0)
	{
		if (timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0)
			ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range")));
		tm.tm_isdst = 0;		/* else no zone is written */
		EncodeDateTime(&tm, fsec, true, 0, NULL, USE_ISO_DATES, text);
		sync_iso_timestamp(text);
		len = strlen(text);
	}
	sync_render_string(out, text, len);
}

/* "2026-01-02 01:04:05+00" → "2026-01-02T01:04:05Z", in place. */
void
sync_iso_timestamp(char *text)
{
	char	   *space = strchr(text, ' ');
	char	   *zone = strstr(text, "+00");

	if (space)
		*space = 'T';
	if (zone)
	{
		*zone = 'Z';
		memmove(zone + 1, zone + 3, strlen(zone + 3) + 1);
	}
}
