/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/float_avx512.c - the float operations with AVX-512 F, BW, VL and DQ: what simd_float.h needs to know
 * about vectors of 16. */
#include "kernels/kernels.h"
#include "kernels/simd.h"

#include <math.h>

/* 32 registers: 4 rows times 4 columns of accumulators leave room for the operands. */
enum { LANES = 16, ROWS = 4, COLS = 4, HEADS = 4, VECS = 4 };

typedef __m512 vf;

static INLINE vf v_set(float a) { return _mm512_set1_ps(a); }
static INLINE vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
static INLINE vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
static INLINE vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
static INLINE vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
static INLINE vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); }
static INLINE vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); }
static INLINE vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
static INLINE vf v_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); }
static INLINE vf v_round(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT); }
static INLINE vf v_scale2(vf x, vf i) { return _mm512_scalef_ps(x, i); }
static INLINE vf v_abs(vf a) { return _mm512_andnot_ps(v_set(-0.0f), a); }
static INLINE vf v_or_sign(vf a, vf s) { return _mm512_or_ps(a, _mm512_and_ps(v_set(-0.0f), s)); }

static INLINE vf v_select_less(vf a, vf b, vf x, vf y)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}

/* ---- memory -------------------------------------------------------------------------------------------------- */

static INLINE __mmask16 first(size_t n) { return (__mmask16)((1u << n) - 1); }

static INLINE vf v_load(const float *p) { return _mm512_loadu_ps(p); }
static INLINE void v_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
static INLINE void v_store_n(float *p, vf a, size_t n) { _mm512_mask_storeu_ps(p, first(n), a); }
static INLINE vf v_load_n(const float *p, size_t n, float fill)
{
    return _mm512_mask_loadu_ps(v_set(fill), first(n), p);
}

static INLINE __m256i load_16(const uint16_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
static INLINE __m256i load_16_n(const uint16_t *p, size_t n) { return _mm256_maskz_loadu_epi16(first(n), p); }

/* A bfloat16 is the upper half of a float32. */
static INLINE vf widen(__m256i h) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16)); }
static INLINE vf v_load_bf16(const uint16_t *p) { return widen(load_16(p)); }
static INLINE vf v_load_bf16_n(const uint16_t *p, size_t n) { return widen(load_16_n(p, n)); }
static INLINE vf v_load_f16(const uint16_t *p) { return _mm512_cvtph_ps(load_16(p)); }
static INLINE vf v_load_f16_n(const uint16_t *p, size_t n) { return _mm512_cvtph_ps(load_16_n(p, n)); }

/* As gem_f32_to_bf16: to nearest even; NaN quiet, so that rounding cannot make it infinite. AVX512-BF16's conversion
 * would take subnormals for zero. */
static INLINE __m256i narrow(vf a)
{
    const __m512i u = _mm512_castps_si512(a), top = _mm512_srli_epi32(u, 16);
    const __m512i odd = _mm512_and_si512(top, _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd);
    const __m512i quiet = _mm512_or_si512(top, _mm512_set1_epi32(0x40));
    const __mmask16 nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);

    return _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(_mm512_srli_epi32(up, 16), nan, quiet));
}

static INLINE void v_store_bf16(uint16_t *p, vf a) { _mm256_storeu_si256((__m256i *)p, narrow(a)); }
static INLINE void v_store_bf16_n(uint16_t *p, vf a, size_t n) { _mm256_mask_storeu_epi16(p, first(n), narrow(a)); }

/* ---- across lanes -------------------------------------------------------------------------------------------- */

static INLINE __m256 upper(vf a) { return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a), 1)); }

/* Within each quarter (l0 + l2) + (l1 + l3) of a, b, c and d side by side, then upper halves to lower ones. */
static INLINE void v_reduce4(float *out, vf a, vf b, vf c, vf d)
{
    const vf ab = v_add(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const vf cd = v_add(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    const vf even = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd)));
    const vf odd = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd)));
    const vf s = v_add(even, odd);
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(s), upper(s));

    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
}

static INLINE float v_reduce_max(vf a)
{
    float lanes[LANES], max = -INFINITY;

    v_store(lanes, a);
    for (int i = 0; i < LANES; i++) max = lanes[i] > max ? lanes[i] : max;
    return max;
}

typedef struct {
    __m512d lo, hi;
} vd;

static INLINE vd vd_zero(void) { return (vd){_mm512_setzero_pd(), _mm512_setzero_pd()}; }

static INLINE vd widen_f32(vf a) { return (vd){_mm512_cvtps_pd(_mm512_castps512_ps256(a)), _mm512_cvtps_pd(upper(a))}; }

static INLINE vd vd_add(vd s, vf a)
{
    const vd w = widen_f32(a);

    return (vd){_mm512_add_pd(s.lo, w.lo), _mm512_add_pd(s.hi, w.hi)};
}

static INLINE vd vd_add_square(vd s, vf a)
{
    const vd w = widen_f32(a);

    return (vd){_mm512_fmadd_pd(w.lo, w.lo, s.lo), _mm512_fmadd_pd(w.hi, w.hi, s.hi)};
}

static INLINE double vd_reduce(vd s)
{
    double lanes[8];

    _mm512_storeu_pd(lanes, _mm512_add_pd(s.lo, s.hi));
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

#include "kernels/simd_float.h"

void gem_kernels_float_avx512(struct gem_kernels *k) { install(k); }

/* ---- AVX512-BF16 ----------------------------------------------------------------------------------------------- */

#if !defined(GEM_SIMDE)
/* Only these functions are built for it. */
#define BF16 __attribute__((target("avx512bf16")))

/* 8 rows by 3 columns load less for each product than 4 by 4. CHUNK: of k, so that rows fit the first-level cache. */
enum { PAIRS = 2 * LANES, PAIR_ROWS = 8, PAIR_COLS = 3, CHUNK = 1024 };

static INLINE __m512i load_pairs(const uint16_t *p, size_t n)
{
    return n == PAIRS ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi16(((__mmask32)1 << n) - 1, p);
}

struct pairs {
    const uint16_t *w, *x;
    float *y;
    size_t ldw, ldx, ldy, k;
    bool adds; /* y += instead of y = */
};

static INLINE BF16 void multiply_pairs(vf acc[PAIR_COLS][PAIR_ROWS], const struct pairs *p, size_t at, size_t n,
                                       int rows, int cols)
{
    __m512i x[PAIR_COLS];

    UNROLL
    for (int c = 0; c < cols; c++) x[c] = load_pairs(p->x + (size_t)c * p->ldx + at, n);
    UNROLL
    for (int r = 0; r < rows; r++) {
        const __m512i w = load_pairs(p->w + (size_t)r * p->ldw + at, n);
        UNROLL
        for (int c = 0; c < cols; c++) acc[c][r] = _mm512_dpbf16_ps(acc[c][r], (__m512bh)w, (__m512bh)x[c]);
    }
}

/* As tile() of simd_float.h: lane l adds the pairs l, l + LANES, ... of a chunk in order. */
static INLINE BF16 void tile_pairs(const struct pairs *p, int rows, int cols)
{
    vf acc[PAIR_COLS][PAIR_ROWS];
    size_t i = 0;

    UNROLL
    for (int c = 0; c < cols; c++) {
        UNROLL
        for (int r = 0; r < PAIR_ROWS; r++) acc[c][r] = v_set(0.0f);
    }
    for (; i + PAIRS <= p->k; i += PAIRS) multiply_pairs(acc, p, i, PAIRS, rows, cols);
    if (i < p->k) multiply_pairs(acc, p, i, p->k - i, rows, cols);
    UNROLL
    for (int c = 0; c < cols; c++) {
        float sums[PAIR_ROWS], *y = p->y + (size_t)c * p->ldy;

        v_reduce4(sums, acc[c][0], acc[c][1], acc[c][2], acc[c][3]);
        if (rows > 4) v_reduce4(sums + 4, acc[c][4], acc[c][5], acc[c][6], acc[c][7]);
        for (int r = 0; r < rows; r++) y[r] = p->adds ? y[r] + sums[r] : sums[r];
    }
}

/* All m columns of `rows` rows. */
static INLINE BF16 void stripe_pairs(struct pairs p, int rows, size_t m)
{
    for (; m >= PAIR_COLS; m -= PAIR_COLS) {
        tile_pairs(&p, rows, PAIR_COLS);
        p.x += PAIR_COLS * p.ldx;
        p.y += PAIR_COLS * p.ldy;
    }
    for (; m; m--) {
        tile_pairs(&p, rows, 1);
        p.x += p.ldx;
        p.y += p.ldy;
    }
}

static NOINLINE BF16 void chunk_pairs(struct pairs p, size_t n, size_t m)
{
    for (; n >= PAIR_ROWS; n -= PAIR_ROWS, p.w += PAIR_ROWS * p.ldw, p.y += PAIR_ROWS) stripe_pairs(p, PAIR_ROWS, m);
    for (; n; n--, p.w += p.ldw, p.y++) stripe_pairs(p, 1, m);
}

/* A row of 4096 as a whole ran at 0.6 of the speed. */
static BF16 void gemm_bf16_bf16(const uint16_t *w, size_t ldw, const uint16_t *x, size_t ldx, float *y, size_t ldy,
                                size_t n, size_t m, size_t k)
{
    for (size_t at = 0; at < k; at += CHUNK) {
        const struct pairs p = {w + at, x + at, y, ldw, ldx, ldy, k - at < CHUNK ? k - at : CHUNK, at > 0};
        chunk_pairs(p, n, m);
    }
}

void gem_kernels_bf16_avx512(struct gem_kernels *k)
{
    k->has_bf16 = true;
    k->gemm_bf16_bf16 = gemm_bf16_bf16;
}
#endif
