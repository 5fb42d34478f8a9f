/* record.c - records and their values, whichever decoder they came from; the choice between the two. */
/* SPDX-License-Identifier: PostgreSQL */
#include "record.h"

#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "memory.h"
#include "reader.h"
#include "text.h"

struct reader
{
	struct wal2json *wal2json;		/* one of the two */
	struct pgoutput *pgoutput;
};

struct reader *
reader_new(enum plugin plugin)
{
	struct reader *r = memory_new(sizeof(*r));

	if (plugin == PLUGIN_PGOUTPUT)
		r->pgoutput = pgoutput_new();
	else
		r->wal2json = wal2json_new();
	return r;
}

void
reader_free(struct reader *r)
{
	if (r == NULL)
		return;
	wal2json_free(r->wal2json);
	pgoutput_free(r->pgoutput);
	free(r);
}

void
reader_reset(struct reader *r)
{
	if (r->pgoutput != NULL)
		pgoutput_reset(r->pgoutput);
}

bool
reader_read(struct reader *r, const char *message, size_t len, uint64_t lsn, record_take take, void *owner)
{
	struct delivery d = {lsn, take, owner};

	return r->pgoutput != NULL ? pgoutput_read(r->pgoutput, message, len, &d) : wal2json_read(r->wal2json, message, len, &d);
}

struct field *
fields_add(struct fields *f)
{
	if (f->count == f->room)
	{
		f->room = f->room > 0 ? f->room * 2 : 32;
		f->items = memory_grow(f->items, f->room, sizeof(*f->items));
	}
	return &f->items[f->count++];
}

void
record_set_content(struct record *r, const char *text, size_t len)
{
	r->is_ours = text_int64(text, len, &r->nonce);
	r->content = r->is_ours ? NULL : text;
}

bool
field_is(const struct field *f, const char *name, size_t len)
{
	return f->name_len == len && memcmp(f->name, name, len) == 0;
}

struct value
record_value(const struct field *fields, size_t count, const char *name)
{
	size_t	len = strlen(name);

	for (size_t i = 0; i < count; i++)
		if (field_is(&fields[i], name, len))
			return fields[i].value;
	return (struct value) {VALUE_ABSENT, "", 0};
}

/* No sensible key holds sync_version, so only a whole row does. */
bool
record_has_old_row(const struct record *r)
{
	return record_value(r->identity, r->identity_count, "sync_version").kind != VALUE_ABSENT;
}

bool
value_is_text(struct value v)
{
	return v.kind == VALUE_TEXT || v.kind == VALUE_ESCAPED;
}

bool
value_is_null(struct value v)
{
	return v.kind == VALUE_NULL || v.kind == VALUE_BLANK;
}

bool
value_uint64(struct value v, uint64_t *out)
{
	return v.kind == VALUE_TEXT && text_uint64(v.text, v.len, out);
}

bool
value_int64(struct value v, int64_t *out)
{
	return v.kind == VALUE_TEXT && text_int64(v.text, v.len, out);
}

bool
value_text(struct value v, struct buffer *scratch, const char **text, size_t *len)
{
	*text = v.text;
	*len = v.len;
	if (v.kind == VALUE_TEXT || v.kind == VALUE_BOOL)
		return true;
	if (v.kind != VALUE_ESCAPED)
		return false;
	buffer_reset(scratch);
	if (!json_unescape_text(v.text, v.len, scratch) || scratch->failed)
		return false;
	*text = scratch->data != NULL ? scratch->data : "";
	*len = scratch->len;
	return true;
}

char *
value_strdup(struct value v)
{
	struct buffer out;
	char   *result = NULL;

	buffer_init(&out);
	if (v.kind == VALUE_TEXT)
		result = memory_text(v.text, v.len);
	else if (v.kind == VALUE_ESCAPED && json_unescape_text(v.text, v.len, &out))
		result = buffer_take(&out, NULL);
	buffer_free(&out);
	return result;
}
