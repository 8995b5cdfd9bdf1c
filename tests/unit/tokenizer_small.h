/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/tokenizer_small.h - a tokenizer of some forty pieces whose merges come in any order, or whose scores have
 * many ties: orders that trained vocabularies do not have, which merging must not rely on. */
#ifndef GEM_TEST_TOKENIZER_SMALL_H
#define GEM_TEST_TOKENIZER_SMALL_H

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tokenizer/vocabulary.h"

#define SMALL_COUNT(a) (sizeof(a) / sizeof *(a))
#define SMALL_EXPECT(cond)                                                                                             \
    do {                                                                                                               \
        if (!(cond)) abort();                                                                                          \
    } while (0)

#define SMALL_MARK "\xe2\x96\x81"

static const char *const small_normal[] = {
    SMALL_MARK,
    "a",
    "b",
    "e",
    "t",
    "h",
    "<",
    ">",
    "/",
    "|",
    "\n",
    "\xc3\xa9",
    "\xe6\xbc\xa2",
    "aa",
    "aaa",
    "ab",
    "ba",
    "th",
    "the",
    "he",
    "abab",
    "aaaaaa",
    "bb",
    "eth",
    "\xc3\xa9\xc3\xa9",
    SMALL_MARK "t",
    "e" SMALL_MARK,
    SMALL_MARK "the",
    SMALL_MARK SMALL_MARK,
    SMALL_MARK SMALL_MARK SMALL_MARK SMALL_MARK,
    ">" SMALL_MARK "<",
    ">" SMALL_MARK,
    "the" SMALL_MARK,
    "\n\n\n",
    "aaaa",
    "<|",
    "|>",
    "a\xe6\xbc\xa2",
    "bab",
    "tt",
    "ttt",
    "tttt",
    "hh",
    "\xe6\xbc\xa2\xe6\xbc\xa2",
};
static const char *const small_user[] = {"\n\n", "<t>", "<th", "  "};
static const char *const small_control[] = {"<eos>", "<|turn>", "<a|>", "<a"};

enum { SMALL_N = 256 + SMALL_COUNT(small_normal) + SMALL_COUNT(small_user) + SMALL_COUNT(small_control) };

static inline void small_fill(struct gem_tokenizer *t)
{
    static const struct {
        const char *const *list;
        size_t n;
        enum gem_piece_kind kind;
    } parts[] = {{small_normal, SMALL_COUNT(small_normal), GEM_PIECE_NORMAL},
                 {small_user, SMALL_COUNT(small_user), GEM_PIECE_USER},
                 {small_control, SMALL_COUNT(small_control), GEM_PIECE_CONTROL}};
    struct gem_piece pieces[SMALL_N];
    char bytes[256][7];
    uint32_t at = 256;

    for (uint32_t i = 0; i < 256; i++) {
        static const char hex[] = "0123456789ABCDEF";
        const char byte[7] = {'<', '0', 'x', hex[i >> 4], hex[i & 15], '>'};
        memcpy(bytes[i], byte, sizeof byte);
        pieces[i] = (struct gem_piece){.s = bytes[i], .n = 6, .kind = GEM_PIECE_BYTE};
    }
    for (size_t k = 0; k < SMALL_COUNT(parts); k++)
        for (size_t i = 0; i < parts[k].n; i++)
            pieces[at++] = (struct gem_piece){
                .s = parts[k].list[i], .n = (uint32_t)strlen(parts[k].list[i]), .kind = parts[k].kind};
    SMALL_EXPECT(!gem_vocabulary_fill(t, "fuzz", pieces, SMALL_N, NULL));
}

static inline uint32_t small_next(uint32_t *seed, uint32_t below)
{
    *seed = *seed * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)*seed * below >> 32);
}

static inline void small_score(struct gem_tokenizer *t, uint32_t seed)
{
    float scores[SMALL_N];

    for (size_t i = 0; i < SMALL_N; i++) scores[i] = (float)small_next(&seed, 12);
    SMALL_EXPECT(!gem_rules_from_scores(t, "fuzz", scores, NULL));
}

/* All ways to make a piece of two others, shuffled. */
static inline void small_merges(struct gem_tokenizer *t, uint32_t seed)
{
    struct {
        const char *s;
        size_t n, cut;
    } cuts[512], swap;
    uint32_t n_cuts = 0;

    for (uint32_t id = 256; id < 256 + SMALL_COUNT(small_normal); id++) {
        size_t n;
        const char *s = gem_piece_text(t, id, &n);
        for (size_t cut = 1; cut < n; cut++) {
            const int32_t l = gem_tokenizer_find(t, s, cut), r = gem_tokenizer_find(t, s + cut, n - cut);
            if (l < 0 || r < 0 || !gem_piece_merges(t, (uint32_t)l) || !gem_piece_merges(t, (uint32_t)r)) continue;
            cuts[n_cuts].s = s;
            cuts[n_cuts].n = n;
            cuts[n_cuts++].cut = cut;
        }
    }
    for (uint32_t i = n_cuts; i > 1; i--) {
        const uint32_t k = small_next(&seed, i);
        swap = cuts[k];
        cuts[k] = cuts[i - 1];
        cuts[i - 1] = swap;
    }
    SMALL_EXPECT(!gem_merges_open(t, "fuzz", n_cuts, NULL));
    for (uint32_t i = 0; i < n_cuts; i++)
        SMALL_EXPECT(!gem_merges_add(t, "fuzz", 0, i, cuts[i].s, cuts[i].cut, cuts[i].s + cuts[i].cut,
                                     cuts[i].n - cuts[i].cut, NULL));
}

/* The seed makes the order, which is of scores or of merges. */
static inline struct gem_tokenizer *small_open(bool scores, uint32_t seed)
{
    struct gem_tokenizer *t = gem_calloc(1, sizeof *t, "a tokenizer", NULL);

    SMALL_EXPECT(t);
    small_fill(t);
    if (scores)
        small_score(t, seed);
    else
        small_merges(t, seed);
    return t;
}

#endif
