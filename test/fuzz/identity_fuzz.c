/* identity_fuzz.c - any claims, join, statistics, origin and header: the same identity has the same standing whenever its token was made, no page of a host not listed
 * may talk to us, and numbers are counted or refused. */
/* SPDX-License-Identifier: PostgreSQL */
#include "auth.h"
#include "client_stats.h"
#include "fuzz.h"
#include "metrics.h"
#include "origin.h"
#include "rights.h"
#include "standing.h"

static void
stand(const char *claims, const char *request)
{
	struct token one = {.claims = (char *) claims, .subject = "s", .role = "r"};
	struct token other = one;
	struct json *doc = json_parse(claims, strlen(claims), 10000);
	struct json *wish = json_parse(request, strlen(request), 10000);
	struct buffer text;
	size_t	len[2] = {0, 0};
	char   *keys[2];

	buffer_init(&text);
	if (doc != NULL && json_type(json_root(doc)) == JSON_OBJECT && wish != NULL && json_type(json_root(wish)) == JSON_OBJECT)
	{
		/* made later, and good for longer */
		buffer_puts(&text, json_size(json_root(doc)) > 0 ? "{\"iat\":1,\"exp\":99," : "{\"iat\":1,\"exp\":99");
		buffer_put(&text, json_root(doc).raw + 1, json_root(doc).len - 1);
		other.claims = text.data;
		keys[0] = standing_key(&one, request, &len[0]);
		keys[1] = standing_key(&other, request, &len[1]);
		REQUIRE((keys[0] == NULL) == (keys[1] == NULL));
		if (keys[0] != NULL)
			REQUIRE(len[0] == len[1] && memcmp(keys[0], keys[1], len[0]) == 0);
		free(keys[0]);
		free(keys[1]);
		(void) rights_read(json_root(doc));
	}
	json_free(doc);
	json_free(wish);
	buffer_free(&text);
}

static void
count(const char *text)
{
	struct json *doc = json_parse(text, strlen(text), 1000);
	double	before;

	metrics_reset();
	before = metric_sum(METRIC_CLIENT_STORAGE);
	if (doc != NULL)
	{
		const char *problem = client_stats_take(json_root(doc));

		REQUIRE(problem == NULL || metric_sum(METRIC_CLIENT_STORAGE) <= before);
		REQUIRE(metric_sum(METRIC_CLIENT_STORAGE) >= 0 && metric_sum(METRIC_CLIENT_STORAGE) <= 1.1e15);
	}
	json_free(doc);
}

static void
ask(const char *origin, const char *host)
{
	bool	is_open = origin_is_allowed("https://a.example,http://b.example:8080", origin, host);

	if (origin[0] != '\0')
		REQUIRE(is_open == (strcasecmp(origin, "https://a.example") == 0 || strcasecmp(origin, "http://b.example:8080") == 0));
	REQUIRE(origin_is_allowed("*", origin, host));
	/* the host's own pages only: what follows the scheme is the host */
	if (origin[0] != '\0' && origin_is_allowed("", origin, host))
		REQUIRE(strstr(origin, "://") != NULL && strcasecmp(strstr(origin, "://") + 3, host) == 0);
	(void) origin_is_allowed(host, origin, host);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = input_of(data, size);
	char   *first = input_text(&in);
	char   *second = input_text(&in);
	const char *bearer = auth_bearer(first);

	REQUIRE(bearer == NULL || (bearer > first && bearer <= first + strlen(first)));
	ask(first, second);
	if (text_is_utf8(first, strlen(first)) && text_is_utf8(second, strlen(second)))
	{
		stand(first, second);
		count(first);
	}
	free(first);
	free(second);
	return 0;
}
