/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/float_avx2.c - the float operations with AVX2, FMA and F16C: what simd_float.h needs to know about
 * vectors of 8. */
#include "kernels/kernels.h"
#include "kernels/simd.h"

#include <math.h>

/* 16 registers: 4 rows times 3 columns of accumulators, 3 columns, 1 row. */
enum { LANES = 8, ROWS = 4, COLS = 3, RUN = 2, QUERIES = 4, HEADS = 4, VECS = 2 };

typedef __m256 vf;

static INLINE vf v_set(float a) { return _mm256_set1_ps(a); }
static INLINE vf v_add(vf a, vf b) { return _mm256_add_ps(a, b); }
static INLINE vf v_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
static INLINE vf v_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
static INLINE vf v_div(vf a, vf b) { return _mm256_div_ps(a, b); }
static INLINE vf v_min(vf a, vf b) { return _mm256_min_ps(a, b); }
static INLINE vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); }
static INLINE vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
static INLINE vf v_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
static INLINE vf v_round(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT); }
static INLINE vf v_abs(vf a) { return _mm256_andnot_ps(v_set(-0.0f), a); }
static INLINE vf v_or_sign(vf a, vf s) { return _mm256_or_ps(a, _mm256_and_ps(v_set(-0.0f), s)); }

static INLINE vf v_select_less(vf a, vf b, vf x, vf y)
{
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}

/* 2^i for i in [-126, 127]. */
static INLINE vf power_of_2(__m256i i)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(i, _mm256_set1_epi32(127)), 23));
}

/* |i| <= 252. In two steps: the first is exact, so that subnormal results round once. */
static INLINE vf v_scale2(vf x, vf i)
{
    const __m256i whole = _mm256_cvtps_epi32(i), half = _mm256_srai_epi32(whole, 1);

    return v_mul(v_mul(x, power_of_2(half)), power_of_2(_mm256_sub_epi32(whole, half)));
}

/* ---- memory -------------------------------------------------------------------------------------------------- */

/* All bits of the first n lanes. */
static INLINE __m256i first(size_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static INLINE vf v_load(const float *p) { return _mm256_loadu_ps(p); }
static INLINE void v_store(float *p, vf a) { _mm256_storeu_ps(p, a); }
static INLINE void v_store_n(float *p, vf a, size_t n) { _mm256_maskstore_ps(p, first(n), a); }

static INLINE vf v_load_n(const float *p, size_t n, float fill)
{
    const __m256i mask = first(n);

    return _mm256_blendv_ps(v_set(fill), _mm256_maskload_ps(p, mask), _mm256_castsi256_ps(mask));
}

static INLINE __m128i load_16(const uint16_t *p) { return _mm_loadu_si128((const __m128i *)p); }

/* There is no masked load of 16-bit lanes. */
static INLINE __m128i load_16_n(const uint16_t *p, size_t n)
{
    uint16_t a[LANES] = {0};

    memcpy(a, p, n * sizeof *p);
    return load_16(a);
}

/* A bfloat16 is the upper half of a float32. */
static INLINE vf widen(__m128i h) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16)); }
static INLINE vf v_load_bf16(const uint16_t *p) { return widen(load_16(p)); }
static INLINE vf v_load_bf16_n(const uint16_t *p, size_t n) { return widen(load_16_n(p, n)); }
static INLINE void v_load_pair(const uint16_t *p, vf *a, vf *b)
{
    const __m256i pair = _mm256_loadu_si256((const __m256i *)(const void *)p);

    *a = _mm256_castsi256_ps(_mm256_slli_epi32(pair, 16));
    *b = _mm256_castsi256_ps(_mm256_and_si256(pair, _mm256_set1_epi32((int)0xffff0000u)));
}
static INLINE vf v_load_f16(const uint16_t *p) { return _mm256_cvtph_ps(load_16(p)); }
static INLINE vf v_load_f16_n(const uint16_t *p, size_t n) { return _mm256_cvtph_ps(load_16_n(p, n)); }

/* As gem_f32_to_bf16: to nearest even; NaN quiet, so that rounding cannot make it infinite. */
static INLINE __m128i narrow(vf a)
{
    const __m256i u = _mm256_castps_si256(a), top = _mm256_srli_epi32(u, 16);
    const __m256i odd = _mm256_and_si256(top, _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i quiet = _mm256_or_si256(top, _mm256_set1_epi32(0x40));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
    const __m256i r = _mm256_blendv_epi8(_mm256_srli_epi32(up, 16), quiet, nan);

    return _mm_packus_epi32(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1));
}

static INLINE void v_store_bf16(uint16_t *p, vf a) { _mm_storeu_si128((__m128i *)p, narrow(a)); }

/* Of floats that are bfloat16 already. */
static INLINE void v_store_upper(uint16_t *p, vf a)
{
    const __m256i upper = _mm256_srli_epi32(_mm256_castps_si256(a), 16);

    _mm_storeu_si128((__m128i *)p, _mm_packus_epi32(_mm256_castsi256_si128(upper), _mm256_extracti128_si256(upper, 1)));
}

static INLINE vf v_load_int8(const int8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}

static INLINE void v_store_bf16_n(uint16_t *p, vf a, size_t n)
{
    uint16_t h[LANES];

    v_store_bf16(h, a);
    memcpy(p, h, n * sizeof *p);
}

/* ---- across lanes -------------------------------------------------------------------------------------------- */

static INLINE vf v_unpack_low(vf a, vf b) { return _mm256_unpacklo_ps(a, b); }
static INLINE vf v_unpack_high(vf a, vf b) { return _mm256_unpackhi_ps(a, b); }

static INLINE vf v_swap_middle(vf a)
{
    const __m128i order = _mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);

    return _mm256_castsi256_ps(_mm256_shuffle_epi8(_mm256_castps_si256(a), _mm256_broadcastsi128_si256(order)));
}

/* 2 by 2 within halves, then halves 2 by 2. */
static INLINE void v_transpose(vf x[4])
{
    const __m256d a = _mm256_castps_pd(x[0]), b = _mm256_castps_pd(x[1]);
    const __m256d c = _mm256_castps_pd(x[2]), d = _mm256_castps_pd(x[3]);
    const vf ab[2] = {_mm256_castpd_ps(_mm256_unpacklo_pd(a, b)), _mm256_castpd_ps(_mm256_unpackhi_pd(a, b))};
    const vf cd[2] = {_mm256_castpd_ps(_mm256_unpacklo_pd(c, d)), _mm256_castpd_ps(_mm256_unpackhi_pd(c, d))};

    UNROLL
    for (int odd = 0; odd < 2; odd++) {
        x[odd] = _mm256_permute2f128_ps(ab[odd], cd[odd], 0x20);
        x[odd + 2] = _mm256_permute2f128_ps(ab[odd], cd[odd], 0x31);
    }
}

/* Within each half (l0 + l2) + (l1 + l3) of a, b, c and d side by side, then the upper half to the lower. */
static INLINE void v_reduce4(float *out, vf a, vf b, vf c, vf d)
{
    const vf ab = v_add(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    const vf cd = v_add(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    const vf even = _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(ab), _mm256_castps_pd(cd)));
    const vf odd = _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(ab), _mm256_castps_pd(cd)));
    const vf s = v_add(even, odd);

    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1)));
}

static INLINE float v_reduce_max(vf a)
{
    float lanes[LANES], max = -INFINITY;

    v_store(lanes, a);
    for (int i = 0; i < LANES; i++) max = lanes[i] > max ? lanes[i] : max;
    return max;
}

typedef struct {
    __m256d lo, hi;
} vd;

static INLINE vd vd_zero(void) { return (vd){_mm256_setzero_pd(), _mm256_setzero_pd()}; }

static INLINE vd widen_f32(vf a)
{
    return (vd){_mm256_cvtps_pd(_mm256_castps256_ps128(a)), _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1))};
}

static INLINE vd vd_add(vd s, vf a)
{
    const vd w = widen_f32(a);

    return (vd){_mm256_add_pd(s.lo, w.lo), _mm256_add_pd(s.hi, w.hi)};
}

static INLINE vd vd_add_square(vd s, vf a)
{
    const vd w = widen_f32(a);

    return (vd){_mm256_fmadd_pd(w.lo, w.lo, s.lo), _mm256_fmadd_pd(w.hi, w.hi, s.hi)};
}

static INLINE double vd_reduce(vd s)
{
    double lanes[4];

    _mm256_storeu_pd(lanes, _mm256_add_pd(s.lo, s.hi));
    return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
}

#include "kernels/simd_float.h"

void gem_kernels_float_avx2(struct gem_kernels *k) { install(k); }
