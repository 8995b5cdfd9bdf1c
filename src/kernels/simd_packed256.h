/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/simd_packed256.h - packed products in vectors of 8 rows: what the tiers that have them share. A file
 * that includes this defines
 *     enum { TILE, OFFSET_LAST };  how many activations share a tile; whether offset() is added to what dot_group gives
 *                                  (or has been, at its beginning: free for VNNI, costs vpmaddubsw registers)
 *     dot_group(l, o, g, m, sum)   sum[j] = sum of code * q over group g for rows 0..7 of the panel, sum[TILE + j] for
 *                                  rows 8..15, exactly, for the activations j < m
 * and then includes simd_packed256_tile.h, which makes tiles of it.
 *
 * SAME BITS: an output is one lane of one float accumulator, and takes its groups in order of k. How many activations
 * share a tile changes only who else is in registers. The operations on floats are those of packed_avx512.c. */
#ifndef GEM_KERNELS_SIMD_PACKED256_H
#define GEM_KERNELS_SIMD_PACKED256_H

#include "kernels/packed.h"
#include "kernels/simd.h"

/* What a tile works on: a panel, the block that it stands at, and its activations. */
struct operands {
    const uint8_t *head, *block;
    struct gem_act_cursor x;
};

/* -implied * sum q over group g of activation j, where codes stand that much above 0. */
GEM_INLINE __m256i offset(struct gem_pack_layout l, const struct operands *o, int g, int j)
{
    return l.implied ? _mm256_set1_epi32(gem_act_offset(&o->x, j, g, l)) : _mm256_setzero_si256();
}

GEM_INLINE __m256i low_nibbles(__m256i c) { return _mm256_and_si256(c, _mm256_set1_epi8(15)); }
GEM_INLINE __m256i high_nibbles(__m256i c) { return low_nibbles(_mm256_srli_epi16(c, 4)); }
GEM_INLINE __m256i load_codes(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)p); }

/* What is above the nibbles of columns k..k + 3, of 8 rows. */
GEM_INLINE __m256i upper_bits(struct gem_pack_layout l, const uint8_t *codes, int k)
{
    const int field = gem_field(k);
    const __m256i upper = load_codes(codes + 64 * gem_field_vector(l, field));
    return _mm256_and_si256(_mm256_srli_epi16(upper, gem_field_bit(l, field)),
                            _mm256_set1_epi8((char)((1 << (l.bits - 4)) - 1)));
}

#endif
