/* buffer.h - a growing byte buffer whose first failure sticks, so writers need one check at the end. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_BUFFER_H
#define SYNC_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer
{
	char   *data;		/* owned; NUL-terminated after every put; NULL before the first */
	size_t	len;		/* without the NUL */
	size_t	cap;
	bool	failed;		/* over BUFFER_MAX: all later puts do nothing */
};

#define BUFFER_MAX ((size_t) 1 << 30)

void	buffer_init(struct buffer *b);
void	buffer_free(struct buffer *b);		/* ready for use again afterwards */
void	buffer_reset(struct buffer *b);		/* len = 0, failed = false, keeps the memory */
bool	buffer_reserve(struct buffer *b, size_t extra);		/* room for extra more bytes; on false failed is set */
void	buffer_put(struct buffer *b, const void *data, size_t len);
void	buffer_puts(struct buffer *b, const char *text);
void	buffer_putc(struct buffer *b, char c);
void	buffer_printf(struct buffer *b, const char *format,...) __attribute__((format(printf, 2, 3)));

/* Puts text as a JSON string, quotes included. Escaped are `"` and `\`, \b \f \n \r \t by letter, other characters below
 * 0x20 as \u00xx in lower case; all else goes raw (text must be UTF-8). The extension escapes alike: pull and stream agree to the byte. */
void	buffer_json_string(struct buffer *b, const char *text, size_t len);
void	buffer_json_escaped(struct buffer *b, const char *text, size_t len);	/* the same without the quotes */

/* Base64 with padding; base64url without. */
void	buffer_base64(struct buffer *b, const uint8_t *data, size_t len);
void	buffer_base64url(struct buffer *b, const uint8_t *data, size_t len);

/* Appends the decoded bytes; false if text is not base64url in its one canonical spelling: no padding, no spaces,
 * unused bits zero (nothing is appended then). */
bool	buffer_unbase64url(struct buffer *b, const char *text, size_t len) __attribute__((warn_unused_result));

/* Gives the memory away (caller frees; NUL-terminated, never NULL for an empty buffer); NULL if failed. b is empty afterwards.
 * len may be NULL. */
char   *buffer_take(struct buffer *b, size_t *len);

#endif
