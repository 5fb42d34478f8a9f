/*
 * render.c - the one JSON rendering that pull, push and the stream share: the type decides, session settings do not.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/base64.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/cash.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/float.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/typcache.h"
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
	getTypeOutputInfo(column->type, &function, &is_varlena);
	fmgr_info_cxt(function, &column->output, CurrentMemoryContext);
	get_typlenbyval(column->type, &column->len, &column->byval);
}

void
sync_render_string(StringInfo out, const char *text, int len)
{
	int			i;
	int			start = 0;

	appendStringInfoCharMacro(out, '"');
	for (i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) text[i];
		const char *escape;

		if (likely(c >= 0x20 && c != '"' && c != '\\'))
			continue;
		appendBinaryStringInfo(out, text + start, i - start);
		start = i + 1;
		switch (c)
		{
			case '"':
				escape = "\\\"";
				break;
			case '\\':
				escape = "\\\\";
				break;
			case '\b':
				escape = "\\b";
				break;
			case '\f':
				escape = "\\f";
				break;
			case '\n':
				escape = "\\n";
				break;
			case '\r':
				escape = "\\r";
				break;
			case '\t':
				escape = "\\t";
				break;
			default:
				appendStringInfo(out, "\\u%04x", c);
				continue;
		}
		appendBinaryStringInfo(out, escape, 2);
	}
	appendBinaryStringInfo(out, text + start, len - start);
	appendStringInfoCharMacro(out, '"');
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
	char	   *volatile text = NULL;

	DateStyle = USE_ISO_DATES;
	DateOrder = DATEORDER_MDY;
	IntervalStyle = INTSTYLE_POSTGRES;
	extra_float_digits = 1;
	bytea_output = BYTEA_OUTPUT_HEX;
	session_timezone = pg_tzset("UTC");
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

/* "2026-01-02 01:04:05+00" → "2026-01-02T01:04:05Z", in place. */
static void
iso_timestamp(char *text)
{
	char	   *space = strchr(text, ' ');
	char	   *zone = strstr(text, "+00");

	if (space)
		*space = 'T';
	if (zone)
	{
		*zone = 'Z';
		memmove(zone + 1, zone + 3, strlen(zone + 3) + 1);
	}
}

void
sync_render_timestamp(StringInfo out, TimestampTz at)
{
	struct pg_tm tm;
	fsec_t		fsec;
	char		text[MAXDATELEN + 1];

	if (timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range")));
	tm.tm_isdst = 0;			/* else no zone is written */
	EncodeDateTime(&tm, fsec, true, 0, NULL, USE_ISO_DATES, text);
	iso_timestamp(text);
	sync_render_string(out, text, strlen(text));
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

/* Types whose bytes are their output text. */
static bool
is_plain_text(Oid base)
{
	return base == TEXTOID || base == VARCHAROID || base == BPCHAROID;
}

void
sync_render_value(StringInfo out, const SyncColumn *column, Datum value)
{
	FmgrInfo   *output = unconstify(FmgrInfo *, &column->output);
	char		digits[16];
	char	   *text;

	switch (column->kind)
	{
		case 'n':
			if (column->type == INT4OID)
			{
				pg_ltoa(DatumGetInt32(value), digits);
				appendStringInfoString(out, digits);
			}
			else
				appendStringInfoString(out, OutputFunctionCall(output, value));
			break;
		case 'b':
			appendStringInfoString(out, DatumGetBool(value) ? "true" : "false");
			break;
		case 'j':
			appendStringInfoString(out, OutputFunctionCall(output, value));
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
				appendStringInfoString(out, text);
			break;
		case 's':
			if (is_plain_text(getBaseType(column->type)))
			{
				struct varlena *v = PG_DETOAST_DATUM_PACKED(value);

				sync_render_string(out, VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v));
				break;
			}
			/* FALLTHROUGH */
		default:
			text = sync_value_text(column, value);
			sync_render_string(out, text, strlen(text));
	}
}

/* The same text without quotes, for keys and scope values. */
char *
sync_value_text(const SyncColumn *column, Datum value)
{
	FmgrInfo   *output = unconstify(FmgrInfo *, &column->output);
	char	   *text;
	StringInfoData out;

	switch (column->kind)
	{
		case 't':
		case 'z':
			text = fixed_output(output, value);
			iso_timestamp(text);
			return text;
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

void
sync_render_data(StringInfo out, const SyncTable *table, HeapTuple tuple, TupleDesc desc, const Bitmapset *readable)
{
	bool		is_first = true;
	int			i;

	appendStringInfoChar(out, '{');
	for (i = 0; i < table->ncolumns; i++)
	{
		const SyncColumn *column = &table->columns[i];
		bool		isnull;
		Datum		value;

		if (readable && !bms_is_member(i, readable))
			continue;
		if (!is_first)
			appendStringInfoChar(out, ',');
		is_first = false;
		sync_render_string(out, column->name, strlen(column->name));
		appendStringInfoChar(out, ':');
		value = heap_getattr(tuple, column->attnum, desc, &isnull);
		if (isnull)
			appendStringInfoString(out, "null");
		else
			sync_render_value(out, column, value);
	}
	appendStringInfoChar(out, '}');
}

void
sync_render_member(StringInfo out, const char *name, const char *text)
{
	appendStringInfo(out, ",\"%s\":", name);
	if (text)
		sync_render_string(out, text, strlen(text));
	else
		appendStringInfoString(out, "null");
}

void
sync_render_row(StringInfo out, const SyncTable *table, HeapTuple tuple, TupleDesc desc,
				const Bitmapset *readable, uint64 own_device)
{
	bool		isnull;
	int64		version = DatumGetInt64(heap_getattr(tuple, table->version_att, desc, &isnull));
	Datum		at = heap_getattr(tuple, table->at_att, desc, &isnull);
	bool		has_time = !isnull;
	Datum		by = heap_getattr(tuple, table->by_att, desc, &isnull);
	char	   *changed_by = isnull ? NULL : TextDatumGetCString(by);
	SyncWrite	newest;
	int			start;

	appendStringInfo(out, "{\"operation\":\"%s\"", version == 1 ? "create" : "update");
	sync_render_member(out, "entity_type", table->entity_type);
	sync_render_member(out, "entity_id", sync_entity_id(table, tuple, desc));
	appendStringInfoString(out, ",\"data\":");
	start = out->len;
	sync_render_data(out, table, tuple, desc, readable);
	if (out->len - start > SYNC_PAGE_BYTES)
	{
		out->len = start;
		appendStringInfoString(out, "null,\"reason\":\"too_large\"");
	}
	appendStringInfo(out, ",\"server_version\":" INT64_FORMAT ",\"timestamp\":", version);
	if (has_time)
		sync_render_timestamp(out, DatumGetTimestampTz(at));
	else
		appendStringInfoString(out, "null");
	sync_render_member(out, "changed_by", changed_by);
	if (table->scope_column)
	{
		const SyncColumn *column = table->scope_column;
		Datum		scope = heap_getattr(tuple, column->attnum, desc, &isnull);

		sync_render_member(out, "scope", isnull ? NULL : sync_value_text(column, scope));
	}
	if (own_device)
	{
		sync_clock_newest(table, tuple, desc, &newest);
		if (newest.device == own_device && newest.version == version)
			appendStringInfoString(out, ",\"origin\":true");
	}
	appendStringInfoChar(out, '}');
}
