/* plugin.h - the two decoding plugins; whether the server lets a logical decoding plugin be loaded, and how to cure it if not. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_PLUGIN_H
#define SYNC_PLUGIN_H

#include "buffer.h"

enum plugin
{
	PLUGIN_WAL2JSON,
	PLUGIN_PGOUTPUT,
};

#define PLUGIN_COUNT 2
#define PLUGIN_PUBLICATIONS "\"sync\", \"sync_inserts\""	/* what pgoutput reads; the extension keeps them */

const char *plugin_name(enum plugin plugin);

/* From the minor releases of August 2026 on (14.24, 15.19, 16.15, 17.11, 18.6) a plugin must be listed in the setting
 * output_plugin_libraries; older ones do not know the setting, and do not start with it in postgresql.conf. */
enum plugin_verdict
{
	PLUGIN_LISTED,
	PLUGIN_NOT_LISTED,
	PLUGIN_NOT_NEEDED,		/* the server does not know the setting and need not */
	PLUGIN_UNCLEAR			/* the server should know the setting but did not show it: just try */
};

/* setting is what the server answers to current_setting('output_plugin_libraries', true), NULL if it does not know it. Appends the
 * diagnosis to text: one sentence, then for PLUGIN_NOT_LISTED the exact cure; nothing for PLUGIN_LISTED. */
enum plugin_verdict plugin_check(int server_version_num, const char *setting, const char *plugin, struct buffer *text);

/* What the server said when the plugin could not be used: how to cure it, one sentence; NULL: it was about something else. */
const char *plugin_cure(enum plugin plugin, const char *reason);

#endif
