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

/* What a tile works on: np panels, the block that it stands at, and its activations. np and m are constants. */
struct operands {
    const uint8_t *head, *block; /* of the first panel; those of the second lie panel_bytes on */
    size_t panel_bytes;
    struct gem_act_cursor x;
};

GEM_INLINE const uint8_t *block_of(const struct operands *o, int p) { return o->block + (size_t)p * o->panel_bytes; }

/* A code of columns k..k + 3 for each byte. */
GEM_INLINE __m512i load_codes(struct gem_pack_layout l, const uint8_t *codes, int k)
{
    const __m512i low = _mm512_set1_epi8(15);
    const int bit = gem_field_bit(l, gem_field(k));
    __m512i c, upper;

    if (l.bits == 8) return _mm512_loadu_si512(codes + 16 * k);
    c = _mm512_loadu_si512(codes + 64 * (k % 16 / 4));
    c = _mm512_and_si512(k < 16 ? c : _mm512_srli_epi16(c, 4), low);
    if (l.bits == 4) return c;
    upper = _mm512_loadu_si512(codes + 64 * gem_field_vector(l, gem_field(k)));
    upper = bit < 4 ? _mm512_slli_epi16(upper, (unsigned)(4 - bit)) : _mm512_srli_epi16(upper, (unsigned)(bit - 4));
    return _mm512_or_si512(c, _mm512_and_si512(upper, _mm512_set1_epi8((char)((1 << l.bits) - 16))));
}

/* The scales (which 0) or mins (1) of group g. */
GEM_INLINE __m512 load_scales(struct gem_pack_layout l, const struct operands *o, int p, int g, int which)
{
    const uint8_t *scales = block_of(o, p) + gem_scales_offset(l, g, which);
    const uint8_t *halves = l.scale_bytes == 2 ? scales : o->head + (size_t)p * o->panel_bytes + 32 * which;
    const __m512 f = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)halves));

    if (l.scale_bytes == 2) return f;
    return _mm512_mul_ps(
        f, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)scales))));
}

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

/* The order in which a group's i-th 4 columns are taken: as they lie in memory, both nibbles of a vector in turn. */
GEM_INLINE int columns(struct gem_pack_layout l, int g, int i)
{
    return l.group == 16 ? 16 * g + 4 * i : l.bits == 8 ? 4 * i : i / 2 * 4 + i % 2 * 16;
}

/* sum[p][j] += code * q over group g, lane by lane. */
GEM_INLINE void dot_group(struct gem_pack_layout l, const struct operands *o, int g, int np, int m,
                          __m512i sum[PANELS][TILE])
{
    __m512i code[PANELS];

    GEM_UNROLL for (int i = 0; i < l.group / 4; i++)
    {
        const int k = columns(l, g, i);
        GEM_UNROLL for (int p = 0; p < np; p++) code[p] = load_codes(l, block_of(o, p), k);
        add_products(code, o, k, np, m, sum);
    }
}

/* y += scale * xscale * (sum code * q - implied * sum q) over group g: the bracket is an exact integer. */
GEM_INLINE void add_implied(struct gem_pack_layout l, const struct operands *o, int g, int np, int m,
                            __m512 y[PANELS][TILE])
{
    __m512i sum[PANELS][TILE];
    __m512 scale[PANELS];

    GEM_UNROLL for (int j = 0; j < m; j++)
    {
        const __m512i offset = _mm512_set1_epi32(gem_act_offset(&o->x, j, g, l));
        GEM_UNROLL for (int p = 0; p < np; p++) sum[p][j] = offset;
    }
    dot_group(l, o, g, np, m, sum);
    GEM_UNROLL for (int p = 0; p < np; p++) scale[p] = load_scales(l, o, p, g, 0);
    GEM_UNROLL for (int j = 0; j < m; j++)
    {
        const __m512 xs = _mm512_set1_ps(gem_act_at(&o->x, j)->scale);
        GEM_UNROLL for (int p = 0; p < np; p++)
        {
            y[p][j] = _mm512_fmadd_ps(_mm512_mul_ps(scale[p], xs), _mm512_cvtepi32_ps(sum[p][j]), y[p][j]);
        }
    }
}

/* t += scale * (sum code * q) - min * (sum q) over group g. */
GEM_INLINE void dot_min(struct gem_pack_layout l, const struct operands *o, int g, int np, int m,
                        __m512 t[PANELS][TILE])
{
    __m512i sum[PANELS][TILE];
    __m512 scale[PANELS], min[PANELS];

    GEM_UNROLL for (int p = 0; p < np; p++)
    {
        GEM_UNROLL for (int j = 0; j < m; j++) sum[p][j] = _mm512_setzero_si512();
    }
    dot_group(l, o, g, np, m, sum);
    GEM_UNROLL for (int p = 0; p < np; p++)
    {
        scale[p] = load_scales(l, o, p, g, 0);
        min[p] = load_scales(l, o, p, g, 1);
    }
    GEM_UNROLL for (int j = 0; j < m; j++)
    {
        const __m512 sum_q = _mm512_set1_ps((float)gem_act_sum(&o->x, j, g, l.group));
        GEM_UNROLL for (int p = 0; p < np; p++)
        {
            t[p][j] = _mm512_fnmadd_ps(min[p], sum_q, t[p][j]);
            t[p][j] = _mm512_fmadd_ps(scale[p], _mm512_cvtepi32_ps(sum[p][j]), t[p][j]);
        }
    }
}

/* y += xscale * (the groups of a block, in order of k) */
GEM_INLINE void add_min(struct gem_pack_layout l, const struct operands *o, int np, int m, __m512 y[PANELS][TILE])
{
    __m512 t[PANELS][TILE];

    GEM_UNROLL for (int p = 0; p < np; p++) { GEM_UNROLL for (int j = 0; j < m; j++) t[p][j] = _mm512_setzero_ps(); }
    dot_min(l, o, 0, np, m, t);
    if (l.group == 16) dot_min(l, o, 1, np, m, t);
    GEM_UNROLL for (int p = 0; p < np; p++)
    {
        GEM_UNROLL for (int j = 0; j < m; j++)
        {
            y[p][j] = _mm512_fmadd_ps(_mm512_set1_ps(gem_act_at(&o->x, j)->scale), t[p][j], y[p][j]);
        }
    }
}

GEM_INLINE void add_block(struct gem_pack_layout l, const struct operands *o, int np, int m, __m512 y[PANELS][TILE])
{
    if (!l.implied) {
        add_min(l, o, np, m, y);
        return;
    }
    add_implied(l, o, 0, np, m, y);
    if (l.group == 16) add_implied(l, o, 1, np, m, y);
}

/* Several activations keep a tile so long at a block that the processor does not run ahead to the next memory by
 * itself: 8 activations and a matrix in memory, Q4_0: 11 GB/s of weights without, 20 with. One activation loses. */
GEM_INLINE void ask_ahead(struct gem_pack_layout l, const struct operands *o, int np)
{
    enum { AHEAD = 2048 };

    GEM_UNROLL for (int p = 0; p < np; p++)
    {
        GEM_UNROLL for (size_t at = 0; at < l.block_bytes; at += 64)
            _mm_prefetch((const char *)block_of(o, p) + AHEAD + at, _MM_HINT_T0);
    }
}

/* np panels times m activations; the first n_rows rows are written. kind, np and m are constants where it is called. */
GEM_INLINE void tile(enum gem_pack_kind kind, int np, int m, const uint8_t *panel, size_t panel_bytes,
                     struct gem_act_cursor x, size_t n_blocks, float *y, size_t ldy, size_t n_rows, bool fresh)
{
    const struct gem_pack_layout l = gem_pack_layout(kind);
    struct operands o = {panel, panel, panel_bytes, x};
    __m512 acc[PANELS][TILE];

    GEM_UNROLL for (int p = 0; p < np; p++) { GEM_UNROLL for (int j = 0; j < m; j++) acc[p][j] = _mm512_setzero_ps(); }
    for (size_t run = l.head_bytes ? l.n_blocks : n_blocks; n_blocks; n_blocks -= run, o.head = o.block) {
        o.block = o.head + l.head_bytes;
        GEM_ROLLED for (size_t i = 0; i < run; i++, o.block += l.block_bytes, gem_act_next(&o.x))
        {
            if (m > 1 && fresh) ask_ahead(l, &o, np);
            add_block(l, &o, np, m, acc);
        }
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
GEM_PACK_KINDS(GEMM)

void gem_kernels_packed_avx512(struct gem_kernels *k)
{
    k->quantize = quantize;
#define INSTALL(kind) k->gemm_packed[GEM_PK_##kind] = gemm_##kind;
    GEM_PACK_KINDS(INSTALL)
}
