/* SPDX-License-Identifier: Apache-2.0
 * tests/kernels/check_pairs.c - products of bfloat16 pairs. */
#include "check.h"

#include <stdlib.h>

struct product {
    size_t n, m, k, ldx, ldy;
    const uint16_t *panels, *x;
};

static size_t panels_bytes(size_t n, size_t k) { return (n + GEM_PANEL - 1) / GEM_PANEL * gem_pairs_bytes(k); }

/* The packing, against where the header says that an element lies. */
static const uint16_t *random_panels(size_t n, size_t k, enum check_sign sign)
{
    uint16_t *rows = check_buf(n * k * sizeof *rows);
    uint16_t *panels = check_buf_aligned(panels_bytes(n, k), 64);

    check_fill_bf16(rows, n * k, sign);
    for (size_t i = 0; i < n; i += GEM_PANEL) {
        uint16_t *panel = panels + i / GEM_PANEL * (gem_pairs_bytes(k) / 2);
        const size_t some = n - i < GEM_PANEL ? n - i : GEM_PANEL;

        gem_pack_pairs(panel, rows + i * k, k, some, k);
        for (size_t r = 0; r < GEM_PANEL; r++)
            for (size_t c = 0; c < (k + 1) / 2 * 2; c++) {
                const uint16_t want = r < some && c < k ? rows[(i + r) * k + c] : 0;
                if (panel[c / 2 * 32 + 2 * r + c % 2] != want) check_true(false, "rows in pairs, padded with zeros");
            }
    }
    return panels;
}

static const uint16_t *random_activations(const struct product *p, enum check_sign sign)
{
    const size_t even = (p->k + 1) / 2 * 2;
    uint16_t *x = check_buf(((p->m - 1) * p->ldx + even) * sizeof *x);

    check_fill_bf16(x, (p->m - 1) * p->ldx + even, sign);
    for (size_t j = 0; j < p->m && even != p->k; j++) x[j * p->ldx + p->k] = 0;
    return x;
}

static const float *product_of(gem_gemm_pairs_fn *f, const struct product *p)
{
    const size_t n_y = (p->m - 1) * p->ldy + p->n;
    float *y = check_buf(n_y * sizeof *y);

    for (size_t i = 0; i < n_y; i++) y[i] = 12345.0f;
    f(p->panels, p->n, p->x, p->ldx, p->m, y, p->ldy, p->k);
    for (size_t i = 0; i < n_y; i++)
        if (i % p->ldy >= p->n && y[i] != 12345.0f) check_true(false, "left alone between rows of y");
    return y;
}

static float weight(const struct product *p, size_t i, size_t c)
{
    const uint16_t *panel = p->panels + i / GEM_PANEL * (gem_pairs_bytes(p->k) / 2);

    return gem_bf16_to_f32(panel[gem_pairs_at(i % GEM_PANEL, c)]);
}

static void check_values(const struct product *p, const float *got, const float *want)
{
    for (size_t j = 0; j < p->m; j++)
        for (size_t i = 0; i < p->n; i++) {
            double sum = 0, magnitude = 0;
            for (size_t c = 0; c < p->k; c++) {
                const double term = (double)weight(p, i, c) * (double)gem_bf16_to_f32(p->x[j * p->ldx + c]);
                sum += term;
                magnitude += fabs(term);
            }
            const double bound = (8 + (double)p->k / 8) * (double)FLT_EPSILON * magnitude + (double)p->k * 0x1p-120;
            check_near(j * p->ldy + i, (double)want[j * p->ldy + i], sum, (double)FLT_EPSILON * fabs(sum));
            check_near(j * p->ldy + i, (double)got[j * p->ldy + i], (double)want[j * p->ldy + i], bound);
        }
}

/* One activation, or one panel, computed alone. */
static void check_parts(gem_gemm_pairs_fn *f, const struct product *p, const float *y)
{
    const size_t j = check_rnd_below(p->m), panel = check_rnd_below((p->n + GEM_PANEL - 1) / GEM_PANEL);
    const size_t first = panel * GEM_PANEL, n = p->n - first < GEM_PANEL ? p->n - first : GEM_PANEL;
    float *part = check_buf(p->n * sizeof *part);

    f(p->panels, p->n, p->x + j * p->ldx, p->ldx, 1, part, p->n, p->k);
    check_bits(part, y + j * p->ldy, p->n, sizeof *part);
    f(p->panels + panel * (gem_pairs_bytes(p->k) / 2), n, p->x + j * p->ldx, p->ldx, 1, part, n, p->k);
    check_bits(part, y + j * p->ldy + first, n, sizeof *part);
}

static void check_product(const struct gem_kernels *k, struct product p, enum check_sign sign)
{
    check_case("n=%zu m=%zu k=%zu ldx=%zu ldy=%zu sign=%d", p.n, p.m, p.k, p.ldx, p.ldy, sign);
    p.panels = random_panels(p.n, p.k, sign);
    p.x = random_activations(&p, sign);
    const float *y = product_of(k->gemm_pairs, &p);
    check_values(&p, y, product_of(check_definition()->gemm_pairs, &p));
    check_parts(k->gemm_pairs, &p, y);
    check_release();
}

void check_pairs(const struct gem_kernels *k)
{
    static const size_t sizes[] = {1, 2, 3, 15, 16, 31, 33, 64, 72};

    if (!check_func("gemm_pairs", (check_fn *)k->gemm_pairs)) return;
    for (size_t s = 0; s < COUNT(sizes); s++)
        for (int sign = 0; sign < 2; sign++) {
            const size_t c = sizes[s], even = (c + 1) / 2 * 2;
            check_product(k, (struct product){.n = 21, .m = 7, .k = c, .ldx = even, .ldy = 21}, (enum check_sign)sign);
            check_product(k, (struct product){.n = 70, .m = 3, .k = c, .ldx = even + 3, .ldy = 75},
                          (enum check_sign)sign);
        }
    for (size_t n = 1; n <= 82; n += n < 18 ? 1 : 16)
        for (size_t m = 1; m <= 13; m++)
            check_product(k, (struct product){.n = n, .m = m, .k = 6, .ldx = 6, .ldy = n + 1}, CHECK_MIXED);
    check_product(k, (struct product){.n = 130, .m = 25, .k = 2305, .ldx = 2306, .ldy = 130}, CHECK_ONE_SIGN);
}
