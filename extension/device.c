/*
 * device.c - devices as push and the streamer meet them: registered at first use, refused when revoked, seen last about an hour ago.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(sync_note_device);
PG_FUNCTION_INFO_V1(sync_check_device);
PG_FUNCTION_INFO_V1(sync_log_sync);

int			sync_max_devices = 1000;
int			sync_max_notifications = 10000;

typedef enum DeviceState
{
	DEVICE_UNKNOWN, DEVICE_REVOKED, DEVICE_STALE, DEVICE_FRESH
} DeviceState;

/* Plans are kept for the backend's life: these run with every push. */
static SPIPlanPtr
kept_plan(SPIPlanPtr *plan, const char *sql, int nargs, Oid *types)
{
	if (*plan == NULL)
	{
		*plan = SPI_prepare(sql, nargs, types);
		if (*plan == NULL)
			elog(ERROR, "could not prepare \"%s\"", sql);
		SPI_keepplan(*plan);
	}
	return *plan;
}

/* The caller is inside SPI, as the extension. */
static DeviceState
find_device(Datum *key)
{
	static const char sql[] =
		"SELECT revoked_at IS NOT NULL, last_seen OPERATOR(pg_catalog.<) $3 FROM sync.device "
		"WHERE user_id OPERATOR(pg_catalog.=) $1 AND device_id OPERATOR(pg_catalog.=) $2";
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {TEXTOID, TEXTOID, TIMESTAMPTZOID};
	bool		isnull;

	SPI_execute_plan(kept_plan(&plan, sql, 3, types), key, NULL, true, 1);
	if (SPI_processed == 0)
		return DEVICE_UNKNOWN;
	if (DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)))
		return DEVICE_REVOKED;
	return DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull)) ? DEVICE_STALE : DEVICE_FRESH;
}

static void
refuse_revoked(void)
{
	ereport(ERROR,
			(errcode(SYNC_ERR_FORBIDDEN),
			 errmsg("this device was revoked"),
			 errhint("Its user can register another: a client makes a new device_id.")));
}

static TimestampTz
this_hour(void)
{
	TimestampTz now = GetCurrentTimestamp();

	return now - now % USECS_PER_HOUR;
}

void
sync_device_note(const char *user, const char *device)
{
	static const char sql_see[] =
		"UPDATE sync.device SET last_seen = $3 WHERE user_id OPERATOR(pg_catalog.=) $1 AND device_id OPERATOR(pg_catalog.=) $2";
	static const char sql_register[] = "SELECT sync.register_device($1, $2, $3, $4)";
	static SPIPlanPtr see = NULL;
	static SPIPlanPtr register_new = NULL;
	Oid			types[] = {TEXTOID, TEXTOID, TIMESTAMPTZOID, INT4OID};
	Datum		values[] = {CStringGetTextDatum(user), CStringGetTextDatum(device), TimestampTzGetDatum(this_hour()),
		Int32GetDatum(sync_max_devices)};
	DeviceState state;
	SyncRole	saved;

	SPI_connect();
	sync_become_extension(&saved);
	state = find_device(values);
	if (state == DEVICE_STALE)
		SPI_execute_plan(kept_plan(&see, sql_see, 3, types), values, NULL, false, 0);
	else if (state == DEVICE_UNKNOWN)
		SPI_execute_plan(kept_plan(&register_new, sql_register, 4, types), values, NULL, false, 0);
	sync_become_back(&saved);
	SPI_finish();
	if (state == DEVICE_REVOKED)
		refuse_revoked();
}

void
sync_device_check(const char *user, const char *device)
{
	Datum		values[] = {CStringGetTextDatum(user), CStringGetTextDatum(device), TimestampTzGetDatum(this_hour())};
	DeviceState state;
	SyncRole	saved;

	SPI_connect();
	sync_become_extension(&saved);
	state = find_device(values);
	sync_become_back(&saved);
	SPI_finish();
	if (state == DEVICE_REVOKED)
		refuse_revoked();
}

static char *
device_argument(FunctionCallInfo fcinfo)
{
	char	   *device = text_to_cstring(PG_GETARG_TEXT_PP(0));

	if (device[0] == '\0' || strlen(device) > 256)
		ereport(ERROR, (errcode(SYNC_ERR_BAD_REQUEST), errmsg("a device_id has 1 to 256 bytes")));
	return device;
}

Datum
sync_note_device(PG_FUNCTION_ARGS)
{
	char	   *device = device_argument(fcinfo);

	if (sync_user_id())
		sync_device_note(sync_user_id(), device);
	PG_RETURN_VOID();
}

Datum
sync_check_device(PG_FUNCTION_ARGS)
{
	char	   *device = device_argument(fcinfo);

	if (sync_user_id())
		sync_device_check(sync_user_id(), device);
	PG_RETURN_VOID();
}

/* user and device NULL: not known. */
void
sync_device_log(const char *user, const char *device, const char *kind, int changes, int64 bytes, const char *status, double ms)
{
	static const char sql[] =
		"INSERT INTO sync.sync_log (user_id, device_id, kind, changes, bytes, status, ms) VALUES ($1, $2, $3, $4, $5, $6, $7)";
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID, INT4OID, INT8OID, TEXTOID, FLOAT4OID};
	Datum		values[7];
	char		nulls[] = "       ";
	SyncRole	saved;

	nulls[0] = user ? ' ' : 'n';
	values[0] = user ? CStringGetTextDatum(user) : (Datum) 0;
	nulls[1] = device ? ' ' : 'n';
	values[1] = device ? CStringGetTextDatum(device) : (Datum) 0;
	values[2] = CStringGetTextDatum(kind);
	values[3] = Int32GetDatum(changes);
	values[4] = Int64GetDatum(bytes);
	values[5] = CStringGetTextDatum(status);
	values[6] = Float4GetDatum((float4) ms);
	SPI_connect();
	sync_become_extension(&saved);
	SPI_execute_plan(kept_plan(&plan, sql, 7, types), values, nulls, false, 0);
	sync_become_back(&saved);
	SPI_finish();
}

Datum
sync_log_sync(PG_FUNCTION_ARGS)
{
	sync_device_log(sync_user_id(), PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0)),
					text_to_cstring(PG_GETARG_TEXT_PP(1)), PG_GETARG_INT32(2), PG_GETARG_INT64(3),
					text_to_cstring(PG_GETARG_TEXT_PP(4)), PG_GETARG_FLOAT8(5));
	PG_RETURN_VOID();
}
