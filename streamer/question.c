/* question.c - how one question of the judge's is written, and its answer read. */
/* SPDX-License-Identifier: PostgreSQL */
#include "judge_parts.h"

#include <inttypes.h>
#include <string.h>

/* The changes go table by table, in the order in which the tables come up first: rows as keys, tombstones as old values. */

static const struct stream_change *
change_at(const struct question *q, size_t i)
{
	return q->docket->changes[q->changes[i]].change;
}

/* Is the i-th change the first of its table? Questions have few tables: one route's. */
static bool
begins_table(const struct question *q, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (change_at(q, k)->table_id == change_at(q, i)->table_id)
			return false;
	return true;
}

static size_t
next_of_kind(const struct question *q, size_t i, int32_t table_id, enum change_kind kind)
{
	while (i < q->change_count && (change_at(q, i)->table_id != table_id || change_at(q, i)->kind != kind))
		i++;
	return i;
}

static void
put_list(const struct question *q, struct buffer *out, size_t first, enum change_kind kind, void (*put)(struct buffer *out, const struct stream_change *c))
{
	int32_t table_id = change_at(q, first)->table_id;
	bool	is_more = false;

	buffer_putc(out, '[');
	for (size_t i = next_of_kind(q, first, table_id, kind); i < q->change_count; i = next_of_kind(q, i + 1, table_id, kind))
	{
		if (is_more)
			buffer_putc(out, ',');
		put(out, change_at(q, i));
		is_more = true;
	}
	buffer_putc(out, ']');
}

static void
put_key(struct buffer *out, const struct stream_change *c)
{
	buffer_json_string(out, c->entity_id, strlen(c->entity_id));
}

static void
put_stamp(struct buffer *out, const struct stream_change *c)
{
	buffer_printf(out, "\"%" PRIu64 "\"", c->xid);
}

static void
put_old(struct buffer *out, const struct stream_change *c)
{
	buffer_puts(out, c->old_values != NULL ? c->old_values : "null");
}

static void
put_table(const struct question *q, struct buffer *out, size_t first)
{
	buffer_printf(out, "{\"id\":%" PRId32 ",\"keys\":", change_at(q, first)->table_id);
	put_list(q, out, first, CHANGE_ROW, put_key);
	buffer_puts(out, ",\"stamps\":");
	put_list(q, out, first, CHANGE_ROW, put_stamp);
	buffer_puts(out, ",\"gone\":");
	put_list(q, out, first, CHANGE_TOMBSTONE, put_old);
	buffer_putc(out, '}');
}

void
question_put(const struct question *q, struct buffer *out)
{
	buffer_printf(out, "{\"identity_ms\":%d,\"call_ms\":%d,\"identities\":[", q->is_patient ? JUDGE_SLOW_IDENTITY_MS : JUDGE_IDENTITY_MS, JUDGE_CALL_MS);
	for (size_t i = 0; i < q->identity_count; i++)
	{
		const struct identity *who = q->docket->identities[q->identities[i]];

		if (i > 0)
			buffer_putc(out, ',');
		buffer_put(out, who->json, who->json_len);
	}
	buffer_puts(out, "],\"tables\":[");
	for (size_t i = 0; i < q->change_count; i++)
		if (begins_table(q, i))
		{
			if (i > 0)
				buffer_putc(out, ',');
			put_table(q, out, i);
		}
	buffer_puts(out, "]}");
}

/* The digits of one table and kind. None at all: the role may not read the table. */
static bool
read_digits(struct question *q, uint32_t identity, struct json_value digits, size_t first, enum change_kind kind, const struct snapshot *s)
{
	struct docket *d = q->docket;
	int32_t table_id = change_at(q, first)->table_id;
	bool	is_there = json_type(digits) == JSON_STRING;
	const char *at = is_there ? digits.raw + 1 : "";
	const char *end = is_there ? digits.raw + digits.len - 1 : at;

	for (size_t i = next_of_kind(q, first, table_id, kind); i < q->change_count; i = next_of_kind(q, i + 1, table_id, kind))
	{
		enum verdict verdict = VERDICT_HIDDEN;

		if (is_there && at == end)
			return false;
		if (is_there)
			verdict = *at == '1' ? VERDICT_SEEN : *at == '2' ? VERDICT_NEWER : VERDICT_HIDDEN;
		at += is_there;
		if (transaction_is_seen(d->changes[q->changes[i]].transaction, s))
			d->verdicts[identity * d->change_count + q->changes[i]] = (unsigned char) verdict;
	}
	return at == end;
}

bool
question_read(struct question *q, uint32_t identity, struct json_value tables, const struct snapshot *s)
{
	struct json_value table = json_first(tables);

	for (size_t i = 0; i < q->change_count; i++)
	{
		int64_t id;

		if (!begins_table(q, i))
			continue;
		if (!json_int64(json_member(table, "id"), &id) || id != change_at(q, i)->table_id)
			return false;
		if (!read_digits(q, identity, json_member(table, "seen"), i, CHANGE_ROW, s) || !read_digits(q, identity, json_member(table, "gone"), i, CHANGE_TOMBSTONE, s))
			return false;
		table = json_next(table);
	}
	return true;
}
