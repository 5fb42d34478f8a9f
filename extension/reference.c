/*
 * reference.c - a pushed reference to a row that the caller cannot see is answered like one to a row that is not there.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "change.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

static const SyncColumn *
column_at(const SyncTable *table, AttrNumber attnum)
{
	int			i;

	for (i = 0; i < table->ncolumns; i++)
		if (table->columns[i].attnum == attnum)
			return &table->columns[i];
	return NULL;
}

/* The key of the row a foreign key points to; false when it has a NULL, or does not point to a primary key. */
static bool
referenced_key(const SyncTable *table, const SyncTable *other, const ForeignKeyCacheInfo *fk, const Row *row, Datum *keys)
{
	int			k;
	int			i;

	for (k = 0; k < other->nkeys; k++)
	{
		bool		isnull = true;

		for (i = 0; i < fk->nkeys; i++)
			if (fk->confkey[i] == other->columns[other->keys[k]].attnum && column_at(table, fk->conkey[i]) &&
				column_at(table, fk->conkey[i])->type == other->columns[other->keys[k]].type)
				keys[k] = heap_getattr(row->tuple, fk->conkey[i], row->desc, &isnull);
		if (isnull)
			return false;
	}
	return true;
}

/* Raises what the constraint would raise for a row that is absent. */
void
reference_check(Push *push, const SyncTable *table, const Row *row)
{
	Relation	relation = table_open(table->relid, AccessShareLock);
	List	   *fkeys = copyObject(RelationGetFKeyList(relation));
	ListCell   *lc;

	table_close(relation, AccessShareLock);
	foreach(lc, fkeys)
	{
		ForeignKeyCacheInfo *fk = lfirst(lc);
		SyncTable  *other = sync_table_by_relid(fk->confrelid, true);
		Datum		keys[INDEX_MAX_KEYS];
		Row			target;

		if (other == NULL || (other->scope_column == NULL && !other->has_policies) || !referenced_key(table, other, fk, row, keys))
			continue;
		target = row_read(push, other, keys, "");
		if (target.tuple == NULL || (row_in_held_scope(push, other, &target) && row_may_see(push, other, keys)))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("insert or update on table \"%s\" violates foreign key constraint \"%s\"", get_rel_name(table->relid),
						get_constraint_name(fk->conoid))));
	}
}
