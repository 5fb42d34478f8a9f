/*
 * clock.c - sync_clock: who last wrote each column, and when.
 *
 * Format 3: a byte for the format, the number of writes, then each write, oldest first: a byte of flags and number of columns; unless it is the
 * write of the row's own sync_version and sync_at, how far it lies behind them; device and queue_id hash unless by SQL; the hashes of its
 * columns' names, no columns meaning the rest. Names, because attribute numbers differ between partitions and after a restore.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "access/htup_details.h"
#include "executor/spi.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(sync_clock);

#define CLOCK_FORMAT 3
#define BY_DEVICE 1
#define IS_ROWS 2				/* version and time are the row's */
#define COLUMNS_SHIFT 2
#define MANY_COLUMNS 63			/* their number follows */
#define MAX_WRITES 250

/* Columns of a write as they stand in the bytes read, or in the table's order for a new one. */
typedef struct Entry
{
	SyncWrite	write;
	bool		is_rest;
	int			ncolumns;
	uint32	   *columns;
} Entry;

typedef struct Clock
{
	int			n;
	Entry	   *entries;
} Clock;

/* row: what the row says of its last write; places in time are told from there. */
typedef struct Reader
{
	const unsigned char *p;
	const unsigned char *end;
	bool		failed;
	const SyncWrite *row;
	uint32	   *columns;		/* room for those of the next write */
} Reader;

static uint64
get_varint(Reader *r)
{
	uint64		n = 0;
	int			shift = 0;

	while (r->p < r->end && shift < 64)
	{
		unsigned char byte = *r->p++;

		n |= (uint64) (byte & 0x7f) << shift;
		if (byte < 0x80)
			return n;
		shift += 7;
	}
	r->failed = true;
	return 0;
}

static void
get_bytes(Reader *r, void *out, int len)
{
	if (r->end - r->p < len)
	{
		r->failed = true;
		memset(out, 0, len);
		return;
	}
	memcpy(out, r->p, len);
	r->p += len;
}

static uint64
get_64(Reader *r)
{
	uint64		n;

	get_bytes(r, &n, sizeof(n));
	return pg_ntoh64(n);
}

/* Differences wrap around, so that any two times and versions have one. */
static void
get_place(Reader *r, SyncWrite *write)
{
	uint64		versions = get_varint(r);
	uint64		zigzag = get_varint(r);

	write->version = (int64) ((uint64) r->row->version - versions);
	write->edited_at = (TimestampTz) ((uint64) r->row->edited_at - ((zigzag >> 1) ^ -(zigzag & 1)));
}

static void
get_entry(Reader *r, Entry *entry)
{
	unsigned char flags = 0;
	int			i;

	get_bytes(r, &flags, 1);
	entry->ncolumns = flags >> COLUMNS_SHIFT;
	if (entry->ncolumns == MANY_COLUMNS)
		entry->ncolumns = (int) get_varint(r);
	entry->is_rest = entry->ncolumns == 0;
	entry->write = *r->row;
	if (!(flags & IS_ROWS))
		get_place(r, &entry->write);
	entry->write.device = flags & BY_DEVICE ? get_64(r) : 0;
	entry->write.queue = flags & BY_DEVICE ? get_64(r) : 0;
	entry->columns = r->columns;
	if (r->failed || entry->ncolumns < 0 || (r->end - r->p) / (int) sizeof(uint32) < entry->ncolumns)
	{
		r->failed = true;
		return;
	}
	for (i = 0; i < entry->ncolumns; i++)
	{
		get_bytes(r, &entry->columns[i], sizeof(uint32));
		entry->columns[i] = pg_ntoh32(entry->columns[i]);
	}
	r->columns += entry->ncolumns;
}

/* What a row without a clock says of itself. */
static SyncWrite
write_of_row(const SyncTable *table, HeapTuple tuple, TupleDesc desc)
{
	SyncWrite	write = {0};
	bool		isnull;

	write.version = DatumGetInt64(heap_getattr(tuple, table->version_att, desc, &isnull));
	write.edited_at = DatumGetTimestampTz(heap_getattr(tuple, table->at_att, desc, &isnull));
	return write;
}

/* Room for one more entry than the row has. */
static Clock
read_clock(const SyncWrite *row, Datum datum, bool isnull)
{
	Clock		clock = {0};
	bytea	   *bytes;
	Reader		r = {.row = row};
	int			i;

	if (!isnull)
	{
		bytes = DatumGetByteaPP(datum);
		r.p = (unsigned char *) VARDATA_ANY(bytes);
		r.end = r.p + VARSIZE_ANY_EXHDR(bytes);
	}
	if (r.end - r.p >= 2 && *r.p++ == CLOCK_FORMAT)
	{
		clock.n = *r.p++;
		clock.entries = palloc(sizeof(Entry) * (clock.n + 1) + (r.end - r.p));
		r.columns = (uint32 *) &clock.entries[clock.n + 1];
		for (i = 0; i < clock.n && !r.failed; i++)
			get_entry(&r, &clock.entries[i]);
	}
	if (clock.n > 0 && !r.failed)
		return clock;
	clock.n = 1;
	clock.entries = palloc(sizeof(Entry) * 2);
	clock.entries[0] = (Entry) {.write = *row, .is_rest = true};
	return clock;
}

static Clock
clock_of_row(const SyncTable *table, HeapTuple tuple, TupleDesc desc)
{
	SyncWrite	row = write_of_row(table, tuple, desc);
	bool		isnull;
	Datum		datum = heap_getattr(tuple, table->clock_att, desc, &isnull);

	return read_clock(&row, datum, isnull);
}

static bool
has_column(const Entry *entry, uint32 name_hash)
{
	int			i;

	for (i = 0; i < entry->ncolumns; i++)
		if (entry->columns[i] == name_hash)
			return true;
	return false;
}

static bool
is_orphan(const SyncTable *table, uint32 name_hash)
{
	int			i;

	for (i = 0; i < table->ncolumns; i++)
		if (table->columns[i].name_hash == name_hash)
			return false;
	return true;
}

/* The newest write of the rest, and of columns that have been renamed or dropped since: a column that is not listed may have been one of them. */
static void
write_of_unlisted(const SyncTable *table, const Clock *clock, SyncWrite *out)
{
	bool		found = false;
	int			i;
	int			c;

	for (i = 0; i < clock->n; i++)
	{
		const Entry *entry = &clock->entries[i];
		bool		counts = entry->is_rest;

		for (c = 0; c < entry->ncolumns && !counts; c++)
			counts = is_orphan(table, entry->columns[c]);
		if (counts && (!found || entry->write.version > out->version))
		{
			*out = entry->write;
			found = true;
		}
	}
}

/* The last write of every column at once, indexed like table->columns. */
SyncWrite *
sync_clock_columns(const SyncTable *table, HeapTuple tuple, TupleDesc desc)
{
	Clock		clock = clock_of_row(table, tuple, desc);
	SyncWrite  *writes = palloc(sizeof(SyncWrite) * Max(table->ncolumns, 1));
	SyncWrite	unlisted = write_of_row(table, tuple, desc);
	int			i;
	int			c;

	write_of_unlisted(table, &clock, &unlisted);
	for (c = 0; c < table->ncolumns; c++)
	{
		writes[c] = unlisted;
		for (i = 0; i < clock.n; i++)
			if (has_column(&clock.entries[i], table->columns[c].name_hash))
				writes[c] = clock.entries[i].write;
	}
	return writes;
}

void
sync_clock_newest(const SyncTable *table, HeapTuple tuple, TupleDesc desc, SyncWrite *out)
{
	Clock		clock = clock_of_row(table, tuple, desc);
	int			i;

	*out = clock.entries[0].write;
	for (i = 1; i < clock.n; i++)
		if (clock.entries[i].write.version > out->version)
			*out = clock.entries[i].write;
}

static void
put_varint(unsigned char **p, uint64 n)
{
	while (n >= 0x80)
	{
		*(*p)++ = (unsigned char) (n | 0x80);
		n >>= 7;
	}
	*(*p)++ = (unsigned char) n;
}

static void
put_64(unsigned char **p, uint64 n)
{
	n = pg_hton64(n);
	memcpy(*p, &n, sizeof(n));
	*p += sizeof(n);
}

static void
put_entry(unsigned char **p, const Entry *entry, int64 version, TimestampTz at)
{
	const SyncWrite *write = &entry->write;
	bool		by_device = write->device != 0;
	bool		is_rows = write->version == version && write->edited_at == at;
	int64		behind = (int64) ((uint64) at - (uint64) write->edited_at);
	int			ncolumns = entry->is_rest ? 0 : entry->ncolumns;
	int			i;

	*(*p)++ = (by_device ? BY_DEVICE : 0) | (is_rows ? IS_ROWS : 0) | Min(ncolumns, MANY_COLUMNS) << COLUMNS_SHIFT;
	if (ncolumns >= MANY_COLUMNS)
		put_varint(p, ncolumns);
	if (!is_rows)
	{
		put_varint(p, (uint64) version - (uint64) write->version);
		put_varint(p, ((uint64) behind << 1) ^ (uint64) (behind >> 63));
	}
	if (by_device)
	{
		put_64(p, write->device);
		put_64(p, write->queue);
	}
	for (i = 0; i < ncolumns; i++)
	{
		uint32		hash = pg_hton32(entry->columns[i]);

		memcpy(*p, &hash, sizeof(hash));
		*p += sizeof(hash);
	}
}

static Datum
write_clock(const Clock *clock, int64 version, TimestampTz at)
{
	int			room = VARHDRSZ + 2;
	bytea	   *bytes;
	unsigned char *p;
	int			i;

	for (i = 0; i < clock->n; i++)
		room += 1 + 5 + 10 + 10 + 16 + clock->entries[i].ncolumns * (int) sizeof(uint32);
	bytes = palloc(room);
	p = (unsigned char *) VARDATA(bytes);
	*p++ = CLOCK_FORMAT;
	*p++ = (unsigned char) clock->n;
	for (i = 0; i < clock->n; i++)
		put_entry(&p, &clock->entries[i], version, at);
	SET_VARSIZE(bytes, (char *) p - (char *) bytes);
	return PointerGetDatum(bytes);
}

/* Takes the columns now written away from earlier writes, and the writes that have none left. */
static void
drop_columns(Clock *clock, const uint32 *columns, int ncolumns)
{
	int			kept = 0;
	int			i;
	int			c;
	int			k;

	for (i = 0; i < clock->n; i++)
	{
		Entry	   *entry = &clock->entries[i];
		int			left = 0;

		for (c = 0; c < entry->ncolumns; c++)
		{
			for (k = 0; k < ncolumns && columns[k] != entry->columns[c]; k++)
				;
			if (k == ncolumns)
				entry->columns[left++] = entry->columns[c];
		}
		entry->ncolumns = left;
		if (entry->is_rest || left > 0)
			clock->entries[kept++] = *entry;
	}
	clock->n = kept;
}

static void
join_entries(const Entry *older, Entry *younger)
{
	uint32	   *columns = palloc(sizeof(uint32) * (older->ncolumns + younger->ncolumns + 1));

	memcpy(columns, younger->columns, sizeof(uint32) * younger->ncolumns);
	memcpy(columns + younger->ncolumns, older->columns, sizeof(uint32) * older->ncolumns);
	younger->is_rest |= older->is_rest;
	younger->ncolumns = younger->is_rest ? 0 : younger->ncolumns + older->ncolumns;
	younger->columns = columns;
}

/*
 * The clock of a row after a write, whose version is the row's; at is the row's sync_at. changed: indexes of the columns written; NULL, as for
 * an insert, means all. More writes than a byte counts cannot stand apart (a table has up to 1,600 columns): the oldest two then share the
 * younger one's time, which only makes collisions likelier.
 */
Datum
sync_clock_next(const SyncTable *table, const SyncOldClock *old, const int *changed, int nchanged, const SyncWrite *write, TimestampTz at,
				bool *isnull)
{
	Entry		all = {.write = *write, .is_rest = true};
	Clock		clock = {1, &all};
	SyncWrite	row = {0};
	int			i;

	*isnull = false;
	if (old == NULL || changed == NULL)
	{
		*isnull = write->device == 0;
		return *isnull ? (Datum) 0 : write_clock(&clock, write->version, at);
	}
	row.version = old->version;
	row.edited_at = old->at;
	clock = read_clock(&row, old->clock, old->isnull);
	all.is_rest = false;
	all.columns = palloc(sizeof(uint32) * nchanged);
	for (i = 0; i < nchanged; i++)
		all.columns[all.ncolumns++] = table->columns[changed[i]].name_hash;
	drop_columns(&clock, all.columns, all.ncolumns);
	if (clock.n >= MAX_WRITES)
	{
		join_entries(&clock.entries[0], &clock.entries[1]);
		memmove(clock.entries, clock.entries + 1, sizeof(Entry) * --clock.n);
	}
	clock.entries[clock.n++] = all;
	return write_clock(&clock, write->version, at);
}

static void
put_write(StringInfo out, const SyncColumn *column, const SyncWrite *write)
{
	sync_render_string(out, column->name, strlen(column->name));
	appendStringInfo(out, ":{\"version\":" INT64_FORMAT ",\"edited_at\":", write->version);
	sync_render_timestamp(out, write->edited_at);
	if (write->device)
		appendStringInfo(out, ",\"device\":\"%016" INT64_MODIFIER "x\"", write->device);
	appendStringInfoChar(out, '}');
}

/* sync.clock(relation, entity_id): the last write of each column, read as the caller. */
Datum
sync_clock(PG_FUNCTION_ARGS)
{
	SyncTable  *table = sync_table_by_relid(PG_GETARG_OID(0), false);
	Datum		keys[INDEX_MAX_KEYS];
	Oid			types[INDEX_MAX_KEYS];
	SyncWrite  *writes = NULL;
	StringInfoData sql;
	StringInfoData out;
	char		separator = '{';
	int			i;

	if (!sync_parse_entity_id(table, text_to_cstring(PG_GETARG_TEXT_PP(1)), keys))
		PG_RETURN_NULL();
	initStringInfo(&out);
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	sync_put_all_columns(&sql, table);
	appendStringInfo(&sql, " FROM %s t WHERE ", table->sql_name);
	sync_put_key(&sql, table, 1, types);
	SPI_connect();
	SPI_execute_with_args(sql.data, table->nkeys, types, keys, NULL, true, 1);
	if (SPI_processed == 1)
		writes = sync_clock_columns(table, SPI_tuptable->vals[0], SPI_tuptable->tupdesc);
	for (i = 0; writes && i < table->ncolumns; i++)
	{
		appendStringInfoChar(&out, separator);
		separator = ',';
		put_write(&out, &table->columns[i], &writes[i]);
	}
	SPI_finish();
	if (separator == '{')
		PG_RETURN_NULL();
	appendStringInfoChar(&out, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data));
}

/* The same writes, for a row whose version moves on though none of its columns is written. */
Datum
sync_clock_keep(const SyncTable *table, HeapTuple old, TupleDesc desc, int64 version)
{
	Clock		clock = clock_of_row(table, old, desc);
	SyncWrite	row = write_of_row(table, old, desc);

	return write_clock(&clock, version, row.edited_at);
}
