/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/simd.h - the intrinsics of the *_avx2.c and *_avx512.c files. With GEM_SIMDE they are those of SIMDe
 * (portable C), so that a test can run every variant on any machine. */
#ifndef GEM_KERNELS_SIMD_H
#define GEM_KERNELS_SIMD_H

#if defined(GEM_SIMDE)
#include "simde.h" /* tests/kernels/simde.h */
#else
#include <immintrin.h>
#endif

#define INLINE   inline __attribute__((always_inline, unused))
#define NOINLINE __attribute__((noinline))
#if defined(GEM_SIMDE) /* portable vectors are long code, which nobody waits for */
#define UNROLL
#elif defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#endif
