/*
 * token.c - the sync token as text: what its holder was sent (session part) and where it stands (position).
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "common/base64.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#define SESSION_FORMAT 4
#define MAX_TABLES 10000
#define MAX_HASHES 100000

static void
append_base64url(StringInfo out, const char *data, int len)
{
	int			start = out->len;
	int			room = pg_b64_enc_len(len);
	int			written;
	int			i;

	enlargeStringInfo(out, room + 1);
	written = pg_b64_encode(data, len, out->data + start, room);
	if (written < 0)
		elog(ERROR, "base64 encoding failed");
	while (written > 0 && out->data[start + written - 1] == '=')
		written--;
	for (i = start; i < start + written; i++)
	{
		if (out->data[i] == '+')
			out->data[i] = '-';
		else if (out->data[i] == '/')
			out->data[i] = '_';
	}
	out->len = start + written;
	out->data[out->len] = '\0';
}

/* NULL unless the text is base64url; the result is followed by a NUL. */
static char *
decode_base64url(const char *text, int len, int *out_len)
{
	char	   *padded = palloc(len + 4);
	char	   *bytes;
	int			i;

	for (i = 0; i < len; i++)
		padded[i] = text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
	while (len % 4)
		padded[len++] = '=';
	bytes = palloc(pg_b64_dec_len(len) + 1);
	*out_len = pg_b64_decode(padded, len, bytes, pg_b64_dec_len(len));
	if (*out_len < 0)
		return NULL;
	bytes[*out_len] = '\0';
	return bytes;
}

static void
put_scope(StringInfo out, const SyncHeldScope *scope)
{
	int			i;

	pq_sendint32(out, scope->scope_id);
	pq_sendint32(out, scope->nhashes);
	for (i = 0; i < scope->nhashes; i++)
		pq_sendint64(out, scope->hashes[i]);
}

bool
sync_held_has(const SyncHeldScope *held, uint64 hash)
{
	int			i;

	for (i = 0; held && i < held->nhashes; i++)
		if (held->hashes[i] == hash)
			return true;
	return false;
}

/* Which of the values held were gained in this round, a bit each in the order of the session part. */
static void
put_gained(StringInfo out, const SyncToken *token, const SyncHeldScope *gained)
{
	int			i;
	int			j;

	for (i = 0; i < token->nscopes; i++)
	{
		const SyncHeldScope *held = &token->scopes[i];
		char	   *bits = palloc0(held->nhashes / 8 + 1);

		if (held->scope_id != gained->scope_id)
			continue;
		for (j = 0; j < held->nhashes; j++)
			if (sync_held_has(gained, held->hashes[j]))
				bits[j / 8] |= 1 << (j % 8);
		pq_sendint32(out, held->scope_id);
		pq_sendbytes(out, bits, held->nhashes / 8 + 1);
	}
}

/* Two cursors with the same are the same. */
uint64
sync_token_place(const SyncSnapshot *cursor)
{
	char	   *text = sync_snapshot_text(cursor);

	return sync_hash(text, strlen(text), 0);
}

/* Records stand at multiples of eight; the streamer makes its positions one less. */
bool
sync_token_is_streamed(const SyncToken *token)
{
	return token->lsn % MAXIMUM_ALIGNOF != 0;
}

static void
write_session(StringInfo out, const SyncToken *token)
{
	StringInfoData bytes;
	int			i;

	initStringInfo(&bytes);
	pq_sendint8(&bytes, SESSION_FORMAT);
	pq_sendint64(&bytes, token->system_id);
	pq_sendint32(&bytes, token->incarnation);
	pq_sendint64(&bytes, token->identity);
	pq_sendint32(&bytes, token->schema_version);
	pq_sendint32(&bytes, token->ntables);
	for (i = 0; i < token->ntables; i++)
	{
		pq_sendint32(&bytes, token->tables[i]);
		pq_sendint16(&bytes, strlen(token->names[i]));
		pq_sendbytes(&bytes, token->names[i], strlen(token->names[i]));
	}
	pq_sendint32(&bytes, token->nscopes);
	for (i = 0; i < token->nscopes; i++)
		put_scope(&bytes, &token->scopes[i]);
	pq_sendint32(&bytes, token->ndigests);
	for (i = 0; i < token->ndigests; i++)
	{
		pq_sendint32(&bytes, token->digests[i].table);
		pq_sendint64(&bytes, token->digests[i].count);
		pq_sendint64(&bytes, token->digests[i].sum);
	}
	if (token->ndigests > 0)
	{
		const SyncSnapshot *counted = token->upper ? token->upper : token->lower;

		pq_sendint64(&bytes, counted->xmin);
		pq_sendint64(&bytes, sync_token_place(counted));
	}
	append_base64url(out, bytes.data, bytes.len);
}

/* Reads without raising: a token is the client's, and a bad one means "start anew", not an error. */
typedef struct Reader
{
	const unsigned char *p;
	const unsigned char *end;
	bool		failed;
} Reader;

static uint64
get_int(Reader *r, int bytes)
{
	uint64		n = 0;

	if (r->end - r->p < bytes)
	{
		r->failed = true;
		return 0;
	}
	while (bytes-- > 0)
		n = (n << 8) | *r->p++;
	return n;
}

static int
get_count(Reader *r, int size, int limit)
{
	uint64		n = get_int(r, 4);

	if (n > (uint64) limit || (uint64) (r->end - r->p) < n * size)
	{
		r->failed = true;
		return 0;
	}
	return (int) n;
}

static char *
get_name(Reader *r)
{
	int			len = (int) get_int(r, 2);
	char	   *name;

	if (r->failed || r->end - r->p < len || !pg_verifymbstr((const char *) r->p, len, true))
	{
		r->failed = true;
		return "";
	}
	name = pnstrdup((const char *) r->p, len);
	r->p += len;
	return name;
}

static SyncHeldScope
get_scope(Reader *r)
{
	SyncHeldScope scope = {0};
	int			i;

	scope.scope_id = (int32) get_int(r, 4);
	scope.nhashes = get_count(r, 8, MAX_HASHES);
	scope.hashes = palloc(sizeof(uint64) * Max(scope.nhashes, 1));
	for (i = 0; i < scope.nhashes; i++)
		scope.hashes[i] = get_int(r, 8);
	return scope;
}

static bool
read_session(SyncToken *token, const char *text, int len)
{
	int			size;
	char	   *bytes = decode_base64url(text, len, &size);
	Reader		r = {(unsigned char *) bytes, NULL, false};
	int			i;

	if (bytes == NULL)
		return false;
	r.end = r.p + size;
	if (get_int(&r, 1) != SESSION_FORMAT)
		return false;
	token->system_id = get_int(&r, 8);
	token->incarnation = (uint32) get_int(&r, 4);
	token->identity = get_int(&r, 8);
	token->schema_version = (int) get_int(&r, 4);
	token->ntables = get_count(&r, 6, MAX_TABLES);
	token->tables = palloc(sizeof(int32) * Max(token->ntables, 1));
	token->names = palloc(sizeof(char *) * Max(token->ntables, 1));
	for (i = 0; i < token->ntables; i++)
	{
		token->tables[i] = (int32) get_int(&r, 4);
		token->names[i] = get_name(&r);
	}
	token->nscopes = get_count(&r, 8, MAX_TABLES);
	token->scopes = palloc(sizeof(SyncHeldScope) * Max(token->nscopes, 1));
	for (i = 0; i < token->nscopes; i++)
		token->scopes[i] = get_scope(&r);
	token->ndigests = get_count(&r, 20, MAX_TABLES);
	token->digests = palloc(sizeof(SyncDigest) * Max(token->ndigests, 1));
	for (i = 0; i < token->ndigests; i++)
	{
		token->digests[i].table = (int32) get_int(&r, 4);
		token->digests[i].count = get_int(&r, 8);
		token->digests[i].sum = get_int(&r, 8);
	}
	if (token->ndigests > 0)
	{
		token->digest_xmin = get_int(&r, 8);
		token->digest_place = get_int(&r, 8);
	}
	return !r.failed && r.p == r.end;
}

/*
 * The position is text, so that the streamer can make the finished form too:
 *   1/timeline/lsn/snapshot                                          a finished round
 *   1/timeline/lsn/C or -/S/whole/gained/table/phase/last place      inside a round
 */
static void
write_position(StringInfo out, const SyncToken *token)
{
	StringInfoData text;
	StringInfoData gained;
	ListCell   *lc;
	int			i;

	initStringInfo(&text);
	appendStringInfo(&text, "1/%u/%X:%X/%s", token->timeline, LSN_FORMAT_ARGS(token->lsn),
					 token->lower ? sync_snapshot_text(token->lower) : "-");
	if (token->upper)
	{
		appendStringInfo(&text, "/%s/", sync_snapshot_text(token->upper));
		for (i = 0; i < token->nwhole; i++)
			appendStringInfo(&text, "%s%d", i ? "," : "", token->whole[i]);
		appendStringInfoChar(&text, '/');
		initStringInfo(&gained);
		foreach(lc, token->gained)
			put_gained(&gained, token, lfirst(lc));
		append_base64url(&text, gained.data, gained.len);
		appendStringInfo(&text, "/%d/%c/%s", token->part_table, token->part_phase, token->part_key);
	}
	append_base64url(out, text.data, text.len);
}

/* Cuts the next field off at '/', or returns NULL when there is none. */
static char *
next_field(char **p)
{
	char	   *field = *p;
	char	   *slash;

	if (field == NULL)
		return NULL;
	slash = strchr(field, '/');
	*p = slash ? slash + 1 : NULL;
	if (slash)
		*slash = '\0';
	return field;
}

static bool
read_whole(SyncToken *token, const char *text)
{
	token->whole = palloc(sizeof(int32) * (strlen(text) / 2 + 1));
	while (*text)
	{
		char	   *end;

		token->whole[token->nwhole++] = (int32) strtol(text, &end, 10);
		if (end == text || (*end && *end != ','))
			return false;
		text = *end ? end + 1 : end;
	}
	return true;
}

static void
get_gained(Reader *r, SyncToken *token)
{
	int32		id = (int32) get_int(r, 4);
	int			i;
	int			j;

	for (i = 0; i < token->nscopes && token->scopes[i].scope_id != id; i++)
		;
	if (i == token->nscopes || r->end - r->p < token->scopes[i].nhashes / 8 + 1)
	{
		r->failed = true;
		return;
	}
	{
		const SyncHeldScope *held = &token->scopes[i];
		SyncHeldScope *gained = palloc0(sizeof(SyncHeldScope));

		gained->scope_id = id;
		gained->hashes = palloc(sizeof(uint64) * Max(held->nhashes, 1));
		for (j = 0; j < held->nhashes; j++)
			if (r->p[j / 8] & (1 << (j % 8)))
				gained->hashes[gained->nhashes++] = held->hashes[j];
		r->p += held->nhashes / 8 + 1;
		token->gained = lappend(token->gained, gained);
	}
}

static bool
read_gained(SyncToken *token, const char *text)
{
	int			size;
	char	   *bytes = decode_base64url(text, strlen(text), &size);
	Reader		r = {(unsigned char *) bytes, (unsigned char *) bytes + size, false};

	if (bytes == NULL)
		return false;
	while (r.p < r.end && !r.failed)
		get_gained(&r, token);
	return !r.failed;
}

static bool
read_round(SyncToken *token, char *rest)
{
	char	   *upper = next_field(&rest);
	char	   *whole = next_field(&rest);
	char	   *gained = next_field(&rest);
	char	   *table = next_field(&rest);
	char	   *phase = next_field(&rest);

	if (rest == NULL || phase == NULL || strlen(phase) != 1)
		return false;
	token->upper = sync_snapshot_parse(upper);
	token->part_table = atoi(table);
	token->part_phase = phase[0];
	token->part_key = rest;		/* may hold slashes of its own */
	return token->upper && read_whole(token, whole) && read_gained(token, gained);
}

static bool
read_position(SyncToken *token, const char *text, int len)
{
	int			size;
	char	   *rest = decode_base64url(text, len, &size);
	char	   *format = next_field(&rest);
	char	   *timeline = next_field(&rest);
	char	   *lsn = next_field(&rest);
	char	   *lower = next_field(&rest);
	unsigned int hi;
	unsigned int lo;

	if (lower == NULL || strcmp(format, "1") != 0 || sscanf(lsn, "%X:%X", &hi, &lo) != 2)
		return false;
	token->timeline = (uint32) strtoul(timeline, NULL, 10);
	token->lsn = ((uint64) hi << 32) | lo;
	if (strcmp(lower, "-") != 0 && (token->lower = sync_snapshot_parse(lower)) == NULL)
		return false;
	if (rest)
		return read_round(token, rest);
	return token->lower != NULL;
}

char *
sync_token_write(const SyncToken *token)
{
	StringInfoData out;

	initStringInfo(&out);
	write_session(&out, token);
	appendStringInfoChar(&out, '.');
	write_position(&out, token);
	return out.data;
}

SyncToken *
sync_token_read(const char *text)
{
	SyncToken  *token = palloc0(sizeof(SyncToken));
	const char *dot = strchr(text, '.');

	if (dot == NULL || !read_session(token, text, dot - text) ||
		!read_position(token, dot + 1, strlen(dot + 1)))
		return NULL;
	return token;
}

bool
sync_token_covers(const SyncToken *token, int32 table_id)
{
	int			i;

	for (i = 0; i < token->ntables; i++)
		if (token->tables[i] == table_id)
			return true;
	return false;
}
