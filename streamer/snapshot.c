/* snapshot.c - which transactions a reader has seen, as text and as a question; and the finished position in a sync token. */
/* SPDX-License-Identifier: PostgreSQL */
#include "snapshot.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "text.h"

/* Cuts the field up to the separator off the front of *text; without a separator the field is all that is left. */
static bool
cut(const char **text, size_t *len, char separator, const char **field, size_t *field_len)
{
	const char *found = memchr(*text, separator, *len);

	*field = *text;
	*field_len = found != NULL ? (size_t) (found - *text) : *len;
	if (found == NULL)
	{
		*text += *len;
		*len = 0;
		return false;
	}
	*text = found + 1;
	*len -= *field_len + 1;
	return true;
}

static bool
parse_xip(struct snapshot *s, const char *text, size_t len)
{
	uint64_t least = s->xmin;
	size_t	count = 1;
	bool	more = len > 0;

	if (!more)
		return true;
	for (size_t i = 0; i < len; i++)
		count += text[i] == ',';
	if (count > SNAPSHOT_XIP_MAX)
		return false;
	s->xip = memory_grow(NULL, count, sizeof(uint64_t));
	while (more)
	{
		const char *field;
		size_t	field_len;
		uint64_t xid;

		more = cut(&text, &len, ',', &field, &field_len);
		if (!text_uint64(field, field_len, &xid) || xid < least || xid >= s->xmax)
			return false;
		s->xip[s->xip_count++] = xid;
		least = xid + 1;
	}
	return true;
}

static bool
parse_bounds(struct snapshot *s, const char **text, size_t *len)
{
	const char *field;
	size_t	field_len;

	if (!cut(text, len, ':', &field, &field_len) || !text_uint64(field, field_len, &s->xmin) || s->xmin == 0)
		return false;
	return cut(text, len, ':', &field, &field_len) && text_uint64(field, field_len, &s->xmax) && s->xmax >= s->xmin;
}

bool
snapshot_parse(struct snapshot *s, const char *text, size_t len)
{
	*s = (struct snapshot) {0};
	if (parse_bounds(s, &text, &len) && parse_xip(s, text, len))
		return true;
	snapshot_free(s);
	return false;
}

void
snapshot_copy(struct snapshot *dst, const struct snapshot *src)
{
	*dst = *src;
	dst->xip = NULL;
	if (src->xip_count > 0)
		dst->xip = memcpy(memory_grow(NULL, src->xip_count, sizeof(uint64_t)), src->xip, src->xip_count * sizeof(uint64_t));
}

void
snapshot_free(struct snapshot *s)
{
	free(s->xip);
	*s = (struct snapshot) {0};
}

bool
snapshot_sees(const struct snapshot *s, uint64_t xid)
{
	uint32_t low = 0;
	uint32_t high = s->xip_count;

	if (xid < s->xmin)
		return true;
	if (xid >= s->xmax)
		return false;
	while (low < high)
	{
		uint32_t middle = low + (high - low) / 2;

		if (s->xip[middle] == xid)
			return false;
		if (s->xip[middle] < xid)
			low = middle + 1;
		else
			high = middle;
	}
	return true;
}

bool
snapshot_covers(const struct snapshot *s, const struct snapshot *other)
{
	if (s->xmax < other->xmax)
		return false;
	for (uint32_t i = 0; i < s->xip_count; i++)
		if (snapshot_sees(other, s->xip[i]))
			return false;
	return true;
}

bool
snapshot_equal(const struct snapshot *a, const struct snapshot *b)
{
	if (a->xmin != b->xmin || a->xmax != b->xmax || a->xip_count != b->xip_count)
		return false;
	return a->xip_count == 0 || memcmp(a->xip, b->xip, a->xip_count * sizeof(uint64_t)) == 0;
}

void
snapshot_put(struct buffer *out, const struct snapshot *s)
{
	buffer_printf(out, "%" PRIu64 ":%" PRIu64 ":", s->xmin, s->xmax);
	for (uint32_t i = 0; i < s->xip_count; i++)
		buffer_printf(out, i > 0 ? ",%" PRIu64 : "%" PRIu64, s->xip[i]);
}

uint64_t
snapshot_widen(const struct snapshot *s, uint32_t xid)
{
	/* Ids in use lie within 2^31 of one another, so the signed difference of the low halves is the true distance. */
	uint32_t ahead = xid - (uint32_t) s->xmax;

	if (ahead < UINT32_C(0x80000000))
		return s->xmax + ahead;
	if (s->xmax < (uint64_t) -ahead)
		return xid;				/* would lie before the first id ever: a cluster in its first epoch */
	return s->xmax - (uint32_t) -ahead;
}

void
position_put(struct buffer *out, const struct position *p)
{
	struct buffer text;

	buffer_init(&text);
	buffer_printf(&text, "1/%" PRIu32 "/%" PRIX32 ":%" PRIX32 "/", p->timeline, (uint32_t) (p->lsn >> 32), (uint32_t) p->lsn);
	snapshot_put(&text, &p->snapshot);
	if (text.failed)
		out->failed = true;
	else
		buffer_base64url(out, (const uint8_t *) text.data, text.len);
	buffer_free(&text);
}

static bool
parse_plain(struct position *p, const char *text, size_t len)
{
	const char *field;
	size_t	field_len;
	uint64_t timeline;

	if (!cut(&text, &len, '/', &field, &field_len) || field_len != 1 || field[0] != '1')
		return false;
	if (!cut(&text, &len, '/', &field, &field_len) || !text_uint64(field, field_len, &timeline) || timeline > UINT32_MAX)
		return false;
	if (!cut(&text, &len, '/', &field, &field_len) || !text_lsn(field, field_len, ':', &p->lsn))
		return false;
	p->timeline = (uint32_t) timeline;
	return snapshot_parse(&p->snapshot, text, len);	/* a mid-round position's further fields fail here */
}

bool
position_parse(struct position *p, const char *text, size_t len)
{
	struct buffer plain;
	bool	ok;

	*p = (struct position) {0};
	buffer_init(&plain);
	ok = len > 0 && buffer_unbase64url(&plain, text, len) && parse_plain(p, plain.data, plain.len);
	buffer_free(&plain);
	return ok;
}

void
position_free(struct position *p)
{
	snapshot_free(&p->snapshot);
	*p = (struct position) {0};
}
