/*
 * page.c - a page of pull: runs a round's parts from the token's place on and sends rows until the page is full.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "pull.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "nodes/bitmapset.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/portal.h"

#define FETCH_ROWS 200
#define MAX_PARAMS 16

static bool
is_page_full(const Pull *pull)
{
	return pull->sent >= pull->limit || pull->out.len >= SYNC_PAGE_BYTES ||
		((pull->sent > 0 || pull->skipped > 0) && GetCurrentTimestamp() > pull->deadline);
}

/* Parameters of one query, in the order they are named in its text. */
typedef struct Params
{
	int			n;
	Oid			types[MAX_PARAMS + INDEX_MAX_KEYS];
	Datum		values[MAX_PARAMS + INDEX_MAX_KEYS];
} Params;

static int
add_param(Params *params, Oid type, Datum value)
{
	params->types[params->n] = type;
	params->values[params->n] = value;
	return ++params->n;
}

static Datum
xip_array(const SyncSnapshot *snapshot)
{
	Datum	   *ids = palloc(sizeof(Datum) * Max(snapshot->nxip, 1));
	int			i;

	for (i = 0; i < snapshot->nxip; i++)
		ids[i] = UInt64GetDatum(snapshot->xip[i]);
	return PointerGetDatum(construct_array(ids, snapshot->nxip, XID8OID, 8, true, TYPALIGN_DOUBLE));
}

/* Not seen by the lower cursor, and below the upper snapshot: exact, and index-friendly. */
static void
put_changed(StringInfo sql, Params *params, const SyncToken *token)
{
	const SyncSnapshot *lower = token->lower;
	int			xmax = add_param(params, XID8OID, UInt64GetDatum(lower->xmax));

	if (lower->nxip > 0)
		appendStringInfo(sql, " AND (t.sync_xid OPERATOR(pg_catalog.>=) $%d OR t.sync_xid OPERATOR(pg_catalog.=) ANY ($%d))", xmax,
						 add_param(params, get_array_type(XID8OID), xip_array(lower)));
	else
		appendStringInfo(sql, " AND t.sync_xid OPERATOR(pg_catalog.>=) $%d", xmax);
	appendStringInfo(sql, " AND t.sync_xid OPERATOR(pg_catalog.<) $%d",
					 add_param(params, XID8OID, UInt64GetDatum(token->upper->xmax)));
}

/* The scope values a part concerns: those held before, or those gained in this round. */
static char **
part_values(const Pull *pull, const PullTable *p, char phase, int *n)
{
	const SyncHeldScope *gained = NULL;
	char	  **values = palloc(sizeof(char *) * Max(p->scope->nvalues, 1));
	ListCell   *lc;
	int			i;

	foreach(lc, pull->next.gained)
		if (((SyncHeldScope *) lfirst(lc))->scope_id == p->scope->id)
			gained = lfirst(lc);
	*n = 0;
	for (i = 0; i < p->scope->nvalues; i++)
		if (phase == 'W' || sync_held_has(gained, p->scope->hashes[i]) == (phase == 'G'))
			values[(*n)++] = p->scope->values[i];
	return values;
}

/* " AND column = ANY (values)", compared in the column's type. */
static void
put_scope(StringInfo sql, Params *params, const Pull *pull, const PullTable *p, char phase, const char *expression)
{
	const SyncColumn *column = p->table->scope_column;
	/* bpchar and bit without a length mean "of any length" only under these names. */
	char	   *type = format_type_extended(sync_base_type(column->type), -1, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);
	int			n;
	char	  **values = part_values(pull, p, phase, &n);

	appendStringInfo(sql, " AND %s::%s %s ANY ($%d::pg_catalog.text[]::%s[])", expression, type,
					 sync_operator(column->type, false), add_param(params, TEXTARRAYOID, sync_text_array(values, n)), type);
}

/* The select list keeps attribute numbers, so that a row is read alike wherever it comes from; what may not be read is NULL. */
static void
put_columns(StringInfo sql, const PullTable *p)
{
	const SyncTable *table = p->table;
	char	  **names = palloc0(sizeof(char *) * (table->natts + 1));
	int			i;

	for (i = 0; i < table->ncolumns; i++)
		if (bms_is_member(i, p->readable))
			names[table->columns[i].attnum] = psprintf("t.%s", quote_identifier(table->columns[i].name));
	names[table->version_att] = "t.sync_version";
	names[table->xid_att] = "t.sync_xid";
	names[table->at_att] = "t.sync_at";
	names[table->by_att] = "t.sync_by";
	names[table->clock_att] = "t.sync_clock";
	if (table->via >= 0)
		names[table->scope_column->attnum] = "t.sync_scope";
	appendStringInfoString(sql, "SELECT ");
	for (i = 1; i <= table->natts; i++)
		appendStringInfo(sql, "%s%s", i > 1 ? ", " : "", names[i] ? names[i] : "NULL");
}

static void
put_key_list(StringInfo sql, const SyncTable *table)
{
	int			i;

	for (i = 0; i < table->nkeys; i++)
		appendStringInfo(sql, "%st.%s", i ? ", " : "", quote_identifier(table->columns[table->keys[i]].name));
}

/* The texts of a stored place: a JSON array. */
static char **
read_place(const char *place, int *n)
{
	Jsonb	   *array = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(place)));
	char	  **texts;
	int			i;

	if (!JB_ROOT_IS_ARRAY(array) || JB_ROOT_IS_SCALAR(array))
		ereport(ERROR, (errcode(SYNC_ERR_BAD_REQUEST), errmsg("malformed sync_token")));
	*n = JB_ROOT_COUNT(array);
	texts = palloc(sizeof(char *) * (*n + 1));
	for (i = 0; i < *n; i++)
	{
		texts[i] = sync_json_text(getIthJsonbValueFromContainer(&array->root, i));
		if (texts[i] == NULL)
			ereport(ERROR, (errcode(SYNC_ERR_BAD_REQUEST), errmsg("malformed sync_token")));
	}
	return texts;
}

/* " AND (order columns) > (the last place)" when the part was begun on an earlier page. */
static void
put_place(StringInfo sql, Params *params, const Pull *pull, const SyncTable *table, bool by_xid)
{
	int			skip = by_xid ? 1 : 0;
	int			n;
	int			i;
	char	  **texts;

	if (pull->next.part_key[0] == '\0')
		return;
	texts = read_place(pull->next.part_key, &n);
	if (n != table->nkeys + skip)
		ereport(ERROR, (errcode(SYNC_ERR_BAD_REQUEST), errmsg("malformed sync_token")));
	appendStringInfoString(sql, by_xid ? " AND (t.sync_xid, " : " AND (");
	put_key_list(sql, table);
	appendStringInfoString(sql, ") > (");
	if (by_xid)
		appendStringInfo(sql, "$%d, ", add_param(params, XID8OID, UInt64GetDatum(strtoull(texts[0], NULL, 10))));
	for (i = 0; i < table->nkeys; i++)
	{
		const SyncColumn *column = &table->columns[table->keys[i]];

		appendStringInfo(sql, "%s$%d", i ? ", " : "",
						 add_param(params, column->type, sync_parse_text(column, texts[i + skip])));
	}
	appendStringInfoChar(sql, ')');
}

/* Living rows of the scope values that a part concerns. */
static void
put_living(StringInfo sql, Params *params, const Pull *pull, const PullTable *p, char phase)
{
	const SyncTable *table = p->table;

	if (table->deleted_at >= 0)
		appendStringInfo(sql, " AND t.%s IS NULL", quote_identifier(table->columns[table->deleted_at].name));
	if (p->scope)
		put_scope(sql, params, pull, p, phase, psprintf("t.%s", quote_identifier(table->scope_column->name)));
}

static void
build_row_query(StringInfo sql, Params *params, const Pull *pull, const PullTable *p, char phase)
{
	const SyncTable *table = p->table;
	bool		by_xid = phase == 'I';

	put_columns(sql, p);
	appendStringInfo(sql, " FROM %s t WHERE true", table->sql_name);
	put_living(sql, params, pull, p, phase);
	if (by_xid)
	{
		put_changed(sql, params, &pull->next);
		/* The index holds only ids above this one; the literal lets the planner use it. */
		if (pull->next.lower->xmin > U64FromFullTransactionId(table->enabled_xid))
			appendStringInfo(sql, " AND t.sync_xid OPERATOR(pg_catalog.>) '" UINT64_FORMAT "'::pg_catalog.xid8",
							 U64FromFullTransactionId(table->enabled_xid));
	}
	put_place(sql, params, pull, table, by_xid);
	appendStringInfoString(sql, by_xid ? " ORDER BY t.sync_xid, " : " ORDER BY ");
	put_key_list(sql, table);
	appendStringInfo(sql, " LIMIT %d", pull->limit - pull->sent + 1);
}

static char *
row_place(const SyncTable *table, HeapTuple row, TupleDesc desc, bool by_xid, uint64 xid)
{
	StringInfoData place;
	bool		isnull;
	int			i;

	initStringInfo(&place);
	appendStringInfoChar(&place, '[');
	if (by_xid)
		appendStringInfo(&place, "\"" UINT64_FORMAT "\",", xid);
	for (i = 0; i < table->nkeys; i++)
	{
		const SyncColumn *column = &table->columns[table->keys[i]];
		char	   *text = sync_value_text(column, heap_getattr(row, column->attnum, desc, &isnull));

		if (i)
			appendStringInfoChar(&place, ',');
		sync_render_string(&place, text, strlen(text));
	}
	appendStringInfoChar(&place, ']');
	return place.data;
}

static void
comma(Pull *pull)
{
	if (pull->sent++ > 0)
		appendStringInfoChar(&pull->out, ',');
}

static void
send_row(Pull *pull, const PullTable *p, char phase, HeapTuple row, TupleDesc desc)
{
	bool		isnull;
	uint64		xid = U64FromFullTransactionId(DatumGetFullTransactionId(heap_getattr(row, p->table->xid_att, desc, &isnull)));

	pull->next.part_key = row_place(p->table, row, desc, phase == 'I', xid);
	/* A stamp from a restore lies beyond the counter: it travels with whole tables only. */
	if (!sync_snapshot_sees(pull->next.upper, xid) && (phase == 'I' || xid < pull->next.upper->xmax))
	{
		pull->skipped++;
		return;
	}
	comma(pull);
	if (p->table->verify)
		pull_count_sent(pull, p, row, desc);
	sync_render_row(&pull->out, p->table, row, desc, p->all_readable ? NULL : p->readable, pull->device);
}

typedef void (*SendRow) (Pull *pull, const PullTable *p, char phase, HeapTuple row, TupleDesc desc);

/*
 * Runs a query by portions; true when it is exhausted, false when the page is full first. The query's own LIMIT leaves one row over, so
 * that a portion which ends with the page is not taken for the end.
 */
static bool
send_query(Pull *pull, const PullTable *p, char phase, const char *sql, Params *params, SendRow send, const SyncRole *back)
{
	int			limit = pull->limit - pull->sent + 1;
	int			seen = 0;
	Portal		portal = SPI_cursor_open_with_args(NULL, sql, params->n, params->types, params->values, NULL, true,
												   CURSOR_OPT_NO_SCROLL);

	if (back)
		sync_become_back(back);
	for (;;)
	{
		SPITupleTable *rows;
		uint64		n;
		uint64		i;

		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		rows = SPI_tuptable;
		n = SPI_processed;
		for (i = 0; i < n; i++)
		{
			if (is_page_full(pull))
			{
				SPI_cursor_close(portal);
				return false;
			}
			seen++;
			send(pull, p, phase, rows->vals[i], rows->tupdesc);
		}
		SPI_freetuptable(rows);
		if (n == 0)
			break;
	}
	SPI_cursor_close(portal);
	/* Rows passed over can use the LIMIT up: then there may be more. */
	return seen < limit;
}

static bool
send_rows(Pull *pull, const PullTable *p, char phase)
{
	StringInfoData sql;
	Params		params = {0};

	initStringInfo(&sql);
	build_row_query(&sql, &params, pull, p, phase);
	return send_query(pull, p, phase, sql.data, &params, send_row, NULL);
}

void
pull_each_row(Pull *pull, const PullTable *p, void (*take) (const PullTable *p, HeapTuple row, TupleDesc desc, void *sum), void *sum)
{
	StringInfoData sql;
	Params		params = {0};
	Portal		portal;

	initStringInfo(&sql);
	put_columns(&sql, p);
	appendStringInfo(&sql, " FROM %s t WHERE true", p->table->sql_name);
	put_living(&sql, &params, pull, p, 'W');
	portal = SPI_cursor_open_with_args(NULL, sql.data, params.n, params.types, params.values, NULL, true, CURSOR_OPT_NO_SCROLL);
	do
	{
		uint64		i;

		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		for (i = 0; i < SPI_processed; i++)
			take(p, SPI_tuptable->vals[i], SPI_tuptable->tupdesc, sum);
		SPI_freetuptable(SPI_tuptable);
	} while (SPI_processed > 0);
	SPI_cursor_close(portal);
}

/* ---- sending tombstones ---- */

enum
{
	TS_ID = 1, TS_ENTITY, TS_SCOPE, TS_VERSION, TS_XID, TS_REASON, TS_AT, TS_BY, TS_OLD
};

/* Is the key alive and within the caller's reach? Then its row says more than the tombstone of its past. */
static bool
is_alive(Pull *pull, const PullTable *p, const char *entity_id)
{
	const SyncTable *table = p->table;
	StringInfoData sql;
	Params		params = {0};
	Datum		keys[INDEX_MAX_KEYS];
	int			i;

	if (!sync_parse_entity_id(table, entity_id, keys))
		return false;
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT 1 FROM %s t WHERE ", table->sql_name);
	sync_put_key(&sql, table, 1, params.types);
	for (i = 0; i < table->nkeys; i++)
		add_param(&params, params.types[i], keys[i]);
	if (table->deleted_at >= 0)
		appendStringInfo(&sql, " AND t.%s IS NULL", quote_identifier(table->columns[table->deleted_at].name));
	if (p->scope)
		put_scope(&sql, &params, pull, p, 'W', psprintf("t.%s", quote_identifier(table->scope_column->name)));
	SPI_execute_with_args(sql.data, params.n, params.types, params.values, NULL, true, 1);
	return SPI_processed > 0;
}

static void
send_tombstone(Pull *pull, const PullTable *p, char phase, HeapTuple row, TupleDesc desc)
{
	bool		isnull;
	uint64		xid = U64FromFullTransactionId(DatumGetFullTransactionId(SPI_getbinval(row, desc, TS_XID, &isnull)));
	char	   *entity_id = SPI_getvalue(row, desc, TS_ENTITY);

	pull->next.part_key = psprintf("[\"" UINT64_FORMAT "\",\"%s\"]", xid, SPI_getvalue(row, desc, TS_ID));
	if (!sync_snapshot_sees(pull->next.upper, xid) ||
		(p->policies && !sync_policy_allows(p->policies, SPI_getvalue(row, desc, TS_OLD))) || is_alive(pull, p, entity_id))
	{
		pull->skipped++;
		return;
	}
	comma(pull);
	appendStringInfoString(&pull->out, "{\"operation\":\"delete\"");
	sync_render_member(&pull->out, "entity_type", p->table->entity_type);
	sync_render_member(&pull->out, "entity_id", entity_id);
	appendStringInfo(&pull->out, ",\"server_version\":%s,\"timestamp\":", SPI_getvalue(row, desc, TS_VERSION));
	sync_render_timestamp(&pull->out, DatumGetTimestampTz(SPI_getbinval(row, desc, TS_AT, &isnull)));
	sync_render_member(&pull->out, "changed_by", SPI_getvalue(row, desc, TS_BY));
	if (p->scope)
		sync_render_member(&pull->out, "scope", SPI_getvalue(row, desc, TS_SCOPE));
	sync_render_member(&pull->out, "reason", SPI_getvalue(row, desc, TS_REASON));
	appendStringInfoChar(&pull->out, '}');
}

/* Read as the extension's owner, for holders of the old scope value only; whether the key lives is asked as the caller. */
static bool
send_tombstones(Pull *pull, const PullTable *p)
{
	StringInfoData sql;
	Params		params = {0};
	SyncRole	saved;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT t.id, t.entity_id, t.scope_value, t.version, t.sync_xid, t.reason, t.at, t.changed_by, t.old_values "
					 "FROM sync.tombstone t WHERE t.table_id OPERATOR(pg_catalog.=) $%d",
					 add_param(&params, INT4OID, Int32GetDatum(p->table->id)));
	put_changed(&sql, &params, &pull->next);
	if (p->scope)
		put_scope(&sql, &params, pull, p, 'I', "t.scope_value");
	if (pull->next.part_key[0])
	{
		int			n;
		char	  **place = read_place(pull->next.part_key, &n);

		if (n != 2)
			ereport(ERROR, (errcode(SYNC_ERR_BAD_REQUEST), errmsg("malformed sync_token")));
		appendStringInfo(&sql, " AND (t.sync_xid, t.id) > ($%d, $%d)",
						 add_param(&params, XID8OID, UInt64GetDatum(strtoull(place[0], NULL, 10))),
						 add_param(&params, INT8OID, Int64GetDatum(strtoll(place[1], NULL, 10))));
	}
	appendStringInfo(&sql, " ORDER BY t.sync_xid, t.id LIMIT %d", pull->limit - pull->sent + 1);
	sync_become_extension(&saved);
	return send_query(pull, p, 'T', sql.data, &params, send_tombstone, &saved);
}

/* ---- the round ---- */

static bool
is_part_of(const PullTable *p, char phase, const Pull *pull)
{
	int			n;

	if (phase == 'W')
		return p->is_whole;
	if (p->is_whole || p->is_unchanged)
		return false;
	if (phase != 'G')
		return true;
	if (p->scope == NULL)
		return false;
	part_values(pull, p, 'G', &n);
	return n > 0;
}

static bool
send_part(Pull *pull, const PullTable *p, char phase)
{
	for (;;)
	{
		int			before = pull->sent + pull->skipped;
		bool		is_done = phase == 'T' ? send_tombstones(pull, p) : send_rows(pull, p, phase);

		if (is_done)
			return true;
		if (is_page_full(pull) || pull->sent + pull->skipped == before)
			return false;
	}
}

/* Sends parts from the token's place on; true when the round is finished. */
bool
pull_send_round(Pull *pull)
{
	static const char phases[] = "TIGW";
	bool		is_started = pull->next.part_table == 0;
	ListCell   *lc;

	foreach(lc, pull->selected)
	{
		PullTable  *p = lfirst(lc);
		const char *phase = phases;

		if (!is_started && p->table->id != pull->next.part_table)
			continue;
		if (!is_started)
		{
			phase = strchr(phases, pull->next.part_phase);
			if (phase == NULL || *phase == '\0')
				ereport(ERROR, (errcode(SYNC_ERR_BAD_REQUEST), errmsg("malformed sync_token")));
		}
		for (; *phase; phase++)
		{
			if (!is_part_of(p, *phase, pull))
				continue;
			pull->next.part_table = p->table->id;
			pull->next.part_phase = *phase;
			if (is_started)
				pull->next.part_key = "";
			is_started = true;
			if (!send_part(pull, p, *phase))
				return false;
		}
		is_started = true;
	}
	return true;
}

