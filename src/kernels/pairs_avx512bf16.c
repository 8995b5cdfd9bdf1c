/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/pairs_avx512bf16.c - vdpbf16ps adds to each of 16 rows the products of a pair of columns with one pair of
 * an activation. 6 activations times 4 panels are 24 accumulators; 10 loads feed 24 multiplications.
 *
 * SAME BITS: an output is one lane of one accumulator and takes its pairs in order. */
#include "kernels/kernels.h"
#include "kernels/simd.h"

enum { ROWS = 6, PANELS = 4 }; /* of a tile: activations, panels */

struct product {
    const char *panels, *x;
    float *y;
    size_t panel_bytes, x_bytes, ldy, n_pairs;
};

static INLINE __m512bh pair_of(const char *x)
{
    int32_t both;

    memcpy(&both, x, sizeof both);
    return (__m512bh)_mm512_set1_epi32(both);
}

/* rows and panels are known at compile time. n: rows of the last panel. */
static INLINE void tile(const struct product *p, size_t n, int rows, int panels)
{
    __m512 acc[ROWS][PANELS];

    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int b = 0; b < panels; b++) acc[r][b] = _mm512_setzero_ps();
    }
    for (size_t i = 0; i < p->n_pairs; i++) {
        __m512bh w[PANELS];

        UNROLL
        for (int b = 0; b < panels; b++)
            w[b] = (__m512bh)_mm512_loadu_si512(p->panels + (size_t)b * p->panel_bytes + i * 64);
        UNROLL
        for (int r = 0; r < rows; r++) {
            const __m512bh x = pair_of(p->x + (size_t)r * p->x_bytes + i * 4);
            UNROLL
            for (int b = 0; b < panels; b++) acc[r][b] = _mm512_dpbf16_ps(acc[r][b], w[b], x);
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int b = 0; b < panels; b++) {
            float *y = p->y + (size_t)r * p->ldy + b * GEM_PANEL;
            if (b + 1 < panels || n == GEM_PANEL)
                _mm512_storeu_ps(y, acc[r][b]);
            else
                _mm512_mask_storeu_ps(y, (__mmask16)((1u << n) - 1), acc[r][b]);
        }
    }
}

/* All m activations with some panels. */
static INLINE void stripe(struct product p, size_t m, size_t n, int panels)
{
    for (; m >= ROWS; m -= ROWS) {
        tile(&p, n, ROWS, panels);
        p.x += ROWS * p.x_bytes;
        p.y += ROWS * p.ldy;
    }
    switch (m) {
    case 1: tile(&p, n, 1, panels); break;
    case 2: tile(&p, n, 2, panels); break;
    case 3: tile(&p, n, 3, panels); break;
    case 4: tile(&p, n, 4, panels); break;
    case 5: tile(&p, n, 5, panels); break;
    default: break;
    }
}

static NOINLINE void stripe_1(struct product p, size_t m, size_t n) { stripe(p, m, n, 1); }
static NOINLINE void stripe_4(struct product p, size_t m, size_t n) { stripe(p, m, n, PANELS); }

static void gemm_pairs(const uint16_t *panels, size_t n_rows, const uint16_t *x, size_t ldx, size_t m, float *y,
                       size_t ldy, size_t k)
{
    struct product p = {(const char *)panels, (const char *)x, y, gem_pairs_bytes(k), ldx * 2, ldy, (k + 1) / 2};

    while (n_rows > 0) {
        const size_t n_panels = n_rows >= PANELS * GEM_PANEL ? PANELS : 1;
        const size_t n = n_rows < GEM_PANEL ? n_rows : GEM_PANEL, done = n_panels == 1 ? n : PANELS * GEM_PANEL;

        if (n_panels == 1)
            stripe_1(p, m, n);
        else
            stripe_4(p, m, GEM_PANEL);
        p.panels += n_panels * p.panel_bytes;
        p.y += done;
        n_rows -= done;
    }
}

void gem_kernels_pairs_avx512bf16(struct gem_kernels *k)
{
    k->gemm_pairs = gemm_pairs;
    k->has_pairs = true;
}
