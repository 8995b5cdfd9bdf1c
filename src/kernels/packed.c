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

/* isum[row] = sum over the k of a group of code * q. */
static void group_sums(const struct gem_pack_layout *l, const uint8_t *codes, const int8_t *q, int32_t *isum)
{
    for (int row = 0; row < GEM_PANEL; row++) isum[row] = 0;
    for (int i = 0; i < l->code_bytes; i++) {
        const int row = i % 64 / 4, kk = i / 64 * 4 + i % 4;
        if (l->bits == 8)
            isum[row] += codes[i] * q[kk];
        else
            isum[row] += (codes[i] & 15) * q[kk] + (codes[i] >> 4) * q[kk + 16];
    }
}

/* Scale and min of one row, from what follows the codes. */
static void group_scale(const struct gem_pack_layout *l, const uint8_t *scales, int row, float *scale, float *min)
{
    uint16_t h;

    if (l->implied) {
        memcpy(&h, scales + 2 * row, sizeof h);
        *scale = gem_f16_to_f32(h);
        *min = *scale * (float)l->implied;
        return;
    }
    memcpy(scale, scales + 4 * row, sizeof *scale);
    memcpy(min, scales + 64 + 4 * row, sizeof *min);
}

/* acc[row] = row of a panel times one activation. */
static void panel_product(const struct gem_pack_layout *l, const uint8_t *panel, const void *act, size_t k, double *acc)
{
    const struct gem_act_block *x = act;
    int32_t isum[GEM_PANEL];
    float scale, min;

    for (int row = 0; row < GEM_PANEL; row++) acc[row] = 0.0;
    for (size_t at = 0; at < k; at += l->group, panel += l->group_bytes) {
        const struct gem_act_block *b = &x[at / GEM_ACT_BLOCK];
        const size_t in = at % GEM_ACT_BLOCK;
        const int32_t sum_q = l->group == 32 ? b->sum[0] + b->sum[1] : b->sum[in / 16];
        const double xs = (double)b->scale;
        group_sums(l, panel, b->q + in, isum);
        for (int row = 0; row < GEM_PANEL; row++) {
            group_scale(l, panel + l->code_bytes, row, &scale, &min);
            acc[row] += (double)scale * xs * isum[row] - (double)min * xs * sum_q;
        }
    }
}

static void gemm_packed(enum gem_pack_kind kind, const uint8_t *panels, size_t n_panels, size_t n_rows, const void *act,
                        size_t m, float *y, size_t ldy, size_t k)
{
    const struct gem_pack_layout l = gem_pack_layout(kind);
    double acc[GEM_PANEL];

    for (size_t p = 0; p < n_panels; p++, panels += gem_panel_bytes(kind, k)) {
        for (size_t j = 0; j < m; j++) {
            panel_product(&l, panels, (const char *)act + j * gem_act_bytes(k), k, acc);
            for (size_t i = p * GEM_PANEL; i < n_rows && i < (p + 1) * GEM_PANEL; i++)
                y[j * ldy + i] = (float)acc[i % GEM_PANEL];
        }
    }
}

#define GEMM_PACKED(name, kind)                                                                                        \
    static void name(const uint8_t *panels, size_t n_panels, size_t n_rows, const void *act, size_t m, float *y,       \
                     size_t ldy, size_t k)                                                                             \
    {                                                                                                                  \
        gemm_packed(kind, panels, n_panels, n_rows, act, m, y, ldy, k);                                                \
    }
GEMM_PACKED(gemm_q4, GEM_PK_Q4)
GEMM_PACKED(gemm_q8, GEM_PK_Q8)
GEMM_PACKED(gemm_q4m, GEM_PK_Q4M)
GEMM_PACKED(gemm_q8m, GEM_PK_Q8M)
GEMM_PACKED(gemm_q8m16, GEM_PK_Q8M16)

void gem_kernels_packed_c(struct gem_kernels *k)
{
    k->quantize = quantize;
    k->gemm_packed[GEM_PK_Q4] = gemm_q4;
    k->gemm_packed[GEM_PK_Q8] = gemm_q8;
    k->gemm_packed[GEM_PK_Q4M] = gemm_q4m;
    k->gemm_packed[GEM_PK_Q8M] = gemm_q8m;
    k->gemm_packed[GEM_PK_Q8M16] = gemm_q8m16;
}
