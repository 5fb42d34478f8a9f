/*
 * writer.c - rows written without a statement each: the executor's row functions under a push, as logical replication's apply worker uses them.
 *
 * Only for plain tables on which nothing but row triggers would notice the difference: no policies for the caller, no rules, no statement
 * triggers, no AFTER triggers of the application. Constraints, indexes, generated columns and row triggers work as in SQL; triggers that wait
 * for the end of a statement (foreign keys) fire when the writer is closed. Everything else goes through SQL, in apply.c.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "change.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_relation.h"
#include "rewrite/rewriteHandler.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"

struct Writer
{
	MemoryContext context;		/* of all that follows */
	const SyncTable *table;
	Relation	relation;
	EState	   *estate;
	ResultRelInfo *result;
	EPQState	epq;
	TupleTableSlot *search;		/* holds the key looked for */
	TupleTableSlot *found;
	TupleTableSlot *changed;
	ExprState **defaults;		/* by attribute; NULL: none */
	Bitmapset  *domains;		/* attributes without a default whose type may refuse a NULL */
	bool		has_defaults;	/* they have been prepared */
	SyncTombstoneScan *tombstones;	/* NULL: not needed yet */
	Bitmapset  *may_insert;		/* columns, by index */
	Bitmapset  *may_update;
};

/* ---- which tables ---- */

static bool
has_foreign_triggers(Relation relation)
{
	TriggerDesc *triggers = relation->trigdesc;
	int			i;

	if (triggers->trig_insert_before_statement || triggers->trig_insert_after_statement ||
		triggers->trig_update_before_statement || triggers->trig_update_after_statement)
		return true;
	for (i = 0; i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		/* Ours and the foreign keys' do not change the row that was just written. */
		if (TRIGGER_FOR_AFTER(trigger->tgtype) && TRIGGER_FOR_ROW(trigger->tgtype) && !trigger->tgisinternal &&
			(TRIGGER_FOR_INSERT(trigger->tgtype) || TRIGGER_FOR_UPDATE(trigger->tgtype)) &&
			strncmp(trigger->tgname, "~sync_", 6) != 0)
			return true;
	}
	return false;
}

static bool
is_always_identity(const SyncTable *table, Relation relation)
{
	int			i;

	for (i = 0; i < table->ncolumns; i++)
		if (TupleDescAttr(RelationGetDescr(relation), table->columns[i].attnum - 1)->attidentity == ATTRIBUTE_IDENTITY_ALWAYS)
			return true;
	return false;
}

static bool
is_fit(const SyncTable *table, Relation relation)
{
	return relation->rd_rel->relkind == RELKIND_RELATION && !relation->rd_rel->relispartition && relation->rd_rules == NULL &&
		!relation->rd_rel->relhassubclass && relation->trigdesc != NULL && !has_foreign_triggers(relation) &&
		!is_always_identity(table, relation) &&
		check_enable_rls(table->relid, InvalidOid, true) != RLS_ENABLED;
}

/* ---- opening and closing ---- */

static void
set_up(Writer *writer)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	rte->rtekind = RTE_RELATION;
	rte->relid = writer->table->relid;
	rte->relkind = writer->relation->rd_rel->relkind;
	rte->rellockmode = RowExclusiveLock;
	writer->estate = CreateExecutorState();
#if PG_VERSION_NUM >= 180000
	ExecInitRangeTable(writer->estate, list_make1(rte), NIL, bms_make_singleton(1));
#elif PG_VERSION_NUM >= 160000
	ExecInitRangeTable(writer->estate, list_make1(rte), NIL);
#else
	ExecInitRangeTable(writer->estate, list_make1(rte));
#endif
	writer->result = makeNode(ResultRelInfo);
	InitResultRelInfo(writer->result, writer->relation, 1, NULL, 0);
	ExecOpenIndices(writer->result, false);
	/* Where AFTER triggers look for it. */
	writer->estate->es_opened_result_relations = lappend(writer->estate->es_opened_result_relations, writer->result);
#if PG_VERSION_NUM >= 170000
	EvalPlanQualInit(&writer->epq, writer->estate, NULL, NIL, -1, NIL);
#else
	EvalPlanQualInit(&writer->epq, writer->estate, NULL, NIL, -1);
#endif
	writer->search = table_slot_create(writer->relation, &writer->estate->es_tupleTable);
	writer->found = table_slot_create(writer->relation, &writer->estate->es_tupleTable);
	writer->changed = table_slot_create(writer->relation, &writer->estate->es_tupleTable);
	writer->defaults = palloc0(sizeof(ExprState *) * (writer->table->natts + 1));
	writer->may_insert = row_writable(writer->table, ACL_INSERT);
	writer->may_update = row_writable(writer->table, ACL_UPDATE);
	AfterTriggerBeginQuery();
}

/*
 * The writer of a table: the one that is open, or a new one in its place. NULL: the table needs statements. It reads rows as they are now,
 * where a transaction of a higher isolation must hear of a serialization failure: that needs statements too.
 */
Writer *
writer_for(Push *push, const SyncTable *table)
{
	return IsolationUsesXactSnapshot() ? NULL : writer_for_inserts(push, table);
}

/* The same for one that only inserts. */
Writer *
writer_for_inserts(Push *push, const SyncTable *table)
{
	Relation	relation;
	MemoryContext context;
	MemoryContext before;

	if (push->writer && push->writer->table == table)
		return push->writer;
	writer_close(push);
	relation = table_open(table->relid, RowExclusiveLock);
	if (!is_fit(table, relation))
	{
		table_close(relation, NoLock);
		return NULL;
	}
	context = AllocSetContextCreate(push->context, "writer", ALLOCSET_DEFAULT_SIZES);
	before = MemoryContextSwitchTo(context);
	push->writer = palloc0(sizeof(Writer));
	push->writer->context = context;
	push->writer->table = table;
	push->writer->relation = relation;
	set_up(push->writer);
	MemoryContextSwitchTo(before);
	return push->writer;
}

/* Fires the triggers that wait for the end of a statement: errors of foreign keys come from here. */
void
writer_close(Push *push)
{
	Writer	   *writer = push->writer;

	if (writer == NULL)
		return;
	AfterTriggerEndQuery(writer->estate);
	EvalPlanQualEnd(&writer->epq);
	ExecResetTupleTable(writer->estate->es_tupleTable, false);
	ExecCloseResultRelations(writer->estate);
	FreeExecutorState(writer->estate);
	table_close(writer->relation, NoLock);
	MemoryContextDelete(writer->context);
	push->writer = NULL;
	CommandCounterIncrement();
}

/* After a rollback: what it held was released with the subtransaction. */
void
writer_forget(Push *push)
{
	if (push->writer)
		MemoryContextDelete(push->writer->context);
	push->writer = NULL;
}

/* ---- rows ---- */

/*
 * The row of a key, locked against other writers. Waits for whoever is writing it, also for one who is just inserting it. The tuple lives as
 * long as the next row is not read.
 */
Row
writer_read(Writer *writer, const Datum *keys)
{
	TupleTableSlot *search = writer->search;
	Row			row = {NULL, RelationGetDescr(writer->relation)};
	int			i;

	ExecClearTuple(search);
	memset(search->tts_isnull, true, sizeof(bool) * row.desc->natts);
	for (i = 0; i < writer->table->nkeys; i++)
	{
		AttrNumber	attnum = writer->table->columns[writer->table->keys[i]].attnum;

		search->tts_values[attnum - 1] = keys[i];
		search->tts_isnull[attnum - 1] = false;
	}
	ExecStoreVirtualTuple(search);
	if (RelationFindReplTupleByIndex(writer->relation, RelationGetPrimaryKeyIndex(writer->relation), LockTupleNoKeyExclusive, search,
									 writer->found))
		row.tuple = ExecFetchSlotHeapTuple(writer->found, false, NULL);
	return row;
}

/* False when the key never lived, as most keys that are created; cheaper than reading what became of it. */
bool
writer_knows_deletion(Writer *writer, const char *entity_id)
{
	if (writer->tombstones == NULL)
		writer->tombstones = sync_tombstone_scan_begin(writer->context);
	return sync_tombstone_version(writer->tombstones, writer->table, entity_id) > 0;
}

static void
set_fields(const Writer *writer, const Field *fields, int n, const Bitmapset *may_write)
{
	int			i;

	for (i = 0; i < n; i++)
	{
		const SyncColumn *column = &writer->table->columns[fields[i].column];

		if (!bms_is_member(fields[i].column, may_write))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("column \"%s\" may not be written", column->name)));
		writer->changed->tts_values[column->attnum - 1] = fields[i].value;
		writer->changed->tts_isnull[column->attnum - 1] = fields[i].isnull;
	}
}

/* What the row has become, or no row when a trigger turned the write away. */
static Row
written(Writer *writer, Push *push)
{
	Row			row = {NULL, RelationGetDescr(writer->relation)};

	sync_push_stamp = NULL;
	if (push->stamp.entity_id)
		row.tuple = ExecFetchSlotHeapTuple(writer->changed, false, NULL);
	CommandCounterIncrement();
	ResetPerTupleExprContext(writer->estate);
	return row;
}

Row
writer_update(Writer *writer, Push *push, const Change *change, const Field *fields, int n)
{
	TupleTableSlot *slot = writer->changed;
	int			natts = RelationGetDescr(writer->relation)->natts;

	slot_getallattrs(writer->found);
	ExecClearTuple(slot);
	memcpy(slot->tts_values, writer->found->tts_values, sizeof(Datum) * natts);
	memcpy(slot->tts_isnull, writer->found->tts_isnull, sizeof(bool) * natts);
	set_fields(writer, fields, n, writer->may_update);
	ExecStoreVirtualTuple(slot);
	write_stamp(push, change);
	writer->estate->es_output_cid = GetCurrentCommandId(true);
	ExecSimpleRelationUpdate(writer->result, writer->estate, &writer->epq, writer->found, slot);
	return written(writer, push);
}

static void
prepare_defaults(Writer *writer)
{
	MemoryContext before = MemoryContextSwitchTo(writer->context);
	TupleDesc	desc = RelationGetDescr(writer->relation);
	int			i;

	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Expr	   *expression = att->attisdropped || att->attgenerated ? NULL : (Expr *) build_column_default(writer->relation, i + 1);

		if (expression)
			writer->defaults[i] = ExecPrepareExpr(expression, writer->estate);
		else if (!att->attisdropped && !att->attgenerated && get_typtype(att->atttypid) == TYPTYPE_DOMAIN)
			writer->domains = bms_add_member(writer->domains, i);
	}
	writer->has_defaults = true;
	MemoryContextSwitchTo(before);
}

static bool
has_column(const Writer *writer, const Field *fields, int n, int attnum)
{
	int			i;

	for (i = 0; i < n; i++)
		if (writer->table->columns[fields[i].column].attnum == attnum)
			return true;
	return false;
}

Row
writer_insert(Writer *writer, Push *push, const Change *change, const Field *fields, int n)
{
	TupleTableSlot *slot = writer->changed;
	int			natts = RelationGetDescr(writer->relation)->natts;
	ExprContext *context = GetPerTupleExprContext(writer->estate);
	int			i;

	if (!writer->has_defaults)
		prepare_defaults(writer);
	ExecClearTuple(slot);
	memset(slot->tts_values, 0, sizeof(Datum) * natts);
	memset(slot->tts_isnull, true, sizeof(bool) * natts);
	for (i = 0; i < natts; i++)
	{
		if (has_column(writer, fields, n, i + 1))
			continue;
		if (writer->defaults[i])
			slot->tts_values[i] = ExecEvalExprSwitchContext(writer->defaults[i], context, &slot->tts_isnull[i]);
		else if (bms_is_member(i, writer->domains))
			domain_check((Datum) 0, true, TupleDescAttr(RelationGetDescr(writer->relation), i)->atttypid, NULL, NULL);
	}
	set_fields(writer, fields, n, writer->may_insert);
	ExecStoreVirtualTuple(slot);
	if (change)
		write_stamp(push, change);
	writer->estate->es_output_cid = GetCurrentCommandId(true);
	ExecSimpleRelationInsert(writer->result, writer->estate, slot);
	return written(writer, push);
}
