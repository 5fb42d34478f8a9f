/* metrics.c - keeps the counts in fixed memory and writes them as Prometheus reads them. */
/* SPDX-License-Identifier: PostgreSQL */
#include "metrics.h"

#include <ctype.h>
#include <string.h>

#define LABELLED_MAX 512		/* series with a label, of all metrics together */

struct description
{
	const char *name;
	enum metric_type type;
	const char *label;
	const char *help;
};

static const struct description descriptions[METRIC_COUNT] = {
#define DESCRIPTION(constant, name, type, label, help) {name, METRIC_##type, label, help},
	METRICS(DESCRIPTION)
#undef DESCRIPTION
};

/* Upper ends, in the unit they are given in; one more bucket holds what is beyond. */
static const int64_t time_ends[] = {500, 1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000, 500000,
	1000000, 2000000, 5000000, 10000000, 30000000, 60000000, 600000000, 3600000000, 86400000000};
static const int64_t size_ends[] = {0, 1, 3, 10, 30, 100, 300, 1000, 10000, 100000, 1000000, 10000000, 30000000, 100000000, 300000000, 1000000000, 10000000000};

#define TIME_ENDS (sizeof(time_ends) / sizeof(time_ends[0]))
#define SIZE_ENDS (sizeof(size_ends) / sizeof(size_ends[0]))

_Static_assert(TIME_ENDS < METRIC_BUCKETS_MAX && SIZE_ENDS < METRIC_BUCKETS_MAX, "a bucket for what is beyond");

struct series
{
	char	label[METRIC_LABEL_MAX];	/* "" in plain */
	bool	is_used;
	double	value;						/* of a histogram: the sum */
	uint64_t counts[METRIC_BUCKETS_MAX];
	struct series *next;				/* of the same metric */
};

/* Global as the log is: every module counts, and nothing is decided by it. */
static struct series plain[METRIC_COUNT];		/* without a label, or "other" */
static struct series labelled[LABELLED_MAX];
static size_t labelled_count;

static bool
is_histogram(enum metric_type type)
{
	return type == METRIC_TIMES || type == METRIC_SIZES;
}

static bool
is_code(const char *label)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:";

	return label != NULL && label[0] != '\0' && strnlen(label, METRIC_LABEL_MAX) < METRIC_LABEL_MAX && label[strspn(label, letters)] == '\0';
}

static struct series *
find_series(enum metric m, const char *label)
{
	struct series **place = &plain[m].next;
	size_t	count = 0;

	if (descriptions[m].label == NULL || !is_code(label))
		return &plain[m];
	for (; *place != NULL; place = &(*place)->next, count++)
		if (strcmp((*place)->label, label) == 0)
			return *place;
	if (count == METRIC_LABELS_MAX || labelled_count == LABELLED_MAX)
		return &plain[m];
	*place = &labelled[labelled_count++];
	memcpy((*place)->label, label, strlen(label) + 1);
	return *place;
}

void
metric_add_for(enum metric m, const char *label, uint64_t n)
{
	struct series *s = find_series(m, label);

	s->is_used = true;
	s->value += (double) n;
}

void
metric_set_for(enum metric m, const char *label, double value)
{
	struct series *s = find_series(m, label);

	s->is_used = true;
	s->value = value;
}

static const int64_t *
ends_of(enum metric_type type, size_t *count)
{
	*count = type == METRIC_SIZES ? SIZE_ENDS : TIME_ENDS;
	return type == METRIC_SIZES ? size_ends : time_ends;
}

void
metric_observe_for(enum metric m, const char *label, int64_t number)
{
	struct series *s = find_series(m, label);
	size_t	count;
	const int64_t *ends = ends_of(descriptions[m].type, &count);
	size_t	i = 0;

	if (number < 0)
		number = 0;
	while (i < count && number > ends[i])
		i++;
	s->is_used = true;
	s->counts[i]++;
	s->value += (double) number;
}

void
metric_add(enum metric m, uint64_t n)
{
	metric_add_for(m, NULL, n);
}

void
metric_set(enum metric m, double value)
{
	metric_set_for(m, NULL, value);
}

void
metric_clear(enum metric m)
{
	for (struct series *s = &plain[m]; s != NULL; s = s->next)
	{
		s->is_used = false;
		s->value = 0;
	}
}

void
metric_observe(enum metric m, int64_t microseconds)
{
	metric_observe_for(m, NULL, microseconds);
}

static double
series_number(const struct series *s, enum metric_type type)
{
	uint64_t sum = 0;

	if (!is_histogram(type))
		return s->value;
	for (size_t i = 0; i < METRIC_BUCKETS_MAX; i++)
		sum += s->counts[i];
	return (double) sum;
}

void
metric_label(const char *text, char label[METRIC_LABEL_MAX])
{
	size_t	len = strnlen(text, METRIC_LABEL_MAX - 1);

	for (size_t i = 0; i < len; i++)
		label[i] = isalnum((unsigned char) text[i]) ? text[i] : '_';
	label[len] = '\0';
}

double
metric_sum(enum metric m)
{
	double	sum = 0;

	for (const struct series *s = &plain[m]; s != NULL; s = s->next)
		sum += series_number(s, descriptions[m].type);
	return sum;
}

bool
metric_is_set(enum metric m)
{
	for (const struct series *s = &plain[m]; s != NULL; s = s->next)
		if (s->is_used)
			return true;
	return false;
}

double
metric_value_for(enum metric m, const char *label)
{
	for (const struct series *s = &plain[m]; s != NULL; s = s->next)
		if (strcmp(s->label, label != NULL ? label : "") == 0)
			return series_number(s, descriptions[m].type);
	return 0;
}

void
metric_buckets(enum metric m, uint64_t counts[METRIC_BUCKETS_MAX])
{
	memset(counts, 0, METRIC_BUCKETS_MAX * sizeof(counts[0]));
	for (const struct series *s = &plain[m]; s != NULL; s = s->next)
		for (size_t i = 0; i < METRIC_BUCKETS_MAX; i++)
			counts[i] += s->counts[i];
}

/* By straight line within the bucket, as Prometheus does; the last bucket has no end, so its beginning stands for it. */
double
metric_quantile(const uint64_t *earlier, const uint64_t *later, enum metric_type type, double quantile)
{
	size_t	count;
	const int64_t *ends = ends_of(type, &count);
	double	total = 0;
	double	below = 0;

	for (size_t i = 0; i <= count; i++)
		total += (double) (later[i] - earlier[i]);
	if (total <= 0)
		return -1;
	for (size_t i = 0; i < count; i++)
	{
		double	in = (double) (later[i] - earlier[i]);
		double	start = i > 0 ? (double) ends[i - 1] : 0;

		if (in > 0 && below + in >= quantile * total)
			return start + ((double) ends[i] - start) * (quantile * total - below) / in;
		below += in;
	}
	return (double) ends[count - 1];
}

/* name{label="value",le="end"}; either part may be missing */
static void
put_name(struct buffer *out, const struct description *d, const char *suffix, const struct series *s, const char *end)
{
	bool	has_label = d->label != NULL;

	buffer_printf(out, "%s%s", d->name, suffix);
	if (!has_label && end == NULL)
		return;
	buffer_putc(out, '{');
	if (has_label)
		buffer_printf(out, "%s=\"%s\"", d->label, s->label[0] != '\0' ? s->label : "other");
	if (end != NULL)
		buffer_printf(out, "%sle=\"%s\"", has_label ? "," : "", end);
	buffer_putc(out, '}');
}

static void
put_histogram(struct buffer *out, const struct description *d, const struct series *s)
{
	size_t	count;
	const int64_t *ends = ends_of(d->type, &count);
	double	unit = d->type == METRIC_TIMES ? 1e6 : 1;
	uint64_t sum = 0;

	for (size_t i = 0; i <= count; i++)
	{
		struct buffer end;

		buffer_init(&end);
		if (i < count)
			buffer_printf(&end, "%.12g", (double) ends[i] / unit);
		else
			buffer_puts(&end, "+Inf");
		sum += s->counts[i];
		put_name(out, d, "_bucket", s, end.data);
		buffer_printf(out, " %llu\n", (unsigned long long) sum);
		buffer_free(&end);
	}
	put_name(out, d, "_sum", s, NULL);
	buffer_printf(out, " %.15g\n", s->value / unit);
	put_name(out, d, "_count", s, NULL);
	buffer_printf(out, " %llu\n", (unsigned long long) sum);
}

/* A metric that was never touched and has no label is shown as 0, but a gauge is not: nobody knows its value. */
static bool
is_shown(const struct description *d, const struct series *s)
{
	return s->is_used || (d->label == NULL && d->type != METRIC_GAUGE);
}

void
metrics_write(struct buffer *out)
{
	static const char *const types[] = {"counter", "gauge", "histogram", "histogram"};

	for (size_t m = 0; m < METRIC_COUNT; m++)
	{
		const struct description *d = &descriptions[m];

		buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n", d->name, d->help, d->name, types[d->type]);
		for (const struct series *s = &plain[m]; s != NULL; s = s->next)
		{
			if (!is_shown(d, s))
				continue;
			if (is_histogram(d->type))
			{
				put_histogram(out, d, s);
				continue;
			}
			put_name(out, d, "", s, NULL);
			buffer_printf(out, " %.15g\n", s->value);
		}
	}
}

void
metrics_reset(void)
{
	memset(plain, 0, sizeof(plain));
	memset(labelled, 0, sizeof(labelled));
	labelled_count = 0;
}
