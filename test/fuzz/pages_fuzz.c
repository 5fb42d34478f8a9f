/* pages_fuzz.c - any path, arguments and token: nobody who may not look gets data, and what is data can be read. */
/* SPDX-License-Identifier: PostgreSQL */
#include <unistd.h>

#include "fuzz.h"
#include "pages.h"
#include "quiet.h"

static const char token[] = "0123456789abcdef0123456789abcdef";
static bool has_collected;
static bool has_described;

static void
collect(void *owner)
{
	(void) owner;
	has_collected = true;
}

static void
sessions(void *owner, const char *user, struct buffer *json)
{
	(void) owner;
	has_described = true;
	buffer_json_string(json, user, strlen(user));
}

static char *
token_file(void)
{
	const char *directory = getenv("TMPDIR");
	struct buffer path;
	char   *name;
	FILE   *f;

	buffer_init(&path);
	buffer_printf(&path, "%s/pages-token-%d", directory != NULL ? directory : ".", (int) getpid());
	name = memory_text(path.data, path.len);
	buffer_free(&path);
	f = fopen(name, "w");
	REQUIRE(f != NULL && fputs(token, f) >= 0 && fclose(f) == 0);
	return name;
}

/* One with a token, one that shows everything to its own machine; made once. */
static struct pages *
open_pages(bool has_token)
{
	static const struct pages_calls calls = {collect, sessions};
	static struct options options[2];
	static struct pages *both[2];

	if (both[0] == NULL)
		for (size_t i = 0; i < 2; i++)
		{
			options[i] = (struct options) {.live_page = true, .metrics_token_file = i == 1 ? token_file() : memory_string("")};
			both[i] = pages_new(&options[i], &calls, NULL);
			REQUIRE(both[i] != NULL);
			if (i == 1)
				unlink(options[i].metrics_token_file);
			for (int64_t now_ms = 0; now_ms < 60000; now_ms += 1000)
				pages_tick(both[i], now_ms, now_ms);
		}
	return both[has_token ? 1 : 0];
}

/* The first byte: is there a token, is the client local, is one given. Then path, user, since, token, cut at NULs. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = input_of(data, size);
	unsigned how = input_byte(&in);
	struct pages *p = open_pages((how & 1) != 0);
	char   *path = input_text(&in);
	char   *user = input_text(&in);
	char   *since = input_text(&in);
	char   *bearer = input_text(&in);
	struct page_request r = {.path = path, .user = user, .since = since, .bearer = (how & 4) != 0 ? bearer : NULL, .is_local = (how & 2) != 0};
	struct page_answer a = {0};
	bool	may_look = (how & 1) != 0 ? r.bearer != NULL && strcmp(bearer, token) == 0 : r.is_local;
	struct buffer out;

	buffer_init(&out);
	has_collected = has_described = false;
	if (text_is_utf8(user, strlen(user)) && pages_answer(p, &r, &a, &out))
	{
		REQUIRE((a.status == 200 || a.status == 401 || a.status == 403) && a.type != NULL && !out.failed);
		REQUIRE(may_look || (!has_collected && !has_described));
		REQUIRE(may_look || a.status != 200 || (how & 1) != 0);		/* the page's own files ask for the token themselves */
		if (strcmp(a.type, "application/json") == 0)
			require_json_text(&out);
	}
	buffer_free(&out);
	free(path);
	free(user);
	free(since);
	free(bearer);
	return 0;
}
