/* SPDX-License-Identifier: Apache-2.0
 * src/generate/number.c - decimals, and which digits make a number between two bounds. */
#include "generate/number.h"

#include "generate/text.h"

#include <string.h>

/* ---- decimals ---------------------------------------------------------------------------------------- */

static size_t digits_at(const char *s, size_t n)
{
    size_t k = 0;

    while (k < n && s[k] >= '0' && s[k] <= '9') k++;
    return k;
}

static bool parse_exponent(const char *s, size_t n, long *exponent)
{
    const bool sign = n > 0 && (s[0] == '+' || s[0] == '-');
    const size_t k = digits_at(s + sign, n - sign);
    long e = 0;

    if (k == 0 || sign + k != n) return false;
    for (size_t i = 0; i < k; i++)
        if (e < 100000) e = e * 10 + (s[sign + i] - '0');
    *exponent = sign && s[0] == '-' ? -e : e;
    return true;
}

/* The digits of `all` with the point after the first `point` of them, which may lie outside. */
static bool place_point(struct gem_decimal *d, const char *all, size_t n, long point)
{
    size_t begin = 0, n_whole = 0, n_part = 0;

    while (begin < n && all[begin] == '0') begin++; /* leading zeros */
    while (n > begin && all[n - 1] == '0') n--;     /* trailing ones */
    if (begin == n) {
        d->negative = false;
        d->whole[0] = '0';
        return true;
    }
    if (point > GEM_DECIMAL_MAX + (long)begin || (long)n - point > GEM_DECIMAL_MAX) return false;
    for (long i = (long)begin; i < point; i++) d->whole[n_whole++] = i < (long)n ? all[i] : '0';
    if (n_whole == 0) d->whole[n_whole++] = '0';
    for (long i = point; i < (long)n; i++) d->part[n_part++] = i < (long)begin ? '0' : all[i];
    return true;
}

bool gem_decimal_parse(struct gem_decimal *d, const char *s, size_t n)
{
    char all[2 * GEM_DECIMAL_MAX];
    size_t at = 0, k, n_all = 0;
    long point, exponent = 0;

    *d = (struct gem_decimal){0};
    d->negative = n > 0 && s[0] == '-';
    at += d->negative;
    k = digits_at(s + at, n - at);
    if (k == 0 || k > GEM_DECIMAL_MAX) return false;
    memcpy(all, s + at, k);
    n_all = k;
    point = (long)k;
    at += k;
    if (at < n && s[at] == '.') {
        at++;
        k = digits_at(s + at, n - at);
        if (k == 0 || k > GEM_DECIMAL_MAX) return false;
        memcpy(all + n_all, s + at, k);
        n_all += k;
        at += k;
    }
    if (at < n && (s[at] == 'e' || s[at] == 'E')) {
        if (!parse_exponent(s + at + 1, n - at - 1, &exponent)) return false;
        at = n;
    }
    return at == n && place_point(d, all, n_all, point + exponent);
}

static int compare_magnitudes(const struct gem_decimal *a, const struct gem_decimal *b)
{
    const size_t n_a = strlen(a->whole), n_b = strlen(b->whole);
    int order;

    if (n_a != n_b) return n_a < n_b ? -1 : 1;
    order = strcmp(a->whole, b->whole);
    return order ? order : strcmp(a->part, b->part); /* trailing zeros are gone, so a prefix is less */
}

int gem_decimal_compare(const struct gem_decimal *a, const struct gem_decimal *b)
{
    if (a->negative != b->negative) return a->negative ? -1 : 1;
    return a->negative ? compare_magnitudes(b, a) : compare_magnitudes(a, b);
}

/* One more, or one less, of digits that are not zero then. */
static void increment(char *s)
{
    size_t i = strlen(s);

    while (i > 0 && s[i - 1] == '9') s[--i] = '0';
    if (i > 0) {
        s[i - 1]++;
        return;
    }
    memmove(s + 1, s, strlen(s) + 1); /* whole[] has room for it */
    s[0] = '1';
}

static void decrement(char *s)
{
    size_t i = strlen(s);

    while (s[i - 1] == '0') s[--i] = '9';
    s[i - 1]--;
    if (s[0] == '0' && s[1]) memmove(s, s + 1, strlen(s));
}

/* ---- digits ------------------------------------------------------------------------------------------ */

static uint32_t digit(struct gem_grammar *g, char lo, char hi)
{
    const struct gem_char_range r = {(uint32_t)lo, (uint32_t)hi};

    return lo <= hi ? gem_expr_chars(g, &r, 1, false) : GEM_NEVER;
}

static uint32_t digits(struct gem_grammar *g, size_t least, size_t most)
{
    return gem_expr_repeat(g, digit(g, '0', '9'), (uint32_t)least, (uint32_t)most);
}

/* As many digits as s has, not below it or not above it. */
static uint32_t same_length(struct gem_grammar *g, const char *s, bool above)
{
    const size_t n = strlen(s);
    uint32_t x = GEM_EMPTY;

    for (size_t i = n; i-- > 0;) {
        const char first = n > 1 && i == 0 ? '1' : '0';
        const uint32_t other = above ? digit(g, (char)(s[i] + 1), '9') : digit(g, first, (char)(s[i] - 1));
        x = gem_expr_alt2(g, gem_expr_seq2(g, digit(g, s[i], s[i]), x),
                          gem_expr_seq2(g, other, digits(g, n - i - 1, n - i - 1)));
    }
    return x;
}

static uint32_t any_whole(struct gem_grammar *g)
{
    return gem_expr_alt2(g, digit(g, '0', '0'), gem_expr_seq2(g, digit(g, '1', '9'), digits(g, 0, GEM_REPEAT_FOREVER)));
}

static uint32_t whole_from(struct gem_grammar *g, const char *s)
{
    const size_t n = strlen(s);

    return gem_expr_alt2(g, same_length(g, s, true),
                         gem_expr_seq2(g, digit(g, '1', '9'), digits(g, n, GEM_REPEAT_FOREVER)));
}

static uint32_t whole_up_to(struct gem_grammar *g, const char *s)
{
    const size_t n = strlen(s);
    uint32_t x = same_length(g, s, false);

    if (n == 1) return x;
    x = gem_expr_alt2(g, x, gem_expr_seq2(g, digit(g, '1', '9'), digits(g, 0, n - 2)));
    return gem_expr_alt2(g, x, digit(g, '0', '0'));
}

/* ---- behind the point -------------------------------------------------------------------------------- */

static uint32_t any_part(struct gem_grammar *g)
{
    return gem_expr_optional(g, gem_expr_seq2(g, gem_expr_text(g, "."), digits(g, 1, GEM_REPEAT_FOREVER)));
}

/* More than zero, from the present digit on. */
static uint32_t not_all_zero(struct gem_grammar *g)
{
    return gem_expr_seq3(g, gem_expr_repeat(g, digit(g, '0', '0'), 0, GEM_REPEAT_FOREVER), digit(g, '1', '9'),
                         digits(g, 0, GEM_REPEAT_FOREVER));
}

static uint32_t part_from(struct gem_grammar *g, const char *s, bool above)
{
    const size_t n = strlen(s);
    uint32_t x = above ? not_all_zero(g) : digits(g, 0, GEM_REPEAT_FOREVER);

    if (n == 0 && !above) return any_part(g);
    for (size_t i = n; i-- > 0;)
        x = gem_expr_alt2(g, gem_expr_seq2(g, digit(g, s[i], s[i]), x),
                          gem_expr_seq2(g, digit(g, (char)(s[i] + 1), '9'), digits(g, 0, GEM_REPEAT_FOREVER)));
    return gem_expr_seq2(g, gem_expr_text(g, "."), x);
}

static uint32_t part_up_to(struct gem_grammar *g, const char *s, bool below)
{
    const size_t n = strlen(s);
    const uint32_t zeros = gem_expr_repeat(g, digit(g, '0', '0'), n == 0, GEM_REPEAT_FOREVER);
    uint32_t x = below ? GEM_NEVER : zeros; /* what may follow once all digits are equal */

    if (n == 0 && below) return GEM_NEVER;
    for (size_t i = n; i-- > 0;) {
        const uint32_t rest = i + 1 < n ? gem_expr_optional(g, x) : x; /* fewer digits are less */
        x = gem_expr_alt2(g, gem_expr_seq2(g, digit(g, s[i], s[i]), rest),
                          gem_expr_seq2(g, digit(g, '0', (char)(s[i] - 1)), digits(g, 0, GEM_REPEAT_FOREVER)));
    }
    return gem_expr_optional(g, gem_expr_seq2(g, gem_expr_text(g, "."), x));
}

/* ---- magnitudes -------------------------------------------------------------------------------------- */

static uint32_t magnitude_from(struct gem_grammar *g, const struct gem_decimal *d, bool above)
{
    char next[sizeof d->whole];

    memcpy(next, d->whole, sizeof next);
    increment(next);
    return gem_expr_alt2(g, gem_expr_seq2(g, gem_expr_text(g, d->whole), part_from(g, d->part, above)),
                         gem_expr_seq2(g, whole_from(g, next), any_part(g)));
}

static uint32_t magnitude_up_to(struct gem_grammar *g, const struct gem_decimal *d, bool below)
{
    char previous[sizeof d->whole];
    uint32_t x = gem_expr_seq2(g, gem_expr_text(g, d->whole), part_up_to(g, d->part, below));

    if (!strcmp(d->whole, "0")) return x;
    memcpy(previous, d->whole, sizeof previous);
    decrement(previous);
    return gem_expr_alt2(g, x, gem_expr_seq2(g, whole_up_to(g, previous), any_part(g)));
}

/* A double tells numbers of 15 digits apart, so that a reader sees none of these on the wrong side of a bound. */
static uint32_t with_digits(struct gem_grammar *g, size_t n_whole, size_t n_part)
{
    size_t most = n_whole < 14 ? 15 - n_whole : 1;

    if (most < n_part) most = n_part;
    return gem_expr_seq2(g, any_whole(g),
                         gem_expr_optional(g, gem_expr_seq2(g, gem_expr_text(g, "."), digits(g, 1, most))));
}

struct bounds {
    struct gem_decimal least, most;
    bool has_least, has_most, above, below;
};

static bool read_bounds(struct gem_grammar *g, const struct gem_number_bounds *from, struct bounds *b,
                        const char *where)
{
    *b = (struct bounds){.has_least = from->least, .has_most = from->most, .above = from->above, .below = from->below};
    if ((b->has_least && !gem_decimal_parse(&b->least, from->least, strlen(from->least))) ||
        (b->has_most && !gem_decimal_parse(&b->most, from->most, strlen(from->most)))) {
        gem_grammar_fail(g, GEM_E_LIMIT, 0, "%s: a bound with too many digits", where);
        return false;
    }
    return true;
}

static bool is_zero(const struct gem_decimal *d) { return !strcmp(d->whole, "0") && !d->part[0]; }

/* The same interval seen from below zero. */
static struct bounds mirrored(const struct bounds *b)
{
    struct bounds m = {.least = b->most,
                       .most = b->least,
                       .has_least = b->has_most,
                       .has_most = b->has_least,
                       .above = b->below,
                       .below = b->above};

    m.least.negative = !b->most.negative && !is_zero(&b->most);
    m.most.negative = !b->least.negative && !is_zero(&b->least);
    return m;
}

/* Those of an interval that are not negative (not zero either, when `positive`). */
static uint32_t half(struct gem_grammar *g, const struct bounds *b, bool integer, bool positive)
{
    const struct gem_decimal zero = {.whole = "0"};
    struct gem_decimal least = b->has_least && !b->least.negative ? b->least : zero, most = b->most;
    bool above = b->has_least && !b->least.negative && b->above;
    uint32_t x, y = GEM_NEVER;

    if (b->has_most && (b->most.negative || (is_zero(&b->most) && b->below))) return GEM_NEVER;
    if (positive && is_zero(&least)) above = true;
    if (!integer) {
        x = gem_expr_both(g, magnitude_from(g, &least, above),
                          with_digits(g, strlen(b->has_most ? most.whole : least.whole),
                                      strlen(most.part) > strlen(least.part) ? strlen(most.part) : strlen(least.part)));
        return b->has_most ? gem_expr_both(g, x, magnitude_up_to(g, &most, b->below)) : x;
    }
    if (least.part[0] || above) increment(least.whole);
    x = is_zero(&least) && !least.part[0] ? any_whole(g) : whole_from(g, least.whole);
    if (!b->has_most) return x;
    if (!most.part[0] && b->below) {
        if (is_zero(&most)) return GEM_NEVER;
        decrement(most.whole);
    }
    y = whole_up_to(g, most.whole);
    return gem_expr_both(g, x, y);
}

uint32_t gem_number_integer(struct gem_grammar *g, const struct gem_number_bounds *from, const char *where)
{
    const bool bounded = from->least || from->most;
    struct bounds b, m;
    uint32_t positive, negative;

    if (!read_bounds(g, from, &b, where)) return GEM_NEVER;
    m = mirrored(&b);
    positive = half(g, &b, true, false);
    negative = half(g, &m, true, bounded); /* "-0" only where there are no bounds */
    if (from->multiple > 1) {
        if (from->multiple > 10000) {
            gem_grammar_fail(g, GEM_E_UNSUPPORTED, 0, "%s: multipleOf above 10000", where);
            return GEM_NEVER;
        }
        positive = gem_expr_both(g, positive, gem_expr_multiple(g, (uint32_t)from->multiple));
        negative = gem_expr_both(g, negative, gem_expr_multiple(g, (uint32_t)from->multiple));
    }
    return gem_expr_alt2(g, positive, gem_expr_seq2(g, gem_expr_text(g, "-"), negative));
}

uint32_t gem_number_any(struct gem_grammar *g, const struct gem_number_bounds *from, const char *where)
{
    struct bounds b, m;

    if (from->multiple > 0) return gem_number_integer(g, from, where);
    if (!from->least && !from->most) {
        static const struct gem_char_range e[] = {{'E', 'E'}, {'e', 'e'}}, sign[] = {{'+', '+'}, {'-', '-'}};
        const uint32_t exponent =
            gem_expr_seq3(g, gem_expr_chars(g, e, 2, false), gem_expr_optional(g, gem_expr_chars(g, sign, 2, false)),
                          digits(g, 1, GEM_REPEAT_FOREVER));
        return gem_expr_seq2(g, gem_expr_optional(g, gem_expr_text(g, "-")),
                             gem_expr_seq3(g, any_whole(g), any_part(g), gem_expr_optional(g, exponent)));
    }
    if (!read_bounds(g, from, &b, where)) return GEM_NEVER;
    m = mirrored(&b);
    return gem_expr_alt2(g, half(g, &b, false, false),
                         gem_expr_seq2(g, gem_expr_text(g, "-"), half(g, &m, false, false)));
}
