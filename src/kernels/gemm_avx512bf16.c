/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/gemm_avx512bf16.c - bfloat16 times bfloat16 with AVX512-BF16.
 *
 * SAME BITS: lane l adds the pairs l, l + LANES, ... of a chunk of k in order, and v_reduce4 adds the lanes. */
#include "kernels/simd_avx512.h"

/* 8 rows by 3 columns load less for each product than 4 by 4. CHUNK: of k, so that rows fit the first-level cache. */
enum { PAIRS = 2 * LANES, PAIR_ROWS = 8, PAIR_COLS = 3, CHUNK = 1024 };

static INLINE __m512i load_pairs(const uint16_t *p, size_t n)
{
    return n == PAIRS ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi16(((__mmask32)1 << n) - 1, p);
}

struct pairs {
    const uint16_t *w, *x;
    float *y;
    size_t ldw, ldx, ldy, k;
    bool adds; /* y += instead of y = */
};

static INLINE void multiply_pairs(vf acc[PAIR_COLS][PAIR_ROWS], const struct pairs *p, size_t at, size_t n, int rows,
                                  int cols)
{
    __m512i x[PAIR_COLS];

    UNROLL
    for (int c = 0; c < cols; c++) x[c] = load_pairs(p->x + (size_t)c * p->ldx + at, n);
    UNROLL
    for (int r = 0; r < rows; r++) {
        const __m512i w = load_pairs(p->w + (size_t)r * p->ldw + at, n);
        UNROLL
        for (int c = 0; c < cols; c++) acc[c][r] = _mm512_dpbf16_ps(acc[c][r], (__m512bh)w, (__m512bh)x[c]);
    }
}

/* As tile() of simd_float.h: lane l adds the pairs l, l + LANES, ... of a chunk in order. */
static INLINE void tile_pairs(const struct pairs *p, int rows, int cols)
{
    vf acc[PAIR_COLS][PAIR_ROWS];
    size_t i = 0;

    UNROLL
    for (int c = 0; c < cols; c++) {
        UNROLL
        for (int r = 0; r < PAIR_ROWS; r++) acc[c][r] = v_set(0.0f);
    }
    for (; i + PAIRS <= p->k; i += PAIRS) multiply_pairs(acc, p, i, PAIRS, rows, cols);
    if (i < p->k) multiply_pairs(acc, p, i, p->k - i, rows, cols);
    UNROLL
    for (int c = 0; c < cols; c++) {
        float sums[PAIR_ROWS], *y = p->y + (size_t)c * p->ldy;

        v_reduce4(sums, acc[c][0], acc[c][1], acc[c][2], acc[c][3]);
        if (rows > 4) v_reduce4(sums + 4, acc[c][4], acc[c][5], acc[c][6], acc[c][7]);
        for (int r = 0; r < rows; r++) y[r] = p->adds ? y[r] + sums[r] : sums[r];
    }
}

/* All m columns of `rows` rows. */
static INLINE void stripe_pairs(struct pairs p, int rows, size_t m)
{
    for (; m >= PAIR_COLS; m -= PAIR_COLS) {
        tile_pairs(&p, rows, PAIR_COLS);
        p.x += PAIR_COLS * p.ldx;
        p.y += PAIR_COLS * p.ldy;
    }
    for (; m; m--) {
        tile_pairs(&p, rows, 1);
        p.x += p.ldx;
        p.y += p.ldy;
    }
}

static NOINLINE void chunk_pairs(struct pairs p, size_t n, size_t m)
{
    for (; n >= PAIR_ROWS; n -= PAIR_ROWS, p.w += PAIR_ROWS * p.ldw, p.y += PAIR_ROWS) stripe_pairs(p, PAIR_ROWS, m);
    for (; n; n--, p.w += p.ldw, p.y++) stripe_pairs(p, 1, m);
}

/* A row of 4096 as a whole ran at 0.6 of the speed. */
static void gemm_bf16_bf16(const uint16_t *w, size_t ldw, const uint16_t *x, size_t ldx, float *y, size_t ldy, size_t n,
                           size_t m, size_t k)
{
    for (size_t at = 0; at < k; at += CHUNK) {
        const struct pairs p = {w + at, x + at, y, ldw, ldx, ldy, k - at < CHUNK ? k - at : CHUNK, at > 0};
        chunk_pairs(p, n, m);
    }
}

void gem_kernels_gemm_avx512bf16(struct gem_kernels *k) { k->gemm_bf16_bf16 = gemm_bf16_bf16; }
