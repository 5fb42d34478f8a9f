/* clock.c - reads sync_clock, format 3: the writes that a row is made of, each with the columns it wrote last. */
/* SPDX-License-Identifier: PostgreSQL */
#include "clock.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

#define CLOCK_FORMAT 3
#define BY_DEVICE 1
#define IS_ROWS 2				/* version and time are the row's */
#define COLUMNS_SHIFT 2
#define MANY_COLUMNS 63			/* their number follows */
#define DEVICE_BYTES 16

/* Hexadecimal digits, two for each byte. The first read past the end fails, and all after it. */
struct reading
{
	const char *p;
	const char *end;
	bool	failed;
};

/* One write: its columns' hashes are count * 8 digits at columns; none means the columns that no write lists. */
struct write
{
	bool	is_last;
	size_t	count;
	const char *columns;
};

static unsigned
digit(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned) (c - '0');
	return c >= 'a' && c <= 'f' ? (unsigned) (c - 'a' + 10) : 16;
}

static unsigned
get_byte(struct reading *r)
{
	unsigned high = r->end - r->p >= 2 ? digit(r->p[0]) : 16;
	unsigned low = high < 16 ? digit(r->p[1]) : 16;

	if (r->failed || low > 15)
	{
		r->failed = true;
		return 0;
	}
	r->p += 2;
	return high << 4 | low;
}

static uint64_t
get_varint(struct reading *r)
{
	uint64_t n = 0;

	for (int shift = 0; shift < 64; shift += 7)
	{
		unsigned byte = get_byte(r);

		n |= (uint64_t) (byte & 0x7f) << shift;
		if (byte < 0x80)
			return n;
	}
	r->failed = true;
	return 0;
}

static uint32_t
get_hash(struct reading *r)
{
	uint32_t hash = 0;

	for (int i = 0; i < 4; i++)
		hash = hash << 8 | get_byte(r);
	return hash;
}

static void
skip_bytes(struct reading *r, size_t count)
{
	if ((size_t) (r->end - r->p) / 2 < count)
		r->failed = true;
	else
		r->p += count * 2;
}

static bool
get_write(struct reading *r, struct write *w)
{
	unsigned flags = get_byte(r);

	w->count = flags >> COLUMNS_SHIFT;
	if (w->count == MANY_COLUMNS)
		w->count = (size_t) get_varint(r);
	w->is_last = true;
	if ((flags & IS_ROWS) == 0)
	{
		w->is_last = get_varint(r) == 0;	/* how many versions it lies behind */
		get_varint(r);						/* and how long */
	}
	if ((flags & BY_DEVICE) != 0)
		skip_bytes(r, DEVICE_BYTES);
	w->columns = r->p;
	if (w->count > TABLES_COLUMN_MAX)
		r->failed = true;
	else
		skip_bytes(r, w->count * 4);
	return !r->failed;
}

static void
add_column(uint8_t *set, int index)
{
	set[index / 8] |= (uint8_t) (1 << (index % 8));
}

/* Adds the columns of these names; false if one of them is none of the table's: it was renamed or dropped since. */
static bool
add_columns(uint8_t *set, const struct sync_table *t, const struct write *w)
{
	struct reading r = {.p = w->columns, .end = w->columns + w->count * 8};
	bool	all_known = true;

	for (size_t k = 0; k < w->count; k++)
	{
		uint32_t hash = get_hash(&r);
		bool	is_known = false;

		for (int i = 0; i < t->column_count; i++)
			if (t->columns[i].name_hash == hash)
			{
				add_column(set, i);
				is_known = true;
			}
		all_known &= is_known;
	}
	return all_known;
}

/* Adds the columns that no write lists. */
static void
add_rest(uint8_t *set, uint8_t *listed, const struct sync_table *t, struct reading r, unsigned count)
{
	struct write w;

	memset(listed, 0, COLUMN_SET_BYTES(t->column_count));
	while (count-- > 0 && get_write(&r, &w))
		(void) add_columns(listed, t, &w);
	for (int i = 0; i < t->column_count; i++)
		if (!column_set_has(listed, i))
			add_column(set, i);
}

/* set is all zero at first; listed is room for another. */
static bool
read_clock(uint8_t *set, uint8_t *listed, const struct sync_table *t, struct reading r)
{
	unsigned format = get_byte(&r);
	unsigned count = get_byte(&r);
	struct reading start = r;
	bool	has_rest = false;

	if (format != CLOCK_FORMAT || count == 0)
		return false;
	for (unsigned i = 0; i < count; i++)
	{
		struct write w;

		if (!get_write(&r, &w))
			return false;
		/* a name that is gone may have been that of a column which no write lists */
		if (w.is_last && (w.count == 0 || !add_columns(set, t, &w)))
			has_rest = true;
	}
	if (has_rest)
		add_rest(set, listed, t, start, count);
	for (int i = 0; i < t->column_count; i++)
		if (t->columns[i].follows)
			add_column(set, i);
	return !r.failed;
}

uint8_t *
clock_changed(const struct sync_table *t, struct value clock)
{
	struct reading r = {.p = clock.text, .end = clock.text + clock.len};
	size_t	size = COLUMN_SET_BYTES(t->column_count);
	struct buffer scratch;
	uint8_t *set = NULL;

	if (!value_is_text(clock))
		return NULL;
	buffer_init(&scratch);
	if (clock.kind == VALUE_ESCAPED && !value_text(clock, &scratch, &r.p, &clock.len))
		clock.len = 0;
	r.end = r.p + clock.len;
	if (clock.len >= 2 && r.p[0] == '\\' && r.p[1] == 'x')
		r.p += 2;
	set = memory_new(2 * size);
	if (!read_clock(set, set + size, t, r))
	{
		free(set);
		set = NULL;
	}
	buffer_free(&scratch);
	return set;
}
