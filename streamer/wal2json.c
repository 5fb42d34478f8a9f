/* wal2json.c - reads one line of wal2json format 2, in one walk and without a copy of what it holds. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "memory.h"
#include "reader.h"
#include "text.h"

#define DEPTH_MAX 64

struct wal2json
{
	struct fields columns;
	struct fields identity;
	struct buffer texts;		/* what had to be unescaped or terminated; never grown within a line, so pointers into it stay */
};

/* The place in the line. Every step returns false when the text is not what it should be. */
struct cursor
{
	const char *p;
	const char *end;
	struct buffer *texts;
};

/* The members of a line as found; all absent at first. */
struct members
{
	struct value action, xid, schema, table, prefix, content;
};

struct wal2json *
wal2json_new(void)
{
	return memory_new(sizeof(struct wal2json));
}

void
wal2json_free(struct wal2json *w)
{
	if (w == NULL)
		return;
	free(w->columns.items);
	free(w->identity.items);
	buffer_free(&w->texts);
	free(w);
}

static void
skip_space(struct cursor *c)
{
	while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\n' || *c->p == '\r'))
		c->p++;
}

/* Whether the next character is this one; then it is behind. */
static bool
take(struct cursor *c, char wanted)
{
	skip_space(c);
	if (c->p >= c->end || *c->p != wanted)
		return false;
	c->p++;
	return true;
}

static bool
is_hex(const char *p)
{
	for (int i = 0; i < 4; i++)
		if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f') || (p[i] >= 'A' && p[i] <= 'F')))
			return false;
	return true;
}

/* Goes on behind the backslash at p; NULL: no escape of JSON's. */
static const char *
skip_escape(const char *p, const char *end)
{
	if (end - p < 2 || p[1] == '\0' || strchr("\"\\/bfnrtu", p[1]) == NULL)
		return NULL;
	if (p[1] != 'u')
		return p + 2;
	return end - p >= 6 && is_hex(p + 2) ? p + 6 : NULL;
}

/* The string that begins here. Most have no escape: then two searches for a byte are all. */
static bool
read_string(struct cursor *c, struct value *v)
{
	const char *from = c->p + 1;
	const char *quote;

	if (!take(c, '"'))
		return false;
	from = c->p;
	quote = memchr(from, '"', (size_t) (c->end - from));
	if (quote == NULL)
		return false;
	v->kind = VALUE_TEXT;
	if (memchr(from, '\\', (size_t) (quote - from)) != NULL)
	{
		v->kind = VALUE_ESCAPED;
		for (quote = from; quote != NULL && quote < c->end && *quote != '"';)
			quote = *quote == '\\' ? skip_escape(quote, c->end) : quote + 1;
		if (quote == NULL || quote >= c->end)
			return false;
	}
	v->text = from;
	v->len = (size_t) (quote - from);
	c->p = quote + 1;
	return true;
}

static bool
is_word(struct value v, const char *word)
{
	return v.len == strlen(word) && memcmp(v.text, word, v.len) == 0;
}

static bool
read_bare(struct cursor *c, struct value *v)
{
	const char *from = c->p;

	while (c->p < c->end && memchr(",}] \t\r\n", *c->p, 7) == NULL)
		c->p++;
	*v = (struct value) {VALUE_TEXT, from, (size_t) (c->p - from)};
	if (is_word(*v, "null"))
		v->kind = VALUE_BLANK;
	else if (is_word(*v, "true") || is_word(*v, "false"))
		v->kind = VALUE_BOOL;
	return v->kind != VALUE_TEXT || json_is_number(v->text, v->len);
}

static bool read_value(struct cursor *c, struct value *v, int depth);

/* An array or object that nobody asked for. */
static bool
skip_container(struct cursor *c, int depth)
{
	bool	is_object = *c->p++ == '{';
	char	close = is_object ? '}' : ']';
	struct value ignored;

	if (take(c, close))
		return true;
	do
	{
		if (is_object && (!read_string(c, &ignored) || !take(c, ':')))
			return false;
		if (!read_value(c, &ignored, depth + 1))
			return false;
	} while (take(c, ','));
	return take(c, close);
}

/* Absent: a container. */
static bool
read_value(struct cursor *c, struct value *v, int depth)
{
	skip_space(c);
	if (c->p >= c->end || depth > DEPTH_MAX)
		return false;
	if (*c->p == '"')
		return read_string(c, v);
	if (*c->p != '{' && *c->p != '[')
		return read_bare(c, v);
	*v = (struct value) {VALUE_ABSENT, "", 0};
	return skip_container(c, depth);
}

/* The text with a NUL behind it. */
static const char *
keep_text(struct cursor *c, struct value v)
{
	size_t	start = c->texts->len;

	if (v.kind == VALUE_ESCAPED)
	{
		if (!json_unescape_text(v.text, v.len, c->texts))
			return NULL;
	}
	else
		buffer_put(c->texts, v.text, v.len);
	buffer_putc(c->texts, '\0');
	return c->texts->failed ? NULL : c->texts->data + start;
}

static bool
set_name(struct cursor *c, struct field *f, struct value v)
{
	size_t	start = c->texts->len;

	if (!value_is_text(v))
		return false;
	f->name = v.text;
	f->name_len = v.len;
	if (v.kind == VALUE_TEXT)
		return true;
	f->name = keep_text(c, v);
	f->name_len = c->texts->len - start - 1;
	return f->name != NULL;
}

static bool
read_field(struct cursor *c, struct field *f)
{
	*f = (struct field) {"", 0, {VALUE_ABSENT, "", 0}};
	if (!take(c, '{'))
		return false;
	if (take(c, '}'))
		return true;
	do
	{
		struct value name;
		struct value v;

		if (!read_string(c, &name) || !take(c, ':') || !read_value(c, &v, 3))
			return false;
		if (is_word(name, "value"))
			f->value = v;
		else if (is_word(name, "name") && !set_name(c, f, v))
			return false;
	} while (take(c, ','));
	return take(c, '}');
}

static bool
read_fields(struct cursor *c, struct fields *fields)
{
	fields->count = 0;
	if (!take(c, '['))
		return false;
	if (take(c, ']'))
		return true;
	do
	{
		struct field *f = fields_add(fields);

		if (f == NULL || !read_field(c, f))
			return false;
	} while (take(c, ','));
	return take(c, ']');
}

static struct value *
find_member(struct members *m, struct value name)
{
	const struct
	{
		const char *name;
		struct value *value;
	}		known[] = {
		{"action", &m->action}, {"xid", &m->xid}, {"schema", &m->schema}, {"table", &m->table}, {"prefix", &m->prefix}, {"content", &m->content},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (is_word(name, known[i].name))
			return known[i].value;
	return NULL;
}

static bool
read_member(struct wal2json *w, struct cursor *c, struct members *m)
{
	struct value name;
	struct value ignored;
	struct value *v;

	if (!read_string(c, &name) || !take(c, ':'))
		return false;
	if (is_word(name, "columns"))
		return read_fields(c, &w->columns);
	if (is_word(name, "identity"))
		return read_fields(c, &w->identity);
	v = find_member(m, name);
	return read_value(c, v != NULL ? v : &ignored, 1);
}

static bool
read_members(struct wal2json *w, struct cursor *c, struct members *m)
{
	if (!take(c, '{'))
		return false;
	do
		if (!read_member(w, c, m))
			return false;
	while (take(c, ','));
	if (!take(c, '}'))
		return false;
	skip_space(c);
	return c->p == c->end;
}

static bool
set_action(struct record *r, struct value v)
{
	static const char letters[] = "BCIUDTM";
	const char *found = v.kind == VALUE_TEXT && v.len == 1 ? memchr(letters, v.text[0], sizeof(letters) - 1) : NULL;

	if (found != NULL)
		r->action = (enum record_action) (found - letters);
	return found != NULL;
}

static bool
set_xid(struct record *r, struct value v)
{
	int64_t xid;

	if (r->action == RECORD_MESSAGE && value_is_null(v))
		return true;
	if (!value_int64(v, &xid) || xid < 1 || xid > UINT32_MAX)
		return false;
	r->xid = (uint32_t) xid;
	return true;
}

static bool
set_message(struct record *r, struct cursor *c, const struct members *m)
{
	size_t	start = c->texts->len;
	const char *text;

	if (!value_is_text(m->prefix) || !is_word(m->prefix, "sync") || !value_is_text(m->content))
		return true;
	text = keep_text(c, m->content);
	if (text != NULL)			/* else it is none of ours: ours have no U+0000 */
		record_set_content(r, text, c->texts->len - start - 1);
	return true;
}

static bool
set_table(struct record *r, struct cursor *c, const struct members *m)
{
	if (!value_is_text(m->schema) || !value_is_text(m->table))
		return false;
	r->schema = keep_text(c, m->schema);
	r->table = keep_text(c, m->table);
	return r->schema != NULL && r->table != NULL;
}

static bool
set_record(struct record *r, const struct wal2json *w, struct cursor *c, const struct members *m)
{
	if (!set_action(r, m->action) || !set_xid(r, m->xid))
		return false;
	switch (r->action)
	{
		case RECORD_BEGIN:
			return true;
		case RECORD_COMMIT:
			r->end_lsn = r->lsn;	/* the header of a commit names the transaction's end */
			return true;
		case RECORD_MESSAGE:
			return set_message(r, c, m);
		default:
			r->columns = w->columns.items;
			r->column_count = w->columns.count;
			r->identity = w->identity.items;
			r->identity_count = w->identity.count;
			return set_table(r, c, m);
	}
}

bool
wal2json_read(struct wal2json *w, const char *line, size_t len, const struct delivery *d)
{
	static const struct value absent = {VALUE_ABSENT, "", 0};
	struct cursor c = {line, line + len, &w->texts};
	struct members m = {absent, absent, absent, absent, absent, absent};
	struct record r = {.lsn = d->lsn, .schema = "", .table = ""};

	w->columns.count = w->identity.count = 0;
	buffer_reset(&w->texts);
	if (!buffer_reserve(&w->texts, len + 8) || !read_members(w, &c, &m) || !set_record(&r, w, &c, &m))
		return false;
	d->take(d->owner, &r);
	return true;
}
