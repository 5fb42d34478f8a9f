/* plugin.c - reads the list in output_plugin_libraries as the server does, and says what to add. */
/* SPDX-License-Identifier: PostgreSQL */
#include "plugin.h"

#include <ctype.h>
#include <string.h>

#define STANDARD_LIST "pgoutput, test_decoding"

const char *
plugin_name(enum plugin plugin)
{
	static const char *const names[PLUGIN_COUNT] = {"wal2json", "pgoutput"};

	return names[plugin];
}

static bool
is_version_with_setting(int version)
{
	static const int first[] = {140024, 150019, 160015, 170011, 180006};

	for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++)
		if (version / 10000 == first[i] / 10000)
			return version >= first[i];
	return version >= 190000;
}

/* Takes the next name off *list into name (unquoted; bare names in lower case); false at the end. */
static bool
next_name(const char **list, struct buffer *name)
{
	const char *p = *list;

	buffer_reset(name);
	while (isspace((unsigned char) *p) || *p == ',')
		p++;
	if (*p == '\0')
		return false;
	if (*p == '"')
	{
		for (p++; *p != '\0' && (*p != '"' || p[1] == '"'); p++)
		{
			if (*p == '"')
				p++;
			buffer_putc(name, *p);
		}
		*list = *p == '"' ? p + 1 : p;
		return true;
	}
	for (; *p != '\0' && *p != ','; p++)
		buffer_putc(name, (char) tolower((unsigned char) *p));
	while (name->len > 0 && isspace((unsigned char) name->data[name->len - 1]))
		name->data[--name->len] = '\0';
	*list = p;
	return true;
}

static bool
is_plain(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_";

	return name[0] != '\0' && !isdigit((unsigned char) name[0]) && name[strspn(name, letters)] == '\0';
}

static void
add_name(struct buffer *cure, const char *name)
{
	if (cure->len > 0)
		buffer_puts(cure, ", ");
	if (is_plain(name))
	{
		buffer_puts(cure, name);
		return;
	}
	buffer_putc(cure, '\'');
	for (; *name != '\0'; name++)
	{
		if (*name == '\'')
			buffer_putc(cure, '\'');
		buffer_putc(cure, *name);
	}
	buffer_putc(cure, '\'');
}

/* What reading the list came to. */
struct reading
{
	bool	is_listed;
	bool	has_joined;			/* one name that holds a comma: a whole list in one pair of quotes */
	struct buffer names;		/* all names but the plugin's, ready for ALTER SYSTEM */
};

static void
read_list(struct reading *r, const char *list, const char *plugin, bool is_inner)
{
	struct buffer name;

	buffer_init(&name);
	while (next_name(&list, &name) && !name.failed)
	{
		const char *text = name.data != NULL ? name.data : "";

		if (!is_inner && strchr(text, ',') != NULL)
		{
			r->has_joined = true;
			read_list(r, text, plugin, true);	/* what was meant; the server takes none of these */
		}
		else if (strcmp(text, plugin) != 0)
			add_name(&r->names, text);
		else if (!is_inner)
			r->is_listed = true;
	}
	buffer_free(&name);
}

static void
put_cure(struct buffer *text, struct reading *r, const char *setting, const char *plugin)
{
	if (r->has_joined)
		buffer_printf(text, "output_plugin_libraries is %s: a list in one pair of quotes counts as one single odd name, so %s may not be loaded.",
					  setting, plugin);
	else
		buffer_printf(text, "the plugin %s is not listed in output_plugin_libraries (now: %s), so it may not be loaded.",
					  plugin, setting[0] != '\0' ? setting : "empty");
	if (r->names.len == 0)
		buffer_puts(&r->names, STANDARD_LIST);
	add_name(&r->names, plugin);
	buffer_printf(text, " As a superuser run, each name by itself and no quotes around the whole:\n"
				  "ALTER SYSTEM SET output_plugin_libraries = %s;\nSELECT pg_reload_conf();", r->names.data);
}

static enum plugin_verdict
check_list(const char *setting, const char *plugin, struct buffer *text)
{
	struct reading r = {0};

	read_list(&r, setting, plugin, false);
	if (!r.is_listed)
		put_cure(text, &r, setting, plugin);
	buffer_free(&r.names);
	return r.is_listed ? PLUGIN_LISTED : PLUGIN_NOT_LISTED;
}

enum plugin_verdict
plugin_check(int server_version_num, const char *setting, const char *plugin, struct buffer *text)
{
	if (setting != NULL)
		return check_list(setting, plugin, text);
	if (is_version_with_setting(server_version_num))
	{
		buffer_printf(text, "this server version should have the setting output_plugin_libraries but did not show it; if %s is refused, list it there.",
					  plugin);
		return PLUGIN_UNCLEAR;
	}
	buffer_puts(text, "this server version has no setting output_plugin_libraries and needs none; do not put it into postgresql.conf, the server would not start.");
	return PLUGIN_NOT_NEEDED;
}

const char *
plugin_cure(enum plugin plugin, const char *reason)
{
	if (strstr(reason, "output plugin") != NULL)
		return plugin == PLUGIN_WAL2JSON ? "a superuser must add wal2json to output_plugin_libraries: --check shows the statement; or use --plugin pgoutput"
			: "a superuser must add pgoutput to output_plugin_libraries: --check shows the statement";
	if (plugin == PLUGIN_WAL2JSON && strstr(reason, "could not access file") != NULL)
		return "install wal2json on the database's machine (Debian: postgresql-<major>-wal2json), or use --plugin pgoutput";
	if (plugin == PLUGIN_PGOUTPUT && strstr(reason, "publication") != NULL)
		return "a superuser must run SELECT sync.publish() in this database";
	return NULL;
}
