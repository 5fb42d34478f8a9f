/* pem.h - public keys from their numbers to PEM, by OpenSSL: libjwt takes nothing else. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_PEM_H
#define SYNC_PEM_H

#include <stdbool.h>

#include "buffer.h"

/* Numbers are big-endian. Append the PEM; false if that is no sound key: RSA of 2048 to 8192 bits with an odd exponent of at most 8 bytes,
 * EC a point on P-256, P-384 or P-521 in coordinates of full length. */
bool	pem_of_rsa(struct buffer *out, const struct buffer *modulus, const struct buffer *exponent) __attribute__((warn_unused_result));
bool	pem_of_ec(struct buffer *out, const char *curve, const struct buffer *x, const struct buffer *y) __attribute__((warn_unused_result));

#endif
