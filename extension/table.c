/*
 * table.c - what the backend knows of a synced table: read once (table_read.c), dropped when the relation changes.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

PG_FUNCTION_INFO_V1(sync_changed_table);

/* table is valid only while context is: both are dropped together, and set as the last step of a refill. */
typedef struct TableEntry
{
	Oid			relid;			/* hash key */
	Oid			root;			/* of a partition; else the same */
	MemoryContext context;
	SyncTable  *table;
	bool		is_stale;
} TableEntry;

static HTAB *entries;

/* May run in the middle of anything that takes a lock: it only marks. */
static void
mark_stale(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS scan;
	TableEntry *entry;

	hash_seq_init(&scan, entries);
	while ((entry = hash_seq_search(&scan)) != NULL)
		if (!OidIsValid(relid) || entry->relid == relid || entry->root == relid)
			entry->is_stale = true;
}

void
sync_table_init(void)
{
	HASHCTL		control = {.keysize = sizeof(Oid), .entrysize = sizeof(TableEntry)};

	entries = hash_create("synced tables", 32, &control, HASH_ELEM | HASH_BLOBS);
	CacheRegisterRelcacheCallback(mark_stale, (Datum) 0);
}

Oid
sync_relid(const char *name)
{
	Oid			namespace = get_namespace_oid("sync", false);
	Oid			relid = get_relname_relid(name, namespace);

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("relation sync.%s does not exist", name),
				 errhint("Run CREATE EXTENSION sync.")));
	return relid;
}

Oid
sync_base_type(Oid type)
{
	return getBaseType(type);
}

/* Names an operator so that no search_path can put another in its place. */
char *
sync_operator(Oid type, bool less)
{
	TypeCacheEntry *cache = lookup_type_cache(getBaseType(type), TYPECACHE_EQ_OPR | TYPECACHE_GT_OPR);
	Oid			operator = less ? cache->gt_opr : cache->eq_opr;
	char	   *name;

	if (!OidIsValid(operator))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("type %s cannot be compared", format_type_be(type))));
	name = get_opname(operator);
	/* Key and scope types of an extension (citext, …) bring operators in the extension's schema. */
	return psprintf("OPERATOR(%s.%s)",
					quote_identifier(get_namespace_name(get_func_namespace(get_opcode(operator)))), name);
}

const char *
sync_key_constraint(const SyncTable *table)
{
	Relation	relation = table_open(table->relid, AccessShareLock);
	const char *name = get_rel_name(RelationGetPrimaryKeyIndex(relation));

	table_close(relation, AccessShareLock);
	return name ? name : "";
}

bool
sync_is_marked(const SyncTable *table, HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;

	if (table->deleted_at < 0)
		return false;
	heap_getattr(tuple, table->columns[table->deleted_at].attnum, desc, &isnull);
	return !isnull;
}

Oid
sync_table_owner(const SyncTable *table)
{
	Relation	relation = table_open(table->relid, AccessShareLock);
	Oid			owner = relation->rd_rel->relowner;

	table_close(relation, AccessShareLock);
	return owner;
}

/* Attribute numbers are kept, so that a row is read alike wherever it comes from; dropped columns are NULL. */
void
sync_put_all_columns(StringInfo sql, const SyncTable *table)
{
	Relation	relation = table_open(table->relid, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(relation);
	int			i;

	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		appendStringInfo(sql, "%s%s", i ? ", " : "",
						 att->attisdropped ? "NULL" : psprintf("t.%s", quote_identifier(NameStr(att->attname))));
	}
	table_close(relation, AccessShareLock);
}

void
sync_put_key(StringInfo sql, const SyncTable *table, int first_param, Oid *types)
{
	int			i;

	for (i = 0; i < table->nkeys; i++)
	{
		const SyncColumn *column = &table->columns[table->keys[i]];

		types[i] = column->type;
		appendStringInfo(sql, "%st.%s %s $%d", i ? " AND " : "", quote_identifier(column->name),
						 sync_operator(column->type, false), first_param + i);
	}
}

/* While DETACH PARTITION ... CONCURRENTLY is under way (or was broken off) the way up ends at the partition, which still calls itself one. */
static Oid
root_of(Oid relid)
{
	List	   *ancestors = get_rel_relispartition(relid) ? get_partition_ancestors(relid) : NIL;

	return ancestors != NIL ? llast_oid(ancestors) : relid;
}

/*
 * The result, broken or not, stays valid until the relation changes and this is called again: callers use it within one statement and
 * hold a lock on the relation meanwhile. NULL: not synced.
 */
static SyncTable *
load_table(Oid relid)
{
	static TableEntry *last = NULL;	/* entries are never removed */
	bool		found = true;
	TableEntry *entry = last && last->relid == relid ? last : hash_search(entries, &relid, HASH_ENTER, &found);

	last = entry;
	if (!found)
	{
		entry->root = relid;
		entry->context = NULL;
		entry->table = NULL;
		entry->is_stale = false;
	}
	if (entry->table && !entry->is_stale)
		return entry->table;

	entry->table = NULL;
	if (entry->context)
	{
		/* A caller higher up the stack may still hold the old one: it goes with the transaction. */
		MemoryContextSetParent(entry->context, TopTransactionContext);
		entry->context = NULL;
	}
	entry->is_stale = false;
	entry->root = root_of(relid);
	entry->table = sync_table_read(relid, entry->root, &entry->context);
	return entry->table;
}

static void
refuse_unsynced(Oid relid)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table %s is not synced", get_rel_name(relid)),
			 errhint("Run sync.enable() on it.")));
}

/* Holds the table as it is until the transaction ends: a query or a write that waits for ALTER TABLE would go by the columns of before. */
SyncTable *
sync_table_by_relid(Oid relid, bool missing_ok)
{
	SyncTable  *table;

	LockRelationOid(relid, AccessShareLock);
	table = SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)) ? load_table(relid) : NULL;
	if (table == NULL && !missing_ok)
		refuse_unsynced(relid);
	if (table && table->broken && !missing_ok)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table %s cannot be synced at present", table->sql_name),
				 errhint("%s", table->broken)));
	return table && table->broken == NULL ? table : NULL;
}

SyncTable *
sync_table_even_broken(Oid relid)
{
	return load_table(relid);
}

/* A partition that is being detached keeps its triggers until that is done: what is written to it is no longer the table's. */
SyncTable *
sync_table_of_trigger(Oid relid)
{
	SyncTable  *table = load_table(relid);

	if (table == NULL && get_rel_relispartition(root_of(relid)))
		return NULL;
	if (table == NULL)
		refuse_unsynced(relid);
	return table->is_unsound ? NULL : table;
}

/* sync.changed_table(id): the registry's row is no part of the relation, so every backend is told to read it again. */
Datum
sync_changed_table(PG_FUNCTION_ARGS)
{
	Oid			types[] = {INT4OID};
	Datum		values[] = {PG_GETARG_DATUM(0)};
	SyncRole	saved;
	bool		isnull;

	SPI_connect();
	sync_become_extension(&saved);
	SPI_execute_with_args("SELECT t.relation FROM sync.synced_table t JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.relation "
						  "WHERE t.id OPERATOR(pg_catalog.=) $1", 1, types, values, NULL, false, 1);
	sync_become_back(&saved);
	if (SPI_processed == 1)
		CacheInvalidateRelcacheByRelid(DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)));
	SPI_finish();
	PG_RETURN_VOID();
}

/*
 * Which columns (indexes into table->columns) the caller may read. A table whose key, scope, mark or bookkeeping columns the caller may not
 * read cannot be synced to it: NULL, as for a table that is not granted at all.
 */
Bitmapset *
sync_readable_columns(const SyncTable *table, bool *all)
{
	Oid			role = GetUserId();
	Oid			namespace = get_rel_namespace(table->relid);
	Bitmapset  *readable = NULL;
	int			i;

	*all = true;
	if (pg_namespace_aclcheck(namespace, role, ACL_USAGE) != ACLCHECK_OK)
		return NULL;
	if (pg_class_aclcheck(table->relid, role, ACL_SELECT) == ACLCHECK_OK)
		return bms_add_range(NULL, 0, table->ncolumns - 1);

	*all = false;
	for (i = 0; i < table->ncolumns; i++)
		if (pg_attribute_aclcheck(table->relid, table->columns[i].attnum, role, ACL_SELECT) == ACLCHECK_OK)
			readable = bms_add_member(readable, i);
	if ((table->scope_column && pg_attribute_aclcheck(table->relid, table->scope_column->attnum, role, ACL_SELECT) != ACLCHECK_OK) ||
		(table->deleted_at >= 0 && !bms_is_member(table->deleted_at, readable)))
		return NULL;
	for (i = 0; i < table->nkeys; i++)
		if (!bms_is_member(table->keys[i], readable))
			return NULL;
	if (pg_attribute_aclcheck(table->relid, table->version_att, role, ACL_SELECT) != ACLCHECK_OK ||
		pg_attribute_aclcheck(table->relid, table->xid_att, role, ACL_SELECT) != ACLCHECK_OK ||
		pg_attribute_aclcheck(table->relid, table->at_att, role, ACL_SELECT) != ACLCHECK_OK ||
		pg_attribute_aclcheck(table->relid, table->by_att, role, ACL_SELECT) != ACLCHECK_OK ||
		pg_attribute_aclcheck(table->relid, table->clock_att, role, ACL_SELECT) != ACLCHECK_OK)
		return NULL;
	return readable;
}

void
sync_schema_versions(int64 *oldest, int64 *current)
{
	SyncRole	saved;
	bool		no_oldest = true;
	bool		no_current = true;

	sync_become_extension(&saved);
	SPI_execute("SELECT schema_oldest, schema_current FROM sync.instance", true, 1);
	sync_become_back(&saved);
	*oldest = *current = -1;
	if (SPI_processed != 1)
		return;
	*oldest = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &no_oldest));
	*current = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &no_current));
	if (no_oldest)
		*oldest = -1;
	if (no_current)
		*current = -1;
}
