/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/packed_avx512.c - int8 products by VNNI: a vector holds 4 codes of each of 16 rows, so vpdpbusd with 4
 * bytes of an activation broadcast adds 4 products to each row's lane, exactly (255 * 127 * 32 fits 21 bits).
 *
 * SAME BITS: an output is one lane of one float accumulator, and takes its groups in order of k. How many activations
 * share a tile changes only who else is in registers. */
#include "kernels/packed.h"
#include "kernels/simd.h"

enum { PANELS = 2, TILE = 6 }; /* 12 integer and 12 float accumulators fit the 32 registers beside the codes */

/* ---- activations ------------------------------------------------------------------------------------------- */

static uint32_t max_bits(__m512 lo, __m512 hi)
{
    const __m512i abs = _mm512_set1_epi32(0x7fffffff);
    const __m512i a = _mm512_and_si512(_mm512_castps_si512(lo), abs);
    const __m512i b = _mm512_and_si512(_mm512_castps_si512(hi), abs);

    return _mm512_reduce_max_epu32(_mm512_max_epu32(a, b));
}

/* 16 values to int8, to nearest even (the default rounding mode); returns their sum. */
static int32_t quantize_half(int8_t *q, __m512 x, float inverse)
{
    const __m512i i = _mm512_cvtps_epi32(_mm512_mul_ps(x, _mm512_set1_ps(inverse)));

    _mm_storeu_si128((__m128i *)q, _mm512_cvtepi32_epi8(i));
    return _mm512_reduce_add_epi32(i);
}

static void quantize(void *act, const float *x, size_t k)
{
    struct gem_act_block *out = act;

    for (size_t b = 0; b < k / GEM_ACT_BLOCK; b++, x += GEM_ACT_BLOCK, out++) {
        const __m512 lo = _mm512_loadu_ps(x), hi = _mm512_loadu_ps(x + 16);
        const struct gem_act_factor f = gem_act_factor(max_bits(lo, hi));

        *out = (struct gem_act_block){.scale = f.scale};
        if (f.inverse == 0.0f) continue;
        out->sum[0] = quantize_half(out->q, lo, f.inverse);
        out->sum[1] = quantize_half(out->q + 16, hi, f.inverse);
        out->offset = -8 * (out->sum[0] + out->sum[1]);
    }
}

/* ---- products ---------------------------------------------------------------------------------------------- */

/* What a tile works on: np panels, the group that it stands at, and its activations. np and m are constants. */
struct operands {
    const uint8_t *group;
    size_t panel_bytes;
    struct gem_act_cursor x;
};

GEM_INLINE const uint8_t *group_of(const struct operands *o, int p) { return o->group + (size_t)p * o->panel_bytes; }

/* sum[p][j] += 4 codes of panel p times 4 values of activation j, lane by lane: a broadcast serves all panels. */
GEM_INLINE void add_products(const __m512i *code, const struct operands *o, int at, int np, int m,
                             __m512i sum[PANELS][TILE])
{
    GEM_UNROLL for (int j = 0; j < m; j++)
    {
        const __m512i q = _mm512_set1_epi32(gem_act_four(&o->x, j, at));
        GEM_UNROLL for (int p = 0; p < np; p++) sum[p][j] = _mm512_dpbusd_epi32(sum[p][j], code[p], q);
    }
}

/* sum[p][j] += code * q over the group whose values start at `at`, lane by lane. */
GEM_INLINE void dot_group(struct gem_pack_layout l, const struct operands *o, int at, int np, int m,
                          __m512i sum[PANELS][TILE])
{
    const __m512i low = _mm512_set1_epi8(15);
    __m512i c[PANELS], high[PANELS];

    GEM_UNROLL for (int v = 0; v < l.code_bytes / 64; v++)
    {
        GEM_UNROLL for (int p = 0; p < np; p++)
        {
            c[p] = _mm512_loadu_si512(group_of(o, p) + 64 * v);
            if (l.bits == 4) {
                high[p] = _mm512_and_si512(_mm512_srli_epi16(c[p], 4), low);
                c[p] = _mm512_and_si512(c[p], low);
            }
        }
        add_products(c, o, at + 4 * v, np, m, sum);
        if (l.bits == 4) add_products(high, o, at + 16 + 4 * v, np, m, sum);
    }
}

/* y += scale * xscale * (sum code * q - implied * sum q): the bracket is an exact integer. */
GEM_INLINE void add_implied(struct gem_pack_layout l, const struct operands *o, int np, int m, __m512 y[PANELS][TILE])
{
    __m512i sum[PANELS][TILE];

    GEM_UNROLL for (int j = 0; j < m; j++)
    {
        const __m512i offset = _mm512_set1_epi32(gem_act_at(&o->x, j)->offset);
        GEM_UNROLL for (int p = 0; p < np; p++) sum[p][j] = l.implied == 8 ? offset : _mm512_slli_epi32(offset, 4);
    }
    dot_group(l, o, 0, np, m, sum);
    GEM_UNROLL for (int p = 0; p < np; p++)
    {
        const __m256i *halves = (const __m256i *)(const void *)(group_of(o, p) + l.code_bytes);
        const __m512 scale = _mm512_cvtph_ps(_mm256_loadu_si256(halves));
        GEM_UNROLL for (int j = 0; j < m; j++)
        {
            const __m512 s = _mm512_mul_ps(scale, _mm512_set1_ps(gem_act_at(&o->x, j)->scale));
            y[p][j] = _mm512_fmadd_ps(s, _mm512_cvtepi32_ps(sum[p][j]), y[p][j]);
        }
    }
}

/* t += scale * (sum code * q) - min * (sum q) for the group that starts at half block `half`. */
GEM_INLINE void dot_min(struct gem_pack_layout l, const struct operands *o, int half, int np, int m,
                        __m512 t[PANELS][TILE])
{
    __m512i sum[PANELS][TILE];

    GEM_UNROLL for (int p = 0; p < np; p++)
    {
        GEM_UNROLL for (int j = 0; j < m; j++) sum[p][j] = _mm512_setzero_si512();
    }
    dot_group(l, o, 16 * half, np, m, sum);
    GEM_UNROLL for (int p = 0; p < np; p++)
    {
        const uint8_t *scales = group_of(o, p) + l.code_bytes;
        const __m512 scale = _mm512_loadu_ps(scales), min = _mm512_loadu_ps(scales + 64);
        GEM_UNROLL for (int j = 0; j < m; j++)
        {
            const __m512 sum_q = _mm512_set1_ps((float)gem_act_sum(&o->x, j, half, l.group));
            t[p][j] = _mm512_fnmadd_ps(min, sum_q, t[p][j]);
            t[p][j] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(sum[p][j]), t[p][j]);
        }
    }
}

/* y += xscale * (the groups of one block of activations, in order of k) */
GEM_INLINE void add_min(struct gem_pack_layout l, const struct operands *o, int np, int m, __m512 y[PANELS][TILE])
{
    struct operands second = *o;
    __m512 t[PANELS][TILE];

    GEM_UNROLL for (int p = 0; p < np; p++) { GEM_UNROLL for (int j = 0; j < m; j++) t[p][j] = _mm512_setzero_ps(); }
    dot_min(l, o, 0, np, m, t);
    second.group += l.group_bytes;
    if (l.group == 16) dot_min(l, &second, 1, np, m, t);
    GEM_UNROLL for (int p = 0; p < np; p++)
    {
        GEM_UNROLL for (int j = 0; j < m; j++)
        {
            y[p][j] = _mm512_fmadd_ps(_mm512_set1_ps(gem_act_at(&o->x, j)->scale), t[p][j], y[p][j]);
        }
    }
}

/* np panels times m activations; the first n_rows rows are written. kind, np and m are constants where it is called. */
GEM_INLINE void tile(enum gem_pack_kind kind, int np, int m, const uint8_t *panel, size_t panel_bytes,
                     struct gem_act_cursor x, size_t n_blocks, float *y, size_t ldy, size_t n_rows)
{
    const struct gem_pack_layout l = gem_pack_layout(kind);
    struct operands o = {panel, panel_bytes, x};
    __m512 acc[PANELS][TILE];

    GEM_UNROLL for (int p = 0; p < np; p++) { GEM_UNROLL for (int j = 0; j < m; j++) acc[p][j] = _mm512_setzero_ps(); }
    for (; n_blocks; n_blocks--, o.group += GEM_ACT_BLOCK / l.group * l.group_bytes, gem_act_next(&o.x)) {
        if (l.implied)
            add_implied(l, &o, np, m, acc);
        else
            add_min(l, &o, np, m, acc);
    }
    GEM_UNROLL for (int p = 0; p < np; p++)
    {
        const size_t first = (size_t)p * GEM_PANEL, left = n_rows - first;
        const __mmask16 rows = (__mmask16)(left < GEM_PANEL ? (1u << left) - 1 : 0xffff);
        GEM_UNROLL for (int j = 0; j < m; j++) _mm512_mask_storeu_ps(y + (size_t)j * ldy + first, rows, acc[p][j]);
    }
}

#define TILES(kind, np)                                                                                                \
    GEM_TILE(kind, np, 1)                                                                                              \
    GEM_TILE(kind, np, 2)                                                                                              \
    GEM_TILE(kind, np, 3)                                                                                              \
    GEM_TILE(kind, np, 4)                                                                                              \
    GEM_TILE(kind, np, 5)                                                                                              \
    GEM_TILE(kind, np, 6)
#define NAMES(kind, np)                                                                                                \
    tile_##kind##_##np##_1, tile_##kind##_##np##_2, tile_##kind##_##np##_3, tile_##kind##_##np##_4,                    \
        tile_##kind##_##np##_5, tile_##kind##_##np##_6
#define GEMM(kind)                                                                                                     \
    TILES(kind, 1)                                                                                                     \
    TILES(kind, 2)                                                                                                     \
    GEM_GEMM_OF_TILES(kind, PANELS, TILE, NAMES(kind, 1), NAMES(kind, 2))
GEMM(Q4)
GEMM(Q8)
GEMM(Q4M)
GEMM(Q8M)
GEMM(Q8M16)

void gem_kernels_packed_avx512(struct gem_kernels *k)
{
    k->quantize = quantize;
    k->gemm_packed[GEM_PK_Q4] = gemm_Q4;
    k->gemm_packed[GEM_PK_Q8] = gemm_Q8;
    k->gemm_packed[GEM_PK_Q4M] = gemm_Q4M;
    k->gemm_packed[GEM_PK_Q8M] = gemm_Q8M;
    k->gemm_packed[GEM_PK_Q8M16] = gemm_Q8M16;
}
