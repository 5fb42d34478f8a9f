/* address_test.c - a client behind trusted proxies is told by them; what strangers write into the same headers does not count. */
/* SPDX-License-Identifier: PostgreSQL */
#include "address.h"
#include "check.h"

static struct networks *trusted;

static void
plain(const char *peer, const char *forwarded, const char *wanted)
{
	char	client[ADDRESS_MAX];

	address_of_client(trusted, peer, forwarded, false, client);
	CHECK_TEXT(client, wanted);
}

static void
rfc(const char *peer, const char *forwarded, const char *wanted)
{
	char	client[ADDRESS_MAX];

	address_of_client(trusted, peer, forwarded, true, client);
	CHECK_TEXT(client, wanted);
}

static void
strangers_are_where_they_come_from(void)
{
	plain("192.0.2.7", "", "192.0.2.7");
	plain("192.0.2.7", "198.51.100.1", "192.0.2.7");
	plain("::ffff:192.0.2.7", "198.51.100.1", "192.0.2.7");
	plain("2001:db8:1:2:3:4:5:6", "", "2001:db8:1:2::");
	plain("", "198.51.100.1", "unknown");
	rfc("192.0.2.7", "for=198.51.100.1", "192.0.2.7");
}

static void
proxies_tell_whom_they_serve(void)
{
	plain("10.1.2.3", "", "10.1.2.3");
	plain("10.1.2.3", "198.51.100.1", "198.51.100.1");
	plain("10.1.2.3", "6.6.6.6, 198.51.100.1", "198.51.100.1");
	plain("10.1.2.3", "6.6.6.6, 198.51.100.1 ,10.0.0.9", "198.51.100.1");
	plain("10.1.2.3", "10.0.0.8, 10.0.0.9", "10.0.0.8");
	plain("fd00::1", "2001:db8:9:9::1, 10.0.0.9", "2001:db8:9:9::");
	plain("::ffff:10.1.2.3", "[2001:db8:9:9::1]:4711", "2001:db8:9:9::");
	plain("127.0.0.1", "198.51.100.1:80", "198.51.100.1");
	plain("127.0.0.2", "198.51.100.1", "127.0.0.2");
	rfc("10.1.2.3", "for=6.6.6.6, for=198.51.100.1;proto=https;by=10.0.0.1", "198.51.100.1");
	rfc("10.1.2.3", "proto=http; For=\"[2001:db8:9:9::1]:4711\"", "2001:db8:9:9::");
	rfc("10.1.2.3", "for=\"198.51.100.1:99\", for=10.0.0.9", "198.51.100.1");
}

/* What cannot be read ends the search at the last address that could. */
static void
nonsense_counts_for_nothing(void)
{
	static const char *const texts[] = {"unknown", "_hidden", ",", "999.1.1.1", "1.2.3", "[::1", "[]", ":", "'", "1.2.3.4.5", "::1::2", "198.51.100.1/8"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
	{
		plain("10.1.2.3", texts[i], "10.1.2.3");
		rfc("10.1.2.3", texts[i], "10.1.2.3");
	}
	plain("10.1.2.3", "6.6.6.6, nobody, 10.0.0.9", "10.0.0.9");
	rfc("10.1.2.3", "for=unknown", "10.1.2.3");
	rfc("10.1.2.3", "for=", "10.1.2.3");
	rfc("10.1.2.3", "by=6.6.6.6", "10.1.2.3");
	rfc("10.1.2.3", "for=\"", "10.1.2.3");
	plain("10.1.2.3", "for=6.6.6.6", "10.1.2.3");
}

static void
lists_of_networks(void)
{
	static const char *const wrong[] = {"10.0.0.0/33", "::/129", "10.0.0/8", "proxy.example", "10.0.0.0/", "/8", "10.0.0.0/8/8", "10.0.0.0/-1", "10.0.0.1 10.0.0.2"};
	const char *bad = NULL;
	size_t	len = 0;
	struct networks *n = networks_read(" , 0.0.0.0/0,::1 ", &bad, &len);

	CHECK(n != NULL && networks_have(n, "8.8.8.8") && networks_have(n, "::1") && !networks_have(n, "::2") && !networks_have(n, "nobody"));
	networks_free(n);
	n = networks_read("", &bad, &len);
	CHECK(n != NULL && !networks_have(n, "127.0.0.1"));
	networks_free(n);
	n = networks_read("10.128.0.0/9, 2001:db8::/33, ::ffff:7.0.0.0/104", &bad, &len);
	CHECK(n != NULL && networks_have(n, "10.200.0.1") && !networks_have(n, "10.127.0.1") && networks_have(n, "2001:db8:7fff::") && !networks_have(n, "2001:db8:8000::"));
	CHECK(n != NULL && networks_have(n, "7.9.9.9") && !networks_have(n, "8.9.9.9"));
	networks_free(n);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CHECK(networks_read(wrong[i], &bad, &len) == NULL && len > 0);
}

int
main(void)
{
	const char *bad;
	size_t	len;

	trusted = networks_read("10.0.0.0/8, 127.0.0.1,fd00::/8", &bad, &len);
	if (CHECK(trusted != NULL))
	{
		strangers_are_where_they_come_from();
		proxies_tell_whom_they_serve();
		nonsense_counts_for_nothing();
	}
	lists_of_networks();
	networks_free(trusted);
	return CHECK_END();
}
