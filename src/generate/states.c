/* SPDX-License-Identifier: Apache-2.0
 * src/generate/states.c - the subset construction, lazily. */
#include "generate/automaton.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

static inline uint32_t node_of(uint64_t position) { return (uint32_t)position; }
static inline uint32_t count_of(uint64_t position) { return (uint32_t)(position >> 32); }
static inline uint64_t position_of(uint32_t node, uint32_t count) { return (uint64_t)count << 32 | node; }

static void fail_limit(struct gem_states *s, const char *what, size_t most)
{
    if (!s->status)
        s->status =
            gem_fail(&s->error, GEM_E_LIMIT, 0, "the constraint is too ambiguous: more than %zu %s", most, what);
}

/* As gem_grammar_grow. */
static bool grow(struct gem_states *s, void *p, uint32_t n, uint32_t *cap, size_t more, size_t size, size_t limit,
                 const char *what)
{
    size_t want = *cap ? *cap : 64;
    void *q;

    if (s->status) return false;
    if (n + more > limit) {
        fail_limit(s, what, limit);
        return false;
    }
    if (n + more <= *cap) return true;
    while (want < n + more) want *= 2;
    memcpy(&q, p, sizeof q);
    if (!(q = gem_realloc(q, want, size, "states of a constraint", &s->error))) {
        s->status = GEM_E_NOMEM;
        return false;
    }
    memcpy(p, &q, sizeof q);
    *cap = (uint32_t)want;
    return true;
}

/* ---- sets of positions ------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
    x *= UINT64_C(0x9e3779b97f4a7c15);
    return x ^ x >> 32;
}

static bool grow_seen(struct gem_states *s)
{
    const uint32_t mask = s->seen_mask * 2 + 1;
    uint64_t *seen = gem_calloc((size_t)mask + 1, sizeof *seen, "states of a constraint", &s->error);

    if (!seen) {
        s->status = GEM_E_NOMEM;
        return false;
    }
    for (uint32_t i = 0; i <= s->seen_mask; i++) {
        uint32_t at;
        if (!s->seen[i]) continue;
        at = (uint32_t)mix(s->seen[i]) & mask;
        while (seen[at]) at = (at + 1) & mask;
        seen[at] = s->seen[i];
    }
    gem_free(s->seen);
    s->seen = seen;
    s->seen_mask = mask;
    return true;
}

/* Puts a position on the list of those to look at, unless it was seen or leads nowhere. */
static void push(struct gem_states *s, uint64_t position)
{
    uint32_t at;

    if (s->status || s->a->least[node_of(position)] == GEM_UNREACHABLE) return;
    at = (uint32_t)mix(position + 1) & s->seen_mask;
    while (s->seen[at] && s->seen[at] != position + 1) at = (at + 1) & s->seen_mask;
    if (s->seen[at]) return;
    if (!grow(s, &s->todo, s->n_todo, &s->cap_todo, 1, sizeof *s->todo, 64 * GEM_STATES_MAX_SET, "positions at a time"))
        return;
    s->seen[at] = position + 1;
    s->todo[s->n_todo++] = position;
    if (++s->n_seen > s->seen_mask / 2) grow_seen(s);
}

/* After a repetition: again, on, or both. */
static void leave_loop(struct gem_states *s, const struct gem_loop *l, uint32_t count)
{
    /* Without an upper bound all counts from `least` on are the same. */
    const uint32_t done = l->most == GEM_REPEAT_FOREVER && count >= l->least ? l->least : count + 1;

    if (done >= l->least) push(s, position_of(l->exit, 0));
    if (done < l->most) push(s, position_of(l->start, done));
}

static void follow_empty(struct gem_states *s, uint64_t position, bool *keeps)
{
    const struct gem_automaton *a = s->a;
    const uint32_t node = node_of(position);

    for (uint32_t e = a->first[node]; e < a->first[node + 1]; e++) {
        const struct gem_edge *edge = &a->edges[e];
        if (edge->kind == GEM_EDGE_EMPTY) {
            push(s, position_of(edge->to, count_of(position)));
        } else if (edge->kind == GEM_EDGE_LOOP) {
            const struct gem_loop *l = &a->loops[edge->rule];
            if (a->least[l->exit] == GEM_UNREACHABLE) continue;
            push(s, position_of(l->start, 0));
            if (l->least == 0) push(s, position_of(l->exit, 0));
        } else {
            *keeps = true;
        }
    }
    if (a->loop_of[node] && a->loops[a->loop_of[node] - 1].end == node)
        leave_loop(s, &a->loops[a->loop_of[node] - 1], count_of(position));
}

static void begin(struct gem_states *s)
{
    s->n_set = 0;
    s->n_todo = 0;
    if (s->n_seen > 0) memset(s->seen, 0, ((size_t)s->seen_mask + 1) * sizeof *s->seen);
    s->n_seen = 0;
}

static int compare_positions(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* From the pushed positions to the set of all that can be reached without a byte, of which only those matter that have
 * an edge for a byte or a call, or are an end. */
static void close_set(struct gem_states *s)
{
    for (uint32_t i = 0; i < s->n_todo && !s->status; i++) {
        bool keeps = false;
        follow_empty(s, s->todo[i], &keeps);
        if (!keeps && !s->a->is_end[node_of(s->todo[i])]) continue;
        if (!grow(s, &s->set, s->n_set, &s->cap_set, 1, sizeof *s->set, GEM_STATES_MAX_SET, "positions at a time"))
            return;
        s->set[s->n_set++] = s->todo[i];
    }
    if (s->n_set > 1) qsort(s->set, s->n_set, sizeof *s->set, compare_positions);
}

static uint32_t least_of(const struct gem_automaton *a, uint64_t position)
{
    const uint32_t node = node_of(position), loop = a->loop_of[node];
    const struct gem_loop *l;
    uint32_t missing;

    if (!loop) return a->least[node];
    l = &a->loops[loop - 1];
    missing = l->least > count_of(position) ? l->least - count_of(position) - 1 : 0;
    if (missing > 0 && a->least[l->start] > GEM_LEAST_MAX / missing) return GEM_LEAST_MAX;
    return gem_least_add(a->least[node], gem_least_add(missing * a->least[l->start], a->least[l->exit]));
}

/* ---- states ------------------------------------------------------------------------------------------ */

static uint32_t hash_set(const uint64_t *set, uint32_t n)
{
    uint64_t h = n;

    for (uint32_t i = 0; i < n; i++) h = mix(h ^ set[i]);
    return (uint32_t)(h ^ h >> 29);
}

static bool grow_slots(struct gem_states *s)
{
    const uint32_t mask = s->slot_mask * 2 + 1;
    uint32_t *slots = gem_calloc((size_t)mask + 1, sizeof *slots, "states of a constraint", &s->error);

    if (!slots) {
        s->status = GEM_E_NOMEM;
        return false;
    }
    for (uint32_t i = 1; i < s->n_states; i++) {
        uint32_t at = hash_set(s->positions + s->states[i].first, s->states[i].n) & mask;
        while (slots[at]) at = (at + 1) & mask;
        slots[at] = i;
    }
    gem_free(s->slots);
    s->slots = slots;
    s->slot_mask = mask;
    return true;
}

static bool has_byte_edge(const struct gem_automaton *a, uint32_t node)
{
    for (uint32_t e = a->first[node]; e < a->first[node + 1]; e++)
        if (a->edges[e].kind == GEM_EDGE_BYTE && a->least[a->edges[e].to] != GEM_UNREACHABLE) return true;
    return false;
}

static uint32_t add_state(struct gem_states *s, uint32_t n)
{
    const uint32_t n_classes = s->a->n_classes, id = s->n_states;
    struct gem_state *state;

    if (!grow(s, &s->positions, s->n_positions, &s->cap_positions, n, sizeof *s->positions, GEM_STATES_MAX_TOTAL,
              "positions in all") ||
        !grow(s, &s->states, id, &s->cap_states, 1, sizeof *s->states, GEM_STATES_MAX, "states") ||
        !grow(s, &s->next, id * n_classes, &s->cap_next, n_classes, sizeof *s->next, (size_t)GEM_STATES_MAX * 256,
              "transitions"))
        return 0;
    state = &s->states[id];
    *state = (struct gem_state){.first = s->n_positions, .n = n, .least = GEM_UNREACHABLE};
    if (n > 0) memcpy(s->positions + s->n_positions, s->set, n * sizeof *s->set);
    s->n_positions += n;
    memset(s->next + (size_t)id * n_classes, 0xff, n_classes * sizeof *s->next);
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t least = least_of(s->a, s->set[i]);
        if (least < state->least) state->least = least;
        state->at_end |= s->a->is_end[node_of(s->set[i])];
        state->has_bytes |= has_byte_edge(s->a, node_of(s->set[i]));
    }
    state->only_end = n == 1 && state->at_end && s->a->first[node_of(s->set[0])] == s->a->first[node_of(s->set[0]) + 1];
    s->n_states++;
    return id;
}

/* The number of the state that the scratch set is. */
static uint32_t intern(struct gem_states *s)
{
    uint32_t at, id;

    if (s->status || s->n_set == 0) return 0;
    at = hash_set(s->set, s->n_set) & s->slot_mask;
    for (; (id = s->slots[at]) != 0; at = (at + 1) & s->slot_mask)
        if (s->states[id].n == s->n_set &&
            !memcmp(s->positions + s->states[id].first, s->set, s->n_set * sizeof *s->set))
            return id;
    if (!(id = add_state(s, s->n_set))) return 0;
    s->slots[at] = id;
    if (s->n_states > s->slot_mask / 2 && !grow_slots(s)) return 0;
    return id;
}

uint32_t gem_states_start(struct gem_states *s, uint32_t rule)
{
    begin(s);
    push(s, position_of(s->a->start[rule], 0));
    close_set(s);
    return intern(s);
}

uint32_t gem_states_advance(struct gem_states *s, uint32_t state, uint32_t byte_class)
{
    const struct gem_automaton *a = s->a;
    const struct gem_state *q = &s->states[state];
    const uint8_t byte = a->example[byte_class];
    uint32_t next;

    if (s->status) return 0;
    begin(s);
    for (uint32_t i = q->first; i < q->first + q->n; i++) {
        const uint32_t node = node_of(s->positions[i]);
        for (uint32_t e = a->first[node]; e < a->first[node + 1]; e++)
            if (a->edges[e].kind == GEM_EDGE_BYTE && a->edges[e].lo <= byte && byte <= a->edges[e].hi)
                push(s, position_of(a->edges[e].to, count_of(s->positions[i])));
    }
    close_set(s);
    next = intern(s);
    if (s->status) return 0;
    s->next[(size_t)state * a->n_classes + byte_class] = next;
    return next;
}

/* Calls of one rule go back to one state: the set of all nodes that follow such a call. */
static uint32_t back_state(struct gem_states *s, uint32_t state, uint32_t rule)
{
    const struct gem_automaton *a = s->a;
    const struct gem_state *q = &s->states[state];

    begin(s);
    for (uint32_t i = q->first; i < q->first + q->n; i++) {
        const uint32_t node = node_of(s->positions[i]);
        for (uint32_t e = a->first[node]; e < a->first[node + 1]; e++)
            if (a->edges[e].kind == GEM_EDGE_CALL && a->edges[e].rule == rule) push(s, position_of(a->edges[e].to, 0));
    }
    close_set(s);
    return intern(s);
}

static bool has_call(const struct gem_states *s, uint32_t first, uint32_t rule)
{
    for (uint32_t i = first; i < s->n_calls; i++)
        if (s->calls[i].rule == rule) return true;
    return false;
}

void gem_states_find_calls(struct gem_states *s, uint32_t state)
{
    const struct gem_automaton *a = s->a;
    const uint32_t first = s->n_calls, positions = s->states[state].first, n = s->states[state].n;

    for (uint32_t i = positions; i < positions + n && !s->status; i++) {
        const uint32_t node = node_of(s->positions[i]);
        for (uint32_t e = a->first[node]; e < a->first[node + 1]; e++) {
            const uint32_t rule = a->edges[e].rule;
            uint32_t back;
            if (a->edges[e].kind != GEM_EDGE_CALL || has_call(s, first, rule)) continue;
            if (a->least[a->start[rule]] == GEM_UNREACHABLE || !(back = back_state(s, state, rule))) continue;
            if (!grow(s, &s->calls, s->n_calls, &s->cap_calls, 1, sizeof *s->calls, GEM_STATES_MAX_TOTAL, "calls"))
                return;
            s->calls[s->n_calls++] = (struct gem_call){.rule = rule, .back = back};
        }
    }
    s->states[state].calls = first;
    s->states[state].n_calls = s->n_calls - first;
    s->states[state].has_calls = true;
}

/* A count that is further from both bounds than a token can reach may be any other such count. */
static uint32_t alike_count(const struct gem_loop *l, uint32_t count, uint32_t max_bytes)
{
    if (l->most != GEM_REPEAT_FOREVER && (count >= l->most || l->most - count <= max_bytes + 1)) return count;
    if (count >= l->least) return l->least;
    return l->least - count > max_bytes + 1 ? 0 : count;
}

uint32_t gem_states_alike(struct gem_states *s, uint32_t state, uint32_t max_bytes)
{
    const struct gem_automaton *a = s->a;
    const struct gem_state *q = &s->states[state];
    bool changed = false;

    begin(s);
    if (!grow(s, &s->set, 0, &s->cap_set, q->n, sizeof *s->set, GEM_STATES_MAX_SET, "positions at a time")) return 0;
    for (uint32_t i = 0; i < q->n; i++) {
        const uint64_t position = s->positions[q->first + i];
        const uint32_t loop = a->loop_of[node_of(position)];
        uint32_t count = count_of(position);
        if (loop) count = alike_count(&a->loops[loop - 1], count, max_bytes);
        changed |= count != count_of(position);
        s->set[i] = position_of(node_of(position), count);
    }
    if (!changed) return state;
    qsort(s->set, q->n, sizeof *s->set, compare_positions);
    s->n_set = 0;
    for (uint32_t i = 0; i < q->n; i++) /* two may have become one */
        if (i == 0 || s->set[i] != s->set[s->n_set - 1]) s->set[s->n_set++] = s->set[i];
    return intern(s);
}

uint32_t gem_states_import(struct gem_states *to, const struct gem_states *from, uint32_t state)
{
    const struct gem_state *q = &from->states[state];

    begin(to);
    if (!grow(to, &to->set, 0, &to->cap_set, q->n, sizeof *to->set, GEM_STATES_MAX_SET, "positions at a time"))
        return 0;
    memcpy(to->set, from->positions + q->first, q->n * sizeof *to->set);
    to->n_set = q->n;
    return intern(to);
}

gem_status gem_states_open(struct gem_states *s, const struct gem_automaton *a, gem_error *err)
{
    *s = (struct gem_states){.a = a, .slot_mask = 63, .seen_mask = 63};
    s->slots = gem_calloc(64, sizeof *s->slots, "states of a constraint", err);
    s->seen = gem_calloc(64, sizeof *s->seen, "states of a constraint", err);
    if (!s->slots || !s->seen) goto fail;
    add_state(s, 0); /* the dead one: every byte leads back to it */
    if (s->status) {
        if (err) *err = s->error;
        goto fail;
    }
    memset(s->next, 0, a->n_classes * sizeof *s->next);
    s->states[0].has_calls = true;
    return GEM_OK;
fail:
    gem_states_close(s);
    return GEM_E_NOMEM;
}

void gem_states_close(struct gem_states *s)
{
    gem_free(s->positions);
    gem_free(s->states);
    gem_free(s->next);
    gem_free(s->calls);
    gem_free(s->slots);
    gem_free(s->set);
    gem_free(s->todo);
    gem_free(s->seen);
    *s = (struct gem_states){0};
}
