/* rights.c - what a user may do in a topic, as sync.topic_rights() says. */
/* SPDX-License-Identifier: PostgreSQL */
#include "rights.h"

struct rights
rights_read(struct json_value answer)
{
	struct rights r = {false, false, false};
	struct json_value actions = json_member(answer, "actions");

	if (json_type(actions) != JSON_ARRAY)
		return r;
	for (struct json_value v = json_first(actions); json_type(v) != JSON_ABSENT; v = json_next(v))
	{
		r.join = r.join || json_equals(v, "join");
		r.broadcast = r.broadcast || json_equals(v, "broadcast");
		r.presence = r.presence || json_equals(v, "presence");
	}
	return r;
}
