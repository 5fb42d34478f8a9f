/* history.c - a ring of samples: gauges as they are, counters as rates, histograms as quantiles. */
/* SPDX-License-Identifier: PostgreSQL */
#include "history.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "metrics.h"

enum source
{
	GAUGE,
	RATE,			/* a second */
	MEDIAN,			/* of what was observed between two samples, in milliseconds */
	P99,
};

static const struct
{
	const char *name;
	enum source source;
	enum metric metric;
	const char *label;		/* NULL: all together */
} series[] = {
	{"connections", GAUGE, METRIC_CONNECTIONS, NULL},
	{"channels", GAUGE, METRIC_CHANNELS, NULL},
	{"live", GAUGE, METRIC_SESSIONS, "live"},
	{"catching_up", GAUGE, METRIC_SESSIONS, "catching_up"},
	{"opened", RATE, METRIC_CONNECTIONS_OPENED, NULL},
	{"closed", RATE, METRIC_CONNECTIONS_CLOSED, NULL},
	{"messages_in", RATE, METRIC_MESSAGES_IN, NULL},
	{"messages_out", RATE, METRIC_MESSAGES_OUT, NULL},
	{"bytes_in", RATE, METRIC_BYTES_IN, NULL},
	{"bytes_out", RATE, METRIC_BYTES_OUT, NULL},
	{"changes_decoded", RATE, METRIC_CHANGES_DECODED, NULL},
	{"changes_sent", RATE, METRIC_CHANGES, NULL},
	{"transactions", RATE, METRIC_TRANSACTIONS, NULL},
	{"send_median", MEDIAN, METRIC_COMMIT_TO_SEND, NULL},
	{"send_p99", P99, METRIC_COMMIT_TO_SEND, NULL},
	{"requests", RATE, METRIC_REQUEST_TIME, NULL},
	{"request_median", MEDIAN, METRIC_REQUEST_TIME, NULL},
	{"request_p99", P99, METRIC_REQUEST_TIME, NULL},
	{"lag_bytes", GAUGE, METRIC_SLOT_LAG_BYTES, NULL},
	{"lag_seconds", GAUGE, METRIC_SLOT_LAG_SECONDS, NULL},
	{"ready", GAUGE, METRIC_READY, NULL},
	{"outbox_bytes", GAUGE, METRIC_OUTBOX_BYTES, NULL},
	{"works_waiting", GAUGE, METRIC_WORKS_WAITING, NULL},
	{"queries_waiting", GAUGE, METRIC_QUERIES_WAITING, NULL},
	{"queries_busy", GAUGE, METRIC_QUERIES_BUSY, NULL},
	{"policy_questions", RATE, METRIC_POLICY_QUESTIONS, NULL},
	{"policy_p99", P99, METRIC_POLICY_TIME, NULL},
	{"pushed", RATE, METRIC_VERDICTS, NULL},
	{"conflicts", RATE, METRIC_CONFLICTS, NULL},
	{"rejects", RATE, METRIC_REJECTS, NULL},
	{"open_conflicts", GAUGE, METRIC_OPEN_CONFLICTS, NULL},
	{"resyncs", RATE, METRIC_RESYNCS, NULL},
	{"errors", RATE, METRIC_ERRORS, NULL},
	{"limited", RATE, METRIC_LIMITED, NULL},
	{"broadcasts", RATE, METRIC_BROADCASTS, NULL},
	{"presences", GAUGE, METRIC_PRESENCES, NULL},
	{"ring_bytes", GAUGE, METRIC_RING_BYTES, NULL},
	{"memory", GAUGE, METRIC_PROCESS_MEMORY, NULL},
	{"cpu", RATE, METRIC_PROCESS_CPU, NULL},
	{"descriptors", GAUGE, METRIC_PROCESS_FDS, NULL},
};

#define SERIES (sizeof(series) / sizeof(series[0]))

struct sample
{
	int64_t unix_ms;
	float	values[SERIES];		/* NAN: nothing is known */
};

struct history
{
	int64_t taken_ms;			/* 0: never */
	double	sums[SERIES];		/* of counters, at the last sample */
	uint64_t buckets[SERIES][METRIC_BUCKETS_MAX];
	size_t	next;
	size_t	count;
	struct sample samples[HISTORY_SAMPLES];
};

struct history *
history_new(void)
{
	return memory_new(sizeof(struct history));
}

void
history_free(struct history *h)
{
	free(h);
}

bool
history_is_due(const struct history *h, int64_t now_ms)
{
	return h->taken_ms == 0 || now_ms - h->taken_ms >= HISTORY_EVERY_S * 1000;
}

static double
quantile_since(struct history *h, size_t i, double quantile)
{
	uint64_t now[METRIC_BUCKETS_MAX];
	double	value;

	metric_buckets(series[i].metric, now);
	value = metric_quantile(h->buckets[i], now, METRIC_TIMES, quantile);
	memcpy(h->buckets[i], now, sizeof(now));
	return value < 0 ? NAN : value / 1000;
}

static double
rate_since(struct history *h, size_t i, double seconds)
{
	double	now = metric_sum(series[i].metric);
	double	value = seconds > 0 ? (now - h->sums[i]) / seconds : NAN;

	h->sums[i] = now;
	return value;
}

static double
gauge_now(size_t i)
{
	if (!metric_is_set(series[i].metric))
		return NAN;
	return series[i].label != NULL ? metric_value_for(series[i].metric, series[i].label) : metric_sum(series[i].metric);
}

void
history_take(struct history *h, int64_t now_ms, int64_t unix_ms)
{
	struct sample *s = &h->samples[h->next];
	double	seconds = h->taken_ms != 0 ? (double) (now_ms - h->taken_ms) / 1000 : 0;

	s->unix_ms = unix_ms;
	for (size_t i = 0; i < SERIES; i++)
		switch (series[i].source)
		{
			case GAUGE:
				s->values[i] = (float) gauge_now(i);
				break;
			case RATE:
				s->values[i] = (float) rate_since(h, i, seconds);
				break;
			case MEDIAN:
				s->values[i] = (float) quantile_since(h, i, 0.5);
				break;
			case P99:
				s->values[i] = (float) quantile_since(h, i, 0.99);
				break;
		}
	h->taken_ms = now_ms;
	h->next = (h->next + 1) % HISTORY_SAMPLES;
	if (h->count < HISTORY_SAMPLES)
		h->count++;
}

static void
put_sample(const struct sample *s, struct buffer *json)
{
	buffer_printf(json, "[%lld", (long long) s->unix_ms);
	for (size_t i = 0; i < SERIES; i++)
		if (isnan(s->values[i]))
			buffer_puts(json, ",null");
		else
			buffer_printf(json, ",%.7g", (double) s->values[i]);
	buffer_putc(json, ']');
}

void
history_put(const struct history *h, int64_t since, int64_t unix_ms, struct buffer *json)
{
	const char *separator = "";

	buffer_printf(json, "{\"now\":%lld,\"every\":%d,\"names\":[", (long long) unix_ms, HISTORY_EVERY_S * 1000);
	for (size_t i = 0; i < SERIES; i++)
		buffer_printf(json, "%s\"%s\"", i > 0 ? "," : "", series[i].name);
	buffer_puts(json, "],\"samples\":[");
	for (size_t i = h->count; i > 0; i--)
	{
		const struct sample *s = &h->samples[(h->next + HISTORY_SAMPLES - i) % HISTORY_SAMPLES];

		if (s->unix_ms <= since)
			continue;
		buffer_puts(json, separator);
		put_sample(s, json);
		separator = ",";
	}
	buffer_puts(json, "]}");
}
