/* fuzz.h - what the fuzzers share: claims that must hold, inputs cut into parts of exactly their length, JSON that must be readable. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_FUZZ_H
#define SYNC_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "json.h"
#include "memory.h"
#include "text.h"

int		LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(claim) \
	do \
	{ \
		if (!(claim)) \
		{ \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #claim); \
			abort(); \
		} \
	} while (0)

struct input
{
	const char *at;
	const char *end;
};

static inline struct input
input_of(const uint8_t *data, size_t size)
{
	return (struct input) {(const char *) data, (const char *) data + size};
}

/* 0 at the end. */
static inline unsigned
input_byte(struct input *in)
{
	return in->at < in->end ? (unsigned char) *in->at++ : 0;
}

static inline size_t
input_left(const struct input *in)
{
	return (size_t) (in->end - in->at);
}

/* Owned: what comes before the next NUL, or the end. A block of its own, so that a read past its end is seen. */
static inline char *
input_text(struct input *in)
{
	const char *cut = in->at < in->end ? memchr(in->at, '\0', input_left(in)) : NULL;
	const char *end = cut != NULL ? cut : in->end;
	char   *text = memory_text(in->at != NULL ? in->at : "", (size_t) (end - in->at));

	in->at = cut != NULL ? cut + 1 : in->end;
	return text;
}

/* Owned: all the rest. */
static inline char *
input_rest(struct input *in, size_t *len)
{
	char   *rest = malloc(input_left(in) > 0 ? input_left(in) : 1);

	memory_require(rest);
	*len = input_left(in);
	if (*len > 0)
		memcpy(rest, in->at, *len);
	in->at = in->end;
	return rest;
}

/* What is given to clients must be JSON; NULL: it only nests deeper than our own reader goes, because of what was put into it. */
static inline struct json *
require_json(const char *text, size_t len)
{
	struct json *doc = json_parse(text, len, 10000000);
	int		depth = 0;
	int		deepest = 0;

	for (size_t i = 0; doc == NULL && i < len; i++)
	{
		depth += (text[i] == '[' || text[i] == '{') - (text[i] == ']' || text[i] == '}');
		deepest = depth > deepest ? depth : deepest;
	}
	REQUIRE(doc != NULL || deepest > 60);
	return doc;
}

static inline void
require_json_text(const struct buffer *b)
{
	REQUIRE(!b->failed && b->data != NULL && text_is_utf8(b->data, b->len));
	json_free(require_json(b->data, b->len));
}

#endif
