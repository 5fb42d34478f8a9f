/*
 * clock.c - sync_clock: who last wrote each column, and when.
 *
 * Format 2: the number of writes, then each write, oldest first: flags, version, time, device and queue_id hash unless by SQL, and the hashes
 * of its columns' names unless it stands for the rest. Names, because attribute numbers differ between partitions and after a restore.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "access/htup_details.h"
#include "port/pg_bswap.h"

#define CLOCK_FORMAT 2
#define BY_SQL 1
#define IS_REST 2

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

typedef struct Reader
{
	const unsigned char *p;
	const unsigned char *end;
	bool		failed;
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

static void
get_entry(Reader *r, Entry *entry)
{
	unsigned char flags = 0;
	int			i;

	get_bytes(r, &flags, 1);
	entry->write.version = (int64) get_varint(r);
	entry->write.edited_at = (TimestampTz) get_64(r);
	entry->write.device = flags & BY_SQL ? 0 : get_64(r);
	entry->write.queue = flags & BY_SQL ? 0 : get_64(r);
	entry->is_rest = (flags & IS_REST) != 0;
	entry->ncolumns = entry->is_rest ? 0 : (int) get_varint(r);
	entry->columns = NULL;
	if (r->failed || (r->end - r->p) / (int) sizeof(uint32) < entry->ncolumns)
	{
		r->failed = true;
		return;
	}
	entry->columns = palloc(sizeof(uint32) * Max(entry->ncolumns, 1));
	for (i = 0; i < entry->ncolumns; i++)
	{
		get_bytes(r, &entry->columns[i], sizeof(uint32));
		entry->columns[i] = pg_ntoh32(entry->columns[i]);
	}
}

/* What a row without a clock says of itself. */
static void
write_of_row(const SyncTable *table, HeapTuple tuple, TupleDesc desc, SyncWrite *out)
{
	bool		isnull;

	out->version = DatumGetInt64(heap_getattr(tuple, table->version_att, desc, &isnull));
	out->edited_at = DatumGetTimestampTz(heap_getattr(tuple, table->at_att, desc, &isnull));
	out->device = 0;
	out->queue = 0;
}

/* Room for one more entry than the row has. */
static Clock
read_clock(const SyncTable *table, HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	Datum		datum = heap_getattr(tuple, table->clock_att, desc, &isnull);
	Clock		clock = {0};
	bytea	   *bytes;
	Reader		r = {0};
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
		clock.entries = palloc0(sizeof(Entry) * (clock.n + 1));
		for (i = 0; i < clock.n && !r.failed; i++)
			get_entry(&r, &clock.entries[i]);
	}
	if (clock.n > 0 && !r.failed)
		return clock;
	clock.n = 1;
	clock.entries = palloc0(sizeof(Entry) * 2);
	clock.entries[0].is_rest = true;
	write_of_row(table, tuple, desc, &clock.entries[0].write);
	return clock;
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

void
sync_clock_last(const SyncTable *table, HeapTuple tuple, TupleDesc desc, int column, SyncWrite *out)
{
	Clock		clock = read_clock(table, tuple, desc);
	int			i;

	write_of_row(table, tuple, desc, out);
	for (i = 0; i < clock.n; i++)
	{
		if (clock.entries[i].is_rest)
			*out = clock.entries[i].write;
		if (has_column(&clock.entries[i], table->columns[column].name_hash))
		{
			*out = clock.entries[i].write;
			return;
		}
	}
}

void
sync_clock_newest(const SyncTable *table, HeapTuple tuple, TupleDesc desc, SyncWrite *out)
{
	Clock		clock = read_clock(table, tuple, desc);
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
put_entry(unsigned char **p, const Entry *entry)
{
	bool		by_sql = entry->write.device == 0;
	int			i;

	*(*p)++ = (by_sql ? BY_SQL : 0) | (entry->is_rest ? IS_REST : 0);
	put_varint(p, (uint64) entry->write.version);
	put_64(p, (uint64) entry->write.edited_at);
	if (!by_sql)
	{
		put_64(p, entry->write.device);
		put_64(p, entry->write.queue);
	}
	if (entry->is_rest)
		return;
	put_varint(p, entry->ncolumns);
	for (i = 0; i < entry->ncolumns; i++)
	{
		uint32		hash = pg_hton32(entry->columns[i]);

		memcpy(*p, &hash, sizeof(hash));
		*p += sizeof(hash);
	}
}

static Datum
write_clock(const Clock *clock)
{
	int			room = VARHDRSZ + 2;
	bytea	   *bytes;
	unsigned char *p;
	int			i;

	for (i = 0; i < clock->n; i++)
		room += 1 + 10 + 8 + 16 + 5 + clock->entries[i].ncolumns * (int) sizeof(uint32);
	bytes = palloc(room);
	p = (unsigned char *) VARDATA(bytes);
	*p++ = CLOCK_FORMAT;
	*p++ = (unsigned char) clock->n;
	for (i = 0; i < clock->n; i++)
		put_entry(&p, &clock->entries[i]);
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
join_oldest(const Entry *older, Entry *younger)
{
	uint32	   *columns = palloc(sizeof(uint32) * (older->ncolumns + younger->ncolumns + 1));

	memcpy(columns, younger->columns, sizeof(uint32) * younger->ncolumns);
	memcpy(columns + younger->ncolumns, older->columns, sizeof(uint32) * older->ncolumns);
	younger->is_rest |= older->is_rest;
	younger->ncolumns = younger->is_rest ? 0 : younger->ncolumns + older->ncolumns;
	younger->columns = columns;
}

/*
 * The clock of a row after a write. changed: indexes of the columns written; NULL, as for an insert, means all. More writes than a byte counts
 * cannot stand apart (a table has up to 1,600 columns): the oldest two then share the younger one's time, which only makes collisions likelier.
 */
Datum
sync_clock_next(const SyncTable *table, HeapTuple old, TupleDesc desc, const Bitmapset *changed, const SyncWrite *write, bool *isnull)
{
	Entry		all = {.write = *write, .is_rest = true};
	Clock		clock = {1, &all};
	Entry	   *entry;
	int			i = -1;

	*isnull = false;
	if (old == NULL || changed == NULL)
	{
		*isnull = write->device == 0;
		return *isnull ? (Datum) 0 : write_clock(&clock);
	}
	clock = read_clock(table, old, desc);
	all.columns = palloc(sizeof(uint32) * bms_num_members(changed));
	while ((i = bms_next_member(changed, i)) >= 0)
		all.columns[all.ncolumns++] = table->columns[i].name_hash;
	drop_columns(&clock, all.columns, all.ncolumns);
	if (clock.n >= 250)
	{
		join_oldest(&clock.entries[0], &clock.entries[1]);
		memmove(clock.entries, clock.entries + 1, sizeof(Entry) * --clock.n);
	}
	entry = &clock.entries[clock.n++];
	*entry = all;
	entry->is_rest = false;
	return write_clock(&clock);
}

/* The last write of every column at once, indexed like table->columns. */
SyncWrite *
sync_clock_columns(const SyncTable *table, HeapTuple tuple, TupleDesc desc)
{
	Clock		clock = read_clock(table, tuple, desc);
	SyncWrite  *writes = palloc(sizeof(SyncWrite) * Max(table->ncolumns, 1));
	SyncWrite	rest;
	int			i;
	int			c;

	write_of_row(table, tuple, desc, &rest);
	for (i = 0; i < clock.n; i++)
		if (clock.entries[i].is_rest)
			rest = clock.entries[i].write;
	for (c = 0; c < table->ncolumns; c++)
	{
		writes[c] = rest;
		for (i = 0; i < clock.n; i++)
			if (has_column(&clock.entries[i], table->columns[c].name_hash))
				writes[c] = clock.entries[i].write;
	}
	return writes;
}
