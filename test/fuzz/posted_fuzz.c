/* posted_fuzz.c - any posted broadcast: what is sent has names and sizes within the limits, is private where it must be, and its rights were asked.
 * The path, the media type and one letter for how it came are cut at NULs; the rest is the body. */
/* SPDX-License-Identifier: PostgreSQL */
#include "fuzz.h"
#include "posted.h"
#include "topics.h"

#define PAYLOAD_MAX 200

static size_t sent;
static size_t sent_private;
static bool allows_public;

static void
take(void *owner, const struct relayed *b)
{
	(void) owner;
	sent++;
	sent_private += b->is_private;
	REQUIRE(b->is_private || allows_public);
	REQUIRE(b->topic[0] != '\0' && strlen(b->topic) <= TOPIC_NAME_MAX && text_is_printable(b->topic, strlen(b->topic)));
	REQUIRE(b->event[0] != '\0' && strlen(b->event) <= TOPIC_EVENT_MAX && text_is_printable(b->event, strlen(b->event)));
	REQUIRE(b->len <= PAYLOAD_MAX);
	if (!b->is_binary)
		json_free(require_json(b->payload, b->len));
}

/* Rights are asked in turn, granted or not as the bits say; only when all are there is anything sent. */
static void
ask_and_send(struct posted *p, unsigned grants)
{
	static const char granted[] = "{\"pattern\":\"x\",\"actions\":[\"join\",\"broadcast\"]}";
	static const char denied[] = "{\"pattern\":\"x\",\"actions\":[\"join\"]}";
	size_t	asked = 0;
	const char *topic;

	while ((topic = posted_topic(p)) != NULL)
	{
		const char *answer = (grants >> asked++ % 8 & 1) != 0 ? granted : denied;
		struct json *doc = json_parse(answer, strlen(answer), 10);
		bool	may = posted_may(p, json_root(doc));

		json_free(doc);
		REQUIRE(may == (answer == granted) && topic[0] != '\0' && asked <= p->count);
		if (!may)
			return;
	}
	posted_send(p, take, NULL);
	REQUIRE(sent == p->count && sent <= POSTED_MESSAGES_MAX && (sent_private == 0) == (asked == 0));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = input_of(data, size);
	char   *path = input_text(&in);
	char   *media = input_text(&in);
	unsigned how = input_byte(&in);
	unsigned grants = input_byte(&in);
	struct posted_problem problem;
	struct posted *p = posted_new(path, (how & 1) != 0, media, &problem);
	size_t	len;
	char   *body = input_rest(&in, &len);

	sent = sent_private = 0;
	allows_public = (how & 2) != 0;
	REQUIRE((p != NULL) == posted_is_address(path));
	if (p != NULL && problem.text == NULL)
		problem = posted_read(p, body, len, PAYLOAD_MAX, allows_public);
	if (p != NULL && problem.text == NULL)
		ask_and_send(p, grants);
	REQUIRE(p == NULL || problem.text == NULL || (problem.status >= 400 && problem.status < 500 && problem.code != NULL));
	posted_free(p);
	free(body);
	free(path);
	free(media);
	return 0;
}
