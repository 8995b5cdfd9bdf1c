/* SPDX-License-Identifier: Apache-2.0
 * tests/fuzz/tokenizer_walk.h - what must hold for any tokenizer and any text. */
#ifndef GEM_FUZZ_TOKENIZER_WALK_H
#define GEM_FUZZ_TOKENIZER_WALK_H

#include <stdlib.h>
#include <string.h>

#include "../unit/tokenizer_naive.h"

#define WALK_EXPECT(cond)                                                                                              \
    do {                                                                                                               \
        if (!(cond)) abort();                                                                                          \
    } while (0)

static inline void walk_decode(const struct gem_tokenizer *t, const int32_t *ids, size_t n_ids, const char *s, size_t n)
{
    const bool back = gem_utf8_valid(s, n) && !t->space_prefix;
    char *text, part[GEM_TEXT_STREAM_MAX];
    gem_text_stream stream = {.control = true};
    size_t n_text, n_part, n_stream = 0;
    bool marks = false;

    for (size_t i = 0; i + 3 <= n; i++) marks |= !memcmp(s + i, "\xe2\x96\x81", 3); /* come back as spaces */
    WALK_EXPECT(!gem_tokenizer_decode(t, ids, n_ids, true, NULL, 0, &n_text, NULL));
    text = malloc(n_text + 1);
    WALK_EXPECT(!gem_tokenizer_decode(t, ids, n_ids, true, text, n_text, &n_text, NULL));
    if (back && !marks) WALK_EXPECT(n_text == n && (n == 0 || !memcmp(text, s, n)));
    for (size_t i = 0; i <= n_ids; i++) {
        if (i < n_ids)
            WALK_EXPECT(!gem_tokenizer_stream_push(t, &stream, ids[i], part, &n_part, NULL));
        else
            gem_text_stream_finish(&stream, part, &n_part);
        WALK_EXPECT(n_part <= sizeof part && gem_utf8_valid(part, n_part));
        if (back) WALK_EXPECT(n_part <= n_text - n_stream && !memcmp(text + n_stream, part, n_part));
        n_stream += n_part;
    }
    if (back) WALK_EXPECT(n_stream == n_text);
    free(text);
}

/* Encodes text and compares with the definition and with itself. */
static inline void walk_text(const struct gem_tokenizer *t, const char *s, size_t n, bool control)
{
    int32_t *ids = malloc((n + 2) * sizeof *ids), *naive = malloc((n + 2) * sizeof *naive);
    size_t n_ids;

    WALK_EXPECT(!gem_tokenizer_encode(t, s, n, control, ids, n + 2, &n_ids, NULL));
    WALK_EXPECT(n_ids <= n + 1);
    for (size_t i = 0; i < n_ids; i++) {
        WALK_EXPECT(ids[i] >= 0 && (uint32_t)ids[i] < gem_tokenizer_vocab(t));
        WALK_EXPECT(control || !gem_tokenizer_is_control(t, ids[i]));
    }
    if (!t->space_prefix) {
        WALK_EXPECT(n_ids == naive_encode(t, s, n, control, naive));
        WALK_EXPECT(!memcmp(ids, naive, n_ids * sizeof *ids));
    }
    walk_decode(t, ids, n_ids, s, n);
    free(naive);
    free(ids);
}

#endif
