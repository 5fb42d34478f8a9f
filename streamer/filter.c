/* filter.c - what a client wants of a table, as Supabase writes it: column=op.value, joined by commas; read, checked against the table, evaluated. */
/* SPDX-License-Identifier: PostgreSQL */
#include "filter.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "memory.h"
#include "operand.h"
#include "pattern.h"

enum op { OP_EQ, OP_NEQ, OP_LT, OP_LTE, OP_GT, OP_GTE, OP_IN, OP_LIKE, OP_ILIKE, OP_IS, OP_MATCH, OP_IMATCH, OP_ISDISTINCT };

static const char *const op_names[] = {
	[OP_EQ] = "eq", [OP_NEQ] = "neq", [OP_LT] = "lt", [OP_LTE] = "lte", [OP_GT] = "gt", [OP_GTE] = "gte", [OP_IN] = "in", [OP_LIKE] = "like",
	[OP_ILIKE] = "ilike", [OP_IS] = "is", [OP_MATCH] = "match", [OP_IMATCH] = "imatch", [OP_ISDISTINCT] = "isdistinct",
};

#define OP_COUNT (sizeof(op_names) / sizeof(op_names[0]))

/* Whether a comparison holds: NULL is neither. */
enum truth { TRUTH_NO, TRUTH_NULL, TRUTH_UNKNOWN, TRUTH_YES };

struct value
{
	char   *text;			/* owned, unquoted */
	bool	is_null;		/* the plain word null */
	struct operand operand;	/* set by filter_bind; refers to text or to own */
	struct buffer own;
};

struct condition
{
	char   *column;			/* owned */
	bool	is_not;
	enum op op;
	struct value *values;	/* owned; one, but for in */
	int		value_count;
	enum operand_class class;		/* set by filter_bind */
	struct pattern *pattern;		/* owned; likewise */
};

struct filter
{
	int		count;
	struct condition conditions[FILTER_CONDITIONS_MAX];
};

static void
free_condition(struct condition *c)
{
	for (int i = 0; i < c->value_count; i++)
	{
		free(c->values[i].text);
		buffer_free(&c->values[i].own);
	}
	free(c->values);
	free(c->column);
	pattern_free(c->pattern);
}

void
filter_free(struct filter *f)
{
	if (f == NULL)
		return;
	for (int i = 0; i < f->count; i++)
		free_condition(&f->conditions[i]);
	free(f);
}

/* The end of the segment that begins at p: a comma outside quotes and parentheses, or the end. */
static const char *
segment_end(const char *p, const char *end)
{
	bool	is_quoted = false;
	int		depth = 0;

	for (; p < end; p++)
	{
		if (is_quoted && *p == '\\' && p + 1 < end)
			p++;
		else if (*p == '"')
			is_quoted = !is_quoted;
		else if (!is_quoted && *p == '(')
			depth++;
		else if (!is_quoted && *p == ')' && depth > 0)
			depth--;
		else if (!is_quoted && depth == 0 && *p == ',')
			break;
	}
	return p;
}

static void
add_value(struct condition *c, const char *p, const char *end)
{
	struct value *v;
	size_t	n = 0;

	c->values = memory_grow(c->values, (size_t) c->value_count + 1, sizeof(*c->values));
	v = &c->values[c->value_count++];
	*v = (struct value) {.text = memory_new((size_t) (end - p) + 1)};
	buffer_init(&v->own);
	if (end - p >= 2 && *p == '"' && end[-1] == '"')
	{
		for (p++, end--; p < end; p++)
		{
			if (*p == '\\' && p + 1 < end && (p[1] == '"' || p[1] == '\\'))
				p++;
			v->text[n++] = *p;
		}
	}
	else
	{
		v->is_null = end - p == 4 && strncasecmp(p, "null", 4) == 0;
		memcpy(v->text, p, (size_t) (end - p));
		n = (size_t) (end - p);
	}
	v->text[n] = '\0';
}

/* (a,"b",c), blanks around plain items do not count. */
static const char *
read_list(struct condition *c, const char *p, const char *end)
{
	if (end - p < 2 || *p != '(' || end[-1] != ')')
		return "`in` filter value must be wrapped by parentheses";
	p++;
	end--;
	while (p < end)
	{
		const char *item_end = segment_end(p, end);
		const char *from = p;
		const char *to = item_end;

		while (from < to && *from == ' ')
			from++;
		while (to > from && to[-1] == ' ')
			to--;
		if (c->value_count == FILTER_VALUES_MAX)
			return "too many values for `in` filter. Maximum 100";
		add_value(c, from, to);
		p = item_end < end ? item_end + 1 : end;
	}
	return NULL;
}

static void
put_parts(struct buffer *problem, const char *segment, const char *equals, const char *end)
{
	buffer_puts(problem, "[");
	buffer_json_string(problem, segment, (size_t) (equals - segment));
	if (equals < end)
	{
		buffer_puts(problem, ", ");
		buffer_json_string(problem, equals + 1, (size_t) (end - equals - 1));
	}
	buffer_puts(problem, "]");
}

static bool
read_op(struct condition *c, const char **p, const char *end)
{
	const char *dot;

	if (end - *p > 4 && memcmp(*p, "not.", 4) == 0)
	{
		c->is_not = true;
		*p += 4;
	}
	dot = memchr(*p, '.', (size_t) (end - *p));
	for (size_t i = 0; dot != NULL && i < OP_COUNT; i++)
		if ((size_t) (dot - *p) == strlen(op_names[i]) && memcmp(*p, op_names[i], (size_t) (dot - *p)) == 0)
		{
			c->op = (enum op) i;
			*p = dot + 1;
			return true;
		}
	return false;
}

static bool
read_condition(struct condition *c, const char *p, const char *end, struct buffer *problem)
{
	const char *equals = memchr(p, '=', (size_t) (end - p));
	const char *at = equals != NULL ? equals + 1 : end;
	const char *trouble = NULL;

	*c = (struct condition) {0};
	if (equals == NULL || equals == p || !read_op(c, &at, end))
	{
		put_parts(problem, p, equals != NULL ? equals : end, end);
		return false;
	}
	c->column = memory_text(p, (size_t) (equals - p));
	if (c->op == OP_IN)
		trouble = read_list(c, at, end);
	else
		add_value(c, at, end);
	if (trouble != NULL)
		buffer_puts(problem, trouble);
	return trouble == NULL;
}

static bool
is_blank(const char *p, const char *end)
{
	while (p < end && isspace((unsigned char) *p))
		p++;
	return p == end;
}

static bool
read_all(struct filter *f, const char *p, const char *end, struct buffer *problem)
{
	for (;;)
	{
		const char *segment = segment_end(p, end);

		if (is_blank(p, segment))
		{
			buffer_puts(problem, "filter must not contain empty segments (check for extra commas)");
			return false;
		}
		if (f->count == FILTER_CONDITIONS_MAX)
		{
			buffer_printf(problem, "more than %d conditions", FILTER_CONDITIONS_MAX);
			return false;
		}
		while (isspace((unsigned char) *p))
			p++;
		if (!read_condition(&f->conditions[f->count++], p, segment, problem))
			return false;
		if (segment == end)
			return true;
		p = segment + 1;
	}
}

struct filter *
filter_parse(const char *text, size_t len, struct buffer *problem)
{
	struct filter *f;

	if (is_blank(text, text + len))
		return NULL;
	if (len > FILTER_MAX)
	{
		buffer_puts(problem, "the filter is too long");
		return NULL;
	}
	f = memory_new(sizeof(*f));
	if (read_all(f, text, text + len, problem))
		return f;
	filter_free(f);
	return NULL;
}

static const struct sync_column *
find_column(const struct sync_table *t, const char *name, int *index)
{
	for (*index = 0; *index < t->column_count; ++*index)
		if (strcmp(t->columns[*index].name, name) == 0)
			return &t->columns[*index];
	return NULL;
}

static bool
bind_is(const struct condition *c, struct buffer *problem)
{
	const char *word = c->values[0].text;

	if (strcasecmp(word, "null") == 0)
		return true;
	if (strcasecmp(word, "true") != 0 && strcasecmp(word, "false") != 0 && strcasecmp(word, "unknown") != 0)
	{
		buffer_puts(problem, "invalid value for is filter: must be null, true, false or unknown");
		return false;
	}
	if (c->class != OPERAND_BOOLEAN)
		buffer_printf(problem, "is %s needs a boolean column", word);
	return c->class == OPERAND_BOOLEAN;
}

static bool
bind_pattern(struct condition *c, const char *type, struct buffer *problem)
{
	const char *trouble = NULL;

	if (!operand_is_text(c->class))
	{
		buffer_printf(problem, "operator does not exist: %s %s text", type, op_names[c->op]);
		return false;
	}
	if (c->op == OP_LIKE || c->op == OP_ILIKE)
		c->pattern = pattern_like(c->values[0].text, c->op == OP_ILIKE, &trouble);
	else
		c->pattern = pattern_regex(c->values[0].text, c->op == OP_IMATCH, &trouble);
	if (c->pattern == NULL)
		buffer_printf(problem, "invalid pattern for %s filter: %s", op_names[c->op], trouble);
	return c->pattern != NULL;
}

static bool
bind_values(struct condition *c, const char *type, const char *base, struct buffer *problem)
{
	bool	is_order = c->op == OP_LT || c->op == OP_LTE || c->op == OP_GT || c->op == OP_GTE;

	if (c->class == OPERAND_NONE || (is_order && !operand_has_order(c->class)))
	{
		buffer_printf(problem, "columns of type %s cannot be filtered by %s", type, op_names[c->op]);
		return false;
	}
	for (int i = 0; i < c->value_count; i++)
	{
		struct value *v = &c->values[i];

		v->is_null = v->is_null && (c->op == OP_IN || c->op == OP_ISDISTINCT);
		if (!v->is_null && !operand_read(&v->operand, c->class, base, v->text, strlen(v->text), &v->own))
		{
			buffer_printf(problem, "invalid input syntax for type %s: ", type);
			buffer_json_string(problem, v->text, strlen(v->text));
			return false;
		}
	}
	return true;
}

bool
filter_bind(struct filter *f, const struct sync_table *t, bool (*is_readable)(void *owner, int column), void *owner, struct buffer *problem)
{
	for (int i = 0; i < f->count; i++)
	{
		struct condition *c = &f->conditions[i];
		int		index;
		const struct sync_column *column = find_column(t, c->column, &index);
		bool	is_good;

		if (column == NULL || (is_readable != NULL && !is_readable(owner, index)))
		{
			buffer_printf(problem, "invalid column for filter %s", c->column);
			return false;
		}
		c->class = operand_class(column->base);
		if (c->op == OP_IS)
			is_good = bind_is(c, problem);
		else if (c->op == OP_LIKE || c->op == OP_ILIKE || c->op == OP_MATCH || c->op == OP_IMATCH)
			is_good = bind_pattern(c, column->type, problem);
		else
			is_good = bind_values(c, column->type, column->base, problem);
		if (!is_good)
			return false;
	}
	return true;
}

static void
describe_values(const struct condition *c, struct buffer *out)
{
	struct buffer list;

	if (c->op != OP_IN)
	{
		buffer_json_string(out, c->values[0].text, strlen(c->values[0].text));
		return;
	}
	buffer_init(&list);
	for (int i = 0; i < c->value_count; i++)
	{
		buffer_puts(&list, i == 0 ? "{" : ",");
		buffer_puts(&list, c->values[i].text);
	}
	buffer_puts(&list, c->value_count == 0 ? "{}" : "}");
	buffer_json_string(out, list.data, list.len);
	buffer_free(&list);
}

void
filter_describe(const struct filter *f, struct buffer *out)
{
	buffer_puts(out, "[");
	for (int i = 0; i < filter_count(f); i++)
	{
		const struct condition *c = &f->conditions[i];

		buffer_puts(out, i > 0 ? ", {" : "{");
		buffer_json_string(out, c->column, strlen(c->column));
		buffer_printf(out, ", \"%s%s\", ", c->is_not ? "not." : "", op_names[c->op]);
		describe_values(c, out);
		buffer_puts(out, "}");
	}
	buffer_puts(out, "]");
}

bool
filter_has_pattern(const struct filter *f)
{
	for (int i = 0; i < filter_count(f); i++)
		if (f->conditions[i].pattern != NULL)
			return true;
	return false;
}

int
filter_count(const struct filter *f)
{
	return f != NULL ? f->count : 0;
}

const char *
filter_column(const struct filter *f, int i)
{
	return f->conditions[i].column;
}

static enum truth
truth_of(bool holds)
{
	return holds ? TRUTH_YES : TRUTH_NO;
}

static enum truth
eval_in(const struct condition *c, const struct operand *o)
{
	bool	has_null = false;

	for (int i = 0; i < c->value_count; i++)
	{
		if (c->values[i].is_null)
			has_null = true;
		else if (operand_compare(c->class, o, &c->values[i].operand) == 0)
			return TRUTH_YES;
	}
	return has_null ? TRUTH_NULL : TRUTH_NO;
}

static enum truth
eval_order(const struct condition *c, const struct operand *o)
{
	int		order = operand_compare(c->class, o, &c->values[0].operand);

	switch (c->op)
	{
		case OP_EQ:
			return truth_of(order == 0);
		case OP_LT:
			return truth_of(order < 0);
		case OP_LTE:
			return truth_of(order <= 0);
		case OP_GT:
			return truth_of(order > 0);
		case OP_GTE:
			return truth_of(order >= 0);
		default:
			return truth_of(order != 0);		/* neq, isdistinct */
	}
}

static enum truth
eval_text(const struct condition *c, const char *text, size_t len)
{
	struct operand o;
	struct buffer scratch;
	enum truth answer = TRUTH_UNKNOWN;

	if (c->pattern != NULL)
		return len > FILTER_SUBJECT_MAX ? TRUTH_UNKNOWN : truth_of(pattern_matches(c->pattern, text, len));
	buffer_init(&scratch);
	if (operand_read_rendered(&o, c->class, text, len, &scratch))
		answer = c->op == OP_IN ? eval_in(c, &o) : eval_order(c, &o);
	buffer_free(&scratch);
	return answer;
}

static enum truth
eval_is(const struct condition *c, struct json_value v)
{
	const char *word = c->values[0].text;
	bool	is_null = json_type(v) == JSON_NULL;

	if (strcasecmp(word, "null") == 0 || strcasecmp(word, "unknown") == 0)
		return truth_of(is_null);
	return truth_of(!is_null && json_bool(v, false) == (strcasecmp(word, "true") == 0));
}

static enum truth
eval_value(const struct condition *c, struct json_value v)
{
	enum json_type type = json_type(v);
	struct buffer text;
	enum truth answer = TRUTH_UNKNOWN;

	if (type == JSON_ABSENT)
		return TRUTH_UNKNOWN;
	if (c->op == OP_IS)
		return eval_is(c, v);
	if (c->op == OP_ISDISTINCT && (type == JSON_NULL || c->values[0].is_null))
		return truth_of((type == JSON_NULL) != c->values[0].is_null);
	if (type == JSON_NULL)
		return TRUTH_NULL;
	if (type != JSON_STRING)
		return eval_text(c, v.raw, v.len);
	if (memchr(v.raw, '\\', v.len) == NULL)
		return eval_text(c, v.raw + 1, v.len - 2);
	buffer_init(&text);
	if (json_unescape(v, &text))
		answer = eval_text(c, text.data, text.len);
	buffer_free(&text);
	return answer;
}

static enum filter_answer
eval_condition(const struct condition *c, struct json_value row)
{
	enum truth t = eval_value(c, json_member(row, c->column));

	if (t == TRUTH_UNKNOWN)
		return FILTER_UNKNOWN;
	return t == (c->is_not ? TRUTH_NO : TRUTH_YES) ? FILTER_YES : FILTER_NO;
}

enum filter_answer
filter_eval(const struct filter *f, struct json_value row)
{
	enum filter_answer answer = FILTER_YES;

	for (int i = 0; f != NULL && i < f->count && answer != FILTER_NO; i++)
	{
		enum filter_answer one = eval_condition(&f->conditions[i], row);

		if (one < answer)
			answer = one;
	}
	return answer;
}
