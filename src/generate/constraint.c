/* SPDX-License-Identifier: Apache-2.0
 * src/generate/constraint.c - constraints and matchers from outside: locking, budgets, forced text. */
#include "generate/constraint.h"

#include "base/memory.h"

#include <string.h>

/* ---- opening and closing ----------------------------------------------------------------------------- */

static gem_status open_tables(struct gem_constraint *c, gem_error *err)
{
    enum { SLOTS = 256 };

    c->frame_mask = c->config_mask = SLOTS - 1;
    c->frame_slots = gem_calloc(SLOTS, sizeof *c->frame_slots, "a constraint", err);
    c->config_slots = gem_calloc(SLOTS, sizeof *c->config_slots, "a constraint", err);
    c->frames = gem_calloc(c->cap_frames = 64, sizeof *c->frames, "a constraint", err);
    c->configs = gem_calloc(c->cap_configs = 64, sizeof *c->configs, "a constraint", err);
    c->scratch = gem_calloc(GEM_CONSTRAINT_MAX_THREADS, sizeof *c->scratch, "a constraint", err);
    c->rule_start = gem_calloc(c->automaton.n_rules, sizeof *c->rule_start, "a constraint", err);
    if (!c->frame_slots || !c->config_slots || !c->frames || !c->configs || !c->scratch || !c->rule_start)
        return GEM_E_NOMEM;
    memset(c->rule_start, 0xff, c->automaton.n_rules * sizeof *c->rule_start);
    return GEM_OK;
}

gem_status gem_constraint_open(struct gem_constraint **out, const struct gem_grammar *g, const struct gem_trie *trie,
                               gem_error *err)
{
    struct gem_constraint *c = gem_calloc(1, sizeof *c, "a constraint", err);
    gem_status st = GEM_E_NOMEM;

    *out = NULL;
    if (!c) return st;
    c->trie = trie;
    c->mask_words = trie->n_words;
    c->root = g->root;
    c->err = err;
    pthread_mutex_init(&c->mutex, NULL);
    if ((st = gem_automaton_open(&c->automaton, g, trie, err))) goto fail;
    if ((st = gem_states_open(&c->states, &c->automaton, err))) goto fail;
    if ((st = open_tables(c, err))) goto fail;
    gem_constraint_begin(c);
    if ((st = c->status)) goto fail;
    if (c->n_configs < 2) {
        st = gem_fail(err, GEM_E_UNSUPPORTED, 0, "no text satisfies the constraint");
        goto fail;
    }
    c->err = NULL;
    *out = c;
    return GEM_OK;
fail:
    gem_constraint_close_parts(c);
    return st;
}

void gem_constraint_close_parts(struct gem_constraint *c)
{
    if (!c) return;
    gem_constraint_free_masks(c);
    for (int bottom = 0; bottom < 2; bottom++) gem_free(c->local[bottom]);
    gem_states_close(&c->states);
    gem_automaton_close(&c->automaton);
    gem_free(c->frames);
    gem_free(c->frame_slots);
    gem_free(c->configs);
    gem_free(c->config_slots);
    gem_free(c->threads);
    gem_free(c->next);
    gem_free(c->rule_start);
    gem_free(c->scratch);
    pthread_mutex_destroy(&c->mutex);
    gem_free(c);
}

/* ---- calls of one matcher at a time ------------------------------------------------------------------ */

static struct gem_constraint *lock(struct gem_matcher *m, gem_error *err)
{
    struct gem_constraint *c = m->constraint;

    pthread_mutex_lock(&c->mutex);
    c->status = GEM_OK;
    c->err = err;
    if (c->cached_bytes > GEM_CONSTRAINT_MAX_CACHE || c->n_frames > GEM_CONSTRAINT_MAX_FRAMES / 2 ||
        gem_constraint_is_full(c))
        gem_constraint_flush(c);
    return c;
}

static gem_status unlock(struct gem_constraint *c)
{
    const gem_status st = c->status;

    c->err = NULL;
    pthread_mutex_unlock(&c->mutex);
    return st;
}

gem_status gem_matcher_begin(struct gem_matcher **out, struct gem_constraint *c, gem_error *err)
{
    struct gem_matcher *m = gem_calloc(1, sizeof *m, "a matcher", err);

    *out = NULL;
    if (!m) return GEM_E_NOMEM;
    m->bits = gem_calloc(c->mask_words, sizeof *m->bits, "a matcher", err);
    if (!m->bits) {
        gem_free(m);
        return GEM_E_NOMEM;
    }
    m->constraint = c;
    m->config = 1;
    pthread_mutex_lock(&c->mutex);
    m->next_open = c->matchers;
    if (c->matchers) c->matchers->previous_open = m;
    c->matchers = m;
    pthread_mutex_unlock(&c->mutex);
    *out = m;
    return GEM_OK;
}

void gem_matcher_end(struct gem_matcher *m)
{
    struct gem_constraint *c;

    if (!m) return;
    c = m->constraint;
    pthread_mutex_lock(&c->mutex);
    if (m->previous_open)
        m->previous_open->next_open = m->next_open;
    else
        c->matchers = m->next_open;
    if (m->next_open) m->next_open->previous_open = m->previous_open;
    pthread_mutex_unlock(&c->mutex);
    gem_free(m->bits);
    gem_free(m);
}

void gem_matcher_reset(struct gem_matcher *m)
{
    pthread_mutex_lock(&m->constraint->mutex);
    m->config = 1;
    pthread_mutex_unlock(&m->constraint->mutex);
}

gem_status gem_matcher_find_mask(struct gem_matcher *m, size_t budget, gem_error *err)
{
    struct gem_constraint *c = lock(m, err);
    const uint32_t least = c->configs[m->config].least;

    m->n_allowed = 0;
    if (!c->status && least > budget)
        c->status = gem_fail(err, GEM_E_LIMIT, 0, "%zu tokens do not suffice for the constraint; it may take %u",
                             budget, least);
    if (!c->status && budget == 0)
        memset(m->bits, 0, c->trie->n_words * sizeof *m->bits);
    else if (!c->status)
        gem_config_mask(c, m->config, budget - 1 < GEM_LEAST_MAX ? (uint32_t)(budget - 1) : GEM_LEAST_MAX, m->bits);
    for (uint32_t i = 0; i < c->trie->n_words && !c->status; i++)
        m->n_allowed += (uint32_t)__builtin_popcountll(m->bits[i]);
    return unlock(c);
}

static uint32_t move(struct gem_constraint *c, uint32_t config, const uint8_t *s, size_t n)
{
    for (size_t i = 0; i < n && config != 0; i++) config = gem_config_next(c, config, c->automaton.class_of[s[i]]);
    return config;
}

gem_status gem_matcher_take_bytes(struct gem_matcher *m, const void *s, size_t n, bool *ok, gem_error *err)
{
    struct gem_constraint *c = lock(m, err);
    uint32_t config = 0;

    if (!c->status) config = move(c, m->config, s, n);
    *ok = !c->status && config != 0;
    if (*ok) m->config = config;
    return unlock(c);
}

gem_status gem_matcher_take(struct gem_matcher *m, int32_t token, gem_error *err)
{
    const struct gem_trie *trie = m->constraint->trie;
    const uint8_t *s;
    size_t n = 0;
    bool ok = false;
    gem_status st;

    if (token >= 0 && (uint32_t)token < trie->n_vocab) {
        s = gem_trie_bytes(trie, token, &n);
        if (n > 0 && (st = gem_matcher_take_bytes(m, s, n, &ok, err))) return st;
    }
    if (ok) return GEM_OK;
    return gem_fail(err, GEM_E_ARGUMENT, 0, "token %d is not allowed here by the constraint", (int)token);
}

bool gem_matcher_done(const struct gem_matcher *m)
{
    bool done;

    pthread_mutex_lock(&m->constraint->mutex);
    done = m->constraint->configs[m->config].done;
    pthread_mutex_unlock(&m->constraint->mutex);
    return done;
}

bool gem_matcher_finished(const struct gem_matcher *m)
{
    bool finished;

    pthread_mutex_lock(&m->constraint->mutex);
    finished = m->constraint->configs[m->config].n == 0;
    pthread_mutex_unlock(&m->constraint->mutex);
    return finished;
}

uint32_t gem_matcher_find_least(const struct gem_matcher *m)
{
    uint32_t least;

    pthread_mutex_lock(&m->constraint->mutex);
    least = m->constraint->configs[m->config].least;
    pthread_mutex_unlock(&m->constraint->mutex);
    return least;
}

/* ---- forced text ------------------------------------------------------------------------------------- */

/* The one class of bytes that can follow, if it has one byte; -1: none or several. */
static int forced_byte(struct gem_constraint *c, uint32_t config)
{
    int forced = -1;

    if (c->configs[config].done) return -1;
    for (uint32_t k = 0; k < c->automaton.n_classes && !c->status; k++) {
        if (!gem_config_next(c, config, k)) continue;
        if (forced >= 0) return -1;
        forced = c->automaton.example[k];
        if (forced < 255 && c->automaton.class_of[forced + 1] == k) return -1;
    }
    return c->status ? -1 : forced;
}

/* Whether a piece begins with s and goes on with what may follow it. */
static bool may_be_longer(struct gem_constraint *c, const uint8_t *s, size_t n, uint32_t config)
{
    const struct gem_trie_tree *tree = &c->trie->all;
    uint32_t path[GEM_TRIE_MAX_DEPTH + 1], node = 0;

    for (size_t i = 0; i < n; i++)
        if (!(node = gem_trie_child(tree, node, s[i]))) return false;
    path[tree->nodes[node].depth] = config;
    for (uint32_t i = node + 1; i < tree->nodes[node].next && !c->status;) {
        const struct gem_trie_node *at = &tree->nodes[i];
        const uint32_t next = gem_config_next(c, path[at->depth - 1], c->automaton.class_of[at->byte]);
        if (next == 0) {
            i = at->next;
            continue;
        }
        if (at[1].first > at->first) return true;
        path[at->depth] = next;
        i++;
    }
    return false;
}

struct forced {
    uint8_t text[GEM_CONSTRAINT_MAX_FORCED];
    uint32_t configs[GEM_CONSTRAINT_MAX_FORCED + 1]; /* after so many bytes */
    size_t n;
};

static void find_forced_text(struct gem_constraint *c, uint32_t config, struct forced *f)
{
    int byte;

    f->n = 0;
    f->configs[0] = config;
    while (f->n < GEM_CONSTRAINT_MAX_FORCED && (byte = forced_byte(c, f->configs[f->n])) >= 0) {
        const uint32_t next = gem_config_next(c, f->configs[f->n], c->automaton.class_of[byte]);
        f->text[f->n++] = (uint8_t)byte;
        f->configs[f->n] = next;
    }
}

/* Spells text [begin, end) that holds no control token. */
static size_t spell(struct gem_constraint *c, const struct forced *f, size_t begin, size_t end, int32_t *tokens,
                    size_t cap)
{
    size_t n = 0;

    if (begin == end || c->status) return 0;
    c->status = gem_tokenizer_encode(c->trie->tokenizer, (const char *)f->text + begin, end - begin, false, tokens, cap,
                                     &n, c->err);
    return n < cap ? n : cap;
}

/* How many of the tokens may stay: they spell f->text, and no longer piece could stand where one of them begins. */
static size_t keep_sure(struct gem_constraint *c, const struct forced *f, const int32_t *tokens, size_t n,
                        size_t budget)
{
    size_t at = 0, sure = 0;

    for (size_t i = 0; i < n && !c->status; i++) {
        size_t len;
        const uint8_t *s = gem_trie_bytes(c->trie, tokens[i], &len);
        if (len == 0 || len > f->n - at || memcmp(s, f->text + at, len)) break; /* a spelling that adds text */
        if (f->n - at <= c->trie->most_bytes && may_be_longer(c, f->text + at, f->n - at, f->configs[f->n])) break;
        at += len;
        if (i + 1 + (size_t)c->configs[f->configs[at]].least <= budget) sure = i + 1;
    }
    return sure;
}

gem_status gem_matcher_find_forced(struct gem_matcher *m, size_t budget, int32_t *tokens, size_t cap, size_t *n,
                                   gem_error *err)
{
    struct gem_constraint *c = lock(m, err);
    struct forced f = {.n = 0};
    size_t begin = 0;

    *n = 0;
    if (!c->status) find_forced_text(c, m->config, &f);
    for (size_t i = 0; i < f.n && !c->status && *n < cap; i++) {
        if (f.text[i] != 0xff || i + 4 > f.n) continue;
        *n += spell(c, &f, begin, i, tokens + *n, cap - *n);
        if (*n < cap) tokens[(*n)++] = (int32_t)f.text[i + 1] << 14 | (int32_t)f.text[i + 2] << 7 | f.text[i + 3];
        begin = i + 4;
        i += 3;
    }
    if (*n < cap) *n += spell(c, &f, begin, f.n, tokens + *n, cap - *n);
    *n = c->status ? 0 : keep_sure(c, &f, tokens, *n, budget);
    return unlock(c);
}
