/*
 * sync.c - module load, settings, and who the caller is.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "sync.h"

#include "access/htup_details.h"
#include "catalog/pg_auth_members.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/catcache.h"
#include "utils/syscache.h"
#include "access/table.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(sync_user_id_sql);

bool		sync_allow_nobody = false;
int			sync_max_conflicts = 10000;
int			sync_max_ledger = 200000;

void		_PG_init(void);

/* Claims that change with each renewal of a token and say nothing about what its bearer may see. */
static const char *const volatile_claims[] = {
	"iat", "nbf", "exp", "jti", "auth_time", "session_id", "amr"
};

void
_PG_init(void)
{
	DefineCustomBoolVariable("sync.allow_nobody",
							 "Lets callers without a user (no claim sub) push.",
							 NULL, &sync_allow_nobody, false, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("sync.max_devices", "Devices a user may register.",
							NULL, &sync_max_devices, 1000, 1, 1000000000, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("sync.max_conflicts", "Entries of the conflict log kept for a user; the oldest settled ones go first.",
							NULL, &sync_max_conflicts, 10000, 1, 1000000000, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("sync.max_ledger", "Verdicts kept for a device until sync.purge() removes them; more pushes are refused.",
							NULL, &sync_max_ledger, 200000, 1, 1000000000, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("sync.max_notifications", "Notifications kept for a user; the oldest read ones go first.",
							NULL, &sync_max_notifications, 10000, 1, 1000000000, PGC_SUSET, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("sync");
	sync_table_init();
	sync_tombstone_scan_init();
}

/* Returns the claims as jsonb, or NULL when none are set. */
static Jsonb *
read_claims(const char *text)
{
	MemoryContext context = CurrentMemoryContext;
	Jsonb	   *volatile claims = NULL;

	if (text == NULL || text[0] == '\0')
		return NULL;
	PG_TRY();
	{
		claims = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
	}
	PG_CATCH();
	{
		/* Only a bad value is the caller's; another error follows at once, so nothing needs undoing. */
		MemoryContextSwitchTo(context);
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	if (claims == NULL || !JB_ROOT_IS_OBJECT(claims))
		ereport(ERROR,
				(errcode(SYNC_ERR_NOBODY),
				 errmsg("request.jwt.claims is not a JSON object"),
				 errhint("Set it to the claims of the caller's token, or to nothing.")));
	return claims;
}

/*
 * Rows are stamped with the user one by one, so the claims are parsed again only when their text changed.
 */
const char *
sync_user_id(void)
{
	static char *cached_claims = NULL;
	static char *cached_user = NULL;
	const char *text = GetConfigOption("request.jwt.claims", true, false);
	JsonbValue *sub;
	Jsonb	   *claims;
	char	   *user = NULL;

	if (text == NULL || text[0] == '\0')
		return NULL;
	if (cached_claims && strcmp(cached_claims, text) == 0)
		return cached_user;

	claims = read_claims(text);
	sub = sync_json_get(&claims->root, "sub");
	if (sub)
		user = sync_json_text(sub);
	if (user && user[0] == '\0')
		user = NULL;

	if (cached_claims)
		pfree(cached_claims);
	cached_claims = NULL;
	if (cached_user)
		pfree(cached_user);
	cached_user = NULL;			/* what follows may fail for want of memory */
	cached_user = user ? MemoryContextStrdup(TopMemoryContext, user) : NULL;
	cached_claims = MemoryContextStrdup(TopMemoryContext, text);
	return cached_user;
}

Datum
sync_user_id_sql(PG_FUNCTION_ARGS)
{
	const char *user = sync_user_id();

	if (user == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(user));
}

uint64
sync_hash(const char *data, int len, uint64 seed)
{
	return hash_bytes_extended((const unsigned char *) data, len, seed);
}

/* A device is one user's: what another user of the same device wrote is somebody else's. user NULL: nobody. Never 0. */
uint64
sync_device_hash(const char *user, const char *device)
{
	uint64		hash = sync_hash(device, strlen(device), user ? sync_hash(user, strlen(user), 0) : 0);

	return hash ? hash : 1;
}

static bool
is_volatile_claim(const char *name, int len)
{
	int			i;

	for (i = 0; i < (int) lengthof(volatile_claims); i++)
		if (strlen(volatile_claims[i]) == (size_t) len && memcmp(volatile_claims[i], name, len) == 0)
			return true;
	return false;
}

/* Settings that say who asks, as older PostgREST and Supabase set them beside the claims; policies may read these and no others. */
static const char *const identity_settings[] = {
	"request.jwt.claim", "request.jwt.claim.sub", "request.jwt.claim.role", "request.jwt.claim.email"
};

bool
sync_is_identity_setting(const char *name)
{
	int			i;

	for (i = 0; i < (int) lengthof(identity_settings); i++)
		if (pg_strcasecmp(name, identity_settings[i]) == 0)
			return true;
	return pg_strcasecmp(name, "request.jwt.claims") == 0 || pg_strcasecmp(name, "role") == 0;
}

static uint64
hash_settings(uint64 hash)
{
	int			i;

	for (i = 0; i < (int) lengthof(identity_settings); i++)
	{
		const char *value = GetConfigOption(identity_settings[i], true, false);

		if (value && value[0])
			hash = sync_hash(value, strlen(value), hash + i);
	}
	return hash;
}

/* Adds the roles that a role is a member of, however far; a sum, since the order in which they are found means nothing. */
static void
add_memberships(Oid role, List **seen, uint64 *sum)
{
	CatCList   *grants;
	int			i;

	if (list_member_oid(*seen, role))
		return;
	*seen = lappend_oid(*seen, role);
	*sum += sync_hash((const char *) &role, sizeof(role), 1);
	grants = SearchSysCacheList1(AUTHMEMMEMROLE, ObjectIdGetDatum(role));
	for (i = 0; i < grants->n_members; i++)
		add_memberships(((Form_pg_auth_members) GETSTRUCT(&grants->members[i]->tuple))->roleid, seen, sum);
	ReleaseSysCacheList(grants);
}

static uint64
hash_role(void)
{
	char	   *name = GetUserNameFromId(GetUserId(), false);
	List	   *seen = NIL;
	uint64		sum = has_bypassrls_privilege(GetUserId());

	/* A GRANT of a role fires no event trigger: a client of the role starts anew when it comes next. */
	add_memberships(GetUserId(), &seen, &sum);
	return sync_hash((const char *) &sum, sizeof(sum), sync_hash(name, strlen(name), 0));
}

/* Hashes the role and every claim that may decide what the caller sees. */
uint64
sync_identity_hash(void)
{
	uint64		hash = hash_settings(hash_role());
	Jsonb	   *claims = read_claims(GetConfigOption("request.jwt.claims", true, false));
	JsonbIterator *it;
	JsonbValue	name;
	JsonbValue	value;

	if (claims == NULL)
		return hash;
	it = JsonbIteratorInit(&claims->root);
	JsonbIteratorNext(&it, &name, false);
	while (JsonbIteratorNext(&it, &name, true) == WJB_KEY)
	{
		Jsonb	   *single;
		char	   *text;

		JsonbIteratorNext(&it, &value, true);
		if (is_volatile_claim(name.val.string.val, name.val.string.len))
			continue;
		single = JsonbValueToJsonb(&value);
		text = JsonbToCString(NULL, &single->root, VARSIZE(single));
		hash = sync_hash(name.val.string.val, name.val.string.len, hash);
		hash = sync_hash(text, strlen(text), hash);
	}
	return hash;
}

void
sync_become(SyncRole *saved, Oid role)
{
	GetUserIdAndSecContext(&saved->user, &saved->context);
	SetUserIdAndSecContext(role, saved->context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
}

/* Acts as the owner of the extension's own tables. An error undoes it: the transaction restores the user. */
void
sync_become_extension(SyncRole *saved)
{
	Relation	registry = table_open(sync_relid("synced_table"), AccessShareLock);
	Oid			owner = registry->rd_rel->relowner;

	table_close(registry, AccessShareLock);
	sync_become(saved, owner);
}

void
sync_become_back(const SyncRole *saved)
{
	SetUserIdAndSecContext(saved->user, saved->context);
}
