/*
 * render.c - the one JSON rendering that pull, push and the stream share: the type decides, session settings do not.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include <math.h>

#include "access/detoast.h"
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/base64.h"
#include "common/shortest_dec.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/cash.h"
#include "utils/date.h"
#include "utils/float.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/typcache.h"
#include "utils/uuid.h"
#include "executor/spi.h"

/*
 * Kinds. The streamer renders the same from wal2json's text, so each is defined on the type's output text under
 * TimeZone UTC, ISO dates, and default interval, float and bytea styles:
 *   n  number as it is        f  float: as it is, NaN and infinities as strings
 *   s  string of the text     d  numeric: string of the digits
 *   b  true or false          j  json: the text itself
 *   y  bytea: base64          t  timestamp and z timestamptz: ISO 8601 with T, and Z for UTC
 *   x  arrays and composites: JSON of these; money: string of the number
 */
char
sync_kind(Oid type)
{
	Oid			base = getBaseType(type);

	switch (base)
	{
		case INT2OID:
		case INT4OID:
		case OIDOID:
			return 'n';
		case FLOAT4OID:
		case FLOAT8OID:
			return 'f';
		case NUMERICOID:
			return 'd';
		case BOOLOID:
			return 'b';
		case JSONOID:
		case JSONBOID:
			return 'j';
		case BYTEAOID:
			return 'y';
		case TIMESTAMPOID:
			return 't';
		case TIMESTAMPTZOID:
			return 'z';
		case CASHOID:
			return 'x';
		default:
			if (type_is_array(base) || type_is_rowtype(base))
				return 'x';
			return 's';
	}
}

void
sync_render_setup(SyncColumn *column)
{
	Oid			function;
	bool		is_varlena;

	column->kind = sync_kind(column->type);
	column->base = getBaseType(column->type);
	getTypeOutputInfo(column->type, &function, &is_varlena);
	fmgr_info_cxt(function, &column->output, CurrentMemoryContext);
	get_typlenbyval(column->type, &column->len, &column->byval);
	if (column->name)
	{
		StringInfoData name;

		initStringInfo(&name);
		sync_render_string(&name, column->name, strlen(column->name));
		sync_put(&name, ":", 1);
		column->json_name = name.data;
		column->json_name_len = name.len;
	}
}

/* Calls an output function under fixed settings, whatever the session's are. */
static char *
fixed_output(FmgrInfo *function, Datum value)
{
	int			date_style = DateStyle;
	int			date_order = DateOrder;
	int			interval_style = IntervalStyle;
	int			float_digits = extra_float_digits;
	int			bytea_style = bytea_output;
	pg_tz	   *zone = session_timezone;
	static pg_tz *utc = NULL;	/* kept for good by pgtz.c */
	char	   *volatile text = NULL;

	if (utc == NULL)
		utc = pg_tzset("UTC");
	DateStyle = USE_ISO_DATES;
	DateOrder = DATEORDER_MDY;
	IntervalStyle = INTSTYLE_POSTGRES;
	extra_float_digits = 1;
	bytea_output = BYTEA_OUTPUT_HEX;
	session_timezone = utc;
	PG_TRY();
	{
		text = OutputFunctionCall(function, value);
	}
	PG_FINALLY();
	{
		DateStyle = date_style;
		DateOrder = date_order;
		IntervalStyle = interval_style;
		extra_float_digits = float_digits;
		bytea_output = bytea_style;
		session_timezone = zone;
	}
	PG_END_TRY();
	return text;
}

static void
render_base64(StringInfo out, bytea *bytes)
{
	int			len = VARSIZE_ANY_EXHDR(bytes);
	int			room = pg_b64_enc_len(len);
	int			written;

	appendStringInfoChar(out, '"');
	enlargeStringInfo(out, room + 1);
	written = pg_b64_encode(VARDATA_ANY(bytes), len, out->data + out->len, room);
	if (written < 0)
		elog(ERROR, "base64 encoding failed");
	out->len += written;
	appendStringInfoChar(out, '"');
}

static void render_typed(StringInfo out, Oid type, Datum value);

static void
render_array(StringInfo out, Datum value, int ndim, const int *dims, Datum **next, bool **null, Oid element)
{
	int			i;

	appendStringInfoChar(out, '[');
	for (i = 0; i < dims[0]; i++)
	{
		if (i)
			appendStringInfoChar(out, ',');
		if (ndim > 1)
		{
			render_array(out, value, ndim - 1, dims + 1, next, null, element);
			continue;
		}
		if (**null)
			appendStringInfoString(out, "null");
		else
			render_typed(out, element, **next);
		(*next)++;
		(*null)++;
	}
	appendStringInfoChar(out, ']');
}

static void
render_whole_array(StringInfo out, Datum value)
{
	ArrayType  *array = DatumGetArrayTypeP(value);
	Oid			element = ARR_ELEMTYPE(array);
	int16		len;
	bool		byval;
	char		align;
	Datum	   *values;
	bool	   *nulls;
	int			count;

	if (ARR_NDIM(array) == 0)
	{
		appendStringInfoString(out, "[]");
		return;
	}
	get_typlenbyvalalign(element, &len, &byval, &align);
	deconstruct_array(array, element, len, byval, align, &values, &nulls, &count);
	render_array(out, value, ARR_NDIM(array), ARR_DIMS(array), &values, &nulls, element);
}

static void
render_composite(StringInfo out, Datum value)
{
	HeapTupleHeader row = DatumGetHeapTupleHeader(value);
	TupleDesc	desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(row), HeapTupleHeaderGetTypMod(row));
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(row), .t_data = row};
	bool		is_first = true;
	int			i;

	appendStringInfoChar(out, '{');
	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		bool		isnull;
		Datum		member;

		if (att->attisdropped)
			continue;
		if (!is_first)
			appendStringInfoChar(out, ',');
		is_first = false;
		sync_render_string(out, NameStr(att->attname), strlen(NameStr(att->attname)));
		appendStringInfoChar(out, ':');
		member = heap_getattr(&tuple, i + 1, desc, &isnull);
		if (isnull)
			appendStringInfoString(out, "null");
		else
			render_typed(out, att->atttypid, member);
	}
	appendStringInfoChar(out, '}');
	ReleaseTupleDesc(desc);
}

/* For members of arrays and composites, whose types are met only now. */
static void
render_typed(StringInfo out, Oid type, Datum value)
{
	SyncColumn	column = {.type = type};

	sync_render_setup(&column);
	sync_render_value(out, &column, value);
}

static void
render_other(StringInfo out, const SyncColumn *column, Datum value)
{
	Oid			base = getBaseType(column->type);

	if (base == CASHOID)
	{
		char	   *text = DatumGetCString(DirectFunctionCall1(numeric_out, DirectFunctionCall1(cash_numeric, value)));

		sync_render_string(out, text, strlen(text));
	}
	else if (type_is_array(base))
		render_whole_array(out, value);
	else
		render_composite(out, value);
}

/*
 * The common types, written without their output functions; 0 when the type is none of these, or its value an edge (an infinity, a year that
 * has not four digits). What is written is digits, letters, signs and colons only: nothing in it needs an escape.
 */
static int
format_simple(char *out, Oid base, Datum value)
{
	switch (base)
	{
		case INT2OID:
			return pg_itoa(DatumGetInt16(value), out);
		case INT4OID:
			return pg_ltoa(DatumGetInt32(value), out);
		case INT8OID:
			return pg_lltoa(DatumGetInt64(value), out);
		case FLOAT4OID:
			return isfinite(DatumGetFloat4(value)) ? float_to_shortest_decimal_bufn(DatumGetFloat4(value), out) : 0;
		case FLOAT8OID:
			return isfinite(DatumGetFloat8(value)) ? double_to_shortest_decimal_bufn(DatumGetFloat8(value), out) : 0;
		case TIMESTAMPOID:
			return sync_format_timestamp(out, DatumGetTimestamp(value), false);
		case TIMESTAMPTZOID:
			return sync_format_timestamp(out, DatumGetTimestampTz(value), true);
		case DATEOID:
			return sync_format_date(out, DatumGetDateADT(value));
		case UUIDOID:
			return sync_format_uuid(out, DatumGetUUIDP(value)->data);
		default:
			return 0;
	}
}

/* Types whose bytes are their output text. */
static bool
is_plain_text(Oid base)
{
	return base == TEXTOID || base == VARCHAROID || base == BPCHAROID;
}

/* As JSON, where that is not simply a string of the text. */
static void
render_by_kind(StringInfo out, const SyncColumn *column, Datum value)
{
	FmgrInfo   *output = unconstify(FmgrInfo *, &column->output);
	char	   *text;

	switch (column->kind)
	{
		case 'n':
		case 'j':
			text = OutputFunctionCall(output, value);
			sync_put(out, text, strlen(text));
			break;
		case 'b':
			sync_put(out, DatumGetBool(value) ? "true" : "false", DatumGetBool(value) ? 4 : 5);
			break;
		case 'y':
			render_base64(out, DatumGetByteaPP(value));
			break;
		case 'x':
			render_other(out, column, value);
			break;
		case 'f':
			text = fixed_output(output, value);
			if (strpbrk(text, "Ny"))	/* NaN, Infinity */
				sync_render_string(out, text, strlen(text));
			else
				sync_put(out, text, strlen(text));
			break;
		default:
			text = sync_value_text(column, value);
			sync_render_string(out, text, strlen(text));
	}
}

void
sync_render_value(StringInfo out, const SyncColumn *column, Datum value)
{
	bool		is_bare = column->kind == 'n' || column->kind == 'f';
	int			len;

	if (is_plain_text(column->base))
	{
		struct varlena *v = PG_DETOAST_DATUM_PACKED(value);

		sync_render_string(out, VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v));
		return;
	}
	if (out->maxlen - out->len < SYNC_FORMAT_ROOM + 3)
		enlargeStringInfo(out, SYNC_FORMAT_ROOM + 3);
	len = format_simple(out->data + out->len + !is_bare, column->base, value);
	if (len == 0)
	{
		out->data[out->len] = '\0';
		render_by_kind(out, column, value);
		return;
	}
	if (!is_bare)
	{
		out->data[out->len] = '"';
		out->data[out->len + len + 1] = '"';
		len += 2;
	}
	out->len += len;
	out->data[out->len] = '\0';
}

/* The same text without quotes, for keys and scope values. */
char *
sync_value_text(const SyncColumn *column, Datum value)
{
	FmgrInfo   *output = unconstify(FmgrInfo *, &column->output);
	char	   *result;
	char		simple[SYNC_FORMAT_ROOM];
	int			len;
	StringInfoData out;

	if (is_plain_text(column->base))
		return TextDatumGetCString(value);
	len = format_simple(simple, column->base, value);
	if (len > 0)
		return pnstrdup(simple, len);
	switch (column->kind)
	{
		case 't':
		case 'z':
			result = fixed_output(output, value);
			sync_iso_timestamp(result);
			return result;
		case 'y':
			initStringInfo(&out);
			render_base64(&out, DatumGetByteaPP(value));
			out.data[out.len - 1] = '\0';
			return out.data + 1;
		case 'b':
			return pstrdup(DatumGetBool(value) ? "true" : "false");
		default:
			return fixed_output(output, value);
	}
}

char *
sync_entity_id_of(const SyncTable *table, const Datum *keys)
{
	StringInfoData out;
	int			i;

	if (table->nkeys == 1)
		return sync_value_text(&table->columns[table->keys[0]], keys[0]);
	initStringInfo(&out);
	for (i = 0; i < table->nkeys; i++)
	{
		char	   *text = sync_value_text(&table->columns[table->keys[i]], keys[i]);

		appendStringInfoChar(&out, i ? ',' : '[');
		sync_render_string(&out, text, strlen(text));
	}
	appendStringInfoChar(&out, ']');
	return out.data;
}

char *
sync_entity_id(const SyncTable *table, HeapTuple tuple, TupleDesc desc)
{
	Datum		keys[INDEX_MAX_KEYS];
	bool		isnull;
	int			i;

	for (i = 0; i < table->nkeys; i++)
		keys[i] = heap_getattr(tuple, table->columns[table->keys[i]].attnum, desc, &isnull);
	return sync_entity_id_of(table, keys);
}

/* The inverse of sync_value_text. Raises the type's own input error. */
Datum
sync_parse_text(const SyncColumn *column, const char *text)
{
	Oid			function;
	Oid			param;

	if (column->kind == 'y')
	{
		int			room = pg_b64_dec_len(strlen(text));
		bytea	   *bytes = palloc(VARHDRSZ + room);
		int			len = pg_b64_decode(text, strlen(text), VARDATA(bytes), room);

		if (len < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("column \"%s\" takes base64", column->name)));
		SET_VARSIZE(bytes, VARHDRSZ + len);
		return PointerGetDatum(bytes);
	}
	getTypeInputInfo(column->type, &function, &param);
	return OidInputFunctionCall(function, unconstify(char *, text), param, column->typmod);
}

static bool
parse_key_array(const SyncTable *table, const char *entity_id, Datum *keys)
{
	Jsonb	   *array = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(entity_id)));
	int			i;

	if (!JB_ROOT_IS_ARRAY(array) || JB_ROOT_IS_SCALAR(array) || JB_ROOT_COUNT(array) != table->nkeys)
		return false;
	for (i = 0; i < table->nkeys; i++)
	{
		JsonbValue *v = getIthJsonbValueFromContainer(&array->root, i);
		char	   *text = sync_json_text(v);

		if (text == NULL)
			return false;
		keys[i] = sync_parse_text(&table->columns[table->keys[i]], text);
	}
	return true;
}

/* false, or the type's input error, when the text is no key of this table. */
bool
sync_parse_entity_id(const SyncTable *table, const char *entity_id, Datum *keys)
{
	if (table->nkeys > 1)
		return parse_key_array(table, entity_id, keys);
	keys[0] = sync_parse_text(&table->columns[table->keys[0]], entity_id);
	return true;
}

static void
render_data(StringInfo out, const SyncTable *table, const Datum *values, const bool *nulls, const Bitmapset *readable)
{
	char		separator = '{';
	int			i;

	for (i = 0; i < table->ncolumns; i++)
	{
		const SyncColumn *column = &table->columns[i];
		int			att = column->attnum - 1;

		if (readable && !bms_is_member(i, readable))
			continue;
		sync_put(out, &separator, 1);
		separator = ',';
		sync_put(out, column->json_name, column->json_name_len);
		if (nulls[att])
			sync_put(out, "null", 4);
		else
			sync_render_value(out, column, values[att]);
	}
	if (separator == '{')
		sync_put(out, "{", 1);
	sync_put(out, "}", 1);
}

/* The string of the key: one column's text, or the text of a JSON array of several. */
static void
render_entity_id(StringInfo out, const SyncTable *table, const Datum *values)
{
	const SyncColumn *key = &table->columns[table->keys[0]];
	Datum		keys[INDEX_MAX_KEYS];
	char	   *text;
	int			i;

	/* These are strings as JSON anyway; numbers and booleans are not. */
	if (table->nkeys == 1 && (is_plain_text(key->base) || key->base == UUIDOID || key->base == INT8OID))
	{
		sync_render_value(out, key, values[key->attnum - 1]);
		return;
	}
	for (i = 0; i < table->nkeys; i++)
		keys[i] = values[table->columns[table->keys[i]].attnum - 1];
	text = sync_entity_id_of(table, keys);
	sync_render_string(out, text, strlen(text));
}

static void
render_text_member(StringInfo out, const char *name, Datum value, bool isnull)
{
	struct varlena *v;

	sync_put(out, name, strlen(name));
	if (isnull)
	{
		sync_put(out, "null", 4);
		return;
	}
	v = PG_DETOAST_DATUM_PACKED(value);
	sync_render_string(out, VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v));
}

static void
render_scope(StringInfo out, const SyncColumn *column, Datum value, bool isnull)
{
	if (!isnull && is_plain_text(column->base))
		render_text_member(out, ",\"scope\":", value, false);
	else
		sync_render_member(out, "scope", isnull ? NULL : sync_value_text(column, value));
}

static void
deform(HeapTuple tuple, TupleDesc desc, Datum **values, bool **nulls)
{
	*values = palloc(sizeof(Datum) * desc->natts);
	*nulls = palloc(sizeof(bool) * desc->natts);
	heap_deform_tuple(tuple, desc, *values, *nulls);
}

/*
 * At least so many bytes of JSON come of the row: values stored apart are not read for that. Other types than plain text may be shorter as text
 * than they are stored, but not eight times.
 */
static Size
least_size(const SyncTable *table, const Datum *values, const bool *nulls, const Bitmapset *readable)
{
	Size		size = 0;
	int			i;

	for (i = 0; i < table->ncolumns; i++)
	{
		const SyncColumn *column = &table->columns[i];
		int			att = column->attnum - 1;
		Size		stored;

		if (column->len != -1 || nulls[att] || (readable && !bms_is_member(i, readable)))
			continue;
		stored = toast_raw_datum_size(values[att]) - VARHDRSZ;
		size += is_plain_text(column->base) || column->kind == 'y' || column->base == JSONOID ? stored : stored / 8;
	}
	return size;
}

bool
sync_is_too_large(const SyncTable *table, HeapTuple tuple, TupleDesc desc, const Bitmapset *readable)
{
	Datum	   *values;
	bool	   *nulls;

	deform(tuple, desc, &values, &nulls);
	return least_size(table, values, nulls, readable) > SYNC_PAGE_BYTES;
}

void
sync_render_change(StringInfo out, const SyncTable *table, const Datum *values, const bool *nulls, const Bitmapset *readable, bool is_origin)
{
	int64		version = DatumGetInt64(values[table->version_att - 1]);
	char		digits[MAXINT8LEN + 1];
	bool		is_too_large;
	int			start;

	sync_put(out, version == 1 ? "{\"operation\":\"create\"" : "{\"operation\":\"update\"", 21);
	sync_put(out, table->json_type, table->json_type_len);
	render_entity_id(out, table, values);
	sync_put(out, ",\"data\":", 8);
	start = out->len;
	is_too_large = least_size(table, values, nulls, readable) > SYNC_PAGE_BYTES;
	if (!is_too_large)
		render_data(out, table, values, nulls, readable);
	if (is_too_large || out->len - start > SYNC_PAGE_BYTES)
	{
		out->len = start;
		sync_put(out, "null,\"reason\":\"too_large\"", 25);
	}
	sync_put(out, ",\"server_version\":", 18);
	sync_put(out, digits, pg_lltoa(version, digits));
	sync_put(out, ",\"timestamp\":", 13);
	if (nulls[table->at_att - 1])
		sync_put(out, "null", 4);
	else
		sync_render_timestamp(out, DatumGetTimestampTz(values[table->at_att - 1]));
	render_text_member(out, ",\"changed_by\":", values[table->by_att - 1], nulls[table->by_att - 1]);
	if (table->scope_column)
		render_scope(out, table->scope_column, values[table->scope_column->attnum - 1], nulls[table->scope_column->attnum - 1]);
	if (is_origin)
		sync_put(out, ",\"origin\":true", 14);
	sync_put(out, "}", 1);
}

void
sync_render_data(StringInfo out, const SyncTable *table, HeapTuple tuple, TupleDesc desc, const Bitmapset *readable)
{
	Datum	   *values;
	bool	   *nulls;

	deform(tuple, desc, &values, &nulls);
	render_data(out, table, values, nulls, readable);
}

void
sync_render_row(StringInfo out, const SyncTable *table, HeapTuple tuple, TupleDesc desc, const Bitmapset *readable)
{
	Datum	   *values;
	bool	   *nulls;

	deform(tuple, desc, &values, &nulls);
	sync_render_change(out, table, values, nulls, readable, false);
}
