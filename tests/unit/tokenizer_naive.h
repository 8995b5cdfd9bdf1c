/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/tokenizer_naive.h - encoding by the definition: no cutting into words, no memory of words, no heap, just
 * the whole text and a search for the best pair after each merge. It shares the tables with what it tests. */
#ifndef GEM_TEST_TOKENIZER_NAIVE_H
#define GEM_TEST_TOKENIZER_NAIVE_H

#include "base/utf8.h"
#include "tokenizer/vocabulary.h"

/* One plain text without tokens found whole. ids [n] must have room; returns how many there are. */
static inline size_t naive_plain(const struct gem_tokenizer *t, const char *s, size_t n, int32_t *ids)
{
    size_t n_ids = 0;

    for (size_t at = 0; at < n;) {
        uint32_t cp, symbol = GEM_SYMBOL_NONE;
        const size_t len = gem_utf8_decode(s + at, n - at, &cp);
        if (len > 0) symbol = gem_symbol_of(t, cp == ' ' ? 0x2581 : cp);
        if (symbol != GEM_SYMBOL_NONE)
            ids[n_ids++] = (int32_t)symbol;
        else
            for (size_t i = 0; i < (len ? len : 1); i++) ids[n_ids++] = (int32_t)t->byte_id[(uint8_t)s[at + i]];
        at += len ? len : 1;
    }
    for (;;) {
        uint32_t best = UINT32_MAX, best_rule = GEM_RULE_NONE;
        size_t where = 0;
        for (size_t i = 0; i + 1 < n_ids; i++) {
            const uint32_t rule = gem_rule_find(t, (uint32_t)ids[i], (uint32_t)ids[i + 1]);
            if (rule == GEM_RULE_NONE || gem_rule_priority(t, rule) >= best) continue;
            best = gem_rule_priority(t, rule);
            best_rule = rule;
            where = i;
        }
        if (best_rule == GEM_RULE_NONE) return n_ids;
        ids[where] = (int32_t)gem_rule_merged(t, best_rule);
        n_ids--;
        for (size_t i = where + 1; i < n_ids; i++) ids[i] = ids[i + 1];
    }
}

/* Any text: the longest user or, with `control`, control token at each place first. No space in front. */
static inline size_t naive_encode(const struct gem_tokenizer *t, const char *s, size_t n, bool control, int32_t *ids)
{
    size_t begin = 0, n_ids = 0;

    for (size_t at = 0; at < n;) {
        uint32_t found = GEM_SYMBOL_NONE;
        size_t longest = 0, len;
        for (uint32_t id = 0; id < t->n_vocab; id++) {
            const char *piece = gem_piece_text(t, id, &len);
            if (t->kind[id] != GEM_PIECE_USER && !(control && t->kind[id] == GEM_PIECE_CONTROL)) continue;
            if (len <= longest || len > n - at || memcmp(piece, s + at, len)) continue;
            longest = len;
            found = id;
        }
        if (found == GEM_SYMBOL_NONE) {
            at++;
            continue;
        }
        n_ids += naive_plain(t, s + begin, at - begin, ids + n_ids);
        ids[n_ids++] = (int32_t)found;
        begin = at += longest;
    }
    return n_ids + naive_plain(t, s + begin, n - begin, ids + n_ids);
}

#endif
