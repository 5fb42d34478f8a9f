/* options.c - one table drives reading, help and the list of limits. */
/* SPDX-License-Identifier: PostgreSQL */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "option_value.h"

enum type { TEXT, LIST, ADDRESS, PLUGIN, LEVEL, COUNT, SECONDS, SIZE, SWITCH, ON_OFF };

struct option
{
	const char *name;		/* flag without --; file key; environment SYNC_NAME */
	enum type type;
	size_t	offset;			/* into struct options */
	const char *value;		/* default, read like any other; NULL: a switch */
	int64_t least;
	int64_t most;
	const char *help;
};

#define AT(member) offsetof(struct options, member)
#define KIB INT64_C(1024)
#define MIB (INT64_C(1) << 20)
#define GIB (INT64_C(1) << 30)

static const struct option table[] = {
	{"config", TEXT, AT(config), "", 0, 0, "file with lines name = value"},
	{"database", TEXT, AT(database), "", 0, 0, "connection string of the role with REPLICATION"},
	{"query-database", TEXT, AT(query_database), "", 0, 0, "for clients' requests; default: --database as sync_query"},
	{"upkeep-database", TEXT, AT(upkeep_database), "", 0, 0, "for the streamer's own; default: --database as sync_upkeep"},
	{"listen", ADDRESS, 0, "127.0.0.1:4000", 0, 0, "HOST:PORT, [IPv6]:PORT or PORT"},
	{"jwt-secret-file", TEXT, AT(jwt_secret_file), "", 0, 0, "file with the secret of HS256 tokens, 32 bytes or more"},
	{"jwks-file", TEXT, AT(jwks_file), "", 0, 0, "file with keys of RS256, ES256 and HS256 tokens; read again when it changes"},
	{"jwt-issuer", TEXT, AT(jwt_issuer), "", 0, 0, "what tokens must have as iss; empty: anything"},
	{"jwt-audience", TEXT, AT(jwt_audience), "", 0, 0, "what tokens must have as, or among, aud; empty: anything"},
	{"allow-origin", LIST, AT(allow_origin), "", 0, 0, "web origins let in, comma list; * any; empty: same host"},
	{"public-topics", ON_OFF, AT(public_topics), "off", 0, 0, "on: broadcast and presence in topics that nobody declared; off: only private ones"},
	{"default-role", TEXT, AT(default_role), "", 0, 0, "database role of tokens without a role; empty: refuse them"},
	{"plugin", PLUGIN, AT(plugin), "wal2json", 0, 0, "wal2json or pgoutput: what decodes the WAL"},
	{"demo", TEXT, AT(demo), "", 0, 0, "directory served at /demo/"},
	{"log-level", LEVEL, AT(log_level), "info", 0, 0, "error, warning, info or debug"},
	{"query-connections", COUNT, AT(query_connections), "4", 1, 1000, "connections for clients' requests"},
	{"max-clients", COUNT, AT(max_clients), "10000", 1, 1000000, "connected clients"},
	{"max-joins", COUNT, AT(max_joins), "50", 1, 10000, "joined channels of one client"},
	{"max-frame", SIZE, AT(max_frame), "65536", 1024, 64 * MIB, "one frame of a client"},
	{"max-push", SIZE, AT(max_push), "1M", 1024, 256 * MIB, "one push of a client"},
	{"max-broadcast", SIZE, AT(max_broadcast), "65536", 1024, 256 * KIB, "payload of one broadcast"},
	{"max-body", SIZE, AT(max_body), "16M", 1024, 256 * MIB, "body of one HTTP request"},
	{"max-queue", SIZE, AT(max_queue), "1M", 65536, GIB, "unsent data of one client before it must pull"},
	{"ring-size", SIZE, AT(ring_size), "64M", MIB, 64 * GIB, "memory for recent changes"},
	{"auth-timeout", SECONDS, AT(auth_timeout_s), "10", 1, 3600, "seconds until a client must have joined"},
	{"ping-interval", SECONDS, AT(ping_interval_s), "30", 1, 3600, "seconds between pings"},
	{"verify-interval", SECONDS, AT(verify_interval_s), "30", 1, 3600, "seconds between comparisons of verified tables"},
	{"max-messages-per-second", COUNT, AT(max_messages_per_second), "50", 1, 100000, "messages of one client"},
	{"max-clients-per-address", COUNT, AT(max_clients_per_address), "1000", 0, 1000000, "connected clients of one address; 0: any number"},
	{"max-clients-per-user", COUNT, AT(max_clients_per_user), "100", 0, 1000000, "connected clients of one user; 0: any number"},
	{"max-joins-per-second", COUNT, AT(max_joins_per_second), "25", 0, 100000, "joins of one client; 0: any number"},
	{"max-requests-per-second", COUNT, AT(max_requests_per_second), "100", 0, 100000, "HTTP requests of one user; 0: any number"},
	{"compress", SWITCH, AT(compress), NULL, 0, 0, "gzip answers over HTTP for clients that take it"},
	{"tls-cert", TEXT, AT(tls_cert), "", 0, 0, "file with the certificate chain, PEM; empty: no TLS; read again when it changes"},
	{"tls-key", TEXT, AT(tls_key), "", 0, 0, "file with its key, PEM"},
	{"trusted-proxies", LIST, AT(trusted_proxies), "", 0, 0, "addresses and networks whose --proxy-header is believed"},
	{"proxy-header", TEXT, AT(proxy_header), "x-forwarded-for", 0, 0, "where they tell the client's address: that or forwarded"},
	{"upkeep-interval", SECONDS, AT(upkeep_interval_s), "3600", 0, 604800, "seconds between purges; 0: this streamer does no upkeep"},
	{"purge-keep", COUNT, AT(purge_keep_days), "30", 0, 36500, "days that deletions and verdicts are kept: how long a device may stay away"},
	{"purge-keep-log", COUNT, AT(purge_keep_log_days), "365", 0, 36500, "days that history, activity, the sync log and unused devices are kept"},
	{"log-pulls", ON_OFF, AT(log_pulls), "on", 0, 0, "on: pulls that brought something are written to the sync log"},
	{"metrics-token-file", TEXT, AT(metrics_token_file), "", 0, 0, "file with the token for /metrics and the live page; empty: they are shown to this machine only"},
	{"live-page", ON_OFF, AT(live_page), "on", 0, 0, "on: the live page is served at /"},
	{"check", SWITCH, AT(check), NULL, 0, 0, "try the settings and the database, then exit"},
	{"help", SWITCH, AT(help), NULL, 0, 0, "print this, then exit"},
	{"version", SWITCH, AT(version), NULL, 0, 0, "print the version, then exit"},
};

#define TABLE_SIZE (sizeof(table) / sizeof(table[0]))

/* One source of settings on its way through the table. */
struct source
{
	struct options *options;
	struct buffer *error;
	const char *where;				/* "--", or "" with the file's name before */
	bool	is_set[TABLE_SIZE];		/* by this source: a list then adds up */
};

static void *
place(struct options *o, const struct option *d)
{
	return (char *) o + d->offset;
}

/* name is letters up to len; '_' counts as '-'. */
static const struct option *
find_option(const char *name, size_t len)
{
	for (size_t i = 0; i < TABLE_SIZE; i++)
	{
		size_t	k = 0;

		while (k < len && table[i].name[k] != '\0' && (name[k] == '_' ? '-' : name[k]) == table[i].name[k])
			k++;
		if (k == len && table[i].name[k] == '\0')
			return &table[i];
	}
	return NULL;
}

static bool
unknown_option(struct source *s, const char *name, size_t len)
{
	const char *nearest = NULL;
	size_t	least = 4;

	for (size_t i = 0; i < TABLE_SIZE; i++)
	{
		size_t	d = option_distance(name, len, table[i].name);

		if (d < least)
		{
			least = d;
			nearest = table[i].name;
		}
	}
	buffer_printf(s->error, "%s%.*s is unknown", s->where, (int) (len < 80 ? len : 80), name);
	if (nearest != NULL)
		buffer_printf(s->error, ", did you mean %s?", nearest);
	else
		buffer_puts(s->error, ", see --help");
	return false;
}

static enum option_unit
unit_of(const struct option *d)
{
	if (d->type == SIZE)
		return UNIT_BYTES;
	return d->type == SECONDS ? UNIT_SECONDS : UNIT_NONE;
}

static bool
read_value(struct source *s, const struct option *d, const char *value)
{
	void   *dst = place(s->options, d);
	bool	again = s->is_set[d - table];
	int64_t number;

	s->is_set[d - table] = true;
	switch (d->type)
	{
		case TEXT:
			return option_set_text(dst, value, strlen(value));
		case LIST:
			return again ? option_add_text(dst, value) : option_set_text(dst, value, strlen(value));
		case ADDRESS:
			return option_read_address(s->options, value);
		case PLUGIN:
			return option_read_plugin(dst, value);
		case LEVEL:
			return option_read_level(dst, value);
		case SWITCH:
		case ON_OFF:
			return option_read_switch(dst, value);
		default:
			if (!option_read_number(unit_of(d), value, &number) || number < d->least || number > d->most)
				return false;
			if (d->type == SIZE)
				*(size_t *) dst = (size_t) number;
			else
				*(int *) dst = (int) number;
			return true;
	}
}

static bool
set_option(struct source *s, const struct option *d, const char *value)
{
	if (read_value(s, d, value))
		return true;
	buffer_printf(s->error, "%s%s takes ", s->where, d->name);
	if (d->type == COUNT || d->type == SECONDS)
		buffer_printf(s->error, "a whole number%s from %lld to %lld", d->type == SECONDS ? " of seconds" : "",
					  (long long) d->least, (long long) d->most);
	else if (d->type == SIZE)
		buffer_printf(s->error, "a size in bytes (k, M, G allowed) from %lld to %lld", (long long) d->least, (long long) d->most);
	else
		buffer_puts(s->error, d->type == SWITCH ? "true or false" : d->type == ON_OFF ? "on or off" : d->help);
	buffer_printf(s->error, ", not \"%.100s\"", value);
	return false;
}

static bool
read_flag(struct source *s, char *const *argv, int argc, int *i)
{
	const char *name = strncmp(argv[*i], "--", 2) == 0 ? argv[*i] + 2 : "";
	size_t	len = strcspn(name, "=");
	const struct option *d;

	if (len == 0)
	{
		buffer_printf(s->error, "unexpected argument \"%.80s\": options are written --name value, see --help", argv[*i]);
		return false;
	}
	d = find_option(name, len);
	if (d == NULL)
		return unknown_option(s, name, len);
	if (name[len] == '=')
		return set_option(s, d, name + len + 1);
	if (d->type == SWITCH)
		return set_option(s, d, "true");
	if (*i + 1 >= argc)
	{
		buffer_printf(s->error, "--%s needs a value: %s", d->name, d->help);
		return false;
	}
	return set_option(s, d, argv[++*i]);
}

static bool
read_flags(struct options *o, int argc, char *const *argv, struct buffer *error)
{
	struct source s = {.options = o, .error = error, .where = "--"};

	for (int i = 1; i < argc; i++)
		if (!read_flag(&s, argv, argc, &i))
			return false;
	return true;
}

static bool
read_environment(struct options *o, char *const *environment, struct buffer *error)
{
	struct source s = {.options = o, .error = error, .where = "environment: --"};

	for (; environment != NULL && *environment != NULL; environment++)
	{
		const char *name = strncmp(*environment, "SYNC_", 5) == 0 ? *environment + 5 : "";
		size_t	len = strcspn(name, "=");
		char	lower[64] = {0};
		const struct option *d;

		if (name[len] != '=' || len >= sizeof(lower))
			continue;
		for (size_t i = 0; i < len; i++)
			lower[i] = (char) tolower((unsigned char) name[i]);
		d = find_option(lower, len);
		if (d != NULL && !set_option(&s, d, name + len + 1))
			return false;
	}
	return true;
}

/* line is NUL-terminated and may be cut. */
static bool
read_line(struct source *s, char *line)
{
	char   *end = line + strlen(line);
	char   *value;
	size_t	len;
	const struct option *d;

	while (end > line && isspace((unsigned char) end[-1]))
		*--end = '\0';
	line += strspn(line, " \t");
	if (*line == '\0' || *line == '#')
		return true;
	len = strcspn(line, " \t=");
	value = line + len + strspn(line + len, " \t");
	if (*value != '=')
	{
		buffer_printf(s->error, "%snot of the form name = value: \"%.80s\"", s->where, line);
		return false;
	}
	d = find_option(line, len);
	if (d == NULL)
		return unknown_option(s, line, len);
	if (strcmp(d->name, "config") == 0)
	{
		buffer_printf(s->error, "%sconfig cannot be set in the file itself", s->where);
		return false;
	}
	value++;
	return set_option(s, d, value + strspn(value, " \t"));
}

static bool
read_file(struct options *o, const char *path, struct buffer *error)
{
	struct source s = {.options = o, .error = error};
	struct buffer where;
	FILE   *file = fopen(path, "r");
	char   *line = NULL;
	size_t	size = 0;
	bool	ok = true;

	if (file == NULL)
	{
		buffer_printf(error, "--config: cannot open %s: %s", path, strerror(errno));
		return false;
	}
	buffer_init(&where);
	for (int number = 1; ok && getline(&line, &size, file) >= 0; number++)
	{
		buffer_reset(&where);
		buffer_printf(&where, "%s:%d: ", path, number);
		s.where = where.failed ? "" : where.data;
		ok = read_line(&s, line);
	}
	if (ok && ferror(file))
	{
		buffer_printf(error, "--config: cannot read %s", path);
		ok = false;
	}
	fclose(file);
	free(line);
	buffer_free(&where);
	return ok;
}

static bool
set_defaults(struct options *o, struct buffer *error)
{
	struct source s = {.options = o, .error = error, .where = "default: --"};

	*o = (struct options) {0};
	for (size_t i = 0; i < TABLE_SIZE; i++)
		if (table[i].value != NULL && !set_option(&s, &table[i], table[i].value))
			return false;
	return true;
}

static bool
derive(char **dst, const char *database, const char *user, struct buffer *error)
{
	struct buffer text;

	if ((*dst)[0] != '\0')
		return true;
	buffer_init(&text);
	if (options_derive(database, user, &text))
	{
		free(*dst);
		*dst = buffer_take(&text, NULL);
		return *dst != NULL;
	}
	buffer_free(&text);
	buffer_puts(error, "--database takes a connection string: key=value words or a postgres:// URI");
	return false;
}

static bool
complete(struct options *o, struct buffer *error)
{
	if (o->database[0] == '\0')
	{
		buffer_puts(error, "--database is required: the connection string of the role with REPLICATION");
		return false;
	}
	if (o->jwt_secret_file[0] == '\0' && o->jwks_file[0] == '\0')
	{
		buffer_puts(error, "--jwt-secret-file or --jwks-file is required: the file with the secret that tokens are signed with, or the keys");
		return false;
	}
	if ((o->tls_cert[0] == '\0') != (o->tls_key[0] == '\0'))
	{
		buffer_puts(error, "--tls-cert and --tls-key are given together or not at all");
		return false;
	}
	return derive(&o->query_database, o->database, "sync_query", error) &&
		derive(&o->upkeep_database, o->database, "sync_upkeep", error);
}

bool
options_read(struct options *o, int argc, char *const *argv, char *const *environment, struct buffer *error)
{
	char   *path;
	bool	ok;

	/* A first pass over environment and flags finds the file, and whether only help is wanted. */
	if (!set_defaults(o, error) || !read_environment(o, environment, error) || !read_flags(o, argc, argv, error))
		return false;
	if (o->help || o->version)
		return true;
	path = memory_string(o->config);
	options_free(o);
	ok = set_defaults(o, error) && (path[0] == '\0' || read_file(o, path, error)) &&
		read_environment(o, environment, error) && read_flags(o, argc, argv, error) && complete(o, error);
	free(path);
	return ok;
}

void
options_free(struct options *o)
{
	for (size_t i = 0; i < TABLE_SIZE; i++)
		if (table[i].type == TEXT || table[i].type == LIST)
			free(*(char **) place(o, &table[i]));
	free(o->listen_host);
	*o = (struct options) {0};
}

void
options_help(struct buffer *out)
{
	buffer_puts(out, "Usage: sync-streamer --database CONNINFO --jwt-secret-file FILE | --jwks-file FILE [--name value ...]\n\n");
	for (size_t i = 0; i < TABLE_SIZE; i++)
	{
		buffer_printf(out, "  --%-26s %s", table[i].name, table[i].help);
		if (table[i].value != NULL && table[i].value[0] != '\0')
			buffer_printf(out, " (%s)", table[i].value);
		buffer_putc(out, '\n');
	}
	buffer_puts(out, "\nEach is also read from the environment (SYNC_MAX_CLIENTS for --max-clients) and from the --config file\n"
				"(max-clients = 100). Flags win over the environment, the environment over the file.\n");
}

void
options_limits(const struct options *o, struct buffer *out)
{
	const char *separator = "";

	for (size_t i = 0; i < TABLE_SIZE; i++)
	{
		const struct option *d = &table[i];
		const void *src = (const char *) o + d->offset;

		if (d->type != COUNT && d->type != SECONDS && d->type != SIZE)
			continue;
		buffer_printf(out, "%s%s=", separator, d->name);
		if (d->type == SIZE)
			buffer_printf(out, "%zu", *(const size_t *) src);
		else
			buffer_printf(out, "%d", *(const int *) src);
		separator = " ";
	}
}
