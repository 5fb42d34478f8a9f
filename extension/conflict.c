/*
 * conflict.c - the conflict log of a push: both versions of each collision are kept, whoever won.
 *
 * Collisions are remembered with their change and written when the push is done, so that an attempt that is rolled back leaves none.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "change.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

PG_FUNCTION_INFO_V1(sync_reads_whole);

Datum
sync_reads_whole(PG_FUNCTION_ARGS)
{
	SyncTable  *table;
	bool		all = false;
	bool		is_readable;

	SPI_connect();
	table = sync_table_by_id(sync_list_tables(), PG_GETARG_INT32(0));
	is_readable = table && sync_readable_columns(table, &all);
	SPI_finish();
	PG_RETURN_BOOL(is_readable && all);
}

static char *
container_text(JsonbContainer *container)
{
	return container ? JsonbToCString(NULL, container, 0) : NULL;
}

/* The names of the columns the change holds. */
static List *
names_in_data(const Change *change)
{
	List	   *names = NIL;
	JsonbIterator *it;
	JsonbValue	v;

	if (change->data == NULL)
		return NIL;
	it = JsonbIteratorInit(change->data);
	JsonbIteratorNext(&it, &v, true);
	while (JsonbIteratorNext(&it, &v, true) == WJB_KEY)
	{
		names = lappend(names, pnstrdup(v.val.string.val, v.val.string.len));
		JsonbIteratorNext(&it, &v, true);
	}
	return names;
}

static List *
copy_names(const List *names)
{
	List	   *copy = NIL;
	ListCell   *lc;

	foreach(lc, names)
		copy = lappend(copy, pstrdup(lfirst(lc)));
	return copy;
}

static void
make_id(Conflict *conflict)
{
	unsigned char *bytes = conflict->uuid.data;
	char	   *text;

	if (!pg_strong_random(bytes, UUID_LEN))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
	bytes[6] = (bytes[6] & 0x0f) | 0x40;	/* version 4 */
	bytes[8] = (bytes[8] & 0x3f) | 0x80;
	text = DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&conflict->uuid)));
	strlcpy(conflict->id, text, sizeof(conflict->id));
}

static char *
row_user(const SyncTable *table, const Row *row)
{
	bool		isnull;
	Datum		by = heap_getattr(row->tuple, table->by_att, row->desc, &isnull);

	return isnull ? NULL : TextDatumGetCString(by);
}

/* Of these columns those with one of the names; columns NULL: of all. */
static Bitmapset *
named_columns(const SyncTable *table, const Bitmapset *columns, List *names)
{
	Bitmapset  *found = NULL;
	ListCell   *lc;
	int			i;

	foreach(lc, names)
		for (i = 0; i < table->ncolumns; i++)
			if (strcmp(table->columns[i].name, lfirst(lc)) == 0 && (columns == NULL || bms_is_member(i, columns)))
				found = bms_add_member(found, i);
	return found;
}

/* Of a row that is too large to be told whole, the fields that the conflict is about; NULL: these are too large themselves. */
static char *
row_json(Push *push, const SyncTable *table, const Row *row, List *fields)
{
	bool		all;
	const Bitmapset *readable = row_readable(push, table, &all);
	StringInfoData out;

	if (all)
		readable = NULL;
	if (sync_is_too_large(table, row->tuple, row->desc, readable))
	{
		readable = named_columns(table, readable, fields);
		if (readable == NULL || sync_is_too_large(table, row->tuple, row->desc, readable))
			return NULL;
	}
	initStringInfo(&out);
	sync_render_data(&out, table, row->tuple, row->desc, readable);
	return out.data;
}

/* Those who may see the row may see what became of it, if it concerns them; where nobody can say who that is, its author alone. */
static char *
or_author(const Push *push, char *audience)
{
	return audience ? audience : psprintf("user:%s", push->user);
}

void
conflict_record(Push *push, Change *change, const char *kind, const char *outcome, const char *rule, List *fields,
				const Row *server, int64 server_version)
{
	MemoryContext before = MemoryContextSwitchTo(push->context);
	Conflict   *conflict = palloc0(sizeof(Conflict));

	make_id(conflict);
	conflict->kind = kind;
	conflict->outcome = outcome;
	conflict->rule = pstrdup(rule);
	conflict->fields = fields ? copy_names(fields) : names_in_data(change);
	conflict->local_data = container_text(change->data);
	conflict->server_version = server_version;
	conflict->audience = or_author(push, server ? sync_audience(change->table, server->tuple, server->desc) : sync_audience_of(change->table, NULL));
	if (server)
	{
		conflict->server_data = row_json(push, change->table, server, conflict->fields);
		conflict->changed_by = row_user(change->table, server);
	}
	change->conflict = conflict;
	MemoryContextSwitchTo(before);
}

/* The row is gone: its deletion says whose it was and who deleted it. */
void
conflict_with_deletion(Push *push, Change *change, const char *outcome, const char *rule, const Deletion *deletion)
{
	MemoryContext before;

	conflict_record(push, change, "delete", outcome, rule, NIL, NULL, deletion->version);
	before = MemoryContextSwitchTo(push->context);
	if (deletion->changed_by)
		change->conflict->changed_by = pstrdup(deletion->changed_by);
	change->conflict->audience = or_author(push, sync_audience_of(change->table, deletion->scope));
	MemoryContextSwitchTo(before);
}

/*
 * What a constraint refused, or a client of an older schema sent, is kept as well: its author may want to mend it. An atomic batch leaves
 * nothing, as nothing of it is stored.
 */
void
conflict_record_errors(Push *push)
{
	int			i;

	for (i = 0; i < push->nchanges; i++)
	{
		Change	   *change = &push->changes[i];
		bool		is_version = verdict_has_code(change, "schema_version");
		bool		is_constraint = verdict_has_code(change, "unique") || verdict_has_code(change, "exclusion") ||
			verdict_has_code(change, "check") || verdict_has_code(change, "foreign_key");

		if (change->is_repeat || change->is_stored || change->table == NULL || !(is_version || is_constraint))
			continue;
		conflict_record(push, change, is_version ? "version" : "constraint", "open", change->error_code, NIL, NULL, 0);
		change->shows_conflict = true;
	}
}

/* ---- writing the log ---- */

/* The fields of one entry, found by name in the log's own table. */
typedef struct Entry
{
	const SyncTable *log;
	Field	   *fields;
	int			n;
} Entry;

static void
put(Entry *entry, const char *name, Datum value, bool isnull)
{
	int			i;

	for (i = 0; i < entry->log->ncolumns; i++)
		if (strcmp(entry->log->columns[i].name, name) == 0)
		{
			entry->fields[entry->n++] = (Field) {i, isnull, value};
			return;
		}
	elog(ERROR, "the conflict log has no column \"%s\"", name);
}

static void
put_text(Entry *entry, const char *name, const char *text)
{
	put(entry, name, text ? CStringGetTextDatum(text) : (Datum) 0, text == NULL);
}

static void
put_version(Entry *entry, const char *name, int64 version)
{
	put(entry, name, Int64GetDatum(version), version < 0);
}

static Datum
names_datum(const List *names)
{
	char	  **texts = palloc(sizeof(char *) * (list_length(names) + 1));
	ListCell   *lc;

	foreach(lc, names)
		texts[foreach_current_index(lc)] = lfirst(lc);
	return sync_text_array(texts, list_length(names));
}

static void
fill_entry(Entry *entry, const Push *push, const Change *change)
{
	static const char *const operations[] = {"create", "update", "delete"};
	Conflict   *conflict = change->conflict;

	entry->n = 0;
	put(entry, "conflict_id", UUIDPGetDatum(&conflict->uuid), false);
	put(entry, "table_id", Int32GetDatum(change->table->id), false);
	put_text(entry, "entity_type", change->table->entity_type);
	put_text(entry, "entity_id", change->entity_id);
	put_text(entry, "kind", conflict->kind);
	put_text(entry, "operation", operations[change->operation]);
	put(entry, "fields", names_datum(conflict->fields), false);
	put_text(entry, "local_data", conflict->local_data);	/* of type json, whose values look like text's */
	put_text(entry, "server_data", conflict->server_data);
	put_text(entry, "base_data", container_text(change->base));
	put_version(entry, "local_version", change->local_version);
	put_version(entry, "server_version", conflict->server_version);
	put_version(entry, "result_version", change->server_version);
	put_text(entry, "pushed_by", push->user);
	put_text(entry, "device_id", push->device);
	put_text(entry, "changed_by", conflict->changed_by);
	put_text(entry, "rule", conflict->rule);
	put_text(entry, "outcome", conflict->outcome);
	put(entry, "edited_at", TimestampTzGetDatum(change->edited_at), false);
	put_text(entry, "audience", conflict->audience);
}

static void
write_entries(Push *push)
{
	Entry		entry = {.log = sync_table_by_relid(sync_relid("conflict"), false)};
	Writer	   *writer = writer_for_inserts(push, entry.log);
	MemoryContext before = MemoryContextSwitchTo(push->scratch);
	int			i;

	if (writer == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the conflict log cannot be written"),
				 errhint("Triggers, rules or partitions were added to sync.conflict.")));
	for (i = 0; i < push->nchanges; i++)
	{
		if (push->changes[i].conflict == NULL || push->changes[i].is_stored)
			continue;
		entry.fields = palloc(sizeof(Field) * entry.log->ncolumns);
		fill_entry(&entry, push, &push->changes[i]);
		writer_insert(writer, push, NULL, entry.fields, entry.n);
		MemoryContextReset(push->scratch);
	}
	MemoryContextSwitchTo(before);
	writer_close(push);
}

void
conflict_write(Push *push)
{
	Oid			types[] = {TEXTOID, INT4OID};
	Datum		values[] = {CStringGetTextDatum(push->user), Int32GetDatum(sync_max_conflicts)};
	SyncRole	saved;
	int			i;

	for (i = 0; i < push->nchanges && (push->changes[i].conflict == NULL || push->changes[i].is_stored); i++)
		;
	if (i == push->nchanges)
		return;
	sync_become_extension(&saved);
	write_entries(push);
	SPI_execute_with_args("SELECT sync.trim_conflicts($1, $2)", 2, types, values, NULL, false, 1);
	sync_become_back(&saved);
}

static void
put_names(StringInfo out, const List *names)
{
	ListCell   *lc;

	appendStringInfoString(out, ",\"fields\":[");
	foreach(lc, names)
	{
		if (foreach_current_index(lc) > 0)
			appendStringInfoChar(out, ',');
		sync_render_string(out, lfirst(lc), strlen(lfirst(lc)));
	}
	appendStringInfoChar(out, ']');
}

static void
put_raw(StringInfo out, const char *name, const char *json)
{
	appendStringInfo(out, ",\"%s\":%s", name, json ? json : "null");
}

void
conflict_put(StringInfo out, const Change *change)
{
	const Conflict *conflict = change->conflict;

	appendStringInfo(out, ",\"conflict_data\":{\"conflict_id\":\"%s\"", conflict->id);
	sync_render_member(out, "kind", conflict->kind);
	put_names(out, conflict->fields);
	put_raw(out, "local_data", conflict->local_data);
	put_raw(out, "server_data", conflict->server_data);
	if (change->base)
		put_raw(out, "base_data", container_text(change->base));
	if (change->local_version >= 0)
		appendStringInfo(out, ",\"local_version\":" INT64_FORMAT, change->local_version);
	appendStringInfo(out, ",\"server_version\":" INT64_FORMAT, conflict->server_version);
	sync_render_member(out, "changed_by", conflict->changed_by);
	sync_render_member(out, "rule", conflict->rule);
	appendStringInfoChar(out, '}');
}
