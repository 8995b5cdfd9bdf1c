/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/simd_avx512.h - a vector of 16 float32 with AVX-512 F, BW, VL and DQ, as simd_float.h asks for it. */
#ifndef GEM_KERNELS_SIMD_AVX512_H
#define GEM_KERNELS_SIMD_AVX512_H

#include "kernels/kernels.h"
#include "kernels/simd.h"

#include <math.h>

enum { LANES = 16 };

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
static INLINE void v_load_pair(const uint16_t *p, vf *a, vf *b)
{
    const __m512i pair = _mm512_loadu_si512(p);

    *a = _mm512_castsi512_ps(_mm512_slli_epi32(pair, 16));
    *b = _mm512_castsi512_ps(_mm512_and_si512(pair, _mm512_set1_epi32((int)0xffff0000u)));
}
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
/* Of floats that are bfloat16 already. */
static INLINE void v_store_upper(uint16_t *p, vf a)
{
    const __m512i upper = _mm512_srli_epi32(_mm512_castps_si512(a), 16);

    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(upper));
}
static INLINE vf v_load_int8(const int8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}
static INLINE void v_store_bf16_n(uint16_t *p, vf a, size_t n) { _mm256_mask_storeu_epi16(p, first(n), narrow(a)); }

/* ---- across lanes -------------------------------------------------------------------------------------------- */

static INLINE __m256 upper(vf a) { return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a), 1)); }

static INLINE vf v_unpack_low(vf a, vf b) { return _mm512_unpacklo_ps(a, b); }
static INLINE vf v_unpack_high(vf a, vf b) { return _mm512_unpackhi_ps(a, b); }

static INLINE vf v_swap_middle(vf a)
{
    const __m128i order = _mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);

    return _mm512_castsi512_ps(_mm512_shuffle_epi8(_mm512_castps_si512(a), _mm512_broadcast_i32x4(order)));
}

static INLINE __m512i even_quarters(__m512i a, __m512i b) { return _mm512_shuffle_i32x4(a, b, 0x88); }
static INLINE __m512i odd_quarters(__m512i a, __m512i b) { return _mm512_shuffle_i32x4(a, b, 0xdd); }

/* 2 by 2 within quarters, then quarters 4 by 4. */
static INLINE void v_transpose(vf x[8])
{
    __m512i two[2][4];

    UNROLL
    for (int i = 0; i < 4; i++) {
        const __m512d a = _mm512_castps_pd(x[2 * i]), b = _mm512_castps_pd(x[2 * i + 1]);
        two[0][i] = _mm512_castpd_si512(_mm512_unpacklo_pd(a, b));
        two[1][i] = _mm512_castpd_si512(_mm512_unpackhi_pd(a, b));
    }
    UNROLL
    for (int odd = 0; odd < 2; odd++) {
        const __m512i *t = two[odd];
        const __m512i even[2] = {even_quarters(t[0], t[1]), even_quarters(t[2], t[3])};
        const __m512i others[2] = {odd_quarters(t[0], t[1]), odd_quarters(t[2], t[3])};

        x[odd] = _mm512_castsi512_ps(even_quarters(even[0], even[1]));
        x[odd + 2] = _mm512_castsi512_ps(even_quarters(others[0], others[1]));
        x[odd + 4] = _mm512_castsi512_ps(odd_quarters(even[0], even[1]));
        x[odd + 6] = _mm512_castsi512_ps(odd_quarters(others[0], others[1]));
    }
}

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

#endif
