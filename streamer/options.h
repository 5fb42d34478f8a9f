/* options.h - one table of settings: flag, environment variable, file key, default, help. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_OPTIONS_H
#define SYNC_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "buffer.h"

struct options
{
	char   *config;
	char   *database;			/* conninfo of the replication role */
	char   *query_database;		/* derived from database when not given, see options_derive */
	char   *upkeep_database;
	char   *listen_host;		/* from --listen HOST:PORT, [v6]:PORT or PORT (then 127.0.0.1); without brackets */
	int		listen_port;
	char   *jwt_secret_file;	/* this or jwks_file is given */
	char   *jwks_file;
	char   *jwt_issuer;			/* "" = not looked at */
	char   *jwt_audience;
	char   *allow_origin;		/* comma list; "" = same host only; "*" = any */
	char   *default_role;		/* "" = a token must name its role */
	bool	public_topics;
	char   *demo;				/* directory served at /demo/, "" = off */
	int		plugin;				/* enum plugin */
	int		log_level;			/* enum log_level */
	int		query_connections;
	int		max_clients;
	int		max_joins;
	size_t	max_frame;
	size_t	max_push;
	size_t	max_broadcast;
	size_t	max_body;
	size_t	max_queue;
	size_t	ring_size;
	int		auth_timeout_s;
	int		ping_interval_s;
	int		verify_interval_s;
	int		max_messages_per_second;
	int		max_clients_per_address;	/* 0: no limit, like the next three */
	int		max_clients_per_user;
	int		max_joins_per_second;
	int		max_requests_per_second;
	bool	compress;			/* answers over HTTP */
	char   *tls_cert;			/* "" = plain HTTP */
	char   *tls_key;
	char   *trusted_proxies;	/* comma list of networks */
	char   *proxy_header;
	int		upkeep_interval_s;
	int		purge_keep_days;
	int		purge_keep_log_days;
	bool	log_pulls;
	bool	live_page;
	char   *metrics_token_file;	/* "": metrics and the live page are shown to this machine only */
	bool	check;
	bool	help;
	bool	version;
};

/* Defaults, then file (--config or SYNC_CONFIG), then environment (SYNC_…, a list of NAME=value), then flags: later wins. Flags are
 * --name=value or --name value; the file has lines `name = value` and comments after #. Within one source --allow-origin may be
 * repeated and adds up. Sizes take k, M, G (1024); seconds are plain numbers, or end in s. An unknown SYNC_ variable is let be, an
 * unknown flag or key is not. No string is NULL afterwards. argv[0] is skipped; environment may be NULL.
 * false: *error holds one sentence naming the option and what it takes; o is to be freed all the same.
 * With help or version nothing else is read. Else database, and jwt_secret_file or jwks_file, must be given. */
bool	options_read(struct options *o, int argc, char *const *argv, char *const *environment, struct buffer *error) __attribute__((warn_unused_result));
void	options_free(struct options *o);
void	options_help(struct buffer *out);			/* generated from the table */
void	options_limits(const struct options *o, struct buffer *out);	/* key=value of every limit, printed at start */

/* Appends conninfo (key=value words or a postgres:// URI) with its user replaced. The password goes unless the user stays the same,
 * `replication` always; all else is kept. false: conninfo is malformed (nothing is appended). In conninfo.c. */
bool	options_derive(const char *conninfo, const char *user, struct buffer *out) __attribute__((warn_unused_result));

#endif
