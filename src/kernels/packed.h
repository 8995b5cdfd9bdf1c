/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/packed.h - how the groups of a panel lie in memory (kernels.h, PANELS), for those who write and read
 * them: pack.c, packed*.c and their test. */
#ifndef GEM_KERNELS_PACKED_H
#define GEM_KERNELS_PACKED_H

#include "kernels/kernels.h"

#include <math.h>

/* A group: code_bytes of codes, then 16 scales, then (min) 16 mins. */
struct gem_pack_layout {
    uint16_t bits, group;             /* of a code; consecutive k that share a scale */
    uint16_t code_bytes, group_bytes; /* for 16 rows */
    uint16_t implied;                 /* w = scale * (code - implied), scale float16; 0: scale and min are float32 */
};

static inline struct gem_pack_layout gem_pack_layout(enum gem_pack_kind kind)
{
    static const struct gem_pack_layout layouts[GEM_N_PK] = {
        [GEM_PK_Q4] = {4, 32, 256, 256 + 32, 8},     [GEM_PK_Q8] = {8, 32, 512, 512 + 32, 128},
        [GEM_PK_Q4M] = {4, 32, 256, 256 + 128, 0},   [GEM_PK_Q8M] = {8, 32, 512, 512 + 128, 0},
        [GEM_PK_Q8M16] = {8, 16, 256, 256 + 128, 0},
    };
    return layouts[kind];
}

/* What becomes of a block of activations, from the bits of its max |x| (compared as integers: infinity and NaN come
 * out on top). inverse 0: all q are 0, with scale NaN where a value is not finite, so that outputs are NaN, and scale 0
 * below 2^-100, where the inverse could overflow. */
struct gem_act_factor {
    float scale, inverse;
};

static inline struct gem_act_factor gem_act_factor(uint32_t max_bits)
{
    float max;

    if (max_bits >= 0x7f800000) return (struct gem_act_factor){NAN, 0.0f};
    if (max_bits < 0x0d800000) return (struct gem_act_factor){0.0f, 0.0f};
    memcpy(&max, &max_bits, sizeof max);
    return (struct gem_act_factor){max / 127.0f, 127.0f / max};
}

/* ---- what the tiles of all instruction sets have in common ---------------------------------------------------- */

#if defined(GEM_SIMDE) /* portable vectors are long code: inlined and unrolled, one file takes minutes to compile */
#define GEM_INLINE static inline __attribute__((unused))
#define GEM_UNROLL
#define GEM_ROLLED
#elif defined(__clang__)
#define GEM_INLINE static inline __attribute__((always_inline, unused))
#define GEM_UNROLL _Pragma("clang loop unroll(full)")
#define GEM_ROLLED _Pragma("clang loop unroll(disable)")
#else
#define GEM_INLINE static inline __attribute__((always_inline, unused))
#define GEM_UNROLL _Pragma("GCC unroll 16")
#define GEM_ROLLED _Pragma("GCC unroll 1")
#endif

/* Where a tile stands in its activations: q, scale and sum of the first; the others lie `bytes` apart. */
struct gem_act_cursor {
    const char *q, *scale, *sum;
    size_t bytes;
};

/* On to the next block. The compiler must not see through these numbers: gcc 12 would keep a pointer for each
 * activation and array, run out of registers, and lose a quarter of the speed (AVX-512, Q8: 0.28 against 0.36 TOPS). */
GEM_INLINE void gem_act_next(struct gem_act_cursor *x)
{
    x->q += GEM_ACT_BLOCK;
    x->scale += 4;
    x->sum += 8;
    __asm__("" : "+r"(x->q), "+r"(x->scale), "+r"(x->sum), "+r"(x->bytes));
}

GEM_INLINE int32_t gem_load_i32(const char *p)
{
    int32_t i;
    memcpy(&i, p, sizeof i);
    return i;
}

/* Of activation j at the cursor: the block's scale; the sum of q over the group that starts at half block `half`. */
GEM_INLINE float gem_act_scale_at(const struct gem_act_cursor *x, int j)
{
    float f;
    memcpy(&f, x->scale + (size_t)j * x->bytes, sizeof f);
    return f;
}
GEM_INLINE int32_t gem_act_sum_at(const struct gem_act_cursor *x, int j, int half, int group)
{
    const char *sum = x->sum + (size_t)j * x->bytes + 4 * half;
    return gem_load_i32(sum) + (group == 32 ? gem_load_i32(sum + 4) : 0);
}

/* One panel times some activations; only the first n_rows rows of y are written. */
typedef void gem_tile_fn(const uint8_t *panel, struct gem_act_cursor x, size_t n_blocks, float *y, size_t ldy,
                         size_t n_rows);

/* gemm_packed out of tiles[i], which take i + 1 activations, i < n_tiles. Activations go in blocks that fill about a
 * third of a megabyte of L2 and stay there while all panels pass by; a panel then waits in L1 or L2 for the tiles of
 * the block. */
static inline void gem_gemm_tiles(gem_tile_fn *const *tiles, size_t n_tiles, uint64_t panel_bytes,
                                  const uint8_t *panels, size_t n_panels, size_t n_rows, const void *act, size_t m,
                                  float *y, size_t ldy, size_t k)
{
    const size_t act_bytes = gem_act_bytes(k), fit = ((size_t)320 << 10) / (act_bytes * n_tiles);
    const size_t block = (fit ? fit : 1) * n_tiles;

    for (size_t j0 = 0; j0 < m; j0 += block) {
        const size_t end = m - j0 < block ? m : j0 + block;
        for (size_t p = 0; p < n_panels && p * GEM_PANEL < n_rows; p++) {
            for (size_t j = j0; j < end; j += n_tiles) {
                const size_t n = end - j < n_tiles ? end - j : n_tiles;
                const char *row = (const char *)act + j * act_bytes;
                const struct gem_act_cursor x = {row, row + k, row + k + k / 32 * 4, act_bytes};
                tiles[n - 1](panels + p * panel_bytes, x, k / GEM_ACT_BLOCK, y + j * ldy + p * GEM_PANEL, ldy,
                             n_rows - p * GEM_PANEL);
            }
        }
    }
}

/* tile_<kind>_<m> and gemm_<kind> out of a file's own tile(kind, m, ...), to which kind and m are constants. */
#define GEM_TILE(kind, m)                                                                                              \
    static void tile_##kind##_##m(const uint8_t *panel, struct gem_act_cursor x, size_t n_blocks, float *y,            \
                                  size_t ldy, size_t n_rows)                                                           \
    {                                                                                                                  \
        tile(GEM_PK_##kind, m, panel, x, n_blocks, y, ldy, n_rows);                                                    \
    }
#define GEM_GEMM_OF_TILES(kind, ...)                                                                                   \
    static void gemm_##kind(const uint8_t *panels, size_t n_panels, size_t n_rows, const void *act, size_t m,          \
                            float *y, size_t ldy, size_t k)                                                            \
    {                                                                                                                  \
        static gem_tile_fn *const tiles[TILE] = {__VA_ARGS__};                                                         \
        gem_gemm_tiles(tiles, TILE, gem_panel_bytes(GEM_PK_##kind, k), panels, n_panels, n_rows, act, m, y, ldy, k);   \
    }

#endif
