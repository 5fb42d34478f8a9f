/* presence.h - who is present in one topic: keys with a meta for each place they are at, and what of it has been told to the members. Pure. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_PRESENCE_H
#define SYNC_PRESENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "json.h"
#include "map.h"

#define PRESENCE_REF_MAX 40
#define PRESENCE_KEY_MAX 255			/* bytes */
#define PRESENCE_META_MAX 8192			/* bytes of one meta's JSON */
#define PRESENCE_METAS_MAX 10000		/* of one topic */

struct presence_key;

struct presence_meta
{
	struct presence_meta *next;		/* of the same key, the newest first */
	struct presence_key *key;
	char	ref[PRESENCE_REF_MAX + 1];
	char	previous[PRESENCE_REF_MAX + 1];		/* the ref it takes the place of; "" = none */
	uint64_t owner;				/* the streamer that its client is at */
	bool	is_told;
	bool	is_gone;				/* and that was not told yet */
	bool	is_doubtful;			/* not confirmed by its owner since presence_doubt */
	char   *json;				/* owned: the members, without braces */
};

struct presence
{
	struct map keys;				/* key → presence_key */
	struct map refs;				/* ref → presence_meta that is not gone */
	struct presence_key *changed;	/* those with something to tell */
	bool	has_overlap;			/* the last diff told is of a key that has had several metas at once */
};

void	presence_init(struct presence *p);
void	presence_free(struct presence *p);
bool	presence_is_empty(const struct presence *p);	/* nobody, and nothing to tell either */
size_t	presence_count(const struct presence *p);

/* meta: an object; its members phx_ref and phx_ref_prev are left out. previous: a ref that this one takes the place of, or NULL.
 * true: there is news to tell. A ref that is known already is confirmed, no more. */
bool	presence_put(struct presence *p, const char *key, const char *ref, const char *previous, uint64_t owner, struct json_value meta);
bool	presence_remove(struct presence *p, const char *ref);
bool	presence_remove_owner(struct presence *p, uint64_t owner, bool doubtful_only);
void	presence_doubt(struct presence *p, uint64_t owner);
bool	presence_is_same(const struct presence *p, const char *ref, struct json_value meta);	/* it has exactly this meta */
const struct presence_meta *presence_find(const struct presence *p, const char *ref);

/* {"key":{"metas":[{"phx_ref","phx_ref_prev"?,…}]}}: what the members have been told so far. */
void	presence_put_state(const struct presence *p, struct buffer *out);
/* {"joins":{…},"leaves":{…}}; now it has been told. false: there was nothing, nothing was written. */
bool	presence_put_diff(struct presence *p, struct buffer *out);

/* Calls take for each meta of the owner that is not gone. */
void	presence_each(const struct presence *p, uint64_t owner, void (*take)(void *owner, const struct presence_meta *m, const char *key), void *take_owner);

#endif
