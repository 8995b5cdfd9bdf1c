/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/pairs_avx512bf16.c - vdpbf16ps adds to each of 16 rows the products of a pair of columns with one pair of
 * an activation. 6 activations times 4 panels are 24 accumulators; 10 loads feed 24 multiplications.
 *
 * SAME BITS: an output is one lane of one accumulator and takes its pairs in order. */
#include "kernels/simd_avx512.h"

enum { ROWS = 6, PANELS = 4 }; /* of a tile: activations, panels */

/* ---- packing ------------------------------------------------------------------------------------------------- */

enum { PAIRS = 2 * LANES }; /* columns of a vector */

/* Elements i of a row up to i + n, n at most PAIRS; zeros after them. */
static INLINE __m512i load_pairs(const uint8_t *row, enum gem_type type, size_t i, size_t n)
{
    const size_t low = n < LANES ? n : LANES;
    vf a, b;

    if (type == GEM_BF16) {
        const __mmask32 some = n < PAIRS ? ((__mmask32)1 << n) - 1 : ~(__mmask32)0;
        return _mm512_maskz_loadu_epi16(some, row + i * 2);
    }
    if (type == GEM_F16) {
        a = v_load_f16_n((const uint16_t *)(const void *)row + i, low);
        b = v_load_f16_n((const uint16_t *)(const void *)row + i + LANES, n - low);
    } else {
        a = v_load_n((const float *)(const void *)row + i, low, 0.0f);
        b = v_load_n((const float *)(const void *)row + i + LANES, n - low, 0.0f);
    }
    return (__m512i)_mm512_cvtne2ps_pbh(b, a);
}

/* Turns a square of 16 by 16 pairs. */
static INLINE void transpose(__m512i r[LANES])
{
    __m512i t[LANES];

    UNROLL
    for (int i = 0; i < LANES; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    UNROLL
    for (int i = 0; i < LANES; i += 4) { /* r[i + c]: column c of each 128 bits, of rows i to i + 3 */
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    UNROLL
    for (int c = 0; c < 4; c++) {
        t[c] = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88);
        t[4 + c] = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xdd);
        t[8 + c] = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x88);
        t[12 + c] = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xdd);
    }
    UNROLL
    for (int c = 0; c < 4; c++) {
        r[c] = _mm512_shuffle_i32x4(t[c], t[8 + c], 0x88);
        r[4 + c] = _mm512_shuffle_i32x4(t[4 + c], t[12 + c], 0x88);
        r[8 + c] = _mm512_shuffle_i32x4(t[c], t[8 + c], 0xdd);
        r[12 + c] = _mm512_shuffle_i32x4(t[4 + c], t[12 + c], 0xdd);
    }
}

static INLINE void pack(uint16_t *panel, const uint8_t *rows, enum gem_type type, size_t row_bytes, size_t n_rows,
                        size_t i, size_t n)
{
    __m512i r[LANES];

    UNROLL
    for (int row = 0; row < LANES; row++)
        r[row] = (size_t)row < n_rows ? load_pairs(rows + (size_t)row * row_bytes, type, i, n) : _mm512_setzero_si512();
    transpose(r);
    UNROLL
    for (int pair = 0; pair < LANES; pair++)
        if (2 * (size_t)pair < n) _mm512_storeu_si512(panel + i * GEM_PANEL + pair * PAIRS, r[pair]);
}

static INLINE void pack_type(uint16_t *panel, const uint8_t *rows, enum gem_type type, size_t row_bytes, size_t n_rows,
                             size_t k)
{
    size_t i = 0;

    for (; i + PAIRS <= k && n_rows == GEM_PANEL; i += PAIRS) pack(panel, rows, type, row_bytes, GEM_PANEL, i, PAIRS);
    for (; i < k; i += PAIRS) pack(panel, rows, type, row_bytes, n_rows, i, k - i < PAIRS ? k - i : PAIRS);
}

static NOINLINE void pack_bf16(uint16_t *panel, const void *rows, size_t row_bytes, size_t n_rows, size_t k)
{
    pack_type(panel, rows, GEM_BF16, row_bytes, n_rows, k);
}

static NOINLINE void pack_f16(uint16_t *panel, const void *rows, size_t row_bytes, size_t n_rows, size_t k)
{
    pack_type(panel, rows, GEM_F16, row_bytes, n_rows, k);
}

static NOINLINE void pack_f32(uint16_t *panel, const void *rows, size_t row_bytes, size_t n_rows, size_t k)
{
    pack_type(panel, rows, GEM_F32, row_bytes, n_rows, k);
}

static void pack_pairs(uint16_t *panel, const void *rows, enum gem_type type, size_t row_bytes, size_t n_rows, size_t k)
{
    if (type == GEM_BF16)
        pack_bf16(panel, rows, row_bytes, n_rows, k);
    else if (type == GEM_F16)
        pack_f16(panel, rows, row_bytes, n_rows, k);
    else
        pack_f32(panel, rows, row_bytes, n_rows, k);
}

/* ---- the product --------------------------------------------------------------------------------------------- */

struct product {
    const char *panels, *x;
    float *y;
    size_t panel_bytes, x_bytes, ldy, n_pairs;
    bool adds; /* to what y holds */
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
    const __mmask16 last = (__mmask16)((1u << n) - 1);
    __m512 acc[ROWS][PANELS];

    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int b = 0; b < panels; b++) {
            const float *y = p->y + (size_t)r * p->ldy + b * GEM_PANEL;
            acc[r][b] = !p->adds         ? _mm512_setzero_ps()
                        : b + 1 < panels ? _mm512_loadu_ps(y)
                                         : _mm512_mask_loadu_ps(_mm512_setzero_ps(), last, y);
        }
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
            if (b + 1 < panels)
                _mm512_storeu_ps(y, acc[r][b]);
            else
                _mm512_mask_storeu_ps(y, last, acc[r][b]);
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
                       size_t ldy, size_t k, bool adds)
{
    struct product p = {(const char *)panels, (const char *)x, y, gem_pairs_bytes(k), ldx * 2, ldy, (k + 1) / 2, adds};

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
    k->pack_pairs = pack_pairs;
    k->gemm_pairs = gemm_pairs;
}
