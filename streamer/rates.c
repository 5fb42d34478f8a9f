/* rates.c - buckets that fill evenly, one for each name, and counts of what each name has; the time is an argument. */
/* SPDX-License-Identifier: PostgreSQL */
#include "rates.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

#define DROP 1000			/* one, in thousandths: what a rate of one a second adds in a millisecond is 1 */
#define SECONDS_HELD 2
#define SWEEP_MS 10000

static int64_t
full(int rate)
{
	return (int64_t) rate * SECONDS_HELD * DROP;
}

void
bucket_fill(struct bucket *b, int rate, int64_t now_ms)
{
	*b = (struct bucket) {.at_ms = now_ms, .drops = full(rate)};
}

static void
refill(struct bucket *b, int rate, int64_t now_ms)
{
	int64_t passed_ms = now_ms - b->at_ms;

	if (passed_ms > SECONDS_HELD * 1000)
		passed_ms = SECONDS_HELD * 1000;
	if (passed_ms > 0)
		b->drops += passed_ms * rate;
	if (b->drops > full(rate))
		b->drops = full(rate);
	b->at_ms = now_ms;
}

bool
bucket_is_full(struct bucket *b, int rate, int64_t now_ms)
{
	refill(b, rate, now_ms);
	return b->drops >= full(rate);
}

bool
bucket_take(struct bucket *b, int rate, int64_t now_ms)
{
	if (rate == 0)
		return true;
	refill(b, rate, now_ms);
	if (b->drops < DROP)
		return false;
	b->drops -= DROP;
	return true;
}

int
bucket_wait_s(const struct bucket *b, int rate)
{
	int64_t missing = DROP - b->drops;
	int64_t wait_ms = rate > 0 ? (missing + rate - 1) / rate : 0;

	return wait_ms > 1000 ? (int) ((wait_ms + 999) / 1000) : 1;
}

void
rates_init(struct rates *r, int rate, size_t most)
{
	*r = (struct rates) {.rate = rate, .most = most};
	map_init(&r->buckets);
}

void
rates_free(struct rates *r)
{
	struct bucket *b;

	for (size_t place = 0; (b = map_next(&r->buckets, &place)) != NULL;)
		free(b);
	map_free(&r->buckets);
}

/* The map cannot lose entries on a walk: what stays moves into a new one. */
void
rates_sweep(struct rates *r, int64_t now_ms)
{
	struct map kept;

	if (now_ms - r->swept_ms < SWEEP_MS || r->buckets.count == 0)
		return;
	r->swept_ms = now_ms;
	map_init(&kept);
	for (size_t i = 0; i < r->buckets.room; i++)
	{
		const struct map_entry *e = &r->buckets.entries[i];
		struct bucket *b = e->value;

		if (e->key == NULL)
			continue;
		refill(b, r->rate, now_ms);
		if (b->drops < full(r->rate))
			map_put(&kept, e->key, e->key_len, b);
		else
			free(b);
	}
	map_free(&r->buckets);
	r->buckets = kept;
}

int
rates_take(struct rates *r, const char *name, int64_t now_ms)
{
	struct bucket *b = map_get(&r->buckets, name, strlen(name));

	if (r->rate == 0)
		return 0;
	if (b == NULL)
	{
		if (r->buckets.count >= r->most)
			rates_sweep(r, now_ms);
		if (r->buckets.count >= r->most)
			return 0;
		b = memory_new(sizeof(*b));
		bucket_fill(b, r->rate, now_ms);
		map_put(&r->buckets, name, strlen(name), b);
	}
	return bucket_take(b, r->rate, now_ms) ? 0 : bucket_wait_s(b, r->rate);
}

void
counts_init(struct counts *c, int most)
{
	c->most = most;
	map_init(&c->numbers);
}

void
counts_free(struct counts *c)
{
	map_free(&c->numbers);
}

/* The numbers are kept in the place of pointers. */
static uintptr_t
number(const struct counts *c, const char *name)
{
	return (uintptr_t) map_get(&c->numbers, name, strlen(name));
}

bool
counts_has_room(const struct counts *c, const char *name)
{
	return c->most == 0 || number(c, name) < (uintptr_t) c->most;
}

void
counts_enter(struct counts *c, const char *name)
{
	map_put(&c->numbers, name, strlen(name), (void *) (number(c, name) + 1));
}

void
counts_leave(struct counts *c, const char *name)
{
	uintptr_t n = number(c, name);

	if (n > 1)
		map_put(&c->numbers, name, strlen(name), (void *) (n - 1));
	else
		map_remove(&c->numbers, name, strlen(name));
}
