/*
 * decide.c - what becomes of a pushed change that meets a living row: which of its values are written, and which collide.
 *
 * A column collides when somebody else wrote it after what the client knew. Everything else is taken, so edits of different columns are
 * both kept. Collisions are settled by the column's rule, else by the table's.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "change.h"

#include "access/htup_details.h"

/* A decision in the making. */
typedef struct Deciding
{
	Push	   *push;
	Change	   *change;
	const SyncTable *table;
	const Row  *row;
	SyncWrite  *last;			/* of each column */
	Field	   *base;
	int			nbase;
	Merge		merge;
	List	   *fields;			/* names of the colliding columns */
	Bitmapset  *collided;
	Bitmapset  *rules;			/* that settled something */
	bool		is_refused;
	int			nlocal;
	int			nserver;
	int			nboth;
} Deciding;

static const Field *
base_of(const Deciding *d, int column)
{
	int			i;

	for (i = 0; i < d->nbase; i++)
		if (d->base[i].column == column)
			return &d->base[i];
	return NULL;
}

/*
 * The version the client says it knew; -1: none. Who creates a row knew none, its version would only match by chance; and a version that the
 * row has not reached yet is of another life of the database.
 */
static int64
known_version(const Change *change, const Row *row)
{
	if (change->operation == OP_CREATE || change->local_version > row_version(change->table, row))
		return -1;
	return change->local_version;
}

/* A column of JSON that has rules for members only is merged member by member. */
static SyncRule
rule_of(const SyncTable *table, int column)
{
	const SyncColumnRule *rule = merge_own_rule(&table->columns[column]);

	if (rule)
		return rule->rule;
	return table->columns[column].rules ? RULE_OBJECT : table->rule == RULE_MERGE ? RULE_LWW : table->rule;
}

/* Has the column, or a member of it, this rule? */
static bool
has_rule(const SyncColumn *column, SyncRule rule)
{
	ListCell   *lc;

	foreach(lc, column->rules)
		if (((SyncColumnRule *) lfirst(lc))->rule == rule)
			return true;
	return false;
}

/*
 * Did the client know the column's last write? Then its edit follows on, whatever the clocks say. Its own write it knew; but two increments of one device may
 * arrive in another order than they were made in, and then each counts by its base.
 */
static bool
is_free(const Deciding *d, int column)
{
	const SyncWrite *last = &d->last[column];
	const Field *base = base_of(d, column);

	if (last->device == d->push->device_hash && !(base && !base->isnull && has_rule(&d->table->columns[column], RULE_COUNTER)))
		return true;
	if (base && value_equals_row(d->table, base, d->row))
		return true;
	return known_version(d->change, d->row) >= last->version;
}

static void
write_field(Deciding *d, const Field *field)
{
	d->merge.writes[d->merge.nwrites++] = *field;
}

static Winner
merge_field(Deciding *d, const Field *field, Field *result)
{
	const SyncColumn *column = &d->table->columns[field->column];
	const Field *known = base_of(d, field->column);
	Side		local = {field->value, field->isnull, true};
	Side		server = {.is_known = true};
	Side		base = {0};

	*result = (Field) {.column = field->column};
	server.value = heap_getattr(d->row->tuple, column->attnum, d->row->desc, &server.isnull);
	if (known)
		base = (Side) {known->value, known->isnull, true};
	return merge_column(d->push, d->table, column, &local, &server, &base, d->change->edited_at > d->last[field->column].edited_at, result);
}

/*
 * What both sides made of a column holds something that the device has not seen. So the write is nobody's: a later change of the device goes
 * by its base again, and does not undo the other's as if the column were its own.
 */
static void
write_merged(Deciding *d, const Field *result)
{
	if (value_equals_row(d->table, result, d->row))
		return;
	write_field(d, result);
	d->push->stamp.merged = lappend_oid(d->push->stamp.merged, d->table->columns[result->column].name_hash);
}

static void
settle(Deciding *d, const Field *field)
{
	SyncRule	rule = rule_of(d->table, field->column);
	Field		result;

	d->fields = lappend(d->fields, d->table->columns[field->column].name);
	d->collided = bms_add_member(d->collided, field->column);
	d->rules = bms_add_member(d->rules, rule);
	if (rule == RULE_REJECT || rule == RULE_MANUAL)
	{
		d->is_refused = true;
		return;
	}
	switch (merge_field(d, field, &result))
	{
		case WINNER_LOCAL:
			d->nlocal++;
			write_field(d, field);
			break;
		case WINNER_SERVER:
			d->nserver++;
			break;
		case WINNER_BOTH:
			d->nboth++;
			write_merged(d, &result);
			break;
	}
}

/* Columns that somebody writes: the mark of a deletion counts, as taking it away is an edit. */
static bool
is_edited(const SyncTable *table, int column)
{
	return !table->columns[column].is_generated && column != table->updated_at;
}

/* Did another device write a column after the version known, but for those left out? */
static bool
is_written_since(const Push *push, const SyncTable *table, const SyncWrite *last, int64 known, const Bitmapset *left_out)
{
	int			i;

	for (i = 0; i < table->ncolumns; i++)
		if (!bms_is_member(i, left_out) && is_edited(table, i) && last[i].version > known && last[i].device != push->device_hash)
			return true;
	return false;
}

/* Did others write columns since that this change leaves alone or could take over without a collision? */
static bool
has_foreign_writes(const Deciding *d)
{
	int64		known = known_version(d->change, d->row);

	return known >= 0 && is_written_since(d->push, d->table, d->last, known, d->collided);
}

static const char *
rule_names(const Deciding *d)
{
	StringInfoData out;
	int			rule = -1;

	initStringInfo(&out);
	while ((rule = bms_next_member(d->rules, rule)) >= 0)
		appendStringInfo(&out, "%s%s", out.len ? "," : "", sync_rule_name(rule));
	return out.data;
}

static void
record_collision(Deciding *d)
{
	bool		is_manual = d->is_refused && bms_is_member(RULE_MANUAL, d->rules);
	const char *outcome = is_manual ? "open" : d->merge.decision == DECIDE_LOSE ? "server" :
		d->nserver == 0 && d->nboth == 0 ? "local" : "merged";

	conflict_record(d->push, d->change, "edit", outcome, rule_names(d), d->fields, d->row, row_version(d->table, d->row));
	d->merge.lost = d->merge.decision == DECIDE_LOSE || d->nserver > 0;
	if (d->merge.decision == DECIDE_LOSE)
		d->merge.outcome = is_manual ? "conflict" : "superseded";
}

static void
read_knowledge(Deciding *d)
{
	if (d->last)
		return;
	d->last = sync_clock_columns(d->table, d->row->tuple, d->row->desc);
	d->base = d->change->base ? value_read_fields(d->push, d->table, d->change->base, &d->nbase) : NULL;
}

/* Two of the same are more than one of it. */
static bool
adds_up(const SyncColumn *column)
{
	return has_rule(column, RULE_COUNTER) || has_rule(column, RULE_APPEND);
}

/* The value the row has already is no edit, unless both sides raised a counter by as much, or added an equal entry to a list: then it is done twice. */
static bool
is_touched(Deciding *d, const Field *field)
{
	Field		result;

	if (!value_equals_row(d->table, field, d->row))
		return true;
	if (d->change->base == NULL || d->table->rule == RULE_LWW || !adds_up(&d->table->columns[field->column]))
		return false;
	read_knowledge(d);
	return !is_free(d, field->column) && merge_field(d, field, &result) == WINNER_BOTH && !value_equals_row(d->table, &result, d->row);
}

static void
decide_columns(Deciding *d, const Field *touched, int n)
{
	int			i;

	read_knowledge(d);
	for (i = 0; i < n; i++)
		if (is_free(d, touched[i].column))
			write_field(d, &touched[i]);
		else
			settle(d, &touched[i]);
	if (d->is_refused)
		d->merge.nwrites = 0;
	d->merge.decision = d->merge.nwrites > 0 ? DECIDE_WRITE : DECIDE_LOSE;
	d->merge.outcome = d->nserver > 0 || d->nboth > 0 || has_foreign_writes(d) ? "merged" : "applied";
	if (d->collided)
		record_collision(d);
}

/* Rule lww: the row wins or loses as a whole. */
static void
decide_row(Deciding *d, const Field *touched, int n)
{
	SyncWrite	newest;
	int			i;

	if (!decide_base_holds(d->push, d->change, d->row))
	{
		sync_clock_newest(d->table, d->row->tuple, d->row->desc, &newest);
		for (i = 0; i < n; i++)
			d->fields = lappend(d->fields, d->table->columns[touched[i].column].name);
		d->rules = bms_make_singleton(RULE_LWW);
		d->merge.decision = d->change->edited_at > newest.edited_at ? DECIDE_WRITE : DECIDE_LOSE;
		record_collision(d);
		if (d->merge.decision == DECIDE_LOSE)
			return;
	}
	d->merge.decision = DECIDE_WRITE;
	for (i = 0; i < n; i++)
		write_field(d, &touched[i]);
}

Merge
decide_update(Push *push, Change *change, const Row *row, Field *fields, int n)
{
	Deciding	d = {.push = push, .change = change, .table = change->table, .row = row, .merge = {.outcome = "applied"}};
	Field	   *touched = palloc(sizeof(Field) * Max(n, 1));
	int			ntouched = 0;
	int			i;

	for (i = 0; i < n; i++)
		if (is_touched(&d, &fields[i]))
			touched[ntouched++] = fields[i];
	if (ntouched == 0)
		return d.merge;
	d.merge.writes = palloc(sizeof(Field) * ntouched);
	if (change->operation != OP_CREATE && change->local_version == row_version(d.table, row))
	{
		d.merge.decision = DECIDE_WRITE;
		memcpy(d.merge.writes, touched, sizeof(Field) * ntouched);
		d.merge.nwrites = ntouched;
	}
	else if (d.table->rule == RULE_LWW)
		decide_row(&d, touched, ntouched);
	else
		decide_columns(&d, touched, ntouched);
	return d.merge;
}

/* Was the row, as a whole, what its device knew? */
bool
decide_base_holds(Push *push, const Change *change, const Row *row)
{
	const SyncTable *table = change->table;
	Field	   *base;
	SyncWrite	newest;
	int64		known = known_version(change, row);
	int			n;

	sync_clock_newest(table, row->tuple, row->desc, &newest);
	if (newest.device == push->device_hash)
		return true;
	if (known >= 0 && !is_written_since(push, table, sync_clock_columns(table, row->tuple, row->desc), known, NULL))
		return true;
	if (change->base == NULL)
		return false;
	base = value_read_fields(push, table, change->base, &n);
	return n > 0 && value_all_equal(table, base, n, row);
}
