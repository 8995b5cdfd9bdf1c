/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/peak.c - what a compiler makes of plain C. */
#include "kernels/peak.h"

enum { CHAINS = 48 }; /* sums that do not wait for each other, in twelve vectors of what any x86-64 has */

/* By 32-bit integers: C knows no narrower product. */
static void run_int8(size_t rounds, void *data)
{
    uint32_t sum[CHAINS], x[2];

    memcpy(x, data, sizeof x);
    memcpy(sum, data, sizeof sum); /* if all were alike, a compiler would keep one */
    for (; rounds > 0; rounds--)
        for (int i = 0; i < CHAINS; i++) sum[i] = sum[i] * x[0] + x[1];
    for (int i = 1; i < CHAINS; i++) sum[0] += sum[i];
    memcpy((char *)data + GEM_PEAK_BYTES / 2, sum, sizeof sum[0]);
}

static void run_f32(size_t rounds, void *data)
{
    float sum[CHAINS], x[2];

    memcpy(x, data, sizeof x);
    memcpy(sum, data, sizeof sum);
    for (; rounds > 0; rounds--)
        for (int i = 0; i < CHAINS; i++) sum[i] = sum[i] * x[0] + x[1];
    for (int i = 1; i < CHAINS; i++) sum[0] += sum[i];
    memcpy((char *)data + GEM_PEAK_BYTES / 2, sum, sizeof sum[0]);
}

static void read_all(const void *data, size_t n_bytes, void *sum)
{
    const uint64_t *x = data;
    uint64_t s[8] = {0};

    for (size_t i = 0; i < n_bytes / sizeof *x; i += 8)
        for (size_t j = 0; j < 8; j++) s[j] ^= x[i + j];
    memcpy(sum, s, sizeof s);
}

void gem_peaks_init(struct gem_peaks *p, unsigned cpu)
{
    *p = (struct gem_peaks){
        .run = {[GEM_PEAK_INT8] = run_int8, [GEM_PEAK_F32] = run_f32},
        .ops = {[GEM_PEAK_INT8] = 2 * CHAINS, [GEM_PEAK_F32] = 2 * CHAINS},
        .read = read_all,
    };
#if (defined(__x86_64__) && !defined(GEM_C_ONLY)) || defined(GEM_SIMDE)
    if (cpu & (GEM_CPU_AVX2 | GEM_CPU_AVX512)) gem_peaks_avx2(p);
    if (cpu & GEM_CPU_VNNI256) gem_peaks_avxvnni(p);
    if (cpu & GEM_CPU_AVX512) gem_peaks_avx512(p);
    if (cpu & GEM_CPU_BF16) gem_peaks_avx512bf16(p);
#else
    (void)cpu;
#endif
}
