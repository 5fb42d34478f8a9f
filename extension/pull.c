/*
 * pull.c - sync.pull(): a page of what changed between the cursor of a token and now.
 *
 * A round has a lower cursor C (from the token) and an upper snapshot S (taken with its first page). It is a list of parts,
 * in this order for each table: tombstones ('T'), then changed rows ('I') and rows of scopes gained since ('G'), or all rows
 * ('W') of a table that is sent whole. A page sends rows until it is full; its token names the part and place to go on from.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "pull.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(sync_pull);
PG_FUNCTION_INFO_V1(sync_session_state);

static void
read_request(Pull *pull, Jsonb *request)
{
	char	   *device = sync_json_string(&request->root, "device_id", false, 256);
	char	   *token = NULL;
	JsonbValue *v = sync_json_get(&request->root, "sync_token");

	if (v && v->type == jbvString)
		token = sync_json_text(v);
	else if (v && v->type != jbvNull)
		ereport(ERROR, (errcode(SYNC_ERR_BAD_REQUEST), errmsg("member \"sync_token\" of the request must be a string")));
	if (device && sync_user_id())
		sync_device_check(sync_user_id(), device);
	pull->device = device ? sync_device_hash(sync_user_id(), device) : 0;
	pull->tables = sync_json_array(&request->root, "tables", false);
	pull->priority = (int) sync_json_int(&request->root, "priority", 3, 1, 3);
	pull->limit = (int) sync_json_int(&request->root, "limit", SYNC_PAGE_ROWS, 1, SYNC_PAGE_ROWS_MAX);
	pull->schema_version = (int) sync_json_int(&request->root, "schema_version", -1, 0, PG_INT32_MAX);
	pull->number = token ? -1 : sync_json_int(&request->root, "n", -1, 0, INT64CONST(1) << 53);
	pull->had_token = token != NULL || pull->number >= 0;
	pull->given = token ? sync_token_read(token) : NULL;
}

static SyncScope *
held_scope(Pull *pull, int32 scope_id)
{
	ListCell   *lc;
	SyncScope  *scope;

	foreach(lc, pull->scopes)
		if (((SyncScope *) lfirst(lc))->id == scope_id)
			return lfirst(lc);
	scope = sync_scope_held(scope_id);
	pull->scopes = lappend(pull->scopes, scope);
	return scope;
}

static bool
is_requested(const Pull *pull, const SyncTable *table)
{
	JsonbValue	name = {.type = jbvString};
	JsonbValue	all = {.type = jbvString, .val.string = {.val = "*", .len = 1}};

	if (table->priority > pull->priority)
		return false;
	/* The extension's own tables come when they are named, beside "*" for the application's. */
	if (table->id >= SYNC_FIRST_TABLE &&
		(pull->tables == NULL || findJsonbValueFromContainer(pull->tables, JB_FARRAY, &all) != NULL))
		return true;
	if (pull->tables == NULL)
		return false;
	name.val.string.val = table->entity_type;
	name.val.string.len = strlen(table->entity_type);
	return findJsonbValueFromContainer(pull->tables, JB_FARRAY, &name) != NULL;
}

static bool
is_named(const SyncTable *table, const char *name)
{
	bool		all;

	return strcmp(name, table->entity_type) == 0 && sync_readable_columns(table, &all) != NULL;
}

/* The reason ends at the colon before the cure; whoever may read nothing of the table learns neither. */
static void
check_not_broken(const SyncTable *table, const char *name)
{
	const char *cure = strrchr(table->broken, ':');

	if (strcmp(name, table->entity_type) != 0 ||
		(pg_class_aclcheck(table->relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK &&
		 pg_attribute_aclcheck_all(table->relid, GetUserId(), ACL_SELECT, ACLMASK_ANY) != ACLCHECK_OK))
		return;
	ereport(ERROR,
			(errcode(SYNC_ERR_WRONG_STATE),
			 errmsg("table \"%s\" cannot be pulled: %.*s", name, (int) (cure ? cure - table->broken : strlen(table->broken)), table->broken),
			 cure ? errhint("Its owner can mend it:%s", cure + 1) : 0));
}

/* A name that is not there is a mistake in the client's code; one not granted looks the same. */
static void
check_requested(const Pull *pull, List *known)
{
	JsonbIterator *it;
	JsonbValue	v;

	if (pull->tables == NULL)
		return;
	it = JsonbIteratorInit(pull->tables);
	JsonbIteratorNext(&it, &v, true);
	while (JsonbIteratorNext(&it, &v, true) == WJB_ELEM)
	{
		char	   *name = v.type == jbvString ? sync_json_text(&v) : NULL;
		bool		is_known = name && strcmp(name, "*") == 0;
		ListCell   *lc;

		foreach(lc, known)
			is_known |= name && is_named(((SyncListed *) lfirst(lc))->table, name);
		foreach(lc, is_known || !name ? NIL : sync_list_broken())
			check_not_broken(((SyncListed *) lfirst(lc))->table, name);
		if (!is_known)
			ereport(ERROR,
					(errcode(SYNC_ERR_BAD_REQUEST),
					 errmsg("\"%s\" is no synced table", name ? name : "?"),
					 errhint("\"tables\" holds entity types: a table's name, with its schema outside public, or the alias given to sync.enable().")));
	}
}

static void
select_tables(Pull *pull)
{
	List	   *known = sync_list_tables();
	ListCell   *lc;

	check_requested(pull, known);
	foreach(lc, known)
	{
		SyncListed *listed = lfirst(lc);
		PullTable  *p;
		bool		all;
		Bitmapset  *readable;

		if (!is_requested(pull, listed->table))
			continue;
		readable = sync_readable_columns(listed->table, &all);
		if (readable == NULL)
			continue;
		p = palloc0(sizeof(PullTable));
		p->table = listed->table;
		p->epoch = listed->epoch;
		p->readable = readable;
		p->all_readable = all;
		if (listed->table->scope)
			p->scope = held_scope(pull, listed->table->scope_id);
		if (!listed->table->policy_is_scope)
			p->policies = sync_policy_check(listed->table);
		pull->selected = lappend(pull->selected, p);
	}
}

bool
pull_leaves_out(const Pull *pull, int32 table_id, const char *name)
{
	ListCell   *lc;
	bool		all;

	foreach(lc, sync_list_tables())
	{
		const SyncTable *table = ((SyncListed *) lfirst(lc))->table;

		if (table_id != 0 ? table->id == table_id : strcmp(table->entity_type, name) == 0)
			return !is_requested(pull, table) && sync_readable_columns(table, &all) != NULL;
	}
	return false;
}

static void
put_reset(Pull *pull)
{
	List	   *names = NIL;
	ListCell   *lc;

	foreach(lc, pull->selected)
	{
		PullTable  *p = lfirst(lc);

		if (p->is_reset)
			names = lappend(names, p->table->entity_type);
	}
	names = list_concat(names, pull->gone);
	foreach(lc, names)
	{
		appendStringInfoString(&pull->out, foreach_current_index(lc) ? "," : ",\"reset\":[");
		sync_render_string(&pull->out, lfirst(lc), strlen(lfirst(lc)));
	}
	if (names != NIL)
		appendStringInfoChar(&pull->out, ']');
}

/* Until the round is finished it is the number that the round began with: whoever stops half-way and goes on from it misses nothing. */
static uint64
cursor_number(const SyncToken *next, bool is_done)
{
	const SyncSnapshot *cursor = is_done ? next->upper : next->lower;

	if (cursor == NULL)
		return 0;
	return ((uint64) (next->incarnation & PULL_INCARNATION_MASK) << PULL_NUMBER_BITS) |
		(cursor->xmin & ((UINT64CONST(1) << PULL_NUMBER_BITS) - 1));
}

static void
finish_page(Pull *pull, bool is_done)
{
	SyncToken  *next = &pull->next;
	uint64		number = cursor_number(next, is_done);

	appendStringInfoChar(&pull->out, ']');
	if (pull->withdrawn.len)
		appendStringInfo(&pull->out, ",\"withdrawn\":[%s]", pull->withdrawn.data);
	put_reset(pull);
	if (is_done)
	{
		next->lower = next->upper;
		next->upper = NULL;
	}
	appendStringInfo(&pull->out, ",\"has_more\":%s,\"next_sync_token\":\"%s\",\"server_time\":", is_done ? "false" : "true",
					 sync_token_write(next));
	sync_render_timestamp(&pull->out, GetCurrentTimestamp());
	appendStringInfo(&pull->out, ",\"n\":" UINT64_FORMAT "}", number);
}

static void
check_state(void)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(SYNC_ERR_WRONG_STATE),
				 errmsg("cannot pull during recovery"),
				 errhint("A standby does not know which transactions are running: pull from the primary.")));
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		ereport(ERROR,
				(errcode(SYNC_ERR_WRONG_STATE),
				 errmsg("cannot pull in a transaction that has written"),
				 errhint("Its own later changes would be missed: pull in a transaction of its own.")));
}

static bool
is_listed_as(const List *now, const PullTable *p)
{
	ListCell   *lc;

	foreach(lc, now)
	{
		SyncListed *listed = lfirst(lc);

		if (listed->table->id == p->table->id)
			return FullTransactionIdEquals(listed->epoch, p->epoch);
	}
	return false;
}

/*
 * Policies are those of the moment a table is locked, rows those of the snapshot, which is older. A pull that waited for a change of policies would judge
 * rows of before it by the policies of after it; any such change starts the table anew, so it shows in the table's epoch.
 */
static void
check_rules_stand(const Pull *pull)
{
	ListCell   *lc;
	List	   *now;

	foreach(lc, pull->selected)
		LockRelationOid(((PullTable *) lfirst(lc))->table->relid, AccessShareLock);
	PushActiveSnapshot(GetLatestSnapshot());
	now = sync_list_tables();
	PopActiveSnapshot();
	foreach(lc, pull->selected)
		if (!is_listed_as(now, lfirst(lc)))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("the rules of table \"%s\" changed while it was pulled", ((PullTable *) lfirst(lc))->table->entity_type),
					 errhint("Pull again.")));
}

/* What pull and digest begin with. */
void
pull_begin(Pull *pull, Jsonb *request)
{
	read_request(pull, request);
	pull->context = CurrentMemoryContext;
	pull->deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), SYNC_PAGE_MS);
	initStringInfo(&pull->withdrawn);
	select_tables(pull);
	check_rules_stand(pull);
}

/* Everything runs in the snapshot of the calling statement: the streamer asks for the session's state beside a pull, and they must agree. The answer is made in the caller's memory, with room for its length in front. */
Datum
pull_answer(FunctionCallInfo fcinfo, void (*make) (Pull *pull, Jsonb *request))
{
	Pull		pull = {0};
	Jsonb	   *request = sync_request(fcinfo);

	check_state();
	initStringInfo(&pull.out);
	appendStringInfoSpaces(&pull.out, VARHDRSZ);
	SPI_connect();
	sync_plans_begin();
	PG_TRY();
	{
		make(&pull, request);
	}
	PG_FINALLY();
	{
		sync_plans_end();
	}
	PG_END_TRY();
	SPI_finish();
	SET_VARSIZE(pull.out.data, pull.out.len);
	PG_RETURN_TEXT_P((text *) pull.out.data);
}

static void
make_page(Pull *pull, Jsonb *request)
{
	appendStringInfoString(&pull->out, "{\"changes\":[");
	pull_begin(pull, request);
	pull_place_round(pull);
	finish_page(pull, pull_send_round(pull));
}

Datum
sync_pull(PG_FUNCTION_ARGS)
{
	return pull_answer(fcinfo, make_page);
}

/* What the stream has to see to before it sends a row of the table. */
static void
put_right(StringInfo out, const PullTable *p)
{
	const char *separator = ",\"columns\":[";
	int			i = -1;

	appendStringInfo(out, "{\"id\":%d,\"full\":%s", p->table->id,
					 p->all_readable && p->policies == NULL && !p->table->verify ? "true" : "false");
	while (!p->all_readable && (i = bms_next_member(p->readable, i)) >= 0)
	{
		appendStringInfoString(out, separator);
		sync_render_string(out, p->table->columns[i].name, strlen(p->table->columns[i].name));
		separator = ",";
	}
	if (!p->all_readable)
		appendStringInfoChar(out, ']');
	if (p->policies)
		appendStringInfoString(out, ",\"policies\":true");
	if (p->table->verify)
		appendStringInfoString(out, ",\"verify\":true");
	appendStringInfoChar(out, '}');
}

Datum
sync_session_state(PG_FUNCTION_ARGS)
{
	Pull		pull = {0};
	Jsonb	   *request = sync_request(fcinfo);
	MemoryContext caller = CurrentMemoryContext;
	text	   *answer;
	const char *separator = "";
	ListCell   *lc;

	check_state();
	SPI_connect();
	read_request(&pull, request);
	select_tables(&pull);
	initStringInfo(&pull.out);
	appendStringInfoString(&pull.out, "{\"tables\":[");
	foreach(lc, pull.selected)
	{
		PullTable  *p = lfirst(lc);

		appendStringInfoString(&pull.out, separator);
		put_right(&pull.out, p);
		separator = ",";
	}
	appendStringInfoString(&pull.out, "],\"scopes\":{");
	separator = "";
	foreach(lc, pull.scopes)
	{
		SyncScope  *scope = lfirst(lc);
		int			i;

		appendStringInfoString(&pull.out, separator);
		sync_render_string(&pull.out, scope->name, strlen(scope->name));
		appendStringInfoString(&pull.out, ":[");
		for (i = 0; i < scope->nvalues; i++)
		{
			if (i)
				appendStringInfoChar(&pull.out, ',');
			sync_render_string(&pull.out, scope->values[i], strlen(scope->values[i]));
		}
		appendStringInfoChar(&pull.out, ']');
		separator = ",";
	}
	appendStringInfoString(&pull.out, "}}");
	MemoryContextSwitchTo(caller);
	answer = cstring_to_text_with_len(pull.out.data, pull.out.len);
	SPI_finish();
	PG_RETURN_TEXT_P(answer);
}
