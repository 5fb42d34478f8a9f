/*
 * snapshot.c - the cursor: a snapshot as 64-bit ids, and the WAL flush that makes it last.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"
#include "control.h"

#include "access/transam.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "utils/fmgrprotos.h"

/* Reads digits up to a delimiter; false unless there is at least one. */
static bool
read_id(const char **text, char delimiter, uint64 *out)
{
	char	   *end;

	if (**text < '0' || **text > '9')
		return false;
	errno = 0;
	*out = strtoull(*text, &end, 10);
	if (errno != 0 || (*end != delimiter && !(delimiter == ',' && *end == '\0')))
		return false;
	*text = *end == '\0' ? end : end + 1;
	return true;
}

SyncSnapshot *
sync_snapshot_parse(const char *text)
{
	SyncSnapshot *snapshot = palloc0(sizeof(SyncSnapshot));
	int			room = 1;
	const char *p;

	for (p = text; *p; p++)
		room += *p == ',';
	p = text;
	if (!read_id(&p, ':', &snapshot->xmin) || !read_id(&p, ':', &snapshot->xmax) ||
		snapshot->xmin > snapshot->xmax)
		return NULL;
	snapshot->xip = palloc(sizeof(uint64) * room);
	while (*p)
	{
		uint64		id;
		uint64		floor = snapshot->nxip ? snapshot->xip[snapshot->nxip - 1] + 1 : snapshot->xmin;

		if (!read_id(&p, ',', &id) || id < floor || id >= snapshot->xmax)
			return NULL;
		snapshot->xip[snapshot->nxip++] = id;
	}
	return snapshot;
}

SyncSnapshot *
sync_snapshot_now(void)
{
	Datum		now = DirectFunctionCall1(pg_current_snapshot, (Datum) 0);
	char	   *text = DatumGetCString(DirectFunctionCall1(pg_snapshot_out, now));
	SyncSnapshot *snapshot = sync_snapshot_parse(text);

	if (snapshot == NULL)
		elog(ERROR, "unexpected snapshot \"%s\"", text);
	if (snapshot->nxip > SYNC_XIP_LIMIT)
	{
		/* Valid, only repeats more: everything from the oldest running id on is pulled again. */
		snapshot->xmax = snapshot->xmin;
		snapshot->nxip = 0;
	}
	return snapshot;
}

char *
sync_snapshot_text(const SyncSnapshot *snapshot)
{
	StringInfoData out;
	int			i;

	initStringInfo(&out);
	appendStringInfo(&out, UINT64_FORMAT ":" UINT64_FORMAT ":", snapshot->xmin, snapshot->xmax);
	for (i = 0; i < snapshot->nxip; i++)
		appendStringInfo(&out, "%s" UINT64_FORMAT, i ? "," : "", snapshot->xip[i]);
	return out.data;
}

bool
sync_snapshot_sees(const SyncSnapshot *snapshot, uint64 xid)
{
	int			low = 0;
	int			high = snapshot->nxip;

	if (xid < snapshot->xmin)
		return true;
	if (xid >= snapshot->xmax)
		return false;
	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (snapshot->xip[middle] == xid)
			return false;
		if (snapshot->xip[middle] < xid)
			low = middle + 1;
		else
			high = middle;
	}
	return true;
}

/*
 * Does a client at this cursor know of a table's last new start? One that lies ahead of the counter came with a restore, from a server whose tokens
 * are none of ours: without this the table would be reset at each pull until the counter gets there.
 */
bool
sync_snapshot_knows_epoch(const SyncSnapshot *snapshot, FullTransactionId epoch)
{
	return sync_snapshot_sees(snapshot, U64FromFullTransactionId(epoch)) ||
		FullTransactionIdFollowsOrEquals(epoch, ReadNextFullTransactionId());
}

bool
sync_snapshot_equal(const SyncSnapshot *a, const SyncSnapshot *b)
{
	return a->xmin == b->xmin && a->xmax == b->xmax && a->nxip == b->nxip &&
		memcmp(a->xip, b->xip, sizeof(uint64) * a->nxip) == 0;
}

/*
 * Flushes WAL to the end of the last record and returns that place.
 *
 * Ids handed out but not yet in flushed WAL are handed out again after a crash; a cursor that counts them as seen
 * would then miss rows. The insert pointer may stand behind a page header that no record has reached: flushing to it
 * is an error right after a WAL switch, so the page's start is taken then.
 */
XLogRecPtr
sync_flush_wal(void)
{
	XLogRecPtr	end = GetXLogInsertRecPtr();

	if (XLogSegmentOffset(end, wal_segment_size) == SizeOfXLogLongPHD)
		end -= SizeOfXLogLongPHD;
	else if (end % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		end -= SizeOfXLogShortPHD;
	if (!control_off("flush"))
		XLogFlush(end);
	return end;
}
