/* routes.h - which sessions want what: by scope value, or by table where there is no scope. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_ROUTES_H
#define SYNC_ROUTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "json.h"
#include "map.h"
#include "projection.h"
#include "session.h"
#include "tables.h"
#include "transaction.h"

#define ROUTES_MAX 65536		/* of one session; with more scope values it lives by pulls */

/* The sessions that want what goes by one key. */
struct route
{
	char   *key;			/* owned */
	size_t	key_len;
	struct session **sessions;
	size_t *slots;			/* for each session: the index of this route in its subscription */
	size_t	count;
	size_t	room;
};

struct routes
{
	struct map map;			/* key, see route_put_scope → route */
	struct projections projections;
};

void	routes_init(struct routes *all);
void	routes_free(struct routes *all);		/* every session has left */

/* state: the answer of sync.session_state. false: it names a table that is not known (yet), or has too many scope values. */
bool	routes_enter(struct routes *all, struct session *s, struct json_value state, const struct sync_tables *known);
void	routes_leave(struct routes *all, struct session *s);

const struct route *routes_find(const struct routes *all, const struct stream_change *c);		/* NULL: nobody's */
const struct route *routes_find_user(const struct routes *all, const char *user);	/* sessions whose token is this user's, folded by concern_fold */
bool	route_has(const struct route *r, const struct session *s);

const struct right *routes_right(const struct session *s, int32_t table_id);	/* NULL: it may not see the table, or does not want it */

#endif
