/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/peak_avx2.c */
#include "kernels/peak.h"
#include "kernels/simd.h"

enum { CHAINS = 12, LANES = 8 }; /* 16 registers; two a cycle of a latency of up to 6 */

/* Sums in 16 bits: codes of 4 bits can do with that for a while. */
static void run_int8(size_t rounds, void *data)
{
    const float *x = data;
    const __m256i a = _mm256_loadu_si256((const __m256i *)x);
    __m256i sum[CHAINS];

    UNROLL
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm256_loadu_si256((const __m256i *)(x + i)); /* if all were alike, a compiler would keep one */
    for (; rounds > 0; rounds--) {
        UNROLL
        for (int i = 0; i < CHAINS; i++) sum[i] = _mm256_add_epi16(sum[i], _mm256_maddubs_epi16(sum[i], a));
    }
    UNROLL
    for (int i = 1; i < CHAINS; i++) sum[0] = _mm256_xor_si256(sum[0], sum[i]);
    _mm256_storeu_si256((__m256i *)data + 4, sum[0]);
}

static void run_f32(size_t rounds, void *data)
{
    const float *x = data;
    const __m256 a = _mm256_loadu_ps(x);
    __m256 sum[CHAINS];

    UNROLL
    for (int i = 0; i < CHAINS; i++) sum[i] = _mm256_loadu_ps(x + i); /* if all were alike, a compiler would keep one */
    for (; rounds > 0; rounds--) {
        UNROLL
        for (int i = 0; i < CHAINS; i++) sum[i] = _mm256_fmadd_ps(sum[i], a, a);
    }
    UNROLL
    for (int i = 1; i < CHAINS; i++) sum[0] = _mm256_add_ps(sum[0], sum[i]);
    _mm256_storeu_ps((float *)data + 32, sum[0]);
}

static void read_all(const void *data, size_t n_bytes, void *sum)
{
    const __m256i *x = data;
    __m256i s[8];

    UNROLL
    for (int j = 0; j < 8; j++) s[j] = _mm256_setzero_si256();
    for (size_t i = 0; i < n_bytes / sizeof *x; i += 8) {
        UNROLL
        for (size_t j = 0; j < 8; j++) s[j] = _mm256_xor_si256(s[j], _mm256_load_si256(x + i + j));
    }
    UNROLL
    for (int j = 1; j < 8; j++) s[0] = _mm256_xor_si256(s[0], s[j]);
    _mm256_storeu_si256(sum, s[0]);
}

void gem_peaks_avx2(struct gem_peaks *p)
{
    p->run[GEM_PEAK_INT8] = run_int8;
    p->ops[GEM_PEAK_INT8] = 2 * CHAINS * 4 * LANES;
    p->run[GEM_PEAK_F32] = run_f32;
    p->ops[GEM_PEAK_F32] = 2 * CHAINS * LANES;
    p->read = read_all;
}
