/*
 * verify.c - tables whose policies look at other tables or at the clock: no row's stamp tells when it came into view or left it, so each
 * round compares a digest of what the caller sees with the one of what it was sent, and sends the table anew when they differ.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "pull.h"

#include "access/htup_details.h"

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
add_row(const PullTable *p, HeapTuple row, TupleDesc desc, void *sum)
{
	SyncDigest *digest = sum;
	char	   *entity_id = sync_entity_id(p->table, row, desc);
	bool		isnull;
	Datum		version = heap_getattr(row, p->table->version_att, desc, &isnull);

	digest->count++;
	digest->sum += sync_hash(entity_id, strlen(entity_id), (uint64) DatumGetInt64(version));
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

	if (before)
	{
		pull_each_row(pull, p, add_row, &now);
		p->is_unchanged = now.count == before->count && now.sum == before->sum;
	}
	p->is_whole = !p->is_unchanged;
	if (next->digests == NULL)
		next->digests = palloc(sizeof(SyncDigest) * list_length(pull->selected));
	next->digests[next->ndigests++] = p->is_unchanged ? now : (SyncDigest) {.table = p->table->id};
}

void
pull_count_sent(Pull *pull, const PullTable *p, HeapTuple row, TupleDesc desc)
{
	add_row(p, row, desc, pull_digest(&pull->next, p->table->id));
}
