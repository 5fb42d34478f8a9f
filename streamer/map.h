/* map.h - a hash table from byte strings to pointers. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_MAP_H
#define SYNC_MAP_H

#include <stddef.h>
#include <stdint.h>

struct map_entry
{
	uint64_t hash;
	char   *key;		/* owned; NULL: free place */
	size_t	key_len;
	void   *value;		/* borrowed */
};

struct map
{
	struct map_entry *entries;
	size_t	room;		/* a power of two, or 0 */
	size_t	count;
};

void	map_init(struct map *m);
void	map_free(struct map *m);		/* the keys; values are the caller's */
void   *map_get(const struct map *m, const void *key, size_t len);		/* NULL: absent */
void	map_put(struct map *m, const void *key, size_t len, void *value);		/* replaces */
void   *map_remove(struct map *m, const void *key, size_t len);			/* the value it had, or NULL */

void   *map_get_id(const struct map *m, uint64_t id);
void	map_put_id(struct map *m, uint64_t id, void *value);
void   *map_remove_id(struct map *m, uint64_t id);

/* Walk: start with *place = 0; NULL at the end. Nothing may be put or removed on the way. */
void   *map_next(const struct map *m, size_t *place);

#endif
