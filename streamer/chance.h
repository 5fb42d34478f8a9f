/* chance.h - random numbers from the kernel. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_CHANCE_H
#define SYNC_CHANCE_H

#include <stdint.h>

uint64_t chance_bits(void);				/* never 0 */
int64_t chance_below(int64_t limit);	/* 0 <= result < limit; 0 if limit <= 0 */

#endif
