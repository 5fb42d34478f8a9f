/* text_merge_fuzz.c - any three texts, cut at NULs: sides may change places, and one side's edit alone is taken as it is. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>
#include <string.h>

#include "../../extension/text_merge.c"

int		LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *blocks[20000];
static int	nblocks;

static void *
keep(size_t len)
{
	void   *block = malloc(len ? len : 1);

	if (block == NULL || nblocks == sizeof(blocks) / sizeof(blocks[0]))
		abort();
	return blocks[nblocks++] = block;
}

static TextSlice
next(const char **p, const char *end)
{
	const char *cut = memchr(*p, '\0', (size_t) (end - *p));
	TextSlice slice = {*p, (size_t) ((cut ? cut : end) - *p)};

	*p = cut ? cut + 1 : end;
	return slice;
}

static bool
equal(TextSlice a, TextSlice b)
{
	return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *) data;
	const char *end = p + size;
	TextSlice	base = next(&p, end);
	TextSlice	local = next(&p, end);
	TextSlice	server = next(&p, end);
	TextSlice	one = {NULL, 0};
	TextSlice	other = {NULL, 0};
	bool		is_merged;

	if (size == 0)
		return 0;
	is_merged = text_merge(base, local, server, keep, &one);
	if (text_merge(base, server, local, keep, &other) != is_merged || (is_merged && !equal(one, other)))
		abort();
	if (text_merge(base, local, base, keep, &one) && !equal(one, local))
		abort();
	if (text_merge(base, base, server, keep, &one) && !equal(one, server))
		abort();
	while (nblocks > 0)
		free(blocks[--nblocks]);
	return 0;
}
