/* transaction.c - the changes of one committed transaction: collected, reduced to what clients must see, then sealed and shared. */
/* SPDX-License-Identifier: PostgreSQL */
#include "transaction.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "control.h"
#include "map.h"
#include "memory.h"

#define SMALL_PIECES 96		/* what malloc adds to the pieces of one change */
#define CHAIN_MAX 64		/* changes of one row that are compared; beyond, order alone gives the right end */

struct drafted
{
	struct change change;
	size_t	earlier;		/* index + 1 of an earlier change of the same row; 0: none */
	size_t	row;			/* index + 1 of the living row of a tombstone, set at the seal */
	size_t	sealed;			/* index + 1 among the sealed changes */
	bool	is_dropped;
	bool	is_repeated;	/* a row that replaced an earlier image of itself */
};

struct draft
{
	struct drafted *items;
	size_t	count;
	size_t	room;
	struct map last;		/* row → index + 1 of its last change */
};

struct transaction *
transaction_new(uint64_t xid)
{
	struct transaction *t = memory_new(sizeof(*t));

	t->refs = 1;
	t->xid = xid;
	t->bytes = sizeof(*t);
	t->draft = memory_new(sizeof(*t->draft));
	map_init(&t->draft->last);
	return t;
}

struct transaction *
transaction_retain(struct transaction *t)
{
	t->refs++;
	return t;
}

void
transaction_add_message(struct transaction *t, const char *json)
{
	t->messages = memory_grow(t->messages, t->message_count + 1, sizeof(*t->messages));
	t->messages[t->message_count++] = memory_string(json);
	t->bytes += strlen(json) + sizeof(*t->messages);
}

static void
free_draft(struct transaction *t)
{
	if (t->draft == NULL)
		return;
	for (size_t i = 0; i < t->draft->count; i++)
		change_free(&t->draft->items[i].change);
	free(t->draft->items);
	map_free(&t->draft->last);
	free(t->draft);
	t->draft = NULL;
}

static void
free_projected(struct stream_change *list)
{
	while (list != NULL)
	{
		struct stream_change *next = list->projected;

		free(list->json);		/* all else is the original's, but what is left of old */
		if (list->projection != 0)
			free(list->old);
		free(list);
		list = next;
	}
}

void
transaction_release(struct transaction *t)
{
	if (t == NULL || --t->refs > 0)
		return;
	free_draft(t);
	for (size_t i = 0; i < t->count; i++)
	{
		free(t->changes[i].route);
		free(t->changes[i].json);
		free(t->changes[i].entity_id);
		free(t->changes[i].old_values);
		free(t->changes[i].changed);
		free(t->changes[i].old);
		free_projected(t->changes[i].projected);
	}
	free(t->changes);
	for (size_t i = 0; i < t->message_count; i++)
		free(t->messages[i]);
	free(t->messages);
	for (size_t i = 0; i < t->concerned_count; i++)
		free(t->concerned[i].user);
	free(t->concerned);
	free(t->lost);
	if (t->bridged != NULL)
		snapshot_free(t->bridged);
	free(t->bridged);
	free(t);
}

bool
transaction_is_seen(const struct transaction *t, const struct snapshot *s)
{
	return t->bridged != NULL ? snapshot_covers(s, t->bridged) : snapshot_sees(s, t->xid);
}

bool
transaction_change_is_seen(const struct transaction *t, const struct stream_change *c, const struct snapshot *s)
{
	return snapshot_sees(s, t->bridged != NULL ? c->xid : t->xid);
}

void
transaction_raise(struct transaction *t, enum barrier barrier)
{
	if (barrier > t->barrier)
		t->barrier = barrier;
	if (barrier == BARRIER_RELOAD)
		t->needs_reload = true;
}

size_t
transaction_size(const struct transaction *t)
{
	return t->draft != NULL ? t->draft->count : t->count;
}

void
transaction_lose_table(struct transaction *t, int32_t table_id)
{
	for (size_t i = 0; i < t->lost_count; i++)
		if (t->lost[i] == table_id)
			return;
	t->lost = memory_grow(t->lost, t->lost_count + 1, sizeof(*t->lost));
	t->lost[t->lost_count++] = table_id;
	t->bytes += sizeof(*t->lost);
}

void
transaction_lose(struct transaction *t)
{
	struct draft *d = t->draft;

	transaction_raise(t, BARRIER_LOST);
	for (size_t i = 0; i < d->count; i++)
	{
		if (!d->items[i].is_dropped)
			transaction_lose_table(t, d->items[i].change.table->id);
		change_free(&d->items[i].change);
	}
	free(d->items);
	map_free(&d->last);
	*d = (struct draft){0};
	t->bytes = sizeof(*t) + t->lost_count * sizeof(*t->lost);
}

static bool
same_scope(const struct change *a, const struct change *b)
{
	if (a->scope == NULL || b->scope == NULL)
		return a->scope == b->scope && a->scope_is_null == b->scope_is_null;
	return strcmp(a->scope, b->scope) == 0;
}

/* Of one row, in one transaction: a later image or mark replaces an earlier image; a deletion and an image under the same scope value
 * replace each other, the later one stays; a deletion under another value is the end of a move and stays beside the image. So does one that is
 * judged on its old values: it is for those who might see the row then, and may not now. */
static bool
replaces(const struct change *later, const struct change *earlier)
{
	if (earlier->old_values != NULL || later->is_handover)
		return false;
	if (later->kind == CHANGE_TOMBSTONE || earlier->kind == CHANGE_TOMBSTONE)
		return later->kind != CHANGE_MARKED && same_scope(later, earlier);
	return true;
}

static size_t
length(const char *text)
{
	return text != NULL ? strlen(text) : 0;
}

static size_t
bytes_of(const struct change *c)
{
	return c->json_len + length(c->old) + sizeof(struct drafted);
}

/* What the row was before the transaction, and all that changed since. A row that is new in it was nothing before. */
static void
join_history(struct change *later, struct change *earlier)
{
	if (earlier->kind == CHANGE_TOMBSTONE)
		return;
	later->is_new = earlier->is_new;
	free(later->old);
	later->old = earlier->old;
	earlier->old = NULL;
	if (earlier->changed == NULL)
	{
		free(later->changed);
		later->changed = NULL;
	}
	if (later->changed == NULL)
		return;
	for (size_t i = 0; i < COLUMN_SET_BYTES(later->table->column_count); i++)
		later->changed[i] |= earlier->changed[i];
}

static void
drop(struct transaction *t, struct drafted *item)
{
	t->bytes -= bytes_of(&item->change);
	change_free(&item->change);
	item->is_dropped = true;
}

static void
drop_replaced(struct transaction *t, size_t last, struct change *c)
{
	struct draft *d = t->draft;
	size_t *link = &last;

	for (int i = 0; *link != 0 && i < CHAIN_MAX; i++)
	{
		struct drafted *item = &d->items[*link - 1];

		if (!item->is_dropped && replaces(c, &item->change))
		{
			d->items[d->count - 1].is_repeated |= item->change.kind != CHANGE_TOMBSTONE;
			t->bytes -= bytes_of(c);
			join_history(c, &item->change);
			t->bytes += bytes_of(c);
			drop(t, item);
			*link = item->earlier;
		}
		else
			link = &item->earlier;
	}
	d->items[d->count - 1].earlier = last;
}

/* What a row is found by in the draft; owned by the caller. */
static char *
make_key(int32_t table_id, const char *entity_id, size_t *len)
{
	size_t	id_len = strlen(entity_id);
	char   *key = memory_new(sizeof(table_id) + id_len + 1);

	memcpy(key, &table_id, sizeof(table_id));
	memcpy(key + sizeof(table_id), entity_id, id_len);
	*len = sizeof(table_id) + id_len;
	return key;
}

void
transaction_add(struct transaction *t, struct change *c)
{
	struct draft *d = t->draft;
	size_t	key_len;
	char   *key = make_key(c->table->id, c->entity_id, &key_len);
	size_t	last;

	if (d->count == d->room)
	{
		d->room = d->room > 0 ? d->room * 2 : 4;
		d->items = memory_grow(d->items, d->room, sizeof(*d->items));
	}
	d->items[d->count++] = (struct drafted){.change = *c};
	t->bytes += bytes_of(c);
	last = (size_t) (uintptr_t) map_get(&d->last, key, key_len);
	if (last != 0)
		drop_replaced(t, last, &d->items[d->count - 1].change);
	map_put(&d->last, key, key_len, (void *) (uintptr_t) d->count);
	free(key);
}

void
transaction_set_old(struct transaction *t, int32_t table_id, const char *entity_id, char *old)
{
	struct draft *d = t->draft;
	size_t	key_len;
	char   *key = make_key(table_id, entity_id, &key_len);
	size_t	last = (size_t) (uintptr_t) map_get(&d->last, key, key_len);
	struct drafted *item = last != 0 ? &d->items[last - 1] : NULL;

	free(key);
	if (item == NULL || item->is_dropped || item->change.kind != CHANGE_TOMBSTONE || item->change.old != NULL)
	{
		free(old);
		return;
	}
	item->change.old = old;
	t->bytes += strlen(old);
}

struct change *
transaction_next_unread(struct transaction *t, size_t *place)
{
	while (t->draft != NULL && *place < t->draft->count)
	{
		struct drafted *item = &t->draft->items[(*place)++];

		if (!item->is_dropped && item->change.needs_reread && item->change.json == NULL && item->change.kind == CHANGE_ROW)
			return &item->change;
	}
	return NULL;
}

void
transaction_drop(struct transaction *t, struct change *c)
{
	drop(t, (struct drafted *) (void *) ((char *) c - offsetof(struct drafted, change)));
}

void
route_put_scope(struct buffer *out, const char *scope, const char *value)
{
	buffer_put(out, scope, strlen(scope) + 1);		/* the NUL separates */
	buffer_puts(out, value);
}

void
route_put_table(struct buffer *out, int32_t table_id)
{
	buffer_putc(out, '\0');			/* no scope has an empty name */
	buffer_put(out, &table_id, sizeof(table_id));
}

static void
seal_change(struct transaction *t, struct change *c)
{
	struct stream_change *s = &t->changes[t->count++];
	struct buffer route;

	buffer_init(&route);
	if (c->table->scope != NULL && !control_off("scope"))
		route_put_scope(&route, c->table->scope, c->scope);
	else
		route_put_table(&route, c->table->id);
	s->table_id = c->table->id;
	s->column_count = c->table->column_count;
	s->sibling = -1;
	s->route = buffer_take(&route, &s->route_len);
	memory_require(s->route);
	s->json = c->json;
	s->json_len = c->json_len;
	c->json = NULL;
	s->xid = c->xid;
	s->committed_us = t->committed_us;
	s->kind = c->kind;
	s->entity_id = c->entity_id;
	c->entity_id = NULL;
	s->old_values = c->old_values;
	c->old_values = NULL;
	s->is_new = c->is_new;
	s->changed = c->changed;
	c->changed = NULL;
	s->old = c->old;
	c->old = NULL;
	t->bytes += s->json_len + s->route_len + strlen(s->entity_id) + length(s->old_values) + length(s->old) + sizeof(*s) + SMALL_PIECES;
}

/* A row with a NULL scope concerns nobody; a mark only says that the row is dead. */
static bool
is_sent(const struct drafted *item)
{
	const struct change *c = &item->change;

	return !item->is_dropped && c->kind != CHANGE_MARKED && c->json != NULL && (c->table->scope == NULL || c->scope != NULL);
}

/* Each entry of the map is the end of one row's chain; a living image in it is told to the row's tombstones. */
static void
find_siblings(struct draft *d)
{
	size_t	place = 0;
	void   *value;

	while ((value = map_next(&d->last, &place)) != NULL)
	{
		size_t	row = 0;

		for (size_t at = (size_t) (uintptr_t) value; at != 0; at = d->items[at - 1].earlier)
			if (!d->items[at - 1].is_dropped && d->items[at - 1].change.kind == CHANGE_ROW)
				row = at;
		for (size_t at = (size_t) (uintptr_t) value; at != 0 && row != 0; at = d->items[at - 1].earlier)
			if (!d->items[at - 1].is_dropped && d->items[at - 1].change.kind == CHANGE_TOMBSTONE)
				d->items[at - 1].row = row;
	}
}

static size_t
bytes_of_messages(const struct transaction *t)
{
	size_t	bytes = 0;

	for (size_t i = 0; i < t->message_count; i++)
		bytes += strlen(t->messages[i]) + sizeof(*t->messages);
	return bytes;
}

static void
set_sibling(struct transaction *t, const struct drafted *item)
{
	size_t	row = item->row != 0 ? t->draft->items[item->row - 1].sealed : 0;

	if (row == 0)
		return;
	t->changes[row - 1].has_left = true;
	if (item->sealed != 0)
		t->changes[item->sealed - 1].sibling = (int32_t) row - 1;
}

void
transaction_seal(struct transaction *t)
{
	struct draft *d = t->draft;

	find_siblings(d);
	t->bytes = sizeof(*t) + bytes_of_messages(t);
	t->changes = memory_new(d->count * sizeof(*t->changes));
	for (size_t i = 0; i < d->count; i++)
		if (is_sent(&d->items[i]))
		{
			seal_change(t, &d->items[i].change);
			t->changes[t->count - 1].is_repeated = d->items[i].is_repeated;
			d->items[i].sealed = t->count;
		}
	for (size_t i = 0; i < d->count; i++)
		set_sibling(t, &d->items[i]);
	free_draft(t);
}
