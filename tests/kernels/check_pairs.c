/* SPDX-License-Identifier: Apache-2.0
 * tests/kernels/check_pairs.c - products of bfloat16 pairs. */
#include "check.h"

#include <stdlib.h>

struct product {
    size_t n, m, k, ldx, ldy;
    bool adds;
    const uint16_t *rows, *panels, *x; /* [n, k], the same in panels, [m, ldx] */
};

/* ---- packing ------------------------------------------------------------------------------------------------- */

static size_t size_of(enum gem_type type) { return type == GEM_F32 ? sizeof(float) : sizeof(uint16_t); }

static float element(enum gem_type type, const void *rows, size_t i)
{
    const uint16_t *halves = rows;

    return type == GEM_F32   ? ((const float *)rows)[i]
           : type == GEM_F16 ? gem_f16_to_f32(halves[i])
                             : gem_bf16_to_f32(halves[i]);
}

/* Where the header says that an element lies, rounded; zeros elsewhere. */
static void check_panel(const uint16_t *panel, enum gem_type type, const void *rows, size_t ldr, size_t n, size_t k)
{
    for (size_t r = 0; r < GEM_PANEL; r++)
        for (size_t c = 0; c < gem_even(k); c++) {
            const float x = r < n && c < k ? element(type, rows, r * ldr + c) : 0.0f;
            const uint16_t want = fabsf(x) < FLT_MIN && type != GEM_BF16 ? 0 : gem_f32_to_bf16(x);

            if ((panel[gem_pairs_at(r, c)] & (want ? 0xffff : 0x7fff)) != want)
                check_true(false, "rows in pairs, padded with zeros");
        }
}

static void check_pack(const struct gem_kernels *kern, enum gem_type type, size_t n, size_t k, size_t ldr)
{
    void *rows = check_buf(((n - 1) * ldr + k) * size_of(type));
    uint16_t *panel = check_buf_aligned(gem_pairs_bytes(k), 64);

    check_case("type=%d n=%zu k=%zu ldr=%zu", type, n, k, ldr);
    if (type == GEM_F32)
        check_fill_f32(rows, (n - 1) * ldr + k, CHECK_MIXED);
    else if (type == GEM_F16)
        check_fill_f16(rows, (n - 1) * ldr + k, CHECK_MIXED);
    else
        check_fill_bf16(rows, (n - 1) * ldr + k, CHECK_MIXED);
    memset(panel, 0x55, gem_pairs_bytes(k));
    kern->pack_pairs(panel, rows, type, ldr * size_of(type), n, k);
    check_panel(panel, type, rows, ldr, n, k);
    check_release();
}

static void check_packing(const struct gem_kernels *kern)
{
    static const enum gem_type types[] = {GEM_F32, GEM_F16, GEM_BF16};
    static const size_t sizes[] = {1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 63, 64, 256};

    if (!check_func("pack_pairs", (check_fn *)kern->pack_pairs)) return;
    for (size_t t = 0; t < COUNT(types); t++)
        for (size_t s = 0; s < COUNT(sizes); s++)
            for (size_t n = 1; n <= GEM_PANEL; n += n < 14 ? 6 : 1)
                check_pack(kern, types[t], n, sizes[s], sizes[s] + n % 3);
}

/* ---- products ------------------------------------------------------------------------------------------------ */

static size_t panels_bytes(size_t n, size_t k) { return (n + GEM_PANEL - 1) / GEM_PANEL * gem_pairs_bytes(k); }

static void random_weights(struct product *p, enum check_sign sign)
{
    uint16_t *rows = check_buf(p->n * p->k * sizeof *rows);
    uint16_t *panels = check_buf_aligned(panels_bytes(p->n, p->k), 64);

    check_fill_bf16(rows, p->n * p->k, sign);
    for (size_t i = 0; i < p->n; i += GEM_PANEL)
        check_definition()->pack_pairs(panels + i / GEM_PANEL * (gem_pairs_bytes(p->k) / 2), rows + i * p->k, GEM_BF16,
                                       p->k * sizeof *rows, p->n - i < GEM_PANEL ? p->n - i : GEM_PANEL, p->k);
    p->rows = rows;
    p->panels = panels;
}

static const uint16_t *random_activations(const struct product *p, enum check_sign sign)
{
    const size_t even = gem_even(p->k);
    uint16_t *x = check_buf(((p->m - 1) * p->ldx + even) * sizeof *x);

    check_fill_bf16(x, (p->m - 1) * p->ldx + even, sign);
    for (size_t j = 0; j < p->m && even != p->k; j++) x[j * p->ldx + p->k] = 0;
    return x;
}

/* What y holds before. */
static float before(const struct product *p, size_t at) { return p->adds ? (float)(at % 7) - 3.0f : 12345.0f; }

static float *fresh(const struct product *p)
{
    const size_t n_y = (p->m - 1) * p->ldy + p->n;
    float *y = check_buf(n_y * sizeof *y);

    for (size_t i = 0; i < n_y; i++) y[i] = before(p, i);
    return y;
}

static const float *product_of(gem_gemm_pairs_fn *f, const struct product *p)
{
    const size_t n_y = (p->m - 1) * p->ldy + p->n;
    float *y = fresh(p);

    f(p->panels, p->n, p->x, p->ldx, p->m, y, p->ldy, p->k, p->adds);
    for (size_t i = 0; i < n_y; i++)
        if (i % p->ldy >= p->n && y[i] != before(p, i)) check_true(false, "left alone between rows of y");
    return y;
}

static void check_values(const struct product *p, const float *got, const float *want)
{
    for (size_t j = 0; j < p->m; j++)
        for (size_t i = 0; i < p->n; i++) {
            double sum = p->adds ? (double)before(p, j * p->ldy + i) : 0, magnitude = fabs(sum);
            for (size_t c = 0; c < p->k; c++) {
                const double term =
                    (double)gem_bf16_to_f32(p->rows[i * p->k + c]) * (double)gem_bf16_to_f32(p->x[j * p->ldx + c]);
                sum += term;
                magnitude += fabs(term);
            }
            const double bound = (8 + (double)p->k / 8) * (double)FLT_EPSILON * magnitude + (double)p->k * 0x1p-120;
            check_near(j * p->ldy + i, (double)want[j * p->ldy + i], sum, (double)FLT_EPSILON * fabs(sum));
            check_near(j * p->ldy + i, (double)got[j * p->ldy + i], (double)want[j * p->ldy + i], bound);
        }
}

/* The activations in blocks. */
static const uint16_t *blocks_of(const struct gem_kernels *k, const struct product *p)
{
    uint16_t *blocks = check_buf(p->m * gem_even(p->k) * sizeof *blocks);
    float *row = check_buf(p->k * sizeof *row);

    for (size_t j = 0; j < p->m; j++) {
        for (size_t c = 0; c < p->k; c++) row[c] = gem_bf16_to_f32(p->x[j * p->ldx + c]);
        gem_block_row(k, blocks, row, j, p->m, p->k);
        for (size_t c = 0; c < gem_even(p->k); c++)
            if (blocks[gem_block_at(j, c, p->m, p->k)] != (c < p->k ? p->x[j * p->ldx + c] : 0))
                check_true(false, "rows in blocks");
    }
    return blocks;
}

/* One activation, or one panel, computed alone; and with the matrix as it was. */
static void check_parts(const struct gem_kernels *k, const struct product *p, const float *y)
{
    const size_t j = check_rnd_below(p->m), panel = check_rnd_below((p->n + GEM_PANEL - 1) / GEM_PANEL);
    const size_t first = panel * GEM_PANEL, n = p->n - first < GEM_PANEL ? p->n - first : GEM_PANEL;
    float *row = fresh(p), *part = fresh(p), *all = fresh(p);

    k->gemm_pairs(p->panels, p->n, p->x + j * p->ldx, p->ldx, 1, row + j * p->ldy, p->n, p->k, p->adds);
    check_bits(row + j * p->ldy, y + j * p->ldy, p->n, sizeof *row);
    k->gemm_pairs(p->panels + panel * (gem_pairs_bytes(p->k) / 2), n, p->x + j * p->ldx, p->ldx, 1,
                  part + j * p->ldy + first, n, p->k, p->adds);
    check_bits(part + j * p->ldy + first, y + j * p->ldy + first, n, sizeof *part);
    if (k->gemm_pairs == check_definition()->gemm_pairs) return; /* rounds where the sum is cut */
    gem_gemm_rows(k, p->rows, GEM_BF16, p->k * sizeof *p->rows, p->n, blocks_of(k, p), p->m, all, p->ldy, p->k,
                  p->adds);
    check_bits(all, y, (p->m - 1) * p->ldy + p->n, sizeof *all);
}

static void check_product(const struct gem_kernels *k, struct product p, enum check_sign sign)
{
    for (int adds = 0; adds < 2; adds++) {
        p.adds = adds;
        check_case("n=%zu m=%zu k=%zu ldx=%zu ldy=%zu adds=%d sign=%d", p.n, p.m, p.k, p.ldx, p.ldy, adds, sign);
        random_weights(&p, sign);
        p.x = random_activations(&p, sign);
        const float *y = product_of(k->gemm_pairs, &p);
        check_values(&p, y, product_of(check_definition()->gemm_pairs, &p));
        check_parts(k, &p, y);
        check_release();
    }
}

void check_pairs(const struct gem_kernels *k)
{
    static const size_t sizes[] = {1, 2, 3, 15, 16, 31, 33, 64, 72};

    check_packing(k);
    if (!check_func("gemm_pairs", (check_fn *)k->gemm_pairs)) return;
    for (size_t s = 0; s < COUNT(sizes); s++)
        for (int sign = 0; sign < 2; sign++) {
            const size_t c = sizes[s], even = gem_even(c);
            check_product(k, (struct product){.n = 21, .m = 7, .k = c, .ldx = even, .ldy = 21}, (enum check_sign)sign);
            check_product(k, (struct product){.n = 70, .m = 3, .k = c, .ldx = even + 3, .ldy = 75},
                          (enum check_sign)sign);
        }
    for (size_t n = 1; n <= 82; n += n < 18 ? 1 : 16)
        for (size_t m = 1; m <= 13; m++)
            check_product(k, (struct product){.n = n, .m = m, .k = 6, .ldx = 6, .ldy = n + 1}, CHECK_MIXED);
    check_product(k, (struct product){.n = 130, .m = 25, .k = 2305, .ldx = 2306, .ldy = 130}, CHECK_ONE_SIGN);
}
