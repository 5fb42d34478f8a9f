/*
 * place.c - places: where in a part a page ended, as its token keeps it, a JSON array of texts.
 *
 * Whole tables and scopes: [key…], or [value, key…] where they go value by value. Tombstones: [xid, id]. Increments: [xid, key…], and where they go value by
 * value [xid, key…, value, xid, key…]: the first half is where the one page ended that had all values at once, and where each value begins.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "pull.h"

#include "utils/builtins.h"

/* NULL when it is something else than n texts. */
static char **
try_place(const char *place, int n)
{
	Jsonb	   *array = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(place)));
	char	  **texts = palloc(sizeof(char *) * n);
	int			i;

	if (!JB_ROOT_IS_ARRAY(array) || JB_ROOT_IS_SCALAR(array) || (int) JB_ROOT_COUNT(array) != n)
		return NULL;
	for (i = 0; i < n; i++)
		if ((texts[i] = sync_json_text(getIthJsonbValueFromContainer(&array->root, i))) == NULL)
			return NULL;
	return texts;
}

static char **
read_place(const char *place, int n)
{
	char	  **texts = try_place(place, n);

	if (texts == NULL)
		ereport(ERROR, (errcode(SYNC_ERR_BAD_REQUEST), errmsg("malformed sync_token")));
	return texts;
}

/* How many texts a place has that goes value by value. */
static int
long_size(const PullTable *p, char phase)
{
	return phase == 'I' ? 2 * p->table->nkeys + 3 : p->table->nkeys + 1;
}

static char **
long_place(const Pull *pull, const PullTable *p, char phase)
{
	const char *place = pull->next.part_key;

	return place[0] && p->scope && phase != 'T' ? try_place(place, long_size(p, phase)) : NULL;
}

/* A token's place must fit, also where there is nothing left to read. */
void
pull_check_place(const Pull *pull, const PullTable *p, char phase)
{
	const char *place = pull->next.part_key;

	if (place[0] && long_place(pull, p, phase) == NULL)
		read_place(place, phase == 'T' ? 2 : p->table->nkeys + (phase == 'I'));
}

/*
 * Whether a part goes value by value, each in the order of its keys: an index that begins with the scope column then serves each page, where all values at
 * once would be sorted for each page. A part that sends whole scopes goes on as it was begun, though an index came or went; increments, which our own index
 * serves, begin with all values at once, as most fit on a page.
 */
bool
pull_by_value(const Pull *pull, const PullTable *p, char phase)
{
	bool		is_begun = pull->next.part_key[0] != '\0';
	int			n;

	if (p->scope == NULL || phase == 'T')
		return false;
	if (is_begun && long_place(pull, p, phase) != NULL)
		return true;
	if (is_begun != (phase == 'I'))
		return false;
	pull_part_values(pull, p, phase, &n);
	return phase == 'I' ? n > 1 : n > 0 && p->table->scope_is_indexed;
}

/* Which value such a part has come to; NULL: none yet. */
const char *
pull_place_value(const Pull *pull, const PullTable *p, char phase)
{
	char	  **texts = long_place(pull, p, phase);

	return texts ? texts[phase == 'I' ? p->table->nkeys + 1 : 0] : NULL;
}

/* The texts of xid and key, of xid and id, or of the key, behind which a query goes on; NULL: from the start. */
char	  **
pull_place(const Pull *pull, const PullTable *p, char phase, const char *value)
{
	const char *place = pull->next.part_key;
	const char *at;

	if (place[0] == '\0')
		return NULL;
	if (value == NULL)
		return read_place(place, phase == 'T' ? 2 : p->table->nkeys + (phase == 'I'));
	at = pull_place_value(pull, p, phase);
	if (at == NULL)
		return read_place(place, p->table->nkeys + 1);
	if (strcmp(at, value) == 0)
		return long_place(pull, p, phase) + (phase == 'I' ? p->table->nkeys + 2 : 1);
	return phase == 'I' ? long_place(pull, p, phase) : NULL;
}

static void
put_text(StringInfo place, const char *text)
{
	appendStringInfoChar(place, place->len > 0 ? ',' : '[');
	sync_render_string(place, text, strlen(text));
}

char *
pull_row_place(const Pull *pull, const PullTable *p, char phase, const char *value, const Datum *values)
{
	const SyncTable *table = p->table;
	StringInfoData place;
	int			i;

	initStringInfo(&place);
	if (phase == 'I' && value)
	{
		char	  **begin = long_place(pull, p, phase);

		if (begin == NULL)
			begin = read_place(pull->next.part_key, table->nkeys + 1);
		for (i = 0; i <= table->nkeys; i++)
			put_text(&place, begin[i]);
	}
	if (value)
		put_text(&place, value);
	if (phase == 'I')
		put_text(&place, psprintf(UINT64_FORMAT, U64FromFullTransactionId(DatumGetFullTransactionId(values[table->xid_att - 1]))));
	for (i = 0; i < table->nkeys; i++)
	{
		const SyncColumn *column = &table->columns[table->keys[i]];

		put_text(&place, sync_value_text(column, values[column->attnum - 1]));
	}
	appendStringInfoChar(&place, ']');
	return place.data;
}
