/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/packed.c - the definitions of quantize and gemm_packed; never tuned. */
#include "kernels/packed.h"

/* ---- activations ------------------------------------------------------------------------------------------- */

/* Bits of max |x|. Compared as integers, which orders |x| as float does and puts infinity and NaN on top. */
static uint32_t max_bits(const float *x)
{
    uint32_t max = 0;

    for (int i = 0; i < GEM_ACT_BLOCK; i++) {
        uint32_t u;
        memcpy(&u, &x[i], sizeof u);
        u &= 0x7fffffff;
        if (u > max) max = u;
    }
    return max;
}

static void quantize(void *act, const float *x, size_t k)
{
    struct gem_act_block *out = act;

    for (size_t b = 0; b < k / GEM_ACT_BLOCK; b++, x += GEM_ACT_BLOCK, out++) {
        const struct gem_act_factor f = gem_act_factor(max_bits(x));

        *out = (struct gem_act_block){.scale = f.scale};
        for (int i = 0; i < GEM_ACT_BLOCK; i++) {
            out->q[i] = f.inverse == 0.0f ? 0 : (int8_t)rintf(x[i] * f.inverse);
            out->sum[i / 16] += out->q[i];
        }
        out->offset = -8 * (out->sum[0] + out->sum[1]);
    }
}

/* ---- products ---------------------------------------------------------------------------------------------- */

/* One row of a block times 32 activations. */
static double block_product(struct gem_pack_layout l, const uint8_t *head, const uint8_t *block, int row,
                            const struct gem_act_block *x)
{
    double sum = 0.0;

    for (int g = 0; g < GEM_ACT_BLOCK / l.group; g++) {
        const float scale = gem_panel_scale(l, head, block, row, g, 0);
        const float min = l.implied ? scale * (float)l.implied : gem_panel_scale(l, head, block, row, g, 1);
        int dot = 0, sum_q = 0;
        for (int kk = g * l.group; kk < (g + 1) * l.group; kk++) {
            dot += gem_panel_code(l, block, row, kk) * x->q[kk];
            sum_q += x->q[kk];
        }
        sum += (double)scale * dot - (double)min * sum_q;
    }
    return sum * (double)x->scale;
}

/* Row `row` of a panel times one activation. */
static double row_product(struct gem_pack_layout l, const uint8_t *panel, int row, const void *act, size_t k)
{
    const struct gem_act_block *x = act;
    const size_t run_bytes = l.head_bytes + (size_t)l.n_blocks * l.block_bytes;
    double sum = 0.0;

    for (size_t b = 0; b < k / GEM_ACT_BLOCK; b++) {
        const uint8_t *head = panel + b / l.n_blocks * run_bytes;
        sum += block_product(l, head, head + l.head_bytes + b % l.n_blocks * l.block_bytes, row, x + b);
    }
    return sum;
}

static void gemm_packed(enum gem_pack_kind kind, const uint8_t *panels, size_t n_panels, size_t n_rows, const void *act,
                        size_t m, float *y, size_t ldy, size_t k)
{
    const struct gem_pack_layout l = gem_pack_layout(kind);

    for (size_t i = 0; i < n_rows && i < n_panels * GEM_PANEL; i++) {
        const uint8_t *panel = panels + i / GEM_PANEL * gem_panel_bytes(kind, k);
        for (size_t j = 0; j < m; j++)
            y[j * ldy + i] =
                (float)row_product(l, panel, (int)(i % GEM_PANEL), (const char *)act + j * gem_act_bytes(k), k);
    }
}

#define GEMM_PACKED(kind)                                                                                              \
    static void gemm_##kind(const uint8_t *panels, size_t n_panels, size_t n_rows, const void *act, size_t m,          \
                            float *y, size_t ldy, size_t k)                                                            \
    {                                                                                                                  \
        gemm_packed(GEM_PK_##kind, panels, n_panels, n_rows, act, m, y, ldy, k);                                       \
    }
GEM_PACK_KINDS(GEMM_PACKED)

void gem_kernels_packed_c(struct gem_kernels *k)
{
    k->quantize = quantize;
#define INSTALL(kind) k->gemm_packed[GEM_PK_##kind] = gemm_##kind;
    GEM_PACK_KINDS(INSTALL)
}
