/*
 * value.c - the members of "data" and "base" as their columns' types read them.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "change.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"

static char *
json_text_of(JsonbValue *v)
{
	Jsonb	   *json = JsonbValueToJsonb(v);

	return JsonbToCString(NULL, &json->root, VARSIZE(json));
}

/* Base64 strings inside an array of bytea become the hex text that its input function takes. */
static Jsonb *
hex_from_base64(JsonbValue *v)
{
	SyncColumn	element = {.name = "element", .type = BYTEAOID, .kind = 'y'};
	JsonbIterator *it = JsonbIteratorInit(v->val.binary.data);
	JsonbParseState *state = NULL;
	JsonbIteratorToken token;
	JsonbValue	item;
	JsonbValue *result = NULL;

	while ((token = JsonbIteratorNext(&it, &item, false)) != WJB_DONE)
	{
		if (token == WJB_ELEM && item.type == jbvString)
		{
			bytea	   *bytes = DatumGetByteaPP(sync_parse_text(&element, sync_json_text(&item)));
			int			len = VARSIZE_ANY_EXHDR(bytes);

			item.val.string.val = palloc(2 + 2 * len);
			memcpy(item.val.string.val, "\\x", 2);
			item.val.string.len = 2 + (int) hex_encode(VARDATA_ANY(bytes), len, item.val.string.val + 2);
		}
		result = pushJsonbValue(&state, token, token == WJB_ELEM || token == WJB_KEY || token == WJB_VALUE ? &item : NULL);
	}
	return JsonbValueToJsonb(result);
}

/* Arrays and composites: PostgreSQL's own reader, by way of the table's row type. */
static Datum
nested_from_json(Push *push, const SyncTable *table, const SyncColumn *column, JsonbValue *v, bool *isnull)
{
	Oid			types[] = {JSONBOID};
	StringInfoData object;
	Datum		values[1];
	int16		len;
	bool		byval;

	initStringInfo(&object);
	appendStringInfoChar(&object, '{');
	sync_render_string(&object, column->name, strlen(column->name));
	if (get_element_type(sync_base_type(column->type)) == BYTEAOID)
	{
		Jsonb	   *hex = hex_from_base64(v);

		appendStringInfo(&object, ":%s}", JsonbToCString(NULL, &hex->root, VARSIZE(hex)));
	}
	else
		appendStringInfo(&object, ":%s}", json_text_of(v));
	values[0] = DirectFunctionCall1(jsonb_in, CStringGetDatum(object.data));
	SPI_execute_plan(push_plan(push, psprintf("SELECT (pg_catalog.jsonb_populate_record(NULL::%s, $1)).%s", table->sql_name,
											 quote_identifier(column->name)), 1, types), values, NULL, false, 1);
	values[0] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, isnull);
	get_typlenbyval(column->type, &len, &byval);
	return *isnull ? (Datum) 0 : datumCopy(values[0], byval, len);
}

/* A JSON value as the column's type reads it; raises the type's own error. */
Datum
value_from_json(Push *push, const SyncTable *table, const SyncColumn *column, JsonbValue *v, bool *isnull)
{
	char	   *text;

	*isnull = v->type == jbvNull;
	if (*isnull)
		return (Datum) 0;
	if (column->kind == 'j')
		return sync_parse_text(column, json_text_of(v));
	if (column->kind == 'x' && v->type == jbvBinary)
		return nested_from_json(push, table, column, v, isnull);
	text = sync_json_text(v);
	if (text == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("column \"%s\" does not take an object or array", column->name)));
	return sync_parse_text(column, text);
}

/* Columns that the database alone sets: clients may send them back with a row, and they are passed over. */
bool
value_is_server_column(const SyncTable *table, int column)
{
	return table->columns[column].is_generated || column == table->updated_at || column == table->deleted_at;
}

/* {"ref": queue_id} in place of a value: the key that an earlier create of this batch was given. NULL: no reference. */
static char *
referenced_id(Push *push, const SyncColumn *column, JsonbValue *v)
{
	JsonbValue *ref;
	TextEntry  *entry;
	const Change *created;

	if (v->type != jbvBinary || column->kind == 'j' || column->kind == 'x' || !JsonContainerIsObject(v->val.binary.data))
		return NULL;
	ref = sync_json_get(v->val.binary.data, "ref");
	if (ref == NULL || ref->type != jbvString || JsonContainerSize(v->val.binary.data) != 1)
		return NULL;
	entry = hash_search(push->by_queue, sync_json_text(ref), HASH_FIND, NULL);
	created = entry ? &push->changes[entry->index] : NULL;
	if (created == NULL || created->entity_id == NULL || created->status == NULL || strcmp(created->status, "success") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("column \"%s\" refers to no row of this batch", column->name),
				 errhint("\"ref\" must name the queue_id of an earlier create of this batch that succeeded.")));
	return created->result_id ? created->result_id : created->entity_id;
}

/* Reads "data" or "base" as fields in column order. Names were checked when the request was read. */
Field *
value_read_fields(Push *push, const SyncTable *table, JsonbContainer *object, int *n)
{
	Field	   *fields = palloc(sizeof(Field) * table->ncolumns);
	int			i;

	*n = 0;
	for (i = 0; object && i < table->ncolumns; i++)
	{
		JsonbValue *v;
		char	   *id;

		if (value_is_server_column(table, i))
			continue;
		v = sync_json_get(object, table->columns[i].name);
		if (v == NULL)
			continue;
		fields[*n].column = i;
		id = referenced_id(push, &table->columns[i], v);
		fields[*n].isnull = false;
		if (id)
			fields[*n].value = sync_parse_text(&table->columns[i], id);
		else
			fields[*n].value = value_from_json(push, table, &table->columns[i], v, &fields[*n].isnull);
		(*n)++;
	}
	return fields;
}

/* As the one rendering shows it. */
Jsonb *
value_to_json(const SyncColumn *column, Datum value, bool isnull)
{
	StringInfoData text;

	if (isnull)
		return NULL;
	initStringInfo(&text);
	sync_render_value(&text, column, value);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text.data)));
}

bool
value_equals(const SyncColumn *column, const Field *field, Datum value, bool isnull)
{
	if (isnull || field->isnull)
		return isnull && field->isnull;
	return datum_image_eq(value, field->value, column->byval, column->len);
}

bool
value_equals_row(const SyncTable *table, const Field *field, const Row *row)
{
	const SyncColumn *column = &table->columns[field->column];
	bool		isnull;
	Datum		value = heap_getattr(row->tuple, column->attnum, row->desc, &isnull);

	return value_equals(column, field, value, isnull);
}

bool
value_all_equal(const SyncTable *table, const Field *fields, int n, const Row *row)
{
	int			i;

	for (i = 0; i < n; i++)
		if (!value_equals_row(table, &fields[i], row))
			return false;
	return true;
}
