/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/simd_packed256_tile.h - the second part of simd_packed256.h, after dot_group: activations to int8,
 * scales, tiles. */
#ifndef GEM_KERNELS_SIMD_PACKED256_TILE_H
#define GEM_KERNELS_SIMD_PACKED256_TILE_H

#include "kernels/simd_packed256.h"

/* The scales (which 0) or mins (1) of group g, for one half of the rows. */
GEM_INLINE __m256 load_scales(struct gem_pack_layout l, const struct operands *o, int g, int which, int half)
{
    const uint8_t *scales = o->block + gem_scales_offset(l, g, which) + 8 * half * l.scale_bytes;
    const uint8_t *halves = l.scale_bytes == 2 ? scales : o->head + 32 * which + 16 * half;
    const __m256 f = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)halves));

    if (l.scale_bytes == 2) return f;
    return _mm256_mul_ps(
        f, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)scales))));
}

/* y[j] += scale * xscale * (sum code * q - implied * sum q) over group g: the bracket is an exact integer. */
GEM_INLINE void add_implied(struct gem_pack_layout l, const struct operands *o, int g, int m, __m256 *y)
{
    __m256i sum[2 * TILE];
    __m256 scale0, scale1;

    dot_group(l, o, g, m, sum);
    scale0 = load_scales(l, o, g, 0, 0);
    scale1 = load_scales(l, o, g, 0, 1);
    GEM_UNROLL for (int j = 0; j < m; j++)
    {
        const __m256i last = OFFSET_LAST ? offset(l, o, g, j) : _mm256_setzero_si256();
        const __m256 xs = _mm256_set1_ps(gem_act_at(&o->x, j)->scale);
        const __m256 f0 = _mm256_cvtepi32_ps(_mm256_add_epi32(sum[j], last));
        const __m256 f1 = _mm256_cvtepi32_ps(_mm256_add_epi32(sum[TILE + j], last));
        y[j] = _mm256_fmadd_ps(_mm256_mul_ps(scale0, xs), f0, y[j]);
        y[TILE + j] = _mm256_fmadd_ps(_mm256_mul_ps(scale1, xs), f1, y[TILE + j]);
    }
}

/* t[j] += scale * (sum code * q) - min * (sum q) over group g. */
GEM_INLINE void dot_min(struct gem_pack_layout l, const struct operands *o, int g, int m, __m256 *t)
{
    __m256i sum[2 * TILE];

    dot_group(l, o, g, m, sum);
    GEM_UNROLL for (int half = 0; half < 2; half++)
    {
        const __m256 scale = load_scales(l, o, g, 0, half), min = load_scales(l, o, g, 1, half);
        GEM_UNROLL for (int j = 0; j < m; j++)
        {
            const int i = half * TILE + j;
            const __m256 sum_q = _mm256_set1_ps((float)gem_act_sum(&o->x, j, g, l.group));
            t[i] = _mm256_fnmadd_ps(min, sum_q, t[i]);
            t[i] = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(sum[i]), t[i]);
        }
    }
}

/* y[j] += xscale * (the groups of a block, in order of k) */
GEM_INLINE void add_min(struct gem_pack_layout l, const struct operands *o, int m, __m256 *y)
{
    __m256 t[2 * TILE];

    GEM_UNROLL for (int j = 0; j < m; j++) t[j] = t[TILE + j] = _mm256_setzero_ps();
    dot_min(l, o, 0, m, t);
    if (l.group == 16) dot_min(l, o, 1, m, t);
    GEM_UNROLL for (int j = 0; j < m; j++)
    {
        const __m256 xs = _mm256_set1_ps(gem_act_at(&o->x, j)->scale);
        y[j] = _mm256_fmadd_ps(xs, t[j], y[j]);
        y[TILE + j] = _mm256_fmadd_ps(xs, t[TILE + j], y[TILE + j]);
    }
}

GEM_INLINE void add_block(struct gem_pack_layout l, const struct operands *o, int m, __m256 *y)
{
    if (!l.implied) {
        add_min(l, o, m, y);
        return;
    }
    add_implied(l, o, 0, m, y);
    if (l.group == 16) add_implied(l, o, 1, m, y);
}

static void store_rows(float *y, __m256 lo, __m256 hi, size_t n_rows)
{
    float rows[GEM_PANEL];

    if (n_rows >= GEM_PANEL) {
        _mm256_storeu_ps(y, lo);
        _mm256_storeu_ps(y + 8, hi);
        return;
    }
    _mm256_storeu_ps(rows, lo);
    _mm256_storeu_ps(rows + 8, hi);
    memcpy(y, rows, n_rows * sizeof *y);
}

/* The first n_rows rows of a panel times m <= TILE activations. kind and m are constants where it is called. */
GEM_INLINE void tile(enum gem_pack_kind kind, int np, int m, const uint8_t *panel, size_t panel_bytes,
                     struct gem_act_cursor x, size_t n_blocks, float *y, size_t ldy, size_t n_rows, bool fresh)
{
    const struct gem_pack_layout l = gem_pack_layout(kind);
    struct operands o = {panel, panel, x};
    __m256 acc[2 * TILE]; /* rows 0..7, then 8..15 */

    (void)np; /* 1: 16 registers have no room for a second panel */
    (void)panel_bytes;
    (void)fresh; /* slower products leave memory enough time */
    GEM_UNROLL for (int j = 0; j < m; j++) acc[j] = acc[TILE + j] = _mm256_setzero_ps();
    for (size_t run = l.head_bytes ? l.n_blocks : n_blocks; n_blocks; n_blocks -= run, o.head = o.block) {
        o.block = o.head + l.head_bytes;
        GEM_ROLLED for (size_t i = 0; i < run; i++, o.block += l.block_bytes, gem_act_next(&o.x))
        {
            add_block(l, &o, m, acc);
        }
    }
    GEM_UNROLL for (int j = 0; j < m; j++) store_rows(y + j * ldy, acc[j], acc[TILE + j], n_rows);
}

#endif
