/*
 * push.c - sync.push(): reads a batch, answers repeats from the ledger, applies the rest so that one bad change harms no other.
 *
 * The set is tried as a whole in a subtransaction; where it fails it is cut at the change that raised (or in halves, when a deferred
 * constraint did) until the bad one stands alone.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "change.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(sync_push);

static void
set_constraints(bool deferred)
{
	ConstraintsSetStmt statement = {.type = T_ConstraintsSetStmt, .constraints = NIL, .deferred = deferred};

	AfterTriggerSetState(&statement);
}

static int
first_failure(const Push *push)
{
	int			i;

	for (i = 0; i < push->nchanges; i++)
		if (push->changes[i].is_decided && strcmp(push->changes[i].status, "success") != 0)
			return i;
	return -1;
}

/*
 * Tries changes [from, to) together. Returns -1 when they stand, else how far it came: to means a constraint raised that was checked for all
 * of them. An atomic batch does not stand either when a change did not succeed, without any error.
 */
static int
try_range(Push *push, int from, int to, ErrorData **error)
{
	SyncAttempt attempt;
	volatile int at = from;
	volatile int failed_at = -1;

	*error = NULL;
	sync_attempt_begin(&attempt);
	PG_TRY();
	{
		set_constraints(true);
		for (; at < to; at++)
			if (!push->changes[at].is_decided)
				apply_change(push, &push->changes[at]);
		writer_close(push);
		/* Else COMMIT would be the one to raise, for everybody. */
		set_constraints(false);
		if (push->is_atomic)
			failed_at = first_failure(push);
		if (failed_at < 0)
			sync_attempt_keep(&attempt);
		else
			sync_attempt_undo(&attempt);
	}
	PG_CATCH();
	{
		*error = attempt_drop(&attempt);
		writer_forget(push);
		failed_at = at;
	}
	PG_END_TRY();
	return failed_at;
}

/* Takes back the verdicts of an attempt that was rolled back; those that reading the request gave stay. */
static void
clear_range(Push *push, const bool *was_decided, int from, int to)
{
	int			i;

	for (i = from; i < to; i++)
		if (!was_decided[i])
			verdict_clear(&push->changes[i]);
}

static void
apply_range(Push *push, const bool *was_decided, int from, int to)
{
	ErrorData  *error = NULL;
	int			failed_at;

	CHECK_FOR_INTERRUPTS();
	if (from >= to)
		return;
	failed_at = try_range(push, from, to, &error);
	if (failed_at < 0)
		return;
	clear_range(push, was_decided, from, to);
	if (to - from == 1)
	{
		/* A key taken while we waited for it: its row can be read now, and met like any other. */
		if (verdict_is_key_taken(&push->changes[from], error) && try_range(push, from, to, &error) < 0)
			return;
		verdict_clear(&push->changes[from]);
		verdict_from_error(push, &push->changes[from], error);
		return;
	}
	if (failed_at == to)
	{
		apply_range(push, was_decided, from, (from + to) / 2);
		apply_range(push, was_decided, (from + to) / 2, to);
		return;
	}
	apply_range(push, was_decided, from, failed_at);
	apply_range(push, was_decided, failed_at, failed_at + 1);
	apply_range(push, was_decided, failed_at + 1, to);
}

/*
 * Can what came later in the batch have helped? A parent can come after its child, and a value be given up after it was taken: the
 * client's own copy has both. An update or deletion of a row that was not there yet stays refused, but for one that an earlier change of the
 * batch would have made, had it stood.
 */
static bool
may_stand_now(const Push *push, int index)
{
	static const char *const waiting[] = {"foreign_key", "unique", "exclusion", "check", "rejected"};
	const Change *change = &push->changes[index];
	int			i;

	for (i = 0; i < (int) lengthof(waiting); i++)
		if (verdict_has_code(change, waiting[i]))
			return true;
	for (i = 0; verdict_has_code(change, "not_found") && i < index; i++)
	{
		const Change *earlier = &push->changes[i];

		if (!earlier->is_revived || earlier->table != change->table)
			continue;
		if (change->ref && earlier->queue_id && strcmp(change->ref, earlier->queue_id) == 0)
			return true;
		if (change->given_id && earlier->entity_id && strcmp(change->given_id, earlier->entity_id) == 0)
			return true;
	}
	return false;
}

/* Did a later change of the row go through? Then this one comes too late: it would run over what was made after it. */
static bool
is_followed(const Push *push, int at)
{
	const Change *change = &push->changes[at];
	int			i;

	for (i = at + 1; change->entity_id && i < push->nchanges; i++)
	{
		const Change *later = &push->changes[i];

		if (later->table == change->table && later->entity_id && strcmp(later->entity_id, change->entity_id) == 0 &&
			strcmp(later->status, "error") != 0)
			return true;
	}
	return false;
}

/*
 * A change that failed beside others may stand now that they do: a child whose parent came later in the batch, behind a change that
 * broke the set. Tried again, each alone, as long as that helps.
 */
static void
retry_failed(Push *push, const bool *was_decided)
{
	bool		is_progress = true;
	int			i;

	while (is_progress)
	{
		is_progress = false;
		for (i = 0; i < push->nchanges; i++)
		{
			Change	   *change = &push->changes[i];
			Change		first;

			if (was_decided[i] || strcmp(change->status, "error") != 0 || !may_stand_now(push, i) || is_followed(push, i))
				continue;
			first = *change;
			verdict_clear(change);
			apply_range(push, was_decided, i, i + 1);
			change->is_revived = strcmp(change->status, "success") == 0;
			is_progress |= change->is_revived;
			if (!change->is_revived)
				*change = first;
		}
	}
}

static bool
is_mixed(const Push *push, const bool *was_decided)
{
	bool		any_good = false;
	bool		any_bad = false;
	int			i;

	for (i = 0; i < push->nchanges; i++)
	{
		any_good |= !was_decided[i] && strcmp(push->changes[i].status, "error") != 0;
		any_bad |= !was_decided[i] && strcmp(push->changes[i].status, "error") == 0;
	}
	return any_good && any_bad;
}

/* All or nothing: a change that does not succeed takes the others back. Nothing happened then, so the ledger stays as it is. */
static void
apply_atomic(Push *push, const bool *was_decided)
{
	ErrorData  *error = NULL;
	int			bad = first_failure(push);
	int			i;

	if (bad < 0)
		bad = try_range(push, 0, push->nchanges, &error);
	if (bad < 0)
		return;
	for (i = 0; i < push->nchanges; i++)
	{
		Change	   *change = &push->changes[i];

		change->is_stored = true;
		if (was_decided[i])
			continue;
		if (error == NULL && i == bad)
		{
			/* its log entry went with the rest */
			change->conflict = NULL;
			change->shows_conflict = false;
			continue;
		}
		verdict_clear(change);
		if (error && (i == bad || bad == push->nchanges))
			verdict_from_error(push, change, error);
		else
			verdict_error(push, change, "atomic", "another change of this atomic batch failed", NULL);
	}
}

static HTAB *
text_table(const char *name)
{
	HASHCTL		control = {.keysize = TEXT_KEY_MAX, .entrysize = sizeof(TextEntry), .hcxt = CurrentMemoryContext};

	return hash_create(name, 256, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

/* A client that is too old to be understood is told so before anything is looked at: its queue stays as it is. */
static void
read_schema_version(Push *push, Jsonb *request)
{
	int64		oldest;

	push->schema_version = sync_json_int(&request->root, "schema_version", -1, 0, PG_INT32_MAX);
	sync_schema_versions(&oldest, &push->schema_current);
	if (push->schema_version >= 0 && push->schema_version < oldest)
		ereport(ERROR,
				(errcode(SYNC_ERR_TOO_OLD),
				 errmsg("schema version " INT64_FORMAT " is no longer served, the oldest is " INT64_FORMAT, push->schema_version, oldest),
				 errhint("Update the client; what it has queued stays valid.")));
}

void
push_begin(Push *push, const char *device)
{
	const char *user = sync_user_id();

	if (user == NULL && !sync_allow_nobody)
		ereport(ERROR,
				(errcode(SYNC_ERR_NOBODY),
				 errmsg("the caller has no user"),
				 errhint("Set request.jwt.claims to claims with a \"sub\", or sync.allow_nobody to on.")));
	push->user = user ? pstrdup(user) : "";
	push->device = pstrdup(device);
	push->device_hash = sync_device_hash(push->user, push->device);
	push->now = GetCurrentTimestamp();
	push->context = CurrentMemoryContext;
	push->scratch = AllocSetContextCreate(CurrentMemoryContext, "one change", ALLOCSET_DEFAULT_SIZES);
	push->by_queue = text_table("queue ids of this push");
	push->schema_version = push->schema_current = -1;
}

static void
read_head(Push *push, Jsonb *request)
{
	if (VARSIZE(request) > SYNC_PUSH_LIMIT)
		ereport(ERROR,
				(errcode(SYNC_ERR_TOO_LARGE),
				 errmsg("a push may hold at most %d MiB", SYNC_PUSH_LIMIT / 1024 / 1024)));
	push_begin(push, sync_json_string(&request->root, "device_id", true, 256));
	read_schema_version(push, request);
	push->is_atomic = sync_json_bool(&request->root, "atomic", false);
}

static void
read_changes(Push *push, Jsonb *request)
{
	JsonbContainer *array = sync_json_array(&request->root, "changes", true);
	int			i;

	push->nchanges = JsonContainerSize(array);
	if (push->nchanges > SYNC_PUSH_CHANGES)
		ereport(ERROR,
				(errcode(SYNC_ERR_TOO_LARGE),
				 errmsg("a push may hold at most %d changes", SYNC_PUSH_CHANGES)));
	push->changes = palloc0(sizeof(Change) * Max(push->nchanges, 1));
	push->tables = sync_list_tables();
	for (i = 0; i < push->nchanges; i++)
	{
		push->changes[i].index = i;
		push->changes[i].local_version = -1;
		change_read(push, &push->changes[i], getIthJsonbValueFromContainer(array, i));
	}
}

/* An acknowledged push survives a crash, whatever the session's setting. */
static void
force_synchronous_commit(void)
{
	if (synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
		set_config_option("synchronous_commit", "local", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
}

/* Two batches of one device take turns: the second may repeat what the first is still doing. */
static void
lock_device(const Push *push)
{
	uint64		key = sync_hash(push->device, strlen(push->device), sync_hash(push->user, strlen(push->user), 0x53594e43));

	DirectFunctionCall1(pg_advisory_xact_lock_int8, Int64GetDatum((int64) key));
}

static text *
answer_push(const Push *push)
{
	StringInfoData out;
	bool		is_success = true;
	int			i;

	for (i = 0; i < push->nchanges; i++)
		is_success &= strcmp(push->changes[i].status, "success") == 0;
	initStringInfo(&out);
	appendStringInfo(&out, "{\"success\":%s,\"processed\":[", is_success ? "true" : "false");
	for (i = 0; i < push->nchanges; i++)
	{
		if (i)
			appendStringInfoChar(&out, ',');
		verdict_put(&out, &push->changes[i]);
	}
	appendStringInfoString(&out, "],\"server_time\":");
	sync_render_timestamp(&out, GetCurrentTimestamp());
	appendStringInfoChar(&out, '}');
	return cstring_to_text_with_len(out.data, out.len);
}

/* One line in the log of syncs, whatever it came to. */
static void
log_push(const Push *push, int64 bytes)
{
	int			good = 0;
	int			i;
	const char *status;

	for (i = 0; i < push->nchanges; i++)
		good += strcmp(push->changes[i].status, "success") == 0;
	status = good == push->nchanges ? "ok" : good > 0 ? "partial" : "failed";
	sync_device_log(push->user[0] ? push->user : NULL, push->device, "push", push->nchanges, bytes, status,
					(GetCurrentTimestamp() - push->now) / 1000.0);
}

static void
run_push(Push *push, Jsonb *request)
{
	bool	   *was_decided;
	int			i;

	read_head(push, request);
	sync_write_device = push->device;
	lock_device(push);
	if (push->user[0])
		sync_device_note(push->user, push->device);
	force_synchronous_commit();
	read_changes(push, request);
	ledger_index(push);
	ledger_read(push);
	ledger_set_repeats_aside(push);
	lock_read(push);
	was_decided = palloc(sizeof(bool) * Max(push->nchanges, 1));
	for (i = 0; i < push->nchanges; i++)
		was_decided[i] = push->changes[i].is_decided;
	if (push->is_atomic)
		apply_atomic(push, was_decided);
	else
	{
		apply_range(push, was_decided, 0, push->nchanges);
		if (is_mixed(push, was_decided))
			retry_failed(push, was_decided);
	}
	ledger_answer_repeats(push);
	conflict_record_errors(push);
	conflict_write(push);
	ledger_write(push);
	lock_release(push);
	log_push(push, VARSIZE(request));
}

Datum
sync_push(PG_FUNCTION_ARGS)
{
	Jsonb	   *request = sync_request(fcinfo);
	MemoryContext caller = CurrentMemoryContext;
	Push		push = {0};
	text	   *answer = NULL;

	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(SYNC_ERR_WRONG_STATE),
				 errmsg("cannot push during recovery"),
				 errhint("Push to the primary.")));
	PreventCommandIfReadOnly("sync.push()");
	SPI_connect();
	PG_TRY();
	{
		run_push(&push, request);
	}
	PG_FINALLY();
	{
		sync_push_stamp = NULL;
		sync_write_device = NULL;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	answer = answer_push(&push);
	SPI_finish();
	PG_RETURN_TEXT_P(answer);
}
