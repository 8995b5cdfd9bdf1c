/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/pairs.c - bfloat16 times bfloat16 (kernels.h, PAIRS): the packing, and the definition of the product. */
#include "kernels/kernels.h"

void gem_pack_pairs(uint16_t *panel, const uint16_t *rows, size_t ldr, size_t n_rows, size_t k)
{
    if (n_rows < GEM_PANEL || k % 2) memset(panel, 0, gem_pairs_bytes(k));
    for (size_t i = 0; i < n_rows; i++) {
        const uint16_t *row = rows + i * ldr;
        for (size_t j = 0; j + 2 <= k; j += 2) memcpy(panel + gem_pairs_at(i, j), row + j, 2 * sizeof *row);
        if (k % 2) panel[gem_pairs_at(i, k - 1)] = row[k - 1];
    }
}

static void gemm_pairs(const uint16_t *panels, size_t n_rows, const uint16_t *x, size_t ldx, size_t m, float *y,
                       size_t ldy, size_t k)
{
    for (size_t j = 0; j < m; j++)
        for (size_t i = 0; i < n_rows; i++) {
            const uint16_t *panel = panels + i / GEM_PANEL * (gem_pairs_bytes(k) / sizeof *panels);
            double sum = 0.0;

            for (size_t c = 0; c < k; c++)
                sum += (double)gem_bf16_to_f32(panel[gem_pairs_at(i % GEM_PANEL, c)]) *
                       (double)gem_bf16_to_f32(x[j * ldx + c]);
            y[j * ldy + i] = (float)sum;
        }
}

void gem_kernels_pairs_c(struct gem_kernels *k) { k->gemm_pairs = gemm_pairs; }
