/* bindings.h - what a realtime: channel wants of the tables: its bindings of postgres_changes, met with what its user may read, and the frames made of changes. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_BINDINGS_H
#define SYNC_BINDINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "batch.h"
#include "buffer.h"
#include "json.h"
#include "message.h"
#include "tables.h"

#define BINDINGS_MAX 100			/* of one channel */
#define BINDINGS_PATTERNS_MAX 16	/* of these with like, ilike, match, imatch */

/* Shared by all channels of one topic and serializer with equal bindings and equal rights to columns. */
struct bindings;

/* The `postgres_changes` of a join's reply: the client compares each with what it sent at that place. list: of the join's config. */
void	bindings_echo(struct buffer *out, struct json_value list);
int		bindings_count(struct json_value list);
/* The request of sync.session_state that covers them. */
void	bindings_request(struct buffer *out, const char *list, const struct sync_tables *known);

/* list: JSON array; state: the answer of sync.session_state. One reference; known must hold all tables of state, else NULL. */
struct bindings *bindings_get(enum message_format format, const char *topic, const char *list, struct json_value state, const struct sync_tables *known);
void	bindings_release(struct bindings *b);		/* NULL is fine */
size_t	bindings_problem_count(const struct bindings *b);
const char *bindings_problem(const struct bindings *b, size_t i);		/* for the client, in Supabase's words: why one of them is not served */
void	bindings_state(const struct bindings *b, struct buffer *out, struct json_value state, const struct sync_tables *known);	/* state without the tables that none wants */

/* What becomes of a change that the user may see: NULL for the end. Made once a turn for all that share b; borrowed until the turn's end. */
struct frame *const *bindings_frames(const struct bindings *b, struct batches *turn, const struct sync_tables *known, const struct stream_change *c);

#endif
