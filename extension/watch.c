/*
 * watch.c - tells the streamers whose scopes a transaction may have changed: one WAL message for each transaction that wrote to a watched table.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#define USERS_MAX 100			/* of one transaction; more: everyone */

PG_FUNCTION_INFO_V1(sync_watched);

/* What the transaction has touched so far; in its memory. A rolled back savepoint may name users too many: they are only asked again. */
typedef struct Concerned
{
	char	   *key;			/* of the message */
	bool		is_everyone;
	int			nusers;
	char	   *users[USERS_MAX];
} Concerned;

static Concerned *concerned = NULL;

static void
write_message(const Concerned *c)
{
	StringInfoData json;
	int			i;

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"t\":\"watch\",\"users\":");
	if (c->is_everyone)
		appendStringInfoString(&json, "null");
	for (i = 0; i < c->nusers && !c->is_everyone; i++)
	{
		appendStringInfoChar(&json, i ? ',' : '[');
		sync_render_string(&json, c->users[i], strlen(c->users[i]));
	}
	appendStringInfoString(&json, c->is_everyone ? "}" : "]}");
	sync_write_message(c->key, json.data, true);
}

/* At the end, so that a transaction writes one; also before PREPARE, whose message then comes with COMMIT PREPARED. */
static void
transaction_ends(XactEvent event, void *arg)
{
	Concerned  *c = concerned;

	concerned = NULL;
	if (c && (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE) && (c->is_everyone || c->nusers > 0))
		write_message(c);
}

static Concerned *
this_transaction(void)
{
	static bool is_registered = false;
	MemoryContext before;
	Concerned  *made;

	if (concerned)
		return concerned;
	if (!is_registered)
		RegisterXactCallback(transaction_ends, NULL);
	is_registered = true;
	before = MemoryContextSwitchTo(TopTransactionContext);
	made = palloc0(sizeof(Concerned));
	made->key = sync_message_key();
	MemoryContextSwitchTo(before);
	concerned = made;			/* whole: what fails above leaves none to a transaction that goes on after a savepoint */
	return concerned;
}

static void
add_user(Concerned *c, const char *user)
{
	int			i;

	for (i = 0; i < c->nusers; i++)
		if (strcmp(c->users[i], user) == 0)
			return;
	if (c->nusers == USERS_MAX)
		c->is_everyone = true;
	else
		c->users[c->nusers++] = MemoryContextStrdup(TopTransactionContext, user);
}

/* A column that is gone or has another name by now says nothing of whom it concerns. NULL is nobody. */
static void
add_row(Concerned *c, const Trigger *trigger, HeapTuple row, TupleDesc desc)
{
	int			i;

	for (i = 0; i < trigger->tgnargs && !c->is_everyone; i++)
	{
		int			column = SPI_fnumber(desc, trigger->tgargs[i]);
		char	   *user = column > 0 ? SPI_getvalue(row, desc, column) : NULL;

		if (column <= 0)
			c->is_everyone = true;
		if (user)
			add_user(c, user);
	}
}

/*
 * AFTER INSERT, UPDATE or DELETE of a row, or TRUNCATE, of a table that a scope's members depend on. The arguments name the columns that hold the
 * users concerned; without any, and after TRUNCATE, it is everyone.
 */
Datum
sync_watched(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	Concerned  *c;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(data->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("sync.watched() may only be called as the trigger that sync.create_scope() makes")));
	if (!XLogLogicalInfoActive())
		return PointerGetDatum(NULL);	/* no streamer can read it */
	c = this_transaction();
	if (!TRIGGER_FIRED_FOR_ROW(data->tg_event) || data->tg_trigger->tgnargs == 0)
		c->is_everyone = true;
	if (c->is_everyone)
		return PointerGetDatum(NULL);
	add_row(c, data->tg_trigger, data->tg_trigtuple, RelationGetDescr(data->tg_relation));
	if (TRIGGER_FIRED_BY_UPDATE(data->tg_event))
		add_row(c, data->tg_trigger, data->tg_newtuple, RelationGetDescr(data->tg_relation));
	return PointerGetDatum(NULL);
}
