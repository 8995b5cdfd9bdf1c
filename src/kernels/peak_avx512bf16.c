/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/peak_avx512bf16.c */
#include "kernels/peak.h"
#include "kernels/simd.h"

enum { CHAINS = 16, LANES = 16 };

static void run_bf16(size_t rounds, void *data)
{
    const float *x = data;
    const __m512 a = _mm512_loadu_ps(x);
    const __m512bh pairs = (__m512bh)_mm512_castps_si512(a);
    __m512 sum[CHAINS];

    UNROLL
    for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_loadu_ps(x + i); /* if all were alike, a compiler would keep one */
    for (; rounds > 0; rounds--) {
        UNROLL
        for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_dpbf16_ps(sum[i], pairs, pairs);
    }
    UNROLL
    for (int i = 1; i < CHAINS; i++) sum[0] = _mm512_add_ps(sum[0], sum[i]);
    _mm512_storeu_ps((float *)data + 32, sum[0]);
}

void gem_peaks_avx512bf16(struct gem_peaks *p)
{
    p->run[GEM_PEAK_BF16] = run_bf16;
    p->ops[GEM_PEAK_BF16] = 2 * CHAINS * 2 * LANES;
}
