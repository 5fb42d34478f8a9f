/*
 * verdict.c - what a pushed change came to: its verdict, its error codes, and the conflict log.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "change.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

void
verdict_clear(Change *change)
{
	change->is_decided = false;
	change->is_chained = false;
	change->entity_id = change->given_id;
	change->status = NULL;
	change->outcome = NULL;
	change->result_id = NULL;
	change->server_version = 0;
	change->data_now = NULL;
	change->conflict_id = NULL;
	change->conflict_data = NULL;
	change->error_code = NULL;
	change->error_message = NULL;
	change->error_hint = NULL;
}

void
verdict_success(Change *change, const char *outcome, int64 version)
{
	change->is_decided = true;
	change->status = "success";
	change->outcome = outcome;
	change->server_version = version;
}

void
verdict_error(Change *change, const char *code, const char *message, const char *hint)
{
	change->is_decided = true;
	change->status = "error";
	change->outcome = "rejected";
	change->error_code = code;
	change->error_message = pstrdup(message);
	change->error_hint = hint ? pstrdup(hint) : NULL;
	change->data_now = NULL;
	change->conflict_id = NULL;	/* else a forbidden row would be told from an absent one */
}

/* One wording for absent, hidden, foreign and forbidden keys: the answer must not tell which. */
void
verdict_not_found(Change *change)
{
	verdict_error(change, "not_found", "no such row", NULL);
}

/* Likewise for a create on a hidden key and for values that a policy or scope refuses. */
void
verdict_forbidden(Change *change)
{
	verdict_error(change, "forbidden", "this row may not be written",
				  "Its policies or its scope do not allow it, or its key is taken.");
}

typedef struct ErrorCode
{
	int			sqlstate;
	const char *code;
} ErrorCode;

static const ErrorCode error_codes[] = {
	{ERRCODE_FOREIGN_KEY_VIOLATION, "foreign_key"},
	{ERRCODE_UNIQUE_VIOLATION, "unique"},
	{ERRCODE_NOT_NULL_VIOLATION, "not_null"},
	{ERRCODE_CHECK_VIOLATION, "check"},
	{ERRCODE_EXCLUSION_VIOLATION, "exclusion"},
	{SYNC_ERR_BAD_REQUEST, "invalid_change"},
};

static bool
is_passing(int sqlstate)
{
	return sqlstate == ERRCODE_T_R_SERIALIZATION_FAILURE || sqlstate == ERRCODE_T_R_DEADLOCK_DETECTED ||
		sqlstate == ERRCODE_LOCK_NOT_AVAILABLE;
}

/* A key that is taken although its row was not to be seen is answered like a policy. */
bool
verdict_is_key_taken(const Change *change, const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION && error->constraint_name &&
		strcmp(error->constraint_name, sync_key_constraint(change->table)) == 0;
}

void
verdict_from_error(Change *change, const ErrorData *error)
{
	const char *code = "rejected";
	int			i;

	if (error->sqlerrcode == SYNC_ERR_NOT_FOUND)
	{
		verdict_not_found(change);
		return;
	}
	if (error->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE || verdict_is_key_taken(change, error))
	{
		verdict_forbidden(change);
		return;
	}
	for (i = 0; i < (int) lengthof(error_codes); i++)
		if (error_codes[i].sqlstate == error->sqlerrcode)
			code = error_codes[i].code;
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_DATA_EXCEPTION)
		code = "invalid_value";
	if (is_passing(error->sqlerrcode))
		code = "retry";
	verdict_error(change, code, error->message, error->hint);
	if (is_passing(error->sqlerrcode))
		change->outcome = "retry";
}

static Datum
text_or_null(const char *text, char *null)
{
	*null = text ? ' ' : 'n';
	return text ? CStringGetTextDatum(text) : (Datum) 0;
}

static Datum
jsonb_or_null(const char *text, char *null)
{
	*null = text ? ' ' : 'n';
	return text ? DirectFunctionCall1(jsonb_in, CStringGetDatum(text)) : (Datum) 0;
}

static char *
container_text(JsonbContainer *container)
{
	return container ? JsonbToCString(NULL, container, VARSIZE_ANY_EXHDR(container)) : NULL;
}

/* The names of the columns the change touches, as a JSON array. */
static char *
field_names(const Change *change)
{
	StringInfoData out;
	JsonbIterator *it;
	JsonbValue	v;
	bool		is_first = true;

	initStringInfo(&out);
	appendStringInfoChar(&out, '[');
	if (change->data)
	{
		it = JsonbIteratorInit(change->data);
		JsonbIteratorNext(&it, &v, true);
		while (JsonbIteratorNext(&it, &v, true) == WJB_KEY)
		{
			if (!is_first)
				appendStringInfoChar(&out, ',');
			is_first = false;
			sync_render_string(&out, v.val.string.val, v.val.string.len);
			JsonbIteratorNext(&it, &v, true);
		}
	}
	appendStringInfoChar(&out, ']');
	return out.data;
}

static char *
row_user(const Change *change, HeapTuple server, TupleDesc desc)
{
	bool		isnull;
	Datum		by;

	if (server == NULL)
		return NULL;
	by = SPI_getbinval(server, desc, change->table->by_att, &isnull);
	return isnull ? NULL : TextDatumGetCString(by);
}

static void
log_conflict(Push *push, Change *change, const char *kind, bool is_won, const char *server_data, const char *changed_by,
			 int64 server_version)
{
	static const char sql[] =
		"INSERT INTO sync.conflict (table_id, entity_type, entity_id, kind, fields, local_data, server_data, base_data, local_version, "
		"server_version, pushed_by, device_id, changed_by, rule, outcome) "
		"SELECT $1, $2, $3, $4, ARRAY(SELECT pg_catalog.jsonb_array_elements_text($5)), $6, $7, $8, $9, $10, $11, $12, $13, $14, $15 "
		"RETURNING conflict_id";
	Oid			types[] = {INT4OID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, JSONBOID, JSONBOID, JSONBOID, INT8OID, INT8OID, TEXTOID, TEXTOID,
	TEXTOID, TEXTOID, TEXTOID};
	Datum		values[lengthof(types)];
	char		nulls[lengthof(types)];
	SyncRole	saved;

	memset(nulls, ' ', sizeof(nulls));
	values[0] = Int32GetDatum(change->table->id);
	values[1] = CStringGetTextDatum(change->entity_type);
	values[2] = CStringGetTextDatum(change->entity_id);
	values[3] = CStringGetTextDatum(kind);
	values[4] = jsonb_or_null(field_names(change), &nulls[4]);
	values[5] = jsonb_or_null(container_text(change->data), &nulls[5]);
	values[6] = jsonb_or_null(server_data, &nulls[6]);
	values[7] = jsonb_or_null(container_text(change->base), &nulls[7]);
	nulls[8] = change->local_version < 0 ? 'n' : ' ';
	values[8] = Int64GetDatum(change->local_version);
	values[9] = Int64GetDatum(server_version);
	values[10] = CStringGetTextDatum(push->user);
	values[11] = CStringGetTextDatum(push->device);
	values[12] = text_or_null(changed_by, &nulls[12]);
	values[13] = CStringGetTextDatum(strcmp(kind, "delete") == 0 ? "delete_wins" : "lww");
	values[14] = CStringGetTextDatum(is_won ? "local_won" : "server_won");
	sync_become_extension(&saved);
	SPI_execute_with_args(sql, lengthof(types), types, values, nulls, false, 0);
	sync_become_back(&saved);
	change->conflict_id = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
}

static void
put_raw(StringInfo out, const char *name, const char *json)
{
	appendStringInfo(out, ",\"%s\":%s", name, json ? json : "null");
}

/*
 * Writes the collision to the log, whoever won: the loser is kept there. server NULL: the row is deleted. The caller gets to see
 * the conflict when it lost.
 */
void
verdict_conflict(Push *push, Change *change, const char *kind, bool is_won, HeapTuple server, TupleDesc desc, int64 server_version)
{
	StringInfoData out;
	char	   *server_data = NULL;
	char	   *changed_by = row_user(change, server, desc);
	bool		all;

	if (server)
	{
		StringInfoData row;
		Bitmapset  *readable = sync_readable_columns(change->table, &all);

		initStringInfo(&row);
		sync_render_data(&row, change->table, server, desc, readable);
		server_data = row.data;
	}
	log_conflict(push, change, kind, is_won, server_data, changed_by, server_version);
	if (is_won)
		return;

	change->is_decided = true;
	change->status = "conflict";
	change->outcome = "superseded";
	change->server_version = server_version;
	change->data_now = server_data;
	initStringInfo(&out);
	appendStringInfo(&out, "{\"conflict_id\":\"%s\"", change->conflict_id);
	sync_render_member(&out, "kind", kind);
	put_raw(&out, "fields", field_names(change));
	put_raw(&out, "local_data", container_text(change->data));
	put_raw(&out, "server_data", server_data);
	if (change->base)
		put_raw(&out, "base_data", container_text(change->base));
	if (change->local_version >= 0)
		appendStringInfo(&out, ",\"local_version\":" INT64_FORMAT, change->local_version);
	appendStringInfo(&out, ",\"server_version\":" INT64_FORMAT, server_version);
	sync_render_member(&out, "changed_by", changed_by);
	sync_render_member(&out, "rule", strcmp(kind, "delete") == 0 ? "delete_wins" : "lww");
	appendStringInfoChar(&out, '}');
	change->conflict_data = out.data;
}

/* The members that a repeat gives again. */
static void
put_first_members(StringInfo out, const Change *change)
{
	appendStringInfo(out, "\"status\":\"%s\",\"outcome\":\"%s\"", change->status, change->outcome);
	sync_render_member(out, "entity_id", change->result_id ? change->result_id : change->entity_id);
	if (change->server_version > 0)
		appendStringInfo(out, ",\"server_version\":" INT64_FORMAT, change->server_version);
	if (change->conflict_id)
		sync_render_member(out, "conflict_id", change->conflict_id);
	if (change->conflict_data)
		put_raw(out, "conflict_data", change->conflict_data);
	if (change->error_code)
	{
		appendStringInfo(out, ",\"error\":{\"code\":\"%s\"", change->error_code);
		sync_render_member(out, "message", change->error_message);
		if (change->error_hint)
			sync_render_member(out, "hint", change->error_hint);
		appendStringInfoChar(out, '}');
	}
}

void
verdict_put_stored(StringInfo out, const Change *change)
{
	appendStringInfoChar(out, '{');
	put_first_members(out, change);
	appendStringInfoChar(out, '}');
}

void
verdict_put(StringInfo out, const Change *change)
{
	appendStringInfo(out, "{\"index\":%d", change->index);
	sync_render_member(out, "queue_id", change->queue_id);
	appendStringInfoChar(out, ',');
	if (change->stored_answer)
		appendBinaryStringInfo(out, change->stored_answer + 1, strlen(change->stored_answer) - 2);
	else
		put_first_members(out, change);
	if (change->data_now)
		put_raw(out, "data", change->data_now);
	if (change->is_repeat)
		appendStringInfoString(out, ",\"repeat\":true");
	appendStringInfoChar(out, '}');
}
