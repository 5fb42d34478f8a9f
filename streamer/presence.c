/* presence.c - who is present in one topic: keys with a meta for each place they are at, and what of it has been told to the members. */
/* SPDX-License-Identifier: PostgreSQL */
#include "presence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "request.h"

struct presence_key
{
	char   *name;		/* owned */
	struct presence_meta *metas;		/* those that are gone too, until it was told */
	bool	has_overlapped;		/* it has had several metas at once: the old and the new of an update count */
	bool	is_changed;
	struct presence_key *next_changed;
};

void
presence_init(struct presence *p)
{
	*p = (struct presence){0};
	map_init(&p->keys);
	map_init(&p->refs);
}

static void
free_meta(struct presence_meta *m)
{
	free(m->json);
	free(m);
}

static void
free_key(struct presence_key *k)
{
	while (k->metas != NULL)
	{
		struct presence_meta *next = k->metas->next;

		free_meta(k->metas);
		k->metas = next;
	}
	free(k->name);
	free(k);
}

void
presence_free(struct presence *p)
{
	size_t	place = 0;
	struct presence_key *k;

	while ((k = map_next(&p->keys, &place)) != NULL)
		free_key(k);
	map_free(&p->keys);
	map_free(&p->refs);
	presence_init(p);
}

bool
presence_is_empty(const struct presence *p)
{
	return p->keys.count == 0;
}

size_t
presence_count(const struct presence *p)
{
	return p->refs.count;
}

static void
set_changed(struct presence *p, struct presence_key *k)
{
	if (k->is_changed)
		return;
	k->is_changed = true;
	k->next_changed = p->changed;
	p->changed = k;
}

static struct presence_meta *
find(const struct presence *p, const char *ref)
{
	return map_get(&p->refs, ref, strlen(ref));
}

const struct presence_meta *
presence_find(const struct presence *p, const char *ref)
{
	return find(p, ref);
}

static struct presence_key *
get_key(struct presence *p, const char *name)
{
	struct presence_key *k = map_get(&p->keys, name, strlen(name));

	if (k != NULL)
		return k;
	k = memory_new(sizeof(*k));
	k->name = memory_string(name);
	map_put(&p->keys, name, strlen(name), k);
	return k;
}

/* The members are in front of ours: `"a":1,` or nothing. */
static char *
members_of(struct json_value meta)
{
	static const char *const ours[] = {"phx_ref", "phx_ref_prev", NULL};
	struct buffer text;
	char   *members;

	buffer_init(&text);
	request_rewrite(&text, meta, ours, NULL);
	memory_require(text.failed ? NULL : text.data);
	members = memory_text(text.data + 1, text.len - 2);
	buffer_free(&text);
	return members;
}

static void
set_gone(struct presence *p, struct presence_meta *m)
{
	map_remove(&p->refs, m->ref, strlen(m->ref));
	m->is_gone = true;
	set_changed(p, m->key);
}

bool
presence_put(struct presence *p, const char *key, const char *ref, const char *previous, uint64_t owner, struct json_value meta)
{
	struct presence_meta *m = find(p, ref);
	struct presence_meta *old = previous != NULL ? find(p, previous) : NULL;

	if (m != NULL)
	{
		m->is_doubtful = false;
		return false;
	}
	m = memory_new(sizeof(*m));
	m->key = get_key(p, key);
	snprintf(m->ref, sizeof(m->ref), "%s", ref);
	/* Members know only what they were told: an update of an update that nobody saw refers to what they have. */
	snprintf(m->previous, sizeof(m->previous), "%s", old != NULL && !old->is_told ? old->previous : previous != NULL ? previous : "");
	m->owner = owner;
	m->json = members_of(meta);
	m->next = m->key->metas;
	m->key->metas = m;
	map_put(&p->refs, ref, strlen(ref), m);
	if (old != NULL)
		set_gone(p, old);
	set_changed(p, m->key);
	return true;
}

bool
presence_remove(struct presence *p, const char *ref)
{
	struct presence_meta *m = find(p, ref);

	if (m == NULL)
		return false;
	set_gone(p, m);
	return true;
}

static bool
belongs(const struct presence_meta *m, uint64_t owner)
{
	return m->owner == owner && !m->is_gone;
}

bool
presence_remove_owner(struct presence *p, uint64_t owner, bool doubtful_only)
{
	size_t	place = 0;
	struct presence_key *k;
	bool	has_news = false;

	while ((k = map_next(&p->keys, &place)) != NULL)
		for (struct presence_meta *m = k->metas; m != NULL; m = m->next)
			if (belongs(m, owner) && (m->is_doubtful || !doubtful_only))
			{
				set_gone(p, m);
				has_news = true;
			}
	return has_news;
}

void
presence_doubt(struct presence *p, uint64_t owner)
{
	size_t	place = 0;
	struct presence_key *k;

	while ((k = map_next(&p->keys, &place)) != NULL)
		for (struct presence_meta *m = k->metas; m != NULL; m = m->next)
			if (belongs(m, owner))
				m->is_doubtful = true;
}

bool
presence_is_same(const struct presence *p, const char *ref, struct json_value meta)
{
	const struct presence_meta *m = find(p, ref);
	char   *members = m != NULL ? members_of(meta) : NULL;
	bool	is_same = m != NULL && strcmp(m->json, members) == 0;

	free(members);
	return is_same;
}

void
presence_each(const struct presence *p, uint64_t owner, void (*take)(void *owner, const struct presence_meta *m, const char *key), void *take_owner)
{
	size_t	place = 0;
	struct presence_key *k;

	while ((k = map_next(&p->keys, &place)) != NULL)
		for (const struct presence_meta *m = k->metas; m != NULL; m = m->next)
			if (belongs(m, owner))
				take(take_owner, m, k->name);
}

enum telling
{
	TELL_STATE,
	TELL_JOINS,
	TELL_LEAVES,
};

static bool
is_told_in(const struct presence_meta *m, enum telling what)
{
	switch (what)
	{
		case TELL_STATE:
			return m->is_told;
		case TELL_JOINS:
			return !m->is_told && !m->is_gone;
		default:
			return m->is_told && m->is_gone;
	}
}

static void
put_meta(struct buffer *out, const struct presence_meta *m)
{
	buffer_printf(out, "{\"phx_ref\":\"%s\"", m->ref);
	if (m->previous[0] != '\0')
		buffer_printf(out, ",\"phx_ref_prev\":\"%s\"", m->previous);
	if (m->json[0] != '\0')
		buffer_putc(out, ',');
	buffer_puts(out, m->json);
	buffer_putc(out, '}');
}

static void
put_key(struct buffer *out, const struct presence_key *k, enum telling what, const char **separator)
{
	bool	is_first = true;

	for (const struct presence_meta *m = k->metas; m != NULL; m = m->next)
	{
		if (!is_told_in(m, what))
			continue;
		if (is_first)
		{
			buffer_puts(out, *separator);
			buffer_json_string(out, k->name, strlen(k->name));
			buffer_puts(out, ":{\"metas\":[");
			*separator = ",";
		}
		else
			buffer_putc(out, ',');
		put_meta(out, m);
		is_first = false;
	}
	if (!is_first)
		buffer_puts(out, "]}");
}

void
presence_put_state(const struct presence *p, struct buffer *out)
{
	size_t	place = 0;
	const char *separator = "";
	struct presence_key *k;

	buffer_putc(out, '{');
	while ((k = map_next(&p->keys, &place)) != NULL)
		put_key(out, k, TELL_STATE, &separator);
	buffer_putc(out, '}');
}

/* A key with nobody left is forgotten. */
static void
settle(struct presence *p, struct presence_key *k)
{
	struct presence_meta **link = &k->metas;

	k->has_overlapped = k->has_overlapped || (k->metas != NULL && k->metas->next != NULL);
	p->has_overlap = p->has_overlap || k->has_overlapped;
	while (*link != NULL)
	{
		struct presence_meta *m = *link;

		if (m->is_gone)
		{
			*link = m->next;
			free_meta(m);
			continue;
		}
		m->is_told = true;
		link = &m->next;
	}
	k->is_changed = false;
	if (k->metas == NULL)
	{
		map_remove(&p->keys, k->name, strlen(k->name));
		free_key(k);
	}
}

static bool
put_changed(const struct presence *p, struct buffer *out, enum telling what)
{
	const char *separator = "";

	for (const struct presence_key *k = p->changed; k != NULL; k = k->next_changed)
		put_key(out, k, what, &separator);
	return separator[0] != '\0';
}

bool
presence_put_diff(struct presence *p, struct buffer *out)
{
	size_t	start = out->len;
	bool	has_news;

	p->has_overlap = false;
	buffer_puts(out, "{\"joins\":{");
	has_news = put_changed(p, out, TELL_JOINS);
	buffer_puts(out, "},\"leaves\":{");
	has_news = put_changed(p, out, TELL_LEAVES) || has_news;
	buffer_puts(out, "}}");
	if (!has_news && !out->failed)
		out->len = start;
	while (p->changed != NULL)
	{
		struct presence_key *k = p->changed;

		p->changed = k->next_changed;
		settle(p, k);
	}
	return has_news;
}
