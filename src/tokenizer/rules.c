/* SPDX-License-Identifier: Apache-2.0
 * src/tokenizer/rules.c - which neighbours merge into what, and in which order: from a list of merges (Gemma 4),
 * or from the scores of pieces (SentencePiece BPE: Gemma 3's GGUF files). */
#include "tokenizer/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"

/* ---- from a list --------------------------------------------------------------------------------------- */

gem_status gem_merges_open(struct gem_tokenizer *t, const char *name, uint64_t n, gem_error *err)
{
    if (n > GEM_TOKENIZER_MAX_RULES)
        return gem_fail(err, GEM_E_LIMIT, 0, "%s: %llu merges, more than the ceiling of %d", name,
                        (unsigned long long)n, GEM_TOKENIZER_MAX_RULES);
    t->merged = gem_calloc((size_t)n, sizeof *t->merged, "the merges", err);
    return t->merged ? gem_rules_open(t, (size_t)n, (uint32_t)n, err) : GEM_E_NOMEM;
}

bool gem_merge_split(const char *s, size_t n, const char **a, size_t *n_a, const char **b, size_t *n_b)
{
    const char *space = n > 2 ? memchr(s + 1, ' ', n - 2) : NULL; /* a piece may be the space itself */

    if (!space) return false;
    *a = s;
    *n_a = (size_t)(space - s);
    *b = space + 1;
    *n_b = n - *n_a - 1;
    return true;
}

gem_status gem_merges_add(struct gem_tokenizer *t, const char *name, uint64_t offset, uint32_t rank, const char *a,
                          size_t n_a, const char *b, size_t n_b, gem_error *err)
{
    const int32_t left = gem_tokenizer_find(t, a, n_a), right = gem_tokenizer_find(t, b, n_b);
    const uint32_t both = left < 0 || right < 0 ? GEM_SYMBOL_NONE : gem_vocabulary_find2(t, a, n_a, b, n_b);

    if (both == GEM_SYMBOL_NONE)
        return gem_fail(err, GEM_E_FORMAT, offset, "%s: merge %u, \"%.*s\" and \"%.*s\": not in the vocabulary", name,
                        rank, n_a > 60 ? 60 : (int)n_a, a, n_b > 60 ? 60 : (int)n_b, b);
    /* Or a user's text could become a control token, and bytes would merge with what they do not belong to. */
    if (!gem_piece_merges(t, (uint32_t)left) || !gem_piece_merges(t, (uint32_t)right) || !gem_piece_merges(t, both))
        return gem_fail(err, GEM_E_FORMAT, offset, "%s: merge %u has to do with a control token or a byte piece", name,
                        rank);
    if (!gem_rules_add(t, (uint32_t)left, (uint32_t)right, rank))
        return gem_fail(err, GEM_E_FORMAT, offset, "%s: merge %u comes twice or collides with too many", name, rank);
    t->merged[rank] = both;
    return GEM_OK;
}

/* ---- from scores --------------------------------------------------------------------------------------- */

struct scored {
    float score;
    uint32_t id;
};

static int by_score(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;

    return (x->score < y->score) - (x->score > y->score);
}

/* priority[id]: the place of a piece's score in descending order, the same for equal scores, of which then the
 * leftmost in the text goes first. */
static gem_status rank_scores(struct gem_tokenizer *t, const float *scores, gem_error *err)
{
    struct scored *list = gem_calloc(t->n_vocab, sizeof *list, "scores", err);

    t->priority = gem_calloc(t->n_vocab, sizeof *t->priority, "scores", err);
    if (!list || !t->priority) {
        gem_free(list);
        return GEM_E_NOMEM;
    }
    for (uint32_t id = 0; id < t->n_vocab; id++) list[id] = (struct scored){scores[id], id};
    qsort(list, t->n_vocab, sizeof *list, by_score);
    for (uint32_t i = 0; i < t->n_vocab; i++) {
        const bool equal = i > 0 && !by_score(&list[i], &list[i - 1]);
        t->priority[list[i].id] = equal ? t->priority[list[i - 1].id] : i;
    }
    gem_free(list);
    return GEM_OK;
}

struct cut {
    uint32_t left, right, id;
};

struct cuts {
    struct cut *list;
    size_t n, cap;
};

static gem_status push_cut(struct cuts *c, struct cut cut, gem_error *err)
{
    if (c->n == c->cap) {
        const size_t cap = c->cap ? c->cap * 2 : 4096;
        struct cut *grown = gem_realloc(c->list, cap, sizeof *grown, "the merges", err);
        if (!grown) return GEM_E_NOMEM;
        c->list = grown;
        c->cap = cap;
    }
    c->list[c->n++] = cut;
    return GEM_OK;
}

static bool usable(const struct gem_tokenizer *t, const char *s, size_t n, uint32_t *id)
{
    const int32_t found = gem_tokenizer_find(t, s, n);

    *id = (uint32_t)found;
    return found >= 0 && gem_piece_merges(t, *id);
}

/* All ways to make piece id of two others. */
static gem_status cut_piece(const struct gem_tokenizer *t, struct cuts *c, uint32_t id, gem_error *err)
{
    size_t n;
    const char *s = gem_piece_text(t, id, &n);
    gem_status st;

    for (size_t at = 1; at < n; at++) {
        struct cut cut = {.id = id};
        if (((uint8_t)s[at] & 0xc0) == 0x80) continue; /* within a character */
        if (!usable(t, s, at, &cut.left) || !usable(t, s + at, n - at, &cut.right)) continue;
        if ((st = push_cut(c, cut, err))) return st;
    }
    return GEM_OK;
}

static gem_status add_cuts(struct gem_tokenizer *t, const char *name, const struct cuts *c, gem_error *err)
{
    gem_status st;

    if (c->n > GEM_TOKENIZER_MAX_RULES)
        return gem_fail(err, GEM_E_LIMIT, 0, "%s: the pieces can be made in %zu ways, more than the ceiling of %d",
                        name, c->n, GEM_TOKENIZER_MAX_RULES);
    if ((st = gem_rules_open(t, c->n, t->n_vocab, err))) return st;
    for (size_t i = 0; i < c->n; i++)
        if (!gem_rules_add(t, c->list[i].left, c->list[i].right, c->list[i].id))
            return gem_fail(err, GEM_E_UNSUPPORTED, 0, "%s: the pieces' hashes collide", name);
    return GEM_OK;
}

gem_status gem_rules_from_scores(struct gem_tokenizer *t, const char *name, const float *scores, gem_error *err)
{
    struct cuts c = {0};
    gem_status st = rank_scores(t, scores, err);

    for (uint32_t id = 0; !st && id < t->n_vocab; id++)
        if (gem_piece_merges(t, id) && c.n <= GEM_TOKENIZER_MAX_RULES) st = cut_piece(t, &c, id, err);
    if (!st) st = add_cuts(t, name, &c, err);
    gem_free(c.list);
    return st;
}
