/*
 * page.c - a page of pull: runs a round's parts from the token's place on and sends rows until the page is full.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "pull.h"

#include "executor/spi.h"
#include "executor/tuptable.h"
#include "utils/memutils.h"

typedef enum PartEnd
{
	PART_FINISHED,				/* the query is exhausted */
	PART_STOPPED,				/* the page was full first */
	PART_LIMITED				/* it came to its LIMIT: there may be more */
} PartEnd;

/* The clock is read only now and then: it costs as much as a column. */
static bool
is_page_full(const Pull *pull)
{
	int			seen = pull->sent + pull->skipped;

	return pull->sent >= pull->limit || pull->out.len >= SYNC_PAGE_BYTES ||
		(seen > 0 && (seen % 16 == 1 || pull->skipped > 0) && GetCurrentTimestamp() > pull->deadline);
}

static void
comma(Pull *pull)
{
	if (pull->sent++ > 0)
		sync_put(&pull->out, ",", 1);
}

/* ---- sending rows ---- */

/* Takes a query's rows as the executor makes them, without a copy. */
typedef struct RowReceiver
{
	DestReceiver pub;
	Pull	   *pull;
	const PullTable *p;
	char		phase;
	const char *value;			/* of the scope, where the part goes value by value */
	int			seen;
	bool		is_stopped;
	MemoryContext row_context;
} RowReceiver;

/* Was this version of the row written by the device that asks? */
static bool
is_origin(const Pull *pull, const SyncTable *table, TupleTableSlot *slot)
{
	SyncWrite	newest;
	bool		is_copy;
	HeapTuple	tuple;

	if (pull->device == 0 || slot->tts_isnull[table->clock_att - 1])
		return false;
	tuple = ExecFetchSlotHeapTuple(slot, false, &is_copy);
	sync_clock_newest(table, tuple, slot->tts_tupleDescriptor, &newest);
	return newest.device == pull->device && newest.version == DatumGetInt64(slot->tts_values[table->version_att - 1]);
}

static void
send_row(Pull *pull, const PullTable *p, char phase, TupleTableSlot *slot, uint64 xid)
{
	/* A stamp from a restore lies beyond the counter: it travels with whole tables only. */
	if (!sync_snapshot_sees(pull->next.upper, xid) && (phase == 'I' || xid < pull->next.upper->xmax))
	{
		pull->skipped++;
		return;
	}
	comma(pull);
	if (p->table->verify)
		pull_count_sent(pull, p, slot);
	sync_render_change(&pull->out, p->table, slot->tts_values, slot->tts_isnull, p->all_readable ? NULL : p->readable,
					   is_origin(pull, p->table, slot));
}

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	RowReceiver *r = (RowReceiver *) self;
	Pull	   *pull = r->pull;
	MemoryContext before;
	uint64		xid;

	if (pull->is_full)
	{
		r->is_stopped = true;
		return false;
	}
	slot_getallattrs(slot);
	xid = U64FromFullTransactionId(DatumGetFullTransactionId(slot->tts_values[r->p->table->xid_att - 1]));
	before = MemoryContextSwitchTo(r->row_context);
	send_row(pull, r->p, r->phase, slot, xid);
	pull->is_full = is_page_full(pull);
	r->seen++;
	/* The place is written for the last row only: of the page, or of the query (both at once, when a row before it was skipped). */
	if (pull->is_full || r->seen > pull->limit)
	{
		MemoryContextSwitchTo(pull->context);
		pull->next.part_key = pull_row_place(pull, r->p, r->phase, r->value, slot->tts_values);
	}
	MemoryContextSwitchTo(before);
	MemoryContextReset(r->row_context);
	return true;
}

static void
ignore_startup(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
ignore(DestReceiver *self)
{
}

static PartEnd
send_rows(Pull *pull, const PullTable *p, char phase, PullRange range, const char *value)
{
	RowReceiver r = {.pub = {receive_row, ignore_startup, ignore, ignore, DestTuplestore}, .pull = pull, .p = p, .phase = phase,
	.value = value};

	r.row_context = AllocSetContextCreate(CurrentMemoryContext, "sync row", ALLOCSET_DEFAULT_SIZES);
	pull_query_rows(pull, p, phase, range, value, &r.pub);
	MemoryContextDelete(r.row_context);
	return r.is_stopped ? PART_STOPPED : r.seen > pull->limit ? PART_LIMITED : PART_FINISHED;
}

/* ---- sending tombstones ---- */

/* Is the key alive and within the caller's reach? Then its row says more than the tombstone of its past. */
static bool
is_alive(const Pull *pull, const PullTable *p, const char *entity_id)
{
	Datum		keys[INDEX_MAX_KEYS];

	return sync_parse_entity_id(p->table, entity_id, keys) && pull_is_alive(pull, p, keys);
}

/* Is it none of the caller's, by the policies of a table whose tombstones hold what they look at? */
static bool
is_foreign(const PullTable *p, HeapTuple row, TupleDesc desc)
{
	return p->policies && !sync_policy_allows(p->policies, SPI_getvalue(row, desc, SYNC_GRAVE_OLD));
}

static void
send_tombstone(Pull *pull, const PullTable *p, HeapTuple row, TupleDesc desc)
{
	bool		isnull;
	uint64		xid = U64FromFullTransactionId(DatumGetFullTransactionId(SPI_getbinval(row, desc, SYNC_GRAVE_XID, &isnull)));
	char	   *entity_id = SPI_getvalue(row, desc, SYNC_GRAVE_ENTITY);

	pull->next.part_key = psprintf("[\"" UINT64_FORMAT "\",\"%s\"]", xid, SPI_getvalue(row, desc, SYNC_GRAVE_ID));
	if (!sync_snapshot_sees(pull->next.upper, xid) || is_foreign(p, row, desc) || is_alive(pull, p, entity_id))
	{
		pull->skipped++;
		return;
	}
	comma(pull);
	sync_render_tombstone(&pull->out, p->table, row, desc);
}

/* Read as the extension's owner, for holders of the old scope value only; whether the key lives is asked as the caller. */
static PartEnd
send_tombstones(Pull *pull, const PullTable *p, PullRange range)
{
	SyncReading reading;
	SyncRole	saved;
	SPITupleTable *rows;
	uint64		n;
	uint64		i;

	sync_become_extension(&saved);
	pull_query_tombstones(pull, p, range);
	sync_become_back(&saved);
	rows = SPI_tuptable;
	n = SPI_processed;
	for (i = 0; i < n; i++)
	{
		if (pull->is_full)
			return PART_STOPPED;
		sync_reading_begin(&reading, "table", p->table->entity_type);
		send_tombstone(pull, p, rows->vals[i], rows->tupdesc);
		sync_reading_end(&reading);
		pull->is_full = is_page_full(pull);
	}
	SPI_freetuptable(rows);
	return n > (uint64) pull->limit ? PART_LIMITED : PART_FINISHED;
}

bool
pull_has_tombstones(const Pull *pull, const PullTable *p)
{
	PullRange	range;
	SyncRole	saved;
	SPITupleTable *rows;
	uint64		n;
	uint64		i;

	for (range = RANGE_RUNNING; range <= RANGE_SINCE; range++)
	{
		if (!pull_has_range(pull, p, 'T', range, NULL))
			continue;
		sync_become_extension(&saved);
		pull_query_tombstones(pull, p, range);
		sync_become_back(&saved);
		if (SPI_processed > (uint64) pull->limit)	/* too many to look at each */
			return true;
		rows = SPI_tuptable;
		n = SPI_processed;
		for (i = 0; i < n; i++)
		{
			bool		isnull;
			Datum		xid = SPI_getbinval(rows->vals[i], rows->tupdesc, SYNC_GRAVE_XID, &isnull);

			if (sync_snapshot_sees(pull->next.upper, U64FromFullTransactionId(DatumGetFullTransactionId(xid))) &&
				!is_foreign(p, rows->vals[i], rows->tupdesc))
				return true;
		}
	}
	return false;
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
	pull_part_values(pull, p, 'G', &n);
	return n > 0;
}

/* Of one range; one that comes to its LIMIT has moved the place, from which the ranges are to be asked anew. */
static PartEnd
send_range(Pull *pull, const PullTable *p, char phase, PullRange range, const char *value)
{
	if (!pull_has_range(pull, p, phase, range, value))
		return PART_FINISHED;
	return phase == 'T' ? send_tombstones(pull, p, range) : send_rows(pull, p, phase, range, value);
}

/* true when nothing is left of them */
static bool
send_ranges(Pull *pull, const PullTable *p, char phase, const char *value)
{
	bool		is_whole = phase == 'W' || phase == 'G';
	PullRange	first = is_whole ? RANGE_ALL : RANGE_THIS;
	PullRange	last = is_whole ? RANGE_ALL : RANGE_SINCE;
	PullRange	range = first;

	while (range <= last)
	{
		PartEnd		end = send_range(pull, p, phase, range, value);

		if (end == PART_STOPPED)
			return false;
		range = end == PART_LIMITED ? first : range + 1;
	}
	return true;
}

static bool
send_part(Pull *pull, const PullTable *p, char phase)
{
	const char *from = pull_place_value(pull, p, phase);
	char	  **values;
	int			n;
	int			i;

	if (!pull_by_value(pull, p, phase))
		return send_ranges(pull, p, phase, NULL);
	values = pull_part_values(pull, p, phase, &n);
	for (i = 0; i < n; i++)
		if ((from == NULL || strcmp(values[i], from) >= 0) && !send_ranges(pull, p, phase, values[i]))
			return false;
	return true;
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
			pull_check_place(pull, p, *phase);
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

