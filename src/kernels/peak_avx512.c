/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/peak_avx512.c */
#include "kernels/peak_simd.h"

enum { CHAINS = 16, LANES = 16 };

static inline __m512i add_bytes(__m512i sum, __m512i a) { return _mm512_dpbusd_epi32(sum, a, a); }
static inline __m512 add_floats(__m512 sum, __m512 a) { return _mm512_fmadd_ps(sum, a, a); }

GEM_PEAK_RUN(run_int8, __m512i, _mm512_loadu_si512, add_bytes, _mm512_xor_si512, _mm512_storeu_si512)
GEM_PEAK_RUN(run_f32, __m512, _mm512_loadu_ps, add_floats, _mm512_add_ps, _mm512_storeu_ps)
GEM_PEAK_READ(read_all, __m512i, _mm512_load_si512, _mm512_xor_si512, _mm512_storeu_si512)

void gem_peaks_avx512(struct gem_peaks *p)
{
    p->run[GEM_PEAK_INT8] = run_int8;
    p->ops[GEM_PEAK_INT8] = 2 * CHAINS * 4 * LANES;
    p->run[GEM_PEAK_F32] = run_f32;
    p->ops[GEM_PEAK_F32] = 2 * CHAINS * LANES;
    p->read = read_all;
}
