/*
 * read_change.c - one change of a push request, read and checked: a mistake in it is its verdict, never an error of the request.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "change.h"

#include <ctype.h>

#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#define QUEUE_ID_MAX 200

void
change_bad(Push *push, Change *change, const char *message, const char *hint)
{
	verdict_error(push, change, "invalid_change", message, hint);
}

static char *
optional_text(Push *push, Change *change, const char *name, int max)
{
	JsonbValue *v = sync_json_get(change->object, name);

	if (v == NULL || v->type == jbvNull)
		return NULL;
	if (v->type != jbvString || v->val.string.len == 0 || v->val.string.len > max)
	{
		change_bad(push, change, psprintf("\"%s\" must be a string of 1 to %d bytes", name, max), NULL);
		return NULL;
	}
	return sync_json_text(v);
}

static JsonbContainer *
optional_object(Push *push, Change *change, const char *name)
{
	JsonbValue *v = sync_json_get(change->object, name);

	if (v == NULL || v->type == jbvNull)
		return NULL;
	if (v->type != jbvBinary || !JsonContainerIsObject(v->val.binary.data))
	{
		change_bad(push, change, psprintf("\"%s\" must be an object", name), NULL);
		return NULL;
	}
	return v->val.binary.data;
}

static void
read_operation(Push *push, Change *change)
{
	static const char *const names[] = {"create", "update", "delete"};
	char	   *name = optional_text(push, change, "operation", 16);
	int			i;

	for (i = 0; name && i < (int) lengthof(names); i++)
		if (strcmp(name, names[i]) == 0)
		{
			change->operation = i;
			return;
		}
	change_bad(push, change, "\"operation\" must be create, update or delete", NULL);
}

static void
read_entity_id(Push *push, Change *change)
{
	JsonbValue *v = sync_json_get(change->object, "entity_id");
	JsonbValue *ref;

	if (v && v->type == jbvBinary && JsonContainerIsObject(v->val.binary.data))
	{
		ref = sync_json_get(v->val.binary.data, "ref");
		if (ref == NULL || ref->type != jbvString)
			change_bad(push, change, "\"entity_id\" as an object must be {\"ref\": queue_id}", NULL);
		else
			change->ref = sync_json_text(ref);
	}
	else if (v && v->type == jbvNumeric)
		change->given_id = sync_json_text(v);
	else
		change->given_id = optional_text(push, change, "entity_id", 8192);
	change->entity_id = change->given_id;
	if (!change->is_decided && change->given_id == NULL && change->ref == NULL && change->operation != OP_CREATE)
		change_bad(push, change, "\"entity_id\" is missing", NULL);
}

static void
read_local_version(Push *push, Change *change)
{
	JsonbValue *v = sync_json_get(change->object, "local_version");
	char	   *text = v && (v->type == jbvNumeric || v->type == jbvString) ? sync_json_text(v) : NULL;
	char	   *end;

	change->local_version = -1;
	if (v == NULL || v->type == jbvNull)
		return;
	errno = 0;
	if (text)
		change->local_version = strtoll(text, &end, 10);
	if (text == NULL || errno || end == text || *end || change->local_version < 0)
		change_bad(push, change, "\"local_version\" must be a whole number from 0", NULL);
}

/* Offline for too long, for a table that asks for it. */
static void
check_edit_window(Push *push, Change *change)
{
	const Interval *window = change->table->edit_window;
	Datum		oldest;

	if (window == NULL || change->is_decided)
		return;
	oldest = DirectFunctionCall2(timestamptz_mi_interval, TimestampTzGetDatum(push->now), IntervalPGetDatum(window));
	if (change->edited_at < DatumGetTimestampTz(oldest))
		verdict_error(push, change, "too_old", "the change was made too long ago for this table",
					  "Show the user the row as it is now and let them make the change again.");
}

/* DecodeDateTime() raises for a zone that it does not know by name. */
static bool
has_unknown_zone(char **field, const int *ftype, int nfields)
{
	int			i;

	for (i = 0; i < nfields; i++)
		if (ftype[i] == DTK_DATE && !isdigit((unsigned char) *field[i]) && pg_tzset(field[i]) == NULL)
			return true;
	return false;
}

/* PostgreSQL's own reading of times, without raising; false: it is none. Session settings matter only where no zone is given. */
static bool
parse_time(const char *text, TimestampTz *at)
{
	char		work[MAXDATELEN + MAXDATEFIELDS];
	char	   *field[MAXDATEFIELDS];
	int			ftype[MAXDATEFIELDS];
	int			nfields;
	int			dtype;
	int			tz;
	fsec_t		fsec;
	struct pg_tm tm;

	if (ParseDateTime(text, work, sizeof(work), field, ftype, MAXDATEFIELDS, &nfields) != 0 || has_unknown_zone(field, ftype, nfields))
		return false;
#if PG_VERSION_NUM >= 160000
	{
		DateTimeErrorExtra extra;

		if (DecodeDateTime(field, ftype, nfields, &dtype, &tm, &fsec, &tz, &extra) != 0)
			return false;
	}
#else
	if (DecodeDateTime(field, ftype, nfields, &dtype, &tm, &fsec, &tz) != 0)
		return false;
#endif
	if (dtype == DTK_LATE || dtype == DTK_EARLY)
	{
		*at = dtype == DTK_LATE ? DT_NOEND : DT_NOBEGIN;
		return true;
	}
	return dtype == DTK_DATE && tm2timestamp(&tm, fsec, &tz, at) == 0;
}

/*
 * The time of the edit by the client's clock, as ISO 8601 or milliseconds since 1970. A clock that leads by more than a minute is set
 * back to that; without a time the edit counts as made now.
 */
static void
read_timestamp(Push *push, Change *change)
{
	JsonbValue *v = sync_json_get(change->object, "timestamp");

	change->edited_at = push->now;
	if (v == NULL || v->type == jbvNull)
		return;
	if (v->type == jbvNumeric)
	{
		double		ms = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(v->val.numeric)));

		if (ms < -62135596800000.0 || ms > 253402300799999.0)
		{
			change_bad(push, change, "\"timestamp\" is out of range", NULL);
			return;
		}
		change->edited_at = (TimestampTz) (ms * 1000.0) - (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	}
	else if (v->type != jbvString || !parse_time(sync_json_text(v), &change->edited_at))
		change_bad(push, change, "\"timestamp\" must be a time in ISO 8601 or milliseconds since 1970", NULL);
	change->edited_at = Min(change->edited_at, push->now + SYNC_CLOCK_AHEAD);
	check_edit_window(push, change);
}

static bool
is_older_client(const Push *push)
{
	return push->schema_version >= 0 && push->schema_version < push->schema_current;
}

/* A client of an older schema loses nothing: what it sent is kept in the conflict log. */
static void
bad_schema(Push *push, Change *change, const char *message)
{
	verdict_error(push, change, "schema_version", message, "The client was made for an older schema: update it. The change is kept in the conflict log.");
}

static void
find_table(Push *push, Change *change)
{
	ListCell   *lc;
	bool		all;

	foreach(lc, push->tables)
	{
		SyncListed *listed = lfirst(lc);
		SyncTable  *table = listed->table;

		if (strcmp(table->entity_type, change->entity_type) != 0)
			continue;
		if (!listed->is_held)
			table = sync_table_by_relid(table->relid, true);
		if (table == NULL || !sync_readable_columns(table, &all))
			continue;
		listed->is_held = true;
		change->table = listed->table = table;
	}
	if (change->table == NULL && is_older_client(push))
		bad_schema(push, change, psprintf("\"%s\" is not synced any more", change->entity_type));
	else if (change->table == NULL)
		verdict_error(push, change, "unknown_table", psprintf("\"%s\" is no synced table", change->entity_type),
					  "entity_type is a table's name, with its schema outside public, or the alias given to sync.enable().");
}

static int
column_by_name(const SyncTable *table, const JsonbValue *name)
{
	int			i;

	for (i = 0; i < table->ncolumns; i++)
		if (strlen(table->columns[i].name) == (size_t) name->val.string.len &&
			memcmp(table->columns[i].name, name->val.string.val, name->val.string.len) == 0)
			return i;
	return -1;
}

/* What was found of the last table looked at: a batch mostly stays with one. */
static bool
may_write(Push *push, const SyncTable *table, int column, AclMode mode)
{
	Rights	   *rights = &push->rights[mode == ACL_INSERT ? 0 : 1];

	if (rights->table != table)
	{
		MemoryContext before = MemoryContextSwitchTo(push->context);

		rights->table = table;
		rights->columns = row_writable(table, mode);
		MemoryContextSwitchTo(before);
	}
	return bms_is_member(column, rights->columns);
}

/* Each member of "data" must be a column that the caller may write. */
void
change_check_data(Push *push, Change *change)
{
	SyncTable  *table = change->table;
	AclMode		mode = change->operation == OP_CREATE ? ACL_INSERT : ACL_UPDATE;
	JsonbIterator *it = JsonbIteratorInit(change->data);
	JsonbValue	name;
	JsonbValue	value;

	JsonbIteratorNext(&it, &name, true);
	while (!change->is_decided && JsonbIteratorNext(&it, &name, true) == WJB_KEY)
	{
		char	   *text = pnstrdup(name.val.string.val, name.val.string.len);
		int			column = column_by_name(table, &name);

		JsonbIteratorNext(&it, &value, true);
		if (strncmp(text, "sync_", 5) == 0)
			verdict_error(push, change, "server_column", psprintf("column \"%s\" is kept by the server", text), NULL);
		else if (column < 0 && is_older_client(push))
			bad_schema(push, change, psprintf("table \"%s\" has no column \"%s\" any more", change->entity_type, text));
		else if (column < 0)
			verdict_error(push, change, "unknown_column", psprintf("table \"%s\" has no column \"%s\"", change->entity_type, text), NULL);
		else if (column == table->deleted_at && value.type != jbvNull)
			verdict_error(push, change, "server_column", psprintf("column \"%s\" is kept by the server", text),
						  "Use operation delete.");
		else if (!table->columns[column].is_generated && column != table->updated_at && column != table->deleted_at &&
				 !may_write(push, table, column, mode))
			verdict_error(push, change, "forbidden", psprintf("column \"%s\" may not be written", text), NULL);
	}
}

/* "base" may hold any column of the table, also those that only the server sets: it is what the client was sent. */
static void
check_base(Push *push, Change *change)
{
	JsonbIterator *it = JsonbIteratorInit(change->base);
	JsonbValue	name;
	JsonbValue	value;

	JsonbIteratorNext(&it, &name, true);
	while (!change->is_decided && JsonbIteratorNext(&it, &name, true) == WJB_KEY)
	{
		char	   *text = pnstrdup(name.val.string.val, name.val.string.len);

		JsonbIteratorNext(&it, &value, true);
		if (column_by_name(change->table, &name) < 0 && is_older_client(push))
			bad_schema(push, change, psprintf("table \"%s\" has no column \"%s\" any more", change->entity_type, text));
		else if (column_by_name(change->table, &name) < 0)
			verdict_error(push, change, "unknown_column", psprintf("\"base\" names a column \"%s\" that table \"%s\" does not have", text,
																 change->entity_type), NULL);
	}
}

static void
read_body(Push *push, Change *change)
{
	change->data = optional_object(push, change, "data");
	change->base = change->is_decided ? NULL : optional_object(push, change, "base");
	if (change->base)
		check_base(push, change);
	if (change->is_decided)
		return;
	if (change->data == NULL && change->operation != OP_DELETE)
		change_bad(push, change, "\"data\" is missing", NULL);
	else if (change->operation == OP_DELETE)
	{
		change->data = NULL;
		if (pg_class_aclcheck(change->table->relid, GetUserId(), ACL_DELETE) != ACLCHECK_OK)
			verdict_error(push, change, "forbidden", "rows of this table may not be deleted", NULL);
	}
	else
		change_check_data(push, change);
}

void
change_read(Push *push, Change *change, const JsonbValue *v)
{
	if (v->type != jbvBinary || !JsonContainerIsObject(v->val.binary.data))
	{
		change_bad(push, change, "a change must be an object", NULL);
		return;
	}
	change->object = v->val.binary.data;
	change->body_hash = (int64) sync_hash((char *) v->val.binary.data, v->val.binary.len, 0);
	change->queue_id = optional_text(push, change, "queue_id", QUEUE_ID_MAX);
	if (!change->is_decided && v->val.binary.len > SYNC_ROW_LIMIT)
		verdict_error(push, change, "too_large", psprintf("a change may hold at most %d bytes", SYNC_ROW_LIMIT),
					  "Keep media elsewhere and sync a reference.");
	if (!change->is_decided)
		read_operation(push, change);
	if (!change->is_decided)
		change->entity_type = optional_text(push, change, "entity_type", 256);
	if (!change->is_decided && change->entity_type == NULL)
		change_bad(push, change, "\"entity_type\" is missing", NULL);
	if (!change->is_decided)
		find_table(push, change);
	if (!change->is_decided)
		read_entity_id(push, change);
	if (!change->is_decided)
		read_local_version(push, change);
	if (!change->is_decided)
		read_timestamp(push, change);
	if (!change->is_decided)
		read_body(push, change);
}

