/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/peak_simd.h - the loops of peak.h on vectors. Who includes it defines CHAINS: sums that do not wait for
 * each other, as many as hide the latency of an instruction and fit the registers. */
#ifndef GEM_KERNELS_PEAK_SIMD_H
#define GEM_KERNELS_PEAK_SIMD_H

#include "kernels/peak.h"
#include "kernels/simd.h"

/* gem_peak_fn: sum = STEP(sum, a). LOAD(floats), JOIN(sum, sum) and STORE(floats, sum) are of the same vectors. Sums
 * start different: if all were alike, a compiler would keep one. */
#define GEM_PEAK_RUN(NAME, VECTOR, LOAD, STEP, JOIN, STORE)                                                            \
    static void NAME(size_t rounds, void *data)                                                                        \
    {                                                                                                                  \
        const float *x = data;                                                                                         \
        const VECTOR a = LOAD(x);                                                                                      \
        VECTOR sum[CHAINS];                                                                                            \
                                                                                                                       \
        UNROLL                                                                                                         \
        for (int i = 0; i < CHAINS; i++) sum[i] = LOAD(x + i);                                                         \
        for (; rounds > 0; rounds--) {                                                                                 \
            UNROLL                                                                                                     \
            for (int i = 0; i < CHAINS; i++) sum[i] = STEP(sum[i], a);                                                 \
        }                                                                                                              \
        UNROLL                                                                                                         \
        for (int i = 1; i < CHAINS; i++) sum[0] = JOIN(sum[0], sum[i]);                                                \
        STORE((float *)data + GEM_PEAK_BYTES / 2 / sizeof(float), sum[0]);                                             \
    }

/* gem_peak_read_fn. LOAD takes vectors. */
#define GEM_PEAK_READ(NAME, VECTOR, LOAD, JOIN, STORE)                                                                 \
    static void NAME(const void *data, size_t n_bytes, void *sum)                                                      \
    {                                                                                                                  \
        const VECTOR *x = data;                                                                                        \
        VECTOR s[8];                                                                                                   \
                                                                                                                       \
        memset(s, 0, sizeof s);                                                                                        \
        for (size_t i = 0; i < n_bytes / sizeof *x; i += 8) {                                                          \
            UNROLL                                                                                                     \
            for (size_t j = 0; j < 8; j++) s[j] = JOIN(s[j], LOAD(x + i + j));                                         \
        }                                                                                                              \
        UNROLL                                                                                                         \
        for (int j = 1; j < 8; j++) s[0] = JOIN(s[0], s[j]);                                                           \
        STORE(sum, s[0]);                                                                                              \
    }

#endif
