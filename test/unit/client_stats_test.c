/* client_stats_test.c - numbers are counted, anything else is refused whole. */
/* SPDX-License-Identifier: PostgreSQL */
#include "check.h"
#include "client_stats.h"
#include "metrics.h"

static bool
take(const char *text)
{
	struct json *doc = json_parse(text, strlen(text), 100);
	bool	is_taken = client_stats_take(json_root(doc)) == NULL;

	json_free(doc);
	return is_taken;
}

int
main(void)
{
	static const char *const bad[] = {"[]", "{}", "1", "{\"queue_length\":\"3\"}", "{\"queue_length\":-1}", "{\"queue_length\":null}", "{\"queue_length\":1,\"storage_bytes\":1e16}",
		"{\"offline_seconds\":1e300}", "{\"queue_length\":0.00000000000000000000000000000000000001}", "{\"other\":1}"};
	static const enum metric all[] = {METRIC_CLIENT_QUEUE, METRIC_CLIENT_OFFLINE, METRIC_CLIENT_STORAGE};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(!take(bad[i]));
	for (size_t i = 0; i < 3; i++)
		CHECK(metric_sum(all[i]) == 0);
	CHECK(take("{\"queue_length\":12,\"user\":\"ada\"}"));
	CHECK(take("{\"queue_length\":0,\"offline_seconds\":86400.5,\"storage_bytes\":5e6}"));
	CHECK(metric_sum(METRIC_CLIENT_QUEUE) == 2 && metric_sum(METRIC_CLIENT_OFFLINE) == 1 && metric_sum(METRIC_CLIENT_STORAGE) == 1);
	return CHECK_END();
}
