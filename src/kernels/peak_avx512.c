/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/peak_avx512.c */
#include "kernels/peak.h"
#include "kernels/simd.h"

enum { CHAINS = 16, LANES = 16 };

static void run_int8(size_t rounds, void *data)
{
    const float *x = data;
    const __m512i a = _mm512_loadu_si512(x);
    __m512i sum[CHAINS];

    UNROLL
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm512_loadu_si512(x + i); /* if all were alike, a compiler would keep one */
    for (; rounds > 0; rounds--) {
        UNROLL
        for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_dpbusd_epi32(sum[i], a, a);
    }
    UNROLL
    for (int i = 1; i < CHAINS; i++) sum[0] = _mm512_xor_si512(sum[0], sum[i]);
    _mm512_storeu_si512((float *)data + 32, sum[0]);
}

static void run_f32(size_t rounds, void *data)
{
    const float *x = data;
    const __m512 a = _mm512_loadu_ps(x);
    __m512 sum[CHAINS];

    UNROLL
    for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_loadu_ps(x + i); /* if all were alike, a compiler would keep one */
    for (; rounds > 0; rounds--) {
        UNROLL
        for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_fmadd_ps(sum[i], a, a);
    }
    UNROLL
    for (int i = 1; i < CHAINS; i++) sum[0] = _mm512_add_ps(sum[0], sum[i]);
    _mm512_storeu_ps((float *)data + 32, sum[0]);
}

static void read_all(const void *data, size_t n_bytes, void *sum)
{
    const __m512i *x = data;
    __m512i s[8];

    UNROLL
    for (int j = 0; j < 8; j++) s[j] = _mm512_setzero_si512();
    for (size_t i = 0; i < n_bytes / sizeof *x; i += 8) {
        UNROLL
        for (size_t j = 0; j < 8; j++) s[j] = _mm512_xor_si512(s[j], _mm512_load_si512(x + i + j));
    }
    UNROLL
    for (int j = 1; j < 8; j++) s[0] = _mm512_xor_si512(s[0], s[j]);
    _mm512_storeu_si512(sum, s[0]);
}

void gem_peaks_avx512(struct gem_peaks *p)
{
    p->run[GEM_PEAK_INT8] = run_int8;
    p->ops[GEM_PEAK_INT8] = 2 * CHAINS * 4 * LANES;
    p->run[GEM_PEAK_F32] = run_f32;
    p->ops[GEM_PEAK_F32] = 2 * CHAINS * LANES;
    p->read = read_all;
}
