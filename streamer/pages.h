/* pages.h - what the streamer shows of itself to those who run it: /metrics, the live page, its data; and who may look. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_PAGES_H
#define SYNC_PAGES_H

#include <stdbool.h>
#include <stddef.h>

#include "buffer.h"
#include "history.h"
#include "options.h"

struct pages;

struct pages_calls
{
	void	(*collect)(void *owner);	/* sets the gauges that nobody sets by himself */
	void	(*sessions)(void *owner, const char *user, struct buffer *json);	/* describe_sessions */
};

struct page_request
{
	const char *path;
	const char *user;		/* arguments of the URL, "" where absent */
	const char *since;
	const char *bearer;		/* NULL: none was given */
	bool	is_local;		/* from this machine, and not passed on by a proxy */
};

struct page_answer
{
	unsigned int status;
	const char *type;
	const char *policy;		/* the value of content-security-policy, NULL: none */
};

/* NULL: the token's file cannot be used, the reason was logged. The options must outlive it. */
struct pages *pages_new(const struct options *o, const struct pages_calls *calls, void *owner);
void	pages_free(struct pages *p);
void	pages_tick(struct pages *p, int64_t now_ms, int64_t unix_ms);		/* about once a second: takes the samples */

/* GET only. false: none of these pages, out is as it was. */
bool	pages_answer(struct pages *p, const struct page_request *r, struct page_answer *a, struct buffer *out);

#endif
