/* bindings_fuzz.c - any list of bindings, any rights, any row: the reply names each binding, a frame is JSON and shows no column that may not be read. */
/* SPDX-License-Identifier: PostgreSQL */
#include "bindings.h"
#include "fuzz.h"

static const char feed_tables[] =
	"{\"system_id\":\"7\",\"timeline\":1,\"incarnation\":\"3\",\"message_key\":\"k\",\"tombstone\":{\"schema\":\"sync\",\"table\":\"tombstone\"},\"registry\":[],\"tables\":["
	"{\"id\":1,\"schema\":\"public\",\"table\":\"t\",\"entity_type\":\"t\",\"scope\":\"team\",\"scope_column\":\"s\",\"deleted_at\":\"g\",\"priority\":2,"
	"\"key\":[\"n\"],\"partitions\":[],\"columns\":[{\"name\":\"n\",\"kind\":\"n\",\"type\":\"int8\",\"base\":\"int8\"},{\"name\":\"s\",\"kind\":\"s\",\"type\":\"text\",\"base\":\"text\"},"
	"{\"name\":\"b\",\"kind\":\"b\",\"type\":\"bool\",\"base\":\"bool\"},{\"name\":\"g\",\"kind\":\"z\",\"type\":\"timestamptz\",\"base\":\"timestamptz\"}]},"
	"{\"id\":2,\"schema\":\"public\",\"table\":\"u\",\"entity_type\":\"u\",\"scope\":null,\"scope_column\":null,\"deleted_at\":null,\"priority\":2,"
	"\"key\":[\"s\",\"n\"],\"partitions\":[],\"columns\":[{\"name\":\"n\",\"kind\":\"n\",\"type\":\"numeric\",\"base\":\"numeric\"},{\"name\":\"s\",\"kind\":\"s\",\"type\":\"mood\",\"base\":\"enum\"},"
	"{\"name\":\"j\",\"kind\":\"j\",\"type\":\"jsonb\",\"base\":\"jsonb\"},{\"name\":\"y\",\"kind\":\"y\",\"type\":\"bytea\",\"base\":\"bytea\"},{\"name\":\"f\",\"kind\":\"f\",\"type\":\"float8\",\"base\":\"float8\"}]},"
	"{\"id\":3,\"schema\":\"sync\",\"table\":\"lock\",\"entity_type\":\"sync.lock\",\"scope\":null,\"scope_column\":null,\"deleted_at\":null,\"priority\":2,"
	"\"key\":[\"n\"],\"partitions\":[],\"columns\":[{\"name\":\"n\",\"kind\":\"n\",\"type\":\"int4\",\"base\":\"int4\"}]}]}";

static struct sync_tables *tables;

/* Is it named among the columns of a right to this table, or is no right to this table without a list? */
static bool
may_read(struct json_value state, int32_t id, struct json_value column)
{
	int64_t named;

	for (struct json_value right = json_first(json_member(state, "tables")); json_type(right) != JSON_ABSENT; right = json_next(right))
	{
		struct json_value names = json_member(right, "columns");

		if (!json_int64(json_member(right, "id"), &named) || named != id)
			continue;
		if (json_type(names) != JSON_ARRAY)
			return true;
		for (struct json_value v = json_first(names); json_type(v) != JSON_ABSENT; v = json_next(v))
		{
			char   *wanted = json_strdup(v);
			bool	is_it = wanted != NULL && json_equals(column, wanted);

			free(wanted);
			if (is_it)
				return true;
		}
	}
	return false;
}

static bool
is_key(const struct sync_table *t, struct json_value column)
{
	for (int i = 0; i < t->key_count; i++)
		if (json_equals(column, t->columns[t->key[i]].name))
			return true;
	return false;
}

static void
require_readable(struct json_value row, struct json_value state, const struct sync_table *t)
{
	for (struct json_value name = json_first(row); json_type(row) == JSON_OBJECT && json_type(name) != JSON_ABSENT; name = json_next(name))
		REQUIRE(is_key(t, name) || may_read(state, t->id, name));
}

static void
look_at(const struct frame *f, struct json_value state, const struct sync_table *t)
{
	size_t	len;
	const char *text = frame_payload(f, &len);
	struct json *doc = require_json(text, len);
	struct json_value data = json_member(json_member(json_root(doc), "payload"), "data");

	if (doc != NULL)
	{
		REQUIRE(json_size(json_member(json_member(json_root(doc), "payload"), "ids")) > 0);
		REQUIRE(json_equals(json_member(data, "table"), t->table));
		require_readable(json_member(data, "record"), state, t);
		require_readable(json_member(data, "old_record"), state, t);
	}
	json_free(doc);
}

/* Three changes of each table: a row, the same updated, a deletion. */
static void
change(const struct bindings *b, struct json_value state, const char *row, const char *entity_id, const char *old, int kind)
{
	static uint8_t all[] = {0xff, 0xff};
	struct buffer json;
	struct batches turn;

	buffer_init(&json);
	buffer_printf(&json, "{\"operation\":\"%s\",\"timestamp\":\"2026-11-21T07:51:42.65Z\"%s%s}", kind == 0 ? "create" : kind == 1 ? "update" : "delete", kind < 2 ? ",\"data\":" : "", kind < 2 ? row : "");
	for (int32_t id = 1; id <= 2; id++)
	{
		struct stream_change c = {.table_id = id, .sibling = -1, .kind = kind < 2 ? CHANGE_ROW : CHANGE_TOMBSTONE, .json = json.data, .json_len = json.len, .entity_id = (char *) entity_id,
			.old_values = kind == 2 ? (char *) old : NULL, .old = kind == 1 ? (char *) old : NULL, .changed = kind == 1 ? all : NULL, .column_count = 5};
		struct frame *const *frames;

		batches_init(&turn);
		for (frames = bindings_frames(b, &turn, tables, &c); *frames != NULL; frames++)
			look_at(*frames, state, tables_by_id(tables, id));
		batches_free(&turn);
	}
	buffer_free(&json);
}

static void
echo(struct json_value list)
{
	struct buffer out;
	struct json *doc;

	buffer_init(&out);
	bindings_echo(&out, list);
	doc = require_json(out.data, out.len);
	if (doc != NULL)
		REQUIRE(json_size(json_root(doc)) == bindings_count(list));
	for (struct json_value v = json_first(json_root(doc)); json_type(v) != JSON_ABSENT; v = json_next(v))
		REQUIRE(json_type(json_member(v, "id")) == JSON_NUMBER);
	json_free(doc);
	buffer_free(&out);
}

static void
serve(const char *list, struct json_value state, const char *row, const char *entity_id, const char *old)
{
	struct buffer out;
	struct bindings *b;
	struct bindings *again;

	buffer_init(&out);
	bindings_request(&out, list, tables);
	require_json_text(&out);
	b = bindings_get(MESSAGE_OBJECTS, "realtime:x", list, state, tables);
	if (b != NULL)
	{
		again = bindings_get(MESSAGE_OBJECTS, "realtime:x", list, state, tables);
		REQUIRE(again == b);
		bindings_release(again);
		for (size_t i = 0; i < bindings_problem_count(b); i++)
			REQUIRE(bindings_problem(b, i)[0] != '\0');
		buffer_reset(&out);
		bindings_state(b, &out, state, tables);
		require_json_text(&out);
		for (int kind = 0; row != NULL && kind < 3; kind++)
			change(b, state, row, entity_id, old, kind);
	}
	bindings_release(b);
	buffer_free(&out);
}

static bool
is_object(const char *text)
{
	struct json *doc = text_is_utf8(text, strlen(text)) ? json_parse(text, strlen(text), 1000) : NULL;
	bool	is_it = json_type(json_root(doc)) == JSON_OBJECT;

	json_free(doc);
	return is_it;
}

/* The list, the answer of sync.session_state, a row, an entity id, the row before; cut at NULs. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = input_of(data, size);
	char   *texts[5];
	struct json *list;
	struct json *state;

	if (tables == NULL)
		tables = tables_parse(feed_tables, strlen(feed_tables));
	REQUIRE(tables != NULL);
	for (size_t i = 0; i < 5; i++)
		texts[i] = input_text(&in);
	list = text_is_utf8(texts[0], strlen(texts[0])) ? json_parse(texts[0], strlen(texts[0]), 1000) : NULL;
	state = text_is_utf8(texts[1], strlen(texts[1])) ? json_parse(texts[1], strlen(texts[1]), 1000) : NULL;
	echo(json_root(list));
	if (json_type(json_root(list)) == JSON_ARRAY && state != NULL && text_is_utf8(texts[3], strlen(texts[3])))
		serve(texts[0], json_root(state), is_object(texts[2]) ? texts[2] : NULL, texts[3], is_object(texts[4]) ? texts[4] : NULL);
	json_free(list);
	json_free(state);
	for (size_t i = 0; i < 5; i++)
		free(texts[i]);
	return 0;
}
