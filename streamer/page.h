/* page.h - one answer of pull, taken apart, and the `changes` payload made of it. Pure. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_PAGE_H
#define SYNC_PAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "buffer.h"
#include "json.h"

/* Slices of the answer's text, which must outlive it. */
struct page
{
	struct json *doc;
	struct json_value changes;
	struct json_value withdrawn;
	struct json_value reset;
	struct json_value server_time;
	bool	has_more;
	char   *token;		/* owned: the part, NUL, the position */
	const char *position;
};

bool	page_read(struct page *page, const char *json, size_t len) __attribute__((warn_unused_result));	/* page_free in either case */
void	page_free(struct page *page);
bool	page_is_empty(const struct page *page);			/* it holds nothing but a position */
void	page_put(struct buffer *payload, const struct page *page);

#endif
