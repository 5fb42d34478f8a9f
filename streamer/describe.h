/* describe.h - a user's sessions in words: topic, state, tables and scopes, and how far behind the newest each cursor stands. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_DESCRIBE_H
#define SYNC_DESCRIBE_H

#include "feed.h"
#include "hub.h"

#define DESCRIBE_SESSIONS_MAX 200	/* of one user; more are counted only */
#define DESCRIBE_SCOPES_MAX 50		/* of one session */

/* {"count", "sessions": [{"topic", "kind", "state", "device_id", "role", "tables", "partial"?, "scopes": [{"scope", "value"}], "more_scopes"?,
 * "behind": {"bytes", "transactions"} or null, "cursor_age", "change_age", "next_pull_in"?}]}, ages in seconds or null. */
void	describe_sessions(const struct hub *h, const struct feed *f, const char *user, int64_t now_ms, struct buffer *json);

#endif
