/* SPDX-License-Identifier: Apache-2.0
 * tests/kernels/check_float.c - the float operations. Expected values and bounds are computed here in double from the
 * formulas of kernels.h, so that the definitions are checked by an outsider too; variants are then held against the
 * definitions. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

static const size_t sizes[] = {1,  2,  3,  4,  5,  7,  8,  9,  15, 16,  17,  23,   24,
                               31, 32, 33, 47, 48, 63, 64, 65, 96, 256, 704, 1536, 2816};
static const float specials[] = {0.0f,      -0.0f,        1.0f,      -1.0f,   INFINITY, -INFINITY, NAN,
                                 0x1p-149f, -0x1.8p-140f, 0x1p-126f, FLT_MAX, -FLT_MAX, 1e20f,     -1e20f,
                                 88.8f,     -88.8f,       -103.9f,   -150.0f, 0.625f,   -0.625f,   0x1.fffffep-2f};

static float *random_f32(size_t n, enum check_sign sign)
{
    float *x = check_buf(n * sizeof *x);

    check_fill_f32(x, n, sign);
    return x;
}

static float *copy_f32(const float *x, size_t n)
{
    float *y = check_buf(n * sizeof *y);

    memcpy(y, x, n * sizeof *y);
    return y;
}

static double larger(double a, double b) { return a > b ? a : b; }

/* ---- arrays of any type ------------------------------------------------------------------------------------ */

static size_t size_of(enum gem_type type) { return type == GEM_F32 ? 4 : 2; }
static const char *type_name(enum gem_type type) { return type == GEM_F32 ? "f32" : type == GEM_F16 ? "f16" : "bf16"; }

/* Element i by the letter of IEEE 754. */
static double element(enum gem_type type, const void *p, size_t i)
{
    uint16_t h;
    float f;

    if (type == GEM_F32) {
        memcpy(&f, (const char *)p + 4 * i, sizeof f);
        return (double)f;
    }
    memcpy(&h, (const char *)p + 2 * i, sizeof h);
    const int bits = type == GEM_F16 ? 10 : 7, bias = type == GEM_F16 ? 15 : 127, mask = type == GEM_F16 ? 31 : 255;
    const int exponent = h >> bits & mask, fraction = h & ((1 << bits) - 1);
    const double sign = h & 0x8000 ? -1.0 : 1.0;

    if (exponent == mask) return fraction ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0) return sign * ldexp(fraction, 1 - bias - bits);
    return sign * ldexp(fraction + (1 << bits), exponent - bias - bits);
}

/* n rows of k elements, `stride` elements apart. What lies between rows is NaN: reading it shows. */
static char *random_rows(enum gem_type type, size_t n, size_t stride, size_t k, enum check_sign sign)
{
    const size_t size = size_of(type), n_bytes = ((n - 1) * stride + k) * size;
    char *rows = check_buf(n_bytes);

    memset(rows, 0xff, n_bytes);
    for (size_t i = 0; i < n; i++) {
        char *row = rows + i * stride * size;
        if (type == GEM_F32) check_fill_f32((float *)(void *)row, k, sign);
        if (type == GEM_F16) check_fill_f16((uint16_t *)(void *)row, k, sign);
        if (type == GEM_BF16) check_fill_bf16((uint16_t *)(void *)row, k, sign);
    }
    if (type != GEM_F32 && k > 4) memset(rows + 2, 0x01, 2); /* a subnormal */
    return rows;
}

/* ---- products ---------------------------------------------------------------------------------------------- */

struct product {
    enum gem_type type;
    size_t n, m, k, ldw, ldx, ldy;
    const char *w;
    float *x;
};

static gem_gemm_fn *gemm_of(const struct gem_kernels *k, enum gem_type type)
{
    return type == GEM_F32 ? k->gemm_f32 : type == GEM_F16 ? k->gemm_f16 : k->gemm_bf16;
}

/* y [m, n] at a stride, between guards: what lies between rows must stay. */
static float *product_of(gem_gemm_fn *f, const struct product *p)
{
    const size_t n = (p->m - 1) * p->ldy + p->n;
    float *y = check_buf(n * sizeof *y);

    for (size_t i = 0; i < n; i++) y[i] = 12345.0f;
    f(p->w, p->ldw, p->x, p->ldx, y, p->ldy, p->n, p->m, p->k);
    for (size_t i = 0; i < n; i++)
        if (i % p->ldy >= p->n && y[i] != 12345.0f) check_true(false, "left alone between rows of y");
    return y;
}

static void check_product_values(const struct product *p, const float *got, const float *want)
{
    for (size_t j = 0; j < p->m; j++) {
        for (size_t i = 0; i < p->n; i++) {
            double sum = 0.0, magnitude = 0.0;
            for (size_t k = 0; k < p->k; k++) {
                const double term = element(p->type, p->w, i * p->ldw + k) * (double)p->x[j * p->ldx + k];
                sum += term;
                magnitude += fabs(term);
            }
            const double bound = (8 + (double)p->k / 8) * (double)FLT_EPSILON * magnitude;
            check_near(j * p->ldy + i, (double)want[j * p->ldy + i], sum, (double)FLT_EPSILON * fabs(sum));
            check_near(j * p->ldy + i, (double)got[j * p->ldy + i], (double)want[j * p->ldy + i], bound);
        }
    }
}

/* Any part of the result, computed alone from rows at another alignment. */
static void check_product_bits(gem_gemm_fn *f, const struct product *p, const float *y, size_t i, size_t n, size_t j,
                               size_t m)
{
    const size_t size = size_of(p->type), w_bytes = ((n - 1) * p->ldw + p->k) * size, n_x = (m - 1) * p->ldx + p->k;
    char *w = check_buf_aligned(w_bytes, 64);
    float *x = check_buf_aligned(n_x * sizeof *x, 64), *part = check_buf(m * n * sizeof *part);

    memcpy(w, p->w + i * p->ldw * size, w_bytes);
    memcpy(x, p->x + j * p->ldx, n_x * sizeof *x);
    f(w, p->ldw, x, p->ldx, part, n, n, m, p->k);
    for (size_t c = 0; c < m; c++) check_bits(part + c * n, y + (j + c) * p->ldy + i, n, sizeof *part);
}

static void check_product(gem_gemm_fn *f, gem_gemm_fn *definition, struct product p, enum check_sign sign)
{
    const size_t i = check_rnd_below(p.n), j = check_rnd_below(p.m);

    check_case("n=%zu m=%zu k=%zu ldw=%zu ldx=%zu ldy=%zu sign=%d", p.n, p.m, p.k, p.ldw, p.ldx, p.ldy, sign);
    p.w = random_rows(p.type, p.n, p.ldw, p.k, sign);
    p.x = (float *)(void *)random_rows(GEM_F32, p.m, p.ldx, p.k, sign);
    if (p.m > 2) p.x[(p.m - 2) * p.ldx + p.k / 2] = sign ? INFINITY : NAN; /* must not leak to other columns */

    const float *y = product_of(f, &p);
    check_product_values(&p, y, product_of(definition, &p));
    check_product_bits(f, &p, y, 0, 1, 0, p.m);
    check_product_bits(f, &p, y, 0, p.n, p.m - 1, 1);
    check_product_bits(f, &p, y, i, 1, j, 1);
    check_product_bits(f, &p, y, i, p.n - i, j, p.m - j);
    check_release();
}

/* All sizes of k with a few shapes each, then shapes around the tiles, then one with more columns than a block. */
static void check_products(gem_gemm_fn *f, gem_gemm_fn *definition, enum gem_type type)
{
    for (size_t s = 0; s < COUNT(sizes); s++) {
        const size_t k = sizes[s];
        check_product(f, definition, (struct product){type, 9, 5, k, k, k, 9, NULL, NULL}, CHECK_MIXED);
        check_product(f, definition, (struct product){type, 13, 1, k, k + 3, k, 13, NULL, NULL}, CHECK_ONE_SIGN);
        check_product(f, definition, (struct product){type, 3, 8, k, k + 1, k + 5, 4, NULL, NULL}, CHECK_ONE_SIGN);
    }
    for (size_t n = 1; n <= 18; n++)
        for (size_t m = 1; m <= 9; m++)
            check_product(f, definition, (struct product){type, n, m, 37, 40, 37, n + 1, NULL, NULL}, CHECK_MIXED);
    check_product(f, definition, (struct product){type, 5, 71, 2816, 2816, 2816, 5, NULL, NULL}, CHECK_MIXED);
}

static void check_gemm(const struct gem_kernels *k)
{
    static const enum gem_type types[] = {GEM_F32, GEM_F16, GEM_BF16};
    char name[32];

    for (size_t t = 0; t < COUNT(types); t++) {
        snprintf(name, sizeof name, "gemm_%s", type_name(types[t]));
        if (check_func(name, (check_fn *)gemm_of(k, types[t])))
            check_products(gemm_of(k, types[t]), gemm_of(check_definition(), types[t]), types[t]);
    }
}

/* ---- products of bfloat16 with bfloat16 ---------------------------------------------------------------------- */

struct bf16_product {
    size_t n, m, k, ldw, ldx, ldy;
};

static void check_bf16_product(const struct gem_kernels *k, const struct bf16_product *p, enum check_sign sign)
{
    const uint16_t *w = (const uint16_t *)(const void *)random_rows(GEM_BF16, p->n, p->ldw, p->k, sign);
    const uint16_t *x = (const uint16_t *)(const void *)random_rows(GEM_BF16, p->m, p->ldx, p->k, sign);
    const size_t n_y = (p->m - 1) * p->ldy + p->n, i = check_rnd_below(p->n), j = check_rnd_below(p->m);
    float *y = check_buf(n_y * sizeof *y), *part = check_buf((p->m - j) * (p->n - i) * sizeof *part);

    check_case("n=%zu m=%zu k=%zu ldw=%zu ldx=%zu ldy=%zu sign=%d", p->n, p->m, p->k, p->ldw, p->ldx, p->ldy, sign);
    for (size_t at = 0; at < n_y; at++) y[at] = 12345.0f;
    k->gemm_bf16_bf16(w, p->ldw, x, p->ldx, y, p->ldy, p->n, p->m, p->k);
    for (size_t at = 0; at < n_y; at++) {
        const size_t row = at % p->ldy, column = at / p->ldy;
        double sum = 0.0, magnitude = 0.0;

        for (size_t l = 0; row < p->n && l < p->k; l++) {
            const double term = element(GEM_BF16, w, row * p->ldw + l) * element(GEM_BF16, x, column * p->ldx + l);
            sum += term;
            magnitude += fabs(term);
        }
        if (row < p->n)
            check_near(at, (double)y[at], sum, (8 + (double)p->k / 8) * (double)FLT_EPSILON * magnitude + 1e-36);
        else
            check_true(y[at] == 12345.0f, "left alone between rows of y");
    }
    k->gemm_bf16_bf16(w + i * p->ldw, p->ldw, x + j * p->ldx, p->ldx, part, p->n - i, p->n - i, p->m - j, p->k);
    for (size_t c = 0; c < p->m - j; c++)
        check_bits(part + c * (p->n - i), y + (j + c) * p->ldy + i, p->n - i, sizeof *part);
    check_release();
}

static void check_gemm_bf16_bf16(const struct gem_kernels *k)
{
    if (!check_func("gemm_bf16_bf16", (check_fn *)k->gemm_bf16_bf16)) return;
    for (size_t s = 0; s < COUNT(sizes); s++) {
        check_bf16_product(k, &(struct bf16_product){9, 5, sizes[s], sizes[s], sizes[s], 9}, CHECK_MIXED);
        check_bf16_product(k, &(struct bf16_product){3, 8, sizes[s], sizes[s] + 1, sizes[s] + 5, 4}, CHECK_ONE_SIGN);
    }
    for (size_t n = 1; n <= 9; n++)
        for (size_t m = 1; m <= 9; m++)
            check_bf16_product(k, &(struct bf16_product){n, m, 75, 80, 75, n + 1}, CHECK_MIXED);
}

/* ---- norm -------------------------------------------------------------------------------------------------- */

/* scale: of x, to see that squares do not overflow and that eps counts. */
static void check_rms_norm_case(const struct gem_kernels *k, size_t n, float scale, bool weighted, enum check_sign sign)
{
    const float eps = 1e-6f;
    float *x = random_f32(n, sign), *y = check_buf(n * sizeof *y), *want = check_buf(n * sizeof *want);
    const float *w = weighted ? random_f32(n, CHECK_MIXED) : NULL;
    double sum = 0.0;

    check_case("n=%zu scale=%g weighted=%d sign=%d", n, (double)scale, weighted, sign);
    for (size_t i = 0; i < n; i++) x[i] *= scale;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    k->rms_norm(y, x, w, n, eps);
    check_definition()->rms_norm(want, x, w, n, eps);
    for (size_t i = 0; i < n; i++) {
        const double formula = (double)x[i] / sqrt(sum / (double)n + (double)eps) * (w ? (double)w[i] : 1.0);
        check_near(i, (double)want[i], formula, (double)FLT_EPSILON * fabs(formula) + 0x1p-149);
        check_near(i, (double)y[i], (double)want[i], 16 * (double)FLT_EPSILON * fabs(formula) + 0x1p-149);
    }
    float *in_place = check_buf_aligned(n * sizeof *in_place, 64);
    memcpy(in_place, x, n * sizeof *in_place);
    k->rms_norm(in_place, in_place, w, n, eps);
    check_bits(in_place, y, n, sizeof *y);
    check_release();
}

static void check_rms_norm(const struct gem_kernels *k)
{
    static const float scales[] = {1.0f, 1e-3f, 0.0f, 1e30f, 1e-30f};

    if (!check_func("rms_norm", (check_fn *)k->rms_norm)) return;
    for (size_t s = 0; s < COUNT(sizes); s++)
        for (size_t c = 0; c < 4 * COUNT(scales); c++)
            check_rms_norm_case(k, sizes[s], scales[c / 4], c & 1, c & 2 ? CHECK_ONE_SIGN : CHECK_MIXED);
}

/* ---- functions of each element ----------------------------------------------------------------------------- */

enum { SWEEP = 4096 };

/* Calls fn with blocks of floats that go through all exponents and both signs, NaN and infinity among them, and then
 * with the special values. */
static void sweep(const struct gem_kernels *k, void (*fn)(const struct gem_kernels *k, float *x, size_t n))
{
    uint64_t bits = check_rnd_below(4000);

    while (bits <= UINT32_MAX) {
        float *x = check_buf(SWEEP * sizeof *x);
        size_t n = 0;
        for (; n < SWEEP && bits <= UINT32_MAX; n++, bits += 9973) {
            const uint32_t u = (uint32_t)bits;
            memcpy(x + n, &u, sizeof u);
        }
        check_case("sweep from %a", (double)x[0]);
        fn(k, x, n);
        check_release();
    }
    check_case("special values");
    fn(k, copy_f32(specials, COUNT(specials)), COUNT(specials));
    check_release();
}

/* The same elements, in runs of other lengths and at other places of a vector. */
static size_t random_run(size_t left)
{
    const size_t n = 1 + check_rnd_below(70);

    return n < left ? n : left;
}

static double gelu(double x)
{
    return x / 2 * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
}

static void check_gelu_block(const struct gem_kernels *k, float *x, size_t n)
{
    const float *up = random_f32(n, CHECK_MIXED);
    float *y = copy_f32(x, n), *want = copy_f32(x, n), *cut = check_buf_aligned(n * sizeof *cut, 64);

    k->gelu_mul(y, up, n);
    check_definition()->gelu_mul(want, up, n);
    for (size_t i = 0; i < n; i++) {
        const double bound = 4e-7 * larger(1, fabs((double)x[i])) * fabs((double)up[i]);
        const double formula = gelu((double)x[i]) * (double)up[i];
        if (isfinite(x[i]) && fabs(formula) < 3e38) /* beyond, the product may round to infinity or not */
            check_near(i, (double)want[i], formula, bound / 4);
        if (isnan(want[i]) || isinf(x[i]) || fabs(formula) < 3e38) check_near(i, (double)y[i], (double)want[i], bound);
    }
    memcpy(cut, x, n * sizeof *cut);
    for (size_t i = 0, run; i < n; i += run) k->gelu_mul(cut + i, up + i, run = random_run(n - i));
    check_bits(cut, y, n, sizeof *y);
}

/* Gates sweep over everything; then x is its own gate. */
static void check_sigmoid_block(const struct gem_kernels *k, float *gate, size_t n)
{
    for (int self = 0; self < 2; self++) {
        const float *from = self ? gate : random_f32(n, CHECK_MIXED);
        float *y = copy_f32(from, n), *want = copy_f32(from, n), *cut = copy_f32(from, n);

        k->sigmoid_mul(y, self ? y : gate, n);
        check_definition()->sigmoid_mul(want, self ? want : gate, n);
        for (size_t i = 0; i < n; i++) {
            const double x = (double)from[i], formula = x / (1 + exp(-(double)gate[i]));
            const double least = 0x1p-149 + (isfinite(x) ? fabs(x) * 0x1p-127 : 0);
            check_near(i, (double)want[i], formula, 1e-7 * fabs(formula) + 0x1p-149);
            check_near(i, (double)y[i], (double)want[i], 1e-6 * fabs(formula) + least);
        }
        for (size_t i = 0, run; i < n; i += run)
            k->sigmoid_mul(cut + i, self ? cut + i : gate + i, run = random_run(n - i));
        check_bits(cut, y, n, sizeof *y);
    }
}

/* In a block whose cap is `cap`. */
static void check_softcap_of(const struct gem_kernels *k, const float *x, size_t n, float cap)
{
    float *y = copy_f32(x, n), *want = copy_f32(x, n), *cut = check_buf_aligned(n * sizeof *cut, 64);

    k->softcap(y, n, cap);
    check_definition()->softcap(want, n, cap);
    for (size_t i = 0; i < n; i++) {
        const double formula = (double)cap * tanh((double)x[i] / (double)cap);
        check_near(i, (double)want[i], formula, 1e-7 * (double)cap);
        check_near(i, (double)y[i], (double)want[i], 4e-7 * (double)cap);
    }
    for (size_t i = 0; i < n; i++) cut[i] = -x[i];
    for (size_t i = 0, run; i < n; i += run) k->softcap(cut + i, run = random_run(n - i), cap);
    for (size_t i = 0; i < n; i++) cut[i] = isnan(x[i]) ? y[i] : -cut[i]; /* odd, to the bit */
    check_bits(cut, y, n, sizeof *y);
}

static void check_softcap_block(const struct gem_kernels *k, float *x, size_t n)
{
    check_softcap_of(k, x, n, 30.0f);
    check_softcap_of(k, x, n, 1.0f);
}

static void check_to_bf16_block(const struct gem_kernels *k, float *x, size_t n)
{
    uint16_t *y = check_buf(n * sizeof *y), *want = check_buf(n * sizeof *want), *cut = check_buf(n * sizeof *cut);

    for (size_t i = 0; i < n; i += 5) { /* ties */
        uint32_t u;
        memcpy(&u, x + i, sizeof u);
        u = (u & 0xffff0000) | 0x8000;
        memcpy(x + i, &u, sizeof u);
    }
    k->to_bf16(y, x, n);
    check_definition()->to_bf16(want, x, n);
    check_bits(y, want, n, sizeof *y);
    for (size_t i = 0; i < n; i++) { /* half a unit in the last place of 8 bits; near infinity anything goes */
        const double v = element(GEM_BF16, y, i), f = (double)x[i];
        if (!(fabs(f) > 0x1.fep127)) check_near(i, v, f, larger(fabs(f) * 0x1p-8, 0x1p-134));
    }
    for (size_t i = 0, run; i < n; i += run) k->to_bf16(cut + i, x + i, run = random_run(n - i));
    check_bits(cut, y, n, sizeof *y);
}

static void check_int8_to_bf16_block(const struct gem_kernels *k, float *x, size_t n)
{
    const size_t whole = n / 16 * 16;
    int8_t *q = check_buf(whole);
    uint16_t *y = check_buf(whole * sizeof *y);

    for (size_t i = 0; i < whole; i++) q[i] = (int8_t)(isfinite(x[i]) ? (int)fmod((double)x[i] * 1000, 128.0) : -128);
    k->int8_to_bf16(y, q, whole);
    for (size_t i = 0; i < whole; i++) {
        const float want = q[i], got = gem_bf16_to_f32(y[i]);
        check_bits(&got, &want, 1, sizeof got);
    }
}

/* Rounded as C rounds, so all tiers agree to the bit; NaN apart, whose payload depends on the order of operands. */
static void check_same(const float *got, const float *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(isnan(got[i]) && isnan(want[i]))) check_bits(got + i, want + i, 1, sizeof *got);
}

static void check_add_block(const struct gem_kernels *k, float *x, size_t n)
{
    float *y = random_f32(n, CHECK_MIXED), *want = copy_f32(y, n), *cut = copy_f32(y, n);

    for (size_t i = 0; i < n; i++) want[i] = y[i] + x[i];
    k->add(y, x, n);
    check_same(y, want, n);
    for (size_t i = 0, run; i < n; i += run) k->add(cut + i, x + i, run = random_run(n - i));
    check_same(cut, want, n);
}

static void check_add_scale_block(const struct gem_kernels *k, float *x, size_t n)
{
    float *y = random_f32(n, CHECK_MIXED), *want = copy_f32(y, n), *cut = copy_f32(y, n);

    for (size_t i = 0; i < n; i++) {
        volatile float sum = y[i] + x[i]; /* no contraction, whatever the compiler */
        want[i] = sum * 0.7071f;
    }
    k->add_scale(y, x, 0.7071f, n);
    check_same(y, want, n);
    for (size_t i = 0, run; i < n; i += run) k->add_scale(cut + i, x + i, 0.7071f, run = random_run(n - i));
    check_same(cut, want, n);
}

static void check_clamp_block(const struct gem_kernels *k, float *x, size_t n)
{
    float *y = check_buf(n * sizeof *y), *want = check_buf(n * sizeof *want), *cut = copy_f32(x, n);

    for (size_t i = 0; i < n; i++) want[i] = x[i] < -0.75f ? -0.75f : x[i] > 1.25f ? 1.25f : x[i];
    k->clamp(y, x, -0.75f, 1.25f, n);
    check_same(y, want, n);
    for (size_t i = 0, run; i < n; i += run) k->clamp(cut + i, cut + i, -0.75f, 1.25f, run = random_run(n - i));
    check_same(cut, want, n);
}

static void check_elements(const struct gem_kernels *k)
{
    const struct {
        const char *name;
        check_fn *fn;
        void (*block)(const struct gem_kernels *k, float *x, size_t n);
    } all[] = {
        {"gelu_mul", (check_fn *)k->gelu_mul, check_gelu_block},
        {"sigmoid_mul", (check_fn *)k->sigmoid_mul, check_sigmoid_block},
        {"softcap", (check_fn *)k->softcap, check_softcap_block},
        {"to_bf16", (check_fn *)k->to_bf16, check_to_bf16_block},
        {"int8_to_bf16", (check_fn *)k->int8_to_bf16, check_int8_to_bf16_block},
        {"add", (check_fn *)k->add, check_add_block},
        {"add_scale", (check_fn *)k->add_scale, check_add_scale_block},
        {"clamp", (check_fn *)k->clamp, check_clamp_block},
    };

    for (size_t f = 0; f < COUNT(all); f++) {
        if (!check_func(all[f].name, all[f].fn)) continue;
        sweep(k, all[f].block);
        for (size_t s = 0; s < COUNT(sizes); s++) {
            check_case("n=%zu", sizes[s]);
            all[f].block(k, random_f32(sizes[s], s % 2 ? CHECK_MIXED : CHECK_ONE_SIGN), sizes[s]);
            check_release();
        }
    }
}

/* ---- softmax ----------------------------------------------------------------------------------------------- */

/* x ends at a guard page and is changed. */
static void check_softmax_of(const struct gem_kernels *k, const float *x, size_t n)
{
    float *y = copy_f32(x, n), *want = copy_f32(x, n), *moved = check_buf_aligned(n * sizeof *moved, 64);
    float max = 0.0f, want_max = 0.0f, moved_max = 0.0f;
    const float sum = k->softmax(y, n, &max), want_sum = check_definition()->softmax(want, n, &want_max);
    double formula_sum = 0.0;

    check_near(n, (double)max, (double)want_max, 0.0);
    for (size_t i = 0; i < n; i++) {
        const double formula = x[i] == -INFINITY ? 0.0 : exp((double)x[i] - (double)max);
        formula_sum += formula;
        check_near(i, (double)want[i], formula, (double)FLT_EPSILON * formula + 0x1p-149);
        check_near(i, (double)y[i], (double)want[i], 4e-7 * formula + 0x1p-149);
    }
    check_near(n, (double)want_sum, formula_sum, (double)FLT_EPSILON * formula_sum);
    check_near(n, (double)sum, (double)want_sum, 4e-7 * formula_sum);
    memcpy(moved, x, n * sizeof *moved);
    const float moved_sum = k->softmax(moved, n, &moved_max);
    check_bits(moved, y, n, sizeof *y);
    check_bits(&moved_sum, &sum, 1, sizeof sum);
    check_bits(&moved_max, &max, 1, sizeof max);
}

/* spread: of the logits; every third entry masked when asked for. */
static void check_softmax_case(const struct gem_kernels *k, size_t n, float spread, bool masked, enum check_sign sign)
{
    float *x = random_f32(n, sign);

    check_case("n=%zu spread=%g masked=%d sign=%d", n, (double)spread, masked, sign);
    for (size_t i = 0; i < n; i++) x[i] = masked && i % 3 != 1 ? -INFINITY : x[i] * spread;
    check_softmax_of(k, x, n);
    check_release();
}

static void check_softmax_block(const struct gem_kernels *k, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = -fabsf(x[i]); /* NaN: one spoils the sum; both must say so */
    check_softmax_of(k, x, n);
}

static void check_softmax(const struct gem_kernels *k)
{
    if (!check_func("softmax", (check_fn *)k->softmax)) return;
    for (size_t s = 0; s < COUNT(sizes); s++)
        for (int c = 0; c < 8; c++)
            check_softmax_case(k, sizes[s], c & 4 ? 30.0f : 1.0f, c & 1, c & 2 ? CHECK_ONE_SIGN : CHECK_MIXED);
    check_softmax_case(k, 40000, 1.0f, false, CHECK_ONE_SIGN); /* where a float32 sum would have drifted */
    sweep(k, check_softmax_block);
    check_case("a NaN after the maximum");
    check_softmax_of(k, copy_f32((const float[]){1, 2, 90, 3, 4, NAN, 5, 6, 7, 8, -9, 10, 11, 80, 0, 1, NAN, 3}, 18),
                     18);
    check_release();
}

/* ---- rope -------------------------------------------------------------------------------------------------- */

static void check_rope_case(const struct gem_kernels *k, size_t n_heads, size_t d, size_t n_rot)
{
    const size_t n = n_heads * d;
    float *x = random_f32(n, CHECK_MIXED), *y = copy_f32(x, n), *want = copy_f32(x, n);
    float *c = check_buf(n_rot * sizeof *c), *s = check_buf(n_rot * sizeof *s);

    check_case("n_heads=%zu d=%zu n_rot=%zu", n_heads, d, n_rot);
    for (size_t i = 0; i < n_rot; i++) {
        const double angle = (double)check_rnd_f32(CHECK_MIXED);
        c[i] = (float)cos(angle);
        s[i] = (float)sin(angle);
    }
    k->rope(y, n_heads, d, c, s, n_rot);
    check_definition()->rope(want, n_heads, d, c, s, n_rot);
    for (size_t at = 0; at < n; at++) {
        const size_t i = at % d % (d / 2), first = at - at % d + i;
        double formula = (double)x[at], bound = 0.0; /* elements that are not rotated stay */
        if (i < n_rot && at % d < d / 2 * 2) {
            const double a = (double)x[first], b = (double)x[first + d / 2];
            const double co = (double)c[i], si = (double)s[i];
            formula = at == first ? a * co - b * si : b * co + a * si;
            bound = (double)FLT_EPSILON * (fabs(a) + fabs(b)); /* three roundings of half an epsilon, |c|, |s| <= 1 */
        }
        check_near(at, (double)want[at], formula, bound);
        check_near(at, (double)y[at], formula, bound);
    }
    /* one head alone, fewer rotations: what is rotated gets the same bits */
    float *head = copy_f32(x + (n_heads - 1) * d, d);
    k->rope(head, 1, d, c, s, n_rot / 2);
    check_bits(head, y + (n_heads - 1) * d, n_rot / 2, sizeof *y);
    check_bits(head + d / 2, y + (n_heads - 1) * d + d / 2, n_rot / 2, sizeof *y);
    check_release();
}

static void check_rope(const struct gem_kernels *k)
{
    if (!check_func("rope", (check_fn *)k->rope)) return;
    for (size_t s = 0; s < COUNT(sizes); s++) {
        check_rope_case(k, 3, 2 * sizes[s], sizes[s]);
        check_rope_case(k, 2, 2 * sizes[s] + 2, sizes[s]);
        check_rope_case(k, 1, 8 * sizes[s], sizes[s]);
    }
}

void check_float(const struct gem_kernels *k)
{
    check_gemm(k);
    check_gemm_bf16_bf16(k);
    check_rms_norm(k);
    check_elements(k);
    check_softmax(k);
    check_rope(k);
}
