/*
 * attempt.c - a subtransaction around what may fail without failing the whole request.
 *
 * Whatever the error, the subtransaction ends before it goes on: who catches it further out rolls back one level, and would take ours for its own.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "change.h"

#include "access/xact.h"

void
sync_attempt_begin(SyncAttempt *attempt)
{
	attempt->context = CurrentMemoryContext;
	attempt->owner = CurrentResourceOwner;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(attempt->context);
}

void
sync_attempt_keep(const SyncAttempt *attempt)
{
	ReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(attempt->context);
	CurrentResourceOwner = attempt->owner;
}

void
sync_attempt_undo(const SyncAttempt *attempt)
{
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(attempt->context);
	CurrentResourceOwner = attempt->owner;
}

/* In PG_CATCH: the error that ended it, for ReThrowError or not. */
ErrorData *
sync_attempt_failed(const SyncAttempt *attempt)
{
	ErrorData  *error;

	MemoryContextSwitchTo(attempt->context);
	error = CopyErrorData();
	FlushErrorState();
	sync_attempt_undo(attempt);
	return error;
}

/* What has nothing to do with the statement: a cancel, no memory or room, a broken backend. */
static bool
is_of_server(int sqlstate)
{
	int			category = ERRCODE_TO_CATEGORY(sqlstate);

	return category == ERRCODE_OPERATOR_INTERVENTION || category == ERRCODE_INSUFFICIENT_RESOURCES ||
		category == ERRCODE_SYSTEM_ERROR || category == ERRCODE_INTERNAL_ERROR;
}

/* Returns the error that ended it, unless that must end the whole request. */
ErrorData *
attempt_drop(const SyncAttempt *attempt)
{
	ErrorData  *error = sync_attempt_failed(attempt);

	sync_push_stamp = NULL;
	if (is_of_server(error->sqlerrcode))
		ReThrowError(error);
	return error;
}

/* These, a lock that did not come, a deadlock: the next try may go well, so no verdict may be kept from it. */
bool
sync_error_is_of_moment(int sqlstate)
{
	return is_of_server(sqlstate) || ERRCODE_TO_CATEGORY(sqlstate) == ERRCODE_TRANSACTION_ROLLBACK || sqlstate == ERRCODE_LOCK_NOT_AVAILABLE;
}
