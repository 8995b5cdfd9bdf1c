/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/content.h - whether two media hold the same. */
#ifndef GEM_TEST_CONTENT_H
#define GEM_TEST_CONTENT_H

#include <gemmule.h>
#include <string.h>

static bool same_content(const gem_media *a, const gem_media *b)
{
    gem_media_info x, y;

    gem_media_get_info(a, &x);
    gem_media_get_info(b, &y);
    return !memcmp(x.digest, y.digest, sizeof x.digest);
}

#endif
