/* SPDX-License-Identifier: Apache-2.0 */
#include "generate/stop.h"

#include "base/memory.h"

#include <string.h>

gem_status gem_stop_open(struct gem_stop *s, const struct gem_tokenizer *t, const gem_generate_options *o, void *user,
                         gem_error *err)
{
    *s = (struct gem_stop){.found = -1};
    if (o->n_stop_strings == 0 && !o->on_text) return GEM_OK;
    if (!t) return gem_fail(err, GEM_E_UNSUPPORTED, 0, "text needs the tokenizer, which the model has not");
    if (o->n_stop_strings > GEM_STOP_MAX_STRINGS)
        return gem_fail(err, GEM_E_LIMIT, 0, "stop strings: %zu are above the ceiling of %d", o->n_stop_strings,
                        GEM_STOP_MAX_STRINGS);
    for (size_t i = 0; i < o->n_stop_strings; i++) {
        if (o->stop_strings[i].n == 0 || o->stop_strings[i].n > GEM_STOP_MAX_BYTES)
            return gem_fail(err, GEM_E_ARGUMENT, 0, "stop string %zu: %zu bytes are not 1 to %d", i,
                            o->stop_strings[i].n, GEM_STOP_MAX_BYTES);
        if (o->stop_strings[i].n > s->longest) s->longest = o->stop_strings[i].n;
    }
    s->held = gem_calloc(GEM_STOP_MAX_BYTES + GEM_TEXT_STREAM_MAX, 1, "text held back", err);
    if (!s->held) return GEM_E_NOMEM;
    s->tokenizer = t;
    s->strings = o->stop_strings;
    s->n_strings = o->n_stop_strings;
    s->on_text = o->on_text;
    s->user = user;
    return GEM_OK;
}

void gem_stop_close(struct gem_stop *s)
{
    gem_free(s->held);
    s->held = NULL;
}

/* The stop string that begins first (of those the longest), or -1; *at is where. */
static int32_t find(const struct gem_stop *s, size_t *at)
{
    for (size_t i = 0; i < s->n_held; i++) {
        int32_t best = -1;
        for (size_t k = 0; k < s->n_strings; k++) {
            const size_t n = s->strings[k].n;
            if (n > s->n_held - i || memcmp(s->held + i, s->strings[k].text, n) != 0) continue;
            if (best < 0 || n > s->strings[best].n) best = (int32_t)k;
        }
        *at = i;
        if (best >= 0) return best;
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

gem_status gem_stop_push(struct gem_stop *s, int32_t token, bool *go_on, gem_error *err)
{
    size_t n, at;
    gem_status st;

    if (!s->tokenizer) return GEM_OK;
    /* What is held is shorter than the longest stop string, so there is room for all that one token can give. */
    if ((st = gem_tokenizer_stream_push(s->tokenizer, &s->stream, token, s->held + s->n_held, &n, err))) return st;
    s->n_held += n;
    s->found = find(s, &at);
    if (!give(s, s->found >= 0 ? at : s->n_held - doubtful(s))) *go_on = false;
    return GEM_OK;
}

gem_status gem_stop_finish(struct gem_stop *s, gem_error *err)
{
    size_t n;

    (void)err;
    if (!s->tokenizer || s->found >= 0) return GEM_OK;
    gem_text_stream_finish(&s->stream, s->held + s->n_held, &n);
    s->n_held += n;
    give(s, s->n_held);
    return GEM_OK;
}
