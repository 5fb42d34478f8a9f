/* metrics_test.c - counts add up, labels are bounded and harmless, and the text is what Prometheus reads. */
/* SPDX-License-Identifier: PostgreSQL */
#include "check.h"
#include "metrics.h"

static struct buffer text;

static bool
shows(const char *line)
{
	buffer_reset(&text);
	metrics_write(&text);
	return text.data != NULL && strstr(text.data, line) != NULL;
}

static void
test_plain(void)
{
	metrics_reset();
	CHECK(shows("# HELP sync_messages_sent_total Messages to clients.\n# TYPE sync_messages_sent_total counter\nsync_messages_sent_total 0\n"));
	CHECK(!shows("\nsync_slot_lag_bytes "));	/* a gauge nobody has set is not 0 */
	metric_add(METRIC_MESSAGES_OUT, 3);
	metric_add(METRIC_MESSAGES_OUT, 4000000000u);
	metric_set(METRIC_SLOT_LAG_BYTES, 7);
	metric_set(METRIC_SLOT_LAG_BYTES, 0);
	CHECK(shows("\nsync_messages_sent_total 4000000003\n"));
	CHECK(shows("\nsync_slot_lag_bytes 0\n"));
	metric_clear(METRIC_SLOT_LAG_BYTES);
	CHECK(!shows("\nsync_slot_lag_bytes "));
}

static void
test_labels(void)
{
	static const char *const bad[] = {"", "a b", "\"", "a\nb", "a{", "0123456789012345678901234567890123456789012345678", NULL};
	char	label[METRIC_LABEL_MAX];

	metrics_reset();
	CHECK(!shows("\nsync_resyncs_total"));
	metric_add_for(METRIC_RESYNCS, "queue", 2);
	metric_add_for(METRIC_RESYNCS, "gap", 1);
	metric_add_for(METRIC_RESYNCS, "queue", 1);
	CHECK(shows("\nsync_resyncs_total{cause=\"queue\"} 3\nsync_resyncs_total{cause=\"gap\"} 1\n"));
	CHECK(metric_sum(METRIC_RESYNCS) == 4 && metric_value_for(METRIC_RESYNCS, "gap") == 1 && metric_value_for(METRIC_RESYNCS, "none") == 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		metric_add_for(METRIC_RESYNCS, bad[i], 1);
	CHECK(shows("\nsync_resyncs_total{cause=\"other\"} 7\n"));
	for (int i = 0; i < 2 * METRIC_LABELS_MAX; i++)
	{
		snprintf(label, sizeof(label), "label%d", i);
		metric_add_for(METRIC_ERRORS, label, 1);
	}
	CHECK(shows("{code=\"label39\"} 1\n") && !shows("label40"));
	CHECK(shows("\nsync_errors_total{code=\"other\"} 40\n"));
	CHECK(metric_sum(METRIC_ERRORS) == 2 * METRIC_LABELS_MAX);
	metric_label("too slow: it\u00e9s more than forty-seven characters long, this one", label);
	CHECK(strlen(label) == METRIC_LABEL_MAX - 1 && strncmp(label, "too_slow__it__s_more", 20) == 0);
	/* all metrics together are bounded too */
	for (int m = 0; m < METRIC_COUNT; m++)
		for (int i = 0; i < METRIC_LABELS_MAX; i++)
		{
			snprintf(label, sizeof(label), "label%d", i);
			metric_add_for((enum metric) m, label, 1);
		}
	CHECK(metric_sum(METRIC_JOINS) == METRIC_LABELS_MAX);
}

static void
test_histogram(void)
{
	metrics_reset();
	CHECK(shows("\nsync_commit_to_send_seconds_bucket{le=\"+Inf\"} 0\nsync_commit_to_send_seconds_sum 0\nsync_commit_to_send_seconds_count 0\n"));
	metric_observe(METRIC_COMMIT_TO_SEND, 500);			/* an end belongs to its bucket */
	metric_observe(METRIC_COMMIT_TO_SEND, 501);
	metric_observe(METRIC_COMMIT_TO_SEND, -5);
	metric_observe(METRIC_COMMIT_TO_SEND, INT64_MAX);
	CHECK(shows("_bucket{le=\"0.0005\"} 2\nsync_commit_to_send_seconds_bucket{le=\"0.001\"} 3\n"));
	CHECK(shows("_bucket{le=\"86400\"} 3\nsync_commit_to_send_seconds_bucket{le=\"+Inf\"} 4\n"));
	CHECK(shows("\nsync_commit_to_send_seconds_count 4\n"));
	metric_observe_for(METRIC_REQUEST_TIME, "pull", 1500000);
	CHECK(shows("\nsync_request_seconds_bucket{kind=\"pull\",le=\"1\"} 0\nsync_request_seconds_bucket{kind=\"pull\",le=\"2\"} 1\n"));
	CHECK(shows("\nsync_request_seconds_sum{kind=\"pull\"} 1.5\nsync_request_seconds_count{kind=\"pull\"} 1\n"));
	metric_observe(METRIC_CLIENT_QUEUE, 12);
	CHECK(shows("\nsync_client_queue_length_bucket{le=\"10\"} 0\nsync_client_queue_length_bucket{le=\"30\"} 1\n"));
	CHECK(shows("\nsync_client_queue_length_sum 12\n"));
}

static void
test_quantile(void)
{
	uint64_t earlier[METRIC_BUCKETS_MAX];
	uint64_t later[METRIC_BUCKETS_MAX];

	metrics_reset();
	metric_observe(METRIC_COMMIT_TO_SEND, 70000000);	/* before: does not count */
	metric_buckets(METRIC_COMMIT_TO_SEND, earlier);
	CHECK(metric_quantile(earlier, earlier, METRIC_TIMES, 0.5) == -1);
	for (int i = 0; i < 99; i++)
		metric_observe(METRIC_COMMIT_TO_SEND, 1500);
	metric_observe(METRIC_COMMIT_TO_SEND, 150000);
	metric_buckets(METRIC_COMMIT_TO_SEND, later);
	CHECK(metric_quantile(earlier, later, METRIC_TIMES, 0.5) > 1000 && metric_quantile(earlier, later, METRIC_TIMES, 0.5) < 2000);
	CHECK(metric_quantile(earlier, later, METRIC_TIMES, 0.995) > 100000 && metric_quantile(earlier, later, METRIC_TIMES, 0.995) <= 200000);
	metric_observe(METRIC_COMMIT_TO_SEND, INT64_MAX);
	metric_buckets(METRIC_COMMIT_TO_SEND, later);
	CHECK(metric_quantile(earlier, later, METRIC_TIMES, 1) == 86400e6);
}

/* Every line is a comment or "name value" or "name{…} value", and each name stands in a HELP line of its own exactly once. */
static void
test_format(void)
{
	size_t	helps = 0;

	metrics_reset();
	metric_add_for(METRIC_ERRORS, "bad_request", 1);
	CHECK(shows("sync_errors_total"));
	for (char *line = strtok(text.data, "\n"); line != NULL; line = strtok(NULL, "\n"))
	{
		char	name[64];
		double	value;

		if (strncmp(line, "# HELP ", 7) == 0)
			helps++;
		else if (strncmp(line, "# TYPE ", 7) != 0)
			CHECK((sscanf(line, "%63[a-z_] %lf", name, &value) == 2 || sscanf(line, "%63[a-z_]{%*[^}]} %lf", name, &value) == 2) && value >= 0);
	}
	CHECK(helps == METRIC_COUNT);
}

int
main(void)
{
	buffer_init(&text);
	test_plain();
	test_labels();
	test_histogram();
	test_quantile();
	test_format();
	buffer_free(&text);
	return CHECK_END();
}
