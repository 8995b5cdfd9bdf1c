/* SPDX-License-Identifier: Apache-2.0
 * tests/kernels/simde.h - AVX2 and AVX-512 in portable C, for test_kernels_simde: SIMDe, and lane by lane what version
 * 0.7.4 lacks or has no exact substitute for. Multiply-add rounds twice there, which the kernels' bounds allow. */
#ifndef GEM_TESTS_KERNELS_SIMDE_H
#define GEM_TESTS_KERNELS_SIMDE_H

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>

#include "tensor/format.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define __mmask16 simde__mmask16 /* whichever this is, native or not */
#define __mmask32 simde__mmask32

/* result NAME(argument type a) whose n lanes are `to` i = EXPRESSION of the array a. */
/* NOLINTBEGIN(bugprone-macro-parentheses): types and an expression over a and i, which want none */
#define GEM_MAP(name, result, to, n, argument, from, expression)                                                       \
    static inline __attribute__((unused)) result gem_simde_##name(argument v)                                          \
    {                                                                                                                  \
        from a[sizeof v / sizeof(from)];                                                                               \
        to b[n];                                                                                                       \
        result r;                                                                                                      \
        _Static_assert(sizeof b == sizeof r, "all lanes");                                                             \
        memcpy(a, &v, sizeof a);                                                                                       \
        for (int i = 0; i < n; i++) b[i] = expression;                                                                 \
        memcpy(&r, b, sizeof r);                                                                                       \
        return r;                                                                                                      \
    }

/* NOLINTEND(bugprone-macro-parentheses) */

GEM_MAP(cvtepu16_epi32, __m512i, int32_t, 16, __m256i, uint16_t, a[i])
GEM_MAP(cvtepi8_epi32, __m512i, int32_t, 16, __m128i, uint8_t, (a[i] ^ 0x80) - 0x80)
GEM_MAP(cvtepi32_epi16, __m256i, int16_t, 16, __m512i, int32_t, (int16_t)(uint16_t)a[i])
GEM_MAP(cvtepi32_epi8, __m128i, int8_t, 16, __m512i, int32_t, (int8_t)(uint8_t)a[i])
GEM_MAP(cvtepi32_ps, __m512, float, 16, __m512i, int32_t, (float)a[i])
GEM_MAP(cvtps_epi32, __m512i, int32_t, 16, __m512, float, fabsf(a[i]) < 0x1p31f ? (int32_t)lrintf(a[i]) : INT32_MIN)
GEM_MAP(cvtps_pd, __m512d, double, 8, __m256, float, (double)a[i])
GEM_MAP(cvtph_ps, __m512, float, 16, __m256i, uint16_t, simde_float16_to_float32(simde_uint16_as_float16(a[i])))

#undef _mm512_cvtepu16_epi32
#define _mm512_cvtepu16_epi32 gem_simde_cvtepu16_epi32
#undef _mm512_cvtepi8_epi32
#define _mm512_cvtepi8_epi32 gem_simde_cvtepi8_epi32
#undef _mm512_cvtepi32_epi16
#define _mm512_cvtepi32_epi16 gem_simde_cvtepi32_epi16
#undef _mm512_cvtepi32_epi8
#define _mm512_cvtepi32_epi8 gem_simde_cvtepi32_epi8
#undef _mm512_cvtepi32_ps
#define _mm512_cvtepi32_ps gem_simde_cvtepi32_ps
#undef _mm512_cvtps_epi32
#define _mm512_cvtps_epi32 gem_simde_cvtps_epi32
#undef _mm512_cvtps_pd
#define _mm512_cvtps_pd gem_simde_cvtps_pd
#undef _mm512_cvtph_ps
#define _mm512_cvtph_ps gem_simde_cvtph_ps

/* Reductions of integers, where the order does not matter. */
static inline int32_t gem_simde_reduce_add_epi32(__m512i v)
{
    uint32_t a[16], sum = 0;

    memcpy(a, &v, sizeof a);
    for (int i = 0; i < 16; i++) sum += a[i];
    return (int32_t)sum;
}

static inline uint32_t gem_simde_reduce_max_epu32(__m512i v)
{
    uint32_t a[16], max = 0;

    memcpy(a, &v, sizeof a);
    for (int i = 0; i < 16; i++) max = a[i] > max ? a[i] : max;
    return max;
}

#undef _mm512_reduce_add_epi32
#define _mm512_reduce_add_epi32 gem_simde_reduce_add_epi32
#undef _mm512_reduce_max_epu32
#define _mm512_reduce_max_epu32 gem_simde_reduce_max_epu32

/* Masked memory: SIMDe's maskload reads all lanes, so that it would fault where the machine does not. */
static inline void gem_simde_masked_copy(void *to, const void *from, uint64_t mask, size_t size, int n)
{
    for (int i = 0; i < n; i++)
        if (mask >> i & 1) memcpy((char *)to + (size_t)i * size, (const char *)from + (size_t)i * size, size);
}

static inline __m512 gem_simde_mask_loadu_ps(__m512 fill, simde__mmask16 mask, const void *p)
{
    gem_simde_masked_copy(&fill, p, mask, sizeof(float), 16);
    return fill;
}

static inline __m256i gem_simde_maskz_loadu_epi16(simde__mmask16 mask, const void *p)
{
    __m256i r = _mm256_setzero_si256();

    gem_simde_masked_copy(&r, p, mask, sizeof(uint16_t), 16);
    return r;
}

static inline __m512i gem_simde_maskz_loadu_epi16_512(uint32_t mask, const void *p)
{
    __m512i r = _mm512_setzero_si512();

    gem_simde_masked_copy(&r, p, mask, sizeof(uint16_t), 32);
    return r;
}

static inline void gem_simde_mask_storeu_ps(void *p, simde__mmask16 mask, __m512 v)
{
    gem_simde_masked_copy(p, &v, mask, sizeof(float), 16);
}

static inline void gem_simde_mask_storeu_epi16(void *p, simde__mmask16 mask, __m256i v)
{
    gem_simde_masked_copy(p, &v, mask, sizeof(uint16_t), 16);
}

static inline __m256 gem_simde_maskload_ps(const float *p, __m256i mask)
{
    __m256 r = _mm256_setzero_ps();

    gem_simde_masked_copy(&r, p, (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(mask)), sizeof(float), 8);
    return r;
}

#undef _mm512_mask_loadu_ps
#define _mm512_mask_loadu_ps gem_simde_mask_loadu_ps
#undef _mm256_maskz_loadu_epi16
#define _mm256_maskz_loadu_epi16 gem_simde_maskz_loadu_epi16
#undef _mm512_maskz_loadu_epi16
#define _mm512_maskz_loadu_epi16 gem_simde_maskz_loadu_epi16_512
#undef _mm512_mask_storeu_ps
#define _mm512_mask_storeu_ps gem_simde_mask_storeu_ps
#undef _mm256_mask_storeu_epi16
#define _mm256_mask_storeu_epi16 gem_simde_mask_storeu_epi16
#undef _mm256_maskload_ps
#define _mm256_maskload_ps gem_simde_maskload_ps

/* The same operation by another name. */
#define _mm256_dpbusd_avx_epi32 _mm256_dpbusd_epi32

/* Two vectors of floats to bfloat16, b first; subnormals become 0. */
static inline __m512i gem_simde_cvtne2ps_pbh(__m512 a, __m512 b)
{
    float from[32];
    uint16_t to[32];
    __m512i r;

    memcpy(from, &b, sizeof b);
    memcpy(from + 16, &a, sizeof a);
    for (int i = 0; i < 32; i++) to[i] = fabsf(from[i]) < 0x1p-126f ? 0 : gem_f32_to_bf16(from[i]);
    memcpy(&r, to, sizeof r);
    return r;
}

#undef _mm512_cvtne2ps_pbh
#define _mm512_cvtne2ps_pbh gem_simde_cvtne2ps_pbh

/* SIMDe multiplies by 2^i, which overflows before the product does. */
static inline __m512 gem_simde_scalef_ps(__m512 x, __m512 i)
{
    float a[16], b[16];

    memcpy(a, &x, sizeof a);
    memcpy(b, &i, sizeof b);
    for (int l = 0; l < 16; l++) a[l] = isnan(b[l]) ? b[l] : ldexpf(a[l], (int)fmaxf(-1000, fminf(1000, floorf(b[l]))));
    memcpy(&x, a, sizeof a);
    return x;
}

#undef _mm512_scalef_ps
#define _mm512_scalef_ps gem_simde_scalef_ps

/* SIMDe insists on a literal, which the count of an inlined function is not for clang. */
static inline __m512i gem_simde_shift_epi16(__m512i v, int left)
{
    uint16_t a[32];

    memcpy(a, &v, sizeof a);
    for (int i = 0; i < 32; i++) a[i] = left < 0 ? (uint16_t)(a[i] >> -left) : (uint16_t)(a[i] << left);
    memcpy(&v, a, sizeof a);
    return v;
}

#undef _mm512_srli_epi16
#define _mm512_srli_epi16(v, n) gem_simde_shift_epi16(v, -(int)(n))
#undef _mm512_slli_epi16
#define _mm512_slli_epi16(v, n) gem_simde_shift_epi16(v, (int)(n))

#endif
