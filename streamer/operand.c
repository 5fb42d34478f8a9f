/* operand.c - values of columns read from their texts so that they can be compared as PostgreSQL compares them. */
/* SPDX-License-Identifier: PostgreSQL */
#include "operand.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "text.h"

#define REAL_MAX 400			/* bytes of a float's text */
#define DAY_US INT64_C(86400000000)
#define DAYS_TO_2000 730425		/* from 0000-03-01 */

static const struct
{
	const char *type;
	enum operand_class class;
} classes[] = {
	{"int2", OPERAND_INTEGER}, {"int4", OPERAND_INTEGER}, {"int8", OPERAND_INTEGER}, {"oid", OPERAND_INTEGER},
	{"numeric", OPERAND_DECIMAL}, {"xid8", OPERAND_DECIMAL}, {"float8", OPERAND_REAL}, {"float4", OPERAND_SINGLE}, {"bool", OPERAND_BOOLEAN},
	{"text", OPERAND_TEXT}, {"varchar", OPERAND_TEXT}, {"name", OPERAND_TEXT}, {"bpchar", OPERAND_PADDED}, {"enum", OPERAND_LABEL},
	{"date", OPERAND_DATE}, {"time", OPERAND_TIME}, {"timestamp", OPERAND_TIMESTAMP}, {"timestamptz", OPERAND_TIMESTAMPTZ},
	{"uuid", OPERAND_UUID}, {"bytea", OPERAND_BYTES},
};

enum operand_class
operand_class(const char *base_type)
{
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (strcmp(classes[i].type, base_type) == 0)
			return classes[i].class;
	return OPERAND_NONE;
}

bool
operand_has_order(enum operand_class c)
{
	return c != OPERAND_NONE && c != OPERAND_LABEL && c != OPERAND_BYTES;
}

bool
operand_is_text(enum operand_class c)
{
	return c == OPERAND_TEXT || c == OPERAND_PADDED;
}

/* What is left of a text that is being read. */
struct rest
{
	const char *at;
	const char *end;
};

static bool
take_char(struct rest *r, char c)
{
	if (r->at == r->end || *r->at != c)
		return false;
	r->at++;
	return true;
}

/* From `least` to `most` digits. */
static bool
take_digits(struct rest *r, int least, int most, int64_t *out)
{
	int		n = 0;

	*out = 0;
	while (n < most && r->at < r->end && isdigit((unsigned char) *r->at))
	{
		*out = *out * 10 + (*r->at++ - '0');
		n++;
	}
	return n >= least;
}

static bool
take_word(struct rest *r, const char *word)
{
	size_t	len = strlen(word);

	if ((size_t) (r->end - r->at) < len || strncasecmp(r->at, word, len) != 0)
		return false;
	r->at += len;
	return true;
}

/* Days from 0000-03-01 of the proleptic Gregorian calendar; year 0 is 1 BC. */
static int64_t
days_of(int64_t year, int64_t month, int64_t day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t m = (month + 9) % 12;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t of_era = y - era * 400;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + (m * 153 + 2) / 5 + day - 1;
}

static bool
is_date(int64_t year, int64_t month, int64_t day)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool	is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1] + (month == 2 && is_leap ? 1 : 0);
}

struct date
{
	int64_t year, month, day;
};

static bool
take_date(struct rest *r, struct date *d)
{
	return take_digits(r, 4, 7, &d->year) && take_char(r, '-') && take_digits(r, 2, 2, &d->month) && take_char(r, '-') && take_digits(r, 2, 2, &d->day);
}

/* hh:mm[:ss[.ffffff]]; microseconds beyond six digits are cut off. */
static bool
take_time(struct rest *r, int64_t *us)
{
	int64_t hour, minute, second = 0, fraction = 0;

	if (!take_digits(r, 2, 2, &hour) || !take_char(r, ':') || !take_digits(r, 2, 2, &minute))
		return false;
	if (take_char(r, ':') && !take_digits(r, 2, 2, &second))
		return false;
	if (take_char(r, '.'))
		for (int64_t unit = 100000; r->at < r->end && isdigit((unsigned char) *r->at); unit /= 10)
			fraction += (*r->at++ - '0') * unit;
	*us = ((hour * 60 + minute) * 60 + second) * 1000000 + fraction;
	return hour <= 24 && minute < 60 && second <= 60 && *us <= DAY_US;
}

static bool
take_zone(struct rest *r, int64_t *offset_us)
{
	int64_t hours, minutes = 0, seconds = 0;
	bool	is_west;

	*offset_us = 0;
	if (r->at == r->end || take_char(r, 'Z') || take_char(r, 'z'))
		return true;
	is_west = *r->at == '-';
	if (!is_west && *r->at != '+')
		return true;
	r->at++;
	if (!take_digits(r, 1, 2, &hours))
		return false;
	if ((take_char(r, ':') || (r->at < r->end && isdigit((unsigned char) *r->at))) && !take_digits(r, 2, 2, &minutes))
		return false;
	if (take_char(r, ':') && !take_digits(r, 2, 2, &seconds))
		return false;
	*offset_us = ((hours * 60 + minutes) * 60 + seconds) * (is_west ? -1000000 : 1000000);
	return hours < 16 && minutes < 60 && seconds < 60;
}

static bool
read_infinity(struct operand *o, struct rest r)
{
	bool	is_negative = take_char(&r, '-');

	if (!is_negative)
		(void) take_char(&r, '+');
	if (!take_word(&r, "infinity") || r.at != r.end)
		return false;
	o->rank = is_negative ? -1 : 1;
	return true;
}

static bool
read_moment(struct operand *o, enum operand_class c, struct rest r)
{
	struct date d;
	int64_t time_us = 0;
	int64_t offset_us = 0;

	if (read_infinity(o, r))
		return true;
	if (!take_date(&r, &d))
		return false;
	if (c != OPERAND_DATE && (take_char(&r, 'T') || (r.end - r.at > 1 && isdigit((unsigned char) r.at[1]) && take_char(&r, ' '))) &&
		(!take_time(&r, &time_us) || !take_zone(&r, &offset_us)))
		return false;
	if (take_word(&r, " BC"))
		d.year = 1 - d.year;
	if (r.at != r.end || !is_date(d.year, d.month, d.day) || d.year < -4713 || (c != OPERAND_DATE && d.year > 294276))
		return false;
	o->number = days_of(d.year, d.month, d.day);
	if (c != OPERAND_DATE)		/* counted from 2000, as there: all of its range fits */
		o->number = (o->number - DAYS_TO_2000) * DAY_US + time_us - (c == OPERAND_TIMESTAMPTZ ? offset_us : 0);
	return true;
}

static bool
read_time(struct operand *o, struct rest r)
{
	return take_time(&r, &o->number) && r.at == r.end;
}

static bool
read_real(struct operand *o, bool is_single, struct rest r)
{
	char	copy[REAL_MAX + 1];
	size_t	len = (size_t) (r.end - r.at);
	char   *end;

	if (read_infinity(o, r))
		return true;
	if (len == 3 && strncasecmp(r.at, "nan", 3) == 0)
	{
		o->rank = 2;
		return true;
	}
	if (len == 0 || len > REAL_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (strchr("+-.0123456789eE", r.at[i]) == NULL || r.at[i] == '\0')
			return false;
	memcpy(copy, r.at, len);
	copy[len] = '\0';
	o->real = is_single ? (double) strtof(copy, &end) : strtod(copy, &end);
	return *end == '\0' && isfinite(o->real);
}

static bool
read_decimal(struct operand *o, struct rest r)
{
	struct rest all = r;
	bool	has_digit = false;

	if (read_infinity(o, r))
		return true;
	if (r.end - r.at == 3 && strncasecmp(r.at, "nan", 3) == 0)
	{
		o->rank = 2;
		return true;
	}
	if (!take_char(&r, '-'))
		(void) take_char(&r, '+');
	for (int part = 0; part < 2; part++)
	{
		for (; r.at < r.end && isdigit((unsigned char) *r.at); r.at++)
			has_digit = true;
		if (part == 0 && !take_char(&r, '.'))
			break;
	}
	o->text = all.at;
	o->len = (size_t) (all.end - all.at);
	return has_digit && r.at == r.end;
}

static bool
read_integer(struct operand *o, const char *type, struct rest r)
{
	static const struct
	{
		const char *type;
		int64_t least, most;
	}		ranges[] = {{"int2", INT16_MIN, INT16_MAX}, {"int4", INT32_MIN, INT32_MAX}, {"oid", 0, UINT32_MAX}};
	bool	is_negative = take_char(&r, '-');
	uint64_t n;

	if (!is_negative)
		(void) take_char(&r, '+');
	while (r.end - r.at > 1 && *r.at == '0')
		r.at++;
	if (!text_uint64(r.at, (size_t) (r.end - r.at), &n) || n > (uint64_t) INT64_MAX + (is_negative ? 1 : 0))
		return false;
	o->number = is_negative ? (int64_t) (0 - n) : (int64_t) n;
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		if (strcmp(type, ranges[i].type) == 0)
			return o->number >= ranges[i].least && o->number <= ranges[i].most;
	return true;
}

/* As PostgreSQL: any beginning of the words that tells them apart. */
static bool
read_boolean(struct operand *o, struct rest r)
{
	static const struct
	{
		const char *word;
		size_t	least;
		int		value;
	}		words[] = {{"true", 1, 1}, {"false", 1, 0}, {"yes", 1, 1}, {"no", 1, 0}, {"on", 2, 1}, {"off", 2, 0}, {"1", 1, 1}, {"0", 1, 0}};
	size_t	len = (size_t) (r.end - r.at);

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (len >= words[i].least && len <= strlen(words[i].word) && strncasecmp(r.at, words[i].word, len) == 0)
		{
			o->number = words[i].value;
			return true;
		}
	return false;
}

/* 32 hex digits; braces around and dashes between are let be. */
static bool
read_uuid(struct operand *o, struct rest r, struct buffer *scratch)
{
	bool	has_brace = take_char(&r, '{');
	size_t	start = scratch->len;

	if (has_brace && (r.at == r.end || *--r.end != '}'))
		return false;
	for (; r.at < r.end; r.at++)
	{
		if (isxdigit((unsigned char) *r.at))
			buffer_putc(scratch, (char) tolower((unsigned char) *r.at));
		else if (*r.at != '-')
			return false;
	}
	o->len = scratch->len - start;
	return !scratch->failed && o->len == 32;
}

static int
hex_value(char c)
{
	return isdigit((unsigned char) c) ? c - '0' : tolower((unsigned char) c) - 'a' + 10;
}

static bool
read_hex(struct operand *o, struct rest r, struct buffer *scratch)
{
	struct buffer bytes;
	size_t	start = scratch->len;
	bool	is_good = take_char(&r, '\\') && take_char(&r, 'x') && (r.end - r.at) % 2 == 0;

	buffer_init(&bytes);
	for (; is_good && r.at < r.end; r.at += 2)
	{
		is_good = isxdigit((unsigned char) r.at[0]) && isxdigit((unsigned char) r.at[1]);
		if (is_good)
			buffer_putc(&bytes, (char) (hex_value(r.at[0]) << 4 | hex_value(r.at[1])));
	}
	if (is_good && !bytes.failed)
		buffer_base64(scratch, (const uint8_t *) (bytes.data != NULL ? bytes.data : ""), bytes.len);
	buffer_free(&bytes);
	o->len = scratch->len - start;
	return is_good && !scratch->failed;
}

/* The scratch may move while it grows: its text is taken when all of it is there. */
static bool
from_scratch(struct operand *o, bool is_good, struct buffer *scratch, size_t start)
{
	o->text = is_good && scratch->data != NULL ? scratch->data + start : "";
	return is_good;
}

static bool
read(struct operand *o, enum operand_class c, const char *type, struct rest r, struct buffer *scratch)
{
	size_t	start = scratch->len;

	switch (c)
	{
		case OPERAND_NONE:
			return false;
		case OPERAND_INTEGER:
			return read_integer(o, type, r);
		case OPERAND_DECIMAL:
			return read_decimal(o, r);
		case OPERAND_REAL:
		case OPERAND_SINGLE:
			return read_real(o, c == OPERAND_SINGLE, r);
		case OPERAND_BOOLEAN:
			return read_boolean(o, r);
		case OPERAND_DATE:
		case OPERAND_TIMESTAMP:
		case OPERAND_TIMESTAMPTZ:
			return read_moment(o, c, r);
		case OPERAND_TIME:
			return read_time(o, r);
		case OPERAND_UUID:
			return from_scratch(o, read_uuid(o, r, scratch), scratch, start);
		case OPERAND_BYTES:
			return from_scratch(o, read_hex(o, r, scratch), scratch, start);
		case OPERAND_PADDED:
			while (r.end > r.at && r.end[-1] == ' ')
				r.end--;
			break;
		case OPERAND_TEXT:
		case OPERAND_LABEL:
			break;
	}
	o->text = r.at;
	o->len = (size_t) (r.end - r.at);
	return true;
}

bool
operand_read(struct operand *o, enum operand_class c, const char *type, const char *text, size_t len, struct buffer *scratch)
{
	struct rest r = {text, text + len};

	*o = (struct operand) {0};
	if (c != OPERAND_TEXT && c != OPERAND_PADDED && c != OPERAND_LABEL)
	{
		while (r.at < r.end && isspace((unsigned char) *r.at))
			r.at++;
		while (r.end > r.at && isspace((unsigned char) r.end[-1]))
			r.end--;
	}
	return read(o, c, type, r, scratch);
}

bool
operand_read_rendered(struct operand *o, enum operand_class c, const char *text, size_t len, struct buffer *scratch)
{
	*o = (struct operand) {0};
	if (c == OPERAND_BYTES)
		c = OPERAND_LABEL;		/* base64, as the filter's has become */
	return read(o, c, "", (struct rest) {text, text + len}, scratch);
}

static int
compare_numbers(int64_t a, int64_t b)
{
	return (a > b) - (a < b);
}

static int
compare_texts(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t	common = a_len < b_len ? a_len : b_len;
	int		order = common > 0 ? memcmp(a, b, common) : 0;

	return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

/* A decimal without sign and needless zeros. */
struct digits
{
	bool	is_negative;
	const char *whole;
	size_t	whole_len;
	const char *fraction;
	size_t	fraction_len;
};

static struct digits
digits_of(const struct operand *o)
{
	struct digits d = {.whole = o->text};
	const char *end = o->text + o->len;
	const char *point;

	if (d.whole < end && (*d.whole == '-' || *d.whole == '+'))
		d.is_negative = *d.whole++ == '-';
	while (d.whole < end && *d.whole == '0')
		d.whole++;
	point = d.whole < end ? memchr(d.whole, '.', (size_t) (end - d.whole)) : NULL;
	d.whole_len = (size_t) ((point != NULL ? point : end) - d.whole);
	d.fraction = point != NULL ? point + 1 : end;
	d.fraction_len = (size_t) (end - d.fraction);
	while (d.fraction_len > 0 && d.fraction[d.fraction_len - 1] == '0')
		d.fraction_len--;
	if (d.whole_len == 0 && d.fraction_len == 0)
		d.is_negative = false;
	return d;
}

static int
compare_decimals(const struct operand *a, const struct operand *b)
{
	struct digits x = digits_of(a);
	struct digits y = digits_of(b);
	int		order;

	if (x.is_negative != y.is_negative)
		return x.is_negative ? -1 : 1;
	order = (x.whole_len > y.whole_len) - (x.whole_len < y.whole_len);
	if (order == 0)
		order = compare_texts(x.whole, x.whole_len, y.whole, y.whole_len);
	if (order == 0)
		order = compare_texts(x.fraction, x.fraction_len, y.fraction, y.fraction_len);
	return x.is_negative ? -order : order;
}

int
operand_compare(enum operand_class c, const struct operand *a, const struct operand *b)
{
	if (a->rank != 0 || b->rank != 0)
		return compare_numbers(a->rank, b->rank);
	switch (c)
	{
		case OPERAND_DECIMAL:
			return compare_decimals(a, b);
		case OPERAND_REAL:
		case OPERAND_SINGLE:
			return (a->real > b->real) - (a->real < b->real);
		case OPERAND_TEXT:
		case OPERAND_PADDED:
		case OPERAND_LABEL:
		case OPERAND_UUID:
		case OPERAND_BYTES:
			return compare_texts(a->text, a->len, b->text, b->len);
		default:
			return compare_numbers(a->number, b->number);
	}
}
