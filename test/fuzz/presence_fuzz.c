/* presence_fuzz.c - any presences of any keys: what members are told is JSON, never more than there is, and the diffs add up to the state. */
/* SPDX-License-Identifier: PostgreSQL */
#include "fuzz.h"
#include "presence.h"

/* The refs that an object {key: {"metas": [...]}} has. */
static size_t
count_metas(struct json_value keys)
{
	size_t	count = 0;

	for (struct json_value key = json_first(keys); json_type(key) != JSON_ABSENT; key = json_next(key))
		count += (size_t) json_size(json_member(json_member_value(key), "metas"));
	return count;
}

static size_t
told(const struct presence *p)
{
	struct buffer out;
	struct json *doc;
	size_t	count;

	buffer_init(&out);
	presence_put_state(p, &out);
	doc = require_json(out.data, out.len);
	count = doc != NULL ? count_metas(json_root(doc)) : SIZE_MAX;
	json_free(doc);
	buffer_free(&out);
	return count;
}

static void
tell(struct presence *p)
{
	struct buffer out;
	struct json *doc;
	size_t	before = told(p);
	size_t	after;

	buffer_init(&out);
	if (presence_put_diff(p, &out))
	{
		doc = require_json(out.data, out.len);
		after = told(p);
		if (doc != NULL && before != SIZE_MAX && after != SIZE_MAX)
			REQUIRE(before + count_metas(json_member(json_root(doc), "joins")) == after + count_metas(json_member(json_root(doc), "leaves")));
		json_free(doc);
	}
	after = told(p);
	REQUIRE(after == SIZE_MAX || after == presence_count(p));
	REQUIRE(!presence_put_diff(p, &out));
	buffer_free(&out);
}

static void
put(struct presence *p, const char *key, const char *ref, const char *previous, uint64_t owner, const char *meta)
{
	struct json *doc = json_parse(meta, strlen(meta), 10000);

	if (doc != NULL && json_type(json_root(doc)) == JSON_OBJECT)
	{
		bool	is_known = presence_find(p, ref) != NULL;

		(void) presence_put(p, key, ref, previous, owner, json_root(doc));
		REQUIRE(presence_find(p, ref) != NULL);
		REQUIRE(is_known || presence_is_same(p, ref, json_root(doc)));
	}
	json_free(doc);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const refs[] = {"a", "b", "c", "d"};
	struct input in = input_of(data, size);
	struct presence p;

	presence_init(&p);
	while (input_left(&in) > 0)
	{
		unsigned what = input_byte(&in);
		const char *ref = refs[what >> 3 & 3];
		const char *previous = (what >> 5 & 1) != 0 ? refs[what >> 6 & 3] : NULL;
		char   *key;
		char   *meta;

		switch (what & 7)
		{
			case 0:
				(void) presence_remove(&p, ref);
				REQUIRE(presence_find(&p, ref) == NULL);
				break;
			case 1:
				(void) presence_remove_owner(&p, what >> 6, (what & 8) != 0);
				break;
			case 2:
				presence_doubt(&p, what >> 6);
				break;
			case 3:
				tell(&p);
				break;
			default:
				key = input_text(&in);
				meta = input_text(&in);
				if (text_is_utf8(key, strlen(key)) && text_is_utf8(meta, strlen(meta)))
					put(&p, key, ref, previous, what >> 6, meta);
				free(key);
				free(meta);
		}
	}
	tell(&p);
	presence_free(&p);
	return 0;
}
