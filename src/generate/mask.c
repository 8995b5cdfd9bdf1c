/* SPDX-License-Identifier: Apache-2.0
 * src/generate/mask.c - walking the vocabulary. */
#include "generate/constraint.h"

#include "base/memory.h"

#include <string.h>

/* ---- sets of tokens ---------------------------------------------------------------------------------- */

static inline void set_bit(uint64_t *bits, int32_t id) { bits[(uint32_t)id / 64] |= UINT64_C(1) << (uint32_t)id % 64; }

static uint32_t count_bits(const uint64_t *bits, uint32_t n_words)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < n_words; i++) n += (uint32_t)__builtin_popcountll(bits[i]);
    return n;
}

static void *take(struct gem_constraint *c, size_t n, size_t size)
{
    void *p = gem_calloc(n, size, "masks of a constraint", c->err);

    if (!p) c->status = GEM_E_NOMEM;
    if (p) c->cached_bytes += n * size;
    return p;
}

/* A list takes 4 bytes a token, bits one eighth of a byte for any token there is. */
static void set_from_bits(struct gem_constraint *c, struct gem_token_set *set, const uint64_t *bits)
{
    const uint32_t n_words = c->trie->n_words, n = count_bits(bits, n_words);
    int32_t *ids;
    uint32_t at = 0;

    *set = (struct gem_token_set){.n = n, .dense = n > n_words};
    set->data = set->dense ? take(c, n_words, sizeof *bits) : take(c, n, sizeof *ids);
    if (!set->data) return;
    if (set->dense) {
        memcpy(set->data, bits, n_words * sizeof *bits);
        return;
    }
    ids = set->data;
    for (uint32_t i = 0; i < n_words; i++)
        for (uint64_t w = bits[i]; w; w &= w - 1) ids[at++] = (int32_t)(i * 64 + (uint32_t)__builtin_ctzll(w));
}

static void add_set(const struct gem_token_set *set, uint64_t *bits, uint32_t n_words)
{
    const uint64_t *words = set->data;
    const int32_t *ids = set->data;

    if (set->dense)
        for (uint32_t i = 0; i < n_words; i++) bits[i] |= words[i];
    else
        for (uint32_t i = 0; i < set->n; i++) set_bit(bits, ids[i]);
}

/* ---- within a rule ----------------------------------------------------------------------------------- */

struct local_walk {
    struct gem_constraint *c;
    const struct gem_trie_tree *tree;
    uint64_t *bits;
    struct gem_local_mask *mask; /* collects exits and `most`; NULL: only bits are wanted */
    uint32_t limit;              /* of a state's `least` */
    bool bottom;                 /* the end of the rule is the end of everything */
};

static void add_exit(struct local_walk *w, uint32_t node, uint32_t state)
{
    struct gem_local_mask *m = w->mask;

    if (!gem_constraint_grow(w->c, &m->exits, m->n_exits, &m->cap_exits, 1, sizeof *m->exits, 1 << 26, "ways out"))
        return;
    m->exits[m->n_exits++] = (struct gem_local_exit){node, state};
}

static bool leaves(struct local_walk *w, uint32_t state)
{
    struct gem_states *s = &w->c->states;

    if (!s->states[state].has_calls) gem_states_find_calls(s, state);
    return s->states[state].n_calls > 0 || (s->states[state].at_end && !w->bottom);
}

static void arrive(struct local_walk *w, uint32_t node, uint32_t state)
{
    const struct gem_trie_node *n = &w->tree->nodes[node];
    const uint32_t least = w->c->states.states[state].least;

    if (n[1].first > n->first) {
        if (w->mask && least > w->mask->most) w->mask->most = least;
        for (uint32_t i = n->first; i < n[1].first && least <= w->limit; i++) set_bit(w->bits, w->tree->ids[i]);
    }
    if (w->mask && n->next > node + 1 && leaves(w, state)) add_exit(w, node, state);
}

static void walk_local(struct local_walk *w, uint32_t state)
{
    struct gem_constraint *c = w->c;
    const struct gem_trie_node *nodes = w->tree->nodes;
    const uint8_t *class_of = c->automaton.class_of;
    uint32_t path[GEM_TRIE_MAX_DEPTH + 1];

    path[0] = state;
    for (uint32_t i = 1; i < w->tree->n_nodes && !c->status;) {
        const uint32_t depth = nodes[i].depth;
        const uint32_t next = gem_states_next(&c->states, path[depth - 1], class_of[nodes[i].byte]);
        if (next == 0) {
            i = nodes[i].next;
            continue;
        }
        path[depth] = next;
        arrive(w, i++, next);
    }
    if (c->states.status && !c->status) {
        c->status = c->states.status;
        if (c->err) *c->err = c->states.error;
    }
}

/* ---- plain text -------------------------------------------------------------------------------------- */

enum { MAX_LEVEL = 64 };

struct level {
    uint32_t states[MAX_LEVEL], n;
    bool died, lived, full;
};

static void level_add(struct level *l, uint32_t state)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (l->states[i] == state) return;
    if (l->n == MAX_LEVEL)
        l->full = true;
    else
        l->states[l->n++] = state;
}

/* From all states of a level by each byte of a range. */
static void spread(struct gem_states *s, const struct level *from, unsigned lo, unsigned hi, struct level *to)
{
    for (uint32_t i = 0; i < from->n; i++) {
        unsigned previous = 256;
        for (unsigned byte = lo; byte <= hi; byte++) {
            const unsigned byte_class = s->a->class_of[byte];
            uint32_t next;
            if (byte_class == previous) continue;
            previous = byte_class;
            next = gem_states_next(s, from->states[i], byte_class);
            to->lived |= next != 0;
            to->died |= next == 0;
            if (next) level_add(to, next);
        }
    }
}

/* All characters of UTF-8 that are plain, as sequences of ranges of bytes. */
static void spread_plain(struct gem_states *s, const struct level *from, struct level *to)
{
    static const uint8_t forms[][4][2] = {
        {{0x20, 0x21}},
        {{0x23, 0x5b}},
        {{0x5d, 0x7f}},
        {{0xc2, 0xdf}, {0x80, 0xbf}},
        {{0xe0, 0xe0}, {0xa0, 0xbf}, {0x80, 0xbf}},
        {{0xe1, 0xe1}, {0x80, 0xbf}, {0x80, 0xbf}},
        {{0xe2, 0xe2}, {0x80, 0x80}, {0x80, 0xa7}},
        {{0xe2, 0xe2}, {0x80, 0x80}, {0xaa, 0xbf}},
        {{0xe2, 0xe2}, {0x81, 0xbf}, {0x80, 0xbf}},
        {{0xe3, 0xec}, {0x80, 0xbf}, {0x80, 0xbf}},
        {{0xed, 0xed}, {0x80, 0x9f}, {0x80, 0xbf}},
        {{0xee, 0xef}, {0x80, 0xbf}, {0x80, 0xbf}},
        {{0xf0, 0xf0}, {0x90, 0xbf}, {0x80, 0xbf}, {0x80, 0xbf}},
        {{0xf1, 0xf3}, {0x80, 0xbf}, {0x80, 0xbf}, {0x80, 0xbf}},
        {{0xf4, 0xf4}, {0x80, 0x8f}, {0x80, 0xbf}, {0x80, 0xbf}},
    };

    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        struct level levels[2] = {*from, {.n = 0}};
        unsigned k = 0;
        for (; k < 4 && forms[f][k][1]; k++) {
            const bool last = k == 3 || !forms[f][k + 1][1];
            struct level *next = last ? to : &levels[(k + 1) % 2];
            if (!last) *next = (struct level){.n = 0};
            spread(s, &levels[k % 2], forms[f][k][0], forms[f][k][1], next);
            to->died |= next->died;
            to->full |= next->full;
        }
    }
}

static bool same_level(const struct level *a, const struct level *b)
{
    if (a->n != b->n) return false;
    for (uint32_t i = 0; i < a->n; i++) {
        uint32_t k = 0;
        while (k < b->n && b->states[k] != a->states[i]) k++;
        if (k == b->n) return false;
    }
    return true;
}

/* How many plain characters in a row a state surely takes without leaving its rule, where one more would not do; set in
 * mask->plain, with the largest `least` on the way. UINT32_MAX where it depends on the characters. */
static void measure_plain(struct local_walk *w, uint32_t state)
{
    struct gem_states *s = &w->c->states;
    const uint32_t enough = w->c->trie->most_plain;
    struct level now = {.states = {state}, .n = 1};
    struct gem_local_mask *m = w->mask;

    m->plain = m->plain_most = 0;
    m->plain_least = UINT32_MAX;
    while (m->plain < enough) {
        struct level next = {.n = 0};
        spread_plain(s, &now, &next);
        if (next.died && !next.lived) return; /* none is taken any more */
        if (next.died || next.full || s->status) {
            m->plain = UINT32_MAX;
            return;
        }
        for (uint32_t i = 0; i < next.n; i++) {
            const uint32_t least = s->states[next.states[i]].least;
            if (leaves(w, next.states[i])) m->plain = UINT32_MAX;
            if (least > m->plain_most) m->plain_most = least;
            if (least < m->plain_least) m->plain_least = least;
        }
        if (m->plain == UINT32_MAX) return;
        m->plain++;
        if (same_level(&now, &next)) m->plain = enough;
        now = next;
    }
}

/* ---- masks of states --------------------------------------------------------------------------------- */

static void add_words(uint64_t *bits, const uint64_t *more, uint32_t n_words)
{
    for (uint32_t i = 0; i < n_words; i++) bits[i] |= more[i];
}

/* Tokens of one rule alone, into empty bits; with w->mask set, also finds all that a local mask has. */
static void find_local(struct local_walk *w, const struct gem_local_mask *known, uint32_t state)
{
    const struct gem_trie *trie = w->c->trie;
    const bool simple = known->plain != UINT32_MAX;

    w->tree = simple ? &trie->not_plain : &trie->all;
    if (simple && known->plain_most <= w->limit) {
        if (known->plain > 0) add_words(w->bits, trie->plain[known->plain], trie->n_words);
    } else if (simple && known->plain_least <= w->limit) { /* some of them */
        w->tree = &trie->all;
    }
    walk_local(w, state);
}

static bool grow_local(struct gem_constraint *c, uint32_t state)
{
    uint32_t want = c->cap_local ? c->cap_local : 64;

    if (state < c->cap_local) return true;
    while (want <= state) want *= 2;
    for (int bottom = 0; bottom < 2; bottom++) {
        struct gem_local_mask **p = gem_realloc(c->local[bottom], want, sizeof *p, "masks of a constraint", c->err);
        if (!p) {
            c->status = GEM_E_NOMEM;
            return false;
        }
        memset(p + c->cap_local, 0, (want - c->cap_local) * sizeof *p);
        c->local[bottom] = p;
    }
    c->cap_local = want;
    return true;
}

static void free_local(struct gem_local_mask *m)
{
    if (!m) return;
    gem_free(m->set.data);
    gem_free(m->exits);
    gem_free(m);
}

static const struct gem_local_mask *make_local(struct gem_constraint *c, uint32_t state, bool bottom)
{
    struct gem_local_mask *m = take(c, 1, sizeof *m);
    uint64_t *bits = gem_calloc(c->trie->n_words, sizeof *bits, "masks of a constraint", c->err);
    struct local_walk w = {.c = c, .bits = bits, .mask = m, .limit = UINT32_MAX, .bottom = bottom};

    if (!m || !bits) {
        c->status = GEM_E_NOMEM;
        goto fail;
    }
    measure_plain(&w, state);
    m->most = m->plain == UINT32_MAX ? 0 : m->plain_most;
    find_local(&w, m, state);
    c->cached_bytes += m->cap_exits * sizeof *m->exits;
    if (!c->status) set_from_bits(c, &m->set, bits);
    if (c->status) goto fail;
    gem_free(bits);
    c->local[bottom][state] = m;
    return m;
fail:
    gem_free(bits);
    free_local(m);
    return NULL;
}

/* NULL after a failure. */
static const struct gem_local_mask *local_mask(struct gem_constraint *c, uint32_t state, bool bottom)
{
    const uint32_t alike = gem_states_alike(&c->states, state, c->trie->most_bytes);

    if (c->states.status) {
        c->status = c->states.status;
        if (c->err) *c->err = c->states.error;
        return NULL;
    }
    if (!grow_local(c, alike)) return NULL;
    return c->local[bottom][alike] ? c->local[bottom][alike] : make_local(c, alike, bottom);
}

void gem_constraint_free_masks(struct gem_constraint *c)
{
    for (uint32_t i = 0; i < c->cap_local; i++)
        for (int bottom = 0; bottom < 2; bottom++) {
            free_local(c->local[bottom][i]);
            c->local[bottom][i] = NULL;
        }
    for (uint32_t i = 0; i < c->n_configs; i++) gem_free(c->configs[i].mask.data);
    for (uint32_t i = 0; i < c->n_configs; i++) c->configs[i].mask = (struct gem_token_set){0};
}

/* ---- masks of configurations ------------------------------------------------------------------------- */

/* Tokens below a node of the tree. Returns the largest `least` after any of them. */
static uint32_t walk_config(struct gem_constraint *c, const struct gem_trie_tree *tree, uint32_t node, uint32_t config,
                            uint32_t limit, uint64_t *bits)
{
    const struct gem_trie_node *nodes = tree->nodes;
    const uint32_t base = nodes[node].depth, end = nodes[node].next;
    uint32_t path[GEM_TRIE_MAX_DEPTH + 1], most = 0;

    path[base] = config;
    for (uint32_t i = node + 1; i < end && !c->status;) {
        const uint32_t depth = nodes[i].depth;
        const uint32_t next = gem_config_next(c, path[depth - 1], c->automaton.class_of[nodes[i].byte]);
        if (next == 0) {
            i = nodes[i].next;
            continue;
        }
        path[depth] = next;
        if (nodes[i + 1].first > nodes[i].first) {
            const uint32_t least = c->configs[next].least;
            if (least > most) most = least;
            for (uint32_t k = nodes[i].first; k < nodes[i + 1].first && least <= limit; k++)
                set_bit(bits, tree->ids[k]);
        }
        i++;
    }
    return most;
}

/* The part of a mask that one thread gives. Returns the largest `least`. */
static uint32_t add_thread_mask(struct gem_constraint *c, struct gem_thread t, uint32_t limit, uint64_t *bits)
{
    const struct gem_local_mask *m = local_mask(c, t.state, t.frame == 0);
    const uint32_t below = c->frames[t.frame].least;
    const struct gem_trie_tree *tree;
    uint32_t most, last = 0, config = 0;

    if (!m) return 0;
    most = gem_least_add(m->most, below);
    if (most <= limit) {
        add_set(&m->set, bits, c->trie->n_words);
    } else if (below <= limit) {
        /* Measured again, for `m` may be of a state that is only alike: with other counts, so another `least`. */
        struct gem_local_mask plain = {.n_exits = 0};
        struct local_walk w = {.c = c, .bits = bits, .mask = &plain, .limit = limit - below, .bottom = t.frame == 0};
        measure_plain(&w, t.state);
        w.mask = NULL;
        find_local(&w, &plain, t.state);
    }
    tree = m->plain != UINT32_MAX ? &c->trie->not_plain : &c->trie->all;
    for (uint32_t i = 0; i < m->n_exits && !c->status; i++) {
        uint32_t after;
        if (m->exits[i].state != last) { /* runs of equal ones are common: the end of a string, say */
            last = m->exits[i].state;
            config = gem_config_leave(c, t.frame, last);
        }
        if (config == 0) continue;
        after = walk_config(c, tree, m->exits[i].node, config, limit, bits);
        if (after > most) most = after;
    }
    return most;
}

void gem_config_mask(struct gem_constraint *c, uint32_t config, uint32_t limit, uint64_t *bits)
{
    const struct gem_config k = c->configs[config];
    uint32_t most = 0;

    memset(bits, 0, c->trie->n_words * sizeof *bits);
    if (k.has_mask && k.most <= limit) {
        add_set(&k.mask, bits, c->trie->n_words);
        return;
    }
    for (uint32_t i = 0; i < k.n && !c->status; i++) {
        const uint32_t after = add_thread_mask(c, c->threads[k.threads + i], limit, bits);
        if (after > most) most = after;
    }
    if (c->status || most > limit || k.has_mask) return;
    set_from_bits(c, &c->configs[config].mask, bits);
    if (c->status) return;
    c->configs[config].has_mask = true;
    c->configs[config].most = most;
}
