/* SPDX-License-Identifier: Apache-2.0
 * src/base/utf8.h - UTF-8 as RFC 3629 has it: no surrogates, no overlong forms, nothing above U+10FFFF. */
#ifndef GEM_BASE_UTF8_H
#define GEM_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* U+FFFD, which stands for a byte that is not UTF-8. */
#define GEM_UTF8_REPLACEMENT "\xef\xbf\xbd"
enum { GEM_UTF8_REPLACEMENT_BYTES = 3 };

/* Reads bytes one at a time. Zero-initialised is between characters. */
struct gem_utf8_reader {
    uint8_t need;   /* bytes that the character still lacks; 0 between characters */
    uint8_t lo, hi; /* range of the next one, when need > 0 */
};

/* False when the byte cannot come here; the reader is then between characters. */
bool gem_utf8_feed(struct gem_utf8_reader *r, uint8_t byte);
bool gem_utf8_valid(const char *s, size_t n);

/* The character at s: its length (1 to 4) and code point, or 0 when the n bytes do not begin with one. */
size_t gem_utf8_decode(const char *s, size_t n, uint32_t *cp);
/* The same for the last character of n bytes that are valid and not empty. */
uint32_t gem_utf8_last(const char *s, size_t n);

#endif
