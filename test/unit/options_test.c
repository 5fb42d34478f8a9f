/* options_test.c - later sources win, wrong values are named in one sentence, and no password goes to another user. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "log.h"
#include "options.h"

#define ARGV(...) ((char *[]) {(char *) "sync-streamer", __VA_ARGS__, NULL})
#define NEEDED (char *) "--database=dbname=d", (char *) "--jwt-secret-file=s"

static struct options o;
static struct buffer error;

static bool
reads(char **argv, char **environment)
{
	int		argc = 0;

	while (argv[argc] != NULL)
		argc++;
	options_free(&o);
	buffer_reset(&error);
	return options_read(&o, argc, argv, environment, &error);
}

static bool
reads_flag(const char *flag)
{
	return reads(ARGV(NEEDED, (char *) flag), NULL);
}

static void
defaults_hold(void)
{
	struct buffer b;

	CHECK(reads(ARGV(NEEDED), NULL));
	CHECK(o.listen_port == 4000 && o.max_clients == 10000 && o.max_frame == 65536 && o.max_push == 1048576 && o.max_body == 16777216);
	CHECK(o.max_queue == 1048576 && o.ring_size == 67108864 && o.auth_timeout_s == 10 && o.ping_interval_s == 30 && o.max_messages_per_second == 50);
	CHECK(o.query_connections == 4 && o.max_joins == 50 && o.log_level == LOG_LEVEL_INFO && !o.check);
	CHECK_TEXT(o.listen_host, "127.0.0.1");
	CHECK_TEXT(o.allow_origin, "");
	CHECK_TEXT(o.query_database, "dbname=d user='sync_query'");
	CHECK_TEXT(o.upkeep_database, "dbname=d user='sync_upkeep'");
	buffer_init(&b);
	options_limits(&o, &b);
	CHECK(strstr(b.data, "max-clients=10000 ") != NULL && strstr(b.data, " ring-size=67108864 ") != NULL && strstr(b.data, "database") == NULL);
	buffer_reset(&b);
	options_help(&b);
	CHECK(strstr(b.data, "--max-messages-per-second") != NULL && strstr(b.data, "(127.0.0.1:4000)") != NULL);
	buffer_free(&b);
}

static char *
write_file(const char *content)
{
	static char path[] = "/tmp/sync_options_XXXXXX";
	int		fd;

	strcpy(path + strlen(path) - 6, "XXXXXX");
	fd = mkstemp(path);
	if (fd < 0 || write(fd, content, strlen(content)) != (ssize_t) strlen(content))
		CHECK(false);
	close(fd);
	return path;
}

static void
later_sources_win(void)
{
	char   *path = write_file("# comment\n\n database = host=h dbname='x y' \njwt_secret_file=f\nmax-clients = 1\nmax_joins = 1\n\tmax-frame=2k\r\nallow-origin = a\nallow-origin = b");
	char	config[100];
	char   *environment[] = {config, (char *) "SYNC_MAX_CLIENTS=2", (char *) "SYNC_MAX_JOINS=2", (char *) "SYNC_NOBODY=1", (char *) "HOME=/", (char *) "SYNC_", (char *) "SYNC_LISTEN=[::1]:81", NULL};

	snprintf(config, sizeof(config), "SYNC_CONFIG=%s", path);
	CHECK(reads(ARGV((char *) "--max-clients", (char *) "3"), environment));
	CHECK(o.max_clients == 3 && o.max_joins == 2 && o.max_frame == 2048 && o.listen_port == 81);
	CHECK_TEXT(o.database, "host=h dbname='x y'");
	CHECK_TEXT(o.jwt_secret_file, "f");
	CHECK_TEXT(o.listen_host, "::1");
	CHECK_TEXT(o.allow_origin, "a,b");
	CHECK(reads(ARGV((char *) "--allow-origin=c", (char *) "--allow-origin", (char *) "d"), environment));
	CHECK_TEXT(o.allow_origin, "c,d");
	unlink(path);
	CHECK(!reads(ARGV(NEEDED), environment));
	CHECK(strstr(error.data, "cannot open") != NULL);
}

static void
file_errors_name_the_line(void)
{
	static const char *const bad[][2] = {
		{"\nmax-clients 5\n", ":2: not of the form"}, {"max-client = 5", ":1: max-client is unknown"}, {"max-client = 5", "max-clients?"},
		{"max-clients = 0", ":1: max-clients takes a whole number from 1"}, {"config = x", "cannot be set in the file"}, {"= 5", "unknown"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		char   *path = write_file(bad[i][0]);
		char	flag[100];

		snprintf(flag, sizeof(flag), "--config=%s", path);
		CHECK(!reads(ARGV(NEEDED, flag), NULL));
		if (!CHECK(strstr(error.data, bad[i][1]) != NULL))
			fprintf(stderr, "    %s\n", error.data);
		unlink(path);
	}
}

static void
refuses(const char *flag, const char *in_error)
{
	CHECK(!reads_flag(flag));
	if (!CHECK(error.data != NULL && strstr(error.data, in_error) != NULL))
		fprintf(stderr, "    %s: %s\n", flag, error.data);
}

static void
values_are_checked(void)
{
	CHECK(reads_flag("--max-push=1024") && o.max_push == 1024);
	CHECK(reads_flag("--ring_size=2G") && o.ring_size == (size_t) 2 << 30);
	CHECK(reads_flag("--max-queue=128K") && o.max_queue == 131072);
	CHECK(reads_flag("--auth-timeout=5s") && o.auth_timeout_s == 5);
	CHECK(reads_flag("--listen=8080") && o.listen_port == 8080);
	CHECK(reads_flag("--listen=example.org:1") && o.listen_port == 1);
	CHECK_TEXT(o.listen_host, "example.org");
	CHECK(reads_flag("--check") && o.check);
	CHECK(reads_flag("--check=false") && !o.check);
	CHECK(reads_flag("--log-level=debug") && o.log_level == LOG_LEVEL_DEBUG);
	CHECK(reads_flag("--database=") == false);
	refuses("--max-clients=0", "--max-clients takes a whole number from 1 to 1000000, not \"0\"");
	refuses("--max-clients=5k", "--max-clients takes");
	refuses("--max-clients=-5", "--max-clients takes");
	refuses("--max-clients= 5", "--max-clients takes");
	refuses("--max-clients=", "--max-clients takes");
	refuses("--max-push=99999999999999999999", "--max-push takes a size");
	refuses("--max-push=9223372036854775807G", "--max-push takes a size");
	refuses("--max-push=1T", "--max-push takes a size");
	refuses("--max-push=k", "--max-push takes a size");
	refuses("--auth-timeout=1m", "of seconds");
	refuses("--auth-timeout=s", "of seconds");
	refuses("--log-level=loud", "error, warning, info or debug");
	refuses("--check=maybe", "true or false");
	refuses("--listen=", "HOST:PORT");
	refuses("--listen=:80", "HOST:PORT");
	refuses("--listen=::1:80", "HOST:PORT");
	refuses("--listen=h:0", "HOST:PORT");
	refuses("--listen=h:65536", "HOST:PORT");
	refuses("--listen=[]:1", "HOST:PORT");
	refuses("--databse=x", "--databse is unknown, did you mean database?");
	refuses("--zzzzzzzzzzzzzzzz", "see --help");
	refuses("--zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz=1", "see --help");
	refuses("--", "unexpected argument");
	refuses("-h", "unexpected argument");
	refuses("-", "unexpected argument");
	refuses("", "unexpected argument");
	refuses("file", "unexpected argument");
	refuses("--demo", "--demo needs a value");
	CHECK(!reads(ARGV((char *) "--jwt-secret-file=s"), NULL) && strstr(error.data, "--database is required") != NULL);
	CHECK(!reads(ARGV((char *) "--database=dbname=d"), NULL) && strstr(error.data, "--jwt-secret-file or --jwks-file is required") != NULL);
	CHECK(!reads(ARGV(NEEDED), (char *[]) {(char *) "SYNC_MAX_JOINS=x", NULL}) && strstr(error.data, "max-joins takes") != NULL);
	CHECK(!reads(ARGV((char *) "--jwt-secret-file=s", (char *) "--database=mydb"), NULL) && strstr(error.data, "connection string") != NULL);
	CHECK(reads(ARGV((char *) "--help"), NULL) && o.help);
	CHECK(reads(ARGV((char *) "--version"), NULL) && o.version);
}

static void
derives(const char *conninfo, const char *wanted)
{
	struct buffer b;
	bool	ok;

	buffer_init(&b);
	ok = options_derive(conninfo, "sync_query", &b);
	if (!CHECK(ok == (wanted != NULL)))
		fprintf(stderr, "    %s\n", conninfo);
	if (ok && wanted != NULL)
		CHECK_TEXT(b.data, wanted);
	else
		CHECK(b.len == 0);
	buffer_free(&b);
}

static void
users_are_replaced(void)
{
	derives("", "user='sync_query'");
	derives("host=h user=r password=p dbname=d", "host=h dbname=d user='sync_query'");
	derives(" user = 'a b' password = 'it\\'s user=x' options='-c a=b' ", "options='-c a=b' user='sync_query'");
	derives("user=sync_query password=p", "password=p user='sync_query'");
	derives("password=p user=x user=sync_query", "password=p user='sync_query'");
	derives("password=p dbname=d", "dbname=d user='sync_query'");
	derives("dbname=d replication=database", "dbname=d user='sync_query'");
	derives("mydb", NULL);
	derives("user=", "user='sync_query'");
	/* a last value that is empty or open does not swallow the user */
	derives("dbname=d options=", "dbname=d options='' user='sync_query'");
	derives("dbname=d options = ", "dbname=d options='' user='sync_query'");
	derives("dbname=d options=a\\", "dbname=d options='a' user='sync_query'");
	derives("dbname=d options=a\\\\", "dbname=d options='a\\\\' user='sync_query'");
	derives("password='open", NULL);
	derives("=x", NULL);
	derives("postgres://r:p@h:5432/d?sslmode=require", "postgres://sync_query@h:5432/d?sslmode=require");
	derives("postgresql://h/d", "postgresql://sync_query@h/d");
	derives("postgres://", "postgres://sync_query@");
	derives("postgres:///d?host=/tmp&user=r&password=p&replication=database", "postgres://sync_query@/d?host=/tmp");
	derives("postgres://h/d?us%65r=r&p%61ssword=p&a=b&c=d", "postgres://sync_query@h/d?a=b&c=d");
	derives("postgres://sync_query:p@h/d?password=q", "postgres://sync_query:p@h/d?password=q");
	derives("postgres://sync_query:p@h/d?user=r&password=q", "postgres://sync_query@h/d");
	derives("postgres://r@h1,h2:2/d", "postgres://sync_query@h1,h2:2/d");
	derives("postgres://h/d@x", "postgres://sync_query@h/d@x");
}

int
main(void)
{
	buffer_init(&error);
	defaults_hold();
	later_sources_win();
	file_errors_name_the_line();
	values_are_checked();
	users_are_replaced();
	options_free(&o);
	buffer_free(&error);
	return CHECK_END();
}
