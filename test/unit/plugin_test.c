/* plugin_test.c - old servers need no setting, new ones get the exact statement that lets the plugin in. */
/* SPDX-License-Identifier: PostgreSQL */
#include "check.h"
#include "plugin.h"

static void
expect(int version, const char *setting, enum plugin_verdict verdict, const char *in_text)
{
	struct buffer b;

	buffer_init(&b);
	buffer_puts(&b, "");
	CHECK(plugin_check(version, setting, "wal2json", &b) == verdict);
	if (!CHECK(in_text != NULL ? strstr(b.data, in_text) != NULL : b.len == 0))
		fprintf(stderr, "    %d %s: %s\n", version, setting, b.data);
	buffer_free(&b);
}

#define CURE "ALTER SYSTEM SET output_plugin_libraries = pgoutput, test_decoding, wal2json;\nSELECT pg_reload_conf();"

int
main(void)
{
	static const int old[] = {130022, 140023, 150018, 160014, 170010, 180005, 140000};
	static const int new[] = {140024, 150019, 160015, 170011, 180006, 180007, 190000, 200001};

	for (size_t i = 0; i < sizeof(old) / sizeof(old[0]); i++)
		expect(old[i], NULL, PLUGIN_NOT_NEEDED, "do not put it into postgresql.conf");
	for (size_t i = 0; i < sizeof(new) / sizeof(new[0]); i++)
	{
		expect(new[i], NULL, PLUGIN_UNCLEAR, "output_plugin_libraries");
		expect(new[i], "pgoutput, test_decoding", PLUGIN_NOT_LISTED, CURE);
		expect(new[i], "pgoutput, test_decoding, wal2json", PLUGIN_LISTED, NULL);
	}
	/* a distributor may have carried the setting back */
	expect(150018, "pgoutput", PLUGIN_NOT_LISTED, "= pgoutput, wal2json;");
	expect(180006, "", PLUGIN_NOT_LISTED, CURE);
	expect(180006, " ,  , ", PLUGIN_NOT_LISTED, CURE);
	expect(180006, "wal2json", PLUGIN_LISTED, NULL);
	expect(180006, " pgoutput ,WAL2JSON ", PLUGIN_LISTED, NULL);
	expect(180006, "\"wal2json\"", PLUGIN_LISTED, NULL);
	expect(180006, "\"WAL2JSON\", pgoutput", PLUGIN_NOT_LISTED, "= 'WAL2JSON', pgoutput, wal2json;");
	expect(180006, "\"pgoutput, test_decoding, wal2json\"", PLUGIN_NOT_LISTED, CURE);
	expect(180006, "\"pgoutput, test_decoding, wal2json\"", PLUGIN_NOT_LISTED, "one pair of quotes");
	expect(180006, "\"pgoutput,wal2json\", wal2json", PLUGIN_LISTED, NULL);
	expect(180006, "wal2json2, xwal2json", PLUGIN_NOT_LISTED, "not listed");
	expect(180006, "\"my \"\"o'lib\"", PLUGIN_NOT_LISTED, "= 'my \"o''lib', wal2json;");
	expect(180006, "\"unclosed", PLUGIN_NOT_LISTED, "= unclosed, wal2json;");
	expect(180006, "\"", PLUGIN_NOT_LISTED, "wal2json;");
	return CHECK_END();
}
