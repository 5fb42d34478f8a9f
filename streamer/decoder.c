/* decoder.c - records of the WAL become transactions. */
/* SPDX-License-Identifier: PostgreSQL */
#include "decoder.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "concern.h"
#include "log.h"

void
decoder_clear(struct decoder *d)
{
	transaction_release(d->building);
	d->building = NULL;
}

/* The deletion itself only adds what the row was: its tombstone stands before it. */
static void
take_deletion(struct transaction *t, const struct record *r, const struct sync_table *table)
{
	char   *entity_id;
	char   *old;

	if (!change_read_deleted(r, table, &entity_id, &old))
		return;
	transaction_set_old(t, table->id, entity_id, old);
	free(entity_id);
}

/* A row the change module cannot read is lost to the stream: whoever wants this transaction pulls. */
static void
take_change(struct transaction *t, const struct record *r, enum table_role role, const struct sync_table *table, const struct sync_tables *tables)
{
	struct change c;
	bool	is_insert = r->action == RECORD_INSERT;
	bool	is_read;

	if (role == TABLE_TOMBSTONE && is_insert)
		is_read = change_from_tombstone(&c, r, tables);
	else if (table != NULL && (is_insert || r->action == RECORD_UPDATE))
		is_read = change_from_row(&c, r, table);
	else
	{
		if (table != NULL && r->action == RECORD_DELETE)
			take_deletion(t, r, table);
		return;
	}
	if (is_read)
		transaction_add(t, &c);
	else
	{
		log_event(LOG_LEVEL_WARNING, "change_unreadable", "table=%s.%s xid=%" PRIu64, r->schema, r->table, t->xid);
		transaction_lose(t);
	}
}

/* Which table a change was of that is not kept: who does not follow it goes on. One that cannot be told is taken for one of our own, which concern everybody. */
static void
note_lost(struct transaction *t, const struct record *r, enum table_role role, const struct sync_table *table)
{
	int64_t id = 0;

	if (table != NULL)
		id = table->id;
	else if (role != TABLE_TOMBSTONE || r->action != RECORD_INSERT)
		return;
	else if (!value_int64(record_value(r->columns, r->column_count, "table_id"), &id) || id != (int32_t) id)
		id = 0;
	transaction_lose_table(t, (int32_t) id);
}

static bool
is_same(struct value a, struct value b)
{
	return a.kind == b.kind && a.len == b.len && memcmp(a.text, b.text, a.len) == 0;
}

/* The horizon rises with each purge, and concerns no session that is live. */
static bool
is_horizon_alone(const struct record *r)
{
	if (r->action != RECORD_UPDATE || strcmp(r->table, "instance") != 0 || r->identity_count != r->column_count)
		return false;
	for (size_t i = 0; i < r->column_count; i++)
		if (!is_same(r->columns[i].value, r->identity[i].value) && !field_is(&r->columns[i], "horizon", strlen("horizon")))
			return false;
	return true;
}

static void
take_row_record(struct decoder *d, const struct record *r, const struct sync_tables *tables)
{
	const struct sync_table *table;
	enum table_role role = tables_find(tables, r->schema, r->table, &table);
	struct transaction *t = d->building;

	if (role == TABLE_OTHER)
		return;
	if ((role == TABLE_REGISTRY && !is_horizon_alone(r)) || (r->action == RECORD_TRUNCATE && table != NULL))
		transaction_raise(t, BARRIER_RELOAD);
	if (t->barrier != BARRIER_LOST)
		take_change(t, r, role, table, tables);
	if (t->barrier == BARRIER_LOST)
		note_lost(t, r, role, table);
	else if (t->bytes > d->bytes_max || transaction_size(t) > TRANSACTION_CHANGES_MAX)
	{
		log_event(LOG_LEVEL_WARNING, "transaction_too_large", "xid=%" PRIu64 " bytes=%zu", t->xid, t->bytes);
		transaction_lose(t);
	}
}

struct transaction *
decoder_take(struct decoder *d, const struct record *r, const struct sync_tables *tables, const struct snapshot *newest)
{
	struct transaction *t = d->building;

	switch (r->action)
	{
		case RECORD_BEGIN:
			decoder_clear(d);
			d->building = transaction_new(snapshot_widen(newest, r->xid));
			return NULL;
		case RECORD_COMMIT:
			d->building = NULL;
			return t;
		case RECORD_INSERT:
		case RECORD_UPDATE:
		case RECORD_DELETE:
		case RECORD_TRUNCATE:
			if (t != NULL)
				take_row_record(d, r, tables);
			return NULL;
		case RECORD_MESSAGE:
			return NULL;
	}
	return NULL;
}

void
decoder_take_message(struct decoder *d, const char *json)
{
	if (d->building != NULL)
	{
		transaction_add_message(d->building, json);
		concern_message(d->building, json);
	}
}
