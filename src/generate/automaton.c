/* SPDX-License-Identifier: Apache-2.0
 * src/generate/automaton.c - from expressions to nodes and edges (Thompson's construction), and the least number of
 * tokens from each node to its end (Knuth 1977, "A generalization of Dijkstra's algorithm"). */
#include "generate/automaton.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

enum { WRITE_OUT = 64, INLINE_MOST = 2000 };

struct builder {
    struct gem_automaton *a;
    struct gem_grammar *g; /* for its status and growing; not changed otherwise */
    uint32_t cap_nodes, cap_edges, cap_loops;
    uint32_t *size;     /* [n_exprs] nodes that each takes, about; saturates */
    uint8_t *trait;     /* [n_exprs] bits of TRAIT_ */
    uint8_t *rule_mark; /* [n_rules] 0 unknown, 1 being looked at, 2 done */
    uint32_t in_loop;   /* number + 1 of the loop that is being built */
    uint32_t depth;
};

enum { TRAIT_KNOWN = 1, TRAIT_CALLS = 2, TRAIT_LOOPS = 4, TRAIT_EMPTY = 8, TRAIT_RECURSIVE = 16 };

/* ---- what an expression will become ------------------------------------------------------------------ */

static uint32_t add_size(uint32_t a, uint32_t b) { return a < (1u << 30) - b ? a + b : 1u << 30; }

static void measure(struct builder *b, uint32_t x);

static void measure_rule(struct builder *b, uint32_t x)
{
    const uint32_t rule = b->g->exprs[x].a;
    struct gem_rule *r = &b->g->rules[rule];

    if (!r->is_set) {
        gem_grammar_fail(b->g, GEM_E_UNSUPPORTED, 0, "rule \"%s\" is used but not defined", r->name);
        return;
    }
    if (b->rule_mark[rule] == 1) r->may_inline = false; /* it names itself */
    if (b->rule_mark[rule] == 0 && r->may_inline) {
        b->rule_mark[rule] = 1;
        measure(b, r->expr);
        b->rule_mark[rule] = 2;
    }
    if (r->may_inline && b->size[r->expr] > INLINE_MOST) r->may_inline = false;
    if (r->may_inline) {
        b->size[x] = b->size[r->expr];
        b->trait[x] = b->trait[r->expr];
    } else {
        b->size[x] = 2;
        b->trait[x] = TRAIT_KNOWN | TRAIT_CALLS;
    }
}

/* Whether a repetition is counted, not written out. */
static bool is_counted(const struct builder *b, const struct gem_expr *e)
{
    const uint32_t times = e->c == GEM_REPEAT_FOREVER ? e->b : e->c;

    if (b->trait[e->a] & (TRAIT_CALLS | TRAIT_LOOPS | TRAIT_EMPTY)) return false;
    return times > 1 && (uint64_t)times * b->size[e->a] > WRITE_OUT;
}

static void measure_repeat(struct builder *b, uint32_t x)
{
    const struct gem_expr *e = &b->g->exprs[x];
    const uint64_t times = e->c == GEM_REPEAT_FOREVER ? (uint64_t)e->b + 1 : e->c;

    measure(b, e->a);
    b->trait[x] = b->trait[e->a] | (e->b == 0 ? TRAIT_EMPTY : 0);
    if (is_counted(b, e)) {
        b->trait[x] |= TRAIT_LOOPS;
        b->size[x] = add_size(b->size[e->a], 3);
    } else {
        const uint64_t size = times * ((uint64_t)b->size[e->a] + 1);
        b->size[x] = size > 1u << 30 ? 1u << 30 : (uint32_t)size;
    }
}

static void measure_kids(struct builder *b, uint32_t x)
{
    const struct gem_expr *e = &b->g->exprs[x];
    const bool list = e->kind == GEM_EXPR_LIST, seq = e->kind == GEM_EXPR_SEQ;
    const uint32_t n = list ? 2 * e->b + 2 : e->b;
    uint8_t trait = TRAIT_KNOWN | (seq || list ? TRAIT_EMPTY : 0);

    for (uint32_t i = 0; i < n && !b->g->status; i++) {
        const uint32_t kid = b->g->kids[e->a + i];
        if (list && i % 2 == 1 && i < 2 * e->b) { /* not an expression: whether the item before must be there */
            if (kid) trait &= (uint8_t)~TRAIT_EMPTY;
            continue;
        }
        measure(b, kid);
        b->size[x] = add_size(b->size[x], b->size[kid] + 1);
        trait |= b->trait[kid] & (TRAIT_CALLS | TRAIT_LOOPS);
        if (e->kind == GEM_EXPR_ALT) trait |= b->trait[kid] & TRAIT_EMPTY;
        if (seq && !(b->trait[kid] & TRAIT_EMPTY)) trait &= (uint8_t)~TRAIT_EMPTY;
    }
    b->trait[x] = trait;
}

/* Fills size and trait of an expression and all below it. */
static void measure(struct builder *b, uint32_t x)
{
    const struct gem_expr *e = &b->g->exprs[x];

    if (b->g->status || (b->trait[x] & TRAIT_KNOWN)) return;
    if (++b->depth > 16 * GEM_GRAMMAR_MAX_NESTING) {
        gem_grammar_fail(b->g, GEM_E_LIMIT, 0, "the constraint is nested too deep");
        return;
    }
    b->trait[x] = TRAIT_KNOWN;
    b->size[x] = 1;
    switch (e->kind) {
    case GEM_EXPR_NEVER: break;
    case GEM_EXPR_EMPTY: b->trait[x] |= TRAIT_EMPTY; break;
    case GEM_EXPR_BYTES: b->size[x] = e->b; break;
    case GEM_EXPR_CHARS: b->size[x] = add_size(1, 2 * e->b); break;
    case GEM_EXPR_SEQ:
    case GEM_EXPR_ALT:
    case GEM_EXPR_LIST: measure_kids(b, x); break;
    case GEM_EXPR_REPEAT: measure_repeat(b, x); break;
    case GEM_EXPR_BOTH:
        measure(b, e->a);
        measure(b, e->b);
        if ((b->trait[e->a] | b->trait[e->b]) & TRAIT_CALLS)
            gem_grammar_fail(b->g, GEM_E_UNSUPPORTED, 0, "text that must match two recursive patterns at once");
        b->trait[x] |= b->trait[e->a] & b->trait[e->b] & TRAIT_EMPTY;
        b->size[x] = add_size(b->size[e->a], b->size[e->b]);
        break;
    case GEM_EXPR_MULTIPLE: b->size[x] = add_size(1, e->a); break;
    case GEM_EXPR_RULE: measure_rule(b, x); break;
    }
    b->depth--;
}

/* ---- nodes and edges --------------------------------------------------------------------------------- */

static uint32_t new_node(struct builder *b)
{
    struct gem_automaton *a = b->a;

    if (!gem_grammar_grow(b->g, &a->loop_of, a->n_nodes, &b->cap_nodes, 1, sizeof *a->loop_of, GEM_AUTOMATON_MAX_NODES,
                          "nodes"))
        return 0;
    a->loop_of[a->n_nodes] = b->in_loop;
    return a->n_nodes++;
}

static void new_edge(struct builder *b, struct gem_edge edge)
{
    struct gem_automaton *a = b->a;

    if (!gem_grammar_grow(b->g, &a->edges, a->n_edges, &b->cap_edges, 1, sizeof *a->edges, GEM_AUTOMATON_MAX_EDGES,
                          "edges"))
        return;
    a->edges[a->n_edges++] = edge;
}

static void byte_edge(struct builder *b, uint32_t from, uint32_t to, uint8_t lo, uint8_t hi)
{
    new_edge(b, (struct gem_edge){.from = from, .to = to, .kind = GEM_EDGE_BYTE, .lo = lo, .hi = hi});
}

static void empty_edge(struct builder *b, uint32_t from, uint32_t to)
{
    if (from != to) new_edge(b, (struct gem_edge){.from = from, .to = to, .kind = GEM_EDGE_EMPTY});
}

/* ---- characters as bytes ----------------------------------------------------------------------------- */

/* Nodes with 1, 2 and 3 continuation bytes to go before `to`; made when first wanted. */
struct tails {
    uint32_t any[4]; /* any[0] = to */
};

static uint32_t any_tail(struct builder *b, struct tails *t, unsigned n)
{
    if (n > 0 && t->any[n] == UINT32_MAX) {
        const uint32_t after = any_tail(b, t, n - 1);
        t->any[n] = new_node(b);
        byte_edge(b, t->any[n], after, 0x80, 0xbf);
    }
    return t->any[n];
}

/* Bytes first (lead) and n more: all numbers between lo and hi, where the lead byte is `base` + the top bits. */
static void emit_numbers(struct builder *b, struct tails *t, uint32_t from, uint32_t lo, uint32_t hi, unsigned n,
                         uint8_t base)
{
    const uint32_t step = 1u << 6 * n;

    if (n == 0) {
        byte_edge(b, from, t->any[0], (uint8_t)(base + lo), (uint8_t)(base + hi));
        return;
    }
    while (lo <= hi && !b->g->status) {
        const uint32_t top = lo / step, top_end = hi / step;
        if (lo % step == 0 && (top < top_end || hi % step == step - 1)) { /* whole blocks */
            const uint32_t last = hi % step == step - 1 ? top_end : top_end - 1;
            byte_edge(b, from, any_tail(b, t, n), (uint8_t)(base + top), (uint8_t)(base + last));
            lo = (last + 1) * step;
        } else { /* part of one */
            const uint32_t end = top < top_end ? (top + 1) * step - 1 : hi;
            const uint32_t mid = new_node(b);
            byte_edge(b, from, mid, (uint8_t)(base + top), (uint8_t)(base + top));
            emit_numbers(b, t, mid, lo % step, end % step, n - 1, 0x80);
            lo = end + 1;
        }
    }
}

static void emit_chars(struct builder *b, const struct gem_expr *e, uint32_t from, uint32_t to)
{
    static const struct {
        uint32_t lo, hi;
        uint8_t base;
    } forms[] = {{0, 0x7f, 0}, {0x80, 0x7ff, 0xc0}, {0x800, 0xffff, 0xe0}, {0x10000, 0x10ffff, 0xf0}};
    struct tails tails = {.any = {to, UINT32_MAX, UINT32_MAX, UINT32_MAX}};

    for (uint32_t i = 0; i < e->b; i++)
        for (unsigned n = 0; n < 4; n++) {
            const struct gem_char_range r = b->g->ranges[e->a + i];
            const uint32_t lo = r.lo > forms[n].lo ? r.lo : forms[n].lo, hi = r.hi < forms[n].hi ? r.hi : forms[n].hi;
            if (lo <= hi) emit_numbers(b, &tails, from, lo, hi, n, forms[n].base);
        }
}

/* ---- expressions ------------------------------------------------------------------------------------- */

static void emit(struct builder *b, uint32_t x, uint32_t from, uint32_t to);

static void emit_bytes(struct builder *b, const struct gem_expr *e, uint32_t from, uint32_t to)
{
    for (uint32_t i = 0; i < e->b; i++) {
        const uint8_t byte = b->g->bytes[e->a + i];
        const uint32_t next = i + 1 < e->b ? new_node(b) : to;
        byte_edge(b, from, next, byte, byte);
        from = next;
    }
}

static void emit_seq(struct builder *b, const struct gem_expr *e, uint32_t from, uint32_t to)
{
    for (uint32_t i = 0; i < e->b && !b->g->status; i++) {
        const uint32_t next = i + 1 < e->b ? new_node(b) : to;
        emit(b, b->g->kids[e->a + i], from, next);
        from = next;
    }
}

static void emit_loop(struct builder *b, const struct gem_expr *e, uint32_t from, uint32_t to)
{
    struct gem_automaton *a = b->a;
    const uint32_t loop = a->n_loops;
    uint32_t start, end;

    if (!gem_grammar_grow(b->g, &a->loops, loop, &b->cap_loops, 1, sizeof *a->loops, GEM_AUTOMATON_MAX_NODES, "loops"))
        return;
    a->n_loops++;
    b->in_loop = loop + 1;
    start = new_node(b);
    end = new_node(b);
    emit(b, e->a, start, end);
    b->in_loop = 0;
    a->loops[loop] = (struct gem_loop){.start = start, .end = end, .exit = to, .least = e->b, .most = e->c};
    new_edge(b, (struct gem_edge){.from = from, .to = to, .rule = loop, .kind = GEM_EDGE_LOOP});
}

/* Any number of times, zero too. The node between keeps edges of the repetition away from both ends. */
static void emit_star(struct builder *b, uint32_t x, uint32_t from, uint32_t to)
{
    const uint32_t hub = new_node(b);

    empty_edge(b, from, hub);
    emit(b, x, hub, hub);
    empty_edge(b, hub, to);
}

static void emit_repeat(struct builder *b, const struct gem_expr *e, uint32_t from, uint32_t to)
{
    const uint32_t written = e->c == GEM_REPEAT_FOREVER ? e->b : e->c;

    if (!b->in_loop && is_counted(b, e)) {
        emit_loop(b, e, from, to);
        return;
    }
    for (uint32_t i = 0; i < written && !b->g->status; i++) {
        const uint32_t next = new_node(b);
        if (i >= e->b) empty_edge(b, from, to);
        emit(b, e->a, from, next);
        from = next;
    }
    if (e->c == GEM_REPEAT_FOREVER)
        emit_star(b, e->a, from, to);
    else
        empty_edge(b, from, to);
}

/* Nodes: at `empty` nothing was written yet, at `some` something; between the separator and an item is `ready`. */
static void emit_list(struct builder *b, const struct gem_expr *e, uint32_t from, uint32_t to)
{
    const uint32_t separator = b->g->kids[e->a + 2 * e->b], rest = b->g->kids[e->a + 2 * e->b + 1];
    uint32_t empty = new_node(b), some = UINT32_MAX;

    empty_edge(b, from, empty);
    for (uint32_t i = 0; i <= e->b && !b->g->status; i++) {
        const bool last = i == e->b;
        const uint32_t item = last ? rest : b->g->kids[e->a + 2 * i];
        const bool required = !last && b->g->kids[e->a + 2 * i + 1];
        const uint32_t ready = new_node(b), after = new_node(b);

        if (last && item == GEM_NEVER) break;
        if (empty != UINT32_MAX) empty_edge(b, empty, ready);
        if (some != UINT32_MAX) emit(b, separator, some, ready);
        emit(b, item, ready, after);
        if (last) emit(b, separator, after, ready);
        if (required) {
            empty = UINT32_MAX;
        } else if (some != UINT32_MAX) {
            empty_edge(b, some, after);
        }
        some = after;
    }
    if (empty != UINT32_MAX) empty_edge(b, empty, to);
    if (some != UINT32_MAX) empty_edge(b, some, to);
}

/* A node for each remainder. */
static void emit_multiple(struct builder *b, uint32_t n, uint32_t from, uint32_t to)
{
    const uint32_t zero = b->a->n_nodes;

    if (n == 0) return; /* no expression is made so */
    for (uint32_t r = 0; r < n && !b->g->status; r++) new_node(b);
    if (b->g->status) return;
    for (uint32_t d = 0; d < 10; d++) byte_edge(b, from, zero + d % n, (uint8_t)('0' + d), (uint8_t)('0' + d));
    for (uint32_t r = 0; r < n; r++)
        for (uint32_t d = 0; d < 10; d++)
            byte_edge(b, zero + r, zero + (10 * r + d) % n, (uint8_t)('0' + d), (uint8_t)('0' + d));
    empty_edge(b, zero, to);
}

static void emit_both(struct builder *b, const struct gem_expr *e, uint32_t from, uint32_t to);

static void emit_rule(struct builder *b, const struct gem_expr *e, uint32_t from, uint32_t to)
{
    const struct gem_rule *r = &b->g->rules[e->a];

    if (r->may_inline)
        emit(b, r->expr, from, to);
    else
        new_edge(b, (struct gem_edge){.from = from, .to = to, .rule = e->a, .kind = GEM_EDGE_CALL});
}

/* Adds what leads from one node to another. Nothing that is emitted adds an edge into `from` or out of `to`, but where
 * they are the same. */
static void emit(struct builder *b, uint32_t x, uint32_t from, uint32_t to)
{
    const struct gem_expr *e = &b->g->exprs[x];

    if (b->g->status) return;
    switch (e->kind) {
    case GEM_EXPR_NEVER: break;
    case GEM_EXPR_EMPTY: empty_edge(b, from, to); break;
    case GEM_EXPR_BYTES: emit_bytes(b, e, from, to); break;
    case GEM_EXPR_CHARS: emit_chars(b, e, from, to); break;
    case GEM_EXPR_SEQ: emit_seq(b, e, from, to); break;
    case GEM_EXPR_ALT:
        for (uint32_t i = 0; i < e->b; i++) emit(b, b->g->kids[e->a + i], from, to);
        break;
    case GEM_EXPR_REPEAT: emit_repeat(b, e, from, to); break;
    case GEM_EXPR_BOTH: emit_both(b, e, from, to); break;
    case GEM_EXPR_LIST: emit_list(b, e, from, to); break;
    case GEM_EXPR_MULTIPLE: emit_multiple(b, e->a, from, to); break;
    case GEM_EXPR_RULE: emit_rule(b, e, from, to); break;
    }
}

/* ---- order of edges, classes of bytes ---------------------------------------------------------------- */

static gem_status sort_edges(struct gem_automaton *a, gem_error *err)
{
    struct gem_edge *sorted = gem_calloc(a->n_edges, sizeof *sorted, "a constraint", err);

    a->first = gem_calloc((size_t)a->n_nodes + 2, sizeof *a->first, "a constraint", err);
    if (!sorted || !a->first) {
        gem_free(sorted);
        return GEM_E_NOMEM;
    }
    for (uint32_t i = 0; i < a->n_edges; i++) a->first[a->edges[i].from + 2]++;
    for (uint32_t i = 0; i < a->n_nodes; i++) a->first[i + 2] += a->first[i + 1];
    for (uint32_t i = 0; i < a->n_edges; i++) sorted[a->first[a->edges[i].from + 1]++] = a->edges[i];
    gem_free(a->edges);
    a->edges = sorted;
    return GEM_OK;
}

static void find_classes(struct gem_automaton *a)
{
    bool cut[257] = {false}; /* a class begins at this byte */

    for (uint32_t i = 0; i < a->n_edges; i++)
        if (a->edges[i].kind == GEM_EDGE_BYTE) cut[a->edges[i].lo] = cut[a->edges[i].hi + 1] = true;
    a->n_classes = 0;
    for (unsigned byte = 0; byte < 256; byte++) {
        if (byte == 0 || cut[byte]) a->example[a->n_classes++] = (uint8_t)byte;
        a->class_of[byte] = (uint8_t)(a->n_classes - 1);
    }
}

/* ---- least tokens ------------------------------------------------------------------------------------ */

/* A piece of the vocabulary that spells a whole path. */
struct shortcut {
    uint32_t from, to;
};

struct least {
    struct gem_automaton *a;
    const struct gem_trie *trie;
    struct shortcut *shortcuts;
    uint32_t n_shortcuts, cap_shortcuts;
    uint32_t *into_first, *into; /* edges into each node */
    uint32_t *by_first, *by;     /* calls and loops by the node that they begin with */
    uint32_t *cut_first, *cuts;  /* shortcuts into each node */
    uint64_t *heap;              /* least << 32 | node */
    uint32_t n_heap, cap_heap;
    struct gem_grammar *g;
};

static uint32_t start_of(const struct gem_automaton *a, const struct gem_edge *e)
{
    return e->kind == GEM_EDGE_CALL ? a->start[e->rule] : a->loops[e->rule].start;
}

static bool is_literal(const struct gem_edge *e) { return e->kind == GEM_EDGE_BYTE && e->lo == e->hi; }

/* The only way on from a node: its edge, or NULL. */
static const struct gem_edge *only_edge(const struct gem_automaton *a, uint32_t node)
{
    const struct gem_edge *e = &a->edges[a->first[node]];

    if (a->first[node + 1] != a->first[node] + 1) return NULL;
    return e->kind == GEM_EDGE_EMPTY || is_literal(e) ? e : NULL;
}

/* All pieces that spell the literal path which begins with edge e. */
static void find_shortcuts(struct least *l, const struct gem_edge *e)
{
    const struct gem_trie_tree *tree = &l->trie->all;
    const uint32_t from = e->from;
    uint32_t at = 0;

    for (unsigned steps = 0; e && steps < 2 * GEM_TRIE_MAX_DEPTH; steps++) {
        if (e->kind == GEM_EDGE_BYTE) {
            if (!(at = gem_trie_child(tree, at, e->lo))) return;
            if (tree->nodes[at].depth > 1 && tree->nodes[at].first < tree->nodes[at + 1].first) {
                if (!gem_grammar_grow(l->g, &l->shortcuts, l->n_shortcuts, &l->cap_shortcuts, 1, sizeof *l->shortcuts,
                                      GEM_AUTOMATON_MAX_EDGES, "literal paths"))
                    return;
                l->shortcuts[l->n_shortcuts++] = (struct shortcut){from, e->to};
            }
        }
        e = only_edge(l->a, e->to);
    }
}

/* Buckets: items whose key is k are list[first[k]] to list[first[k + 1] - 1]. Keys of UINT32_MAX are left out. */
static bool bucket(struct least *l, uint32_t n_keys, uint32_t n, uint32_t (*key)(const struct least *, uint32_t),
                   uint32_t **first, uint32_t **list)
{
    uint32_t *f = *first = gem_calloc((size_t)n_keys + 2, sizeof **first, "a constraint", l->g->err);

    *list = gem_calloc(n, sizeof **list, "a constraint", l->g->err);
    if (!f || !*list) {
        l->g->status = GEM_E_NOMEM;
        return false;
    }
    for (uint32_t i = 0; i < n; i++)
        if (key(l, i) != UINT32_MAX) f[key(l, i) + 2]++;
    for (uint32_t k = 0; k < n_keys; k++) f[k + 2] += f[k + 1];
    for (uint32_t i = 0; i < n; i++)
        if (key(l, i) != UINT32_MAX) (*list)[f[key(l, i) + 1]++] = i;
    return true;
}

static uint32_t key_into(const struct least *l, uint32_t i) { return l->a->edges[i].to; }
static uint32_t key_cut(const struct least *l, uint32_t i) { return l->shortcuts[i].to; }

static uint32_t key_by(const struct least *l, uint32_t i)
{
    const struct gem_edge *e = &l->a->edges[i];

    return e->kind == GEM_EDGE_CALL || e->kind == GEM_EDGE_LOOP ? start_of(l->a, e) : UINT32_MAX;
}

static void heap_push(struct least *l, uint32_t least, uint32_t node)
{
    const uint64_t entry = (uint64_t)least << 32 | node;
    uint32_t i;

    if (!gem_grammar_grow(l->g, &l->heap, l->n_heap, &l->cap_heap, 1, sizeof *l->heap, 8 * GEM_AUTOMATON_MAX_EDGES,
                          "paths"))
        return;
    for (i = l->n_heap++; i > 0 && l->heap[(i - 1) / 2] > entry; i = (i - 1) / 2) l->heap[i] = l->heap[(i - 1) / 2];
    l->heap[i] = entry;
}

static uint64_t heap_pop(struct least *l)
{
    const uint64_t top = l->heap[0], last = l->heap[--l->n_heap];
    uint32_t i = 0, child;

    while ((child = 2 * i + 1) < l->n_heap) {
        if (child + 1 < l->n_heap && l->heap[child + 1] < l->heap[child]) child++;
        if (last <= l->heap[child]) break;
        l->heap[i] = l->heap[child];
        i = child;
    }
    if (l->n_heap > 0) l->heap[i] = last;
    return top;
}

static void improve(struct least *l, uint32_t node, uint32_t least)
{
    if (least >= l->a->least[node]) return;
    l->a->least[node] = least;
    heap_push(l, least, node);
}

/* What a call or loop costs: `least` repetitions of what it begins with, and then the rest. */
static uint32_t cost_of(const struct gem_automaton *a, const struct gem_edge *e)
{
    const uint32_t once = a->least[start_of(a, e)], rest = a->least[e->to];
    const uint32_t times = e->kind == GEM_EDGE_CALL ? 1 : a->loops[e->rule].least;

    if (times == 0) return rest;
    if (once == GEM_UNREACHABLE) return GEM_UNREACHABLE;
    return gem_least_add(once > GEM_LEAST_MAX / times ? GEM_LEAST_MAX : once * times, rest);
}

static void relax(struct least *l, uint32_t node, uint32_t least)
{
    const struct gem_automaton *a = l->a;

    for (uint32_t i = l->into_first[node]; i < l->into_first[node + 1]; i++) {
        const struct gem_edge *e = &a->edges[l->into[i]];
        if (e->kind == GEM_EDGE_BYTE)
            improve(l, e->from, gem_least_add(least, 1));
        else if (e->kind == GEM_EDGE_EMPTY)
            improve(l, e->from, least);
        else
            improve(l, e->from, cost_of(a, e));
    }
    for (uint32_t i = l->by_first[node]; i < l->by_first[node + 1]; i++)
        improve(l, a->edges[l->by[i]].from, cost_of(a, &a->edges[l->by[i]]));
    for (uint32_t i = l->cut_first[node]; i < l->cut_first[node + 1]; i++)
        improve(l, l->shortcuts[l->cuts[i]].from, gem_least_add(least, 1));
}

static gem_status find_least(struct gem_automaton *a, struct gem_grammar *g, const struct gem_trie *trie)
{
    struct least l = {.a = a, .g = g, .trie = trie};

    if (!(a->least = gem_calloc(a->n_nodes, sizeof *a->least, "a constraint", g->err))) return g->status = GEM_E_NOMEM;
    memset(a->least, 0xff, a->n_nodes * sizeof *a->least);
    for (uint32_t i = 0; i < a->n_edges && trie; i++)
        if (is_literal(&a->edges[i])) find_shortcuts(&l, &a->edges[i]);
    if (g->status || !bucket(&l, a->n_nodes, a->n_edges, key_into, &l.into_first, &l.into) ||
        !bucket(&l, a->n_nodes, a->n_edges, key_by, &l.by_first, &l.by) ||
        !bucket(&l, a->n_nodes, l.n_shortcuts, key_cut, &l.cut_first, &l.cuts))
        goto out;
    for (uint32_t i = 0; i < a->n_nodes; i++)
        if (a->is_end[i]) improve(&l, i, 0);
    for (uint32_t i = 0; i < a->n_loops; i++) improve(&l, a->loops[i].end, 0);
    while (l.n_heap > 0 && !g->status) {
        const uint64_t top = heap_pop(&l);
        if (a->least[(uint32_t)top] == top >> 32) relax(&l, (uint32_t)top, (uint32_t)(top >> 32));
    }
out:
    gem_free(l.shortcuts);
    gem_free(l.into_first);
    gem_free(l.into);
    gem_free(l.by_first);
    gem_free(l.by);
    gem_free(l.cut_first);
    gem_free(l.cuts);
    gem_free(l.heap);
    return g->status;
}

/* ---- rules that begin with themselves ---------------------------------------------------------------- */

struct left {
    const struct gem_automaton *a;
    struct gem_grammar *g;
    uint8_t *mark;  /* [n_rules] 1 on the path, 2 done */
    uint32_t *seen; /* [n_nodes] rule + 1 whose beginning reached the node */
    uint32_t *todo; /* nodes to look at, of all rules on the path */
    uint32_t n_todo, cap_todo;
    struct left_frame {
        uint32_t rule, base; /* its nodes lie in todo from base on; at: the next one to look at */
        uint32_t at, edge;
    } * path;
    uint32_t n_path, cap_path;
};

static void left_reach(struct left *l, uint32_t node)
{
    const uint32_t rule = l->path[l->n_path - 1].rule;

    if (l->seen[node] == rule + 1) return;
    l->seen[node] = rule + 1;
    if (!gem_grammar_grow(l->g, &l->todo, l->n_todo, &l->cap_todo, 1, sizeof *l->todo, 4 * GEM_AUTOMATON_MAX_NODES,
                          "nodes"))
        return;
    l->todo[l->n_todo++] = node;
}

static void left_enter(struct left *l, uint32_t rule)
{
    if (!gem_grammar_grow(l->g, &l->path, l->n_path, &l->cap_path, 1, sizeof *l->path, GEM_GRAMMAR_MAX_RULES + 1,
                          "rules"))
        return;
    l->mark[rule] = 1;
    l->path[l->n_path++] = (struct left_frame){.rule = rule, .base = l->n_todo, .at = l->n_todo};
    left_reach(l, l->a->start[rule]);
}

/* One edge of the innermost rule, or its end. */
static void left_step(struct left *l)
{
    struct left_frame *f = &l->path[l->n_path - 1];
    const struct gem_automaton *a = l->a;
    const struct gem_edge *e;
    uint32_t node;

    if (f->at == l->n_todo) {
        l->mark[f->rule] = 2;
        l->n_todo = f->base;
        l->n_path--;
        return;
    }
    node = l->todo[f->at];
    if (f->edge == a->first[node + 1] - a->first[node]) {
        f->at++;
        f->edge = 0;
        return;
    }
    e = &a->edges[a->first[node] + f->edge++];
    if (e->kind == GEM_EDGE_EMPTY || (e->kind == GEM_EDGE_LOOP && a->loops[e->rule].least == 0)) {
        left_reach(l, e->to);
    } else if (e->kind == GEM_EDGE_CALL) {
        if (l->mark[e->rule] == 1) {
            gem_grammar_fail(l->g, GEM_E_UNSUPPORTED, 0,
                             "rule \"%s\" begins with itself, so that its text would never begin",
                             l->g->rules[e->rule].name);
            return;
        }
        if (a->least[a->start[e->rule]] == 0) left_reach(l, e->to);
        if (l->mark[e->rule] == 0) left_enter(l, e->rule);
    }
}

static gem_status refuse_left_recursion(const struct gem_automaton *a, struct gem_grammar *g)
{
    struct left l = {.a = a, .g = g};

    l.mark = gem_calloc(a->n_rules, sizeof *l.mark, "a constraint", g->err);
    l.seen = gem_calloc(a->n_nodes, sizeof *l.seen, "a constraint", g->err);
    if (!l.mark || !l.seen) g->status = GEM_E_NOMEM;
    for (uint32_t rule = 0; rule < a->n_rules && !g->status; rule++) {
        if (l.mark[rule] != 0) continue;
        left_enter(&l, rule);
        while (l.n_path > 0 && !g->status) left_step(&l);
    }
    gem_free(l.mark);
    gem_free(l.seen);
    gem_free(l.todo);
    gem_free(l.path);
    return g->status;
}

/* ---- the whole --------------------------------------------------------------------------------------- */

static gem_status finish(struct builder *b, const struct gem_trie *trie)
{
    struct gem_grammar *g = b->g;

    if (!g->status) g->status = sort_edges(b->a, g->err);
    if (g->status) return g->status;
    find_classes(b->a);
    return find_least(b->a, g, trie);
}

static gem_status open_builder(struct builder *b, struct gem_automaton *a, struct gem_grammar *g)
{
    *a = (struct gem_automaton){0};
    *b = (struct builder){.a = a, .g = g};
    b->size = gem_calloc(g->n_exprs, sizeof *b->size, "a constraint", g->err);
    b->trait = gem_calloc(g->n_exprs, 1, "a constraint", g->err);
    b->rule_mark = gem_calloc(g->n_rules, 1, "a constraint", g->err);
    if (!b->size || !b->trait || !b->rule_mark) g->status = GEM_E_NOMEM;
    return g->status;
}

static void close_builder(struct builder *b)
{
    gem_free(b->size);
    gem_free(b->trait);
    gem_free(b->rule_mark);
}

static void mark_ends(struct gem_automaton *a, struct gem_grammar *g, const uint32_t *ends)
{
    if (g->status) return;
    a->is_end = gem_calloc(a->n_nodes, sizeof *a->is_end, "a constraint", g->err);
    if (!a->is_end) g->status = GEM_E_NOMEM;
    for (uint32_t i = 0; i < a->n_rules && a->is_end; i++)
        if (ends[i] != UINT32_MAX) a->is_end[ends[i]] = true;
}

/* Rules that are copied into all who name them get no network of their own. */
static void emit_rules(struct builder *b)
{
    struct gem_automaton *a = b->a;
    struct gem_grammar *g = b->g;
    uint32_t *ends = gem_calloc(g->n_rules, sizeof *ends, "a constraint", g->err);

    a->start = gem_calloc(g->n_rules, sizeof *a->start, "a constraint", g->err);
    if (!ends || !a->start) g->status = GEM_E_NOMEM;
    for (uint32_t i = 0; i < g->n_rules && !g->status; i++) {
        b->depth = 0;
        b->rule_mark[i] = b->rule_mark[i] ? b->rule_mark[i] : 1;
        if (g->rules[i].is_set) measure(b, g->rules[i].expr);
        b->rule_mark[i] = 2;
    }
    a->n_rules = g->n_rules;
    for (uint32_t i = 0; i < g->n_rules && !g->status; i++) {
        a->start[i] = new_node(b);
        ends[i] = new_node(b);
        if (g->rules[i].is_set && (!g->rules[i].may_inline || i == g->root))
            emit(b, g->rules[i].expr, a->start[i], ends[i]);
    }
    mark_ends(a, g, ends);
    gem_free(ends);
}

gem_status gem_automaton_open(struct gem_automaton *a, const struct gem_grammar *grammar, const struct gem_trie *trie,
                              gem_error *err)
{
    struct gem_grammar g = *grammar; /* its tables are read only; the copy keeps the status and where errors go */
    struct builder b;

    g.err = err;
    if (!open_builder(&b, a, &g)) emit_rules(&b);
    finish(&b, trie);
    close_builder(&b);
    if (!g.status) refuse_left_recursion(a, &g);
    if (g.status) gem_automaton_close(a);
    return g.status;
}

void gem_automaton_close(struct gem_automaton *a)
{
    gem_free(a->first);
    gem_free(a->edges);
    gem_free(a->loop_of);
    gem_free(a->least);
    gem_free(a->is_end);
    gem_free(a->start);
    gem_free(a->loops);
    *a = (struct gem_automaton){0};
}

/* ---- text that matches two patterns ------------------------------------------------------------------ */

/* One of the two as an automaton of its own. */
static bool open_side(struct builder *outer, uint32_t x, struct gem_automaton *a, struct gem_states *s)
{
    struct gem_grammar *g = outer->g;
    struct builder b;
    uint32_t end = 0;

    *s = (struct gem_states){0};
    *a = (struct gem_automaton){0};
    b = *outer;
    b.a = a;
    b.cap_nodes = b.cap_edges = b.cap_loops = 0;
    b.in_loop = 0;
    if (!(a->start = gem_calloc(1, sizeof *a->start, "a constraint", g->err))) {
        g->status = GEM_E_NOMEM;
        return false;
    }
    a->n_rules = 1;
    a->start[0] = new_node(&b);
    end = new_node(&b);
    emit(&b, x, a->start[0], end);
    mark_ends(a, g, &end);
    if (finish(&b, NULL)) return false;
    g->status = gem_states_open(s, a, g->err);
    return !g->status;
}

struct product {
    struct builder *b;
    struct gem_states *s[2];
    struct pair {
        uint32_t q[2], node;
    } * pairs;
    uint32_t n_pairs, cap_pairs;
    uint32_t *slots; /* [2 * GEM_PRODUCT_MAX] pair + 1 */
    uint32_t to;
};

static uint32_t pair_node(struct product *p, uint32_t q0, uint32_t q1)
{
    const uint32_t mask = 2 * GEM_PRODUCT_MAX - 1;
    uint32_t at = (q0 * 0x9e3779b1u ^ q1 * 0x85ebca77u) & mask;
    struct pair *pair;

    for (; p->slots[at]; at = (at + 1) & mask) {
        pair = &p->pairs[p->slots[at] - 1];
        if (pair->q[0] == q0 && pair->q[1] == q1) return pair->node;
    }
    if (!gem_grammar_grow(p->b->g, &p->pairs, p->n_pairs, &p->cap_pairs, 1, sizeof *p->pairs, GEM_PRODUCT_MAX,
                          "states of two patterns together"))
        return 0;
    pair = &p->pairs[p->n_pairs];
    *pair = (struct pair){.q = {q0, q1}, .node = new_node(p->b)};
    p->slots[at] = ++p->n_pairs;
    if (p->s[0]->states[q0].at_end && p->s[1]->states[q1].at_end) empty_edge(p->b, pair->node, p->to);
    return pair->node;
}

static void report_sides(struct product *p)
{
    for (int k = 0; k < 2; k++)
        if (p->s[k]->status) gem_grammar_fail(p->b->g, p->s[k]->status, 0, "%s", p->s[k]->error.message);
}

/* The edges of a pair, one for each run of bytes that lead to the same one. */
static void expand_pair(struct product *p, uint32_t i)
{
    const struct pair pair = p->pairs[i];
    unsigned begin = 0;

    while (begin < 256 && !p->b->g->status) {
        uint32_t next[2];
        unsigned end = begin + 1;

        for (int k = 0; k < 2; k++) next[k] = gem_states_next(p->s[k], pair.q[k], p->s[k]->a->class_of[begin]);
        while (end < 256 && gem_states_next(p->s[0], pair.q[0], p->s[0]->a->class_of[end]) == next[0] &&
               gem_states_next(p->s[1], pair.q[1], p->s[1]->a->class_of[end]) == next[1])
            end++;
        if (next[0] && next[1])
            byte_edge(p->b, pair.node, pair_node(p, next[0], next[1]), (uint8_t)begin, (uint8_t)(end - 1));
        begin = end;
    }
    report_sides(p);
}

static void emit_both(struct builder *b, const struct gem_expr *e, uint32_t from, uint32_t to)
{
    struct gem_automaton a[2] = {{0}, {0}};
    struct gem_states s[2] = {{0}, {0}};
    struct product p = {.b = b, .s = {&s[0], &s[1]}, .to = to};

    if (!open_side(b, e->a, &a[0], &s[0]) || !open_side(b, e->b, &a[1], &s[1])) goto out;
    p.slots = gem_calloc((size_t)2 * GEM_PRODUCT_MAX, sizeof *p.slots, "a constraint", b->g->err);
    if (!p.slots) {
        b->g->status = GEM_E_NOMEM;
        goto out;
    }
    {
        const uint32_t q0 = gem_states_start(&s[0], 0), q1 = gem_states_start(&s[1], 0);
        report_sides(&p);
        if (q0 && q1) empty_edge(b, from, pair_node(&p, q0, q1));
    }
    for (uint32_t i = 0; i < p.n_pairs && !b->g->status; i++) expand_pair(&p, i);
out:
    for (int k = 0; k < 2; k++) {
        gem_states_close(&s[k]);
        gem_automaton_close(&a[k]);
    }
    gem_free(p.pairs);
    gem_free(p.slots);
}
