/*
 * verdict.c - what a pushed change came to, and how the answer says it.
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
	change->entity_id = change->given_id;
	change->status = NULL;
	change->outcome = NULL;
	change->result_id = NULL;
	change->server_version = 0;
	change->data_now = NULL;
	change->conflict = NULL;
	change->shows_conflict = false;
	change->error_code = NULL;
	change->error_message = NULL;
	change->error_hint = NULL;
	change->error_extra = NULL;
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
verdict_error(Push *push, Change *change, const char *code, const char *message, const char *hint)
{
	change->is_decided = true;
	change->status = "error";
	change->outcome = "rejected";
	change->error_code = code;
	change->error_message = MemoryContextStrdup(push->context, message);
	change->error_hint = hint ? MemoryContextStrdup(push->context, hint) : NULL;
	change->data_now = NULL;
	change->conflict = NULL;	/* else a forbidden row would be told from an absent one */
	change->shows_conflict = false;
}

bool
verdict_has_code(const Change *change, const char *code)
{
	return change->error_code && strcmp(change->error_code, code) == 0;
}

/* One wording for absent, hidden, foreign and forbidden keys: the answer must not tell which. */
void
verdict_not_found(Push *push, Change *change)
{
	verdict_error(push, change, "not_found", "no such row", NULL);
}

/* Likewise for a create on a hidden key and for values that a policy or scope refuses. */
void
verdict_forbidden(Push *push, Change *change)
{
	verdict_error(push, change, "forbidden", "this row may not be written",
				  "Its policies or its scope do not allow it, or its key is taken.");
}

void
verdict_row(Push *push, Change *change, const Row *row)
{
	MemoryContext before = MemoryContextSwitchTo(push->context);
	StringInfoData data;
	bool		all;
	const Bitmapset *readable = row_readable(push, change->table, &all);

	if (readable && !sync_is_too_large(change->table, row->tuple, row->desc, all ? NULL : readable))
	{
		initStringInfo(&data);
		sync_render_data(&data, change->table, row->tuple, row->desc, all ? NULL : readable);
		change->data_now = data.data;
	}
	MemoryContextSwitchTo(before);
}

/* A change that lost, or waits for a person. The row it met is in the answer. */
void
verdict_conflict(Change *change, const char *outcome, int64 version)
{
	change->is_decided = true;
	change->status = "conflict";
	change->outcome = outcome;
	change->server_version = version;
	change->data_now = unconstify(char *, change->conflict->server_data);
	change->shows_conflict = true;
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
verdict_from_error(Push *push, Change *change, const ErrorData *error)
{
	const char *code = "rejected";
	int			i;

	if (error->sqlerrcode == SYNC_ERR_NOT_FOUND && change->operation != OP_CREATE)
	{
		verdict_not_found(push, change);
		return;
	}
	if (error->sqlerrcode == SYNC_ERR_NOT_FOUND || error->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE || verdict_is_key_taken(change, error))
	{
		verdict_forbidden(push, change);
		return;
	}
	for (i = 0; i < (int) lengthof(error_codes); i++)
		if (error_codes[i].sqlstate == error->sqlerrcode)
			code = error_codes[i].code;
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_DATA_EXCEPTION)
		code = "invalid_value";
	if (is_passing(error->sqlerrcode))
		code = "retry";
	verdict_error(push, change, code, error->message, error->hint);
	if (is_passing(error->sqlerrcode))
		change->outcome = "retry";
}

/* The members that a repeat gives again. */
static void
put_first_members(StringInfo out, const Change *change)
{
	appendStringInfo(out, "\"status\":\"%s\",\"outcome\":\"%s\"", change->status, change->outcome);
	sync_render_member(out, "entity_id", change->result_id ? change->result_id : change->entity_id);
	if (change->server_version > 0)
		appendStringInfo(out, ",\"server_version\":" INT64_FORMAT, change->server_version);
	if (change->conflict)
		sync_render_member(out, "conflict_id", change->conflict->id);
	if (change->shows_conflict)
		conflict_put(out, change);
	if (change->error_code)
	{
		appendStringInfo(out, ",\"error\":{\"code\":\"%s\"", change->error_code);
		sync_render_member(out, "message", change->error_message);
		if (change->error_hint)
			sync_render_member(out, "hint", change->error_hint);
		if (change->error_extra)
			appendStringInfo(out, ",%s", change->error_extra);
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
		appendStringInfo(out, ",\"data\":%s", change->data_now);
	if (change->is_repeat)
		appendStringInfoString(out, ",\"repeat\":true");
	appendStringInfoChar(out, '}');
}
