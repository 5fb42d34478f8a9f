/* pem_fuzz.c - any numbers for a public key, and any JWKS file: a key that is taken is one that OpenSSL reads again, of the size promised. */
/* SPDX-License-Identifier: PostgreSQL */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "fuzz.h"
#include "pem.h"

static void
look_at(const struct buffer *pem, int kind)
{
	BIO    *bio = BIO_new_mem_buf(pem->data, (int) pem->len);
	EVP_PKEY *key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);

	REQUIRE(key != NULL && EVP_PKEY_base_id(key) == kind);
	if (kind == EVP_PKEY_RSA)
		REQUIRE(EVP_PKEY_bits(key) >= 2048 && EVP_PKEY_bits(key) <= 8192);
	EVP_PKEY_free(key);
	BIO_free(bio);
}

/* One byte: the kind or curve; one: the second number's length; then that number and the first. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const curves[] = {"P-256", "P-384", "P-521", "secp256k1"};
	struct input in = input_of(data, size);
	unsigned how = input_byte(&in);
	size_t	second_len = input_byte(&in);
	struct buffer first;
	struct buffer second;
	struct buffer pem;

	buffer_init(&first);
	buffer_init(&second);
	buffer_init(&pem);
	if (second_len > input_left(&in))
		second_len = input_left(&in);
	buffer_put(&second, in.at, second_len);
	buffer_put(&first, in.at + second_len, input_left(&in) - second_len);
	if (how % 8 < 4)
	{
		if (pem_of_ec(&pem, curves[how % 8], &first, &second))
		{
			REQUIRE(how % 8 < 3);
			look_at(&pem, EVP_PKEY_EC);
		}
	}
	else if (pem_of_rsa(&pem, &first, &second))
	{
		REQUIRE(second.len >= 1 && second_len <= 8 + 8 && first.len >= 256);
		look_at(&pem, EVP_PKEY_RSA);
	}
	ERR_clear_error();
	buffer_free(&first);
	buffer_free(&second);
	buffer_free(&pem);
	return 0;
}
