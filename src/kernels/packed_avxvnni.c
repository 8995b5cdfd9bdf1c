/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/packed_avxvnni.c - int8 products by AVX-VNNI, which processors without AVX-512 have: a vector holds 4
 * codes of each of 8 rows, and vpdpbusd adds 4 products to each row's lane, exactly (255 * 127 * 32 fits 21 bits). */
#include "kernels/simd_packed256.h"

enum {
    TILE = 3,
    OFFSET_LAST = 0
}; /* 6 integer and 6 float accumulators fit the 16 registers beside 2 of codes and a broadcast */

/* The codes of columns k..k + 3 of 8 rows; codes: the block, or 32 bytes on for the other half of the panel. */
GEM_INLINE __m256i columns_of(struct gem_pack_layout l, const uint8_t *codes, int k)
{
    __m256i c;

    if (l.bits == 8) return load_codes(codes + 16 * k);
    c = load_codes(codes + 64 * (k % 16 / 4));
    c = k < 16 ? low_nibbles(c) : high_nibbles(c);
    return l.bits == 4 ? c : _mm256_or_si256(c, _mm256_slli_epi16(upper_bits(l, codes, k), 4));
}

GEM_INLINE void dot_columns(struct gem_pack_layout l, const struct operands *o, int k, int m, __m256i *sum)
{
    const __m256i lo = columns_of(l, o->block, k), hi = columns_of(l, o->block + 32, k);

    GEM_UNROLL for (int j = 0; j < m; j++)
    {
        const __m256i q = _mm256_set1_epi32(gem_act_four(&o->x, j, k));
        sum[j] = _mm256_dpbusd_avx_epi32(sum[j], lo, q);
        sum[TILE + j] = _mm256_dpbusd_avx_epi32(sum[TILE + j], hi, q);
    }
}

GEM_INLINE void dot_group(struct gem_pack_layout l, const struct operands *o, int g, int m, __m256i *sum)
{
    GEM_UNROLL for (int j = 0; j < m; j++) sum[j] = sum[TILE + j] = offset(l, o, g, j);
    GEM_UNROLL for (int i = 0; i < 4; i++)
    {
        if (l.group == 32 || g == 0) dot_columns(l, o, 4 * i, m, sum);
        if (l.group == 32 || g == 1) dot_columns(l, o, 4 * i + 16, m, sum);
    }
}

#include "kernels/simd_packed256_tile.h"

#define GEMM(kind)                                                                                                     \
    GEM_TILE(kind, 1, 1)                                                                                               \
    GEM_TILE(kind, 1, 2)                                                                                               \
    GEM_TILE(kind, 1, 3)                                                                                               \
    GEM_GEMM_OF_TILES(kind, 1, TILE, tile_##kind##_1_1, tile_##kind##_1_2, tile_##kind##_1_3)
GEM_PACK_KINDS(GEMM)

void gem_kernels_packed_avxvnni(struct gem_kernels *k)
{
#define INSTALL(kind) k->gemm_packed[GEM_PK_##kind] = gemm_##kind;
    GEM_PACK_KINDS(INSTALL)
}
