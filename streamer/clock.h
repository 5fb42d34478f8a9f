/* clock.h - which columns the last write of a row wrote, by its sync_clock. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_CLOCK_H
#define SYNC_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "record.h"
#include "tables.h"

/* A set of a table's columns: bit i % 8 of byte i / 8 is its columns[i]. */
#define COLUMN_SET_BYTES(count) (((size_t) (count) + 7) / 8)

static inline bool
column_set_has(const uint8_t *set, int index)
{
	return (set[index / 8] >> (index % 8) & 1) != 0;
}

/* clock: bytea as either decoder writes it, in format 3 of extension/clock.c. A column is in the set if its last write made the version that the
 * row has; those that follow others are in it always. Owned by the caller; NULL: it may be any of them (no clock, as after an insert by SQL; one that cannot be read). */
uint8_t *clock_changed(const struct sync_table *t, struct value clock) __attribute__((warn_unused_result));

#endif
