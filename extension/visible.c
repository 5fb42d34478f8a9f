/*
 * visible.c - sync.visible_keys(): which of some rows each of several callers may see, asked by the streamer in one snapshot.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(sync_visible_keys);

static JsonbContainer *
get_object(const JsonbContainer *array, uint32 i, const char *what)
{
	JsonbValue *v = getIthJsonbValueFromContainer(unconstify(JsonbContainer *, array), i);

	if (v->type != jbvBinary || !JsonContainerIsObject(v->val.binary.data))
		ereport(ERROR, (errcode(SYNC_ERR_BAD_REQUEST), errmsg("%s must be an array of objects", what)));
	return v->val.binary.data;
}

/* Some rows and tombstones of one table, and what is said of them: a digit each. */
typedef struct Asked
{
	SyncTable  *table;
	JsonbContainer *keys;		/* entity ids */
	JsonbContainer *stamps;		/* the sync_xid that each is asked about; NULL: whatever it is */
	JsonbContainer *gone;		/* old values of tombstones; NULL: none */
	int			n;
	uint64	   *xids;
	Datum		arrays[INDEX_MAX_KEYS];		/* the keys, column by column, once they have been read */
	bool		is_read;
} Asked;

typedef struct Question
{
	JsonbContainer *identities;
	Asked	   *tables;
	int32	   *ids;
	int			ntables;
	int			identity_ms;	/* 0: no limit */
	int			call_ms;		/* after so long no further identity is begun; 0: no limit */
	const SyncTable *at;		/* the table that is looked at; NULL: none yet, or none that is synced */
	MemoryContext context;
} Question;

enum
{
	NOT_SEEN = '0',
	SEEN = '1',
	SEEN_NEWER = '2'			/* it was written again since */
};

/* The living ones of these keys that the current role may see: the place of each in the list, and its stamp. */
static struct _SPI_plan *
keys_plan(const SyncTable *table, const SyncParams *params)
{
	SyncPlanKey key = {.table = table->generation, .shape = 'V'};
	struct _SPI_plan *plan = sync_plan_find(&key);
	StringInfoData sql;
	int			i;

	if (plan)
		return plan;
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT o.n, t.sync_xid FROM ROWS FROM (");
	for (i = 0; i < table->nkeys; i++)
		appendStringInfo(&sql, "%spg_catalog.unnest($%d)", i ? ", " : "", i + 1);
	appendStringInfoString(&sql, ") WITH ORDINALITY o (");
	for (i = 0; i < table->nkeys; i++)
		appendStringInfo(&sql, "k%d, ", i);
	appendStringInfo(&sql, "n), %s t WHERE ", table->sql_name);
	for (i = 0; i < table->nkeys; i++)
	{
		const SyncColumn *column = &table->columns[table->keys[i]];

		appendStringInfo(&sql, "%st.%s %s o.k%d", i ? " AND " : "", quote_identifier(column->name), sync_operator(column->type, false), i);
	}
	if (table->deleted_at >= 0)
		appendStringInfo(&sql, " AND t.%s IS NULL", quote_identifier(table->columns[table->deleted_at].name));
	return sync_plan_keep(&key, sql.data, params, CURSOR_OPT_GENERIC_PLAN);
}

/* Types of PostgreSQL's own run no code of the application's: what they read for one identity serves all. */
static bool
has_plain_keys(const SyncTable *table)
{
	int			i;

	for (i = 0; i < table->nkeys; i++)
		if (table->columns[table->keys[i]].type >= FirstNormalObjectId)
			return false;
	return true;
}

static void
read_keys(Asked *asked)
{
	const SyncTable *table = asked->table;
	Datum	   *values[INDEX_MAX_KEYS];
	bool	   *nulls = palloc0(sizeof(bool) * Max(asked->n, 1));
	Datum		keys[INDEX_MAX_KEYS];
	int			k;
	int			i;

	for (k = 0; k < table->nkeys; k++)
		values[k] = palloc0(sizeof(Datum) * Max(asked->n, 1));
	for (i = 0; i < asked->n; i++)
	{
		char	   *entity_id = sync_json_text(getIthJsonbValueFromContainer(asked->keys, i));

		nulls[i] = entity_id == NULL || !sync_parse_entity_id(table, entity_id, keys);
		for (k = 0; k < table->nkeys && !nulls[i]; k++)
			values[k][i] = keys[k];
	}
	for (k = 0; k < table->nkeys; k++)
	{
		const SyncColumn *column = &table->columns[table->keys[k]];
		int			lower = 1;
		int16		len;
		bool		byval;
		char		align;

		get_typlenbyvalalign(column->type, &len, &byval, &align);
		asked->arrays[k] = PointerGetDatum(construct_md_array(values[k], nulls, 1, &asked->n, &lower, column->type, len, byval, align));
	}
}

static void
find_seen(Asked *asked, char *digits)
{
	SyncParams	params = {0};
	uint64		i;
	int			k;

	for (k = 0; k < asked->table->nkeys; k++)
		sync_param(&params, get_array_type(asked->table->columns[asked->table->keys[k]].type), asked->arrays[k]);
	sync_plan_run(keys_plan(asked->table, &params), &params, NULL);
	for (i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		int64		n = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull)) - 1;
		uint64		xid = U64FromFullTransactionId(DatumGetFullTransactionId(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull)));

		digits[n] = asked->xids == NULL || asked->xids[n] == xid ? SEEN : SEEN_NEWER;
	}
	SPI_freetuptable(SPI_tuptable);
}

static void
put_seen(StringInfo out, Asked *asked, MemoryContext call)
{
	char	   *digits = palloc(asked->n + 1);

	memset(digits, NOT_SEEN, asked->n);
	digits[asked->n] = '\0';
	if (!asked->is_read && asked->n > 0)
	{
		bool		is_kept = has_plain_keys(asked->table);
		MemoryContext before = MemoryContextSwitchTo(is_kept ? call : CurrentMemoryContext);

		read_keys(asked);
		asked->is_read = is_kept;
		MemoryContextSwitchTo(before);
	}
	if (asked->n > 0)
		find_seen(asked, digits);
	appendStringInfo(out, ",\"seen\":\"%s\"", digits);
}

/* As pull judges tombstones: on what the row was. */
static void
put_gone(StringInfo out, const Asked *asked)
{
	uint32		n = JsonContainerSize(asked->gone);
	SyncPolicyCheck *check = n > 0 ? sync_policy_check(asked->table) : NULL;
	uint32		i;

	appendStringInfoString(out, ",\"gone\":\"");
	for (i = 0; i < n; i++)
	{
		JsonbValue *old = getIthJsonbValueFromContainer(asked->gone, i);
		char	   *values = old->type == jbvBinary ? JsonbToCString(NULL, old->val.binary.data, old->val.binary.len) : NULL;

		CHECK_FOR_INTERRUPTS();
		appendStringInfoChar(out, check == NULL || sync_policy_allows(check, values) ? SEEN : NOT_SEEN);
	}
	appendStringInfoChar(out, '"');
}

/* A table that the role may not read, or that is no longer synced, shows nothing: that is no error. */
static void
put_table(StringInfo out, Asked *asked, int32 id, MemoryContext call)
{
	bool		all;

	appendStringInfo(out, "{\"id\":%d", id);
	if (asked->table && sync_readable_columns(asked->table, &all))
	{
		put_seen(out, asked, call);
		if (asked->gone)
			put_gone(out, asked);
	}
	appendStringInfoChar(out, '}');
}

/* As a function's SET clause would, with its check whether the session's user may take the role: the end of the subtransaction undoes it. */
static void
become(JsonbContainer *identity)
{
	char	   *role = sync_json_string(identity, "role", true, NAMEDATALEN - 1);
	JsonbValue *claims = sync_json_get(identity, "claims");
	char	   *text = "";

	/* SET ROLE none would be the streamer's own user. */
	if (pg_strcasecmp(role, "none") == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("role \"%s\" does not exist", role)));
	if (claims && claims->type == jbvBinary)
		text = JsonbToCString(NULL, claims->val.binary.data, claims->val.binary.len);
	else if (claims && claims->type == jbvString)
		text = sync_json_text(claims);
	(void) set_config_option("role", role, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, ERROR, false);
	(void) set_config_option("request.jwt.claims", text, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, ERROR, false);
}

static void
put_identity(StringInfo out, Question *q, JsonbContainer *identity)
{
	int			i;

	q->at = NULL;
	become(identity);
	SPI_connect();
	appendStringInfoString(out, "{\"tables\":[");
	for (i = 0; i < q->ntables; i++)
	{
		if (i)
			appendStringInfoChar(out, ',');
		q->at = q->tables[i].table;
		put_table(out, &q->tables[i], q->ids[i], q->context);
	}
	appendStringInfoChar(out, ']');
	SPI_finish();
}

/* ---- the time that one identity may take ---- */

static TimeoutId limit_id = MAX_TIMEOUTS;
static volatile sig_atomic_t is_over_limit;

static void
limit_reached(void)
{
	is_over_limit = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

static void
start_limit(const Question *q)
{
	is_over_limit = false;
	if (q->identity_ms == 0)
		return;
	if (limit_id == MAX_TIMEOUTS)
		limit_id = RegisterTimeout(USER_TIMEOUT, limit_reached);
	enable_timeout_after(limit_id, q->identity_ms);
}

/* A limit that was reached a moment too late must not stop the next one. */
static void
end_limit(const Question *q)
{
	if (q->identity_ms == 0)
		return;
	disable_timeout(limit_id, false);
	if (is_over_limit && !get_timeout_indicator(STATEMENT_TIMEOUT, false))
		QueryCancelPending = false;
}

/* What stops the whole call, whoever it is asked for. */
static bool
is_for_all(int code)
{
	return code == ERRCODE_QUERY_CANCELED || code == ERRCODE_OUT_OF_MEMORY || ERRCODE_TO_CATEGORY(code) == ERRCODE_OPERATOR_INTERVENTION;
}

/* An error of one identity, such as a policy that raises, is that identity's answer and nobody else's. */
static void
try_identity(StringInfo out, Question *q, JsonbContainer *identity)
{
	SyncAttempt attempt;
	int			start = out->len;

	sync_attempt_begin(&attempt);
	PG_TRY();
	{
		start_limit(q);
		put_identity(out, q, identity);
		end_limit(q);
		sync_attempt_keep(&attempt);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		end_limit(q);
		error = sync_attempt_failed(&attempt);
		if (is_for_all(error->sqlerrcode) && !is_over_limit)
			ReThrowError(error);
		out->len = start;
		appendStringInfo(out, "{\"error\":{\"code\":\"%s\"", unpack_sql_state(error->sqlerrcode));
		sync_render_member(out, "message", error->message);
		if (q->at)
			sync_render_member(out, "table", q->at->entity_type);
		appendStringInfoChar(out, '}');
		FreeErrorData(error);
	}
	PG_END_TRY();
}

/* Whoever does not come to their turn in time is asked about again, in a question of their own. */
static void
put_identities(StringInfo out, Question *q)
{
	TimestampTz start = GetCurrentTimestamp();
	TimestampTz now = start;
	uint32		i;

	for (i = 0; i < JsonContainerSize(q->identities); i++)
	{
		TimestampTz before = now;

		if (i)
			appendStringInfoChar(out, ',');
		if (q->call_ms > 0 && i > 0 && now - start > q->call_ms * INT64CONST(1000))
		{
			appendStringInfoString(out, "{\"later\":true}");
			continue;
		}
		try_identity(out, q, get_object(q->identities, i, "\"identities\""));
		now = GetCurrentTimestamp();
		appendStringInfo(out, ",\"us\":" INT64_FORMAT "}", now - before);
	}
}

static uint64 *
read_stamps(const Asked *asked)
{
	uint64	   *xids = palloc0(sizeof(uint64) * Max(asked->n, 1));
	int			i;

	if ((int) JsonContainerSize(asked->stamps) != asked->n)
		ereport(ERROR, (errcode(SYNC_ERR_BAD_REQUEST), errmsg("\"stamps\" must have one of each key")));
	for (i = 0; i < asked->n; i++)
	{
		char	   *text = sync_json_text(getIthJsonbValueFromContainer(asked->stamps, i));

		xids[i] = text ? strtoull(text, NULL, 10) : 0;
	}
	return xids;
}

static void
read_question(Question *q, Jsonb *request)
{
	JsonbContainer *tables = sync_json_array(&request->root, "tables", true);
	List	   *known = sync_list_tables();
	int			i;

	q->context = CurrentMemoryContext;
	q->identities = sync_json_array(&request->root, "identities", true);
	q->identity_ms = (int) sync_json_int(&request->root, "identity_ms", 0, 0, PG_INT32_MAX);
	q->call_ms = (int) sync_json_int(&request->root, "call_ms", 0, 0, PG_INT32_MAX);
	q->ntables = JsonContainerSize(tables);
	q->tables = palloc0(sizeof(Asked) * Max(q->ntables, 1));
	q->ids = palloc0(sizeof(int32) * Max(q->ntables, 1));
	for (i = 0; i < q->ntables; i++)
	{
		Asked	   *asked = &q->tables[i];
		JsonbContainer *object = get_object(tables, i, "\"tables\"");

		q->ids[i] = (int32) sync_json_int(object, "id", 0, 0, PG_INT32_MAX);
		asked->table = sync_table_by_id(known, q->ids[i]);
		asked->keys = sync_json_array(object, "keys", true);
		asked->stamps = sync_json_array(object, "stamps", false);
		asked->gone = sync_json_array(object, "gone", false);
		asked->n = JsonContainerSize(asked->keys);
		asked->xids = asked->stamps ? read_stamps(asked) : NULL;
	}
}

/* As pull does: the locks first, so that policies are not younger than the rows they judge. Rights are checked as each identity. */
static void
lock_tables(Question *q)
{
	int			i;

	for (i = 0; i < q->ntables; i++)
		if (q->tables[i].table)
			q->tables[i].table = sync_table_by_relid(q->tables[i].table->relid, true);
}

Datum
sync_visible_keys(PG_FUNCTION_ARGS)
{
	Question	q;
	StringInfoData out;

	/* As for SET ROLE: not behind the back of a function that fixed its user. */
	read_question(&q, sync_request(fcinfo));
	if (InLocalUserIdChange() || InSecurityRestrictedOperation())
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("sync.visible_keys() takes other roles"),
						errhint("Call it directly, not from a SECURITY DEFINER function.")));
	lock_tables(&q);
	PushActiveSnapshot(GetTransactionSnapshot());
	initStringInfo(&out);
	appendStringInfoSpaces(&out, VARHDRSZ);
	appendStringInfo(&out, "{\"snapshot\":\"%s\",\"identities\":[", sync_snapshot_text(sync_snapshot_now()));
	sync_plans_begin();
	PG_TRY();
	{
		put_identities(&out, &q);
		PopActiveSnapshot();
	}
	PG_FINALLY();
	{
		sync_plans_end();
	}
	PG_END_TRY();
	appendStringInfoString(&out, "]}");
	SET_VARSIZE(out.data, out.len);
	PG_RETURN_TEXT_P((text *) out.data);
}
