/* check.c - what --check does: connects as the streamer would and names what is missing, each with its cure. */
/* SPDX-License-Identifier: PostgreSQL */
#include "check.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>
#include <poll.h>

#include "keyfiles.h"
#include "pages.h"
#include "plugin.h"
#include "tls.h"

#define SLOT_PATIENCE_MS 5000
#define UPKEEP_FUNCTIONS "'sync.checkpoint(bigint)', 'sync.feed_tables()', 'sync.feed_rows(integer, text[])', 'sync.relay(json)', 'sync.status()', " \
	"'sync.purge(interval, integer, interval)', 'sync.expire_locks()', 'sync.remind_due()', 'sync.release_device_locks(text, text, timestamptz)', 'sync.log_syncs(jsonb)'"

struct check
{
	FILE   *out;
	int		wrong;
};

static void
good(struct check *c, const char *what)
{
	fprintf(c->out, "ok      %s\n", what);
}

static void
wrong(struct check *c, const char *what, const char *cure)
{
	fprintf(c->out, "WRONG   %s\n        cure: %s\n", what, cure);
	c->wrong++;
}

static void
judge(struct check *c, bool is_good, const char *what, const char *cure)
{
	if (is_good)
		good(c, what);
	else
		wrong(c, what, cure);
}

/* What works as it is, and may harm some day: not counted. */
static void
advise(struct check *c, bool is_good, const char *what, const char *cure)
{
	if (is_good)
		good(c, what);
	else
		fprintf(c->out, "ADVICE  %s\n        cure: %s\n", what, cure);
}

/* The first value of a query, "" for NULL, no row or an error; the caller frees nothing: it lives until the next call. */
static const char *
ask(PGconn *conn, const char *sql)
{
	static char answer[512];
	PGresult *r = PQexec(conn, sql);

	answer[0] = '\0';
	if (PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) > 0)
		snprintf(answer, sizeof(answer), "%s", PQgetvalue(r, 0, 0));
	PQclear(r);
	return answer;
}

static bool
is_true(PGconn *conn, const char *sql)
{
	return ask(conn, sql)[0] == 't';
}

static PGconn *
connect_as(struct check *c, const char *conninfo, bool is_replication, const char *name, const char *cure)
{
	const char *const names[] = {"connect_timeout", "dbname", is_replication ? "replication" : NULL, NULL};
	const char *const values[] = {"10", conninfo, "database", NULL};
	PGconn *conn = PQconnectdbParams(names, values, 1);
	char	what[700];

	snprintf(what, sizeof(what), "%s connection: %s", name, PQstatus(conn) == CONNECTION_OK ? "made" : PQerrorMessage(conn));
	what[strcspn(what, "\n")] = '\0';
	judge(c, PQstatus(conn) == CONNECTION_OK, what, cure);
	if (PQstatus(conn) == CONNECTION_OK)
		return conn;
	PQfinish(conn);
	return NULL;
}

static void
check_plugin(struct check *c, PGconn *conn, enum plugin plugin)
{
	struct buffer text;
	const char *setting = ask(conn, "SELECT current_setting('output_plugin_libraries', true)");
	char	what[100];

	buffer_init(&text);
	snprintf(what, sizeof(what), "%s may be loaded for decoding", plugin_name(plugin));
	if (plugin_check(PQserverVersion(conn), setting[0] == '\0' ? NULL : setting, plugin_name(plugin), &text) == PLUGIN_NOT_LISTED)
		wrong(c, what, text.data);
	else
		good(c, what);
	buffer_free(&text);
}

static void
check_publications(struct check *c, PGconn *conn)
{
	judge(c, is_true(conn, "SELECT count(*) = 2 FROM pg_publication WHERE pubname IN ('sync', 'sync_inserts') AND pubinsert"),
		  "the publications sync and sync_inserts exist", "a superuser must run SELECT sync.publish()");
	judge(c, is_true(conn, "SELECT NOT EXISTS (SELECT FROM json_array_elements(sync.feed_tables() -> 'tables') t WHERE NOT EXISTS ("
					 "SELECT FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid JOIN pg_class c ON c.oid = r.prrelid "
					 "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = 'sync' AND n.nspname = t ->> 'schema' AND c.relname = t ->> 'table'))"),
		  "every synced table is in publication sync", "a superuser must run SELECT sync.publish(); sync.check() names the tables");
}

static void
check_server(struct check *c, PGconn *conn, enum plugin plugin)
{
	judge(c, PQserverVersion(conn) >= 150000, "PostgreSQL 15 or newer", "upgrade the server");
	judge(c, !is_true(conn, "SELECT pg_is_in_recovery()"), "the server is no standby", "connect to the primary: a standby cannot make cursors");
	judge(c, strcmp(ask(conn, "SHOW server_encoding"), "UTF8") == 0, "the database is UTF8", "create the database with ENCODING 'UTF8'");
	judge(c, strcmp(ask(conn, "SHOW wal_level"), "logical") == 0, "wal_level is logical", "ALTER SYSTEM SET wal_level = logical, then restart the server");
	judge(c, is_true(conn, "SELECT (SELECT count(*) FROM pg_replication_slots) < current_setting('max_replication_slots')::int"),
		  "a replication slot is free", "raise max_replication_slots, or drop slots that nobody uses (pg_replication_slots)");
	judge(c, is_true(conn, "SELECT (SELECT count(*) FROM pg_stat_replication) < current_setting('max_wal_senders')::int"),
		  "a WAL sender is free", "raise max_wal_senders");
	judge(c, is_true(conn, "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'sync')"), "the extension is created", "CREATE EXTENSION sync");
	judge(c, is_true(conn, "SELECT count(*) = 0 FROM pg_prepared_xacts WHERE database = current_database()"), "no prepared transaction is open",
		  "COMMIT PREPARED or ROLLBACK PREPARED those of pg_prepared_xacts: a new slot waits for each");
	advise(c, strcmp(ask(conn, "SHOW max_slot_wal_keep_size"), "-1") != 0, "a slot keeps a bounded amount of WAL",
		   "ALTER SYSTEM SET max_slot_wal_keep_size = '16GB'; SELECT pg_reload_conf(); -- else a stuck slot of anybody can fill the disk");
	advise(c, strcmp(ask(conn, "SHOW idle_in_transaction_session_timeout"), "0") != 0, "forgotten transactions end by themselves",
		   "ALTER SYSTEM SET idle_in_transaction_session_timeout = '10min'; SELECT pg_reload_conf(); -- an open one holds cursors and new slots back");
	check_plugin(c, conn, plugin);
	if (plugin == PLUGIN_PGOUTPUT)
		check_publications(c, conn);
}

static void
check_upkeep(struct check *c, PGconn *conn)
{
	const char *lacks = ask(conn, "SELECT coalesce(string_agg(f, ', '), 'none') FROM unnest(ARRAY[" UPKEEP_FUNCTIONS "]) f "
							"WHERE to_regprocedure(f) IS NULL OR NOT has_function_privilege(to_regprocedure(f)::oid, 'EXECUTE')");
	bool	has_all = strcmp(lacks, "none") == 0;
	char	what[600];

	snprintf(what, sizeof(what), has_all ? "the upkeep role may run all it needs" : "the upkeep role may not run %s", lacks);
	judge(c, has_all, what, "run roles.sql");
	judge(c, is_true(conn, "SELECT pg_has_role('pg_read_all_stats', 'MEMBER') AND pg_has_role('pg_read_all_settings', 'MEMBER')"),
		  "the upkeep role sees who holds things up", "run roles.sql");
	judge(c, ask(conn, "SELECT sync.feed_tables()")[0] != '\0', "the list of tables can be read", "run roles.sql; see the server's log");
}

static void
check_query(struct check *c, PGconn *conn, const struct options *o)
{
	const char *const role[] = {o->default_role};

	if (o->default_role[0] != '\0')
	{
		PGresult *r = PQexecParams(conn, "SELECT pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = $1", 1, NULL, role, NULL, NULL, 0);

		judge(c, PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) == 1 && PQgetvalue(r, 0, 0)[0] == 't', "the query role may take on --default-role",
			  "GRANT that role TO sync_query, or correct --default-role");
		PQclear(r);
	}
	judge(c, is_true(conn, "SELECT has_function_privilege('sync.visible_keys(jsonb)', 'EXECUTE')"), "the query role may ask which rows are visible", "run roles.sql");
	judge(c, !is_true(conn, "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"),
		  "the query role is bound by row-level security", "ALTER ROLE sync_query NOSUPERUSER NOBYPASSRLS");
	judge(c, !is_true(conn, "SELECT rolinherit FROM pg_roles WHERE rolname = current_user"),
		  "the query role inherits nothing", "ALTER ROLE sync_query NOINHERIT");
	judge(c, is_true(conn, "SELECT EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = current_user)"),
		  "the query role is a member of a role that tokens may name", "GRANT app_user TO sync_query, for each role your tokens name");
	judge(c, !is_true(conn, "SELECT EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member JOIN pg_roles g ON g.oid = m.roleid "
					  "WHERE r.rolname = current_user AND (g.rolsuper OR g.rolbypassrls))"),
		  "none of these roles bypasses row-level security", "REVOKE superusers and BYPASSRLS roles from sync_query: a token could name them");
}

/* Makes a slot as the streamer would, which loads the plugin, then waits for writers older than the slot; it goes with the connection. */
static void
check_slot(struct check *c, PGconn *conn, enum plugin plugin)
{
	struct pollfd socket = {.fd = PQsocket(conn), .events = POLLIN};
	char	text[300];
	const char *cure;
	PGresult *r;

	snprintf(text, sizeof(text), "CREATE_REPLICATION_SLOT sync_check_%d TEMPORARY LOGICAL %s NOEXPORT_SNAPSHOT", PQbackendPID(conn), plugin_name(plugin));
	PQsendQuery(conn, text);
	while (PQconsumeInput(conn) && PQisBusy(conn) && poll(&socket, 1, SLOT_PATIENCE_MS) > 0)
		;
	if (PQisBusy(conn))
	{
		wrong(c, "a new replication slot has to wait for older writing transactions", "end them: sync.status() names the oldest, pg_prepared_xacts those prepared");
		return;
	}
	r = PQgetResult(conn);
	cure = plugin_cure(plugin, PQresultErrorMessage(r));
	if (PQresultStatus(r) == PGRES_TUPLES_OK)
		snprintf(text, sizeof(text), "%s can be loaded: it decodes the WAL (--plugin)", plugin_name(plugin));
	else
		snprintf(text, sizeof(text), "%s can be loaded: %.200s", plugin_name(plugin), PQresultErrorMessage(r));
	text[strcspn(text, "\n")] = '\0';
	judge(c, PQresultStatus(r) == PGRES_TUPLES_OK, text, cure != NULL ? cure : "see what else is wrong");
	PQclear(r);
}

static void
check_places(struct check *c, PGconn *upkeep, PGconn *query, PGconn *replication)
{
	judge(c, strcmp(PQdb(upkeep), PQdb(replication)) == 0 && strcmp(PQdb(query), PQdb(replication)) == 0, "all connections reach the same database",
		  "name one database in --database, --query-database and --upkeep-database");
}

static void
check_replication(struct check *c, PGconn *conn, const char *system_id, enum plugin plugin)
{
	judge(c, strcmp(ask(conn, "IDENTIFY_SYSTEM"), system_id) == 0, "all connections reach the same server",
		  "point --database, --query-database and --upkeep-database at one server");
	check_slot(c, conn, plugin);
}

/* What cannot be used is logged with its reason. */
static void
check_files(struct check *c, const struct options *o)
{
	static const struct pages_calls no_calls;
	struct keyfiles *keys = keyfiles_new(o);
	struct pages *pages = pages_new(o, &no_calls, NULL);
	char	reason[256] = "";
	char	what[320];

	judge(c, keys != NULL, "the keys of tokens can be read", "see the line above; the streamer's user must be able to read --jwt-secret-file and --jwks-file");
	if (o->tls_cert[0] != '\0' && tls_is_usable(o->tls_cert, o->tls_key, reason, sizeof(reason)))
		good(c, "certificate and key can be used");
	else if (o->tls_cert[0] != '\0')
	{
		snprintf(what, sizeof(what), "certificate and key can be used: %s", reason);
		wrong(c, what, "--tls-cert and --tls-key name PEM files that belong together and that the streamer's user can read");
	}
	judge(c, pages != NULL, "metrics are guarded as said", "see the line above; --metrics-token-file holds 16 characters or more");
	keyfiles_free(keys);
	pages_free(pages);
}

int
check_run(const struct options *o, FILE *out)
{
	struct check c = {.out = out};
	PGconn *upkeep = connect_as(&c, o->upkeep_database, false, "upkeep", "run roles.sql; let the role in by pg_hba.conf; check --upkeep-database");
	PGconn *query = connect_as(&c, o->query_database, false, "query", "run roles.sql; let the role in by pg_hba.conf; check --query-database");
	PGconn *replication = connect_as(&c, o->database, true, "replication", "run roles.sql; give the role its own pg_hba.conf line; check --database");
	char	system_id[512] = "";

	check_files(&c, o);
	if (upkeep != NULL)
	{
		check_server(&c, upkeep, (enum plugin) o->plugin);
		check_upkeep(&c, upkeep);
		snprintf(system_id, sizeof(system_id), "%s", ask(upkeep, "SELECT system_identifier FROM pg_control_system()"));
	}
	if (query != NULL)
		check_query(&c, query, o);
	if (replication != NULL && upkeep != NULL)
		check_replication(&c, replication, system_id, (enum plugin) o->plugin);
	if (replication != NULL && upkeep != NULL && query != NULL)
		check_places(&c, upkeep, query, replication);
	PQfinish(upkeep);
	PQfinish(query);
	PQfinish(replication);
	fprintf(out, c.wrong == 0 ? "everything is in place; as a superuser, SELECT * FROM sync.check() looks at the tables\n" : "%d found wrong\n", c.wrong);
	return c.wrong;
}
