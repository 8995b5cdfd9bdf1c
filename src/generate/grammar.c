/* SPDX-License-Identifier: Apache-2.0
 * src/generate/grammar.c - the table of expressions. */
#include "generate/grammar.h"

#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

gem_status gem_grammar_fail(struct gem_grammar *g, gem_status code, uint64_t offset, const char *format, ...)
{
    char message[sizeof((gem_error *)0)->message];
    va_list args;

    if (g->status) return g->status;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return g->status = gem_fail(g->err, code, offset, "%s", message);
}

bool gem_grammar_grow(struct gem_grammar *g, void *p, uint32_t n, uint32_t *cap, size_t more, size_t size, size_t limit,
                      const char *what)
{
    size_t want = *cap ? *cap : 64;
    void *q;

    memcpy(&q, p, sizeof q);
    if (g->status) return false;
    if (more > limit || n > limit - more) {
        gem_grammar_fail(g, GEM_E_LIMIT, 0, "the constraint is too large: more than %zu %s", limit, what);
        return false;
    }
    if (n + more <= *cap) return true;
    while (want < n + more) want *= 2;
    if (!(q = gem_realloc(q, want, size, "a constraint", g->err))) {
        g->status = GEM_E_NOMEM;
        return false;
    }
    memcpy(p, &q, sizeof q);
    *cap = (uint32_t)want;
    return true;
}

static uint32_t add(struct gem_grammar *g, enum gem_expr_kind kind, uint32_t a, uint32_t b, uint32_t c)
{
    if (!gem_grammar_grow(g, &g->exprs, g->n_exprs, &g->cap_exprs, 1, sizeof *g->exprs, GEM_GRAMMAR_MAX_EXPRS,
                          "expressions"))
        return GEM_NEVER;
    g->exprs[g->n_exprs] = (struct gem_expr){.kind = kind, .a = a, .b = b, .c = c};
    return g->n_exprs++;
}

gem_status gem_grammar_open(struct gem_grammar *g, gem_error *err)
{
    *g = (struct gem_grammar){.err = err};
    add(g, GEM_EXPR_NEVER, 0, 0, 0);
    add(g, GEM_EXPR_EMPTY, 0, 0, 0);
    return g->status;
}

void gem_grammar_close(struct gem_grammar *g)
{
    gem_free(g->exprs);
    gem_free(g->kids);
    gem_free(g->bytes);
    gem_free(g->ranges);
    gem_free(g->rules);
    *g = (struct gem_grammar){0};
}

/* ---- leaves -------------------------------------------------------------------------------------------- */

uint32_t gem_expr_bytes(struct gem_grammar *g, const void *s, size_t n)
{
    const uint32_t first = g->n_bytes;

    if (n == 0) return GEM_EMPTY;
    if (!gem_grammar_grow(g, &g->bytes, g->n_bytes, &g->cap_bytes, n, 1, GEM_GRAMMAR_MAX_BYTES, "bytes of text"))
        return GEM_NEVER;
    memcpy(g->bytes + first, s, n);
    g->n_bytes += (uint32_t)n;
    return add(g, GEM_EXPR_BYTES, first, (uint32_t)n, 0);
}

uint32_t gem_expr_text(struct gem_grammar *g, const char *s) { return gem_expr_bytes(g, s, strlen(s)); }

uint32_t gem_expr_token(struct gem_grammar *g, int32_t id)
{
    const uint8_t spelled[4] = {0xff, (uint8_t)(id >> 14 & 0x7f), (uint8_t)(id >> 7 & 0x7f), (uint8_t)(id & 0x7f)};

    return gem_expr_bytes(g, spelled, sizeof spelled);
}

static int compare_ranges(const void *a, const void *b)
{
    const struct gem_char_range *x = a, *y = b;

    return (x->lo > y->lo) - (x->lo < y->lo);
}

size_t gem_ranges_normalise(struct gem_char_range *r, size_t n)
{
    size_t out = 0;

    qsort(r, n, sizeof *r, compare_ranges);
    for (size_t i = 0; i < n; i++) {
        if (r[i].hi > 0x10ffff) r[i].hi = 0x10ffff;
        if (r[i].lo > r[i].hi) continue;
        if (out > 0 && r[i].lo <= r[out - 1].hi + 1) {
            if (r[i].hi > r[out - 1].hi) r[out - 1].hi = r[i].hi;
        } else {
            r[out++] = r[i];
        }
    }
    for (size_t i = 0; i < out; i++) { /* surrogates are no characters */
        const struct gem_char_range x = r[i];
        if (x.hi < 0xd800 || x.lo > 0xdfff) continue;
        if (x.lo < 0xd800 && x.hi > 0xdfff) {
            memmove(r + i + 1, r + i, (out - i) * sizeof *r);
            r[i].hi = 0xd7ff;
            r[i + 1].lo = 0xe000;
            out++;
            i++;
        } else if (x.lo < 0xd800) {
            r[i].hi = 0xd7ff;
        } else if (x.hi > 0xdfff) {
            r[i].lo = 0xe000;
        } else {
            memmove(r + i, r + i + 1, (out - i - 1) * sizeof *r);
            out--;
            i--;
        }
    }
    return out;
}

size_t gem_ranges_negate(const struct gem_char_range *r, size_t n, struct gem_char_range *out)
{
    uint32_t next = 0;
    size_t n_out = 0;

    for (size_t i = 0; i < n; i++) {
        if (r[i].lo > next) out[n_out++] = (struct gem_char_range){next, r[i].lo - 1};
        next = r[i].hi + 1;
    }
    if (next <= 0x10ffff) out[n_out++] = (struct gem_char_range){next, 0x10ffff};
    return n_out;
}

uint32_t gem_expr_chars(struct gem_grammar *g, const struct gem_char_range *ranges, size_t n, bool negated)
{
    const uint32_t first = g->n_ranges;
    struct gem_char_range *r, *negative;
    size_t n_left;

    /* Room for splitting at the surrogates, for the negation of that, and for splitting again. */
    if (!gem_grammar_grow(g, &g->ranges, first, &g->cap_ranges, 2 * n + 8, sizeof *g->ranges, GEM_GRAMMAR_MAX_EXPRS,
                          "ranges of characters"))
        return GEM_NEVER;
    r = g->ranges + first;
    if (n > 0) memcpy(r, ranges, n * sizeof *r);
    n_left = gem_ranges_normalise(r, n);
    if (negated) {
        negative = r + n_left;
        n = gem_ranges_negate(r, n_left, negative);
        memmove(r, negative, n * sizeof *r);
        n_left = gem_ranges_normalise(r, n);
    }
    if (n_left == 0) return GEM_NEVER;
    g->n_ranges += (uint32_t)n_left;
    return add(g, GEM_EXPR_CHARS, first, (uint32_t)n_left, 0);
}

/* ---- compositions -------------------------------------------------------------------------------------- */

static uint32_t add_kids(struct gem_grammar *g, const uint32_t *kids, size_t n)
{
    const uint32_t first = g->n_kids;

    if (!gem_grammar_grow(g, &g->kids, first, &g->cap_kids, n, sizeof *g->kids, 4 * GEM_GRAMMAR_MAX_EXPRS,
                          "parts of expressions"))
        return 0;
    if (n > 0) memcpy(g->kids + first, kids, n * sizeof *kids);
    g->n_kids += (uint32_t)n;
    return first;
}

uint32_t gem_expr_seq(struct gem_grammar *g, const uint32_t *kids, size_t n)
{
    uint32_t first;

    for (size_t i = 0; i < n; i++)
        if (kids[i] == GEM_NEVER) return GEM_NEVER;
    if (n == 0) return GEM_EMPTY;
    if (n == 1) return kids[0];
    first = add_kids(g, kids, n);
    return add(g, GEM_EXPR_SEQ, first, (uint32_t)n, 0);
}

uint32_t gem_expr_alt(struct gem_grammar *g, const uint32_t *kids, size_t n)
{
    const uint32_t first = g->n_kids;
    uint32_t n_left = 0;

    for (size_t i = 0; i < n; i++)
        if (kids[i] != GEM_NEVER && n_left++ < UINT32_MAX) add_kids(g, &kids[i], 1);
    if (g->status || n_left == 0) return GEM_NEVER;
    if (n_left == 1) return g->kids[--g->n_kids];
    return add(g, GEM_EXPR_ALT, first, n_left, 0);
}

uint32_t gem_expr_seq2(struct gem_grammar *g, uint32_t a, uint32_t b)
{
    const uint32_t kids[] = {a, b};

    if (a == GEM_EMPTY) return b;
    if (b == GEM_EMPTY) return a;
    return gem_expr_seq(g, kids, 2);
}

uint32_t gem_expr_seq3(struct gem_grammar *g, uint32_t a, uint32_t b, uint32_t c)
{
    return gem_expr_seq2(g, a, gem_expr_seq2(g, b, c));
}

uint32_t gem_expr_alt2(struct gem_grammar *g, uint32_t a, uint32_t b)
{
    const uint32_t kids[] = {a, b};

    return gem_expr_alt(g, kids, 2);
}

uint32_t gem_expr_optional(struct gem_grammar *g, uint32_t x) { return gem_expr_repeat(g, x, 0, 1); }

uint32_t gem_expr_repeat(struct gem_grammar *g, uint32_t x, uint32_t least, uint32_t most)
{
    if (least > most) return GEM_NEVER;
    if (most == 0 || x == GEM_EMPTY) return GEM_EMPTY;
    if (x == GEM_NEVER) return least == 0 ? GEM_EMPTY : GEM_NEVER;
    if (least == 1 && most == 1) return x;
    return add(g, GEM_EXPR_REPEAT, x, least, most);
}

uint32_t gem_expr_both(struct gem_grammar *g, uint32_t a, uint32_t b)
{
    if (a == GEM_NEVER || b == GEM_NEVER) return GEM_NEVER;
    return a == b ? a : add(g, GEM_EXPR_BOTH, a, b, 0);
}

uint32_t gem_expr_list(struct gem_grammar *g, const uint32_t *items, const bool *required, size_t n, uint32_t separator,
                       uint32_t rest)
{
    const uint32_t first = g->n_kids, tail[] = {separator, rest};

    for (size_t i = 0; i < n; i++) { /* an item and whether it must be there */
        const uint32_t pair[] = {items[i], required[i]};
        if (items[i] == GEM_NEVER && required[i]) return GEM_NEVER;
        add_kids(g, pair, 2);
    }
    add_kids(g, tail, 2);
    return add(g, GEM_EXPR_LIST, first, (uint32_t)n, 0);
}

uint32_t gem_expr_multiple(struct gem_grammar *g, uint32_t n) { return add(g, GEM_EXPR_MULTIPLE, n, 0, 0); }

uint32_t gem_expr_rule(struct gem_grammar *g, uint32_t rule) { return add(g, GEM_EXPR_RULE, rule, 0, 0); }

uint32_t gem_rule_new(struct gem_grammar *g, const char *name, size_t n, bool may_inline)
{
    struct gem_rule *r;

    if (!gem_grammar_grow(g, &g->rules, g->n_rules, &g->cap_rules, 1, sizeof *g->rules, GEM_GRAMMAR_MAX_RULES, "rules"))
        return 0;
    r = &g->rules[g->n_rules];
    *r = (struct gem_rule){.may_inline = may_inline};
    if (n >= sizeof r->name) n = sizeof r->name - 1;
    memcpy(r->name, name, n);
    return g->n_rules++;
}

void gem_rule_set(struct gem_grammar *g, uint32_t rule, uint32_t expr)
{
    if (g->status) return;
    g->rules[rule].expr = expr;
    g->rules[rule].is_set = true;
}

void gem_expr_push(struct gem_grammar *g, struct gem_expr_vec *v, uint32_t x)
{
    uint32_t cap = (uint32_t)v->cap;

    if (!gem_grammar_grow(g, &v->x, (uint32_t)v->n, &cap, 1, sizeof *v->x, 4 * GEM_GRAMMAR_MAX_EXPRS, "parts")) return;
    v->cap = cap;
    v->x[v->n++] = x;
}
