/*
 * attempt.c - a subtransaction around what may fail without failing the whole request.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "change.h"

#include "access/xact.h"
#include "utils/resowner.h"

void
attempt_begin(Attempt *attempt)
{
	attempt->context = CurrentMemoryContext;
	attempt->owner = CurrentResourceOwner;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(attempt->context);
}

void
attempt_keep(const Attempt *attempt)
{
	ReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(attempt->context);
	CurrentResourceOwner = attempt->owner;
}

void
attempt_undo(const Attempt *attempt)
{
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(attempt->context);
	CurrentResourceOwner = attempt->owner;
	sync_push_stamp = NULL;
}

/* Returns the error that ended it, unless that must end the whole request: a cancelled or broken backend. */
ErrorData *
attempt_drop(const Attempt *attempt)
{
	ErrorData  *error;
	int			category;

	MemoryContextSwitchTo(attempt->context);
	error = CopyErrorData();
	category = ERRCODE_TO_CATEGORY(error->sqlerrcode);
	if (category == ERRCODE_OPERATOR_INTERVENTION || category == ERRCODE_INSUFFICIENT_RESOURCES ||
		category == ERRCODE_SYSTEM_ERROR || category == ERRCODE_INTERNAL_ERROR)
		PG_RE_THROW();
	FlushErrorState();
	attempt_undo(attempt);
	return error;
}
