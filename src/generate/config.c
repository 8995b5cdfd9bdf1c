/* SPDX-License-Identifier: Apache-2.0
 * src/generate/config.c - stacks and configurations of a constraint, and how a byte moves them. */
#include "generate/constraint.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

bool gem_constraint_grow(struct gem_constraint *c, void *p, uint32_t n, uint32_t *cap, size_t more, size_t size,
                         size_t limit, const char *what)
{
    size_t want = *cap ? *cap : 64;
    void *q;

    if (c->status) return false;
    if (n + more > limit) {
        c->status = gem_fail(c->err, GEM_E_LIMIT, 0, "the constraint is too ambiguous: more than %zu %s", limit, what);
        return false;
    }
    if (n + more <= *cap) return true;
    while (want < n + more) want *= 2;
    memcpy(&q, p, sizeof q);
    if (!(q = gem_realloc(q, want, size, "a constraint", c->err))) {
        c->status = GEM_E_NOMEM;
        return false;
    }
    memcpy(p, &q, sizeof q);
    *cap = (uint32_t)want;
    return true;
}

/* A failure of the states below is one of this call. */
static bool states_failed(struct gem_constraint *c)
{
    if (c->states.status && !c->status) {
        c->status = c->states.status;
        if (c->err) *c->err = c->states.error;
    }
    return c->status != GEM_OK;
}

static uint32_t *new_slots(struct gem_constraint *c, uint32_t mask)
{
    uint32_t *slots = gem_calloc((size_t)mask + 1, sizeof *slots, "a constraint", c->err);

    if (!slots) c->status = GEM_E_NOMEM;
    return slots;
}

/* ---- frames ------------------------------------------------------------------------------------------ */

static uint32_t hash_pair(uint32_t a, uint32_t b)
{
    const uint64_t h = ((uint64_t)a << 32 | b) * UINT64_C(0x9e3779b97f4a7c15);

    return (uint32_t)(h >> 32 ^ h >> 15);
}

static void grow_frame_slots(struct gem_constraint *c)
{
    const uint32_t mask = c->frame_mask * 2 + 1;
    uint32_t *slots = new_slots(c, mask);

    if (!slots) return;
    for (uint32_t i = 1; i < c->n_frames; i++) {
        uint32_t at = hash_pair(c->frames[i].back, c->frames[i].below) & mask;
        while (slots[at]) at = (at + 1) & mask;
        slots[at] = i;
    }
    gem_free(c->frame_slots);
    c->frame_slots = slots;
    c->frame_mask = mask;
}

/* The frame that goes back to a state; the one below itself where that state could only end its rule. */
static uint32_t frame_of(struct gem_constraint *c, uint32_t back, uint32_t below)
{
    uint32_t at, id;

    if (c->states.states[back].only_end) return below;
    at = hash_pair(back, below) & c->frame_mask;
    for (; (id = c->frame_slots[at]) != 0; at = (at + 1) & c->frame_mask)
        if (c->frames[id].back == back && c->frames[id].below == below) return id;
    if (!gem_constraint_grow(c, &c->frames, c->n_frames, &c->cap_frames, 1, sizeof *c->frames,
                             GEM_CONSTRAINT_MAX_FRAMES, "stacks"))
        return 0;
    id = c->n_frames++;
    c->frames[id] = (struct gem_frame){
        .back = back, .below = below, .least = gem_least_add(c->states.states[back].least, c->frames[below].least)};
    c->frame_slots[at] = id;
    if (c->n_frames > c->frame_mask / 2) grow_frame_slots(c);
    return id;
}

/* ---- a configuration in the making ------------------------------------------------------------------- */

static void begin(struct gem_constraint *c)
{
    c->n_scratch = 0;
    c->scratch_done = false;
}

static void add_thread(struct gem_constraint *c, uint32_t frame, uint32_t state)
{
    if (c->status || state == 0) return;
    for (uint32_t i = 0; i < c->n_scratch; i++)
        if (c->scratch[i].frame == frame && c->scratch[i].state == state) return;
    if (c->n_scratch == GEM_CONSTRAINT_MAX_THREADS) {
        c->status = gem_fail(c->err, GEM_E_LIMIT, 0, "the constraint is too ambiguous: more than %d readings of a text",
                             GEM_CONSTRAINT_MAX_THREADS);
        return;
    }
    c->scratch[c->n_scratch++] = (struct gem_thread){frame, state};
}

static uint32_t start_of(struct gem_constraint *c, uint32_t rule)
{
    if (c->rule_start[rule] == UINT32_MAX) c->rule_start[rule] = gem_states_start(&c->states, rule);
    return states_failed(c) ? 0 : c->rule_start[rule];
}

/* Adds what can come without a byte: after the end of the rule, and at the start of those that it calls. */
static void leave(struct gem_constraint *c, uint32_t frame, uint32_t state)
{
    if (c->states.states[state].at_end) {
        if (frame == 0)
            c->scratch_done = true;
        else
            add_thread(c, c->frames[frame].below, c->frames[frame].back);
    }
    if (!c->states.states[state].has_calls) gem_states_find_calls(&c->states, state);
    if (states_failed(c)) return;
    for (uint32_t i = 0; i < c->states.states[state].n_calls && !c->status; i++) {
        const struct gem_call call = c->states.calls[c->states.states[state].calls + i];
        const uint32_t start = start_of(c, call.rule);
        if (!c->status) add_thread(c, frame_of(c, call.back, frame), start);
    }
}

static int compare_threads(const void *a, const void *b)
{
    const struct gem_thread *x = a, *y = b;

    if (x->frame != y->frame) return x->frame < y->frame ? -1 : 1;
    return (x->state > y->state) - (x->state < y->state);
}

static uint32_t hash_threads(const struct gem_thread *t, uint32_t n, bool done)
{
    uint32_t h = n * 2 + done;

    for (uint32_t i = 0; i < n; i++) h = hash_pair(h ^ t[i].frame, t[i].state);
    return h;
}

static void grow_config_slots(struct gem_constraint *c)
{
    const uint32_t mask = c->config_mask * 2 + 1;
    uint32_t *slots = new_slots(c, mask);

    if (!slots) return;
    for (uint32_t i = 1; i < c->n_configs; i++) {
        const struct gem_config *k = &c->configs[i];
        uint32_t at = hash_threads(c->threads + k->threads, k->n, k->done) & mask;
        while (slots[at]) at = (at + 1) & mask;
        slots[at] = i;
    }
    gem_free(c->config_slots);
    c->config_slots = slots;
    c->config_mask = mask;
}

static uint32_t add_config(struct gem_constraint *c)
{
    struct gem_config *k;

    if (!gem_constraint_grow(c, &c->threads, c->n_threads, &c->cap_threads, c->n_scratch, sizeof *c->threads,
                             16 * GEM_CONSTRAINT_MAX_CONFIGS, "readings in all") ||
        !gem_constraint_grow(c, &c->configs, c->n_configs, &c->cap_configs, 1, sizeof *c->configs,
                             GEM_CONSTRAINT_MAX_CONFIGS, "configurations"))
        return 0;
    k = &c->configs[c->n_configs];
    *k = (struct gem_config){.threads = c->n_threads, .n = c->n_scratch, .done = c->scratch_done};
    k->least = k->done ? 0 : GEM_UNREACHABLE;
    for (uint32_t i = 0; i < c->n_scratch; i++) {
        const struct gem_thread t = c->scratch[i];
        const uint32_t least = gem_least_add(c->states.states[t.state].least, c->frames[t.frame].least);
        if (least < k->least) k->least = least;
        c->threads[c->n_threads++] = t;
    }
    c->cached_bytes += sizeof *k + c->n_scratch * sizeof *c->threads;
    return c->n_configs++;
}

/* Completes the scratch threads by all that comes without a byte, and gives their number. Threads that no byte can move
 * have done their part then. */
static uint32_t intern(struct gem_constraint *c)
{
    uint32_t n = 0, at, id;

    for (uint32_t i = 0; i < c->n_scratch && !c->status; i++) leave(c, c->scratch[i].frame, c->scratch[i].state);
    if (c->status) return 0;
    for (uint32_t i = 0; i < c->n_scratch; i++)
        if (c->states.states[c->scratch[i].state].has_bytes) c->scratch[n++] = c->scratch[i];
    c->n_scratch = n;
    if (n == 0 && !c->scratch_done) return 0;
    if (n > 1) qsort(c->scratch, n, sizeof *c->scratch, compare_threads);
    at = hash_threads(c->scratch, n, c->scratch_done) & c->config_mask;
    for (; (id = c->config_slots[at]) != 0; at = (at + 1) & c->config_mask)
        if (c->configs[id].n == n && c->configs[id].done == c->scratch_done &&
            (n == 0 || !memcmp(c->threads + c->configs[id].threads, c->scratch, n * sizeof *c->scratch)))
            return id;
    if (!(id = add_config(c))) return 0;
    c->config_slots[at] = id;
    if (c->n_configs > c->config_mask / 2) grow_config_slots(c);
    return id;
}

uint32_t gem_config_leave(struct gem_constraint *c, uint32_t frame, uint32_t state)
{
    begin(c);
    leave(c, frame, state);
    return intern(c);
}

static bool add_row(struct gem_constraint *c, uint32_t config)
{
    const uint32_t n_classes = c->automaton.n_classes;

    if (!gem_constraint_grow(c, &c->next, c->n_rows * n_classes, &c->cap_next, n_classes, sizeof *c->next,
                             (size_t)256 * GEM_CONSTRAINT_MAX_CONFIGS, "transitions"))
        return false;
    memset(c->next + (size_t)c->n_rows * n_classes, 0xff, n_classes * sizeof *c->next);
    c->configs[config].row = ++c->n_rows;
    c->cached_bytes += n_classes * sizeof *c->next;
    return true;
}

uint32_t gem_config_advance(struct gem_constraint *c, uint32_t config, uint32_t byte_class)
{
    const struct gem_config k = c->configs[config];
    uint32_t next;

    if (c->status || config == 0 || k.n == 0) return 0;
    if (k.row == 0 && !add_row(c, config)) return 0;
    begin(c);
    for (uint32_t i = 0; i < k.n; i++) {
        const struct gem_thread t = c->threads[k.threads + i];
        const uint32_t state = gem_states_next(&c->states, t.state, byte_class);
        if (states_failed(c)) return 0;
        add_thread(c, t.frame, state);
    }
    next = intern(c);
    if (c->status) return 0;
    c->next[(size_t)(c->configs[config].row - 1) * c->automaton.n_classes + byte_class] = next;
    return next;
}

/* ---- beginning and flushing -------------------------------------------------------------------------- */

void gem_constraint_begin(struct gem_constraint *c)
{
    c->n_frames = 1;
    c->frames[0] = (struct gem_frame){0};
    memset(c->frame_slots, 0, ((size_t)c->frame_mask + 1) * sizeof *c->frame_slots);
    memset(c->config_slots, 0, ((size_t)c->config_mask + 1) * sizeof *c->config_slots);
    c->n_configs = 1;
    c->configs[0] = (struct gem_config){.least = GEM_UNREACHABLE};
    c->n_threads = 0;
    c->n_rows = 0;
    c->cached_bytes = 0;
    begin(c);
    add_thread(c, 0, start_of(c, c->root));
    intern(c); /* becomes configuration 1, unless the root matches nothing */
}

/* What a matcher is in, written so that it outlives the tables. */
struct saved {
    struct gem_thread *threads; /* of all matchers, one after the other */
    uint32_t n_threads, cap_threads;
    uint32_t *backs; /* of the frames of each thread from the bottom up, after their number */
    uint32_t n_backs, cap_backs;
};

static void save_stack(struct gem_constraint *c, struct saved *s, uint32_t frame)
{
    const uint32_t head = s->n_backs;
    uint32_t depth = 0;

    for (uint32_t f = frame; f != 0; f = c->frames[f].below) depth++;
    if (!gem_constraint_grow(c, &s->backs, head, &s->cap_backs, (size_t)depth + 1, sizeof *s->backs,
                             GEM_CONSTRAINT_MAX_FRAMES, "stacks"))
        return;
    s->backs[head] = depth;
    for (uint32_t f = frame; f != 0; f = c->frames[f].below) s->backs[head + depth--] = c->frames[f].back;
    s->n_backs = head + 1 + s->backs[head];
}

static void save(struct gem_constraint *c, struct saved *s)
{
    for (struct gem_matcher *m = c->matchers; m; m = m->next_open) {
        const struct gem_config *k = &c->configs[m->config];
        if (!gem_constraint_grow(c, &s->threads, s->n_threads, &s->cap_threads, k->n, sizeof *s->threads,
                                 16 * GEM_CONSTRAINT_MAX_CONFIGS, "readings in all"))
            return;
        for (uint32_t i = 0; i < k->n; i++) {
            s->threads[s->n_threads++] = c->threads[k->threads + i];
            save_stack(c, s, c->threads[k->threads + i].frame);
        }
    }
}

/* A new table of states with those that are still needed, where the old one is nearly full or ran out of memory. */
static void renew_states(struct gem_constraint *c, struct saved *s)
{
    struct gem_states fresh;

    if (!gem_constraint_is_full(c) || gem_states_open(&fresh, &c->automaton, c->err)) return; /* goes on as it was */
    for (uint32_t i = 0; i < s->n_threads; i++)
        s->threads[i].state = gem_states_import(&fresh, &c->states, s->threads[i].state);
    for (uint32_t head = 0; head < s->n_backs; head += s->backs[head] + 1)
        for (uint32_t i = 1; i <= s->backs[head]; i++)
            s->backs[head + i] = gem_states_import(&fresh, &c->states, s->backs[head + i]);
    gem_states_close(&c->states);
    c->states = fresh; /* should it have failed, then its status says so */
    memset(c->rule_start, 0xff, c->automaton.n_rules * sizeof *c->rule_start);
    states_failed(c);
}

bool gem_constraint_is_full(const struct gem_constraint *c)
{
    return c->states.status || c->states.n_states > GEM_STATES_MAX / 2 ||
           c->states.n_positions > GEM_STATES_MAX_TOTAL / 2 || c->states.n_calls > GEM_STATES_MAX_TOTAL / 2;
}

void gem_constraint_flush(struct gem_constraint *c)
{
    struct saved s = {0};
    uint32_t at = 0, back = 0;

    save(c, &s);
    if (c->status) goto out; /* nothing has changed yet */
    for (struct gem_matcher *m = c->matchers; m; m = m->next_open) m->saved = c->configs[m->config];
    gem_constraint_free_masks(c);
    renew_states(c, &s);
    gem_constraint_begin(c);
    if (c->n_configs < 2) c->configs[1] = c->configs[0]; /* out of memory: what is lost is dead, not wild */
    for (struct gem_matcher *m = c->matchers; m; m = m->next_open) {
        begin(c);
        for (uint32_t i = 0; i < m->saved.n && s.backs; i++) {
            uint32_t frame = 0;
            for (uint32_t depth = s.backs[back++]; depth > 0; depth--) frame = frame_of(c, s.backs[back++], frame);
            add_thread(c, frame, s.threads[at++].state);
        }
        c->scratch_done = m->saved.done;
        m->config = intern(c); /* 0 after a failure */
    }
out:
    gem_free(s.threads);
    gem_free(s.backs);
}
