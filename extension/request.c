/*
 * request.c - reading a request: members of a JSON object with their types checked, and errors that name them.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

JsonbValue *
sync_json_get(JsonbContainer *object, const char *name)
{
	JsonbValue *value = palloc(sizeof(JsonbValue));

	return getKeyJsonValueFromContainer(object, name, strlen(name), value);
}

char *
sync_json_text(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		default:
			return NULL;
	}
}

static void pg_attribute_noreturn()
bad_member(const char *name, const char *takes)
{
	ereport(ERROR,
			(errcode(SYNC_ERR_BAD_REQUEST),
			 errmsg("member \"%s\" of the request must be %s", name, takes)));
}

char *
sync_json_string(JsonbContainer *object, const char *name, bool required, int max_len)
{
	JsonbValue *value = sync_json_get(object, name);

	if (value == NULL || value->type == jbvNull)
	{
		if (required)
			bad_member(name, "given");
		return NULL;
	}
	if (value->type != jbvString || value->val.string.len == 0 || value->val.string.len > max_len)
		bad_member(name, psprintf("a string of 1 to %d bytes", max_len));
	return sync_json_text(value);
}

bool
sync_json_bool(JsonbContainer *object, const char *name, bool fallback)
{
	JsonbValue *value = sync_json_get(object, name);

	if (value == NULL || value->type == jbvNull)
		return fallback;
	if (value->type != jbvBool)
		bad_member(name, "true or false");
	return value->val.boolean;
}

int64
sync_json_int(JsonbContainer *object, const char *name, int64 fallback, int64 min, int64 max)
{
	JsonbValue *value = sync_json_get(object, name);
	char	   *text;
	char	   *end;
	int64		number;

	if (value == NULL || value->type == jbvNull)
		return fallback;
	text = sync_json_text(value);
	if (text == NULL || value->type == jbvBool)
		bad_member(name, "a whole number");
	errno = 0;
	number = strtoll(text, &end, 10);
	if (errno || end == text || *end || number < min || number > max)
		bad_member(name, psprintf("a whole number from " INT64_FORMAT " to " INT64_FORMAT, min, max));
	return number;
}

JsonbContainer *
sync_json_array(JsonbContainer *object, const char *name, bool required)
{
	JsonbValue *value = sync_json_get(object, name);

	if (value == NULL || value->type == jbvNull)
	{
		if (required)
			bad_member(name, "an array");
		return NULL;
	}
	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		bad_member(name, "an array");
	return value->val.binary.data;
}

Jsonb *
sync_request(FunctionCallInfo fcinfo)
{
	Jsonb	   *request;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(SYNC_ERR_BAD_REQUEST), errmsg("the request is null")));
	request = PG_GETARG_JSONB_P(0);
	if (!JB_ROOT_IS_OBJECT(request))
		ereport(ERROR,
				(errcode(SYNC_ERR_BAD_REQUEST),
				 errmsg("the request must be a JSON object")));
	return request;
}
