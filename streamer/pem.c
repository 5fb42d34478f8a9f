/* pem.c - public keys from their numbers to PEM, by OpenSSL: libjwt takes nothing else. */
/* SPDX-License-Identifier: PostgreSQL */
#include "pem.h"

#include <string.h>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192
#define EXPONENT_MAX 8		/* bytes */
#define COORDINATE_MAX 66

static bool
put_pem(struct buffer *out, EVP_PKEY *key)
{
	BIO    *bio = BIO_new(BIO_s_mem());
	char   *text;
	long	len;
	bool	is_good = bio != NULL && PEM_write_bio_PUBKEY(bio, key) == 1 && (len = BIO_get_mem_data(bio, &text)) > 0;

	if (is_good)
		buffer_put(out, text, (size_t) len);
	BIO_free(bio);
	return is_good && !out->failed;
}

/* OpenSSL looks whether an EC point lies on its curve. */
static bool
put_key(struct buffer *out, const char *type, OSSL_PARAM_BLD *parts)
{
	OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(parts);
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *key = NULL;
	bool	is_good = parameters != NULL && context != NULL && EVP_PKEY_fromdata_init(context) == 1 &&
		EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, parameters) == 1 && put_pem(out, key);

	EVP_PKEY_free(key);
	EVP_PKEY_CTX_free(context);
	OSSL_PARAM_free(parameters);
	ERR_clear_error();
	return is_good;
}

bool
pem_of_rsa(struct buffer *out, const struct buffer *modulus, const struct buffer *exponent)
{
	OSSL_PARAM_BLD *parts;
	BIGNUM *n;
	BIGNUM *e;
	bool	is_good;

	if (exponent->len > EXPONENT_MAX || modulus->len > RSA_BITS_MAX / 8 + 1)
		return false;
	parts = OSSL_PARAM_BLD_new();
	n = BN_bin2bn((const unsigned char *) modulus->data, (int) modulus->len, NULL);
	e = BN_bin2bn((const unsigned char *) exponent->data, (int) exponent->len, NULL);
	is_good = parts != NULL && n != NULL && e != NULL && BN_num_bits(n) >= RSA_BITS_MIN && BN_num_bits(n) <= RSA_BITS_MAX && BN_is_odd(n) &&
		BN_is_odd(e) && !BN_is_one(e) && OSSL_PARAM_BLD_push_BN(parts, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
		OSSL_PARAM_BLD_push_BN(parts, OSSL_PKEY_PARAM_RSA_E, e) == 1 && put_key(out, "RSA", parts);
	BN_free(n);
	BN_free(e);
	OSSL_PARAM_BLD_free(parts);
	return is_good;
}

bool
pem_of_ec(struct buffer *out, const char *curve, const struct buffer *x, const struct buffer *y)
{
	static const struct { const char *name; const char *group; size_t bytes; } curves[] = {
		{"P-256", "prime256v1", 32}, {"P-384", "secp384r1", 48}, {"P-521", "secp521r1", 66},
	};
	unsigned char point[1 + 2 * COORDINATE_MAX] = {4};		/* uncompressed */
	OSSL_PARAM_BLD *parts;
	bool	is_good = false;

	for (size_t i = 0; i < sizeof(curves) / sizeof(curves[0]); i++)
	{
		size_t	bytes = curves[i].bytes;

		if (strcmp(curves[i].name, curve) != 0 || x->len != bytes || y->len != bytes)
			continue;
		memcpy(point + 1, x->data, bytes);
		memcpy(point + 1 + bytes, y->data, bytes);
		parts = OSSL_PARAM_BLD_new();
		is_good = parts != NULL && OSSL_PARAM_BLD_push_utf8_string(parts, OSSL_PKEY_PARAM_GROUP_NAME, curves[i].group, 0) == 1 &&
			OSSL_PARAM_BLD_push_octet_string(parts, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * bytes) == 1 && put_key(out, "EC", parts);
		OSSL_PARAM_BLD_free(parts);
	}
	return is_good;
}
