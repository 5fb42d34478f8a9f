/* tls.c - whether a certificate and its key can serve, by OpenSSL, before libwebsockets is told to take them. */
/* SPDX-License-Identifier: PostgreSQL */
#include "tls.h"

#include <stdio.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

bool
tls_is_usable(const char *certificate, const char *key, char *text, size_t size)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	bool	is_good = context != NULL && SSL_CTX_use_certificate_chain_file(context, certificate) == 1 &&
		SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1 && SSL_CTX_check_private_key(context) == 1;
	const char *reason = is_good ? NULL : ERR_reason_error_string(ERR_peek_error());

	if (!is_good)
		snprintf(text, size, "%s", reason != NULL ? reason : "cannot be read");
	SSL_CTX_free(context);
	ERR_clear_error();
	return is_good;
}

long
tls_options(void)
{
	return (long) (SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1);
}
