/* projection.h - changes for those who get less of a row: only some columns, or only what was changed. Rendered once for each such set. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_PROJECTION_H
#define SYNC_PROJECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "json.h"
#include "map.h"
#include "tables.h"
#include "transaction.h"

/* Some columns of a table. Shared by all who may read just these. */
struct projection
{
	size_t	refs;
	uint64_t serial;		/* never used twice: what was rendered for it is found by this */
	char   *key;			/* owned */
	size_t	key_len;
	char  **columns;		/* owned */
	size_t	column_count;
};

struct projections
{
	struct map map;			/* table id and names → struct projection */
	uint64_t last_serial;
};

void	projections_init(struct projections *all);
void	projections_free(struct projections *all);		/* every reference is back */
struct projection *projection_get(struct projections *all, int32_t table_id, struct json_value columns);	/* columns: array of names. A reference. */
void	projection_release(struct projections *all, struct projection *p);		/* NULL is fine */

/* c as it goes to those who may read p's columns (NULL: all), and with only_changed no more than its key and what was changed, where that is
 * exact. Lives as long as c; c itself when it is the same. */
const struct stream_change *projection_of(struct stream_change *c, const struct projection *p, bool only_changed, const struct sync_tables *tables);

#endif
