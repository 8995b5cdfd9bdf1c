/* SPDX-License-Identifier: Apache-2.0
 * src/generate/gbnf.c - grammars as llama.cpp's users write them.
 *
 *   root   ::= greeting ("," ws name)* "!"?        # a comment
 *   name   ::= [A-Z] [a-z]{1,20} | "\u00c9" .
 *
 * A rule goes on until the next one begins ("name ::="), so that alternatives may stand on lines of their own. Escapes:
 * \n \r \t \" \\ \[ \] \- \^ \xHH \uHHHH \UHHHHHHHH. */
#include "generate/text.h"

#include "base/memory.h"
#include "base/utf8.h"

#include <string.h>

struct gbnf {
    struct gem_grammar *g;
    const char *s;
    size_t n, at;
    unsigned depth;
    struct name {
        const char *s;
        size_t n;
    } * names; /* [g->n_rules] */
    uint32_t cap_names;
    uint32_t *slots; /* [2^16 * 2] rule + 1 */
};

enum { SLOTS = 2 * GEM_GRAMMAR_MAX_RULES };

static void fail(struct gbnf *p, size_t at, const char *what)
{
    size_t line = 1;

    for (size_t i = 0; i < at && i < p->n; i++) line += p->s[i] == '\n';
    gem_grammar_fail(p->g, GEM_E_FORMAT, at, "grammar, line %zu: %s", line, what);
}

static void skip_space(struct gbnf *p)
{
    while (p->at < p->n) {
        const char c = p->s[p->at];
        if (c == '#')
            while (p->at < p->n && p->s[p->at] != '\n') p->at++;
        else if (c == ' ' || c == '\t' || c == '\n' || c == '\r')
            p->at++;
        else
            return;
    }
}

static bool skip(struct gbnf *p, char c)
{
    if (p->at == p->n || p->s[p->at] != c) return false;
    p->at++;
    return true;
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static size_t name_at(const struct gbnf *p)
{
    size_t n = 0;

    while (p->at + n < p->n && is_name(p->s[p->at + n])) n++;
    return n;
}

/* Whether "name ::=" stands here. */
static bool begins_rule(struct gbnf *p)
{
    const size_t at = p->at, n = name_at(p);
    bool begins;

    p->at += n;
    skip_space(p);
    begins = n > 0 && p->n - p->at >= 3 && !memcmp(p->s + p->at, "::=", 3);
    p->at = at;
    return begins;
}

static uint32_t rule_of(struct gbnf *p, const char *s, size_t n)
{
    uint32_t hash = 2166136261u, at, rule;

    for (size_t i = 0; i < n; i++) hash = (hash ^ (uint8_t)s[i]) * 16777619u;
    for (at = hash % SLOTS; p->slots[at]; at = (at + 1) % SLOTS) {
        const struct name *name = &p->names[p->slots[at] - 1];
        if (name->n == n && !memcmp(name->s, s, n)) return p->slots[at] - 1;
    }
    rule = gem_rule_new(p->g, s, n, true);
    if (!gem_grammar_grow(p->g, &p->names, rule, &p->cap_names, 1, sizeof *p->names, GEM_GRAMMAR_MAX_RULES, "rules"))
        return 0;
    p->names[rule] = (struct name){s, n};
    p->slots[at] = rule + 1;
    return rule;
}

static uint32_t hex(struct gbnf *p, size_t n)
{
    uint32_t v = 0;

    for (size_t i = 0; i < n; i++) {
        const char c = p->at < p->n ? p->s[p->at] : 0;
        if (c >= '0' && c <= '9')
            v = v * 16 + (uint32_t)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            v = v * 16 + (uint32_t)((c | 0x20) - 'a') + 10;
        else
            fail(p, p->at, "an escape has too few hexadecimal digits");
        p->at += p->at < p->n;
    }
    return v;
}

static uint32_t next_char(struct gbnf *p)
{
    static const char letters[] = "n\nr\rt\t\"\"\\\\[[]]--^^..''";
    uint32_t cp = 0;
    size_t n;

    if (!skip(p, '\\')) {
        n = gem_utf8_decode(p->s + p->at, p->n - p->at, &cp);
        p->at += n ? n : 1; /* the whole was checked to be UTF-8 */
        return cp;
    }
    for (size_t i = 0; i + 1 < sizeof letters; i += 2)
        if (skip(p, letters[i])) return (uint8_t)letters[i + 1];
    if (skip(p, 'x'))
        cp = hex(p, 2);
    else if (skip(p, 'u'))
        cp = hex(p, 4);
    else if (skip(p, 'U'))
        cp = hex(p, 8);
    else
        fail(p, p->at, "an unknown escape");
    if (cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000)) fail(p, p->at, "an escape that is no character");
    return cp;
}

/* Behind the quote. */
static uint32_t parse_literal(struct gbnf *p)
{
    const size_t at = p->at - 1;
    struct gem_expr_vec parts = {0};
    uint32_t x = GEM_NEVER;

    while (!p->g->status && p->at < p->n && p->s[p->at] != '"') {
        const size_t begin = p->at;
        while (p->at < p->n && p->s[p->at] != '"' && p->s[p->at] != '\\') p->at++;
        if (p->at > begin) {
            gem_expr_push(p->g, &parts, gem_expr_bytes(p->g, p->s + begin, p->at - begin));
        } else {
            const struct gem_char_range range = {.lo = next_char(p)};
            const struct gem_char_range one = {range.lo, range.lo};
            gem_expr_push(p->g, &parts, gem_expr_chars(p->g, &one, 1, false));
        }
    }
    if (!skip(p, '"')) fail(p, at, "a quote is never closed");
    if (!p->g->status) x = gem_expr_seq(p->g, parts.x, parts.n);
    gem_free(parts.x);
    return x;
}

/* Behind "[". */
static uint32_t parse_class(struct gbnf *p)
{
    const size_t at = p->at - 1;
    const bool negated = skip(p, '^');
    struct gem_char_range *ranges = NULL;
    uint32_t n = 0, cap = 0, x = GEM_NEVER;

    while (!p->g->status && p->at < p->n && p->s[p->at] != ']') {
        struct gem_char_range r = {.lo = next_char(p)};
        r.hi = r.lo;
        if (p->n - p->at >= 2 && p->s[p->at] == '-' && p->s[p->at + 1] != ']') {
            p->at++;
            r.hi = next_char(p);
            if (r.hi < r.lo) fail(p, p->at, "a range whose end comes before its beginning");
        }
        if (gem_grammar_grow(p->g, &ranges, n, &cap, 1, sizeof *ranges, 1 << 16, "ranges in one class"))
            ranges[n++] = r;
    }
    if (!skip(p, ']')) fail(p, at, "\"[\" is never closed");
    if (!p->g->status) x = gem_expr_chars(p->g, ranges, n, negated);
    gem_free(ranges);
    return x;
}

static uint32_t parse_alternatives(struct gbnf *p);

static uint32_t parse_atom(struct gbnf *p)
{
    const size_t at = p->at, n = name_at(p);
    uint32_t x;

    if (n > 0) {
        p->at += n;
        return gem_expr_rule(p->g, rule_of(p, p->s + at, n));
    }
    if (skip(p, '"')) return parse_literal(p);
    if (skip(p, '[')) return parse_class(p);
    if (skip(p, '.')) return gem_expr_chars(p->g, NULL, 0, true);
    if (!skip(p, '(')) {
        fail(p, at, "something that is no part of a rule");
        return GEM_NEVER;
    }
    if (++p->depth > GEM_GRAMMAR_MAX_NESTING) fail(p, at, "groups nested too deep");
    x = p->g->status ? GEM_NEVER : parse_alternatives(p);
    p->depth--;
    if (!skip(p, ')')) fail(p, at, "\"(\" is never closed");
    return x;
}

static uint32_t parse_count(struct gbnf *p)
{
    const size_t at = p->at;
    uint64_t v = 0;

    for (; p->at < p->n && p->s[p->at] >= '0' && p->s[p->at] <= '9'; p->at++)
        if (v <= UINT32_MAX) v = v * 10 + (uint64_t)(p->s[p->at] - '0');
    if (p->at == at) fail(p, at, "a count is missing");
    if (v >= GEM_REPEAT_FOREVER) fail(p, at, "a count is too large");
    return (uint32_t)v;
}

static uint32_t parse_repeat(struct gbnf *p, uint32_t x)
{
    for (;;) {
        uint32_t least = 0, most = GEM_REPEAT_FOREVER;
        skip_space(p);
        if (skip(p, '+')) {
            least = 1;
        } else if (skip(p, '?')) {
            most = 1;
        } else if (skip(p, '{')) {
            skip_space(p);
            if (p->at < p->n && p->s[p->at] != ',') least = parse_count(p);
            most = least;
            skip_space(p);
            if (skip(p, ',')) {
                skip_space(p);
                most = p->at < p->n && p->s[p->at] != '}' ? parse_count(p) : GEM_REPEAT_FOREVER;
            }
            skip_space(p);
            if (!skip(p, '}')) fail(p, p->at, "\"{\" is never closed");
            if (least > most) fail(p, p->at, "a repetition whose most is below its least");
        } else if (!skip(p, '*')) {
            return x;
        }
        if (p->g->status) return GEM_NEVER;
        x = gem_expr_repeat(p->g, x, least, most);
    }
}

static uint32_t parse_sequence(struct gbnf *p)
{
    struct gem_expr_vec parts = {0};
    uint32_t x = GEM_NEVER;

    for (;;) {
        skip_space(p);
        if (p->g->status || p->at == p->n || p->s[p->at] == '|' || p->s[p->at] == ')' || begins_rule(p)) break;
        gem_expr_push(p->g, &parts, parse_repeat(p, parse_atom(p)));
    }
    if (!p->g->status) x = gem_expr_seq(p->g, parts.x, parts.n);
    gem_free(parts.x);
    return x;
}

static uint32_t parse_alternatives(struct gbnf *p)
{
    struct gem_expr_vec kids = {0};
    uint32_t x = GEM_NEVER;

    do {
        gem_expr_push(p->g, &kids, parse_sequence(p));
    } while (skip(p, '|'));
    if (!p->g->status) x = gem_expr_alt(p->g, kids.x, kids.n);
    gem_free(kids.x);
    return x;
}

static void parse_rule(struct gbnf *p)
{
    const size_t at = p->at, n = name_at(p);
    uint32_t rule, x;

    if (!begins_rule(p)) {
        fail(p, at, "a rule (\"name ::= ...\") is expected");
        return;
    }
    rule = rule_of(p, p->s + at, n);
    p->at += n;
    skip_space(p);
    p->at += 3;
    if (p->g->status) return;
    if (p->g->rules[rule].is_set) fail(p, at, "a rule is defined twice");
    x = parse_alternatives(p);
    if (!p->g->status && p->at < p->n && p->s[p->at] == ')') fail(p, p->at, "\")\" without \"(\"");
    gem_rule_set(p->g, rule, x);
}

gem_status gem_gbnf_parse(struct gem_grammar *g, const char *s, size_t n)
{
    struct gbnf p = {.g = g, .s = s, .n = n};

    if (!gem_utf8_valid(s, n) || n > GEM_GRAMMAR_MAX_BYTES) {
        fail(&p, 0, n > GEM_GRAMMAR_MAX_BYTES ? "too long" : "not UTF-8");
        return g->status;
    }
    p.slots = gem_calloc(SLOTS, sizeof *p.slots, "a grammar", g->err);
    if (!p.slots) return g->status = GEM_E_NOMEM;
    g->root = rule_of(&p, "root", 4);
    for (skip_space(&p); !g->status && p.at < n; skip_space(&p)) parse_rule(&p);
    if (!g->status && !g->rules[g->root].is_set) fail(&p, n, "there is no rule \"root\"");
    gem_free(p.names);
    gem_free(p.slots);
    return g->status;
}
