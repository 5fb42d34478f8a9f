/*
 * pull.c - sync.pull(): a page of what changed between the cursor of a token and now.
 *
 * A round has a lower cursor C (from the token) and an upper snapshot S (taken with its first page). It is a list of parts,
 * in this order for each table: tombstones ('T'), then changed rows ('I') and rows of scopes gained since ('G'), or all rows
 * ('W') of a table that is sent whole. A page sends rows until it is full; its token names the part and place to go on from.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "access/timeline.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/portal.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(sync_pull);
PG_FUNCTION_INFO_V1(sync_session_state);

#define FETCH_ROWS 200
#define MAX_PARAMS 16

/* A table as this request sees it. */
typedef struct PullTable
{
	SyncTable  *table;
	FullTransactionId epoch;
	Bitmapset  *readable;
	bool		all_readable;
	SyncScope  *scope;			/* NULL: none */
	bool		is_whole;		/* all rows are sent */
	bool		is_reset;		/* and the client drops what it has first */
} PullTable;

typedef struct Pull
{
	/* request */
	JsonbContainer *tables;		/* NULL: all */
	int			priority;
	int			limit;
	uint64		device;
	bool		had_token;
	SyncToken  *given;			/* NULL: none, or of no use */
	/* what there is */
	List	   *selected;		/* of PullTable */
	List	   *scopes;			/* of SyncScope, each once */
	SyncToken	next;
	StringInfoData out;
	int			sent;
	int			skipped;		/* rows passed without sending since the page began */
	TimestampTz deadline;
	StringInfoData withdrawn;
} Pull;

/* ---- the request and the tables it covers ---- */

static void
read_request(Pull *pull, Jsonb *request)
{
	char	   *device = sync_json_string(&request->root, "device_id", false, 256);
	char	   *token = NULL;
	JsonbValue *v = sync_json_get(&request->root, "sync_token");

	if (v && v->type == jbvString)
		token = sync_json_text(v);
	else if (v && v->type != jbvNull)
		ereport(ERROR, (errcode(SYNC_ERR_BAD_REQUEST), errmsg("member \"sync_token\" of the request must be a string")));
	pull->device = device ? sync_hash(device, strlen(device), 0) : 0;
	pull->tables = sync_json_array(&request->root, "tables", false);
	pull->priority = (int) sync_json_int(&request->root, "priority", 3, 1, 3);
	pull->limit = (int) sync_json_int(&request->root, "limit", SYNC_PAGE_ROWS, 1, SYNC_PAGE_ROWS_MAX);
	/* A bare number cannot say what its holder was sent: it starts anew. */
	pull->had_token = token != NULL || sync_json_get(&request->root, "n") != NULL;
	pull->given = token ? sync_token_read(token) : NULL;
}

static SyncScope *
held_scope(Pull *pull, int32 scope_id)
{
	ListCell   *lc;
	SyncScope  *scope;

	foreach(lc, pull->scopes)
		if (((SyncScope *) lfirst(lc))->id == scope_id)
			return lfirst(lc);
	scope = sync_scope_held(scope_id);
	pull->scopes = lappend(pull->scopes, scope);
	return scope;
}

static bool
is_requested(const Pull *pull, const SyncTable *table)
{
	JsonbValue	name = {.type = jbvString};

	if (table->priority > pull->priority)
		return false;
	if (pull->tables == NULL)
		return true;
	name.val.string.val = table->entity_type;
	name.val.string.len = strlen(table->entity_type);
	return findJsonbValueFromContainer(pull->tables, JB_FARRAY, &name) != NULL;
}

/* A name that is not there is a mistake in the client's code; one not granted looks the same. */
static void
check_requested(const Pull *pull, List *known)
{
	JsonbIterator *it;
	JsonbValue	v;

	if (pull->tables == NULL)
		return;
	it = JsonbIteratorInit(pull->tables);
	JsonbIteratorNext(&it, &v, true);
	while (JsonbIteratorNext(&it, &v, true) == WJB_ELEM)
	{
		char	   *name = v.type == jbvString ? sync_json_text(&v) : NULL;
		bool		is_known = false;
		ListCell   *lc;

		foreach(lc, known)
			is_known |= name && strcmp(name, ((SyncListed *) lfirst(lc))->table->entity_type) == 0;
		if (!is_known)
			ereport(ERROR,
					(errcode(SYNC_ERR_BAD_REQUEST),
					 errmsg("\"%s\" is no synced table", name ? name : "?"),
					 errhint("\"tables\" holds entity types: a table's name, with its schema outside public, or the alias given to sync.enable().")));
	}
}

static void
select_tables(Pull *pull)
{
	List	   *known = sync_list_tables();
	ListCell   *lc;

	check_requested(pull, known);
	foreach(lc, known)
	{
		SyncListed *listed = lfirst(lc);
		PullTable  *p;
		bool		all;
		Bitmapset  *readable;

		if (!is_requested(pull, listed->table))
			continue;
		readable = sync_readable_columns(listed->table, &all);
		if (readable == NULL)
			continue;
		p = palloc0(sizeof(PullTable));
		p->table = listed->table;
		p->epoch = listed->epoch;
		p->readable = readable;
		p->all_readable = all;
		if (listed->table->scope)
			p->scope = held_scope(pull, listed->table->scope_id);
		pull->selected = lappend(pull->selected, p);
	}
}

/* ---- where the round starts ---- */

static void
read_instance(uint32 *incarnation, uint64 *horizon)
{
	SyncRole	saved;

	sync_become_extension(&saved);
	SPI_execute("SELECT incarnation, horizon FROM sync.instance", true, 1);
	sync_become_back(&saved);
	if (SPI_processed != 1)
		elog(ERROR, "table sync.instance is empty");
	*incarnation = (uint32) strtoul(SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1), NULL, 10);
	*horizon = strtoull(SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2), NULL, 10);
}

/* A token from a timeline that was left stays good up to the point where it was left. */
static bool
is_on_this_timeline(const SyncToken *token, TimeLineID now, XLogRecPtr insert)
{
	List	   *history;
	ListCell   *lc;

	if (token->timeline == now)
		return token->lsn <= insert;
	if (token->timeline > now)
		return false;
	history = readTimeLineHistory(now);
	foreach(lc, history)
	{
		TimeLineHistoryEntry *entry = lfirst(lc);

		if (entry->tli == token->timeline)
			return token->lsn <= entry->end;
	}
	return false;
}

/* Whether the token still says truly what its holder has; otherwise everything is reset. */
static bool
is_valid(const SyncToken *token, const SyncToken *now, uint64 horizon)
{
	const SyncSnapshot *lower = token->lower;
	const SyncSnapshot *upper = token->upper;

	if (token->system_id != now->system_id || token->incarnation != now->incarnation ||
		token->identity != now->identity)
		return false;
	if (!is_on_this_timeline(token, now->timeline, now->lsn))
		return false;
	if (lower && (lower->xmax > now->upper->xmax || lower->xmin <= horizon))
		return false;
	return upper == NULL || upper->xmax <= now->upper->xmax;
}

static const SyncHeldScope *
token_scope(const SyncToken *token, int32 scope_id)
{
	int			i;

	for (i = 0; token && i < token->nscopes; i++)
		if (token->scopes[i].scope_id == scope_id)
			return &token->scopes[i];
	return NULL;
}

static bool
has_hash(const SyncHeldScope *held, uint64 hash)
{
	int			i;

	for (i = 0; held && i < held->nhashes; i++)
		if (held->hashes[i] == hash)
			return true;
	return false;
}

/* Did the token's holder lose a value of this scope since? */
static bool
has_lost(const SyncHeldScope *before, const SyncScope *now)
{
	SyncHeldScope held = {now->id, now->nvalues, now->hashes};
	int			i;

	for (i = 0; before && i < before->nhashes; i++)
		if (!has_hash(&held, before->hashes[i]))
			return true;
	return false;
}

static SyncHeldScope *
gained_hashes(const SyncHeldScope *before, const SyncScope *now)
{
	SyncHeldScope *gained = palloc0(sizeof(SyncHeldScope));
	int			i;

	gained->scope_id = now->id;
	gained->hashes = palloc(sizeof(uint64) * Max(now->nvalues, 1));
	for (i = 0; i < now->nvalues; i++)
		if (!has_hash(before, now->hashes[i]))
			gained->hashes[gained->nhashes++] = now->hashes[i];
	return gained;
}

static void
add_withdrawn(Pull *pull, const PullTable *p)
{
	int			i;

	appendStringInfoString(&pull->withdrawn, pull->withdrawn.len ? ",{\"entity_type\":" : "{\"entity_type\":");
	sync_render_string(&pull->withdrawn, p->table->entity_type, strlen(p->table->entity_type));
	appendStringInfoString(&pull->withdrawn, ",\"keep\":[");
	for (i = 0; i < p->scope->nvalues; i++)
	{
		if (i)
			appendStringInfoChar(&pull->withdrawn, ',');
		sync_render_string(&pull->withdrawn, p->scope->values[i], strlen(p->scope->values[i]));
	}
	appendStringInfoString(&pull->withdrawn, "]}");
}

static void
put_tables(Pull *pull)
{
	SyncToken  *next = &pull->next;
	ListCell   *lc;

	next->tables = palloc(sizeof(int32) * Max(list_length(pull->selected), 1));
	next->whole = palloc(sizeof(int32) * Max(list_length(pull->selected), 1));
	foreach(lc, pull->selected)
	{
		PullTable  *p = lfirst(lc);

		next->tables[next->ntables++] = p->table->id;
		if (p->is_whole)
			next->whole[next->nwhole++] = p->table->id;
	}
}

static void
put_scopes(Pull *pull, const SyncToken *valid)
{
	SyncToken  *next = &pull->next;
	ListCell   *lc;

	next->scopes = palloc(sizeof(SyncHeldScope) * Max(list_length(pull->scopes), 1));
	foreach(lc, pull->scopes)
	{
		SyncScope  *scope = lfirst(lc);
		const SyncHeldScope *before = token_scope(valid, scope->id);
		SyncHeldScope *held = &next->scopes[next->nscopes++];
		SyncHeldScope *gained = gained_hashes(before, scope);

		held->scope_id = scope->id;
		held->nhashes = scope->nvalues;
		held->hashes = scope->hashes;
		if (gained->nhashes > 0)
			next->gained = lappend(next->gained, gained);
	}
}

/* A round that starts from a finished token, from none, or from one that no longer holds (valid == NULL). */
static void
start_round(Pull *pull, const SyncToken *valid)
{
	ListCell   *lc;

	pull->next.lower = valid ? valid->lower : NULL;
	foreach(lc, pull->selected)
	{
		PullTable  *p = lfirst(lc);

		p->is_whole = valid == NULL || valid->lower == NULL || !sync_token_covers(valid, p->table->id) ||
			!sync_snapshot_sees(valid->lower, U64FromFullTransactionId(p->epoch));
		p->is_reset = p->is_whole && pull->had_token;
		if (!p->is_whole && p->scope && has_lost(token_scope(valid, p->scope->id), p->scope))
			add_withdrawn(pull, p);
	}
	put_tables(pull);
	put_scopes(pull, valid);
	pull->next.part_table = 0;
	pull->next.part_phase = 'T';
	pull->next.part_key = "";
}

static bool
is_in(int32 id, const int32 *ids, int n)
{
	int			i;

	for (i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

/*
 * Whether the round of a mid-round token can go on: the same tables, none truncated since, no scope lost. A scope gained
 * since waits for the next round.
 */
static bool
can_continue(Pull *pull)
{
	SyncToken  *given = pull->given;
	ListCell   *lc;

	if (given->ntables != list_length(pull->selected))
		return false;
	foreach(lc, pull->selected)
	{
		PullTable  *p = lfirst(lc);

		if (!sync_token_covers(given, p->table->id) ||
			!sync_snapshot_sees(given->upper, U64FromFullTransactionId(p->epoch)))
			return false;
		if (p->scope && has_lost(token_scope(given, p->scope->id), p->scope))
			return false;
	}
	return true;
}

/* Narrows each scope to the values its round began with. */
static void
keep_round_scopes(Pull *pull)
{
	ListCell   *lc;

	foreach(lc, pull->scopes)
	{
		SyncScope  *scope = lfirst(lc);
		const SyncHeldScope *before = token_scope(pull->given, scope->id);
		int			kept = 0;
		int			i;

		for (i = 0; i < scope->nvalues; i++)
			if (has_hash(before, scope->hashes[i]))
			{
				scope->values[kept] = scope->values[i];
				scope->hashes[kept++] = scope->hashes[i];
			}
		scope->nvalues = kept;
	}
}

static void
continue_round(Pull *pull)
{
	SyncToken  *given = pull->given;
	ListCell   *lc;

	keep_round_scopes(pull);
	foreach(lc, pull->selected)
	{
		PullTable  *p = lfirst(lc);

		p->is_whole = is_in(p->table->id, given->whole, given->nwhole);
	}
	given->timeline = pull->next.timeline;
	given->lsn = pull->next.lsn;
	pull->next = *given;
}

/* A finished token that can be used as it is, or NULL: also for a broken-off round, whose whole tables were sent in part. */
static const SyncToken *
usable_token(Pull *pull, uint64 horizon)
{
	SyncToken  *given = pull->given;

	if (given == NULL || !is_valid(given, &pull->next, horizon) || given->upper)
		return NULL;
	return given;
}

static void
place_round(Pull *pull)
{
	SyncToken  *next = &pull->next;
	uint64		horizon;

	next->system_id = GetSystemIdentifier();
	next->identity = sync_identity_hash();
	next->timeline = GetWALInsertionTimeLine();
	read_instance(&next->incarnation, &horizon);
	next->upper = sync_snapshot_now();
	next->lsn = sync_flush_wal();

	if (pull->given && pull->given->upper && is_valid(pull->given, next, horizon) && can_continue(pull))
		continue_round(pull);
	else
		start_round(pull, usable_token(pull, horizon));
}

/* ---- sending rows ---- */

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
		if (phase == 'W' || has_hash(gained, p->scope->hashes[i]) == (phase == 'G'))
			values[(*n)++] = p->scope->values[i];
	return values;
}

/* " AND column = ANY (values)", compared in the column's type. */
static void
put_scope(StringInfo sql, Params *params, const Pull *pull, const PullTable *p, char phase, const char *expression)
{
	const SyncColumn *column = &p->table->columns[p->table->scope_column];
	char	   *type = format_type_be_qualified(sync_base_type(column->type));
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

static void
build_row_query(StringInfo sql, Params *params, const Pull *pull, const PullTable *p, char phase)
{
	const SyncTable *table = p->table;
	bool		by_xid = phase == 'I';

	put_columns(sql, p);
	appendStringInfo(sql, " FROM %s t WHERE true", table->sql_name);
	if (table->deleted_at >= 0)
		appendStringInfo(sql, " AND t.%s IS NULL", quote_identifier(table->columns[table->deleted_at].name));
	if (p->scope)
		put_scope(sql, params, pull, p, phase, psprintf("t.%s", quote_identifier(table->columns[table->scope_column].name)));
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

/* ---- sending tombstones ---- */

enum
{
	TS_ID = 1, TS_ENTITY, TS_SCOPE, TS_VERSION, TS_XID, TS_REASON, TS_AT, TS_BY
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
		put_scope(&sql, &params, pull, p, 'W', psprintf("t.%s", quote_identifier(table->columns[table->scope_column].name)));
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
	if (!sync_snapshot_sees(pull->next.upper, xid) || is_alive(pull, p, entity_id))
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
	appendStringInfo(&sql, "SELECT t.id, t.entity_id, t.scope_value, t.version, t.sync_xid, t.reason, t.at, t.changed_by "
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
	if (p->is_whole)
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
static bool
send_round(Pull *pull)
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

static void
put_reset(Pull *pull)
{
	const char *separator = ",\"reset\":[";
	bool		any = false;
	ListCell   *lc;

	foreach(lc, pull->selected)
	{
		PullTable  *p = lfirst(lc);

		if (!p->is_reset)
			continue;
		appendStringInfoString(&pull->out, separator);
		sync_render_string(&pull->out, p->table->entity_type, strlen(p->table->entity_type));
		separator = ",";
		any = true;
	}
	if (any)
		appendStringInfoChar(&pull->out, ']');
}

static void
finish_page(Pull *pull, bool is_done)
{
	SyncToken  *next = &pull->next;
	uint64		number = ((uint64) (next->incarnation & 0xfff) << 41) | (next->upper->xmin & ((UINT64CONST(1) << 41) - 1));

	appendStringInfoChar(&pull->out, ']');
	if (pull->withdrawn.len)
		appendStringInfo(&pull->out, ",\"withdrawn\":[%s]", pull->withdrawn.data);
	put_reset(pull);
	if (is_done)
	{
		next->lower = next->upper;
		next->upper = NULL;
	}
	appendStringInfo(&pull->out, ",\"has_more\":%s,\"next_sync_token\":\"%s\",\"server_time\":", is_done ? "false" : "true",
					 sync_token_write(next));
	sync_render_timestamp(&pull->out, GetCurrentTimestamp());
	appendStringInfo(&pull->out, ",\"n\":" UINT64_FORMAT "}", number);
}

static void
check_state(void)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(SYNC_ERR_WRONG_STATE),
				 errmsg("cannot pull during recovery"),
				 errhint("A standby does not know which transactions are running: pull from the primary.")));
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		ereport(ERROR,
				(errcode(SYNC_ERR_WRONG_STATE),
				 errmsg("cannot pull in a transaction that has written"),
				 errhint("Its own later changes would be missed: pull in a transaction of its own.")));
}

/* A row's locks and this snapshot go together: everything below runs in the snapshot of the calling statement. */
Datum
sync_pull(PG_FUNCTION_ARGS)
{
	Pull		pull = {0};
	Jsonb	   *request = sync_request(fcinfo);
	MemoryContext caller = CurrentMemoryContext;
	text	   *answer;
	bool		is_done;

	check_state();
	SPI_connect();
	read_request(&pull, request);
	pull.deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), SYNC_PAGE_MS);
	initStringInfo(&pull.withdrawn);
	initStringInfo(&pull.out);
	appendStringInfoString(&pull.out, "{\"changes\":[");
	select_tables(&pull);
	place_round(&pull);
	is_done = send_round(&pull);
	finish_page(&pull, is_done);
	MemoryContextSwitchTo(caller);
	answer = cstring_to_text_with_len(pull.out.data, pull.out.len);
	SPI_finish();
	PG_RETURN_TEXT_P(answer);
}

Datum
sync_session_state(PG_FUNCTION_ARGS)
{
	Pull		pull = {0};
	Jsonb	   *request = sync_request(fcinfo);
	MemoryContext caller = CurrentMemoryContext;
	text	   *answer;
	const char *separator = "";
	ListCell   *lc;

	check_state();
	SPI_connect();
	read_request(&pull, request);
	select_tables(&pull);
	initStringInfo(&pull.out);
	appendStringInfoString(&pull.out, "{\"tables\":[");
	foreach(lc, pull.selected)
	{
		PullTable  *p = lfirst(lc);

		appendStringInfo(&pull.out, "%s{\"id\":%d,\"full\":%s}", separator, p->table->id, p->all_readable ? "true" : "false");
		separator = ",";
	}
	appendStringInfoString(&pull.out, "],\"scopes\":{");
	separator = "";
	foreach(lc, pull.scopes)
	{
		SyncScope  *scope = lfirst(lc);
		int			i;

		appendStringInfoString(&pull.out, separator);
		sync_render_string(&pull.out, scope->name, strlen(scope->name));
		appendStringInfoString(&pull.out, ":[");
		for (i = 0; i < scope->nvalues; i++)
		{
			if (i)
				appendStringInfoChar(&pull.out, ',');
			sync_render_string(&pull.out, scope->values[i], strlen(scope->values[i]));
		}
		appendStringInfoChar(&pull.out, ']');
		separator = ",";
	}
	appendStringInfoString(&pull.out, "}}");
	MemoryContextSwitchTo(caller);
	answer = cstring_to_text_with_len(pull.out.data, pull.out.len);
	SPI_finish();
	PG_RETURN_TEXT_P(answer);
}
