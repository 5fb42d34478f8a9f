/*
 * topic.c - topics of broadcast and presence: which pattern a name follows, what the caller may do there, messages to those who joined.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "parser/parser.h"
#include "utils/array.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(sync_topic_shape);
PG_FUNCTION_INFO_V1(sync_topic_validate);
PG_FUNCTION_INFO_V1(sync_topic_rights);
PG_FUNCTION_INFO_V1(sync_broadcast);
PG_FUNCTION_INFO_V1(sync_relay);

#define TOPIC_LIMIT 240			/* bytes: `realtime:` comes before it, and frames count lengths in one byte */
#define VARIABLES_MAX 16
#define EVENT_LIMIT 255

/* One part of a pattern or topic between colons. */
typedef struct Segment
{
	const char *text;
	int			len;
	bool		is_variable;
} Segment;

typedef struct Segments
{
	int			n;
	Segment		at[TOPIC_LIMIT + 1];
} Segments;

static void
split(const char *text, Segments *out)
{
	const char *end;

	out->n = 0;
	for (;; text = end + 1)
	{
		Segment    *s = &out->at[out->n++];

		end = strchrnul(text, ':');
		*s = (Segment){.text = text, .len = (int) (end - text)};
		s->is_variable = s->len > 2 && text[0] == '{' && end[-1] == '}';
		if (*end == '\0')
			return;
	}
}

static bool
is_name(const char *text, int len)
{
	int			i;

	for (i = 0; i < len; i++)
		if (!((text[i] >= 'a' && text[i] <= 'z') || text[i] == '_' || (i > 0 && text[i] >= '0' && text[i] <= '9')))
			return false;
	return len > 0 && len < NAMEDATALEN;
}

static bool
same_text(const Segment *a, const Segment *b)
{
	return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

static void pg_attribute_noreturn()
bad_pattern(const char *pattern, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("topic pattern \"%s\" %s", pattern, why),
			 errhint("Write segments between colons, each a text or a {variable}, such as: journey:{journey}:{client}")));
}

/* Every variable is a whole segment with a name of its own. */
static void
check_pattern(const char *pattern, Segments *s)
{
	int			nvariables = 0;
	int			i;
	int			j;

	if (pattern[0] == '\0' || strlen(pattern) > TOPIC_LIMIT)
		bad_pattern(pattern, psprintf("must have 1 to %d bytes", TOPIC_LIMIT));
	split(pattern, s);
	for (i = 0; i < s->n; i++)
	{
		const Segment *segment = &s->at[i];

		if (segment->len == 0)
			bad_pattern(pattern, "has an empty segment");
		if (!segment->is_variable && (memchr(segment->text, '{', segment->len) || memchr(segment->text, '}', segment->len)))
			bad_pattern(pattern, "has a brace within a segment");
		if (!segment->is_variable)
			continue;
		if (!is_name(segment->text + 1, segment->len - 2))
			bad_pattern(pattern, "has a variable that is no name of lower-case letters, digits and _");
		if (++nvariables > VARIABLES_MAX)
			bad_pattern(pattern, psprintf("has more than %d variables", VARIABLES_MAX));
		for (j = 0; j < i; j++)
			if (s->at[j].is_variable && same_text(&s->at[j], segment))
				bad_pattern(pattern, "has a variable twice");
	}
}

/* Patterns that differ only in the names of their variables take the same topics: this is what they have in common. */
Datum
sync_topic_shape(PG_FUNCTION_ARGS)
{
	char	   *pattern = text_to_cstring(PG_GETARG_TEXT_PP(0));
	StringInfoData shape;
	Segments	s;
	int			i;

	check_pattern(pattern, &s);
	initStringInfo(&shape);
	for (i = 0; i < s.n; i++)
		appendStringInfo(&shape, "%s%.*s", i ? ":" : "", s.at[i].is_variable ? 2 : s.at[i].len, s.at[i].is_variable ? "{}" : s.at[i].text);
	PG_RETURN_TEXT_P(cstring_to_text(shape.data));
}

static bool
takes(const Segments *pattern, const Segments *topic)
{
	int			i;

	if (pattern->n != topic->n)
		return false;
	for (i = 0; i < topic->n; i++)
		if (topic->at[i].len == 0 || (!pattern->at[i].is_variable && !same_text(&pattern->at[i], &topic->at[i])))
			return false;
	return true;
}

/* Of two patterns that take the same topic: the first place where they differ decides, a text beats a variable. */
static bool
is_more_specific(const Segments *a, const Segments *b)
{
	int			i;

	for (i = 0; i < a->n; i++)
		if (a->at[i].is_variable != b->at[i].is_variable)
			return b->at[i].is_variable;
	return false;
}

static bool
is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' || IS_HIGHBIT_SET(c);
}

static const char *
after_string(const char *p, char quote, bool has_backslashes)
{
	for (p++; *p && *p != quote; p++)
		if (has_backslashes && *p == '\\' && p[1])
			p++;
	return *p ? p + 1 : p;
}

static const char *
after_comment(const char *p)
{
	int			depth = 0;

	do
	{
		if (p[0] == '/' && p[1] == '*')
			depth++, p += 2;
		else if (p[0] == '*' && p[1] == '/')
			depth--, p += 2;
		else
			p++;
	} while (*p && depth > 0);
	return p;
}

/* p is at a $ that no word precedes. */
static const char *
after_dollar_quote(const char *p)
{
	const char *tag_end = p + 1;
	const char *end;

	while (is_word(*tag_end) && *tag_end != '$')
		tag_end++;
	if (*tag_end != '$' || (p[1] >= '0' && p[1] <= '9'))
		return p + 1;
	end = strstr(tag_end + 1, pnstrdup(p, tag_end + 1 - p));
	return end ? end + (tag_end + 1 - p) : p + strlen(p);
}

/* Past whatever is no code: strings, quoted names, comments; NULL: p is at code. */
static const char *
after_quoted(const char *p, const char *start)
{
	bool		follows_word = p > start && is_word(p[-1]);

	if (*p == '\'')
		return after_string(p, '\'', follows_word && (p[-1] == 'e' || p[-1] == 'E') && !(p - 1 > start && is_word(p[-2])));
	if (*p == '"')
		return after_string(p, '"', false);
	if (p[0] == '-' && p[1] == '-')
		return p + strcspn(p, "\n");
	if (p[0] == '/' && p[1] == '*')
		return after_comment(p);
	if (*p == '$' && !follows_word)
		return after_dollar_quote(p);
	return NULL;
}

/* p is at a {: the number of its variable, and where the text goes on. */
static int
variable_number(const Segments *pattern, const char **p)
{
	const char *end = strchr(*p, '}');
	int			number = 0;
	int			i;

	for (i = 0; end && i < pattern->n; i++)
	{
		const Segment *s = &pattern->at[i];

		if (!s->is_variable)
			continue;
		number++;
		if (s->len == end + 1 - *p && memcmp(s->text, *p, s->len) == 0)
		{
			*p = end + 1;
			return number;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("the topic's pattern has no variable %s", end ? pnstrdup(*p, end + 1 - *p) : *p)));
}

/* The condition as a query. Variables become parameters: what a client names a topic is never SQL. */
static char *
condition_query(const Segments *pattern, const char *condition)
{
	StringInfoData sql;
	const char *p = condition;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT (");
	while (*p)
	{
		const char *end = after_quoted(p, condition);

		if (end)
			appendBinaryStringInfo(&sql, p, (int) (end - p));
		else if (*p == '{')
		{
			end = p;
			appendStringInfo(&sql, " $%d ", variable_number(pattern, &end));
		}
		else
		{
			appendStringInfoChar(&sql, *p);
			end = p + 1;
		}
		p = end;
	}
	appendStringInfoString(&sql, "\n)");
	return sql.data;
}

static void
put_values(SyncParams *params, const Segments *pattern, const Segments *topic)
{
	int			i;

	for (i = 0; i < pattern->n; i++)
		if (pattern->at[i].is_variable)
			sync_param(params, TEXTOID, topic ? PointerGetDatum(cstring_to_text_with_len(topic->at[i].text, topic->at[i].len)) : (Datum) 0);
}

/* Fails unless the condition is one statement that gives one boolean. */
Datum
sync_topic_validate(PG_FUNCTION_ARGS)
{
	char	   *condition = text_to_cstring(PG_GETARG_TEXT_PP(1));
	SyncParams	params = {0};
	Segments	pattern;
	CachedPlanSource *source;
	SPIPlanPtr	plan;
	char	   *sql;

	check_pattern(text_to_cstring(PG_GETARG_TEXT_PP(0)), &pattern);
	put_values(&params, &pattern, NULL);
	sql = condition_query(&pattern, condition);
	SPI_connect();
	plan = SPI_prepare(sql, params.n, params.types);
	if (plan == NULL || list_length(SPI_plan_get_plan_sources(plan)) != 1)
		ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR), errmsg("it is more than one statement")));
	source = linitial(SPI_plan_get_plan_sources(plan));
	if (source->resultDesc == NULL || source->resultDesc->natts != 1 || TupleDescAttr(source->resultDesc, 0)->atttypid != BOOLOID)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH), errmsg("it does not return boolean")));
	SPI_finish();
	PG_RETURN_VOID();
}

static bool
run_condition(const Segments *pattern, const Segments *topic, const char *condition)
{
	char	   *sql = condition_query(pattern, condition);
	SyncPlanKey key = {.table = sync_hash(sql, strlen(sql), pattern->n), .shape = 'O'};
	SyncParams	params = {0};
	SPIPlanPtr	plan = sync_plan_find(&key);
	bool		isnull = true;
	bool		holds = false;

	put_values(&params, pattern, topic);
	if (plan == NULL)
		plan = sync_plan_keep(&key, sql, &params, 0);
	sync_plan_run(plan, &params, NULL);
	if (SPI_processed == 1)
		holds = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	return holds && !isnull;
}

/* A topic whose segments do not have the form that the condition takes them for, {id}::bigint, is nobody's. */
static bool
condition_holds(const Segments *pattern, const Segments *topic, const char *condition)
{
	SyncAttempt attempt;
	volatile bool holds = false;

	sync_attempt_begin(&attempt);
	PG_TRY();
	{
		holds = run_condition(pattern, topic, condition);
		sync_attempt_keep(&attempt);
	}
	PG_CATCH();
	{
		ErrorData  *error = sync_attempt_failed(&attempt);

		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION)
			ReThrowError(error);
		holds = false;
	}
	PG_END_TRY();
	return holds;
}

typedef struct Rule
{
	char	   *pattern;
	char	   *action;
	char	   *condition;
} Rule;

/* Few enough to look at each: the declared patterns, by action. */
static int
read_rules(Rule **rules)
{
	SyncPlanKey key = {.shape = 'N'};
	SyncParams	params = {0};
	SPIPlanPtr	plan;
	SyncRole	saved;
	uint64		i;

	sync_become_extension(&saved);
	plan = sync_plan_find(&key);
	if (plan == NULL)
		plan = sync_plan_keep(&key, "SELECT pattern, action, condition FROM sync.topic ORDER BY action", &params, 0);
	sync_plan_run(plan, &params, NULL);
	sync_become_back(&saved);
	*rules = palloc(sizeof(Rule) * Max(SPI_processed, 1));
	for (i = 0; i < SPI_processed; i++)
	{
		(*rules)[i].pattern = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		(*rules)[i].action = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2);
		(*rules)[i].condition = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 3);
	}
	return (int) SPI_processed;
}

/* Rules of one pattern mostly share one condition: it runs once. */
static void
put_rights(StringInfo out, const Segments *topic)
{
	Rule	   *rules;
	int			n = read_rules(&rules);
	Segments   *best = NULL;
	Segments   *s = palloc(sizeof(Segments) * Max(n, 1));
	const char *asked = NULL;
	const char *separator = "";
	bool		holds = false;
	int			i;

	for (i = 0; i < n; i++)
	{
		split(rules[i].pattern, &s[i]);
		if (takes(&s[i], topic) && (best == NULL || is_more_specific(&s[i], best)))
			best = &s[i];
	}
	appendStringInfoString(out, "{\"pattern\":");
	if (best)
		sync_render_string(out, best->at[0].text, strlen(best->at[0].text));
	else
		appendStringInfoString(out, "null");
	appendStringInfoString(out, ",\"actions\":[");
	for (i = 0; i < n; i++)
	{
		if (!takes(&s[i], topic) || is_more_specific(best, &s[i]))
			continue;
		if (asked == NULL || strcmp(asked, rules[i].condition) != 0)
			holds = condition_holds(&s[i], topic, rules[i].condition);
		asked = rules[i].condition;
		if (holds)
		{
			appendStringInfo(out, "%s\"%s\"", separator, rules[i].action);
			separator = ",";
		}
	}
	appendStringInfoString(out, "]}");
}

Datum
sync_topic_rights(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	StringInfoData out;
	Segments	topic;
	text	   *answer;

	if (name[0] == '\0' || strlen(name) > TOPIC_LIMIT)
		ereport(ERROR, (errcode(SYNC_ERR_BAD_REQUEST), errmsg("a topic has 1 to %d bytes", TOPIC_LIMIT)));
	split(name, &topic);
	SPI_connect();
	initStringInfo(&out);
	sync_plans_begin();
	PG_TRY();
	{
		put_rights(&out, &topic);
	}
	PG_FINALLY();
	{
		sync_plans_end();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	answer = cstring_to_text_with_len(out.data, out.len);
	SPI_finish();
	PG_RETURN_TEXT_P(answer);
}

static char *
need_text(FunctionCallInfo fcinfo, int argument, const char *name, int limit)
{
	char	   *given = PG_ARGISNULL(argument) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(argument));

	if (given[0] == '\0' || strlen(given) > limit)
		ereport(ERROR, (errcode(SYNC_ERR_BAD_REQUEST), errmsg("the %s of a broadcast has 1 to %d bytes", name, limit)));
	return given;
}

/* The message is part of the transaction's WAL: those who joined get it if and when the transaction commits. */
Datum
sync_broadcast(PG_FUNCTION_ARGS)
{
	char	   *topic = need_text(fcinfo, 0, "topic", TOPIC_LIMIT);
	char	   *event = need_text(fcinfo, 1, "event", EVENT_LIMIT);
	bool		is_private = PG_ARGISNULL(3) || PG_GETARG_BOOL(3);
	StringInfoData message;
	Jsonb	   *payload;
	char	   *content = "{}";

	if (!PG_ARGISNULL(2))
	{
		payload = PG_GETARG_JSONB_P(2);
		content = JsonbToCString(NULL, &payload->root, VARSIZE(payload));
	}
	if (strlen(content) > SYNC_BROADCAST_LIMIT)
		ereport(ERROR,
				(errcode(SYNC_ERR_TOO_LARGE),
				 errmsg("the payload of a broadcast has at most %d bytes, this one has %zu", SYNC_BROADCAST_LIMIT, strlen(content)),
				 errhint("Send a key, and let clients fetch the row.")));
	initStringInfo(&message);
	appendStringInfo(&message, "{\"t\":\"broadcast\",\"private\":%s,\"topic\":", is_private ? "true" : "false");
	sync_render_string(&message, topic, strlen(topic));
	sync_render_member(&message, "event", event);
	appendStringInfo(&message, ",\"payload\":%s}", content);
	sync_message(message.data, true);
	PG_RETURN_VOID();
}

/* From one streamer to the others: at once, whatever becomes of the transaction. */
Datum
sync_relay(PG_FUNCTION_ARGS)
{
	char	   *relayed = text_to_cstring(PG_GETARG_TEXT_PP(0));

	if (strlen(relayed) > SYNC_RELAY_LIMIT)
		ereport(ERROR, (errcode(SYNC_ERR_TOO_LARGE), errmsg("a relayed message has at most %d bytes", SYNC_RELAY_LIMIT)));
	sync_message(psprintf("{\"t\":\"relay\",\"relay\":%s}", relayed), false);
	PG_RETURN_VOID();
}
