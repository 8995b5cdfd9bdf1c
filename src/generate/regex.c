/* SPDX-License-Identifier: Apache-2.0
 * src/generate/regex.c - regular expressions of ECMA-262, as far as they are regular. */
#include "generate/text.h"

#include "base/memory.h"
#include "base/utf8.h"

#include <string.h>

struct regex {
    struct gem_grammar *g;
    enum gem_spelling how;
    const char *where, *s;
    size_t n, at;
    unsigned depth;
};

/* Alternatives by how they are anchored: bit 0, only where the text begins; bit 1, only where it ends. */
struct anchored {
    uint32_t x[4];
};

enum { AT_BEGIN = 1, AT_END = 2 };

static const struct anchored nothing = {{GEM_EMPTY, GEM_NEVER, GEM_NEVER, GEM_NEVER}};

static void fail(struct regex *r, gem_status code, size_t at, const char *what)
{
    gem_grammar_fail(r->g, code, at, "%s: %s at byte %zu", r->where, what, at);
}

static bool more(const struct regex *r) { return !r->g->status && r->at < r->n; }

static bool skip(struct regex *r, const char *word)
{
    const size_t n = strlen(word);

    if (r->n - r->at < n || memcmp(r->s + r->at, word, n)) return false;
    r->at += n;
    return true;
}

/* ---- characters -------------------------------------------------------------------------------------- */

static const struct gem_char_range digits[] = {{'0', '9'}};
static const struct gem_char_range word_chars[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
static const struct gem_char_range spaces[] = {{'\t', '\r'},     {' ', ' '},       {0xa0, 0xa0},     {0x1680, 0x1680},
                                               {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f},
                                               {0x3000, 0x3000}, {0xfeff, 0xfeff}};
static const struct gem_char_range line_ends[] = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

enum { MAX_RANGES = 4096 };

struct set {
    struct gem_char_range *r;
    uint32_t n, cap;
};

static void set_add(struct regex *r, struct set *set, const struct gem_char_range *more_ranges, size_t n)
{
    if (!gem_grammar_grow(r->g, &set->r, set->n, &set->cap, n, sizeof *set->r, MAX_RANGES, "ranges in one class"))
        return;
    memcpy(set->r + set->n, more_ranges, n * sizeof *set->r);
    set->n += (uint32_t)n;
}

/* \d \w \s and their opposites: adds the set; false for any other letter. */
static bool add_class(struct regex *r, struct set *set, char letter)
{
    static const struct {
        char letter;
        const struct gem_char_range *ranges;
        size_t n;
    } classes[] = {{'d', digits, 1}, {'w', word_chars, 4}, {'s', spaces, 10}};
    struct gem_char_range inverse[12];

    for (size_t i = 0; i < 3; i++) {
        if (letter == classes[i].letter) {
            set_add(r, set, classes[i].ranges, classes[i].n);
            return true;
        }
        if (letter == classes[i].letter - 'a' + 'A') {
            set_add(r, set, inverse, gem_ranges_negate(classes[i].ranges, classes[i].n, inverse));
            return true;
        }
    }
    return false;
}

static bool hex_digits(struct regex *r, size_t n, uint32_t *value)
{
    uint32_t v = 0;

    if (r->n - r->at < n) return false;
    for (size_t i = 0; i < n; i++) {
        const char c = r->s[r->at + i];
        const uint32_t digit = c >= '0' && c <= '9' ? (uint32_t)(c - '0') : ((uint32_t)c | 0x20) - 'a' + 10;
        if (digit > 15 || (c > '9' && (c | 0x20) < 'a')) return false;
        v = v * 16 + digit;
    }
    r->at += n;
    *value = v;
    return true;
}

/* After "\u": 4 digits, perhaps of a pair of surrogates, or {any number of them}. */
static uint32_t unicode_escape(struct regex *r, size_t at)
{
    uint32_t cp = 0, low = 0, digit = 0;
    bool ok;

    if (skip(r, "{")) {
        ok = false;
        while (cp <= 0x10ffff && hex_digits(r, 1, &digit)) {
            cp = cp * 16 + digit;
            ok = true;
        }
        ok &= skip(r, "}") && cp <= 0x10ffff;
    } else {
        ok = hex_digits(r, 4, &cp);
        if (ok && cp >= 0xd800 && cp < 0xdc00) {
            ok = skip(r, "\\u") && hex_digits(r, 4, &low) && low >= 0xdc00 && low < 0xe000;
            cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
        }
    }
    if (!ok || (cp >= 0xd800 && cp < 0xe000)) fail(r, GEM_E_FORMAT, at, "\\u is not followed by a character's number");
    return cp;
}

/* The character that an escape stands for; at is behind the backslash. */
static uint32_t escaped_char(struct regex *r, bool in_class)
{
    static const char letters[] = "f\fn\nr\rt\tv\v";
    const size_t at = r->at - 1;
    uint32_t cp = 0;
    size_t n;

    if (r->at == r->n) {
        fail(r, GEM_E_FORMAT, at, "a backslash ends the pattern");
        return 0;
    }
    for (size_t i = 0; i + 1 < sizeof letters; i += 2)
        if (skip(r, (char[]){letters[i], 0})) return (uint8_t)letters[i + 1];
    if (in_class && skip(r, "b")) return '\b';
    if (skip(r, "x")) {
        if (!hex_digits(r, 2, &cp)) fail(r, GEM_E_FORMAT, at, "\\x is not followed by two hexadecimal digits");
        return cp;
    }
    if (skip(r, "u")) return unicode_escape(r, at);
    if (skip(r, "c")) {
        const char c = r->at < r->n ? r->s[r->at++] : 0;
        if ((c | 0x20) < 'a' || (c | 0x20) > 'z') fail(r, GEM_E_FORMAT, at, "\\c is not followed by a letter");
        return (uint32_t)c & 31;
    }
    if (skip(r, "0")) {
        if (r->at < r->n && r->s[r->at] >= '0' && r->s[r->at] <= '9') fail(r, GEM_E_UNSUPPORTED, at, "an octal number");
        return 0;
    }
    n = gem_utf8_decode(r->s + r->at, r->n - r->at, &cp);
    if (cp < 128 && ((cp >= '1' && cp <= '9') || cp == 'k'))
        fail(r, GEM_E_UNSUPPORTED, at, "a back reference, which no regular language has,");
    else if (cp == 'b' || cp == 'B')
        fail(r, GEM_E_UNSUPPORTED, at, "a word boundary");
    else if (cp == 'p' || cp == 'P')
        fail(r, GEM_E_UNSUPPORTED, at, "a Unicode property");
    else if (cp < 128 && ((cp | 0x20) >= 'a' && (cp | 0x20) <= 'z'))
        fail(r, GEM_E_UNSUPPORTED, at, "an unknown escape");
    r->at += n ? n : 1;
    return cp;
}

static uint32_t next_char(struct regex *r)
{
    uint32_t cp = 0;
    const size_t n = gem_utf8_decode(r->s + r->at, r->n - r->at, &cp);

    if (n == 0) fail(r, GEM_E_FORMAT, r->at, "not UTF-8");
    r->at += n ? n : 1;
    return cp;
}

/* One end of a range in a class. True when it was a class of its own, which is then in the set. */
static bool class_atom(struct regex *r, struct set *set, uint32_t *cp)
{
    if (!skip(r, "\\")) {
        *cp = next_char(r);
        return false;
    }
    if (r->at < r->n && add_class(r, set, r->s[r->at])) {
        r->at++;
        return true;
    }
    *cp = skip(r, "-") ? '-' : escaped_char(r, true);
    return false;
}

static void class_item(struct regex *r, struct set *set)
{
    const size_t at = r->at;
    struct gem_char_range range;

    if (class_atom(r, set, &range.lo)) {
        if (r->n - r->at >= 2 && r->s[r->at] == '-' && r->s[r->at + 1] != ']')
            fail(r, GEM_E_FORMAT, at, "a range that begins with a class");
        return;
    }
    range.hi = range.lo;
    if (r->n - r->at >= 2 && r->s[r->at] == '-' && r->s[r->at + 1] != ']') {
        r->at++;
        if (class_atom(r, set, &range.hi)) fail(r, GEM_E_FORMAT, at, "a range that ends with a class");
        if (range.hi < range.lo) fail(r, GEM_E_FORMAT, at, "a range whose end comes before its beginning");
    }
    set_add(r, set, &range, 1);
}

/* Behind "[". */
static uint32_t parse_class(struct regex *r)
{
    const size_t at = r->at - 1;
    const bool negated = skip(r, "^");
    struct set set = {0};
    uint32_t x = GEM_NEVER;

    while (more(r) && r->s[r->at] != ']') class_item(r, &set);
    if (!skip(r, "]")) fail(r, GEM_E_FORMAT, at, "\"[\" is never closed");
    if (!r->g->status) x = gem_text_chars(r->g, r->how, set.r, set.n, negated);
    gem_free(set.r);
    return x;
}

static uint32_t one_char(struct regex *r, uint32_t cp)
{
    const struct gem_char_range range = {cp, cp};

    return gem_text_chars(r->g, r->how, &range, 1, false);
}

/* Behind "\". */
static uint32_t parse_escape(struct regex *r)
{
    struct set set = {0};
    uint32_t x = GEM_NEVER;

    if (r->at < r->n && add_class(r, &set, r->s[r->at])) {
        r->at++;
        if (!r->g->status) x = gem_text_chars(r->g, r->how, set.r, set.n, false);
    } else {
        x = one_char(r, escaped_char(r, false));
    }
    gem_free(set.r);
    return x;
}

/* ---- structure --------------------------------------------------------------------------------------- */

static struct anchored parse_alternatives(struct regex *r);

/* Behind "(". */
static struct anchored parse_group(struct regex *r)
{
    const size_t at = r->at - 1;
    struct anchored a = nothing;

    if (skip(r, "?")) {
        if (skip(r, "<") && r->at < r->n && r->s[r->at] != '=' && r->s[r->at] != '!') {
            while (r->at < r->n && r->s[r->at] != '>') r->at++;
            if (!skip(r, ">")) fail(r, GEM_E_FORMAT, at, "a group's name is never closed");
        } else if (!skip(r, ":")) {
            fail(r, GEM_E_UNSUPPORTED, at, "look-around, or a group of a kind that is not supported,");
        }
    }
    if (++r->depth > GEM_GRAMMAR_MAX_NESTING) fail(r, GEM_E_LIMIT, at, "groups nested too deep");
    if (!r->g->status) a = parse_alternatives(r);
    r->depth--;
    if (!skip(r, ")")) fail(r, GEM_E_FORMAT, at, "\"(\" is never closed");
    return a;
}

static bool number(struct regex *r, uint32_t *value)
{
    const size_t begin = r->at;
    uint64_t v = 0;

    for (; r->at < r->n && r->s[r->at] >= '0' && r->s[r->at] <= '9'; r->at++)
        if (v <= UINT32_MAX) v = v * 10 + (uint64_t)(r->s[r->at] - '0');
    if (v >= GEM_REPEAT_FOREVER) fail(r, GEM_E_LIMIT, begin, "a count that is too large");
    *value = (uint32_t)v;
    return r->at > begin;
}

/* "{2,5}" and the like; what only looks so is text. */
static bool braces(struct regex *r, uint32_t *least, uint32_t *most)
{
    const size_t begin = r->at;

    if (skip(r, "{") && number(r, least)) {
        *most = *least;
        if (skip(r, ",") && !number(r, most)) *most = GEM_REPEAT_FOREVER;
        if (skip(r, "}")) return true;
    }
    r->at = begin;
    return false;
}

static bool is_star(char c) { return c == '*' || c == '+' || c == '?'; }

static bool quantifier(struct regex *r, uint32_t *least, uint32_t *most)
{
    const size_t at = r->at;

    *least = 0;
    *most = GEM_REPEAT_FOREVER;
    if (skip(r, "+"))
        *least = 1;
    else if (skip(r, "?"))
        *most = 1;
    else if (!skip(r, "*") && !braces(r, least, most))
        return false;
    if (*least > *most) fail(r, GEM_E_FORMAT, at, "a repetition whose most is below its least");
    if (skip(r, "+")) fail(r, GEM_E_UNSUPPORTED, at, "a possessive repetition");
    skip(r, "?"); /* as few as possible: the same texts */
    return true;
}

static struct anchored repeat(struct regex *r, struct anchored a)
{
    const size_t at = r->at;
    uint32_t least, most;
    bool anchors = false;

    if (!quantifier(r, &least, &most)) return a;
    for (int i = 1; i < 4; i++) anchors |= a.x[i] != GEM_NEVER;
    if (anchors && least == 0 && most == 1)
        a.x[0] = gem_expr_alt2(r->g, a.x[0], GEM_EMPTY);
    else if (anchors)
        fail(r, GEM_E_UNSUPPORTED, at, "a repeated anchor");
    else
        a.x[0] = gem_expr_repeat(r->g, a.x[0], least, most);
    if (more(r) && is_star(r->s[r->at])) fail(r, GEM_E_FORMAT, r->at, "nothing to repeat");
    return a;
}

static struct anchored parse_item(struct regex *r)
{
    struct anchored a = {{GEM_NEVER, GEM_NEVER, GEM_NEVER, GEM_NEVER}};
    const size_t at = r->at;

    if (skip(r, "^")) {
        a.x[AT_BEGIN] = GEM_EMPTY;
        return a;
    }
    if (skip(r, "$")) {
        a.x[AT_END] = GEM_EMPTY;
        return a;
    }
    if (skip(r, "("))
        a = parse_group(r);
    else if (skip(r, "["))
        a.x[0] = parse_class(r);
    else if (skip(r, "."))
        a.x[0] = gem_text_chars(r->g, r->how, line_ends, 3, true);
    else if (skip(r, "\\"))
        a.x[0] = parse_escape(r);
    else if (is_star(r->s[r->at]))
        fail(r, GEM_E_FORMAT, at, "nothing to repeat");
    else
        a.x[0] = one_char(r, next_char(r));
    return repeat(r, a);
}

/* One after the other, anchors kept where they can be: at the beginning of the first and the end of the last. */
static struct anchored join(struct regex *r, struct anchored a, struct anchored b, size_t at)
{
    struct anchored out = {{GEM_NEVER, GEM_NEVER, GEM_NEVER, GEM_NEVER}};

    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++) {
            if (a.x[i] == GEM_NEVER || b.x[k] == GEM_NEVER) continue;
            if (((k & AT_BEGIN) && a.x[i] != GEM_EMPTY) || ((i & AT_END) && b.x[k] != GEM_EMPTY))
                fail(r, GEM_E_UNSUPPORTED, at, "an anchor in the middle");
            out.x[i | k] = gem_expr_alt2(r->g, out.x[i | k], gem_expr_seq2(r->g, a.x[i], b.x[k]));
        }
    return out;
}

static struct anchored parse_sequence(struct regex *r)
{
    struct anchored out = nothing;
    struct gem_expr_vec run = {0}; /* items without anchors; one sequence of many is not many of two */

    while (more(r) && r->s[r->at] != '|' && r->s[r->at] != ')') {
        const size_t at = r->at;
        const struct anchored item = parse_item(r);
        if (item.x[1] == GEM_NEVER && item.x[2] == GEM_NEVER && item.x[3] == GEM_NEVER) {
            gem_expr_push(r->g, &run, item.x[0]);
            continue;
        }
        if (run.n > 0)
            out = join(r, out, (struct anchored){{gem_expr_seq(r->g, run.x, run.n), GEM_NEVER, GEM_NEVER, GEM_NEVER}},
                       at);
        run.n = 0;
        out = join(r, out, item, at);
    }
    if (run.n > 0)
        out =
            join(r, out, (struct anchored){{gem_expr_seq(r->g, run.x, run.n), GEM_NEVER, GEM_NEVER, GEM_NEVER}}, r->at);
    gem_free(run.x);
    return out;
}

static struct anchored parse_alternatives(struct regex *r)
{
    struct gem_expr_vec kids[4] = {{0}, {0}, {0}, {0}};
    struct anchored out = {{GEM_NEVER, GEM_NEVER, GEM_NEVER, GEM_NEVER}};

    do {
        const struct anchored a = parse_sequence(r);
        for (int i = 0; i < 4; i++)
            if (a.x[i] != GEM_NEVER) gem_expr_push(r->g, &kids[i], a.x[i]);
    } while (skip(r, "|"));
    for (int i = 0; i < 4; i++) {
        if (!r->g->status) out.x[i] = gem_expr_alt(r->g, kids[i].x, kids[i].n);
        gem_free(kids[i].x);
    }
    return out;
}

uint32_t gem_regex_parse(struct gem_grammar *g, enum gem_spelling how, bool search, const char *where, const char *s,
                         size_t n)
{
    struct regex r = {.g = g, .how = how, .where = where, .s = s, .n = n};
    struct anchored a;
    uint32_t x = GEM_NEVER, any;

    if (!gem_utf8_valid(s, n)) {
        gem_grammar_fail(g, GEM_E_FORMAT, 0, "%s: not UTF-8", where);
        return GEM_NEVER;
    }
    a = parse_alternatives(&r);
    if (more(&r)) fail(&r, GEM_E_FORMAT, r.at, "\")\" without \"(\"");
    any = search ? gem_expr_repeat(g, gem_text_any(g, how), 0, GEM_REPEAT_FOREVER) : GEM_EMPTY;
    for (int i = 0; i < 4 && !g->status; i++) {
        const uint32_t before = i & AT_BEGIN ? GEM_EMPTY : any, after = i & AT_END ? GEM_EMPTY : any;
        if (a.x[i] != GEM_NEVER) x = gem_expr_alt2(g, x, gem_expr_seq3(g, before, a.x[i], after));
    }
    return x;
}
