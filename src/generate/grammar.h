/* SPDX-License-Identifier: Apache-2.0
 * src/generate/grammar.h - what a constraint says, before it becomes an automaton.
 *
 * Every front end (JSON Schema, regular expressions, GBNF, tool calls) builds the same expressions over bytes: rules
 * that may name each other, each with one expression. An expression is the number of a node of a growing table; nodes
 * may be shared. Building never fails in the middle: the first failure is kept in the grammar, later calls then do
 * nothing, and gem_grammar_status() tells at the end.
 *
 * Text is UTF-8. A control token is spelled as 0xff and its id in three bytes below 0x80, which no text contains, so
 * that automata know bytes only. */
#ifndef GEM_GENERATE_GRAMMAR_H
#define GEM_GENERATE_GRAMMAR_H

#include "base/status.h"

enum {
    GEM_GRAMMAR_MAX_EXPRS = 1 << 20,
    GEM_GRAMMAR_MAX_BYTES = 16 << 20, /* of literals */
    GEM_GRAMMAR_MAX_RULES = 1 << 16,
    GEM_GRAMMAR_MAX_NESTING = 200, /* of groups in patterns and grammars */
};
#define GEM_REPEAT_FOREVER UINT32_MAX

enum gem_expr_kind {
    GEM_EXPR_NEVER,    /* nothing matches */
    GEM_EXPR_EMPTY,    /* the empty text */
    GEM_EXPR_BYTES,    /* a: first of grammar's bytes, b: how many */
    GEM_EXPR_CHARS,    /* a: first of grammar's ranges, b: how many: one character out of these */
    GEM_EXPR_SEQ,      /* a: first of grammar's kids, b: how many */
    GEM_EXPR_ALT,      /* the same */
    GEM_EXPR_REPEAT,   /* a: what, b: least, c: most */
    GEM_EXPR_BOTH,     /* a, b: text that matches both, neither of which names a rule */
    GEM_EXPR_LIST,     /* a: first kid, b: items; see gem_expr_list */
    GEM_EXPR_MULTIPLE, /* a: digits that make a multiple of it */
    GEM_EXPR_RULE,     /* a: the rule */
};

struct gem_expr {
    enum gem_expr_kind kind;
    uint32_t a, b, c;
};

struct gem_char_range {
    uint32_t lo, hi; /* code points, both included */
};

struct gem_rule {
    char name[32]; /* for messages, perhaps cut */
    uint32_t expr; /* GEM_EXPR_NEVER until set */
    bool is_set;
    bool may_inline; /* small ones are copied into those who name them */
};

struct gem_grammar {
    struct gem_expr *exprs;
    uint32_t n_exprs, cap_exprs;
    uint32_t *kids;
    uint32_t n_kids, cap_kids;
    uint8_t *bytes;
    uint32_t n_bytes, cap_bytes;
    struct gem_char_range *ranges;
    uint32_t n_ranges, cap_ranges;
    struct gem_rule *rules;
    uint32_t n_rules, cap_rules;
    uint32_t root; /* the rule to begin with */
    gem_status status;
    gem_error *err; /* where the first failure is written; may be NULL */
};

gem_status gem_grammar_open(struct gem_grammar *g, gem_error *err);
void gem_grammar_close(struct gem_grammar *g); /* accepts a zero-initialised one */
static inline gem_status gem_grammar_status(const struct gem_grammar *g) { return g->status; }
/* Keeps the first failure only. Returns it. */
gem_status gem_grammar_fail(struct gem_grammar *g, gem_status code, uint64_t offset, const char *format, ...)
    GEM_PRINTF(4, 5);

#define GEM_NEVER 0u
#define GEM_EMPTY 1u

uint32_t gem_expr_bytes(struct gem_grammar *g, const void *s, size_t n);
uint32_t gem_expr_text(struct gem_grammar *g, const char *s); /* zero-terminated */
uint32_t gem_expr_token(struct gem_grammar *g, int32_t id);
/* Ranges in any order, surrogates are left out; `negated`: every other character. */
uint32_t gem_expr_chars(struct gem_grammar *g, const struct gem_char_range *ranges, size_t n, bool negated);
uint32_t gem_expr_seq(struct gem_grammar *g, const uint32_t *kids, size_t n);
uint32_t gem_expr_alt(struct gem_grammar *g, const uint32_t *kids, size_t n);
uint32_t gem_expr_seq2(struct gem_grammar *g, uint32_t a, uint32_t b);
uint32_t gem_expr_seq3(struct gem_grammar *g, uint32_t a, uint32_t b, uint32_t c);
uint32_t gem_expr_alt2(struct gem_grammar *g, uint32_t a, uint32_t b);
uint32_t gem_expr_optional(struct gem_grammar *g, uint32_t x);
uint32_t gem_expr_repeat(struct gem_grammar *g, uint32_t x, uint32_t least, uint32_t most);
uint32_t gem_expr_both(struct gem_grammar *g, uint32_t a, uint32_t b);
/* Items in this order with a separator between any two that are there: items[i] may be missing unless required[i].
 * After them any number of `rest` (GEM_NEVER: none), separated too. Its automaton is linear in the number of items. */
uint32_t gem_expr_list(struct gem_grammar *g, const uint32_t *items, const bool *required, size_t n, uint32_t separator,
                       uint32_t rest);
/* Decimal digits, at least one, that make a multiple of n > 0; leading zeros too. */
uint32_t gem_expr_multiple(struct gem_grammar *g, uint32_t n);
uint32_t gem_expr_rule(struct gem_grammar *g, uint32_t rule);

/* A rule to be set later, so that it can name itself. */
uint32_t gem_rule_new(struct gem_grammar *g, const char *name, size_t n, bool may_inline);
void gem_rule_set(struct gem_grammar *g, uint32_t rule, uint32_t expr);

/* Sorts, joins what touches, leaves out surrogates and what is above U+10FFFF. Returns how many are left, at most n
 * + 1. */
size_t gem_ranges_normalise(struct gem_char_range *r, size_t n);
/* The characters that are not in r, which is normalised; out has room for n + 2. Returns how many ranges. */
size_t gem_ranges_negate(const struct gem_char_range *r, size_t n, struct gem_char_range *out);

/* A list of expressions that grows; for front ends. Zero-initialise; free with gem_free(list.x). */
struct gem_expr_vec {
    uint32_t *x;
    size_t n, cap;
};
void gem_expr_push(struct gem_grammar *g, struct gem_expr_vec *v, uint32_t x);

/* Room for `more` elements of `size` bytes after the first n; false after a failure that is in the grammar. `p` is the
 * address of the pointer to them, whatever its type. */
bool gem_grammar_grow(struct gem_grammar *g, void *p, uint32_t n, uint32_t *cap, size_t more, size_t size, size_t limit,
                      const char *what);

#endif
