/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/peak_avx2.c */
#include "kernels/peak_simd.h"

enum { CHAINS = 12, LANES = 8 }; /* 16 registers; two a cycle of a latency of up to 6 */

static inline __m256i load(const float *x) { return _mm256_loadu_si256((const __m256i *)x); }
static inline void store(void *out, __m256i x) { _mm256_storeu_si256(out, x); }
/* Sums in 16 bits: codes of 4 bits can do with that for a while. */
static inline __m256i add_bytes(__m256i sum, __m256i a) { return _mm256_add_epi16(sum, _mm256_maddubs_epi16(sum, a)); }
static inline __m256 add_floats(__m256 sum, __m256 a) { return _mm256_fmadd_ps(sum, a, a); }

GEM_PEAK_RUN(run_int8, __m256i, load, add_bytes, _mm256_xor_si256, store)
GEM_PEAK_RUN(run_f32, __m256, _mm256_loadu_ps, add_floats, _mm256_add_ps, _mm256_storeu_ps)
GEM_PEAK_READ(read_all, __m256i, _mm256_load_si256, _mm256_xor_si256, store)

void gem_peaks_avx2(struct gem_peaks *p)
{
    p->run[GEM_PEAK_INT8] = run_int8;
    p->ops[GEM_PEAK_INT8] = 2 * CHAINS * 4 * LANES;
    p->run[GEM_PEAK_F32] = run_f32;
    p->ops[GEM_PEAK_F32] = 2 * CHAINS * LANES;
    p->read = read_all;
}
