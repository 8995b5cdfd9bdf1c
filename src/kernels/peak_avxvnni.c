/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/peak_avxvnni.c */
#include "kernels/peak_simd.h"

enum { CHAINS = 12, LANES = 8 };

static inline __m256i load(const float *x) { return _mm256_loadu_si256((const __m256i *)x); }
static inline void store(void *out, __m256i x) { _mm256_storeu_si256(out, x); }
static inline __m256i add_bytes(__m256i sum, __m256i a) { return _mm256_dpbusd_avx_epi32(sum, a, a); }

GEM_PEAK_RUN(run_int8, __m256i, load, add_bytes, _mm256_xor_si256, store)

void gem_peaks_avxvnni(struct gem_peaks *p)
{
    p->run[GEM_PEAK_INT8] = run_int8;
    p->ops[GEM_PEAK_INT8] = 2 * CHAINS * 4 * LANES;
}
