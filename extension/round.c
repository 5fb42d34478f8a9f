/*
 * round.c - where a round of pull starts: what the token still says truly, and what has to be sent whole, withdrawn or reset.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "pull.h"
#include "control.h"

#include "access/timeline.h"
#include "access/xlog.h"

/* A token from a timeline that was left stays good up to the point where it was left. */
static bool
is_on_this_timeline(const SyncToken *token, TimeLineID now, XLogRecPtr insert)
{
	List	   *history;
	ListCell   *lc;

	if (token->timeline == now)
		return token->lsn <= insert;
	if (token->timeline > now)
		return false;
	history = readTimeLineHistory(now);
	foreach(lc, history)
	{
		TimeLineHistoryEntry *entry = lfirst(lc);

		if (entry->tli == token->timeline)
			return token->lsn <= entry->end;
	}
	return false;
}

static bool
is_of_this_history(const SyncToken *token, const SyncToken *now)
{
	return token->system_id == now->system_id && token->incarnation == now->incarnation &&
		is_on_this_timeline(token, now->timeline, now->lsn);
}

/* Whether the token still says truly what its holder has; otherwise everything is reset. */
static bool
is_valid(const SyncToken *token, const SyncToken *now, uint64 horizon)
{
	const SyncSnapshot *lower = token->lower;
	const SyncSnapshot *upper = token->upper;

	if (token->identity != now->identity || token->schema_version != now->schema_version)
		return false;
	if (!is_of_this_history(token, now) && !control_off("incarnation"))
		return false;
	if (lower && (lower->xmax > now->upper->xmax || lower->xmin <= horizon))
		return false;
	return upper == NULL || upper->xmax <= now->upper->xmax;
}

static const SyncHeldScope *
token_scope(const SyncToken *token, int32 scope_id)
{
	int			i;

	for (i = 0; token && i < token->nscopes; i++)
		if (token->scopes[i].scope_id == scope_id)
			return &token->scopes[i];
	return NULL;
}

/* Did the token's holder lose a value of this scope since? */
static bool
has_lost(const SyncHeldScope *before, const SyncScope *now)
{
	SyncHeldScope held = {now->id, now->nvalues, now->hashes};
	int			i;

	for (i = 0; before && i < before->nhashes; i++)
		if (!sync_held_has(&held, before->hashes[i]))
			return true;
	return false;
}

static SyncHeldScope *
gained_hashes(const SyncHeldScope *before, const SyncScope *now)
{
	SyncHeldScope *gained = palloc0(sizeof(SyncHeldScope));
	int			i;

	gained->scope_id = now->id;
	gained->hashes = palloc(sizeof(uint64) * Max(now->nvalues, 1));
	for (i = 0; i < now->nvalues; i++)
		if (!sync_held_has(before, now->hashes[i]))
			gained->hashes[gained->nhashes++] = now->hashes[i];
	return gained;
}

static void
add_withdrawn(Pull *pull, PullTable *p)
{
	int			i;

	p->is_withdrawn = true;
	appendStringInfoString(&pull->withdrawn, pull->withdrawn.len ? ",{\"entity_type\":" : "{\"entity_type\":");
	sync_render_string(&pull->withdrawn, p->table->entity_type, strlen(p->table->entity_type));
	appendStringInfoString(&pull->withdrawn, ",\"keep\":[");
	for (i = 0; i < p->scope->nvalues; i++)
	{
		if (i)
			appendStringInfoChar(&pull->withdrawn, ',');
		sync_render_string(&pull->withdrawn, p->scope->values[i], strlen(p->scope->values[i]));
	}
	appendStringInfoString(&pull->withdrawn, "]}");
}

static void
put_tables(Pull *pull)
{
	SyncToken  *next = &pull->next;
	ListCell   *lc;

	next->tables = palloc(sizeof(int32) * Max(list_length(pull->selected), 1));
	next->names = palloc(sizeof(char *) * Max(list_length(pull->selected), 1));
	next->whole = palloc(sizeof(int32) * Max(list_length(pull->selected), 1));
	foreach(lc, pull->selected)
	{
		PullTable  *p = lfirst(lc);

		next->names[next->ntables] = p->table->entity_type;
		next->tables[next->ntables++] = p->table->id;
		if (p->is_whole)
			next->whole[next->nwhole++] = p->table->id;
	}
}

/* Is there a table of this scope that is not sent whole anyway? */
static bool
has_increment(const Pull *pull, int32 scope_id)
{
	ListCell   *lc;

	foreach(lc, pull->selected)
	{
		PullTable  *p = lfirst(lc);

		if (p->scope && p->scope->id == scope_id && !p->is_whole && !p->is_unchanged)
			return true;
	}
	return false;
}

static void
put_scopes(Pull *pull, const SyncToken *valid)
{
	SyncToken  *next = &pull->next;
	ListCell   *lc;

	next->scopes = palloc(sizeof(SyncHeldScope) * Max(list_length(pull->scopes), 1));
	foreach(lc, pull->scopes)
	{
		SyncScope  *scope = lfirst(lc);
		const SyncHeldScope *before = token_scope(valid, scope->id);
		SyncHeldScope *held = &next->scopes[next->nscopes++];
		SyncHeldScope *gained = gained_hashes(before, scope);

		held->scope_id = scope->id;
		held->nhashes = scope->nvalues;
		held->hashes = scope->hashes;
		if (gained->nhashes > 0 && has_increment(pull, scope->id))
			next->gained = lappend(next->gained, gained);
	}
}

/* 0 is no table's. Created again, the extension gives its tables their numbers anew: then a token's say nothing, its names do. */
static int32
number_now(const Pull *pull, int i)
{
	const SyncToken *given = pull->given;

	return given->system_id == pull->next.system_id && given->incarnation == pull->next.incarnation ? given->tables[i] : 0;
}

static bool
is_selected(const Pull *pull, int32 table_id, const char *name)
{
	ListCell   *lc;

	foreach(lc, pull->selected)
	{
		PullTable  *p = lfirst(lc);

		if (p->table->id == table_id || strcmp(p->table->entity_type, name) == 0)
			return true;
	}
	return false;
}

/* What the token covered and nobody will be told of any more: disabled, dropped, broken, or no longer granted. One that was not asked for stays. */
static void
put_gone(Pull *pull)
{
	const SyncToken *given = pull->given;
	int			i;

	for (i = 0; given && given->names && i < given->ntables; i++)
		if (!is_selected(pull, number_now(pull, i), given->names[i]) && !pull_leaves_out(pull, number_now(pull, i), given->names[i]))
			pull->gone = lappend(pull->gone, given->names[i]);
}

/* A round that starts from a finished token, from none, or from one that no longer holds (valid == NULL). */
static void
start_round(Pull *pull, const SyncToken *valid)
{
	ListCell   *lc;

	pull->next.lower = valid ? valid->lower : NULL;
	foreach(lc, pull->selected)
	{
		PullTable  *p = lfirst(lc);

		p->is_whole = valid == NULL || valid->lower == NULL || !sync_token_covers(valid, p->table->id) ||
			!sync_snapshot_knows_epoch(valid->lower, p->epoch);
		if (p->table->verify)
			pull_compare(pull, p, valid);
		p->is_reset = p->is_whole && pull->had_token;
		/* Of a table that is unchanged too: what the stream sent since it was counted may be of a scope that was lost. */
		if (!p->is_whole && p->scope && has_lost(token_scope(valid, p->scope->id), p->scope))
			add_withdrawn(pull, p);
	}
	put_gone(pull);
	put_tables(pull);
	put_scopes(pull, valid);
	pull->next.part_table = 0;
	pull->next.part_phase = 'T';
	pull->next.part_key = "";
}

static bool
is_in(int32 id, const int32 *ids, int n)
{
	int			i;

	for (i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

/*
 * Whether the round of a mid-round token can go on: the same tables, none truncated since, no scope lost. A scope gained
 * since waits for the next round.
 */
static bool
can_continue(Pull *pull)
{
	SyncToken  *given = pull->given;
	ListCell   *lc;

	if (given->ntables != list_length(pull->selected))
		return false;
	foreach(lc, pull->selected)
	{
		PullTable  *p = lfirst(lc);

		if (!sync_token_covers(given, p->table->id) ||
			!sync_snapshot_knows_epoch(given->upper, p->epoch))
			return false;
		if (p->scope && has_lost(token_scope(given, p->scope->id), p->scope))
			return false;
		if (p->table->verify && pull_digest(given, p->table->id) == NULL)
			return false;
		/* Only a forged token speaks of increments without saying since when. */
		if (given->lower == NULL && !is_in(p->table->id, given->whole, given->nwhole))
			return false;
	}
	return true;
}

/* Narrows each scope to the values its round began with. */
static void
keep_round_scopes(Pull *pull)
{
	ListCell   *lc;

	foreach(lc, pull->scopes)
	{
		SyncScope  *scope = lfirst(lc);
		const SyncHeldScope *before = token_scope(pull->given, scope->id);
		int			kept = 0;
		int			i;

		for (i = 0; i < scope->nvalues; i++)
			if (sync_held_has(before, scope->hashes[i]))
			{
				scope->values[kept] = scope->values[i];
				scope->hashes[kept++] = scope->hashes[i];
			}
		scope->nvalues = kept;
	}
}

static void
continue_round(Pull *pull)
{
	SyncToken  *given = pull->given;
	ListCell   *lc;

	keep_round_scopes(pull);
	foreach(lc, pull->selected)
	{
		PullTable  *p = lfirst(lc);

		p->is_whole = is_in(p->table->id, given->whole, given->nwhole);
		p->is_unchanged = p->table->verify && !p->is_whole;
	}
	given->timeline = pull->next.timeline;
	given->lsn = pull->next.lsn;
	pull->next = *given;
}

/* A finished token that can be used as it is, or NULL: also for a broken-off round, whose whole tables were sent in part. */
static const SyncToken *
usable_token(Pull *pull, uint64 horizon)
{
	SyncToken  *given = pull->given;

	if (given == NULL || !is_valid(given, &pull->next, horizon) || given->upper)
		return NULL;
	return given;
}

/*
 * The number says only up to where everything was sent, not to whom: it is good for tables that everybody sees alike, without scopes and policies. The
 * client asks for the same tables each time.
 */
static SyncToken *
token_of_number(const Pull *pull)
{
	const SyncToken *now = &pull->next;
	SyncToken  *token = palloc0(sizeof(SyncToken));
	uint64		xmin = (uint64) pull->number & ((UINT64CONST(1) << PULL_NUMBER_BITS) - 1);
	ListCell   *lc;

	if ((uint64) pull->number >> PULL_NUMBER_BITS != (now->incarnation & PULL_INCARNATION_MASK) || xmin == 0)
		return NULL;
	*token = *now;
	token->upper = NULL;
	token->lower = sync_snapshot_parse(psprintf(UINT64_FORMAT ":" UINT64_FORMAT ":", xmin, xmin));
	token->tables = palloc(sizeof(int32) * Max(list_length(pull->selected), 1));
	foreach(lc, pull->selected)
	{
		PullTable  *p = lfirst(lc);

		if (p->scope == NULL && !p->table->has_policies)
			token->tables[token->ntables++] = p->table->id;
	}
	return token;
}

static void
check_schema_version(const Pull *pull, const SyncInstance *instance)
{
	if (pull->schema_version >= 0 && pull->schema_version < instance->schema_oldest)
		ereport(ERROR,
				(errcode(SYNC_ERR_TOO_OLD),
				 errmsg("schema version %d is no longer served, the oldest is %d", pull->schema_version, instance->schema_oldest),
				 errhint("Update the client; what it has queued stays valid.")));
}

void
pull_place_round(Pull *pull)
{
	SyncToken  *next = &pull->next;
	SyncInstance instance;
	bool		is_same;

	next->system_id = GetSystemIdentifier();
	next->identity = sync_identity_hash();
	next->timeline = GetWALInsertionTimeLine();
	sync_read_instance(&instance);
	check_schema_version(pull, &instance);
	next->incarnation = instance.incarnation;
	next->schema_version = pull->schema_version;
	next->upper = sync_snapshot_now();
	next->lsn = sync_flush_wal();
	if (pull->number >= 0)
		pull->given = token_of_number(pull);
	is_same = pull->given && !pull->given->upper && sync_snapshot_equal(pull->given->lower, next->upper);

	if (pull->given && pull->given->upper && is_valid(pull->given, next, instance.horizon) && can_continue(pull))
		continue_round(pull);
	else
		start_round(pull, usable_token(pull, instance.horizon));
	/* Nothing new: the same token again, though WAL went on. */
	if (is_same && next->lower && next->timeline == pull->given->timeline)
		next->lsn = pull->given->lsn;
}

