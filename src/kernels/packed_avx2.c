/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/packed_avx2.c - int8 products without VNNI. vpmaddubsw adds two products of a code and an activation
 * into 16 bits and saturates: 255 * 127 * 2 would not fit. So 8-bit codes are multiplied as two nibbles; then all 8
 * additions of a group fit (8 * 15 * 127 * 2 = 30480) and one vpmaddwd widens each sum, times 16 for high nibbles.
 * (The abs/sign trick costs as many instructions, and needs signed codes.) */
#include "kernels/simd_packed256.h"

enum { TILE = 4, OFFSET_LAST = 1 }; /* activations whose 8 vectors of 16-bit sums fit beside the codes */

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

/* sum[j] = sum of code * q for 8 rows, whose codes in group g have more than 4 bits. */
GEM_INLINE void dot_wide(struct gem_pack_layout l, const struct operands *o, const uint8_t *codes, int g, int m,
                         __m256i *sum)
{
    const int n_vectors = l.bits == 8 ? 8 : 4;
    __m256i lo[TILE], hi[TILE];

    GEM_UNROLL for (int j = 0; j < m; j++) lo[j] = hi[j] = _mm256_setzero_si256();
    GEM_UNROLL for (int v = 0; v < n_vectors; v++)
    {
        const __m256i c = load_codes(codes + 64 * v);
        if (l.bits == 8) add_products(low_nibbles(c), high_nibbles(c), &o->x, 4 * v, m, lo, hi);
        if (l.bits < 8 && (l.group == 32 || g == 0))
            add_products(low_nibbles(c), upper_bits(l, codes, 4 * v), &o->x, 4 * v, m, lo, hi);
        if (l.bits < 8 && (l.group == 32 || g == 1))
            add_products(high_nibbles(c), upper_bits(l, codes, 4 * v + 16), &o->x, 4 * v + 16, m, lo, hi);
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
        dot_wide(l, o, o->block, g, m, sum);
        dot_wide(l, o, o->block + 32, g, m, sum + TILE);
    }
}

#include "kernels/simd_packed256_tile.h"

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
