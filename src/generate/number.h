/* SPDX-License-Identifier: Apache-2.0
 * src/generate/number.h - decimal numbers as JSON writes them, exactly. */
#ifndef GEM_GENERATE_NUMBER_H
#define GEM_GENERATE_NUMBER_H

#include <stdbool.h>
#include <stddef.h>

enum { GEM_DECIMAL_MAX = 400 }; /* digits before the point, and behind it */

struct gem_decimal {
    bool negative;                   /* never for zero */
    char whole[GEM_DECIMAL_MAX + 2]; /* zero-terminated digits without leading zeros, "0" at least */
    char part[GEM_DECIMAL_MAX + 2];  /* behind the point, without trailing zeros, perhaps empty */
};

/* False when it is no number of JSON, or has too many digits (1e9999). */
bool gem_decimal_parse(struct gem_decimal *d, const char *s, size_t n);
int gem_decimal_compare(const struct gem_decimal *a, const struct gem_decimal *b); /* below, equal or above 0 */
static inline bool gem_decimal_is_whole(const struct gem_decimal *d) { return d->part[0] == 0; }

#endif
