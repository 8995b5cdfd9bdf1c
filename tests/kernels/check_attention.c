/* SPDX-License-Identifier: Apache-2.0
 * tests/kernels/check_attention.c - scores and values. Panels are read here by the letter of kernels.h, expected values
 * computed in double. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

static const size_t dims[] = {2, 4, 6, 14, 16, 18, 30, 32, 34, 64, 66, 96, 126, 128, 256, 512};
static const enum gem_type types[] = {GEM_F32, GEM_BF16};

static size_t size_of(enum gem_type type) { return type == GEM_F32 ? 4 : 2; }

/* n positions of d dimensions, and n_q rows of queries or probabilities before them. Keys fill whole panels; values may
 * lie further apart (ldv), and float32 ones be of any number. */
struct attention {
    enum gem_type type;
    size_t n_q, n, d, ldv, width; /* width: of a row of x */
    size_t ldx, ldy;
    float *x;    /* [n_q, ldx], representable in the cache's type */
    void *cache; /* keys or values */
};

static double cache_element(const struct attention *a, size_t i)
{
    if (a->type == GEM_F32) return (double)((const float *)a->cache)[i];
    return (double)gem_bf16_to_f32(((const uint16_t *)a->cache)[i]);
}

/* Where dimension i of position j lies in keys and in values. */
static size_t key_at(const struct attention *a, size_t j, size_t i)
{
    const size_t panel = j / 16 * 16 * a->d;

    return panel + (a->type == GEM_F32 ? i * 16 + j % 16 : i / 2 * 32 + j % 16 * 2 + i % 2);
}

static size_t value_at(const struct attention *a, size_t j, size_t i)
{
    return a->type == GEM_F32 ? j * a->ldv + i : j / 2 * 2 * a->ldv + 2 * i + j % 2;
}

static double key_of(const struct attention *a, size_t j, size_t i) { return cache_element(a, key_at(a, j, i)); }
static double value_of(const struct attention *a, size_t j, size_t i) { return cache_element(a, value_at(a, j, i)); }

static void fill(struct attention *a, enum check_sign sign)
{
    const size_t n = a->n * a->ldv, n_x = (a->n_q - 1) * a->ldx + a->width;

    a->cache = check_buf(n * size_of(a->type));
    if (a->type == GEM_F32)
        check_fill_f32(a->cache, n, sign);
    else
        check_fill_bf16(a->cache, n, sign);
    a->x = check_buf(n_x * sizeof *a->x);
    for (size_t i = 0; i < n_x; i++) {
        const float f = i % a->ldx < a->width ? check_rnd_f32(sign) : NAN;
        a->x[i] = a->type == GEM_F32 ? f : gem_bf16_to_f32(gem_f32_to_bf16(f));
    }
}

/* x in the form that the table wants, from element `at` on. */
static const void *operands(const struct gem_kernels *k, const struct attention *a, size_t at)
{
    const size_t n = (a->n_q - 1) * a->ldx + a->width - at;
    uint16_t *h;

    if (a->type == GEM_F32 || !k->has_bf16) return a->x + at;
    h = check_buf(n * sizeof *h);
    for (size_t i = 0; i < n; i++) h[i] = gem_f32_to_bf16(a->x[at + i]);
    return h;
}

static float *marked(size_t n)
{
    float *y = check_buf(n * sizeof *y);

    for (size_t i = 0; i < n; i++) y[i] = 12345.0f;
    return y;
}

/* ---- scores ---------------------------------------------------------------------------------------------------- */

static gem_score_fn *score_fn(const struct gem_kernels *k, enum gem_type type)
{
    return type == GEM_F32 ? k->score_f32 : k->score_bf16;
}

static void check_scores(const struct attention *a, const float *s)
{
    for (size_t h = 0; h < a->n_q; h++) {
        for (size_t j = 0; j < a->n; j++) {
            double sum = 0.0, magnitude = 0.0;
            for (size_t i = 0; i < a->d; i++) {
                const double term = (double)a->x[h * a->ldx + i] * key_of(a, j, i);
                sum += term;
                magnitude += fabs(term);
            }
            check_near(h * a->ldy + j, (double)s[h * a->ldy + j], sum,
                       (8 + (double)a->d / 8) * (double)FLT_EPSILON * magnitude);
        }
        for (size_t j = a->n; j < a->ldy && h + 1 < a->n_q; j++)
            check_true(s[h * a->ldy + j] == 12345.0f, "left alone between rows");
    }
}

/* One query against one panel, computed alone. */
static void check_score_bits(const struct gem_kernels *k, const struct attention *a, const float *s)
{
    const size_t h = check_rnd_below(a->n_q), p = check_rnd_below(a->n / 16);
    const char *panel = (const char *)a->cache + p * 16 * a->d * size_of(a->type);
    float *one = check_buf(16 * sizeof *one);

    score_fn(k, a->type)(operands(k, a, h * a->ldx), a->ldx, panel, one, 16, 1, 1, a->d);
    check_bits(one, s + h * a->ldy + p * 16, 16, sizeof *one);
}

static void check_score_case(const struct gem_kernels *k, struct attention a, enum check_sign sign)
{
    float *s = marked((a.n_q - 1) * a.ldy + a.n), *want = marked((a.n_q - 1) * a.ldy + a.n);

    check_case("n_q=%zu n=%zu d=%zu ldv=%zu sign=%d", a.n_q, a.n, a.d, a.ldv, sign);
    fill(&a, sign);
    score_fn(k, a.type)(operands(k, &a, 0), a.ldx, a.cache, s, a.ldy, a.n_q, a.n / 16, a.d);
    score_fn(check_definition(), a.type)(a.x, a.ldx, a.cache, want, a.ldy, a.n_q, a.n / 16, a.d);
    check_scores(&a, s);
    check_scores(&a, want);
    check_score_bits(k, &a, s);
    check_release();
}

/* ---- values ---------------------------------------------------------------------------------------------------- */

static gem_value_fn *value_fn(const struct gem_kernels *k, enum gem_type type)
{
    return type == GEM_F32 ? k->value_f32 : k->value_bf16;
}

static void check_values(const struct attention *a, const float *before, const float *o)
{
    for (size_t h = 0; h < a->n_q; h++) {
        for (size_t i = 0; i < a->ldy && h * a->ldy + i < (a->n_q - 1) * a->ldy + a->d; i++) {
            const size_t at = h * a->ldy + i;
            double sum = (double)before[at], magnitude = fabs(sum);
            for (size_t j = 0; i < a->d && j < a->n; j++) {
                const double term = (double)a->x[h * a->ldx + j] * value_of(a, j, i);
                sum += term;
                magnitude += fabs(term);
            }
            check_near(at, (double)o[at], sum,
                       i < a->d ? (double)(a->n + 2) * (double)(FLT_EPSILON / 2) * magnitude : 0.0);
        }
    }
}

static float *copy_of(const float *x, size_t n)
{
    float *y = check_buf(n * sizeof *y);

    memcpy(y, x, n * sizeof *y);
    return y;
}

/* One head alone, cut between positions; then with two positions more on either side that it does not look at. */
static void check_value_bits(const struct gem_kernels *k, const struct attention *a, const float *before,
                             const float *got)
{
    const size_t h = check_rnd_below(a->n_q), cut = check_rnd_below(a->n / 2 + 1) * 2, d = a->d, n = a->n;
    const size_t position = a->ldv * size_of(a->type);
    float *one = copy_of(before + h * a->ldy, d), *more = copy_of(before + h * a->ldy, d);
    struct attention wide = {a->type, 1, n + 4, d, a->ldv, n + 4, n + 4, d, NULL, NULL};

    value_fn(k, a->type)(operands(k, a, h * a->ldx), a->ldx, a->cache, a->ldv, one, d, 1, cut, d);
    if (cut < n)
        value_fn(k, a->type)(operands(k, a, h * a->ldx + cut), a->ldx, (const char *)a->cache + cut * position, a->ldv,
                             one, d, 1, n - cut, d);
    check_bits(one, got + h * a->ldy, d, sizeof *one);

    fill(&wide, CHECK_MIXED);
    memcpy((char *)wide.cache + 2 * position, a->cache, n * position);
    memset(wide.x, 0, (n + 4) * sizeof *wide.x);
    memcpy(wide.x + 2, a->x + h * a->ldx, n * sizeof *wide.x);
    value_fn(k, a->type)(operands(k, &wide, 0), n + 4, wide.cache, a->ldv, more, d, 1, n + 4, d);
    check_bits(more, got + h * a->ldy, d, sizeof *more);
}

static void check_value_case(const struct gem_kernels *k, struct attention a, enum check_sign sign)
{
    const size_t n = (a.n_q - 1) * a.ldy + a.d;
    float *before = check_buf(n * sizeof *before), *o, *want;

    check_case("n_q=%zu n=%zu d=%zu ldv=%zu sign=%d", a.n_q, a.n, a.d, a.ldv, sign);
    check_fill_f32(before, n, sign);
    o = copy_of(before, n);
    want = copy_of(before, n);
    fill(&a, sign);
    value_fn(k, a.type)(operands(k, &a, 0), a.ldx, a.cache, a.ldv, o, a.ldy, a.n_q, a.n, a.d);
    value_fn(check_definition(), a.type)(a.x, a.ldx, a.cache, a.ldv, want, a.ldy, a.n_q, a.n, a.d);
    check_values(&a, before, o);
    check_values(&a, before, want);
    check_value_bits(k, &a, before, o);
    check_release();
}

/* ---- keys of values -------------------------------------------------------------------------------------------- */

static gem_transpose_fn *transpose_fn(const struct gem_kernels *k, enum gem_type type)
{
    return type == GEM_F32 ? k->transpose_f32 : k->transpose_bf16;
}

/* n of the values' dimensions, from `first` on, become keys. */
static void check_transpose_case(const struct gem_kernels *k, enum gem_type type, size_t n, size_t first, size_t ldv)
{
    const size_t size = size_of(type), pair = type == GEM_F32 ? 1 : 2;
    struct attention values = {type, 1, 16, ldv, ldv, 16, 16, ldv, NULL, NULL};
    struct attention keys = {type, 1, 16, n, n, n, n, 16, NULL, NULL};

    check_case("n=%zu first=%zu ldv=%zu", n, first, ldv);
    values.cache = check_buf(16 * ldv * size);
    check_fill_bytes(values.cache, 16 * ldv * size); /* NaN among them: bits are what counts */
    keys.cache = check_buf(16 * n * size);
    transpose_fn(k, type)(keys.cache, (const char *)values.cache + first * pair * size, ldv, n);
    for (size_t j = 0; j < 16; j++)
        for (size_t i = 0; i < n; i++)
            check_bits((const char *)keys.cache + key_at(&keys, j, i) * size,
                       (const char *)values.cache + value_at(&values, j, first + i) * size, 1, size);
    check_release();
}

static void check_transpose(const struct gem_kernels *k, enum gem_type type)
{
    for (size_t i = 0; i < COUNT(dims); i++)
        for (size_t first = 0; first < 4; first++)
            check_transpose_case(k, type, dims[i], first, dims[i] + first + i % 3);
    for (size_t n = 1; n < 40 && type == GEM_F32; n += 2) check_transpose_case(k, type, n, 1, n + 1);
}

/* ---- all ------------------------------------------------------------------------------------------------------- */

static void check_score(const struct gem_kernels *k, enum gem_type type)
{
    for (size_t i = 0; i < COUNT(dims); i++)
        for (size_t q = 1; q <= 14; q += 1 + q / 5) {
            const size_t d = dims[i], n = 16 * (1 + q % 4);
            check_score_case(k, (struct attention){type, q, n, d, d, d, d + 2, n + 3, NULL, NULL},
                             q % 2 ? CHECK_MIXED : CHECK_ONE_SIGN);
        }
}

static void check_value(const struct gem_kernels *k, enum gem_type type)
{
    for (size_t i = 0; i < COUNT(dims); i++)
        for (size_t q = 1; q <= 14; q += 1 + q / 5) {
            const size_t d = dims[i], n = type == GEM_F32 ? 5 * q : 6 * q, ldv = d + i % 3;
            check_value_case(k, (struct attention){type, q, n, d, ldv, n, n + 2, d + 3, NULL, NULL},
                             q % 2 ? CHECK_MIXED : CHECK_ONE_SIGN);
        }
}

static void check_type(const struct gem_kernels *k, enum gem_type type)
{
    if (check_func(type == GEM_BF16 ? "score_bf16" : "score_f32", (check_fn *)score_fn(k, type))) check_score(k, type);
    if (check_func(type == GEM_BF16 ? "value_bf16" : "value_f32", (check_fn *)value_fn(k, type))) check_value(k, type);
    if (check_func(type == GEM_BF16 ? "transpose_bf16" : "transpose_f32", (check_fn *)transpose_fn(k, type)))
        check_transpose(k, type);
}

void check_attention(const struct gem_kernels *k)
{
    for (size_t t = 0; t < COUNT(types); t++) check_type(k, types[t]);
}
