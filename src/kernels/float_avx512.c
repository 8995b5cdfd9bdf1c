/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/float_avx512.c - the float operations with AVX-512 F, BW, VL and DQ. */
#include "kernels/simd_avx512.h"

/* 32 registers: 4 rows times 4 columns of accumulators leave room for the operands. */
enum { ROWS = 4, COLS = 4, RUN = 2, QUERIES = 6, HEADS = 4, VECS = 4 };

#include "kernels/simd_float.h"

void gem_kernels_float_avx512(struct gem_kernels *k) { install(k); }
