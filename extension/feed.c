/*
 * feed.c - what the streamer asks of the database: checkpoints, the list of tables, rows its decoder cannot show whole.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "access/xlog.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_publication.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "replication/message.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(sync_adopt_publication);
PG_FUNCTION_INFO_V1(sync_checkpoint);
PG_FUNCTION_INFO_V1(sync_feed_tables);
PG_FUNCTION_INFO_V1(sync_feed_rows);
PG_FUNCTION_INFO_V1(sync_column_kind);
PG_FUNCTION_INFO_V1(sync_caller_owns);
PG_FUNCTION_INFO_V1(sync_caller_owns_database);

/*
 * A transaction leaves the list of running ones after its commit record is written, so whatever this snapshot sees stands before the
 * message in WAL. The message carries only a number: anybody may write one, and the snapshot stays with who asked.
 */
Datum
sync_checkpoint(PG_FUNCTION_ARGS)
{
	char		nonce[24];
	SyncSnapshot *snapshot;
	int			len;

	if (RecoveryInProgress())
		ereport(ERROR, (errcode(SYNC_ERR_WRONG_STATE), errmsg("cannot make a checkpoint of the feed during recovery")));
	snapshot = sync_snapshot_now();
	len = snprintf(nonce, sizeof(nonce), INT64_FORMAT, PG_GETARG_INT64(0));
	XLogFlush(LogLogicalMessage("sync", nonce, len, false));
	PG_RETURN_TEXT_P(cstring_to_text(sync_snapshot_text(snapshot)));
}

Datum
sync_column_kind(PG_FUNCTION_ARGS)
{
	PG_RETURN_CHAR(sync_kind(PG_GETARG_OID(0)));
}

/* ALTER EXTENSION … ADD has no word for publications, though nothing else speaks against one as a member. */
Datum
sync_adopt_publication(PG_FUNCTION_ARGS)
{
	ObjectAddress extension;
	ObjectAddress publication;

	ObjectAddressSet(extension, ExtensionRelationId, get_extension_oid("sync", false));
	ObjectAddressSet(publication, PublicationRelationId, get_publication_oid(NameStr(*PG_GETARG_NAME(0)), false));
	if (getExtensionOfObject(PublicationRelationId, publication.objectId) != extension.objectId)
		recordDependencyOn(&publication, &extension, DEPENDENCY_EXTENSION);
	PG_RETURN_VOID();
}

/* GetOuterUserId looks through SECURITY DEFINER: it is the role that called the definer function. */
Datum
sync_caller_owns(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(pg_class_ownercheck(PG_GETARG_OID(0), GetOuterUserId()));
}

Datum
sync_caller_owns_database(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(pg_database_ownercheck(MyDatabaseId, GetOuterUserId()));
}

static void
put_string(StringInfo out, const char *name, const char *text)
{
	appendStringInfo(out, "\"%s\":", name);
	if (text)
		sync_render_string(out, text, strlen(text));
	else
		appendStringInfoString(out, "null");
	appendStringInfoChar(out, ',');
}

static const char *
column_name(const SyncTable *table, int column)
{
	return column < 0 ? NULL : table->columns[column].name;
}

/* The WAL names the partition that a row is in. No lock: DDL locks a table before its partitions, and would end in a deadlock with who has these already. */
static void
put_partitions(StringInfo out, const SyncTable *table)
{
	List	   *all = get_rel_relkind(table->relid) == RELKIND_PARTITIONED_TABLE ?
		find_all_inheritors(table->relid, NoLock, NULL) : NIL;
	const char *separator = "";
	ListCell   *lc;

	foreach(lc, all)
	{
		char	   *schema = get_namespace_name(get_rel_namespace(lfirst_oid(lc)));
		char	   *name = get_rel_name(lfirst_oid(lc));

		/* without a name: it was just dropped */
		if (lfirst_oid(lc) == table->relid || schema == NULL || name == NULL)
			continue;
		appendStringInfo(out, "%s[", separator);
		sync_render_string(out, schema, strlen(schema));
		appendStringInfoChar(out, ',');
		sync_render_string(out, name, strlen(name));
		appendStringInfoChar(out, ']');
		separator = ",";
	}
}

static char *
type_name(Oid type)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	char	   *name;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", type);
	name = pstrdup(NameStr(((Form_pg_type) GETSTRUCT(tuple))->typname));
	ReleaseSysCache(tuple);
	return name;
}

static void
put_table(StringInfo out, const SyncTable *table)
{
	int			i;

	appendStringInfo(out, "{\"id\":%d,", table->id);
	put_string(out, "schema", get_namespace_name(get_rel_namespace(table->relid)));
	put_string(out, "table", get_rel_name(table->relid));
	put_string(out, "entity_type", table->entity_type);
	put_string(out, "scope", table->scope);
	put_string(out, "scope_column", table->scope_column ? table->scope_column->name : NULL);
	put_string(out, "deleted_at", column_name(table, table->deleted_at));
	appendStringInfo(out, "\"priority\":%d,\"key\":[", table->priority);
	for (i = 0; i < table->nkeys; i++)
	{
		const char *name = table->columns[table->keys[i]].name;

		if (i)
			appendStringInfoChar(out, ',');
		sync_render_string(out, name, strlen(name));
	}
	appendStringInfoString(out, "],\"partitions\":[");
	put_partitions(out, table);
	appendStringInfoString(out, "],\"columns\":[");
	for (i = 0; i < table->ncolumns; i++)
	{
		const SyncColumn *column = &table->columns[i];

		appendStringInfoString(out, i ? ",{" : "{");
		put_string(out, "name", column->name);
		put_string(out, "type", type_name(column->type));
		put_string(out, "base", get_typtype(column->base) == TYPTYPE_ENUM ? "enum" : type_name(column->base));
		appendStringInfo(out, "\"kind\":\"%c\",\"hash\":%u,\"follows\":%s}", column->kind, column->name_hash,
						 column->is_generated || i == table->updated_at ? "true" : "false");
	}
	appendStringInfoString(out, "]}");
}

/* A column of sync.instance, within SPI. */
static char *
instance_text(const char *column, const char *otherwise)
{
	SyncRole	saved;

	sync_become_extension(&saved);
	SPI_execute(psprintf("SELECT %s FROM sync.instance", column), true, 1);
	sync_become_back(&saved);
	return SPI_processed == 1 ? SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1) : pstrdup(otherwise);
}

/* NULL: pgoutput decodes all that it should. */
static const char *
unpublished_text(void)
{
	SyncRole	saved;

	sync_become_extension(&saved);
	SPI_execute("SELECT pg_catalog.string_agg(pg_catalog.concat(object, ' ', finding), '; ') FROM sync.publication_problems() "
				"WHERE finding OPERATOR(pg_catalog.!~) '^does not belong'", true, 1);
	sync_become_back(&saved);
	return SPI_processed == 1 ? SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1) : NULL;
}

/* What our own WAL messages begin with, in the caller's memory. */
char *
sync_message_key(void)
{
	MemoryContext caller = CurrentMemoryContext;
	char	   *key;

	SPI_connect();
	key = MemoryContextStrdup(caller, instance_text("message_key", ""));
	SPI_finish();
	return key;
}

/* The same for who has the key already: runs no query. */
void
sync_write_message(const char *key, const char *json, bool transactional)
{
	StringInfoData message;
	XLogRecPtr	end;

	initStringInfo(&message);
	appendStringInfo(&message, "%s:%s", key, json);
	end = LogLogicalMessage("sync", message.data, message.len, transactional);
	if (!transactional)
		XLogFlush(end);
}

/*
 * Writes a message of our own to the WAL: a JSON object behind the key that tells it from what anybody may write with this prefix. One that is not
 * transactional is flushed, so that the streamers read it at once.
 */
void
sync_message(const char *json, bool transactional)
{
	sync_write_message(sync_message_key(), json, transactional);
}

Datum
sync_feed_tables(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	StringInfoData out;
	ListCell   *lc;
	List	   *tables;
	text	   *answer;

	SPI_connect();
	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	put_string(&out, "unpublished", unpublished_text());
	appendStringInfo(&out, "\"system_id\":\"" UINT64_FORMAT "\",\"timeline\":%u,\"incarnation\":\"%s\",\"message_key\":\"%s\","
					 "\"tombstone\":{\"schema\":\"sync\",\"table\":\"tombstone\"},"
					 "\"registry\":[[\"sync\",\"synced_table\"],[\"sync\",\"scope\"],[\"sync\",\"instance\"]],\"tables\":[",
					 GetSystemIdentifier(), RecoveryInProgress() ? 0 : GetWALInsertionTimeLine(), instance_text("incarnation", "0"), instance_text("message_key", ""));
	tables = sync_list_tables();
	foreach(lc, tables)
	{
		if (foreach_current_index(lc) > 0)
			appendStringInfoChar(&out, ',');
		put_table(&out, ((SyncListed *) lfirst(lc))->table);
	}
	appendStringInfoString(&out, "]}");
	MemoryContextSwitchTo(caller);
	answer = cstring_to_text_with_len(out.data, out.len);
	SPI_finish();
	PG_RETURN_TEXT_P(answer);
}

/* One row by its key, read as the table's owner: the feed sees everything, and routes by scope. */
static bool
fetch_row(const SyncTable *table, const char *entity_id, Oid owner)
{
	StringInfoData sql;
	Oid			types[INDEX_MAX_KEYS];
	Datum		keys[INDEX_MAX_KEYS];
	SyncRole	saved;

	if (!sync_parse_entity_id(table, entity_id, keys))
		return false;
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	sync_put_all_columns(&sql, table);
	appendStringInfo(&sql, " FROM %s t WHERE ", table->from_name);
	sync_put_key(&sql, table, 1, types);
	if (table->deleted_at >= 0)
		appendStringInfo(&sql, " AND t.%s IS NULL", quote_identifier(table->columns[table->deleted_at].name));
	sync_become(&saved, owner);
	SPI_execute_with_args(sql.data, table->nkeys, types, keys, NULL, true, 1);
	sync_become_back(&saved);
	return SPI_processed == 1;
}

static void
put_row(StringInfo out, const SyncTable *table, const char *entity_id)
{
	HeapTuple	row = SPI_tuptable->vals[0];
	TupleDesc	desc = SPI_tuptable->tupdesc;
	bool		isnull;
	Datum		xid = SPI_getbinval(row, desc, table->xid_att, &isnull);

	if (out->len > 1)
		appendStringInfoChar(out, ',');
	appendStringInfoChar(out, '{');
	put_string(out, "entity_id", entity_id);
	appendStringInfo(out, "\"xid\":\"" UINT64_FORMAT "\",\"change\":", U64FromFullTransactionId(DatumGetFullTransactionId(xid)));
	sync_render_row(out, table, row, desc, NULL);
	appendStringInfoChar(out, '}');
}

/* One answer has room for so many rows: this one is to be asked for again. */
static void
put_later(StringInfo out, const char *entity_id)
{
	appendStringInfoString(out, ",{");
	put_string(out, "entity_id", entity_id);
	appendStringInfoString(out, "\"later\":true}");
}

Datum
sync_feed_rows(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	StringInfoData out;
	SyncTable  *table;
	Datum	   *keys;
	bool	   *nulls;
	text	   *answer;
	int			n;
	int			i;

	SPI_connect();
	initStringInfo(&out);
	appendStringInfoChar(&out, '[');
	table = sync_table_held(sync_list_tables(), PG_GETARG_INT32(0));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &keys, &nulls, &n);
	for (i = 0; table && i < n; i++)
	{
		char	   *entity_id = nulls[i] ? NULL : TextDatumGetCString(keys[i]);

		if (entity_id && out.len > SYNC_PAGE_BYTES)
			put_later(&out, entity_id);
		else if (entity_id && fetch_row(table, entity_id, sync_table_owner(table)))
			put_row(&out, table, entity_id);
	}
	appendStringInfoChar(&out, ']');
	MemoryContextSwitchTo(caller);
	answer = cstring_to_text_with_len(out.data, out.len);
	SPI_finish();
	PG_RETURN_TEXT_P(answer);
}
