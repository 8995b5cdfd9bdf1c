/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/simd_float.h - the float operations, written once for all vector instruction sets. A file of an
 * instruction set defines what a vector is and includes this:
 *
 *   LANES, ROWS, COLS                     lanes of a vector; register tile of products
 *   RUN, QUERIES, HEADS, VECS             register tiles of attention (simd_attention.h)
 *   vf                                    a vector of LANES float32
 *   v_set v_add v_sub v_mul v_div v_min v_max v_fma(a, b, c) = ab + c   v_fnma(a, b, c) = c - ab, fused
 *   v_round, v_scale2(x, i) = x 2^i, v_abs, v_or_sign(x, s), v_select_less(a, b, x, y) = a < b ? x : y
 *   v_load(p) v_store(p, v)               any alignment
 *   v_load_n(p, n, fill) v_store_n(p, v, n)    the first n < LANES lanes and no byte more; other lanes are `fill`
 *   v_load_f16 v_load_f16_n v_load_bf16 v_load_bf16_n v_store_bf16 v_store_bf16_n     converting; other lanes are 0
 *   v_load_pair(p, &a, &b)                LANES pairs of bfloat16: the first of each, the second of each
 *   v_transpose(x)                        x [LANES / 2]: lanes 2j, 2j + 1 of x[i] become lanes 2i, 2i + 1 of x[j]
 *   v_unpack_low(a, b) v_unpack_high(a, b)     a and b lane by lane in turn, from each quarter's lower or upper half
 *   v_swap_middle(v)                      of each four 16 bits, the second and the third change places
 *   v_reduce4(out, a, b, c, d)            out[i] = sum of the lanes of each, by the same tree for all four
 *   v_reduce_max(v)
 *   vd, vd_zero, vd_add(s, v), vd_add_square(s, v), vd_reduce(s)    sums of float lanes in double lanes
 *
 * SAME BITS. A sum over k has one vector accumulator: lane l adds k = l, l + LANES, ... in order, and v_reduce4 adds
 * the lanes. The last, partial vector is the same arithmetic with zeros. So an output depends on k alone, and a tile's
 * shape changes only who else is in registers. */
#ifndef GEM_KERNELS_SIMD_FLOAT_H
#define GEM_KERNELS_SIMD_FLOAT_H

#include "kernels/simd_math.h"

/* ---- products: y[j, i] = sum w[i, :] * x[j, :] --------------------------------------------------------------- */

/* Weights as bytes, so that one function serves all types. */
static INLINE size_t bytes_of(enum gem_type type) { return type == GEM_F32 ? 4 : 2; }

static INLINE const void *row_of(enum gem_type type, const void *w, size_t element)
{
    return (const char *)w + element * bytes_of(type);
}

/* n: lanes that exist; LANES when it is a full vector. */
static INLINE vf load_weights(enum gem_type type, const void *p, size_t n)
{
    if (type == GEM_F32) return n == LANES ? v_load(p) : v_load_n(p, n, 0.0f);
    if (type == GEM_F16) return n == LANES ? v_load_f16(p) : v_load_f16_n(p, n);
    return n == LANES ? v_load_bf16(p) : v_load_bf16_n(p, n);
}

struct product {
    enum gem_type type;
    const void *w;
    const float *x;
    float *y;
    size_t ldw, ldx, ldy, k;
};

/* The MAX_* bound arrays that live in registers once the loops are unrolled. */
enum { MAX_ROWS = 8, MAX_COLS = 4 };

static INLINE void multiply(vf acc[MAX_COLS][MAX_ROWS], const struct product *p, size_t at, size_t n, int rows,
                            int cols)
{
    vf x[MAX_COLS];

    UNROLL
    for (int c = 0; c < cols; c++) {
        const float *from = p->x + (size_t)c * p->ldx + at;
        x[c] = n == LANES ? v_load(from) : v_load_n(from, n, 0.0f);
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        const vf w = load_weights(p->type, row_of(p->type, p->w, (size_t)r * p->ldw + at), n);
        UNROLL
        for (int c = 0; c < cols; c++) acc[c][r] = v_fma(w, x[c], acc[c][r]);
    }
}

/* rows 1, 4 or 8; cols up to MAX_COLS; both known at compile time. */
static INLINE void tile(const struct product *p, int rows, int cols)
{
    const vf zero = v_set(0.0f);
    vf acc[MAX_COLS][MAX_ROWS];
    size_t i = 0;

    UNROLL
    for (int c = 0; c < cols; c++) {
        UNROLL
        for (int r = 0; r < rows; r++) acc[c][r] = zero;
    }
    for (; i + LANES <= p->k; i += LANES) multiply(acc, p, i, LANES, rows, cols);
    if (i < p->k) multiply(acc, p, i, p->k - i, rows, cols);
    UNROLL
    for (int c = 0; c < cols; c++) {
        float *y = p->y + (size_t)c * p->ldy, sums[4];

        if (rows == 1) {
            v_reduce4(sums, acc[c][0], zero, zero, zero);
            y[0] = sums[0];
        }
        UNROLL
        for (int r = 0; r + 4 <= rows; r += 4) v_reduce4(y + r, acc[c][r], acc[c][r + 1], acc[c][r + 2], acc[c][r + 3]);
    }
}

/* All m columns of `rows` rows. */
static INLINE void stripe(struct product p, int rows, size_t m)
{
    for (; m >= COLS; m -= COLS) {
        tile(&p, rows, COLS);
        p.x += COLS * p.ldx;
        p.y += COLS * p.ldy;
    }
    if (m == 1) tile(&p, rows, 1);
    if (COLS > 2 && m == 2) tile(&p, rows, 2);
    if (COLS > 3 && m == 3) tile(&p, rows, 3);
}

static INLINE void advance(struct product *p, size_t rows)
{
    p->w = row_of(p->type, p->w, rows * p->ldw);
    p->y += rows;
}

/* n rows times m columns. One column needs more rows than several do to hide the latency of multiply-add. */
static INLINE void panel(struct product p, size_t n, size_t m)
{
    if (m == 1)
        for (; n >= 8; n -= 8, advance(&p, 8)) tile(&p, 8, 1);
    for (; n >= ROWS; n -= ROWS, advance(&p, ROWS)) stripe(p, ROWS, m);
    for (; n; n--, advance(&p, 1)) stripe(p, 1, m);
}

/* Columns in blocks that stay in the second-level cache while the weights stream by. */
static INLINE void gemm(enum gem_type type, const void *w, size_t ldw, const float *x, size_t ldx, float *y, size_t ldy,
                        size_t n, size_t m, size_t k)
{
    const size_t fit = ((size_t)256 << 10) / (k * sizeof *x + 1) / COLS * COLS, block = fit < 8 * COLS ? 8 * COLS : fit;

    for (size_t j = 0; j < m; j += block) {
        const struct product p = {type, w, x + j * ldx, y + j * ldy, ldw, ldx, ldy, k};
        panel(p, n, m - j < block ? m - j : block);
    }
}

static NOINLINE void gemm_f32(const void *w, size_t ldw, const float *x, size_t ldx, float *y, size_t ldy, size_t n,
                              size_t m, size_t k)
{
    gemm(GEM_F32, w, ldw, x, ldx, y, ldy, n, m, k);
}

static NOINLINE void gemm_f16(const void *w, size_t ldw, const float *x, size_t ldx, float *y, size_t ldy, size_t n,
                              size_t m, size_t k)
{
    gemm(GEM_F16, w, ldw, x, ldx, y, ldy, n, m, k);
}

static NOINLINE void gemm_bf16(const void *w, size_t ldw, const float *x, size_t ldx, float *y, size_t ldy, size_t n,
                               size_t m, size_t k)
{
    gemm(GEM_BF16, w, ldw, x, ldx, y, ldy, n, m, k);
}

#include "kernels/simd_attention.h"

/* ---- element by element -------------------------------------------------------------------------------------- */

/* The sum is taken in double lanes: squares of float32 cannot overflow there, and its error vanishes. */
static void rms_norm(float *y, const float *x, const float *w, size_t n, float eps)
{
    vd sum = vd_zero();
    size_t i = 0;
    vf scale;

    for (; i + LANES <= n; i += LANES) sum = vd_add_square(sum, v_load(x + i));
    if (i < n) sum = vd_add_square(sum, v_load_n(x + i, n - i, 0.0f));
    scale = v_set((float)(1.0 / sqrt(vd_reduce(sum) / (double)n + (double)eps)));
    for (i = 0; i + LANES <= n; i += LANES) {
        const vf v = v_mul(v_load(x + i), scale);
        v_store(y + i, w ? v_mul(v, v_load(w + i)) : v);
    }
    if (i < n) {
        const vf v = v_mul(v_load_n(x + i, n - i, 0.0f), scale);
        v_store_n(y + i, w ? v_mul(v, v_load_n(w + i, n - i, 0.0f)) : v, n - i);
    }
}

/* x / 2 (1 + tanh(t / 2)) = x / (1 + e^-t), t = 2 sqrt(2 / pi) (x + 0.044715 x^3): no cancellation for x < 0. */
static INLINE vf gelu(vf x)
{
    const vf poly = v_fma(v_mul(x, x), v_set(-0.071354816f), v_set(-1.5957691f));

    return v_div(x, v_add(v_set(1.0f), v_exp(v_mul(x, poly))));
}

static void gelu_mul(float *gate, const float *up, size_t n)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) v_store(gate + i, v_mul(gelu(v_load(gate + i)), v_load(up + i)));
    if (i < n) {
        const vf g = gelu(v_load_n(gate + i, n - i, 0.0f));
        v_store_n(gate + i, v_mul(g, v_load_n(up + i, n - i, 0.0f)), n - i);
    }
}

static INLINE vf sigmoid_of(vf x, vf gate) { return v_div(x, v_add(v_set(1.0f), v_exp(v_sub(v_set(0.0f), gate)))); }

static void sigmoid_mul(float *x, const float *gate, size_t n)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) v_store(x + i, sigmoid_of(v_load(x + i), v_load(gate + i)));
    if (i < n) v_store_n(x + i, sigmoid_of(v_load_n(x + i, n - i, 0.0f), v_load_n(gate + i, n - i, 0.0f)), n - i);
}

static float maximum(const float *x, size_t n)
{
    vf max = v_set(-INFINITY);
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) max = v_max(v_load(x + i), max); /* the second of two: skips NaN */
    if (i < n) max = v_max(v_load_n(x + i, n - i, -INFINITY), max);
    return v_reduce_max(max);
}

/* NaN does not count for the maximum, but spoils the sum. */
static float softmax(float *x, size_t n, float *max)
{
    const float top = maximum(x, n);
    const vf shift = v_set(top == -INFINITY ? 0.0f : top);
    vd sum = vd_zero();
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        const vf e = v_exp_difference(v_load(x + i), shift);
        v_store(x + i, e);
        sum = vd_add(sum, e);
    }
    if (i < n) {
        const vf e = v_exp_difference(v_load_n(x + i, n - i, -INFINITY), shift);
        v_store_n(x + i, e, n - i);
        sum = vd_add(sum, e);
    }
    *max = top;
    return (float)vd_reduce(sum);
}

static void rope(float *x, size_t n_heads, size_t d, const float *cosine, const float *sine, size_t n_rot)
{
    for (size_t h = 0; h < n_heads; h++) {
        float *a = x + h * d, *b = a + d / 2;
        size_t i = 0;

        for (; i + LANES <= n_rot; i += LANES) {
            const vf x0 = v_load(a + i), x1 = v_load(b + i), c = v_load(cosine + i), s = v_load(sine + i);
            v_store(a + i, v_fnma(x1, s, v_mul(x0, c)));
            v_store(b + i, v_fma(x1, c, v_mul(x0, s)));
        }
        if (i < n_rot) {
            const size_t left = n_rot - i;
            const vf x0 = v_load_n(a + i, left, 0.0f), x1 = v_load_n(b + i, left, 0.0f);
            const vf c = v_load_n(cosine + i, left, 0.0f), s = v_load_n(sine + i, left, 0.0f);
            v_store_n(a + i, v_fnma(x1, s, v_mul(x0, c)), left);
            v_store_n(b + i, v_fma(x1, c, v_mul(x0, s)), left);
        }
    }
}

static void softcap(float *x, size_t n, float cap)
{
    const vf c = v_set(cap);
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) v_store(x + i, v_mul(c, v_tanh(v_div(v_load(x + i), c))));
    if (i < n) v_store_n(x + i, v_mul(c, v_tanh(v_div(v_load_n(x + i, n - i, 0.0f), c))), n - i);
}

static void add(float *y, const float *x, size_t n)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) v_store(y + i, v_add(v_load(y + i), v_load(x + i)));
    if (i < n) v_store_n(y + i, v_add(v_load_n(y + i, n - i, 0.0f), v_load_n(x + i, n - i, 0.0f)), n - i);
}

static void add_scale(float *y, const float *x, float scale, size_t n)
{
    const vf s = v_set(scale);
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) v_store(y + i, v_mul(v_add(v_load(y + i), v_load(x + i)), s));
    if (i < n) {
        const vf sum = v_add(v_load_n(y + i, n - i, 0.0f), v_load_n(x + i, n - i, 0.0f));
        v_store_n(y + i, v_mul(sum, s), n - i);
    }
}

/* The operand that may be NaN comes second: then it is what min and max give. */
static void clamp(float *y, const float *x, float low, float high, size_t n)
{
    const vf a = v_set(low), b = v_set(high);
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) v_store(y + i, v_min(b, v_max(a, v_load(x + i))));
    if (i < n) v_store_n(y + i, v_min(b, v_max(a, v_load_n(x + i, n - i, 0.0f))), n - i);
}

static void to_bf16(uint16_t *y, const float *x, size_t n)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) v_store_bf16(y + i, v_load(x + i));
    if (i < n) v_store_bf16_n(y + i, v_load_n(x + i, n - i, 0.0f), n - i);
}

static void int8_to_bf16(uint16_t *y, const int8_t *x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) v_store_upper(y + i, v_load_int8(x + i));
}

static INLINE void install(struct gem_kernels *k)
{
    k->gemm_f32 = gemm_f32;
    k->gemm_f16 = gemm_f16;
    k->gemm_bf16 = gemm_bf16;
    k->score_f32 = score_f32;
    k->score_bf16 = score_bf16;
    k->value_f32 = value_f32;
    k->value_bf16 = value_bf16;
    k->transpose_f32 = transpose_f32;
    k->transpose_bf16 = transpose_bf16;
    k->rms_norm = rms_norm;
    k->gelu_mul = gelu_mul;
    k->sigmoid_mul = sigmoid_mul;
    k->softmax = softmax;
    k->rope = rope;
    k->softcap = softcap;
    k->add = add;
    k->add_scale = add_scale;
    k->clamp = clamp;
    k->to_bf16 = to_bf16;
    k->int8_to_bf16 = int8_to_bf16;
}

#endif
