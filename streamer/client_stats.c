/* client_stats.c - checks all numbers first, then counts them. */
/* SPDX-License-Identifier: PostgreSQL */
#include "client_stats.h"

#include <stdlib.h>
#include <string.h>

#include "metrics.h"

#define NUMBER_MAX 1e15
#define NUMBER_LEN_MAX 32

static const struct
{
	const char *name;
	enum metric metric;
	double	unit;			/* what one of the client's is in ours */
} counters[] = {
	{"queue_length", METRIC_CLIENT_QUEUE, 1},
	{"offline_seconds", METRIC_CLIENT_OFFLINE, 1e6},
	{"storage_bytes", METRIC_CLIENT_STORAGE, 1},
};

#define COUNTERS (sizeof(counters) / sizeof(counters[0]))

static bool
read_number(struct json_value v, double unit, double *number)
{
	char	text[NUMBER_LEN_MAX];

	if (json_type(v) != JSON_NUMBER || v.len >= sizeof(text))
		return false;
	memcpy(text, v.raw, v.len);
	text[v.len] = '\0';
	*number = strtod(text, NULL) * unit;
	return *number >= 0 && *number <= NUMBER_MAX;
}

const char *
client_stats_take(struct json_value stats)
{
	double	numbers[COUNTERS];
	size_t	given = 0;

	if (json_type(stats) != JSON_OBJECT)
		return "statistics are an object of numbers";
	for (size_t i = 0; i < COUNTERS; i++)
	{
		struct json_value v = json_member(stats, counters[i].name);

		numbers[i] = -1;
		if (json_type(v) == JSON_ABSENT)
			continue;
		if (!read_number(v, counters[i].unit, &numbers[i]))
			return "queue_length, offline_seconds and storage_bytes are numbers of 0 or more";
		given++;
	}
	if (given == 0)
		return "none of queue_length, offline_seconds and storage_bytes was given";
	for (size_t i = 0; i < COUNTERS; i++)
		if (numbers[i] >= 0)
			metric_observe(counters[i].metric, (int64_t) numbers[i]);
	return NULL;
}
