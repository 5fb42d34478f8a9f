/* rates.h - buckets that fill evenly, one for each name, and counts of what each name has; the time is an argument. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_RATES_H
#define SYNC_RATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "map.h"

/* Holds two seconds' worth; full at first. A rate of 0 is no limit. */
struct bucket
{
	int64_t at_ms;
	int64_t drops;		/* thousandths of one */
};

void	bucket_fill(struct bucket *b, int rate, int64_t now_ms);
bool	bucket_take(struct bucket *b, int rate, int64_t now_ms);		/* false: empty */
bool	bucket_is_full(struct bucket *b, int rate, int64_t now_ms);
int		bucket_wait_s(const struct bucket *b, int rate);	/* after a refusal: whole seconds until it has one again, at least 1 */

/* A bucket for each name that was heard of lately. */
struct rates
{
	struct map buckets;
	int		rate;
	size_t	most;			/* buckets; names beyond them are not limited: that many at once is no matter of single ones */
	int64_t swept_ms;
};

void	rates_init(struct rates *r, int rate, size_t most);
void	rates_free(struct rates *r);
int		rates_take(struct rates *r, const char *name, int64_t now_ms);	/* 0, or refused: seconds to wait */
void	rates_sweep(struct rates *r, int64_t now_ms);	/* forgets full buckets; now and then */

/* How many of something each name has. */
struct counts
{
	struct map numbers;
	int		most;			/* 0: no limit */
};

void	counts_init(struct counts *c, int most);
void	counts_free(struct counts *c);
bool	counts_has_room(const struct counts *c, const char *name);
void	counts_enter(struct counts *c, const char *name);
void	counts_leave(struct counts *c, const char *name);		/* as often as entered */

#endif
