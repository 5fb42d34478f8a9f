/* record.c - reads one line of wal2json format 2, in one walk over its members. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>
#include <string.h>

#include "change.h"
#include "text.h"

#define VALUES_MAX 200000

/* The members of a line as found; all absent at first. */
struct members
{
	struct json_value action, xid, lsn, nextlsn, schema, table, prefix, content;
};

static const struct json_value absent = {NULL, -1, "", 0};

static void
read_members(struct record *r, struct members *m)
{
	const struct
	{
		const char *name;
		struct json_value *value;
	}		known[] = {
		{"action", &m->action}, {"xid", &m->xid}, {"lsn", &m->lsn}, {"nextlsn", &m->nextlsn}, {"schema", &m->schema},
		{"table", &m->table}, {"columns", &r->columns}, {"identity", &r->identity}, {"prefix", &m->prefix}, {"content", &m->content},
	};

	for (struct json_value name = json_first(json_root(r->doc)); name.index >= 0; name = json_next(name))
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			if (json_equals(name, known[i].name))
			{
				*known[i].value = json_member_value(name);
				break;
			}
}

static bool
read_lsn(struct json_value v, uint64_t *out)
{
	return json_type(v) == JSON_STRING && text_lsn(v.raw + 1, v.len - 2, '/', out);
}

static bool
read_action(struct record *r, struct json_value v)
{
	static const char letters[] = "BCIUDTM";
	const char *found;
	char	letter[2];

	if (!json_string(v, letter, sizeof(letter)) || letter[0] == '\0')
		return false;
	found = strchr(letters, letter[0]);
	if (found == NULL)
		return false;
	r->action = (enum record_action) (found - letters);
	return true;
}

static bool
read_xid(struct record *r, struct json_value v)
{
	int64_t xid;

	if (r->action == RECORD_MESSAGE && json_type(v) == JSON_NULL)
		return true;
	if (!json_int64(v, &xid) || xid < 1 || xid > UINT32_MAX)
		return false;
	r->xid = (uint32_t) xid;
	return true;
}

static void
read_message(struct record *r, const struct members *m)
{
	if (!json_equals(m->prefix, "sync") || json_type(m->content) != JSON_STRING)
		return;
	r->is_ours = text_int64(m->content.raw + 1, m->content.len - 2, &r->nonce);
	if (!r->is_ours)
		r->content = json_strdup(m->content);
}

static bool
read_record(struct record *r)
{
	struct members m = {absent, absent, absent, absent, absent, absent, absent, absent};

	read_members(r, &m);
	if (!read_action(r, m.action) || !read_xid(r, m.xid) || !read_lsn(m.lsn, &r->lsn))
		return false;
	switch (r->action)
	{
		case RECORD_BEGIN:
		case RECORD_COMMIT:
			return read_lsn(m.nextlsn, &r->end_lsn);
		case RECORD_MESSAGE:
			read_message(r, &m);
			return true;
		default:
			return json_string(m.schema, r->schema, sizeof(r->schema)) && json_string(m.table, r->table, sizeof(r->table));
	}
}

bool
record_parse(struct record *r, const char *line, size_t len)
{
	memset(r, 0, sizeof(*r));
	r->columns = absent;
	r->identity = absent;
	r->doc = json_parse(line, len, VALUES_MAX);
	if (r->doc != NULL && read_record(r))
		return true;
	record_free(r);
	return false;
}

void
record_free(struct record *r)
{
	json_free(r->doc);
	r->doc = NULL;
	free(r->content);
	r->content = NULL;
	r->columns = absent;
	r->identity = absent;
}

struct json_value
record_column(const struct record *r, const char *name)
{
	for (struct json_value c = json_first(r->columns); c.index >= 0; c = json_next(c))
		if (json_equals(json_member(c, "name"), name))
			return json_member(c, "value");
	return absent;
}
