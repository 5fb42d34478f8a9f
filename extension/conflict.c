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
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

PG_FUNCTION_INFO_V1(sync_reads_whole);

Datum
sync_reads_whole(PG_FUNCTION_ARGS)
{
	List	   *tables;
	ListCell   *lc;
	bool		all = false;

	SPI_connect();
	tables = sync_list_tables();
	foreach(lc, tables)
	{
		const SyncTable *table = ((SyncListed *) lfirst(lc))->table;

		if (table->id == PG_GETARG_INT32(0) && sync_readable_columns(table, &all) == NULL)
			all = false;
		if (table->id == PG_GETARG_INT32(0))
			break;
	}
	SPI_finish();
	PG_RETURN_BOOL(all);
}

static char *
container_text(JsonbContainer *container)
{
	return container ? JsonbToCString(NULL, container, 0) : NULL;
}

/* The names of the columns the change holds, as a JSON array. */
static char *
names_in_data(const Change *change)
{
	StringInfoData out;
	JsonbIterator *it;
	JsonbValue	v;

	initStringInfo(&out);
	if (change->data)
	{
		it = JsonbIteratorInit(change->data);
		JsonbIteratorNext(&it, &v, true);
		while (JsonbIteratorNext(&it, &v, true) == WJB_KEY)
		{
			appendStringInfoChar(&out, out.len ? ',' : '[');
			sync_render_string(&out, v.val.string.val, v.val.string.len);
			JsonbIteratorNext(&it, &v, true);
		}
	}
	appendStringInfoString(&out, out.len ? "]" : "[]");
	return out.data;
}

static void
make_id(char *out)
{
	pg_uuid_t	uuid;
	char	   *text;

	if (!pg_strong_random(&uuid, sizeof(uuid)))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
	uuid.data[6] = (uuid.data[6] & 0x0f) | 0x40;	/* version 4 */
	uuid.data[8] = (uuid.data[8] & 0x3f) | 0x80;
	text = DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&uuid)));
	strlcpy(out, text, 37);
	pfree(text);
}

static char *
row_user(const SyncTable *table, const Row *row)
{
	bool		isnull;
	Datum		by = heap_getattr(row->tuple, table->by_att, row->desc, &isnull);

	return isnull ? NULL : TextDatumGetCString(by);
}

static char *
row_json(Push *push, const SyncTable *table, const Row *row)
{
	bool		all;
	const Bitmapset *readable = row_readable(push, table, &all);
	StringInfoData out;

	initStringInfo(&out);
	sync_render_data(&out, table, row->tuple, row->desc, all ? NULL : readable);
	return out.data;
}

/* Those who may see the row may see what became of it, if it concerns them; where nobody can say who that is, its author alone. */
static char *
audience(const Push *push, const SyncTable *table, const Row *server)
{
	bool		isnull;
	Datum		value;

	if (server && server->tuple && table->scope_column && !(table->has_policies && !table->policy_is_scope))
	{
		value = heap_getattr(server->tuple, table->scope_column->attnum, server->desc, &isnull);
		if (!isnull)
			return psprintf("%s:%s", table->scope, sync_value_text(table->scope_column, value));
	}
	if (table->scope_column == NULL && !table->has_policies)
		return psprintf("table:%d", table->id);
	return psprintf("user:%s", push->user);
}

void
conflict_record(Push *push, Change *change, const char *kind, const char *outcome, const char *rule, const char *fields,
				const Row *server, int64 server_version)
{
	MemoryContext before = MemoryContextSwitchTo(push->context);
	Conflict   *conflict = palloc0(sizeof(Conflict));

	make_id(conflict->id);
	conflict->kind = kind;
	conflict->outcome = outcome;
	conflict->rule = pstrdup(rule);
	conflict->fields = fields ? pstrdup(fields) : names_in_data(change);
	conflict->server_version = server_version;
	if (server && server->tuple)
	{
		conflict->server_data = row_json(push, change->table, server);
		conflict->changed_by = row_user(change->table, server);
	}
	conflict->audience = audience(push, change->table, server);
	change->conflict = conflict;
	MemoryContextSwitchTo(before);
}

/* The row is gone: its deletion says whose it was and who deleted it. */
void
conflict_with_deletion(Push *push, Change *change, const char *outcome, const char *rule, const Deletion *deletion)
{
	const SyncTable *table = change->table;
	MemoryContext before;

	conflict_record(push, change, "delete", outcome, rule, NULL, NULL, deletion->version);
	before = MemoryContextSwitchTo(push->context);
	if (deletion->changed_by)
		change->conflict->changed_by = pstrdup(deletion->changed_by);
	if (deletion->scope && !(table->has_policies && !table->policy_is_scope))
		change->conflict->audience = psprintf("%s:%s", table->scope, deletion->scope);
	MemoryContextSwitchTo(before);
}

static bool
is_one_of(const char *code, const char *const *codes)
{
	for (; *codes; codes++)
		if (code && strcmp(code, *codes) == 0)
			return true;
	return false;
}

/*
 * What a constraint refused, or a client of an older schema sent, is kept as well: its author may want to mend it. An atomic batch leaves
 * nothing, as nothing of it is stored.
 */
void
conflict_record_errors(Push *push)
{
	static const char *const constraints[] = {"unique", "exclusion", "check", "foreign_key", NULL};
	int			i;

	for (i = 0; i < push->nchanges; i++)
	{
		Change	   *change = &push->changes[i];
		bool		is_version = change->error_code && strcmp(change->error_code, "schema_version") == 0;

		if (change->is_repeat || change->is_stored || change->table == NULL || !(is_version || is_one_of(change->error_code, constraints)))
			continue;
		conflict_record(push, change, is_version ? "version" : "constraint", "open", change->error_code, NULL, NULL, 0);
		change->shows_conflict = true;
	}
}

/* The columns of the log, one array each, in the order of the statement below. */
enum
{
	LOG_ID, LOG_TABLE, LOG_TYPE, LOG_ENTITY, LOG_KIND, LOG_OPERATION, LOG_FIELDS, LOG_LOCAL, LOG_SERVER, LOG_BASE, LOG_LOCAL_VERSION,
	LOG_SERVER_VERSION, LOG_RESULT_VERSION, LOG_CHANGED_BY, LOG_RULE, LOG_OUTCOME, LOG_EDITED_AT, LOG_AUDIENCE, LOG_COLUMNS
};

static char *
version_text(int64 version)
{
	return version < 0 ? NULL : psprintf(INT64_FORMAT, version);
}

static void
fill_log_row(const Change *change, char **row)
{
	const Conflict *conflict = change->conflict;
	static const char *const operations[] = {"create", "update", "delete"};

	row[LOG_ID] = (char *) conflict->id;
	row[LOG_TABLE] = psprintf("%d", change->table->id);
	row[LOG_TYPE] = change->table->entity_type;
	row[LOG_ENTITY] = change->entity_id;
	row[LOG_KIND] = unconstify(char *, conflict->kind);
	row[LOG_OPERATION] = unconstify(char *, operations[change->operation]);
	row[LOG_FIELDS] = unconstify(char *, conflict->fields);
	row[LOG_LOCAL] = container_text(change->data);
	row[LOG_SERVER] = unconstify(char *, conflict->server_data);
	row[LOG_BASE] = container_text(change->base);
	row[LOG_LOCAL_VERSION] = version_text(change->local_version);
	row[LOG_SERVER_VERSION] = version_text(conflict->server_version);
	row[LOG_RESULT_VERSION] = version_text(change->server_version);
	row[LOG_CHANGED_BY] = unconstify(char *, conflict->changed_by);
	row[LOG_RULE] = unconstify(char *, conflict->rule);
	row[LOG_OUTCOME] = unconstify(char *, conflict->outcome);
	row[LOG_EDITED_AT] = DatumGetCString(DirectFunctionCall1(timestamptz_out, TimestampTzGetDatum(change->edited_at)));
	row[LOG_AUDIENCE] = unconstify(char *, conflict->audience);
}

static Datum
text_array(char **values, int n)
{
	Datum	   *datums = palloc(sizeof(Datum) * n);
	bool	   *nulls = palloc(sizeof(bool) * n);
	int			lower = 1;
	int			i;

	for (i = 0; i < n; i++)
	{
		nulls[i] = values[i] == NULL;
		datums[i] = nulls[i] ? (Datum) 0 : CStringGetTextDatum(values[i]);
	}
	return PointerGetDatum(construct_md_array(datums, nulls, 1, &n, &lower, TEXTOID, -1, false, TYPALIGN_INT));
}

void
conflict_write(Push *push)
{
	static const char sql[] =
		"INSERT INTO sync.conflict (pushed_by, device_id, conflict_id, table_id, entity_type, entity_id, kind, operation, fields, local_data, "
		"server_data, base_data, local_version, server_version, result_version, changed_by, rule, outcome, edited_at, audience) "
		"SELECT $1, $2, a::pg_catalog.uuid, b::pg_catalog.int4, c, d, e, f, "
		"ARRAY(SELECT pg_catalog.json_array_elements_text(g::pg_catalog.json)), h::pg_catalog.json, i::pg_catalog.json, j::pg_catalog.json, "
		"k::pg_catalog.int8, l::pg_catalog.int8, m::pg_catalog.int8, n, o, p, q::pg_catalog.timestamptz, r "
		"FROM unnest($3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20) "
		"AS u(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r)";
	Oid			types[2 + LOG_COLUMNS];
	Datum		values[2 + LOG_COLUMNS];
	char	  **columns[LOG_COLUMNS];
	SyncRole	saved;
	int			n = 0;
	int			i;
	int			c;

	for (c = 0; c < LOG_COLUMNS; c++)
		columns[c] = palloc(sizeof(char *) * Max(push->nchanges, 1));
	for (i = 0; i < push->nchanges; i++)
	{
		char	   *row[LOG_COLUMNS];

		if (push->changes[i].conflict == NULL || push->changes[i].is_stored)
			continue;
		fill_log_row(&push->changes[i], row);
		for (c = 0; c < LOG_COLUMNS; c++)
			columns[c][n] = row[c];
		n++;
	}
	if (n == 0)
		return;
	types[0] = types[1] = TEXTOID;
	values[0] = CStringGetTextDatum(push->user);
	values[1] = CStringGetTextDatum(push->device);
	for (c = 0; c < LOG_COLUMNS; c++)
	{
		types[2 + c] = TEXTARRAYOID;
		values[2 + c] = text_array(columns[c], n);
	}
	sync_become_extension(&saved);
	SPI_execute_with_args(sql, lengthof(types), types, values, NULL, false, 0);
	values[1] = Int32GetDatum(sync_max_conflicts);
	types[1] = INT4OID;
	SPI_execute_with_args("SELECT sync.trim_conflicts($1, $2)", 2, types, values, NULL, false, 1);
	sync_become_back(&saved);
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
	put_raw(out, "fields", conflict->fields);
	put_raw(out, "local_data", container_text(change->data));
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
