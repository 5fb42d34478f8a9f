/* text_merge_test.c - words of one text edited by two people: kept where they are apart, refused where they touch. */
/* SPDX-License-Identifier: PostgreSQL */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The module is the extension's and knows nothing of PostgreSQL. */
#include "../../extension/text_merge.c"

static void *blocks[20000];
static int	nblocks;

static void *
keep(size_t size)
{
	void   *block = malloc(size ? size : 1);

	if (block == NULL || nblocks == sizeof(blocks) / sizeof(blocks[0]))
		abort();
	return blocks[nblocks++] = block;
}

static void
free_all(void)
{
	while (nblocks > 0)
		free(blocks[--nblocks]);
}

/* expected NULL: the edits touch. The sides may change places. */
static bool
merges(const char *base, const char *local, const char *server, const char *expected)
{
	TextSlice	b = {base, strlen(base)};
	TextSlice	sides[2] = {{local, strlen(local)}, {server, strlen(server)}};
	bool		is_right = true;

	for (int i = 0; i < 2; i++)
	{
		TextSlice	result = {NULL, 0};
		bool		is_merged = text_merge(b, sides[i], sides[1 - i], keep, &result);

		is_right &= is_merged == (expected != NULL) &&
			(!is_merged || (result.len == strlen(expected) && memcmp(result.data, expected, result.len) == 0));
		free_all();
	}
	return is_right;
}

static void
edits_apart_are_both_kept(void)
{
	CHECK(merges("red apple", "green apple", "red pear", "green pear"));
	CHECK(merges("a b c", "a x b c", "a b c y", "a x b c y"));
	CHECK(merges("one two three", "one three", "one two three four", "one three four"));
	CHECK(merges("meet at ten in the hall", "meet at eleven in the hall", "meet at ten in the big hall tomorrow", "meet at eleven in the big hall tomorrow"));
	CHECK(merges("line one\nline two\n", "line 1\nline two\n", "line one\nline 2\n", "line 1\nline 2\n"));
	CHECK(merges("\xe6\xbc\xa2\xe5\xad\x97\xe4\xbb\xae\xe5\x90\x8d", "\xe6\xbc\xa2\xe5\xad\x90\xe4\xbb\xae\xe5\x90\x8d", "\xe6\xbc\xa2\xe5\xad\x97\xe4\xbb\xae\xe5\x90\x8d\xe4\xba\xa4",
				 "\xe6\xbc\xa2\xe5\xad\x90\xe4\xbb\xae\xe5\x90\x8d\xe4\xba\xa4"));
}

static void
edits_that_touch_are_refused(void)
{
	CHECK(merges("a b c", "a x c", "a y c", NULL));
	CHECK(merges("", "x", "y", NULL));
	CHECK(merges("a b", "", "a b c", NULL));
	CHECK(merges("a b c", "a b", "a b c d", NULL));
}

static void
one_side_or_the_same_edit_is_no_collision(void)
{
	CHECK(merges("a", "a", "b", "b"));
	CHECK(merges("a b", "a b", "a b", "a b"));
	CHECK(merges("one two", "ONE two", "ONE two!", NULL) || merges("one two", "ONE two", "ONE two!", "ONE two!"));
	CHECK(merges("one two three", "ONE two three", "ONE two three four", "ONE two three four"));
	CHECK(merges("a", "", "", ""));
}

/* Time and memory are bounded: texts too different or too long are not compared. */
static void
too_much_is_refused(void)
{
	static char base[60001];
	static char local[60001];
	static char many[300000];
	TextSlice	result;

	for (int i = 0; i < 10000; i++)
	{
		snprintf(base + i * 6, 7, "%05d ", i);
		snprintf(local + i * 6, 7, "%05d ", i + 50000);
	}
	CHECK(!text_merge((TextSlice) {base, 60000}, (TextSlice) {local, 60000}, (TextSlice) {base, 60000}, keep, &result));
	free_all();
	memset(many, ' ', sizeof(many));
	for (size_t i = 0; i < sizeof(many); i += 2)
		many[i] = 'x';
	CHECK(!text_merge((TextSlice) {many, sizeof(many)}, (TextSlice) {many, sizeof(many)}, (TextSlice) {many, sizeof(many)}, keep, &result));
	free_all();
}

int
main(void)
{
	edits_apart_are_both_kept();
	edits_that_touch_are_refused();
	one_side_or_the_same_edit_is_no_collision();
	too_much_is_refused();
	return CHECK_END();
}
