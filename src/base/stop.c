/* SPDX-License-Identifier: Apache-2.0 */
#include "base/stop.h"

#include "base/memory.h"

#include <string.h>

enum { PIECE = 256 }; /* of text, looked at together */

gem_status gem_stop_open(struct gem_stop *s, const gem_stop_string *strings, size_t n_strings, gem_text_fn *on_text,
                         void *user, gem_error *err)
{
    *s = (struct gem_stop){.strings = strings, .n_strings = n_strings, .on_text = on_text, .user = user, .found = -1};
    if (n_strings > GEM_STOP_MAX_STRINGS)
        return gem_fail(err, GEM_E_LIMIT, 0, "stop strings: %zu are above the ceiling of %d", n_strings,
                        GEM_STOP_MAX_STRINGS);
    for (size_t i = 0; i < n_strings; i++) {
        if (strings[i].n == 0 || strings[i].n > GEM_STOP_MAX_BYTES)
            return gem_fail(err, GEM_E_ARGUMENT, 0, "stop string %zu: %zu bytes are not 1 to %d", i, strings[i].n,
                            GEM_STOP_MAX_BYTES);
        if (strings[i].n > s->longest) s->longest = strings[i].n;
    }
    s->held = gem_calloc(GEM_STOP_MAX_BYTES + PIECE, 1, "text held back", err);
    return s->held ? GEM_OK : GEM_E_NOMEM;
}

void gem_stop_close(struct gem_stop *s)
{
    gem_free(s->held);
    s->held = NULL;
}

/* The stop string that is complete first (of several the longest), however the text came in pieces; or -1. *at is where
 * it begins. */
static int32_t find(const struct gem_stop *s, size_t *at)
{
    for (size_t end = 1; end <= s->n_held; end++) {
        int32_t best = -1;
        for (size_t k = 0; k < s->n_strings; k++) {
            const size_t n = s->strings[k].n;
            if (n > end || memcmp(s->held + end - n, s->strings[k].text, n) != 0) continue;
            if (best < 0 || n > s->strings[best].n) best = (int32_t)k;
        }
        if (best < 0) continue;
        *at = end - s->strings[best].n;
        return best;
    }
    return -1;
}

/* Bytes at the end that may be the beginning of a stop string. */
static size_t doubtful(const struct gem_stop *s)
{
    size_t n = s->n_held < s->longest ? s->n_held : s->longest - (s->longest > 0);

    for (; n > 0; n--)
        for (size_t k = 0; k < s->n_strings; k++)
            if (s->strings[k].n > n && !memcmp(s->held + s->n_held - n, s->strings[k].text, n)) return n;
    return 0;
}

static bool give(struct gem_stop *s, size_t n)
{
    const bool go_on = n == 0 || !s->on_text || s->on_text(s->user, s->held, n);

    memmove(s->held, s->held + n, s->n_held - n);
    s->n_held -= n;
    return go_on;
}

/* Text is taken in pieces of whole characters. What is held is shorter than the longest string. */
static size_t piece_of(const char *text, size_t n)
{
    size_t piece = n < PIECE ? n : PIECE;

    while (piece > 1 && piece < n && ((unsigned char)text[piece] & 0xc0) == 0x80) piece--;
    return piece;
}

bool gem_stop_push(struct gem_stop *s, const char *text, size_t n)
{
    bool go_on = true;

    while (n > 0 && s->found < 0) {
        const size_t piece = piece_of(text, n);
        size_t at;

        memcpy(s->held + s->n_held, text, piece);
        s->n_held += piece;
        text += piece;
        n -= piece;
        s->found = find(s, &at);
        go_on &= give(s, s->found >= 0 ? at : s->n_held - doubtful(s));
    }
    return go_on;
}

bool gem_stop_flush(struct gem_stop *s) { return s->found >= 0 || give(s, s->n_held); }
