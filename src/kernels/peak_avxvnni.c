/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/peak_avxvnni.c */
#include "kernels/peak.h"
#include "kernels/simd.h"

enum { CHAINS = 12, LANES = 8 };

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
        for (int i = 0; i < CHAINS; i++) sum[i] = _mm256_dpbusd_avx_epi32(sum[i], a, a);
    }
    UNROLL
    for (int i = 1; i < CHAINS; i++) sum[0] = _mm256_xor_si256(sum[0], sum[i]);
    _mm256_storeu_si256((__m256i *)data + 4, sum[0]);
}

void gem_peaks_avxvnni(struct gem_peaks *p)
{
    p->run[GEM_PEAK_INT8] = run_int8;
    p->ops[GEM_PEAK_INT8] = 2 * CHAINS * 4 * LANES;
}
