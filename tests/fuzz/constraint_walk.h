/* SPDX-License-Identifier: Apache-2.0
 * tests/fuzz/constraint_walk.h - what the targets of constraints have in common: compile over a small vocabulary, then
 * write a text as the masks allow, whose end must come within the budget. */
#ifndef GEM_FUZZ_CONSTRAINT_WALK_H
#define GEM_FUZZ_CONSTRAINT_WALK_H

#include "../unit/tokenizer_small.h"

#include "generate/constraint.h"
#include "generate/schema.h"

typedef void constraint_parse_fn(struct gem_grammar *g, const char *s, size_t n);

static void constraint_walk(struct gem_constraint *c, uint32_t seed)
{
    const struct gem_trie *trie = c->trie;
    struct gem_matcher *m;
    gem_error err = {0};
    size_t budget;

    SMALL_EXPECT(!gem_matcher_begin(&m, c, NULL));
    budget = (size_t)gem_matcher_find_least(m) + seed % 8;
    if (budget > 200) budget = 0; /* a long way for a fuzzer */
    while (budget > 0 && !gem_matcher_finished(m)) {
        uint32_t pick, id = 0;
        const gem_status st = gem_matcher_find_mask(m, budget--, &err);
        if (st) {
            SMALL_EXPECT(st == GEM_E_LIMIT && err.message[0]); /* too ambiguous is said, not suffered */
            goto out;
        }
        if (m->n_allowed == 0) break;
        for (pick = small_next(&seed, m->n_allowed); id < trie->n_vocab; id++)
            if ((m->bits[id / 64] >> id % 64 & 1) && pick-- == 0) break;
        SMALL_EXPECT(id < trie->n_vocab);
        SMALL_EXPECT(!gem_matcher_take(m, (int32_t)id, &err));
        if (budget == 0) SMALL_EXPECT(gem_matcher_done(m));
    }
out:
    gem_matcher_end(m);
}

static void constraint_fuzz(constraint_parse_fn *parse, const uint8_t *data, size_t size)
{
    struct gem_tokenizer *t;
    struct gem_trie *trie;
    struct gem_constraint *c = NULL;
    struct gem_grammar g;
    gem_error err = {0};
    gem_status st;

    if (size > 4096) return; /* larger ones only take longer */
    t = small_open(true, 1);
    SMALL_EXPECT(!gem_trie_open(&trie, t, NULL));
    SMALL_EXPECT(!gem_grammar_open(&g, &err));
    parse(&g, (const char *)data, size);
    st = g.status ? g.status : gem_constraint_open(&c, &g, trie, &err);
    SMALL_EXPECT((st == GEM_OK) == (c != NULL) && (st == GEM_OK || (err.code == st && err.message[0])));
    gem_grammar_close(&g);
    if (c) constraint_walk(c, (uint32_t)size * 2654435761u);
    gem_constraint_close_parts(c);
    gem_trie_close(trie);
    gem_tokenizer_close(t);
}

#endif
