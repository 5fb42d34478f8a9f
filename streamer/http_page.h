/* http_page.h - one HTTP request for a page of pages.h, taken apart. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_HTTP_PAGE_H
#define SYNC_HTTP_PAGE_H

#include "pages.h"

struct lws;

bool	http_page(struct pages *p, struct lws *wsi, const char *path, struct page_answer *a, struct buffer *out);	/* as pages_answer */

#endif
