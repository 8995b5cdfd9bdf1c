/* SPDX-License-Identifier: Apache-2.0
 * src/generate/constraint.h - which tokens may come next.
 *
 * The design, from the bottom up:
 *   1. A constraint is a grammar over bytes (grammar.h): rules that may name each other.
 *   2. Each rule is made deterministic by itself, lazily (automaton.h). That covers everything regular at the cost of
 * one look-up a byte.
 *   3. Rules that call each other need a stack. A frame is (state to go back to, frame below); equal frames are one, so
 *      a stack is a number. A thread is (frame, state of the innermost rule). Where the text so far can be read in
 * several ways there are several threads; a configuration is their set, and equal sets are one number too. Moving by a
 *      byte moves all threads, and ends what was read in no way. A call in the last place of a rule pushes nothing.
 *   4. The mask of a configuration is found by walking the vocabulary's tree (trie.h). Which tokens a rule takes
 * without looking below its own frame depends on its state only: that is worked out once a state (struct
 * gem_local_mask), together with the places where a token leaves the rule in the middle; from those alone the walk goes
 * on with the whole configuration. A rule that takes any plain text (the inside of a string) gets its plain tokens from
 * a ready set and walks the few tokens that are not plain. Masks of configurations are kept too.
 *   5. `least` says with how few tokens a configuration surely can be completed. A token is allowed only if what
 * follows it can be completed within the budget; since one token of the least completion always is, generation never
 *      runs into a wall, and depth of nesting needs no other bound than the budget.
 * What was worked out is shared by all matchers of a constraint and dropped when it exceeds a ceiling.
 *
 * A constraint may be used by many threads: its matchers take turns under a lock. A matcher is used by one thread. */
#ifndef GEM_GENERATE_CONSTRAINT_H
#define GEM_GENERATE_CONSTRAINT_H

#include "generate/automaton.h"

#include <pthread.h>

enum {
    GEM_CONSTRAINT_MAX_THREADS = 1024,    /* readings of one text at a time */
    GEM_CONSTRAINT_MAX_CACHE = 96 << 20,  /* bytes of masks and configurations that are kept */
    GEM_CONSTRAINT_MAX_CONFIGS = 1 << 20, /* made for one mask */
    GEM_CONSTRAINT_MAX_FRAMES = 1 << 22,
    GEM_CONSTRAINT_MAX_FORCED = 256, /* bytes looked ahead */
};

/* A set of tokens: few as a list, many as bits. */
struct gem_token_set {
    uint32_t n; /* tokens */
    bool dense;
    void *data; /* int32_t [n] or uint64_t [n_words] */
};

struct gem_local_exit {
    uint32_t node, state;
};

/* What a state of a rule says about tokens, whatever the stack. */
struct gem_local_mask {
    struct gem_token_set set;     /* tokens that end within the rule */
    struct gem_local_exit *exits; /* nodes of the tree after which the rule may be left or call another */
    uint32_t n_exits, cap_exits;
    uint32_t most; /* largest `least` of the rule after any token of the set */
    /* Characters of plain text that are all taken (UINT32_MAX: not that simple), and `least` after any of them. */
    uint32_t plain, plain_most, plain_least;
};

struct gem_frame {
    uint32_t back, below, least; /* least: tokens from `back` down to the end of everything */
};

struct gem_thread {
    uint32_t frame, state;
};

struct gem_config {
    uint32_t threads, n; /* in the table of threads, in order */
    uint32_t row;        /* of `next`, 1 + index; 0: not yet */
    uint32_t least;
    uint32_t most;       /* with has_mask: largest `least` after any token of the mask */
    bool done, has_mask; /* done: the text may end here */
    struct gem_token_set mask;
};

struct gem_constraint {
    const struct gem_trie *trie;
    struct gem_automaton automaton;
    struct gem_states states;
    uint32_t root;
    uint32_t mask_words; /* of a matcher's bits: the trie's, or more where the model has more tokens */
    pthread_mutex_t mutex;
    struct gem_matcher *matchers; /* all that are open */

    struct gem_frame *frames;
    uint32_t n_frames, cap_frames;
    uint32_t *frame_slots;
    uint32_t frame_mask;
    struct gem_config *configs; /* 0: no way to read the text; 1: the beginning */
    uint32_t n_configs, cap_configs;
    uint32_t *config_slots;
    uint32_t config_mask;
    struct gem_thread *threads;
    uint32_t n_threads, cap_threads;
    uint32_t *next; /* [rows, n_classes]; UINT32_MAX: not yet known */
    uint32_t n_rows, cap_next;
    struct gem_local_mask *
        *local[2]; /* [cap_local] by state; [1]: where the end of the rule is the end of everything */
    uint32_t cap_local;
    uint32_t *rule_start; /* [n_rules] state or UINT32_MAX */
    size_t cached_bytes;

    struct gem_thread *scratch; /* [GEM_CONSTRAINT_MAX_THREADS] a configuration in the making */
    uint32_t n_scratch;
    bool scratch_done;
    gem_status status; /* of the present call */
    gem_error *err;
};

struct gem_matcher {
    struct gem_constraint *constraint;
    struct gem_matcher *next_open, *previous_open;
    uint32_t config;
    uint64_t *bits; /* [mask_words] the newest mask */
    uint32_t n_allowed;
    struct gem_config saved; /* while everything is flushed */
};

/* Compiles a grammar. The trie must stay open. */
gem_status gem_constraint_open(struct gem_constraint **out, const struct gem_grammar *g, const struct gem_trie *trie,
                               gem_error *err);
void gem_constraint_close_parts(struct gem_constraint *c); /* accepts NULL; the public gem_constraint_close */

gem_status gem_matcher_begin(struct gem_matcher **out, struct gem_constraint *c, gem_error *err);
void gem_matcher_end(struct gem_matcher *m); /* accepts NULL */
void gem_matcher_reset(struct gem_matcher *m);
/* Fills m->bits with the tokens after which the rest can be done in budget - 1 tokens. */
gem_status gem_matcher_find_mask(struct gem_matcher *m, size_t budget, gem_error *err);
gem_status gem_matcher_take(struct gem_matcher *m, int32_t token, gem_error *err);
/* Moves by text instead of a token; false when it is not allowed, the matcher is then as it was. For tests. */
gem_status gem_matcher_take_bytes(struct gem_matcher *m, const void *s, size_t n, bool *ok, gem_error *err);
/* Tokens that the text forces, as the tokenizer spells it: at most cap, none that would exceed the budget, none that
 * a longer piece might replace. */
gem_status gem_matcher_find_forced(struct gem_matcher *m, size_t budget, int32_t *tokens, size_t cap, size_t *n,
                                   gem_error *err);
bool gem_matcher_done(const struct gem_matcher *m);     /* the text may end here */
bool gem_matcher_finished(const struct gem_matcher *m); /* and nothing can follow */
uint32_t gem_matcher_find_least(const struct gem_matcher *m);

/* ---- between the files of the constraint ---------------------------------------------------------------- */

/* As gem_grammar_grow; cap in elements. */
bool gem_constraint_grow(struct gem_constraint *c, void *p, uint32_t n, uint32_t *cap, size_t more, size_t size,
                         size_t limit, const char *what);
/* The configuration after a byte of the class, 0 when there is none. */
uint32_t gem_config_advance(struct gem_constraint *c, uint32_t config, uint32_t byte_class);
/* What goes on outside a rule that is in `state` above `frame`: after its end, and in the rules that it may call. */
uint32_t gem_config_leave(struct gem_constraint *c, uint32_t frame, uint32_t state);
/* The table of states is nearly full, or failed: the next call begins with a flush. */
bool gem_constraint_is_full(const struct gem_constraint *c);
/* Drops masks, configurations and, when they are many, states, but for those that matchers are in. */
void gem_constraint_flush(struct gem_constraint *c);
/* Makes the table of configurations with its first two. */
void gem_constraint_begin(struct gem_constraint *c);
void gem_constraint_free_masks(struct gem_constraint *c);
/* Fills bits [n_words] for a configuration: tokens after which `least` is at most `limit`. */
void gem_config_mask(struct gem_constraint *c, uint32_t config, uint32_t limit, uint64_t *bits);

static inline uint32_t gem_config_next(struct gem_constraint *c, uint32_t config, uint32_t byte_class)
{
    const uint32_t row = c->configs[config].row;

    if (row > 0 && c->next[(size_t)(row - 1) * c->automaton.n_classes + byte_class] != UINT32_MAX)
        return c->next[(size_t)(row - 1) * c->automaton.n_classes + byte_class];
    return gem_config_advance(c, config, byte_class);
}

#endif
