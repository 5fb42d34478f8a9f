/*
 * verify.c - tables whose policies look at other tables or at the clock: no row's stamp tells when it came into view or left it, so each
 * round compares a digest of what the caller sees with the one of what it was sent, and sends the table anew when they differ.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "pull.h"

#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/memutils.h"

SyncDigest *
pull_digest(const SyncToken *token, int32 table_id)
{
	int			i;

	for (i = 0; token && i < token->ndigests; i++)
		if (token->digests[i].table == table_id)
			return &token->digests[i];
	return NULL;
}

static void
add_row(SyncDigest *digest, const SyncTable *table, TupleTableSlot *slot)
{
	Datum		keys[INDEX_MAX_KEYS];
	char	   *entity_id;
	int			i;

	for (i = 0; i < table->nkeys; i++)
		keys[i] = slot->tts_values[table->columns[table->keys[i]].attnum - 1];
	entity_id = sync_entity_id_of(table, keys);
	digest->count++;
	digest->sum += sync_hash(entity_id, strlen(entity_id), (uint64) DatumGetInt64(slot->tts_values[table->version_att - 1]));
}

/* Counts what the caller sees. */
typedef struct Counter
{
	DestReceiver pub;
	const SyncTable *table;
	SyncDigest	digest;
	MemoryContext row_context;
} Counter;

static bool
count_row(TupleTableSlot *slot, DestReceiver *self)
{
	Counter    *c = (Counter *) self;
	MemoryContext before = MemoryContextSwitchTo(c->row_context);

	CHECK_FOR_INTERRUPTS();
	slot_getallattrs(slot);
	add_row(&c->digest, c->table, slot);
	MemoryContextSwitchTo(before);
	MemoryContextReset(c->row_context);
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

static SyncDigest
digest_now(Pull *pull, const PullTable *p)
{
	Counter		c = {.pub = {count_row, ignore_startup, ignore, ignore, DestTuplestore}, .table = p->table, .digest = {.table = p->table->id}};

	c.row_context = AllocSetContextCreate(CurrentMemoryContext, "sync verify", ALLOCSET_DEFAULT_SIZES);
	pull_query_rows(pull, p, 'D', RANGE_ALL, NULL, &c.pub);
	MemoryContextDelete(c.row_context);
	return c.digest;
}

/*
 * Does the digest count all that the token's holder has? The stream sends rows without counting; its positions have an LSN that no record has, see
 * sync_token_is_streamed(). What it may have sent was written, or deleted, since the digest was made.
 */
static bool
is_counted(const Pull *pull, const PullTable *p, const SyncToken *valid)
{
	if (!sync_token_is_streamed(valid) && valid->digest_place == sync_token_place(valid->lower))
		return true;
	return !pull_has_changed(pull, p, valid->digest_xmin);
}

/*
 * The next token counts what is sent, page by page, not what was seen at the start: a row that came into view, left it or was written in
 * between makes the next comparison fail.
 */
void
pull_compare(Pull *pull, PullTable *p, const SyncToken *valid)
{
	SyncToken  *next = &pull->next;
	const SyncDigest *before = p->is_whole ? NULL : pull_digest(valid, p->table->id);
	SyncDigest	now = {.table = p->table->id};

	if (before && is_counted(pull, p, valid))
	{
		now = digest_now(pull, p);
		p->is_unchanged = now.count == before->count && now.sum == before->sum;
	}
	p->is_whole = !p->is_unchanged;
	if (next->digests == NULL)
		next->digests = palloc(sizeof(SyncDigest) * list_length(pull->selected));
	next->digests[next->ndigests++] = p->is_unchanged ? now : (SyncDigest) {.table = p->table->id};
}

void
pull_count_sent(Pull *pull, const PullTable *p, TupleTableSlot *slot)
{
	add_row(pull_digest(&pull->next, p->table->id), p->table, slot);
}
