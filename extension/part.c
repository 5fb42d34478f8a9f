/*
 * part.c - the queries of a round's parts: their texts, made once for a role and kept as plans, and their parameters, which each call has its own.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "pull.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "nodes/parsenodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/* A query being put together. sql NULL: only its parameters and its key are wanted, the plan is there. */
typedef struct PartQuery
{
	const Pull *pull;
	const PullTable *p;
	char		phase;
	PullRange	range;
	const char *value;			/* of the scope, where the part goes value by value; NULL: of all */
	char	  **place;			/* see pull_place */
	StringInfo	sql;
	SyncParams	params;
	SyncPlanKey key;
} PartQuery;

enum
{
	SHAPE_HAS_PLACE = 1 << 8,
	SHAPE_ONE_VALUE = 1 << 9,
	SHAPE_IN_INDEX = 1 << 10,
	SHAPE_RUNNING = 1 << 11,
	SHAPE_THIS = 1 << 12
};

static void put(PartQuery *q, const char *format,...) pg_attribute_printf(2, 3);

static void
put(PartQuery *q, const char *format,...)
{
	int			save_errno = errno;

	while (q->sql)
	{
		va_list		args;
		int			needed;

		errno = save_errno;
		va_start(args, format);
		needed = appendStringInfoVA(q->sql, format, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(q->sql, needed);
	}
}

static uint64
place_xid(char **place)
{
	return place ? strtoull(place[0], NULL, 10) : 0;
}

/* Transactions that ran when the lower cursor was taken and that the upper snapshot sees, of those behind the place. */
static Datum
finished_since(const SyncToken *token, char **place, int *n)
{
	const SyncSnapshot *lower = token->lower;
	Datum	   *ids = palloc(sizeof(Datum) * Max(lower->nxip, 1));
	int			i;

	*n = 0;
	for (i = 0; i < lower->nxip; i++)
		if (lower->xip[i] > place_xid(place) && sync_snapshot_sees(token->upper, lower->xip[i]))
			ids[(*n)++] = UInt64GetDatum(lower->xip[i]);
	return PointerGetDatum(construct_array(ids, *n, XID8OID, 8, true, TYPALIGN_DOUBLE));
}

static uint64
since(const SyncToken *token, char **place)
{
	return Max(token->lower->xmax, place ? place_xid(place) + 1 : 0);
}

bool
pull_has_range(const Pull *pull, const PullTable *p, char phase, PullRange range, const char *value)
{
	char	  **place = range == RANGE_ALL ? NULL : pull_place(pull, p, phase, value);
	int			n;

	if (range == RANGE_ALL)
		return true;
	if (range == RANGE_THIS)
		return place != NULL;
	if (range == RANGE_SINCE)
		return since(&pull->next, place) < pull->next.upper->xmax;
	finished_since(&pull->next, place, &n);
	return n > 0;
}

/*
 * Not seen by the lower cursor, and below the upper snapshot, in ranges that follow each other in the order of ids: the rest of the transaction that the place
 * is in, what ran when the cursor was taken, what began since. Each is a range of the index, so that no page looks again at what those before it sent: one
 * transaction may have written a million rows.
 */
static void
put_changed(PartQuery *q)
{
	const SyncToken *token = &q->pull->next;
	int			n;

	if (q->range == RANGE_THIS)
	{
		put(q, " AND t.sync_xid OPERATOR(pg_catalog.<=) $%d", sync_param(&q->params, XID8OID, UInt64GetDatum(place_xid(q->place))));
		q->key.shape |= SHAPE_THIS;
		return;
	}
	if (q->range == RANGE_RUNNING)
	{
		put(q, " AND t.sync_xid OPERATOR(pg_catalog.=) ANY ($%d)",
			sync_param(&q->params, get_array_type(XID8OID), finished_since(token, q->place, &n)));
		q->key.shape |= SHAPE_RUNNING;
		return;
	}
	put(q, " AND t.sync_xid OPERATOR(pg_catalog.>=) $%d", sync_param(&q->params, XID8OID, UInt64GetDatum(since(token, q->place))));
	put(q, " AND t.sync_xid OPERATOR(pg_catalog.<) $%d", sync_param(&q->params, XID8OID, UInt64GetDatum(token->upper->xmax)));
}

static uint64
least_xid(const PartQuery *q)
{
	const SyncSnapshot *lower = q->pull->next.lower;

	if (q->range == RANGE_THIS)
		return place_xid(q->place);
	return q->range == RANGE_RUNNING ? lower->xmin : lower->xmax;
}

/* The index holds only ids above the one that enabled the table; the literal lets the planner use it. */
static void
put_index_literal(PartQuery *q)
{
	uint64		enabled = U64FromFullTransactionId(q->p->table->enabled_xid);

	if (least_xid(q) <= enabled)
		return;
	q->key.shape |= SHAPE_IN_INDEX;
	put(q, " AND t.sync_xid OPERATOR(pg_catalog.>) '" UINT64_FORMAT "'::pg_catalog.xid8", enabled);
}

/* The scope values a part concerns: those held before, or those gained in this round. */
char	  **
pull_part_values(const Pull *pull, const PullTable *p, char phase, int *n)
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

/* " AND column = ANY (values)", compared in the column's type; with one value an index can keep its order. */
static void
put_scope(PartQuery *q, char phase, const char *expression)
{
	const SyncColumn *column = q->p->table->scope_column;
	int			n;
	char	  **values = pull_part_values(q->pull, q->p, phase, &n);
	int			param;

	if (q->value)
	{
		values[0] = unconstify(char *, q->value);
		n = 1;
	}
	if (n == 1)
		param = sync_param(&q->params, TEXTOID, CStringGetTextDatum(values[0]));
	else
		param = sync_param(&q->params, TEXTARRAYOID, sync_text_array(values, n));
	if (n == 1)
		q->key.shape |= SHAPE_ONE_VALUE;
	if (q->sql)
	{
		/* bpchar and bit without a length mean "of any length" only under these names. */
		char	   *type = format_type_extended(column->base, -1, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);

		put(q, " AND %s::%s %s ", expression, type, sync_operator(column->type, false));
		if (n == 1)
			put(q, "$%d::pg_catalog.text::%s", param, type);
		else
			put(q, "ANY ($%d::pg_catalog.text[]::%s[])", param, type);
	}
}

static void
put_row_scope(PartQuery *q, char phase)
{
	if (q->p->scope)
		put_scope(q, phase, q->sql ? psprintf("t.%s", quote_identifier(q->p->table->scope_column->name)) : NULL);
}

static void
put_living(PartQuery *q)
{
	const SyncTable *table = q->p->table;

	if (q->sql && table->deleted_at >= 0)
		put(q, " AND t.%s IS NULL", quote_identifier(table->columns[table->deleted_at].name));
}

/* The select list keeps attribute numbers, so that a row is read alike wherever it comes from; what may not be read is NULL. */
static void
put_columns(PartQuery *q)
{
	const SyncTable *table = q->p->table;
	char	  **names = palloc0(sizeof(char *) * (table->natts + 1));
	int			i;

	for (i = 0; i < table->ncolumns; i++)
		if (bms_is_member(i, q->p->readable))
			names[table->columns[i].attnum] = psprintf("t.%s", quote_identifier(table->columns[i].name));
	names[table->version_att] = "t.sync_version";
	names[table->xid_att] = "t.sync_xid";
	names[table->at_att] = "t.sync_at";
	names[table->by_att] = "t.sync_by";
	names[table->clock_att] = "t.sync_clock";
	if (table->scope_column)
		names[table->scope_column->attnum] = psprintf("t.%s", quote_identifier(table->scope_column->name));
	put(q, "SELECT ");
	for (i = 1; i <= table->natts; i++)
		put(q, "%s%s", i > 1 ? ", " : "", names[i] ? names[i] : "NULL");
}

static void
put_key_list(PartQuery *q)
{
	const SyncTable *table = q->p->table;
	int			i;

	for (i = 0; q->sql && i < table->nkeys; i++)
		put(q, "%st.%s", i ? ", " : "", quote_identifier(table->columns[table->keys[i]].name));
}

/*
 * " AND (order columns) > (the last place)". Of increments with the transaction's id, which put_changed bounds from above: as an equality it would let the
 * planner go along the primary key, through all rows of the table.
 */
static void
put_place(PartQuery *q)
{
	const SyncTable *table = q->p->table;
	char	  **texts = q->place;
	int			i;

	if (texts == NULL || q->range == RANGE_RUNNING || q->range == RANGE_SINCE)
		return;
	q->key.shape |= SHAPE_HAS_PLACE;
	put(q, q->phase == 'I' ? " AND (t.sync_xid, " : " AND (");
	put_key_list(q);
	put(q, ") > (");
	if (q->phase == 'I')
	{
		put(q, "$%d, ", sync_param(&q->params, XID8OID, UInt64GetDatum(place_xid(q->place))));
		texts++;
	}
	for (i = 0; i < table->nkeys; i++)
	{
		const SyncColumn *column = &table->columns[table->keys[i]];

		put(q, "%s$%d", i ? ", " : "", sync_param(&q->params, column->type, sync_parse_text(column, texts[i])));
	}
	put(q, ")");
}

static void
put_rows(PartQuery *q)
{
	if (q->sql)
	{
		put_columns(q);
		put(q, " FROM %s t WHERE true", q->p->table->sql_name);
	}
	put_living(q);
	put_row_scope(q, q->phase == 'D' ? 'W' : q->phase);
	if (q->phase == 'D')
		return;
	if (q->phase == 'I')
	{
		put_changed(q);
		put_index_literal(q);
	}
	put_place(q);
	put(q, q->phase == 'I' ? " ORDER BY t.sync_xid, " : " ORDER BY ");
	put_key_list(q);
	put(q, " LIMIT %d", q->pull->limit + 1);
}

static void
put_tombstones(PartQuery *q)
{
	put(q, "SELECT " SYNC_GRAVE_COLUMNS " FROM sync.tombstone t WHERE t.table_id OPERATOR(pg_catalog.=) $%d",
		sync_param(&q->params, INT4OID, Int32GetDatum(q->p->table->id)));
	put_changed(q);
	if (q->p->scope)
		put_scope(q, 'I', "t.scope_value");
	if (q->range == RANGE_THIS)
	{
		int			xid = sync_param(&q->params, XID8OID, UInt64GetDatum(place_xid(q->place)));

		put(q, " AND (t.sync_xid, t.id) > ($%d, $%d)", xid, sync_param(&q->params, INT8OID, Int64GetDatum(strtoll(q->place[1], NULL, 10))));
	}
	put(q, " ORDER BY t.sync_xid, t.id LIMIT %d", q->pull->limit + 1);
}

static void
put_alive(PartQuery *q, const Datum *keys)
{
	const SyncTable *table = q->p->table;
	int			i;

	if (q->sql)
	{
		put(q, "SELECT 1 FROM %s t WHERE ", table->sql_name);
		sync_put_key(q->sql, table, 1, q->params.types);
	}
	for (i = 0; i < table->nkeys; i++)
		sync_param(&q->params, table->columns[table->keys[i]].type, keys[i]);
	put_living(q);
	put_row_scope(q, 'W');
}

/* Is there a row, or a tombstone, with a stamp from here on? */
static void
put_changes(PartQuery *q, uint64 since)
{
	const SyncTable *table = q->p->table;

	if (q->phase == 'C')
	{
		put(q, "SELECT 1 FROM %s t WHERE t.sync_xid OPERATOR(pg_catalog.>=) $%d", table->from_name, sync_param(&q->params, XID8OID, UInt64GetDatum(since)));
		if (since > U64FromFullTransactionId(table->enabled_xid))
		{
			q->key.shape |= SHAPE_IN_INDEX;
			put(q, " AND t.sync_xid OPERATOR(pg_catalog.>) '" UINT64_FORMAT "'::pg_catalog.xid8", U64FromFullTransactionId(table->enabled_xid));
		}
		put_row_scope(q, 'W');
	}
	else
	{
		put(q, "SELECT 1 FROM sync.tombstone t WHERE t.sync_xid OPERATOR(pg_catalog.>=) $%d", sync_param(&q->params, XID8OID, UInt64GetDatum(since)));
		put(q, " AND t.table_id OPERATOR(pg_catalog.=) $%d", sync_param(&q->params, INT4OID, Int32GetDatum(table->id)));
		if (q->p->scope)
			put_scope(q, 'W', "t.scope_value");
	}
	put(q, " LIMIT 1");
}

static void
put_query(PartQuery *q, const Datum *keys, uint64 since)
{
	q->params.n = 0;
	q->key.shape = (unsigned char) q->phase;
	if (q->phase == 'T')
		put_tombstones(q);
	else if (q->phase == 'K')
		put_alive(q, keys);
	else if (q->phase == 'C' || q->phase == 'c')
		put_changes(q, since);
	else
		put_rows(q);
}

/* Columns that may be read are part of what a plan is. */
static uint64
readable_hash(const PullTable *p)
{
	if (p->all_readable || p->readable == NULL)
		return 0;
	return sync_hash((const char *) p->readable->words, sizeof(bitmapword) * p->readable->nwords, 1);
}

/* By ranges of an index, whatever their values: one plan serves all. The others depend on them. */
static int
plan_options(char phase)
{
	return phase == 'T' || phase == 'I' || phase == 'K' || phase == 'C' || phase == 'c' ? CURSOR_OPT_GENERIC_PLAN : 0;
}

static void
run(PartQuery *q, const Datum *keys, uint64 since, DestReceiver *dest)
{
	SPIPlanPtr	plan;

	q->key.table = q->p->table->generation;
	q->key.readable = readable_hash(q->p);
	q->key.limit = q->pull->limit;
	put_query(q, keys, since);
	plan = sync_plan_find(&q->key);
	if (plan == NULL)
	{
		StringInfoData sql;

		initStringInfo(&sql);
		q->sql = &sql;
		put_query(q, keys, since);
		plan = sync_plan_keep(&q->key, sql.data, &q->params, plan_options(q->phase));
	}
	if (q->range != RANGE_ALL)
		sync_plan_along_index(plan);
	sync_plan_run(plan, &q->params, dest);
}

void
pull_query_rows(const Pull *pull, const PullTable *p, char phase, PullRange range, const char *value, DestReceiver *dest)
{
	PartQuery	q = {.pull = pull, .p = p, .phase = phase, .range = range, .value = value};
	SyncReading reading;

	if (phase != 'D')
		q.place = pull_place(pull, p, phase, value);
	sync_reading_begin(&reading, "table", p->table->entity_type);
	run(&q, NULL, 0, dest);
	sync_reading_end(&reading);
}

void
pull_query_tombstones(const Pull *pull, const PullTable *p, PullRange range)
{
	PartQuery	q = {.pull = pull, .p = p, .phase = 'T', .range = range, .place = pull_place(pull, p, 'T', NULL)};

	run(&q, NULL, 0, NULL);
}

static bool
has_any(const Pull *pull, const PullTable *p, char phase, uint64 since)
{
	PartQuery	q = {.pull = pull, .p = p, .phase = phase};

	run(&q, NULL, since, NULL);
	return SPI_processed > 0;
}

/* As the table's owner, since what has left the caller's sight counts too; nothing but yes or no comes of it. */
bool
pull_has_changed(const Pull *pull, const PullTable *p, uint64 since)
{
	SyncRole	saved;
	bool		has_changed;

	sync_become(&saved, sync_table_owner(p->table));
	has_changed = has_any(pull, p, 'C', since);
	sync_become_back(&saved);
	if (has_changed)
		return true;
	sync_become_extension(&saved);
	has_changed = has_any(pull, p, 'c', since);
	sync_become_back(&saved);
	return has_changed;
}

bool
pull_is_alive(const Pull *pull, const PullTable *p, const Datum *keys)
{
	PartQuery	q = {.pull = pull, .p = p, .phase = 'K'};

	run(&q, keys, 0, NULL);
	return SPI_processed > 0;
}
