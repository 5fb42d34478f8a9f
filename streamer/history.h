/* history.h - the last hour of the metrics that the live page draws: one sample every few seconds, in fixed memory. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_HISTORY_H
#define SYNC_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "buffer.h"

#define HISTORY_EVERY_S 5
#define HISTORY_SAMPLES 720		/* an hour */

struct history;

struct history *history_new(void);
void	history_free(struct history *h);

bool	history_is_due(const struct history *h, int64_t now_ms);	/* monotonic, as the next */
/* Samples what the metrics are now; rates and quantiles are those since the sample before. unix_ms is what the page is told. */
void	history_take(struct history *h, int64_t now_ms, int64_t unix_ms);

/* {"now", "every", "names": [...], "samples": [[time, value or null, ...], ...]}, times in Unix milliseconds; of samples taken after `since`, oldest first. */
void	history_put(const struct history *h, int64_t since, int64_t unix_ms, struct buffer *json);

#endif
