/*
 * table.c - what the backend knows of a synced table: read from the registry once, dropped when the relation changes.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"
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

/* The first problem counts; the rest often follows from it. */
static void
set_unsound(SyncTable *table, const char *problem)
{
	if (!table->is_unsound)
		table->broken = pstrdup(problem);
	table->is_unsound = true;
}

static AttrNumber
own_column(SyncTable *table, TupleDesc desc, const char *name)
{
	int			i;

	for (i = 0; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped && strcmp(NameStr(TupleDescAttr(desc, i)->attname), name) == 0)
			return TupleDescAttr(desc, i)->attnum;
	set_unsound(table, psprintf("its column \"%s\" is gone: run sync.disable() and sync.enable() on it again", name));
	return 1;
}

static int
column_index(SyncTable *table, const char *name)
{
	int			i;

	if (name == NULL)
		return -1;
	for (i = 0; i < table->ncolumns; i++)
		if (strcmp(table->columns[i].name, name) == 0)
			return i;
	set_unsound(table, psprintf("its column \"%s\" is gone: run sync.disable() and sync.enable() on it again", name));
	return 0;
}

static void
read_columns(SyncTable *table, TupleDesc desc)
{
	int			i;

	table->natts = desc->natts;
	table->columns = palloc0(sizeof(SyncColumn) * desc->natts);
	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		SyncColumn *column = &table->columns[table->ncolumns];

		if (att->attisdropped || strncmp(NameStr(att->attname), "sync_", 5) == 0)
			continue;
		column->name = pstrdup(NameStr(att->attname));
		column->name_hash = (uint32) sync_hash(column->name, strlen(column->name), 0);
		column->attnum = att->attnum;
		column->type = att->atttypid;
		column->typmod = att->atttypmod;
		column->is_generated = att->attgenerated != '\0';
		sync_render_setup(column);
		table->ncolumns++;
	}
	table->version_att = own_column(table, desc, "sync_version");
	table->xid_att = own_column(table, desc, "sync_xid");
	table->at_att = own_column(table, desc, "sync_at");
	table->by_att = own_column(table, desc, "sync_by");
	table->clock_att = own_column(table, desc, "sync_clock");
}

static void
read_key(SyncTable *table, Relation relation)
{
	Oid			index_id = RelationGetPrimaryKeyIndex(relation);
	Relation	index;
	int			i;
	int			k;

	if (!OidIsValid(index_id))
	{
		set_unsound(table, "it has lost its primary key: ALTER TABLE … ADD PRIMARY KEY");
		return;
	}
	index = index_open(index_id, AccessShareLock);
	table->nkeys = IndexRelationGetNumberOfKeyAttributes(index);
	table->keys = palloc(sizeof(int) * table->nkeys);
	for (k = 0; k < table->nkeys; k++)
		for (i = 0; i < table->ncolumns; i++)
			if (table->columns[i].attnum == index->rd_index->indkey.values[k])
				table->keys[k] = i;
	index_close(index, AccessShareLock);
}

static bool
is_indexed(Relation relation, AttrNumber attnum)
{
	ListCell   *lc;
	bool		found = false;

	foreach(lc, RelationGetIndexList(relation))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		found |= index->rd_rel->relam == BTREE_AM_OID && index->rd_index->indisvalid && index->rd_index->indkey.values[0] == attnum &&
			heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL);
		index_close(index, AccessShareLock);
	}
	return found;
}

static char *
field(HeapTuple tuple, TupleDesc desc, int n)
{
	return SPI_getvalue(tuple, desc, n);
}

/* The registry's row, in the order that build_table reads it. */
#define REGISTRY_COLUMNS "t.id, t.entity_type, t.scope_column, t.deletes, t.priority, t.policy_is_scope, t.deleted_at, " \
	"t.updated_at, t.enabled_xid, s.id, s.name, t.rule, t.delete_rule, t.history, t.enforce_locks, t.anonymous, t.verify, t.edit_window, " \
	"pg_catalog.to_json(t.policy_columns), t.via, p.relation::pg_catalog.oid, t.broken"

enum
{
	REG_ID = 1, REG_ENTITY_TYPE, REG_SCOPE_COLUMN, REG_DELETES, REG_PRIORITY, REG_POLICY_IS_SCOPE, REG_DELETED_AT, REG_UPDATED_AT,
	REG_ENABLED_XID, REG_SCOPE_ID, REG_SCOPE, REG_RULE, REG_DELETE_RULE, REG_HISTORY, REG_ENFORCE_LOCKS, REG_ANONYMOUS, REG_VERIFY,
	REG_EDIT_WINDOW, REG_POLICY_COLUMNS, REG_VIA, REG_PARENT, REG_BROKEN
};

static bool
is_set(HeapTuple tuple, TupleDesc desc, int n)
{
	return field(tuple, desc, n)[0] == 't';
}

static const char *const rule_names[] = {
	"merge", "lww", "reject", "manual", "union", "append", "counter", "text", "server", "client", "max", "min", "object", "resolver"
};

SyncRule
sync_rule_by_name(const char *name)
{
	int			i;

	for (i = 0; i < (int) lengthof(rule_names); i++)
		if (strcmp(rule_names[i], name) == 0)
			return i;
	elog(ERROR, "unknown rule \"%s\"", name);
}

const char *
sync_rule_name(SyncRule rule)
{
	return rule_names[rule];
}

static SyncDeleteRule
delete_rule_by_name(const char *name)
{
	return strcmp(name, "edit_wins") == 0 ? EDIT_WINS : strcmp(name, "lww") == 0 ? DELETE_LWW : DELETE_WINS;
}

/* The scope column may be one of ours: sync_scope, for tables enabled via another. */
static SyncColumn *
read_scope_column(SyncTable *table, TupleDesc desc, const char *name)
{
	SyncColumn *column;

	if (name == NULL)
		return NULL;
	if (strcmp(name, "sync_scope") != 0)
		return &table->columns[column_index(table, name)];
	column = palloc0(sizeof(SyncColumn));
	column->name = pstrdup(name);
	column->attnum = own_column(table, desc, name);
	column->type = TupleDescAttr(desc, column->attnum - 1)->atttypid;
	column->typmod = -1;
	if (!table->is_unsound)
		sync_render_setup(column);
	return column;
}

static List *
read_policy_columns(SyncTable *table, const char *json)
{
	Jsonb	   *names = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
	List	   *columns = NIL;
	int			i;

	for (i = 0; i < (int) JB_ROOT_COUNT(names); i++)
		columns = lappend(columns, &table->columns[column_index(table, sync_json_text(getIthJsonbValueFromContainer(&names->root, i)))]);
	return columns;
}

static Interval *
read_interval(HeapTuple tuple, TupleDesc desc, int n)
{
	bool		isnull;
	Datum		value = SPI_getbinval(tuple, desc, n, &isnull);
	Interval   *copy;

	if (isnull)
		return NULL;
	copy = palloc(sizeof(Interval));
	*copy = *DatumGetIntervalP(value);
	return copy;
}

/* Event triggers keep the registry true to the policies; this is for what they cannot notice, such as another body of a function. */
static void
check_policies(SyncTable *table)
{
	Bitmapset  *used = NULL;
	ListCell   *lc;
	char	   *problem;

	if (!table->has_policies || table->policy_is_scope || table->verify || table->broken)
		return;
	problem = sync_policy_judge(table->relid, &used);
	foreach(lc, table->policy_columns)
		used = bms_del_member(used, ((SyncColumn *) lfirst(lc))->attnum);
	if (problem == NULL && !bms_is_empty(used))
		problem = pstrdup("its policies look at other columns than before: run sync.disable() and sync.enable() on it again");
	table->broken = problem;
}

static void
read_names(SyncTable *table, Oid root, Relation relation)
{
	table->relid = root;
	table->is_partition = RelationGetRelid(relation) != root;
	table->sql_name = pstrdup(quote_qualified_identifier(get_namespace_name(get_rel_namespace(root)), get_rel_name(root)));
	table->from_name = get_rel_relkind(root) == RELKIND_PARTITIONED_TABLE ? table->sql_name : psprintf("ONLY %s", table->sql_name);
}

/* Builds the table from its registry row in the current memory context. relid is the table, or a partition of root. */
static SyncTable *
build_table(Oid relid, Oid root, HeapTuple row, TupleDesc desc)
{
	SyncTable  *table = palloc0(sizeof(SyncTable));
	Relation	relation = table_open(relid, AccessShareLock);
	static uint64 generations = 0;
	StringInfoData type;
	char	   *scope_id;

	read_names(table, root, relation);
	table->generation = ++generations;
	table->id = atoi(field(row, desc, REG_ID));
	table->entity_type = field(row, desc, REG_ENTITY_TYPE);
	initStringInfo(&type);
	sync_render_member(&type, "entity_type", table->entity_type);
	appendStringInfoString(&type, ",\"entity_id\":");
	table->json_type = type.data;
	table->json_type_len = type.len;
	table->has_policies = relation->rd_rel->relrowsecurity;
	table->is_soft = strcmp(field(row, desc, REG_DELETES), "soft") == 0;
	table->priority = atoi(field(row, desc, REG_PRIORITY));
	table->policy_is_scope = is_set(row, desc, REG_POLICY_IS_SCOPE);
	table->enabled_xid = FullTransactionIdFromU64(strtoull(field(row, desc, REG_ENABLED_XID), NULL, 10));
	scope_id = field(row, desc, REG_SCOPE_ID);
	table->scope_id = scope_id ? atoi(scope_id) : 0;
	table->scope = field(row, desc, REG_SCOPE);
	table->rule = sync_rule_by_name(field(row, desc, REG_RULE));
	table->delete_rule = delete_rule_by_name(field(row, desc, REG_DELETE_RULE));
	table->has_history = is_set(row, desc, REG_HISTORY);
	table->enforce_locks = is_set(row, desc, REG_ENFORCE_LOCKS);
	table->is_anonymous = is_set(row, desc, REG_ANONYMOUS);
	table->verify = is_set(row, desc, REG_VERIFY);
	table->edit_window = read_interval(row, desc, REG_EDIT_WINDOW);
	read_columns(table, RelationGetDescr(relation));
	read_key(table, relation);
	table->scope_column = read_scope_column(table, RelationGetDescr(relation), field(row, desc, REG_SCOPE_COLUMN));
	table->scope_is_indexed = table->scope_column && is_indexed(relation, table->scope_column->attnum);
	table->policy_columns = read_policy_columns(table, field(row, desc, REG_POLICY_COLUMNS));
	table->deleted_at = column_index(table, field(row, desc, REG_DELETED_AT));
	table->updated_at = column_index(table, field(row, desc, REG_UPDATED_AT));
	table->via = column_index(table, field(row, desc, REG_VIA));
	table->parent = field(row, desc, REG_PARENT) ? (Oid) strtoul(field(row, desc, REG_PARENT), NULL, 10) : InvalidOid;
	if (table->broken == NULL)
		table->broken = field(row, desc, REG_BROKEN);
	if (!table->is_partition)
		check_policies(table);
	table_close(relation, AccessShareLock);
	return table;
}

/* Rules of columns, from rows of (column, member, rule, resolver). */
static void
read_column_rules(SyncTable *table, SPITupleTable *rows, uint64 n)
{
	uint64		i;
	int			c;

	for (i = 0; i < n; i++)
	{
		char	   *name = field(rows->vals[i], rows->tupdesc, 1);
		SyncColumnRule *rule = palloc0(sizeof(SyncColumnRule));
		bool		isnull;
		Datum		resolver = SPI_getbinval(rows->vals[i], rows->tupdesc, 4, &isnull);

		rule->member = field(rows->vals[i], rows->tupdesc, 2);
		rule->rule = sync_rule_by_name(field(rows->vals[i], rows->tupdesc, 3));
		rule->resolver = isnull ? InvalidOid : DatumGetObjectId(resolver);
		for (c = 0; c < table->ncolumns; c++)	/* none: the column was dropped since */
			if (strcmp(table->columns[c].name, name) == 0)
				table->columns[c].rules = lappend(table->columns[c].rules, rule);
	}
}

static void
fill_entry(TableEntry *entry)
{
	SyncRole	saved;
	Oid			types[] = {OIDOID};
	Datum		values[] = {ObjectIdGetDatum(entry->root)};
	MemoryContext context;
	MemoryContext before;
	SyncTable  *table = NULL;
	SPITupleTable *rows;
	SPITupleTable *rules;
	uint64		found;

	SPI_connect();
	sync_become_extension(&saved);
	SPI_execute_with_args("SELECT c.column_name, c.member, c.rule, c.resolver::pg_catalog.oid FROM sync.column_rule c "
						  "JOIN sync.synced_table t ON t.id OPERATOR(pg_catalog.=) c.table_id WHERE t.relation OPERATOR(pg_catalog.=) $1",
						  1, types, values, NULL, false, 0);
	rules = SPI_tuptable;
	found = SPI_processed;
	SPI_execute_with_args("SELECT " REGISTRY_COLUMNS " FROM sync.synced_table t LEFT JOIN sync.scope s ON s.name = t.scope "
						  "LEFT JOIN sync.synced_table p ON p.id OPERATOR(pg_catalog.=) t.parent WHERE t.relation OPERATOR(pg_catalog.=) $1", 1, types, values, NULL, false, 1);
	rows = SPI_tuptable;
	if (SPI_processed == 0)
	{
		sync_become_back(&saved);
		SPI_finish();
		return;
	}
	/* Only a finished entry moves to the cache: an error half-way takes it along. */
	context = AllocSetContextCreate(CurrentMemoryContext, "synced table", ALLOCSET_SMALL_SIZES);
	before = MemoryContextSwitchTo(context);
	table = build_table(entry->relid, entry->root, rows->vals[0], rows->tupdesc);
	read_column_rules(table, rules, found);
	sync_become_back(&saved);
	MemoryContextSwitchTo(before);
	MemoryContextSetParent(context, CacheMemoryContext);
	SPI_finish();

	entry->context = context;
	entry->table = table;
}

static Oid
root_of(Oid relid)
{
	return get_rel_relispartition(relid) ? llast_oid(get_partition_ancestors(relid)) : relid;
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
	fill_entry(entry);
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

SyncTable *
sync_table_of_trigger(Oid relid)
{
	SyncTable  *table = load_table(relid);

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
