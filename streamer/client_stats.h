/* client_stats.h - what clients tell of themselves, taken as numbers within bounds and added up; nothing of it names anybody. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_CLIENT_STATS_H
#define SYNC_CLIENT_STATS_H

#include "json.h"

/* {"queue_length"?, "offline_seconds"?, "storage_bytes"?}: numbers of 0 or more. NULL: counted; else what is wrong, and nothing was. */
const char *client_stats_take(struct json_value stats) __attribute__((warn_unused_result));

#endif
