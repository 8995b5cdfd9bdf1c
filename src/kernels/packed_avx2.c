/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/packed_avx2.c - int8 products without VNNI. vpmaddubsw adds two products of a code and an activation
 * into 16 bits and saturates: 255 * 127 * 2 would not fit. So 8-bit codes are multiplied as two nibbles; then all 8
 * additions of a group fit (8 * 15 * 127 * 2 = 30480) and one vpmaddwd widens each sum, times 16 for high nibbles.
 * (The abs/sign trick costs as many instructions, and needs signed codes.)
 *
 * SAME BITS: an output is one lane of one float accumulator, and takes its groups in order of k. How many activations
 * share a tile changes only who else is in registers. The operations on floats are those of packed_avx512.c. */
#include "kernels/packed.h"
#include "kernels/simd.h"

enum { TILE = 4 }; /* activations whose 8 vectors of 16-bit sums fit beside the codes */

/* Makes the compiler add now and in place. gcc 12 would rather reorder the additions of a loop, run out of registers,
 * and lose a quarter of the speed (4 activations, Q4: 0.20 against 0.24 TOPS, Q8: 0.10 against 0.13). */
#if defined(GEM_SIMDE)
#define KEEP(v) (void)0
#else
#define KEEP(v) __asm__("" : "+x"(v))
#endif

/* ---- activations ------------------------------------------------------------------------------------------- */

static int32_t reduce_add(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));

    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return _mm_cvtsi128_si32(s);
}

static uint32_t max_bits(const __m256 *x)
{
    const __m256i abs = _mm256_set1_epi32(0x7fffffff);
    __m256i v = _mm256_and_si256(_mm256_castps_si256(x[0]), abs);
    __m128i s;

    for (int i = 1; i < 4; i++) v = _mm256_max_epi32(v, _mm256_and_si256(_mm256_castps_si256(x[i]), abs));
    s = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_max_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_max_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(s);
}

/* 16 values to int8, to nearest even (the default rounding mode); returns their sum. */
static int32_t quantize_half(int8_t *q, const __m256 *x, float inverse)
{
    const __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(x[0], _mm256_set1_ps(inverse)));
    const __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(x[1], _mm256_set1_ps(inverse)));
    const __m256i ab = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8); /* undo the interleaving of lanes */

    _mm_storeu_si128((__m128i *)q, _mm_packs_epi16(_mm256_castsi256_si128(ab), _mm256_extracti128_si256(ab, 1)));
    return reduce_add(_mm256_add_epi32(a, b));
}

static void quantize(void *act, const float *x, size_t k)
{
    struct gem_act_block *out = act;

    for (size_t b = 0; b < k / GEM_ACT_BLOCK; b++, x += GEM_ACT_BLOCK, out++) {
        const __m256 v[4] = {_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8), _mm256_loadu_ps(x + 16),
                             _mm256_loadu_ps(x + 24)};
        const struct gem_act_factor f = gem_act_factor(max_bits(v));

        *out = (struct gem_act_block){.scale = f.scale};
        if (f.inverse == 0.0f) continue;
        out->sum[0] = quantize_half(out->q, v, f.inverse);
        out->sum[1] = quantize_half(out->q + 16, v + 2, f.inverse);
        out->offset = -8 * (out->sum[0] + out->sum[1]);
    }
}

/* ---- products ---------------------------------------------------------------------------------------------- */

/* a[j] += ca * q, b[j] += cb * q for 4 bytes of activation j: 16-bit sums, lanes 2 i and 2 i + 1 of row i. */
GEM_INLINE void add_products(__m256i ca, __m256i cb, const struct gem_act_cursor *x, int at, int m, __m256i *a,
                             __m256i *b)
{
    GEM_UNROLL for (int j = 0; j < m; j++)
    {
        const __m256i q = _mm256_set1_epi32(gem_act_four(x, j, at));
        a[j] = _mm256_add_epi16(a[j], _mm256_maddubs_epi16(ca, q));
        KEEP(a[j]);
        b[j] = _mm256_add_epi16(b[j], _mm256_maddubs_epi16(cb, q));
        KEEP(b[j]);
    }
}

GEM_INLINE __m256i low_nibbles(__m256i c) { return _mm256_and_si256(c, _mm256_set1_epi8(15)); }
GEM_INLINE __m256i high_nibbles(__m256i c) { return low_nibbles(_mm256_srli_epi16(c, 4)); }
GEM_INLINE __m256i load_codes(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)p); }

/* What a tile works on: a panel, the block that it stands at, and its activations. */
struct operands {
    const uint8_t *head, *block;
    struct gem_act_cursor x;
};

/* sum[j] = sum of code * q for rows 0..7, sum[TILE + j] for rows 8..15, over group g of 4-bit codes. */
GEM_INLINE void dot_4_bit(struct gem_pack_layout l, const struct operands *o, int g, int m, __m256i *sum)
{
    const uint8_t *codes = o->block;
    __m256i s0[TILE], s1[TILE];

    GEM_UNROLL for (int j = 0; j < m; j++) s0[j] = s1[j] = _mm256_setzero_si256();
    GEM_ROLLED for (int k = 0; k < 16; k += 4, codes += 64)
    {
        if (l.group == 32 || g == 0)
            add_products(low_nibbles(load_codes(codes)), low_nibbles(load_codes(codes + 32)), &o->x, k, m, s0, s1);
        if (l.group == 32 || g == 1)
            add_products(high_nibbles(load_codes(codes)), high_nibbles(load_codes(codes + 32)), &o->x, k + 16, m, s0,
                         s1);
    }
    GEM_UNROLL for (int j = 0; j < m; j++)
    {
        sum[j] = _mm256_madd_epi16(s0[j], _mm256_set1_epi16(1));
        sum[TILE + j] = _mm256_madd_epi16(s1[j], _mm256_set1_epi16(1));
    }
}

/* What is above the nibbles of columns k..k + 3, of 8 rows. */
GEM_INLINE __m256i upper_bits(struct gem_pack_layout l, const uint8_t *codes, int k)
{
    const int field = gem_field(k);
    const __m256i upper = load_codes(codes + 64 * gem_field_vector(l, field));
    return _mm256_and_si256(_mm256_srli_epi16(upper, gem_field_bit(l, field)),
                            _mm256_set1_epi8((char)((1 << (l.bits - 4)) - 1)));
}

/* sum[j] = sum of code * q for 8 rows, whose codes in group g have more than 4 bits. */
GEM_INLINE void dot_wide(struct gem_pack_layout l, const uint8_t *codes, const struct gem_act_cursor *x, int g, int m,
                         __m256i *sum)
{
    const int n_vectors = l.bits == 8 ? 8 : 4;
    __m256i lo[TILE], hi[TILE];

    GEM_UNROLL for (int j = 0; j < m; j++) lo[j] = hi[j] = _mm256_setzero_si256();
    GEM_UNROLL for (int v = 0; v < n_vectors; v++)
    {
        const __m256i c = load_codes(codes + 64 * v);
        if (l.bits == 8) add_products(low_nibbles(c), high_nibbles(c), x, 4 * v, m, lo, hi);
        if (l.bits < 8 && (l.group == 32 || g == 0))
            add_products(low_nibbles(c), upper_bits(l, codes, 4 * v), x, 4 * v, m, lo, hi);
        if (l.bits < 8 && (l.group == 32 || g == 1))
            add_products(high_nibbles(c), upper_bits(l, codes, 4 * v + 16), x, 4 * v + 16, m, lo, hi);
    }
    GEM_UNROLL for (int j = 0; j < m; j++)
    {
        const __m256i low = _mm256_madd_epi16(lo[j], _mm256_set1_epi16(1));
        sum[j] = _mm256_add_epi32(low, _mm256_madd_epi16(hi[j], _mm256_set1_epi16(16)));
    }
}

/* Both halves of a panel and codes of any width. */
GEM_INLINE void dot_group(struct gem_pack_layout l, const struct operands *o, int g, int m, __m256i *sum)
{
    if (l.bits == 4) {
        dot_4_bit(l, o, g, m, sum);
    } else {
        dot_wide(l, o->block, &o->x, g, m, sum);
        dot_wide(l, o->block + 32, &o->x, g, m, sum + TILE);
    }
}

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
        const __m256i offset = _mm256_set1_epi32(gem_act_offset(&o->x, j, g, l));
        const __m256 xs = _mm256_set1_ps(gem_act_at(&o->x, j)->scale);
        const __m256 f0 = _mm256_cvtepi32_ps(_mm256_add_epi32(sum[j], offset));
        const __m256 f1 = _mm256_cvtepi32_ps(_mm256_add_epi32(sum[TILE + j], offset));
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
                     struct gem_act_cursor x, size_t n_blocks, float *y, size_t ldy, size_t n_rows)
{
    const struct gem_pack_layout l = gem_pack_layout(kind);
    struct operands o = {panel, panel, x};
    __m256 acc[2 * TILE]; /* rows 0..7, then 8..15 */

    (void)np; /* 1: 16 registers have no room for a second panel */
    (void)panel_bytes;
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

#define GEMM(kind)                                                                                                     \
    GEM_TILE(kind, 1, 1)                                                                                               \
    GEM_TILE(kind, 1, 2)                                                                                               \
    GEM_TILE(kind, 1, 3)                                                                                               \
    GEM_TILE(kind, 1, 4)                                                                                               \
    GEM_GEMM_OF_TILES(kind, 1, TILE, tile_##kind##_1_1, tile_##kind##_1_2, tile_##kind##_1_3, tile_##kind##_1_4)
GEM_PACK_KINDS(GEMM)

void gem_kernels_packed_avx2(struct gem_kernels *k)
{
    k->quantize = quantize;
#define INSTALL(kind) k->gemm_packed[GEM_PK_##kind] = gemm_##kind;
    GEM_PACK_KINDS(INSTALL)
}
