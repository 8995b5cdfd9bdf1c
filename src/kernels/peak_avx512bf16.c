/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/peak_avx512bf16.c */
#include "kernels/peak_simd.h"

enum { CHAINS = 16, LANES = 16 };

static inline __m512 add_pairs(__m512 sum, __m512 a)
{
    const __m512bh pairs = (__m512bh)_mm512_castps_si512(a);

    return _mm512_dpbf16_ps(sum, pairs, pairs);
}

GEM_PEAK_RUN(run_bf16, __m512, _mm512_loadu_ps, add_pairs, _mm512_add_ps, _mm512_storeu_ps)

void gem_peaks_avx512bf16(struct gem_peaks *p)
{
    p->run[GEM_PEAK_BF16] = run_bf16;
    p->ops[GEM_PEAK_BF16] = 2 * CHAINS * 2 * LANES;
}
