/* map.c - a hash table from byte strings to pointers: open addressing, linear probing, no markers for removed entries. */
/* SPDX-License-Identifier: PostgreSQL */
#include "map.h"

#include <stdlib.h>
#include <string.h>

#include "chance.h"
#include "memory.h"

/* Keys come from users (entity ids, scope values, topics): without a secret seed they could be chosen to collide. */
static uint64_t
seed(void)
{
	static uint64_t value;

	if (value == 0)
		value = chance_bits();
	return value;
}

static uint64_t
fold(uint64_t a, uint64_t b)
{
	__extension__ unsigned __int128 product = (unsigned __int128) a * b;

	return (uint64_t) product ^ (uint64_t) (product >> 64);
}

static uint64_t
hash_bytes(const void *key, size_t len)
{
	const unsigned char *p = key;
	uint64_t secret = seed();
	uint64_t h = secret ^ len;
	uint64_t word;

	for (; len >= sizeof(word); p += sizeof(word), len -= sizeof(word))
	{
		memcpy(&word, p, sizeof(word));
		h = fold(h ^ word, secret ^ 0xa0761d6478bd642fu);
	}
	word = 0;
	if (len > 0)
		memcpy(&word, p, len);
	return fold(h ^ word, secret ^ 0xe7037ed1a0b428dbu);
}

void
map_init(struct map *m)
{
	*m = (struct map){0};
}

void
map_free(struct map *m)
{
	for (size_t i = 0; i < m->room; i++)
		free(m->entries[i].key);
	free(m->entries);
	map_init(m);
}

/* The place of the key, or the free place where it belongs. The table always has a free place. */
static size_t
find(const struct map *m, uint64_t hash, const void *key, size_t len)
{
	size_t	i = hash & (m->room - 1);

	for (;; i = (i + 1) & (m->room - 1))
	{
		const struct map_entry *e = &m->entries[i];

		if (e->key == NULL || (e->hash == hash && e->key_len == len && memcmp(e->key, key, len) == 0))
			return i;
	}
}

void *
map_get(const struct map *m, const void *key, size_t len)
{
	const struct map_entry *e;

	if (m->count == 0)
		return NULL;
	e = &m->entries[find(m, hash_bytes(key, len), key, len)];
	return e->key != NULL ? e->value : NULL;
}

static void
resize(struct map *m, size_t room)
{
	struct map_entry *old = m->entries;
	size_t	old_room = m->room;

	m->entries = memory_new(room * sizeof(*m->entries));
	m->room = room;
	for (size_t i = 0; i < old_room; i++)
		if (old[i].key != NULL)
			m->entries[find(m, old[i].hash, old[i].key, old[i].key_len)] = old[i];
	free(old);
}

void
map_put(struct map *m, const void *key, size_t len, void *value)
{
	uint64_t hash = hash_bytes(key, len);
	struct map_entry *e;

	if (m->count * 4 >= m->room * 3)
		resize(m, m->room > 0 ? m->room * 2 : 16);
	e = &m->entries[find(m, hash, key, len)];
	if (e->key == NULL)
	{
		*e = (struct map_entry){.hash = hash, .key = memory_text(key, len), .key_len = len};
		m->count++;
	}
	e->value = value;
}

/* Entries behind the gap that would no longer be found move into it. */
static void
close_gap(struct map *m, size_t gap)
{
	size_t	mask = m->room - 1;

	for (size_t i = (gap + 1) & mask; m->entries[i].key != NULL; i = (i + 1) & mask)
	{
		size_t	home = m->entries[i].hash & mask;

		if (((i - home) & mask) < ((i - gap) & mask))
			continue;
		m->entries[gap] = m->entries[i];
		m->entries[i] = (struct map_entry){0};
		gap = i;
	}
}

void *
map_remove(struct map *m, const void *key, size_t len)
{
	size_t	i;
	void   *value;

	if (m->count == 0)
		return NULL;
	i = find(m, hash_bytes(key, len), key, len);
	if (m->entries[i].key == NULL)
		return NULL;
	value = m->entries[i].value;
	free(m->entries[i].key);
	m->entries[i] = (struct map_entry){0};
	m->count--;
	close_gap(m, i);
	return value;
}

void *
map_get_id(const struct map *m, uint64_t id)
{
	return map_get(m, &id, sizeof(id));
}

void
map_put_id(struct map *m, uint64_t id, void *value)
{
	map_put(m, &id, sizeof(id), value);
}

void *
map_remove_id(struct map *m, uint64_t id)
{
	return map_remove(m, &id, sizeof(id));
}

void *
map_next(const struct map *m, size_t *place)
{
	while (*place < m->room)
	{
		const struct map_entry *e = &m->entries[(*place)++];

		if (e->key != NULL)
			return e->value;
	}
	return NULL;
}
