/* SPDX-License-Identifier: Apache-2.0 */
#include "generate/text.h"

#include "base/memory.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

/* The escape of a character that cannot stand for itself in a JSON string; 0: it can. */
static size_t json_escape(uint32_t cp, char out[8])
{
    static const char letters[] = "\bb\ff\nn\rr\tt\"\"\\\\";

    for (size_t i = 0; i + 1 < sizeof letters; i += 2)
        if ((uint32_t)(uint8_t)letters[i] == cp) return (size_t)snprintf(out, 8, "\\%c", letters[i + 1]);
    return cp < 0x20 ? (size_t)snprintf(out, 8, "\\u%04x", (unsigned)cp) : 0;
}

static bool has_char(const struct gem_char_range *r, size_t n, uint32_t cp)
{
    for (size_t i = 0; i < n; i++)
        if (r[i].lo <= cp && cp <= r[i].hi) return true;
    return false;
}

/* r: normalised, with room for three ranges more. */
static uint32_t json_chars(struct gem_grammar *g, struct gem_char_range *r, size_t n)
{
    static const struct gem_char_range itself[] = {{0x20, '!'}, {'#', '['}, {']', 0x10ffff}};
    struct gem_expr_vec kids = {0};
    struct gem_char_range *plain = gem_calloc(3 * n + 3, sizeof *plain, "a constraint", g->err);
    size_t n_plain = 0;
    uint32_t x = GEM_NEVER;

    if (!plain) {
        gem_grammar_fail(g, GEM_E_NOMEM, 0, "out of memory for a constraint");
        return GEM_NEVER;
    }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < 3; k++) {
            const uint32_t lo = r[i].lo > itself[k].lo ? r[i].lo : itself[k].lo;
            const uint32_t hi = r[i].hi < itself[k].hi ? r[i].hi : itself[k].hi;
            if (lo <= hi) plain[n_plain++] = (struct gem_char_range){lo, hi};
        }
    gem_expr_push(g, &kids, gem_expr_chars(g, plain, n_plain, false));
    for (uint32_t cp = 0; cp <= '\\'; cp++) {
        char escape[8];
        const size_t n_escape = json_escape(cp, escape);
        if (n_escape > 0 && has_char(r, n, cp)) gem_expr_push(g, &kids, gem_expr_bytes(g, escape, n_escape));
    }
    if (!g->status) x = gem_expr_alt(g, kids.x, kids.n);
    gem_free(kids.x);
    gem_free(plain);
    return x;
}

uint32_t gem_text_chars(struct gem_grammar *g, enum gem_spelling how, const struct gem_char_range *ranges, size_t n,
                        bool negated)
{
    struct gem_char_range *r, *inverse;
    uint32_t x = GEM_NEVER;

    if (how == GEM_SPELL_PLAIN) return gem_expr_chars(g, ranges, n, negated);
    r = gem_calloc(2 * n + 8, sizeof *r, "a constraint", g->err);
    if (!r) {
        gem_grammar_fail(g, GEM_E_NOMEM, 0, "out of memory for a constraint");
        return x;
    }
    if (n > 0) memcpy(r, ranges, n * sizeof *r);
    n = gem_ranges_normalise(r, n);
    inverse = r + n + 1;
    if (negated) {
        n = gem_ranges_negate(r, n, inverse);
        x = json_chars(g, inverse, n);
    } else {
        x = json_chars(g, r, n);
    }
    gem_free(r);
    return x;
}

uint32_t gem_text_any(struct gem_grammar *g, enum gem_spelling how) { return gem_text_chars(g, how, NULL, 0, true); }

uint32_t gem_text_literal(struct gem_grammar *g, enum gem_spelling how, const char *s, size_t n)
{
    uint32_t x = GEM_EMPTY;
    size_t begin = 0;

    if (how == GEM_SPELL_PLAIN) return gem_expr_bytes(g, s, n);
    for (size_t i = 0; i < n; i++) {
        char escape[8];
        const size_t n_escape = json_escape((uint8_t)s[i], escape);
        if (n_escape == 0) continue;
        x = gem_expr_seq3(g, x, gem_expr_bytes(g, s + begin, i - begin), gem_expr_bytes(g, escape, n_escape));
        begin = i + 1;
    }
    return gem_expr_seq2(g, x, gem_expr_bytes(g, s + begin, n - begin));
}
