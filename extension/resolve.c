/*
 * resolve.c - sync.resolve_conflict(): a person concerned by a conflict decides it, under their own rights.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "change.h"

#include <ctype.h>

#include "access/htup_details.h"
#include "miscadmin.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "access/table.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(sync_resolve_conflict);

typedef enum Resolution
{
	KEEP_LOCAL, KEEP_SERVER, MERGE, KEEP_BOTH
} Resolution;

static const char *const resolution_names[] = {"keep_local", "keep_server", "merge", "keep_both"};

/* The conflict as the log has it, and what is asked. */
typedef struct Resolving
{
	Push		push;
	char	   *id;
	Resolution	resolution;
	Jsonb	   *merged_data;	/* NULL: none */
	SyncTable  *table;
	char	   *entity_id;
	char	   *kind;
	char	   *operation;
	char	   *device;
	Jsonb	   *local_data;		/* NULL: none */
	Jsonb	   *server_data;
	Jsonb	   *fields;
	int64		met_version;	/* of the row when it was decided; 0: there was none */
	char	   *resolved;		/* NULL: not yet */
	char	   *resolved_by;
} Resolving;

static void
read_request(Resolving *r, Jsonb *request)
{
	char	   *name = sync_json_string(&request->root, "resolution", true, 16);
	JsonbValue *merged = sync_json_get(&request->root, "merged_data");
	int			i;

	r->id = sync_json_string(&request->root, "conflict_id", true, 64);
	for (i = 0; i < (int) lengthof(resolution_names) && strcmp(name, resolution_names[i]) != 0; i++)
		;
	if (i == lengthof(resolution_names))
		ereport(ERROR,
				(errcode(SYNC_ERR_BAD_REQUEST),
				 errmsg("unknown resolution \"%s\"", name),
				 errhint("Resolutions are keep_local, keep_server, merge and keep_both.")));
	r->resolution = i;
	if (merged && merged->type != jbvNull && (merged->type != jbvBinary || !JsonContainerIsObject(merged->val.binary.data)))
		ereport(ERROR, (errcode(SYNC_ERR_BAD_REQUEST), errmsg("member \"merged_data\" of the request must be an object")));
	if (merged && merged->type == jbvBinary)
		r->merged_data = JsonbValueToJsonb(merged);
	if (r->resolution == MERGE && r->merged_data == NULL)
		ereport(ERROR,
				(errcode(SYNC_ERR_BAD_REQUEST),
				 errmsg("resolution merge needs \"merged_data\""),
				 errhint("An object with the colliding columns as they are to be.")));
}

static Jsonb *
jsonb_at(HeapTuple row, TupleDesc desc, int n)
{
	char	   *text = SPI_getvalue(row, desc, n);

	return text ? DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text))) : NULL;
}

static void pg_attribute_noreturn()
raise_unknown(void)
{
	ereport(ERROR,
			(errcode(SYNC_ERR_NOT_FOUND),
			 errmsg("no such conflict"),
			 errhint("sync.conflicts(false) lists those that concern the caller.")));
}

/* In the one form that we write: another would be an error of its input function, or none. */
static bool
is_uuid(const char *text)
{
	int			i;

	for (i = 0; i < 36; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23 ? text[i] != '-' : !isxdigit((unsigned char) text[i]))
			return false;
	return text[36] == '\0';
}

/* As the caller: the log's policy says whom an entry concerns. */
static bool
may_see_conflict(const Resolving *r)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(r->id)};

	SPI_execute_with_args("SELECT 1 FROM sync.conflict WHERE conflict_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid", 1, types, values, NULL, false, 1);
	return SPI_processed == 1;
}

/* Locks the entry, so that two who decide at once take turns. */
static void
read_conflict(Resolving *r)
{
	static const char sql[] =
		"SELECT table_id, entity_id, kind, operation, device_id, local_data, server_data, pg_catalog.to_jsonb(fields), "
		"COALESCE(result_version, server_version, 0), resolution, resolved_by, resolved_id FROM sync.conflict "
		"WHERE conflict_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid AND $2 IN (pushed_by, changed_by) FOR UPDATE";
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[] = {CStringGetTextDatum(r->id), CStringGetTextDatum(r->push.user)};
	SyncRole	saved;
	HeapTuple	row;
	TupleDesc	desc;

	if (!is_uuid(r->id) || !may_see_conflict(r))
		raise_unknown();
	sync_become_extension(&saved);
	SPI_execute_with_args(sql, 2, types, values, NULL, false, 1);
	sync_become_back(&saved);
	if (SPI_processed == 0)
		raise_unknown();
	row = SPI_tuptable->vals[0];
	desc = SPI_tuptable->tupdesc;
	r->entity_id = SPI_getvalue(row, desc, 2);
	r->kind = SPI_getvalue(row, desc, 3);
	r->operation = SPI_getvalue(row, desc, 4);
	r->device = SPI_getvalue(row, desc, 5);
	r->local_data = jsonb_at(row, desc, 6);
	r->server_data = jsonb_at(row, desc, 7);
	r->fields = jsonb_at(row, desc, 8);
	r->met_version = strtoll(SPI_getvalue(row, desc, 9), NULL, 10);
	r->resolved = SPI_getvalue(row, desc, 10);
	r->resolved_by = SPI_getvalue(row, desc, 11);
	if (r->resolved)
		r->entity_id = SPI_getvalue(row, desc, 12);
	r->table = sync_table_held(r->push.tables, atoi(SPI_getvalue(row, desc, 1)));
	if (r->table == NULL)
		ereport(ERROR, (errcode(SYNC_ERR_WRONG_STATE), errmsg("the table of this conflict is not synced any more")));
}

/* ---- the row as it is now ---- */

typedef struct Now
{
	int64		version;		/* of the living row, or of its deletion; 0: neither is the caller's to know */
	bool		is_living;
	char	   *data;
} Now;

static Now
row_now(Resolving *r, const char *entity_id)
{
	Now			now = {0};
	Change		change = {.table = r->table, .entity_id = unconstify(char *, entity_id)};
	Datum		keys[INDEX_MAX_KEYS];
	Row			row;

	if (entity_id == NULL || !sync_parse_entity_id(r->table, entity_id, keys))
		return now;
	row = row_read(&r->push, r->table, keys, " FOR UPDATE");
	if (row.tuple == NULL || row_is_marked(r->table, &row))
		now.version = row_seen_deletion(&r->push, &change).version;
	else if (row_in_held_scope(&r->push, r->table, &row) && row_may_see(&r->push, r->table, keys))
	{
		now.version = row_version(r->table, &row);
		now.is_living = true;
		now.data = row_read_again(&r->push, r->table, entity_id);
	}
	return now;
}

/* ---- what is to be written ---- */

static Jsonb *
overlay(Jsonb *below, Jsonb *above)
{
	if (below == NULL || above == NULL)
		return below ? below : above;
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(below), JsonbPGetDatum(above)));
}

static Jsonb *
without(Jsonb *object, const char *name)
{
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_delete, JsonbPGetDatum(object), CStringGetTextDatum(name)));
}

static Jsonb *
empty_object(void)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
}

/* The pushed values that did not collide, and the person's choice for those that did. What a constraint refused was not written at all. */
static Jsonb *
merged(const Resolving *r)
{
	Jsonb	   *data = r->local_data ? r->local_data : empty_object();
	int			i;

	for (i = 0; strcmp(r->kind, "edit") == 0 && i < (int) JB_ROOT_COUNT(r->fields); i++)
		data = without(data, sync_json_text(getIthJsonbValueFromContainer(&r->fields->root, i)));
	return overlay(data, r->merged_data);
}

static bool
has_default(const SyncTable *table, const SyncColumn *column)
{
	Relation	relation = table_open(table->relid, AccessShareLock);
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(relation), column->attnum - 1);
	bool		has = att->atthasdef || att->attidentity;

	table_close(relation, AccessShareLock);
	return has;
}

static Jsonb *
with_text(Jsonb *object, const char *name, const char *text)
{
	StringInfoData member;

	initStringInfo(&member);
	appendStringInfoChar(&member, '{');
	sync_render_string(&member, name, strlen(name));
	appendStringInfoChar(&member, ':');
	sync_render_string(&member, text, strlen(text));
	appendStringInfoChar(&member, '}');
	return overlay(object, DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(member.data))));
}

/* A new row of the local version: its key comes from merged_data, the column's default, or, for uuid and text, chance. */
static Jsonb *
as_new_row(const Resolving *r)
{
	const SyncTable *table = r->table;
	Jsonb	   *data = overlay(overlay(r->server_data ? r->server_data : empty_object(), r->local_data), r->merged_data);
	int			i;

	for (i = 0; i < table->nkeys; i++)
	{
		const SyncColumn *column = &table->columns[table->keys[i]];
		Oid			type = sync_base_type(column->type);

		if (r->merged_data && sync_json_get(&r->merged_data->root, column->name))
			continue;
		/* Of a key of several columns the first ones name what the row belongs to. */
		if (table->nkeys > 1 && i < table->nkeys - 1)
			continue;
		data = without(data, column->name);
		if (has_default(table, column))
			continue;
		if (type != UUIDOID && type != TEXTOID && type != VARCHAROID)
			ereport(ERROR,
					(errcode(SYNC_ERR_UNPROCESSABLE),
					 errmsg("a new row of \"%s\" needs a key", table->entity_type),
					 errhint("Give \"%s\" in merged_data.", column->name)));
		data = with_text(data, column->name, DatumGetCString(DirectFunctionCall1(uuid_out, DirectFunctionCall1(gen_random_uuid, (Datum) 0))));
	}
	return data;
}

/* What the caller may not set stays as it is: server_data holds whole rows. */
static void
drop_server_columns(const SyncTable *table, Change *change, Jsonb *data)
{
	int			i;

	for (i = 0; i < table->ncolumns; i++)
		if (value_is_server_column(table, i))
			data = without(data, table->columns[i].name);
	change->data = &data->root;
}

/* The change that carries the decision out; false: there is nothing to write. */
static bool
make_change(Resolving *r, const Now *now, Change *change)
{
	*change = (Change) {.table = r->table, .entity_type = r->table->entity_type, .local_version = now->version, .edited_at = r->push.now};
	if (r->resolution == KEEP_SERVER)
		return false;
	if (r->resolution == KEEP_BOTH)
	{
		change->operation = OP_CREATE;
		change->local_version = -1;
		drop_server_columns(r->table, change, as_new_row(r));
		return true;
	}
	change->given_id = change->entity_id = r->entity_id;
	change->operation = now->is_living ? OP_UPDATE : OP_CREATE;
	change->restores = true;
	if (r->resolution == KEEP_LOCAL && strcmp(r->operation, "delete") == 0)
		change->operation = OP_DELETE;
	else if (r->resolution == KEEP_LOCAL)
		drop_server_columns(r->table, change, overlay(r->local_data ? r->local_data : empty_object(), r->merged_data));
	else
		drop_server_columns(r->table, change, merged(r));
	return true;
}

/* ---- carrying it out ---- */

static void
carry_out(Resolving *r, Change *change)
{
	SyncAttempt attempt;
	ErrorData  *error;

	sync_attempt_begin(&attempt);
	PG_TRY();
	{
		if (change->data)
			change_check_data(&r->push, change);
		if (!change->is_decided)
			apply_change(&r->push, change);
		writer_close(&r->push);
		sync_attempt_keep(&attempt);
	}
	PG_CATCH();
	{
		error = attempt_drop(&attempt);
		writer_forget(&r->push);
		verdict_clear(change);
		verdict_from_error(&r->push, change, error);
	}
	PG_END_TRY();
}

static void
mark_resolved(const Resolving *r)
{
	static const char sql[] =
		"UPDATE sync.conflict SET resolution = $2, resolved_by = $3, resolved_at = pg_catalog.now(), resolved_id = $4 "
		"WHERE conflict_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid";
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	Datum		values[] = {CStringGetTextDatum(r->id), CStringGetTextDatum(resolution_names[r->resolution]),
	CStringGetTextDatum(r->push.user), r->entity_id ? CStringGetTextDatum(r->entity_id) : (Datum) 0};
	char		nulls[] = {' ', ' ', ' ', r->entity_id ? ' ' : 'n'};
	SyncRole	saved;

	sync_become_extension(&saved);
	SPI_execute_with_args(sql, 4, types, values, nulls, false, 0);
	sync_become_back(&saved);
}

static void
put_entity(StringInfo out, const char *id, const Now *now)
{
	appendStringInfoString(out, ",\"resolved_entity\":{");
	appendStringInfo(out, "\"version\":" INT64_FORMAT, now->version);
	sync_render_member(out, "id", id);
	appendStringInfo(out, ",\"data\":%s}", now->data ? now->data : "null");
}

static void
put_error(StringInfo out, const char *code, const char *message, const char *hint)
{
	appendStringInfo(out, ",\"error\":{\"code\":\"%s\"", code);
	sync_render_member(out, "message", message);
	if (hint)
		sync_render_member(out, "hint", hint);
	appendStringInfoChar(out, '}');
}

/* Writes the answer; the row in it is read anew, under today's rights. */
static void
resolve(Resolving *r, StringInfo out)
{
	Now			now = row_now(r, r->entity_id);
	Change		change;

	if (r->resolved == NULL && r->met_version > 0 && now.version != r->met_version && r->resolution != KEEP_BOTH &&
		r->resolution != KEEP_SERVER)
	{
		appendStringInfoString(out, "{\"success\":false");
		put_error(out, "moved_on", "the row has changed since", "Look at it again: it is in resolved_entity. A new edit of it needs no conflict.");
		put_entity(out, r->entity_id, &now);
		appendStringInfoChar(out, '}');
		return;
	}
	if (r->resolved == NULL && make_change(r, &now, &change))
	{
		carry_out(r, &change);
		if (strcmp(change.status, "success") != 0)
		{
			appendStringInfoString(out, "{\"success\":false");
			put_error(out, change.error_code ? change.error_code : "conflict", change.error_message ? change.error_message : "another edit won",
					  change.error_hint);
			put_entity(out, r->entity_id, &now);
			appendStringInfoChar(out, '}');
			return;
		}
		r->entity_id = change.entity_id;
		now = row_now(r, r->entity_id);
	}
	if (r->resolved == NULL)
		mark_resolved(r);
	appendStringInfoString(out, "{\"success\":true");
	sync_render_member(out, "resolution", resolution_names[r->resolution]);
	put_entity(out, r->entity_id, &now);
	appendStringInfoChar(out, '}');
}

Datum
sync_resolve_conflict(PG_FUNCTION_ARGS)
{
	Jsonb	   *request = sync_request(fcinfo);
	MemoryContext caller = CurrentMemoryContext;
	Resolving	r = {0};
	StringInfoData out;
	text	   *answer;
	char	   *device = sync_json_string(&request->root, "device_id", false, 256);

	PreventCommandIfReadOnly("sync.resolve_conflict()");
	SPI_connect();
	PG_TRY();
	{
		push_begin(&r.push, device ? device : "resolve_conflict");
		read_request(&r, request);
		r.push.tables = sync_list_tables();
		read_conflict(&r);
		if (r.resolved && strcmp(r.resolved, resolution_names[r.resolution]) != 0)
			ereport(ERROR,
					(errcode(SYNC_ERR_WRONG_STATE),
					 errmsg("the conflict was resolved already, as %s by %s", r.resolved, r.resolved_by ? r.resolved_by : "nobody")));
		initStringInfo(&out);
		resolve(&r, &out);
	}
	PG_FINALLY();
	{
		sync_push_stamp = NULL;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	answer = cstring_to_text_with_len(out.data, out.len);
	SPI_finish();
	PG_RETURN_TEXT_P(answer);
}
