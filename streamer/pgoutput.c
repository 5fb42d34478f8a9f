/* pgoutput.c - reads the bytes of pgoutput, protocol version 1; keeps the relations that the slot has described. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "reader.h"

#define EPOCH_2000_US INT64_C(946684800000000)
#define BOOL_OID 16
#define COLUMNS_MAX 1664		/* more than a table can have */

struct attribute
{
	char   *name;				/* within the relation's names */
	size_t	name_len;
	bool	is_bool;
	bool	is_identity;
};

struct relation
{
	uint32_t id;
	char   *names;				/* owned: schema, table, columns, a NUL behind each */
	const char *schema;
	const char *table;
	size_t	count;
	struct attribute *attributes;	/* owned */
};

struct pgoutput
{
	struct relation *relations;		/* ascending by id */
	size_t	count;
	size_t	room;
	size_t	last;					/* where the last one was found: rows come in runs */
	uint32_t xid;					/* of the transaction under way; 0: none */
	struct fields columns;
	struct fields identity;
	struct buffer content;
};

/* The rest of a message. The first read past its end fails, and all after it. */
struct bytes
{
	const char *p;
	size_t	left;
	bool	failed;
};

struct pgoutput *
pgoutput_new(void)
{
	return memory_new(sizeof(struct pgoutput));
}

static void
free_relation(struct relation *r)
{
	free(r->names);
	free(r->attributes);
}

void
pgoutput_reset(struct pgoutput *p)
{
	for (size_t i = 0; i < p->count; i++)
		free_relation(&p->relations[i]);
	p->count = 0;
	p->xid = 0;
}

void
pgoutput_free(struct pgoutput *p)
{
	if (p == NULL)
		return;
	pgoutput_reset(p);
	free(p->relations);
	free(p->columns.items);
	free(p->identity.items);
	buffer_free(&p->content);
	free(p);
}

/* NULL: not so many are left. */
static const char *
get_bytes(struct bytes *b, size_t len)
{
	const char *at = b->p;

	if (b->failed || len > b->left)
	{
		b->failed = true;
		return NULL;
	}
	b->p += len;
	b->left -= len;
	return at;
}

static uint64_t
get_number(struct bytes *b, size_t size)
{
	const char *at = get_bytes(b, size);
	uint64_t value = 0;

	for (size_t i = 0; at != NULL && i < size; i++)
		value = value << 8 | (unsigned char) at[i];
	return value;
}

static char
get_letter(struct bytes *b)
{
	return (char) get_number(b, 1);
}

/* With its NUL; "" on failure. */
static const char *
get_string(struct bytes *b)
{
	const char *nul = b->failed ? NULL : memchr(b->p, '\0', b->left);

	if (nul == NULL)
	{
		b->failed = true;
		return "";
	}
	return get_bytes(b, (size_t) (nul - b->p) + 1);
}

static bool
is_whole(const struct bytes *b)
{
	return !b->failed && b->left == 0;
}

/* The place of this relation, or where it belongs. */
static size_t
find_place(const struct pgoutput *p, uint32_t id)
{
	size_t	low = 0;
	size_t	high = p->count;

	while (low < high)
	{
		size_t	middle = (low + high) / 2;

		if (p->relations[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static const struct relation *
find_relation(struct pgoutput *p, uint32_t id)
{
	if (p->last >= p->count || p->relations[p->last].id != id)
		p->last = find_place(p, id);
	return p->last < p->count && p->relations[p->last].id == id ? &p->relations[p->last] : NULL;
}

/* Takes r's memory over. */
static void
put_relation(struct pgoutput *p, struct relation *r)
{
	size_t	place = find_place(p, r->id);

	if (place < p->count && p->relations[place].id == r->id)
	{
		free_relation(&p->relations[place]);
		p->relations[place] = *r;
		return;
	}
	if (p->count == p->room)
	{
		p->room = p->room > 0 ? p->room * 2 : 16;
		p->relations = memory_grow(p->relations, p->room, sizeof(*p->relations));
	}
	memmove(&p->relations[place + 1], &p->relations[place], (p->count - place) * sizeof(*p->relations));
	p->relations[place] = *r;
	p->count++;
}

static void
read_attribute(struct bytes *b, struct attribute *a)
{
	a->is_identity = get_number(b, 1) & 1;
	a->name = (char *) get_string(b);	/* set right by keep_names */
	a->name_len = b->failed ? 0 : strlen(a->name);
	a->is_bool = get_number(b, 4) == BOOL_OID;
	get_number(b, 4);			/* the type's modifier */
}

/* Copies all names into one piece of memory. */
static void
keep_names(struct relation *r)
{
	size_t	schema_len = strlen(r->schema) + 1;
	size_t	table_len = strlen(r->table) + 1;
	size_t	len = schema_len + table_len;
	char   *at;

	for (size_t i = 0; i < r->count; i++)
		len += r->attributes[i].name_len + 1;
	r->names = at = memory_new(len);
	r->schema = memcpy(at, r->schema, schema_len);
	r->table = memcpy(at + schema_len, r->table, table_len);
	at += schema_len + table_len;
	for (size_t i = 0; i < r->count; i++)
	{
		struct attribute *a = &r->attributes[i];

		a->name = memcpy(at, a->name, a->name_len + 1);
		at += a->name_len + 1;
	}
}

static bool
read_relation(struct pgoutput *p, struct bytes *b)
{
	struct relation r = {.id = (uint32_t) get_number(b, 4)};

	r.schema = get_string(b);
	if (*r.schema == '\0')
		r.schema = "pg_catalog";
	r.table = get_string(b);
	get_number(b, 1);			/* the kind of replica identity: the columns' flags say the same */
	r.count = (size_t) get_number(b, 2);
	if (b->failed || r.count > COLUMNS_MAX)
		return false;
	r.attributes = memory_new((r.count + 1) * sizeof(*r.attributes));
	for (size_t i = 0; i < r.count; i++)
		read_attribute(b, &r.attributes[i]);
	if (!is_whole(b))
	{
		free(r.attributes);
		return false;
	}
	keep_names(&r);
	put_relation(p, &r);
	return true;
}

static bool
read_value(struct bytes *b, const struct attribute *a, struct value *v)
{
	*v = (struct value) {VALUE_ABSENT, "", 0};
	switch (get_letter(b))
	{
		case 'n':
			v->kind = VALUE_NULL;
			return !b->failed;
		case 'u':
			return true;
		case 't':
			v->len = (size_t) get_number(b, 4);
			v->text = get_bytes(b, v->len);
			v->kind = a->is_bool ? VALUE_BOOL : VALUE_TEXT;
			return !b->failed;
		default:
			return false;
	}
}

/* Of an old key the other columns come as nulls, which they need not be. */
static bool
read_tuple(struct bytes *b, const struct relation *r, bool is_key, struct fields *fields)
{
	size_t	count = (size_t) get_number(b, 2);

	fields->count = 0;
	if (b->failed || count != r->count)
		return false;
	for (size_t i = 0; i < count; i++)
	{
		const struct attribute *a = &r->attributes[i];
		struct field *f = fields_add(fields);

		if (!read_value(b, a, &f->value))
			return false;
		f->name = a->name;
		f->name_len = a->name_len;
		if (is_key && !a->is_identity)
			fields->count--;
	}
	return true;
}

static bool
read_row(struct pgoutput *p, struct bytes *b, struct record *r)
{
	const struct relation *relation = find_relation(p, (uint32_t) get_number(b, 4));
	char	letter = get_letter(b);

	p->columns.count = p->identity.count = 0;
	if (relation == NULL || p->xid == 0)
		return false;
	if (r->action != RECORD_INSERT && (letter == 'K' || letter == 'O'))
	{
		if (!read_tuple(b, relation, letter == 'K', &p->identity))
			return false;
		letter = r->action == RECORD_UPDATE ? get_letter(b) : '\0';
	}
	else if (r->action == RECORD_DELETE)
		return false;
	if (r->action != RECORD_DELETE && (letter != 'N' || !read_tuple(b, relation, false, &p->columns)))
		return false;
	r->schema = relation->schema;
	r->table = relation->table;
	r->columns = p->columns.items;
	r->column_count = p->columns.count;
	r->identity = p->identity.items;
	r->identity_count = p->identity.count;
	return is_whole(b);
}

/* One record for each relation. Those that are not described are of no publication of ours. */
static bool
read_truncate(struct pgoutput *p, struct bytes *b, struct record *r, const struct delivery *d)
{
	size_t	count = (size_t) get_number(b, 4);

	get_number(b, 1);			/* CASCADE, RESTART IDENTITY */
	if (b->failed || p->xid == 0 || b->left % 4 != 0 || count != b->left / 4)
		return false;
	for (size_t i = 0; i < count; i++)
	{
		const struct relation *relation = find_relation(p, (uint32_t) get_number(b, 4));

		if (relation == NULL)
			continue;
		r->schema = relation->schema;
		r->table = relation->table;
		d->take(d->owner, r);
	}
	return true;
}

static bool
read_message(struct pgoutput *p, struct bytes *b, struct record *r)
{
	bool	is_transactional = get_number(b, 1) & 1;
	const char *prefix;
	const char *content;
	size_t	len;

	r->lsn = get_number(b, 8);
	prefix = get_string(b);
	len = (size_t) get_number(b, 4);
	content = get_bytes(b, len);
	if (!is_whole(b) || (is_transactional && p->xid == 0))
		return false;
	r->xid = is_transactional ? p->xid : 0;
	if (strcmp(prefix, "sync") != 0 || memchr(content, '\0', len) != NULL)
		return true;
	buffer_reset(&p->content);
	buffer_put(&p->content, content, len);
	if (p->content.failed)
		return false;
	record_set_content(r, p->content.data, len);
	return true;
}

static bool
read_begin(struct pgoutput *p, struct bytes *b, struct record *r)
{
	get_bytes(b, 16);			/* where it commits, and when */
	r->xid = p->xid = (uint32_t) get_number(b, 4);
	return is_whole(b) && p->xid != 0;
}

static bool
read_commit(struct pgoutput *p, struct bytes *b, struct record *r)
{
	get_bytes(b, 9);			/* flags, and where the commit begins */
	r->end_lsn = get_number(b, 8);
	r->committed_us = (int64_t) get_number(b, 8) + EPOCH_2000_US;
	p->xid = 0;
	return is_whole(b) && r->xid != 0;
}

bool
pgoutput_read(struct pgoutput *p, const char *message, size_t len, const struct delivery *d)
{
	static const char letters[] = "BCIUDTM";
	struct bytes b = {message, len, false};
	struct record r = {.lsn = d->lsn, .xid = p->xid, .schema = "", .table = ""};
	char	letter = get_letter(&b);
	const char *found = b.failed ? NULL : memchr(letters, letter, sizeof(letters) - 1);
	bool	ok;

	if (found == NULL)
		return letter == 'R' ? read_relation(p, &b) : letter == 'Y' || letter == 'O';	/* types and origins: nothing to know */
	r.action = (enum record_action) (found - letters);
	switch (r.action)
	{
		case RECORD_BEGIN:
			ok = read_begin(p, &b, &r);
			break;
		case RECORD_COMMIT:
			ok = read_commit(p, &b, &r);
			break;
		case RECORD_TRUNCATE:
			return read_truncate(p, &b, &r, d);
		case RECORD_MESSAGE:
			ok = read_message(p, &b, &r);
			break;
		default:
			ok = read_row(p, &b, &r);
			break;
	}
	if (ok)
		d->take(d->owner, &r);
	return ok;
}
