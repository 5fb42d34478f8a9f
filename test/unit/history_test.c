/* history_test.c - an hour of samples and no more; rates since the sample before; what is not known is null. */
/* SPDX-License-Identifier: PostgreSQL */
#include "check.h"
#include "history.h"
#include "json.h"
#include "metrics.h"

static struct history *h;
static struct buffer text;
static struct json *doc;

static struct json_value
put(int64_t since)
{
	json_free(doc);
	buffer_reset(&text);
	history_put(h, since, 99, &text);
	doc = json_parse(text.data, text.len, 1000000);
	CHECK(doc != NULL);
	return json_root(doc);
}

static struct json_value
element(struct json_value array, int index)
{
	struct json_value v = json_first(array);

	while (index-- > 0)
		v = json_next(v);
	return v;
}

/* The value of a series in a sample. */
static struct json_value
value_of(struct json_value root, int sample, const char *name)
{
	struct json_value names = json_member(root, "names");

	for (int i = 0; i < json_size(names); i++)
		if (json_equals(element(names, i), name))
			return element(element(json_member(root, "samples"), sample), i + 1);
	CHECK(!"no such series");
	return (struct json_value){.index = -1};
}

static bool
is_text(struct json_value v, const char *wanted)
{
	bool	is_good = v.len == strlen(wanted) && memcmp(v.raw, wanted, v.len) == 0;

	if (!is_good)
		fprintf(stderr, "    got: %.*s\n", (int) v.len, v.raw);
	return is_good;
}

static void
test_kinds(void)
{
	struct json_value root;

	metrics_reset();
	h = history_new();
	CHECK(history_is_due(h, 1));
	metric_add(METRIC_MESSAGES_OUT, 100);
	history_take(h, 10000, 1);
	CHECK(!history_is_due(h, 14999) && history_is_due(h, 15000));
	metric_add(METRIC_MESSAGES_OUT, 25);
	metric_set(METRIC_CONNECTIONS, 7);
	metric_set_for(METRIC_SESSIONS, "live", 3);
	metric_set_for(METRIC_SESSIONS, "catching_up", 2);
	metric_observe_for(METRIC_REQUEST_TIME, "pull", 1500);
	history_take(h, 15000, 2);
	root = put(0);
	CHECK(json_size(json_member(root, "samples")) == 2);
	CHECK(is_text(value_of(root, 0, "messages_out"), "null"));		/* since when? */
	CHECK(is_text(value_of(root, 0, "connections"), "null") && is_text(value_of(root, 0, "request_p99"), "null"));
	CHECK(is_text(value_of(root, 1, "messages_out"), "5"));
	CHECK(is_text(value_of(root, 1, "connections"), "7"));
	CHECK(is_text(value_of(root, 1, "live"), "3") && is_text(value_of(root, 1, "catching_up"), "2"));
	CHECK(is_text(value_of(root, 1, "request_p99"), "1.99") && is_text(value_of(root, 1, "request_median"), "1.5"));
	history_take(h, 20000, 3);
	root = put(2);
	CHECK(json_size(json_member(root, "samples")) == 1);
	CHECK(is_text(value_of(root, 0, "messages_out"), "0") && is_text(value_of(root, 0, "request_p99"), "null"));
	history_free(h);
}

static void
test_bound(void)
{
	struct json_value root;
	struct json_value samples;

	h = history_new();
	for (int i = 1; i <= HISTORY_SAMPLES + 5; i++)
		history_take(h, i * 5000, i);
	root = put(0);
	samples = json_member(root, "samples");
	CHECK(json_size(samples) == HISTORY_SAMPLES);
	CHECK(is_text(json_first(json_first(samples)), "6"));
	CHECK(is_text(json_first(element(samples, HISTORY_SAMPLES - 1)), "725"));
	CHECK(json_size(json_member(put(725), "samples")) == 0);
	history_free(h);
}

int
main(void)
{
	buffer_init(&text);
	test_kinds();
	test_bound();
	json_free(doc);
	buffer_free(&text);
	return CHECK_END();
}
