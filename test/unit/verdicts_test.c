/* verdicts_test.c - verdicts are counted by status, outcome, kind and reason, whatever the rows beside them hold. */
/* SPDX-License-Identifier: PostgreSQL */
#include "check.h"
#include "metrics.h"
#include "verdicts.h"

static void
count(const char *json)
{
	metrics_reset();
	verdicts_count(json, strlen(json));
}

static size_t
changes(const char *json)
{
	return verdicts_changes(json, strlen(json));
}

static void
test_verdicts(void)
{
	count("{\"success\": true, \"processed\": [{\"index\": 0, \"status\": \"success\", \"outcome\": \"applied\", \"data\": {\"status\": \"error\", \"a\": [\"}\", \"\\\"]\"]}},\n"
		  "{\"status\":\"error\",\"outcome\":\"rejected\",\"error\":{\"message\":\"m\",\"code\":\"not_null\"}},"
		  "{\"status\":\"error\",\"outcome\":\"retry\",\"error\":{\"code\":\"locked\"}},"
		  "{\"status\":\"conflict\",\"outcome\":\"superseded\",\"conflict_data\":{\"local_data\":{\"kind\":\"x\"},\"kind\":\"edit\"}},"
		  "{\"status\":\"conflict\",\"outcome\":\"superseded\",\"conflict_data\":{\"kind\":\"edit\"},\"repeat\":true}], \"server_time\": \"now\"}");
	CHECK(metric_value_for(METRIC_VERDICTS, "success") == 1 && metric_value_for(METRIC_VERDICTS, "error") == 2 && metric_value_for(METRIC_VERDICTS, "conflict") == 1);
	CHECK(metric_value_for(METRIC_VERDICTS, "repeat") == 1 && metric_sum(METRIC_VERDICTS) == 5);
	CHECK(metric_value_for(METRIC_OUTCOMES, "applied") == 1 && metric_value_for(METRIC_OUTCOMES, "superseded") == 1 && metric_sum(METRIC_OUTCOMES) == 4);
	CHECK(metric_value_for(METRIC_REJECTS, "not_null") == 1 && metric_sum(METRIC_REJECTS) == 1);
	CHECK(metric_value_for(METRIC_CONFLICTS, "edit") == 1 && metric_sum(METRIC_CONFLICTS) == 1);
}

static void
test_others(void)
{
	static const char *const odd[] = {"", "{", "[", "{\"processed\"", "{\"processed\":[", "{\"processed\":{}}", "{\"processed\":[1,null,\"x\",[{}]]}", "{\"processed\":[{\"status\":",
		"{\"processed\":[{\"status\":\"", "{\"processed\":[{\"a\\", "]]]]", "{\"a\":[[[", "\"\\"};

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
	{
		count(odd[i]);
		CHECK(metric_sum(METRIC_OUTCOMES) <= 1 && changes(odd[i]) == 0);
	}
	CHECK(changes("{\"changes\":[],\"n\":1}") == 0);
	CHECK(changes("{\"withdrawn\":[{\"changes\":[1]}],\"changes\" : [ {\"data\":{\"x\":[1,2]}} , {\"data\":null},{}],\"has_more\":false}") == 3);
}

int
main(void)
{
	test_verdicts();
	test_others();
	return CHECK_END();
}
