/* SPDX-License-Identifier: Apache-2.0
 * src/generate/automaton.h - a grammar as a network of nodes, and sets of its nodes as states.
 *
 * Each rule becomes a network between its start and its end; an edge consumes one byte of a range, nothing, a whole
 * rule (a call), or enters a counted loop. Loops count repetitions without copying what they repeat: inside one a
 * position is a node and a count. Loops do not nest and hold no calls; what does not fit that is written out.
 *
 * gem_states makes the network of one rule deterministic where and when it is walked (the subset construction, lazily,
 * over classes of bytes that no edge tells apart): a state is a set of positions. Time per byte is linear in the size
 * of the network, whatever the pattern; afterwards it is one look-up.
 *
 * `least` of a node is a number of tokens that surely suffices from there to the end of its rule: literal text is
 * covered by the vocabulary's longest pieces, everything else costs a token a byte (every byte has its piece). Nodes
 * from which no end can be reached are in no state, so a state that exists can always be completed. */
#ifndef GEM_GENERATE_AUTOMATON_H
#define GEM_GENERATE_AUTOMATON_H

#include "generate/grammar.h"
#include "generate/trie.h"

enum {
    GEM_AUTOMATON_MAX_NODES = 1 << 20,
    GEM_AUTOMATON_MAX_EDGES = 1 << 22,
    GEM_STATES_MAX = 1 << 18,       /* of one automaton */
    GEM_STATES_MAX_SET = 1 << 12,   /* positions of one state */
    GEM_STATES_MAX_TOTAL = 1 << 23, /* positions of all states */
    GEM_PRODUCT_MAX = 1 << 15,      /* states of two patterns together */
};
#define GEM_UNREACHABLE UINT32_MAX
#define GEM_LEAST_MAX   (UINT32_MAX - 1) /* where sums stop growing */

enum gem_edge_kind { GEM_EDGE_BYTE, GEM_EDGE_EMPTY, GEM_EDGE_CALL, GEM_EDGE_LOOP };

struct gem_edge {
    uint32_t from, to;
    uint32_t rule; /* of a call; the loop's number of GEM_EDGE_LOOP */
    uint8_t kind, lo, hi;
};

struct gem_loop {
    uint32_t start, end; /* of one repetition, which is never empty */
    uint32_t exit;       /* goes on here after `least` to `most` of them */
    uint32_t least, most;
};

struct gem_automaton {
    uint32_t n_nodes, n_edges, n_rules, n_loops;
    uint32_t *first;        /* [n_nodes + 1] of each node's edges */
    struct gem_edge *edges; /* [n_edges], by node */
    uint32_t *loop_of;      /* [n_nodes] the loop that a node is in + 1, or 0 */
    uint32_t *least;        /* [n_nodes] tokens to the end of the rule, or to the end of the loop's repetition */
    bool *is_end;           /* [n_nodes] of a rule */
    uint32_t *start;        /* [n_rules] */
    struct gem_loop *loops;
    uint8_t class_of[256]; /* bytes that no edge tells apart are of one class */
    uint8_t example[256];  /* [n_classes] a byte of each */
    uint32_t n_classes;
};

/* Errors: GEM_E_LIMIT for what is too large, GEM_E_UNSUPPORTED for a rule that begins with itself or names a rule that
 * has no definition. trie may be NULL: `least` then counts bytes. */
gem_status gem_automaton_open(struct gem_automaton *a, const struct gem_grammar *g, const struct gem_trie *trie,
                              gem_error *err);
void gem_automaton_close(struct gem_automaton *a); /* accepts a zero-initialised one */

/* ---- states ------------------------------------------------------------------------------------------ */

/* A call that a state may begin: a rule, and the state in which this one goes on after it. */
struct gem_call {
    uint32_t rule, back;
};

struct gem_state {
    uint32_t first, n;       /* positions */
    uint32_t calls, n_calls; /* known once has_calls */
    uint32_t least;          /* tokens to the end of the rule */
    bool at_end, only_end, has_bytes, has_calls;
};

/* State 0 is the dead one. Not safe for use by two threads at once. */
struct gem_states {
    const struct gem_automaton *a;
    uint64_t *positions; /* count << 32 | node; within a state in order */
    uint32_t n_positions, cap_positions;
    struct gem_state *states;
    uint32_t n_states, cap_states;
    uint32_t *next; /* [n_states, n_classes]; UINT32_MAX: not yet known */
    uint32_t cap_next;
    struct gem_call *calls;
    uint32_t n_calls, cap_calls;
    uint32_t *slots; /* [slot_mask + 1] state or 0 */
    uint32_t slot_mask;
    /* scratch of closures */
    uint64_t *set, *todo;
    uint32_t n_set, n_todo, cap_set, cap_todo;
    uint64_t *seen; /* [seen_mask + 1] position + 1 */
    uint32_t seen_mask, n_seen;
    gem_status status; /* the first failure; kept */
    gem_error error;
};

gem_status gem_states_open(struct gem_states *s, const struct gem_automaton *a, gem_error *err);
void gem_states_close(struct gem_states *s); /* accepts a zero-initialised one */
/* The state at a rule's start. 0 after a failure, or when the rule matches nothing. */
uint32_t gem_states_start(struct gem_states *s, uint32_t rule);
/* The state after a byte of the class; 0 when there is none, or after a failure. */
uint32_t gem_states_advance(struct gem_states *s, uint32_t state, uint32_t byte_class);
/* Fills calls of a state. */
void gem_states_find_calls(struct gem_states *s, uint32_t state);
/* A state that treats every token of at most max_bytes bytes as this one does: counts far from their bounds are all
 * alike. */
uint32_t gem_states_alike(struct gem_states *s, uint32_t state, uint32_t max_bytes);

/* The same state in another table of the same automaton; 0 after a failure. */
uint32_t gem_states_import(struct gem_states *to, const struct gem_states *from, uint32_t state);

static inline uint32_t gem_states_next(struct gem_states *s, uint32_t state, uint32_t byte_class)
{
    const uint32_t next = s->next[(size_t)state * s->a->n_classes + byte_class];

    return next != UINT32_MAX ? next : gem_states_advance(s, state, byte_class);
}

static inline uint32_t gem_least_add(uint32_t a, uint32_t b)
{
    if (a == GEM_UNREACHABLE || b == GEM_UNREACHABLE) return GEM_UNREACHABLE;
    return a < GEM_LEAST_MAX - b ? a + b : GEM_LEAST_MAX;
}

#endif
