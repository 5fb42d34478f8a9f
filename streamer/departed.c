/* departed.c - counts each device's channels; those without any stand in a list in the order they left. */
/* SPDX-License-Identifier: PostgreSQL */
#include "departed.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

struct presence
{
	struct presence *previous;
	struct presence *next;
	size_t	channels;			/* 0: gone, and in the list */
	int64_t left_ms;
	size_t	user_len;
	size_t	len;
	char	key[];				/* user, NUL, device */
};

void
departed_init(struct departed *d)
{
	*d = (struct departed){0};
	map_init(&d->devices);
}

void
departed_free(struct departed *d)
{
	size_t	place = 0;
	struct presence *p;

	while ((p = map_next(&d->devices, &place)) != NULL)
		free(p);
	map_free(&d->devices);
	departed_init(d);
}

static void
unlist(struct departed *d, struct presence *p)
{
	*(p->previous != NULL ? &p->previous->next : &d->first) = p->next;
	*(p->next != NULL ? &p->next->previous : &d->last) = p->previous;
	p->previous = p->next = NULL;
	d->count--;
}

static struct presence *
new_presence(const char *user, const char *device)
{
	size_t	user_len = strlen(user);
	size_t	len = user_len + 1 + strlen(device);
	struct presence *p = memory_new(sizeof(*p) + len + 1);

	p->user_len = user_len;
	p->len = len;
	memcpy(p->key, user, user_len);
	memcpy(p->key + user_len + 1, device, len - user_len - 1);
	return p;
}

void
departed_join(struct departed *d, const char *user, const char *device)
{
	struct presence *new = new_presence(user, device);
	struct presence *p = map_get(&d->devices, new->key, new->len);

	if (p == NULL)
	{
		p = new;
		map_put(&d->devices, p->key, p->len, p);
	}
	else
		free(new);
	if (p->channels == 0 && p != new)
		unlist(d, p);
	p->channels++;
}

static void
forget(struct departed *d, struct presence *p)
{
	unlist(d, p);
	map_remove(&d->devices, p->key, p->len);
	free(p);
}

void
departed_leave(struct departed *d, const char *user, const char *device, int64_t now_ms)
{
	struct presence *wanted = new_presence(user, device);
	struct presence *p = map_get(&d->devices, wanted->key, wanted->len);

	free(wanted);
	if (p == NULL || p->channels == 0 || --p->channels > 0)
		return;
	p->left_ms = now_ms;
	p->previous = d->last;
	*(d->last != NULL ? &d->last->next : &d->first) = p;
	d->last = p;
	if (d->count++ == DEPARTED_MAX)
		forget(d, d->first);
}

bool
departed_are_due(const struct departed *d, int64_t now_ms)
{
	return d->first != NULL && now_ms - d->first->left_ms >= DEPARTED_GRACE_MS;
}

size_t
departed_take(struct departed *d, int64_t now_ms, size_t most, struct buffer *json)
{
	size_t	count = 0;

	buffer_putc(json, '[');
	for (; count < most && departed_are_due(d, now_ms); count++)
	{
		struct presence *p = d->first;
		const char *device = p->key + p->user_len + 1;

		buffer_puts(json, count > 0 ? ",{\"user_id\":" : "{\"user_id\":");
		buffer_json_string(json, p->key, p->user_len);
		buffer_puts(json, ",\"device_id\":");
		buffer_json_string(json, device, strlen(device));
		buffer_printf(json, ",\"ago\":%.3f}", (double) (now_ms - p->left_ms) / 1000);
		forget(d, p);
	}
	buffer_putc(json, ']');
	return count;
}
