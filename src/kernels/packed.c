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
    int8_t *q = act;
    float *scale = (float *)((char *)act + k);
    int32_t *sum = (int32_t *)((char *)act + k + k / 32 * 4);

    for (size_t b = 0; b < k / GEM_ACT_BLOCK; b++, x += GEM_ACT_BLOCK, q += GEM_ACT_BLOCK) {
        const struct gem_act_factor f = gem_act_factor(max_bits(x));
        int32_t half[2] = {0, 0};

        scale[b] = f.scale;
        for (int i = 0; i < GEM_ACT_BLOCK; i++) {
            q[i] = f.inverse == 0.0f ? 0 : (int8_t)rintf(x[i] * f.inverse);
            half[i / 16] += q[i];
        }
        sum[2 * b] = half[0];
        sum[2 * b + 1] = half[1];
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
    const int8_t *q = act;
    const float *x_scale = gem_act_scale(act, k);
    const int32_t *half = gem_act_sum(act, k);
    int32_t isum[GEM_PANEL];
    float scale, min;

    for (int row = 0; row < GEM_PANEL; row++) acc[row] = 0.0;
    for (size_t at = 0; at < k; at += l->group, panel += l->group_bytes) {
        const int32_t sum_q = half[at / 16] + (l->group == 32 ? half[at / 16 + 1] : 0);
        const double xs = (double)x_scale[at / 32];
        group_sums(l, panel, q + at, isum);
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
