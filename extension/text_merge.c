/*
 * text_merge.c - three-way merge of one text by words.
 *
 * Each side is compared with the base by Myers' greedy algorithm (An O(ND) Difference Algorithm, 1986) over words, white space and single
 * ideographs; hunks of both sides that neither overlap nor touch are applied to the base together.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "text_merge.h"

#include <stdint.h>
#include <string.h>

#define MAX_TOKENS 100000		/* of one text */
#define MAX_EDITS 1000			/* insertions and deletions of one side: memory is its square times four bytes */

typedef struct Tokens
{
	int			n;
	TextSlice  *items;
} Tokens;

/* base[from, to) became other[at, at + len). */
typedef struct Hunk
{
	int			from;
	int			to;
	int			at;
	int			len;
} Hunk;

typedef struct Hunks
{
	int			n;
	Hunk	   *items;			/* in order of base */
} Hunks;

static bool
is_space(unsigned char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Bytes of an ideograph or kana (U+2E80 and above) that starts here: such text has no spaces, so each stands for itself. */
static size_t
ideograph_len(const char *p, const char *end)
{
	unsigned char c = (unsigned char) *p;
	size_t		len = c >= 0xf0 ? 4 : c >= 0xe3 || (c == 0xe2 && end - p > 1 && (unsigned char) p[1] >= 0xba) ? 3 : 0;

	return len && (size_t) (end - p) >= len ? len : 0;
}

static size_t
token_len(const char *p, const char *end)
{
	const char *start = p;
	size_t		ideograph = ideograph_len(p, end);

	if (ideograph)
		return ideograph;
	if (is_space((unsigned char) *p))
	{
		while (p < end && is_space((unsigned char) *p))
			p++;
		return (size_t) (p - start);
	}
	while (p < end && !is_space((unsigned char) *p) && !(p > start && ideograph_len(p, end)))
		p++;
	return (size_t) (p - start);
}

static bool
tokenise(TextSlice text, TextAllocate allocate, Tokens *out)
{
	const char *p = text.data;
	const char *end = p + text.len;
	int			room = 0;

	while (p < end)
	{
		p += token_len(p, end);
		if (++room > MAX_TOKENS)
			return false;
	}
	out->n = 0;
	out->items = allocate(sizeof(TextSlice) * (size_t) (room + 1));
	for (p = text.data; p < end; p += out->items[out->n++].len)
	{
		out->items[out->n].data = p;
		out->items[out->n].len = token_len(p, end);
	}
	return true;
}

static bool
is_same(TextSlice a, TextSlice b)
{
	return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

/* The part of both texts between their common beginning and end, where all edits are. */
typedef struct Middle
{
	const TextSlice *a;
	const TextSlice *b;
	int			n;				/* of a */
	int			m;				/* of b */
	int			skipped;		/* tokens of the common beginning */
} Middle;

static Middle
find_middle(const Tokens *a, const Tokens *b)
{
	Middle		middle = {a->items, b->items, a->n, b->n, 0};

	while (middle.n > 0 && middle.m > 0 && is_same(*middle.a, *middle.b))
	{
		middle.a++;
		middle.b++;
		middle.n--;
		middle.m--;
		middle.skipped++;
	}
	while (middle.n > 0 && middle.m > 0 && is_same(middle.a[middle.n - 1], middle.b[middle.m - 1]))
	{
		middle.n--;
		middle.m--;
	}
	return middle;
}

/* One round of the search: how far each diagonal k of d edits reaches into a. Returns true when the end is reached. */
static bool
extend(const Middle *m, const int32_t *before, int32_t *reach, int d)
{
	int			k;

	for (k = -d; k <= d; k += 2)
	{
		int32_t		x;
		int32_t		y;

		if (d == 0)
			x = 0;
		else if (k == -d || (k != d && before[k - 1 + d - 1] < before[k + 1 + d - 1]))
			x = before[k + 1 + d - 1];	/* an insertion */
		else
			x = before[k - 1 + d - 1] + 1;	/* a deletion */
		y = x - k;
		while (x < m->n && y < m->m && x >= 0 && y >= 0 && is_same(m->a[x], m->b[y]))
		{
			x++;
			y++;
		}
		reach[k + d] = x;
		if (x >= m->n && y >= m->m)
			return true;
	}
	return false;
}

/* Adds base[x, x + deleted) → other[y, y + inserted) before the first hunk, joining both when they meet. Coordinates of the middle. */
static void
prepend(Hunks *hunks, int x, int y, int deleted, int inserted, int room)
{
	Hunk	   *first = &hunks->items[room - hunks->n];

	if (hunks->n > 0 && first->from == x + deleted && first->at == y + inserted)
	{
		first->from = x;
		first->at = y;
		first->len += inserted;
		return;
	}
	hunks->n++;
	first = &hunks->items[room - hunks->n];
	*first = (Hunk) {x, x + deleted, y, inserted};
}

/* Walks back from the end through the rounds; the hunks come out last first. */
static void
trace_back(const Middle *m, int32_t **rounds, int d, Hunks *hunks)
{
	int			room = d + 1;
	int			x = m->n;
	int			y = m->m;
	int			i;

	for (; d > 0; d--)
	{
		const int32_t *before = rounds[d - 1];
		int			k = x - y;
		bool		is_insert = k == -d || (k != d && before[k - 1 + d - 1] < before[k + 1 + d - 1]);
		int			from_x = is_insert ? before[k + 1 + d - 1] : before[k - 1 + d - 1];
		int			from_y = from_x - (is_insert ? k + 1 : k - 1);

		prepend(hunks, from_x, from_y, is_insert ? 0 : 1, is_insert ? 1 : 0, room);
		x = from_x;
		y = from_y;
	}
	memmove(hunks->items, hunks->items + room - hunks->n, sizeof(Hunk) * (size_t) hunks->n);
	for (i = 0; i < hunks->n; i++)
	{
		hunks->items[i].from += m->skipped;
		hunks->items[i].to += m->skipped;
		hunks->items[i].at += m->skipped;
	}
}

static bool
compare(const Tokens *a, const Tokens *b, TextAllocate allocate, Hunks *hunks)
{
	Middle		middle = find_middle(a, b);
	int32_t   **rounds = allocate(sizeof(int32_t *) * (MAX_EDITS + 1));
	int			d;

	for (d = 0; d <= MAX_EDITS; d++)
	{
		rounds[d] = allocate(sizeof(int32_t) * (size_t) (2 * d + 1));
		memset(rounds[d], 0, sizeof(int32_t) * (size_t) (2 * d + 1));
		if (!extend(&middle, d ? rounds[d - 1] : NULL, rounds[d], d))
			continue;
		hunks->n = 0;
		hunks->items = allocate(sizeof(Hunk) * (size_t) (d + 1));
		trace_back(&middle, rounds, d, hunks);
		return true;
	}
	return false;
}

static bool
is_same_hunk(const Hunk *l, const Tokens *local, const Hunk *s, const Tokens *server)
{
	int			i;

	if (l->from != s->from || l->to != s->to || l->len != s->len)
		return false;
	for (i = 0; i < l->len; i++)
		if (!is_same(local->items[l->at + i], server->items[s->at + i]))
			return false;
	return true;
}

static void
append(TextSlice *out, const Tokens *tokens, int from, int to)
{
	char	   *end = (char *) out->data + out->len;

	for (; from < to; from++)
	{
		memcpy(end, tokens->items[from].data, tokens->items[from].len);
		end += tokens->items[from].len;
		out->len += tokens->items[from].len;
	}
}

/* Applies both sides' hunks to the base; false where they meet. */
static bool
weave(const Tokens *base, const Tokens *local, const Hunks *l, const Tokens *server, const Hunks *s, TextSlice *out)
{
	int			done = 0;
	int			i = 0;
	int			j = 0;

	while (i < l->n || j < s->n)
	{
		const Hunk *a = i < l->n ? &l->items[i] : NULL;
		const Hunk *b = j < s->n ? &s->items[j] : NULL;
		bool		is_both = a && b && is_same_hunk(a, local, b, server);
		bool		is_local = a && (b == NULL || a->from < b->from);

		if (a && b && !is_both && a->from <= b->to && b->from <= a->to)
			return false;
		append(out, base, done, is_local || is_both ? a->from : b->from);
		if (is_local || is_both)
			append(out, local, a->at, a->at + a->len);
		else
			append(out, server, b->at, b->at + b->len);
		done = is_local || is_both ? a->to : b->to;
		i += is_local || is_both;
		j += !is_local || is_both;
	}
	append(out, base, done, base->n);
	return true;
}

bool
text_merge(TextSlice base, TextSlice local, TextSlice server, TextAllocate allocate, TextSlice *result)
{
	Tokens		b;
	Tokens		l;
	Tokens		s;
	Hunks		to_local;
	Hunks		to_server;
	TextSlice	out = {NULL, 0};

	if (!tokenise(base, allocate, &b) || !tokenise(local, allocate, &l) || !tokenise(server, allocate, &s))
		return false;
	if (!compare(&b, &l, allocate, &to_local) || !compare(&b, &s, allocate, &to_server))
		return false;
	out.data = allocate(base.len + local.len + server.len + 1);
	if (!weave(&b, &l, &to_local, &s, &to_server, &out))
		return false;
	*result = out;
	return true;
}
