/*
 * visible.c - sync.visible_keys(): which of some rows each of several callers may see, asked by the streamer in one snapshot.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

PG_FUNCTION_INFO_V1(sync_visible_keys);

static JsonbContainer *
get_object(const JsonbContainer *array, uint32 i, const char *what)
{
	JsonbValue *v = getIthJsonbValueFromContainer(unconstify(JsonbContainer *, array), i);

	if (v->type != jbvBinary || !JsonContainerIsObject(v->val.binary.data))
		ereport(ERROR, (errcode(SYNC_ERR_BAD_REQUEST), errmsg("%s must be an array of objects", what)));
	return v->val.binary.data;
}

/* One key: the living row with it that the current role may see, and its stamp. */
static struct _SPI_plan *
key_plan(const SyncTable *table, const SyncParams *params)
{
	SyncPlanKey key = {.table = table->generation, .shape = 'V'};
	struct _SPI_plan *plan = sync_plan_find(&key);
	StringInfoData sql;
	Oid			types[INDEX_MAX_KEYS];

	if (plan)
		return plan;
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT t.sync_xid FROM %s t WHERE ", table->sql_name);
	sync_put_key(&sql, table, 1, types);
	if (table->deleted_at >= 0)
		appendStringInfo(&sql, " AND t.%s IS NULL", quote_identifier(table->columns[table->deleted_at].name));
	return sync_plan_keep(&key, sql.data, params, CURSOR_OPT_GENERIC_PLAN);
}

static void
put_key(StringInfo out, const SyncTable *table, const char *entity_id, const char **separator)
{
	SyncParams	params = {0};
	Datum		keys[INDEX_MAX_KEYS];
	int			i;

	if (entity_id == NULL || !sync_parse_entity_id(table, entity_id, keys))
		return;
	for (i = 0; i < table->nkeys; i++)
		sync_param(&params, table->columns[table->keys[i]].type, keys[i]);
	sync_plan_run(key_plan(table, &params), &params, NULL);
	if (SPI_processed > 0)
	{
		appendStringInfo(out, "%s[", *separator);
		sync_render_string(out, entity_id, strlen(entity_id));
		appendStringInfo(out, ",\"%s\"]", SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
		*separator = ",";
	}
	SPI_freetuptable(SPI_tuptable);
}

/* A table that the role may not read, or that is no longer synced, shows nothing: that is no error. */
static void
put_table_keys(StringInfo out, List *tables, JsonbContainer *asked)
{
	SyncTable  *table = sync_table_by_id(tables, (int32) sync_json_int(asked, "id", 0, 0, PG_INT32_MAX));
	JsonbContainer *keys = sync_json_array(asked, "keys", true);
	const char *separator = "";
	bool		all;
	uint32		i;

	appendStringInfo(out, "{\"id\":" INT64_FORMAT ",\"keys\":[", sync_json_int(asked, "id", 0, 0, PG_INT32_MAX));
	if (table && sync_readable_columns(table, &all))
		for (i = 0; i < JsonContainerSize(keys); i++)
		{
			CHECK_FOR_INTERRUPTS();
			put_key(out, table, sync_json_text(getIthJsonbValueFromContainer(keys, i)), &separator);
		}
	appendStringInfoString(out, "]}");
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
put_identity(StringInfo out, List *tables, JsonbContainer *identity, JsonbContainer *asked)
{
	uint32		i;

	become(identity);
	SPI_connect();
	appendStringInfoString(out, "{\"tables\":[");
	for (i = 0; i < JsonContainerSize(asked); i++)
	{
		if (i)
			appendStringInfoChar(out, ',');
		put_table_keys(out, tables, get_object(asked, i, "\"tables\""));
	}
	appendStringInfoString(out, "]}");
	SPI_finish();
}

/* What stops the whole call, whoever it is asked for. */
static bool
is_for_all(int code)
{
	return code == ERRCODE_QUERY_CANCELED || code == ERRCODE_OUT_OF_MEMORY || ERRCODE_TO_CATEGORY(code) == ERRCODE_OPERATOR_INTERVENTION;
}

/* An error of one identity, such as a policy that raises, is that identity's answer and nobody else's. */
static void
try_identity(StringInfo out, List *tables, JsonbContainer *identity, JsonbContainer *asked)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	int			start = out->len;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		put_identity(out, tables, identity, asked);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (is_for_all(error->sqlerrcode))
			ReThrowError(error);
		out->len = start;
		appendStringInfo(out, "{\"error\":{\"code\":\"%s\"", unpack_sql_state(error->sqlerrcode));
		sync_render_member(out, "message", error->message);
		appendStringInfoString(out, "}}");
		FreeErrorData(error);
	}
	PG_END_TRY();
}

static void
put_identities(StringInfo out, List *tables, JsonbContainer *identities, JsonbContainer *asked)
{
	uint32		i;

	for (i = 0; i < JsonContainerSize(identities); i++)
	{
		if (i)
			appendStringInfoChar(out, ',');
		try_identity(out, tables, get_object(identities, i, "\"identities\""), asked);
	}
}

Datum
sync_visible_keys(PG_FUNCTION_ARGS)
{
	Jsonb	   *request = sync_request(fcinfo);
	JsonbContainer *identities = sync_json_array(&request->root, "identities", true);
	JsonbContainer *asked = sync_json_array(&request->root, "tables", true);
	List	   *tables = sync_list_tables();
	StringInfoData out;

	/* As for SET ROLE: not behind the back of a function that fixed its user. */
	if (InLocalUserIdChange() || InSecurityRestrictedOperation())
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("sync.visible_keys() takes other roles"),
						errhint("Call it directly, not from a SECURITY DEFINER function.")));
	initStringInfo(&out);
	appendStringInfoSpaces(&out, VARHDRSZ);
	appendStringInfo(&out, "{\"snapshot\":\"%s\",\"identities\":[", sync_snapshot_text(sync_snapshot_now()));
	sync_plans_begin();
	PG_TRY();
	{
		put_identities(&out, tables, identities, asked);
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
