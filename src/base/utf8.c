/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

/* The second byte tells overlong forms, surrogates and what lies above U+10FFFF: only its range varies. */
static bool begin(struct gem_utf8_reader *r, uint8_t byte)
{
    *r = (struct gem_utf8_reader){.lo = 0x80, .hi = 0xbf};
    if (byte < 0x80) return true;
    if (byte < 0xc2 || byte > 0xf4) return false;
    r->need = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
    if (byte == 0xe0) r->lo = 0xa0;
    if (byte == 0xed) r->hi = 0x9f;
    if (byte == 0xf0) r->lo = 0x90;
    if (byte == 0xf4) r->hi = 0x8f;
    return true;
}

bool gem_utf8_feed(struct gem_utf8_reader *r, uint8_t byte)
{
    if (r->need == 0) return begin(r, byte);
    if (byte < r->lo || byte > r->hi) {
        r->need = 0;
        return false;
    }
    r->need--;
    r->lo = 0x80;
    r->hi = 0xbf;
    return true;
}

bool gem_utf8_valid(const char *s, size_t n)
{
    struct gem_utf8_reader r = {0};

    for (size_t i = 0; i < n; i++)
        if (!gem_utf8_feed(&r, (uint8_t)s[i])) return false;
    return r.need == 0;
}

size_t gem_utf8_decode(const char *s, size_t n, uint32_t *cp)
{
    struct gem_utf8_reader r = {0};
    size_t i = 0;

    *cp = 0;
    do {
        if (i == n || !gem_utf8_feed(&r, (uint8_t)s[i])) return 0;
        /* The lead byte keeps the bits below its length mark, the others six each. */
        if (i == 0)
            *cp = (uint8_t)s[0] < 0x80 ? (uint8_t)s[0] : (uint8_t)s[0] & (0x3fu >> r.need);
        else
            *cp = *cp << 6 | ((uint8_t)s[i] & 0x3f);
        i++;
    } while (r.need > 0);
    return i;
}

uint32_t gem_utf8_last(const char *s, size_t n)
{
    size_t at = n - 1;
    uint32_t cp;

    while (at > 0 && ((uint8_t)s[at] & 0xc0) == 0x80) at--;
    gem_utf8_decode(s + at, n - at, &cp);
    return cp;
}
