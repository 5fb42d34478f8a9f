/*
 * digest.c - sync.digest(): a checksum of what a client should hold, and the rows of the part that differs.
 *
 * Each living row counts with the first 8 bytes of SHA-256 over its entity_id, a zero byte and its server_version in digits; a digest is the sum of these
 * modulo 2^64. A row's bucket comes from its entity_id alone, so that it stays where it is when its version differs.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "pull.h"

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define MAX_BUCKETS 256

PG_FUNCTION_INFO_V1(sync_digest);

typedef struct Bucket
{
	int64		count;
	uint64		sum;
} Bucket;

typedef struct Digest
{
	DestReceiver pub;
	Pull	   *pull;
	const PullTable *p;
	int			nbuckets;		/* 0: none asked for */
	Bucket	   *buckets;
	Bucket		all;
	bool	   *repair;			/* per bucket; NULL: none */
	StringInfoData keys;		/* of the buckets to repair */
	bool		is_stale;		/* a row changed since the token */
	pg_cryptohash_ctx *hash;
	MemoryContext row_context;
} Digest;

static uint64
hash_of(pg_cryptohash_ctx *ctx, const char *entity_id, const char *version)
{
	uint8		bytes[PG_SHA256_DIGEST_LENGTH];
	uint64		number;

	/* With the version its zero byte goes in front: the string's own. */
	if (pg_cryptohash_init(ctx) < 0 ||
		pg_cryptohash_update(ctx, (const uint8 *) entity_id, strlen(entity_id) + (version ? 1 : 0)) < 0 ||
		(version && pg_cryptohash_update(ctx, (const uint8 *) version, strlen(version)) < 0) ||
		pg_cryptohash_final(ctx, bytes, sizeof(bytes)) < 0)
		elog(ERROR, "SHA-256 failed");
	memcpy(&number, bytes, sizeof(number));
	return pg_ntoh64(number);
}

static void
repair_row(Digest *d, const char *entity_id, TupleTableSlot *slot)
{
	StringInfo	out = &d->pull->out;

	if (d->keys.len)
		appendStringInfoChar(&d->keys, ',');
	sync_render_string(&d->keys, entity_id, strlen(entity_id));
	if (d->pull->sent++ > 0)
		appendStringInfoChar(out, ',');
	sync_render_change(out, d->p->table, slot->tts_values, slot->tts_isnull, d->p->all_readable ? NULL : d->p->readable, false);
	if (out->len > SYNC_PAGE_BYTES)
		ereport(ERROR,
				(errcode(SYNC_ERR_TOO_LARGE),
				 errmsg("the repair is larger than %d bytes", SYNC_PAGE_BYTES),
				 errhint("Ask for fewer buckets at once, or for more and so smaller ones, or pull without a token.")));
}

static void
count_row(Digest *d, TupleTableSlot *slot)
{
	const SyncTable *table = d->p->table;
	const SyncToken *next = &d->pull->next;
	uint64		xid = U64FromFullTransactionId(DatumGetFullTransactionId(slot->tts_values[table->xid_att - 1]));
	Datum		keys[INDEX_MAX_KEYS];
	char		version[24];
	char	   *entity_id;
	uint64		hash;
	int			bucket;
	int			i;

	/* A stamp from a restore lies beyond the counter and is no change. */
	if (next->lower && xid < next->upper->xmax && !sync_snapshot_sees(next->lower, xid))
		d->is_stale = true;
	for (i = 0; i < table->nkeys; i++)
		keys[i] = slot->tts_values[table->columns[table->keys[i]].attnum - 1];
	entity_id = sync_entity_id_of(table, keys);
	snprintf(version, sizeof(version), INT64_FORMAT, DatumGetInt64(slot->tts_values[table->version_att - 1]));
	hash = hash_of(d->hash, entity_id, version);
	d->all.count++;
	d->all.sum += hash;
	if (d->nbuckets == 0)
		return;
	bucket = (int) (hash_of(d->hash, entity_id, NULL) % d->nbuckets);
	d->buckets[bucket].count++;
	d->buckets[bucket].sum += hash;
	if (d->repair && d->repair[bucket])
		repair_row(d, entity_id, slot);
}

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	Digest	   *d = (Digest *) self;
	MemoryContext before = MemoryContextSwitchTo(d->row_context);

	CHECK_FOR_INTERRUPTS();
	slot_getallattrs(slot);
	count_row(d, slot);
	MemoryContextSwitchTo(before);
	MemoryContextReset(d->row_context);
	return !d->is_stale;
}

static void
ignore_startup(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
ignore(DestReceiver *self)
{
}

static void
put_bucket(StringInfo out, const Bucket *bucket)
{
	appendStringInfo(out, "{\"count\":" INT64_FORMAT ",\"hash\":\"" UINT64_FORMAT "\"}", bucket->count, bucket->sum);
}

/* Which buckets of a table the request wants repaired; NULL: none. */
static bool *
read_repair(JsonbContainer *request, const char *entity_type, int nbuckets)
{
	JsonbValue *all = sync_json_get(request, "repair");
	JsonbContainer *list;
	bool	   *repair;
	uint32		i;

	if (all == NULL || all->type == jbvNull)
		return NULL;
	if (nbuckets == 0 || all->type != jbvBinary || !JsonContainerIsObject(all->val.binary.data))
		ereport(ERROR, (errcode(SYNC_ERR_BAD_REQUEST),
						errmsg("member \"repair\" of the request must be an object of entity types with bucket numbers, beside \"buckets\"")));
	list = sync_json_array(all->val.binary.data, entity_type, false);
	if (list == NULL)
		return NULL;
	repair = palloc0(sizeof(bool) * nbuckets);
	for (i = 0; i < JsonContainerSize(list); i++)
	{
		JsonbValue *v = getIthJsonbValueFromContainer(list, i);
		char	   *text = v->type == jbvNumeric ? sync_json_text(v) : NULL;
		int			bucket = text && strspn(text, "0123456789") == strlen(text) && strlen(text) < 4 ? atoi(text) : nbuckets;

		if (bucket >= nbuckets)
			ereport(ERROR, (errcode(SYNC_ERR_BAD_REQUEST), errmsg("buckets to repair are numbers below %d", nbuckets)));
		repair[bucket] = true;
	}
	return repair;
}

/* Did a row of this table change, or who may see it, since the token? Then only a pull can tell whether the client is right. */
static bool
is_behind(const Pull *pull, const PullTable *p)
{
	ListCell   *lc;

	if (!pull->had_token)
		return false;
	/* A token from inside a round says nothing yet. */
	if (pull->given == NULL || pull->given->upper || p->is_whole || p->is_withdrawn || pull->next.lower == NULL)
		return true;
	foreach(lc, pull->next.gained)
		if (p->scope && ((SyncHeldScope *) lfirst(lc))->scope_id == p->scope->id)
			return true;
	return pull_has_tombstones(pull, p);
}

static void
put_digest(Digest *d)
{
	StringInfo	out = &d->pull->out;
	int			i;

	appendStringInfo(out, "\"count\":" INT64_FORMAT ",\"hash\":\"" UINT64_FORMAT "\"", d->all.count, d->all.sum);
	if (d->nbuckets == 0)
		return;
	appendStringInfoString(out, ",\"buckets\":[");
	for (i = 0; i < d->nbuckets; i++)
	{
		if (i)
			appendStringInfoChar(out, ',');
		put_bucket(out, &d->buckets[i]);
	}
	appendStringInfoChar(out, ']');
}

/* One table's entry; false when it is stale. */
static bool
put_table(Pull *pull, const PullTable *p, JsonbContainer *request, int nbuckets)
{
	Digest		d = {.pub = {receive_row, ignore_startup, ignore, ignore, DestTuplestore}, .pull = pull, .p = p, .nbuckets = nbuckets};
	int			start;

	appendStringInfoString(&pull->out, "{\"entity_type\":");
	sync_render_string(&pull->out, p->table->entity_type, strlen(p->table->entity_type));
	appendStringInfoChar(&pull->out, ',');
	start = pull->out.len;
	d.buckets = palloc0(sizeof(Bucket) * Max(nbuckets, 1));
	d.repair = read_repair(request, p->table->entity_type, nbuckets);
	initStringInfo(&d.keys);
	d.is_stale = is_behind(pull, p);
	if (!d.is_stale)
	{
		if (d.repair)
			appendStringInfoString(&pull->out, "\"changes\":[");
		pull->sent = 0;
		d.hash = pg_cryptohash_create(PG_SHA256);
		d.row_context = AllocSetContextCreate(CurrentMemoryContext, "sync digest", ALLOCSET_DEFAULT_SIZES);
		pull_query_rows(pull, p, 'D', RANGE_ALL, NULL, &d.pub);
		pg_cryptohash_free(d.hash);
		if (d.repair)
			appendStringInfo(&pull->out, "],\"keys\":[%s],", d.keys.data);
	}
	if (d.is_stale)
	{
		pull->out.len = start;
		appendStringInfoString(&pull->out, "\"stale\":true}");
		return false;
	}
	put_digest(&d);
	appendStringInfoChar(&pull->out, '}');
	return true;
}

/* The token is one of this snapshot: whoever's digests agree holds what it says. */
static void
make_digest(Pull *pull, Jsonb *request)
{
	int			nbuckets = (int) sync_json_int(&request->root, "buckets", 0, 0, MAX_BUCKETS);
	bool		is_fresh = true;
	ListCell   *lc;

	pull_begin(pull, request);
	pull_place_round(pull);
	appendStringInfoString(&pull->out, "{\"tables\":[");
	foreach(lc, pull->selected)
	{
		if (foreach_current_index(lc) > 0)
			appendStringInfoChar(&pull->out, ',');
		is_fresh &= put_table(pull, lfirst(lc), &request->root, nbuckets);
	}
	appendStringInfo(&pull->out, "],\"stale\":%s", is_fresh ? "false" : "true");
	if (is_fresh)
	{
		pull->next.lower = pull->next.upper;
		pull->next.upper = NULL;
		appendStringInfo(&pull->out, ",\"sync_token\":\"%s\"", sync_token_write(&pull->next));
	}
	appendStringInfoString(&pull->out, ",\"server_time\":");
	sync_render_timestamp(&pull->out, GetCurrentTimestamp());
	appendStringInfoChar(&pull->out, '}');
}

Datum
sync_digest(PG_FUNCTION_ARGS)
{
	return pull_answer(fcinfo, make_digest);
}
