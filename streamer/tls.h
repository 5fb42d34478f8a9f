/* tls.h - whether a certificate and its key can serve, by OpenSSL, before libwebsockets is told to take them. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_TLS_H
#define SYNC_TLS_H

#include <stdbool.h>
#include <stddef.h>

/* PEM files: the server's certificate with those between it and its root, and its key. false: the reason was put into text. */
bool	tls_is_usable(const char *certificate, const char *key, char *text, size_t size);
long	tls_options(void);		/* for the library: nothing below TLS 1.2 */

#endif
