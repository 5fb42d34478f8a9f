/* decoder_test.c - the records of one transaction become what sessions are told: which columns changed in it, what the row was before. */
/* SPDX-License-Identifier: PostgreSQL */
#include "check.h"
#include "clock.h"
#include "decoder.h"

static const char feed_tables[] =
	"{\"system_id\":\"7\",\"timeline\":1,\"incarnation\":\"3\",\"message_key\":\"k\",\"tombstone\":{\"schema\":\"sync\",\"table\":\"tombstone\"},"
	"\"registry\":[[\"sync\",\"instance\"],[\"sync\",\"scope\"]],\"watch\":[],\"tables\":["
	"{\"id\":5,\"schema\":\"public\",\"table\":\"t\",\"entity_type\":\"t\",\"scope\":null,\"scope_column\":null,\"deleted_at\":\"d\",\"priority\":2,"
	"\"key\":[\"a\"],\"partitions\":[],\"columns\":[{\"name\":\"a\",\"kind\":\"n\",\"type\":\"int4\",\"hash\":17},{\"name\":\"b\",\"kind\":\"s\",\"type\":\"text\",\"hash\":34},"
	"{\"name\":\"c\",\"kind\":\"x\",\"type\":\"_text\",\"hash\":51},{\"name\":\"d\",\"kind\":\"z\",\"type\":\"timestamptz\",\"hash\":68}]}]}";

static struct sync_tables *tables;
static struct decoder decoder;
static struct transaction *done;
static struct snapshot newest;

static void
take(void *owner, const struct record *r)
{
	(void) owner;
	done = decoder_take(&decoder, r, tables, &newest);
}

static void
tell(const char *line)
{
	struct reader *reader = reader_new(PLUGIN_WAL2JSON);

	CHECK(reader_read(reader, line, strlen(line), 7, take, NULL));
	reader_free(reader);
}

#define HEAD(action, table) "{\"action\":\"" action "\",\"xid\":725,\"schema\":" table
#define T "\"public\",\"table\":\"t\""
#define VALUES(b, d) "{\"name\":\"a\",\"value\":1},{\"name\":\"b\",\"value\":" b "},{\"name\":\"c\",\"value\":null},{\"name\":\"d\",\"value\":" d "},"
#define STAMP(version, clock) "{\"name\":\"sync_version\",\"value\":" version "},{\"name\":\"sync_xid\",\"value\":\"725\"}," \
	"{\"name\":\"sync_at\",\"value\":\"2026-11-21 07:51:42+00\"},{\"name\":\"sync_by\",\"value\":null},{\"name\":\"sync_clock\",\"value\":" clock "}"
#define ROW(b, d, version, clock) "[" VALUES(b, d) STAMP(version, clock) "]"
#define GRAVE(reason) HEAD("I", "\"sync\",\"table\":\"tombstone\"") ",\"columns\":[{\"name\":\"table_id\",\"value\":5},{\"name\":\"entity_id\",\"value\":\"1\"}," \
	"{\"name\":\"version\",\"value\":9},{\"name\":\"sync_xid\",\"value\":\"725\"},{\"name\":\"reason\",\"value\":\"" reason "\"}," \
	"{\"name\":\"at\",\"value\":\"2026-11-21 07:51:42+00\"},{\"name\":\"changed_by\",\"value\":null},{\"name\":\"scope_value\",\"value\":null}]}"
#define B_ALONE "\"0302040100" "00000011" "06" "00000022\""		/* b at this version, a at the one before; nothing left for the rest */
#define C_ALONE "\"0302040100" "00000022" "06" "00000033\""

static void
begin(void)
{
	done = NULL;
	tell("{\"action\":\"B\",\"xid\":725}");
}

/* The transaction's changes, sealed; NULL if there are not so many. */
static struct transaction *
commit(size_t count)
{
	tell("{\"action\":\"C\",\"xid\":725}");
	if (!CHECK(done != NULL))
		return NULL;
	transaction_seal(done);
	if (CHECK(done->count == count))
		return done;
	transaction_release(done);
	return NULL;
}

static bool
has_changed(const struct stream_change *c, const char *columns)
{
	for (int i = 0; i < 4; i++)
		if (c->changed == NULL || column_set_has(c->changed, i) != (strchr(columns, 'a' + i) != NULL))
			return false;
	return true;
}

static void
updates_of_one_row_add_up(void)
{
	struct transaction *t;

	begin();
	tell(HEAD("U", T) ",\"columns\":" ROW("\"x\"", "null", "4", B_ALONE) ",\"identity\":" ROW("\"w\"", "null", "3", "null") "}");
	tell(HEAD("U", T) ",\"columns\":" ROW("\"y\"", "null", "5", C_ALONE) ",\"identity\":" ROW("\"x\"", "null", "4", B_ALONE) "}");
	t = commit(1);
	if (t == NULL)
		return;
	CHECK(!t->changes[0].is_new && has_changed(&t->changes[0], "bc") && t->changes[0].kind == CHANGE_ROW);
	CHECK_TEXT(t->changes[0].old, "{\"a\":1,\"b\":\"w\",\"c\":null,\"d\":null}");
	CHECK(strstr(t->changes[0].json, "\"b\":\"y\"") != NULL);
	transaction_release(t);
}

static void
a_row_that_is_new_was_nothing_before(void)
{
	struct transaction *t;

	begin();
	tell(HEAD("I", T) ",\"columns\":" ROW("\"x\"", "null", "1", "null") "}");
	tell(HEAD("U", T) ",\"columns\":" ROW("\"y\"", "null", "2", B_ALONE) ",\"identity\":" ROW("\"x\"", "null", "1", "null") "}");
	t = commit(1);
	if (t == NULL)
		return;
	CHECK(t->changes[0].is_new && t->changes[0].changed == NULL && t->changes[0].old == NULL);
	transaction_release(t);
}

/* Its tombstone stands before the deletion, which alone says what the row was. */
static void
a_deletion_tells_what_the_row_was(void)
{
	struct transaction *t;

	begin();
	tell(GRAVE("deleted"));
	tell(HEAD("D", T) ",\"identity\":" ROW("\"w\"", "null", "8", "null") "}");
	t = commit(1);
	if (t != NULL)
	{
		CHECK(t->changes[0].kind == CHANGE_TOMBSTONE);
		CHECK_TEXT(t->changes[0].old, "{\"a\":1,\"b\":\"w\",\"c\":null,\"d\":null}");
		transaction_release(t);
	}
	/* with the key alone it says nothing */
	begin();
	tell(GRAVE("deleted"));
	tell(HEAD("D", T) ",\"identity\":[{\"name\":\"a\",\"value\":1}]}");
	t = commit(1);
	if (t != NULL)
	{
		CHECK(t->changes[0].old == NULL);
		transaction_release(t);
	}
}

/* Updated, then marked as deleted: the tombstone after the mark has what the row was before the transaction. */
static void
a_soft_deletion_tells_what_the_row_was(void)
{
	struct transaction *t;

	begin();
	tell(HEAD("U", T) ",\"columns\":" ROW("\"x\"", "null", "4", B_ALONE) ",\"identity\":" ROW("\"w\"", "null", "3", "null") "}");
	tell(HEAD("U", T) ",\"columns\":" ROW("\"x\"", "\"2026-11-21 07:51:42+00\"", "5", "null") ",\"identity\":" ROW("\"x\"", "null", "4", B_ALONE) "}");
	tell(GRAVE("deleted"));
	t = commit(1);
	if (t == NULL)
		return;
	CHECK(t->changes[0].kind == CHANGE_TOMBSTONE);
	CHECK_TEXT(t->changes[0].old, "{\"a\":1,\"b\":\"w\",\"c\":null,\"d\":null}");
	transaction_release(t);
}

#define INSTANCE(horizon, key) "[{\"name\":\"incarnation\",\"value\":3},{\"name\":\"horizon\",\"value\":\"" horizon "\"},{\"name\":\"message_key\",\"value\":\"" key "\"}]"

/* Each purge raises the horizon: that is no reason to start everybody anew. */
static void
the_horizon_alone_changes_no_table(void)
{
	static const char *const lines[] = {
		HEAD("U", "\"sync\",\"table\":\"instance\"") ",\"columns\":" INSTANCE("9", "k") ",\"identity\":" INSTANCE("8", "k") "}",
		HEAD("U", "\"sync\",\"table\":\"instance\"") ",\"columns\":" INSTANCE("9", "l") ",\"identity\":" INSTANCE("8", "k") "}",
		HEAD("U", "\"sync\",\"table\":\"scope\"") ",\"columns\":[{\"name\":\"horizon\",\"value\":1}],\"identity\":[{\"name\":\"horizon\",\"value\":2}]}",
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
	{
		begin();
		tell(lines[i]);
		tell("{\"action\":\"C\",\"xid\":725}");
		CHECK(done != NULL && done->needs_reload == (i > 0));
		transaction_release(done);
	}
}

/* Of a transaction that is too large only the tables are kept: who follows none of them goes on. */
static void
a_lost_transaction_tells_which_tables_it_changed(void)
{
	size_t	bytes_max = decoder.bytes_max;

	decoder.bytes_max = 1;
	begin();
	tell(HEAD("I", "\"public\",\"table\":\"other\"") ",\"columns\":[]}");
	CHECK(decoder.building->barrier == BARRIER_NONE);
	tell(HEAD("I", T) ",\"columns\":" ROW("\"x\"", "null", "4", B_ALONE) "}");
	tell(HEAD("U", T) ",\"columns\":" ROW("\"y\"", "null", "5", B_ALONE) "}");
	CHECK(decoder.building->barrier == BARRIER_LOST && decoder.building->lost_count == 1 && decoder.building->lost[0] == 5);
	tell(HEAD("I", "\"public\",\"table\":\"other\"") ",\"columns\":[]}");
	tell(HEAD("I", "\"sync\",\"table\":\"tombstone\"") ",\"columns\":[{\"name\":\"table_id\",\"value\":11}]}");
	CHECK(decoder.building->lost_count == 2 && decoder.building->lost[1] == 11);
	tell(HEAD("I", "\"sync\",\"table\":\"tombstone\"") ",\"columns\":[{\"name\":\"table_id\",\"value\":\"what\"}]}");
	CHECK(decoder.building->lost_count == 3 && decoder.building->lost[2] == 0);
	transaction_release(commit(0));
	decoder.bytes_max = bytes_max;
}

int
main(void)
{
	tables = tables_parse(feed_tables, strlen(feed_tables));
	decoder.bytes_max = 1 << 20;
	if (CHECK(tables != NULL) && CHECK(snapshot_parse(&newest, "724:724:", 8)))
	{
		updates_of_one_row_add_up();
		a_row_that_is_new_was_nothing_before();
		a_deletion_tells_what_the_row_was();
		a_soft_deletion_tells_what_the_row_was();
		the_horizon_alone_changes_no_table();
		a_lost_transaction_tells_which_tables_it_changed();
	}
	decoder_clear(&decoder);
	tables_free(tables);
	snapshot_free(&newest);
	return CHECK_END();
}
