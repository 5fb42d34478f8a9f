/* pages.c - what the streamer shows of itself to those who run it: /metrics, the live page, its data; and who may look. */
/* SPDX-License-Identifier: PostgreSQL */
#include "pages.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "live.h"
#include "log.h"
#include "memory.h"
#include "metrics.h"
#include "text.h"

#define TOKEN_LEAST 16
#define TOKEN_SIZE 256

struct pages
{
	const struct options *options;
	struct pages_calls calls;
	void   *owner;
	struct history *history;
	char	token[TOKEN_SIZE];		/* "": whoever is local may look, nobody else */
	int64_t unix_ms;
};

static bool
read_token(struct pages *p, const char *path)
{
	FILE   *f = fopen(path, "re");
	size_t	len = f != NULL ? fread(p->token, 1, sizeof(p->token) - 1, f) : 0;
	bool	is_good = f != NULL && !ferror(f);

	if (!is_good)
		log_event(LOG_LEVEL_ERROR, "metrics_token_unreadable", "file=\"%s\" reason=\"%s\"", path, strerror(errno));
	if (f != NULL)
		fclose(f);
	p->token[len] = '\0';
	p->token[strcspn(p->token, " \r\n\t")] = '\0';
	if (!is_good || strlen(p->token) >= TOKEN_LEAST)
		return is_good;
	log_event(LOG_LEVEL_ERROR, "metrics_token_too_short", "file=\"%s\" least=%d", path, TOKEN_LEAST);
	return false;
}

struct pages *
pages_new(const struct options *o, const struct pages_calls *calls, void *owner)
{
	struct pages *p = memory_new(sizeof(*p));

	p->options = o;
	p->calls = *calls;
	p->owner = owner;
	p->history = history_new();
	if (o->metrics_token_file[0] == '\0' || read_token(p, o->metrics_token_file))
		return p;
	pages_free(p);
	return NULL;
}

void
pages_free(struct pages *p)
{
	if (p == NULL)
		return;
	history_free(p->history);
	explicit_bzero(p->token, sizeof(p->token));
	free(p);
}

void
pages_tick(struct pages *p, int64_t now_ms, int64_t unix_ms)
{
	p->unix_ms = unix_ms;
	if (!history_is_due(p->history, now_ms))
		return;
	p->calls.collect(p->owner);
	history_take(p->history, now_ms, unix_ms);
}

/* Takes as long for a token that is wrong early as for one that is wrong late. */
static bool
is_token(const struct pages *p, const char *given)
{
	size_t	len = strlen(p->token);
	unsigned char differs = strlen(given) != len;

	for (size_t i = 0; i < len; i++)
		differs = (unsigned char) (differs | (p->token[i] ^ given[differs != 0 ? 0 : i]));
	return differs == 0;
}

static bool
may_look(const struct pages *p, const struct page_request *r)
{
	if (p->token[0] == '\0')
		return r->is_local;
	return r->bearer != NULL && is_token(p, r->bearer);
}

static void
refuse(const struct pages *p, struct page_answer *a, struct buffer *out)
{
	static const char unauthorized[] = "{\"error\":{\"code\":\"unauthorized\",\"message\":\"this needs the token of --metrics-token-file\"}}";
	static const char forbidden[] =
		"{\"error\":{\"code\":\"forbidden\",\"message\":\"this is shown on the streamer's own machine only\",\"hint\":\"--metrics-token-file lets others in\"}}";
	bool	has_token = p->token[0] != '\0';

	*a = (struct page_answer){has_token ? 401 : 403, "application/json", NULL};
	buffer_puts(out, has_token ? unauthorized : forbidden);
}

/* The files hold no data, so with a token set they are given to everybody: the page asks for the token. */
static bool
answer_file(const struct pages *p, const struct page_request *r, struct page_answer *a, struct buffer *out)
{
	const char *name = strcmp(r->path, "/") == 0 ? "index.html" : strncmp(r->path, "/live/", 6) == 0 ? r->path + 6 : "";

	for (const struct live_file *f = live_files; f->name != NULL; f++)
	{
		if (strcmp(f->name, name) != 0)
			continue;
		if (p->token[0] == '\0' && !r->is_local)
		{
			refuse(p, a, out);
			return true;
		}
		*a = (struct page_answer){200, files_type(name), "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"};
		buffer_put(out, f->data, f->len);
		return true;
	}
	return false;
}

enum page
{
	PAGE_NONE,
	PAGE_METRICS,
	PAGE_SAMPLES,
	PAGE_SESSIONS,
};

static enum page
page_of(const struct pages *p, const char *path)
{
	if (strcmp(path, "/metrics") == 0)
		return PAGE_METRICS;
	if (!p->options->live_page)
		return PAGE_NONE;
	if (strcmp(path, "/live/samples") == 0)
		return PAGE_SAMPLES;
	return strcmp(path, "/live/sessions") == 0 ? PAGE_SESSIONS : PAGE_NONE;
}

static void
put_samples(struct pages *p, const char *since, struct buffer *out)
{
	uint64_t after = 0;

	if (!text_uint64(since, strlen(since), &after) || after > INT64_MAX)
		after = 0;
	history_put(p->history, (int64_t) after, p->unix_ms, out);
}

bool
pages_answer(struct pages *p, const struct page_request *r, struct page_answer *a, struct buffer *out)
{
	enum page page = page_of(p, r->path);

	if (page == PAGE_NONE)
		return p->options->live_page && answer_file(p, r, a, out);
	if (!may_look(p, r))
	{
		refuse(p, a, out);
		return true;
	}
	*a = (struct page_answer){200, "application/json", NULL};
	if (page == PAGE_SAMPLES)
		put_samples(p, r->since, out);
	else if (page == PAGE_SESSIONS)
		p->calls.sessions(p->owner, r->user, out);
	else
	{
		a->type = "text/plain; version=0.0.4; charset=utf-8";
		p->calls.collect(p->owner);
		metrics_write(out);
	}
	return true;
}
