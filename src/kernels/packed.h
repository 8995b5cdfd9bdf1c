/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/packed.h - how the groups of a panel lie in memory (kernels.h, PANELS), for those who write and read
 * them: pack.c, packed*.c and their test. */
#ifndef GEM_KERNELS_PACKED_H
#define GEM_KERNELS_PACKED_H

#include "kernels/kernels.h"

#include <math.h>

/* A panel is a sequence of runs: a head, then blocks of 32 columns, each codes and then for each of its groups 16
 * scales and (implied 0) 16 mins. */
struct gem_pack_layout {
    uint16_t bits, group;             /* of a code; consecutive k that share a scale */
    uint16_t implied;                 /* w = scale * (code - implied); 0: groups have mins */
    uint16_t scale_bytes;             /* 2: float16; 1: int8, times a float16 of the head */
    uint16_t code_bytes, block_bytes; /* for 16 rows */
    uint16_t head_bytes, n_blocks;    /* of a run */
};

#define GEM_LAYOUT(bits, group, implied, scale_bytes)                                                                  \
    {                                                                                                                  \
        bits, group, implied, scale_bytes, 64 * (bits),                                                                \
            64 * (bits) + 32 / (group) * ((implied) ? 16 : 32) * (scale_bytes),                                        \
            (scale_bytes) == 2 ? 0 : ((implied) ? 32 : 64), (scale_bytes) == 2 ? 1 : 8,                                \
    }

static inline struct gem_pack_layout gem_pack_layout(enum gem_pack_kind kind)
{
    static const struct gem_pack_layout layouts[GEM_N_PK] = {
        [GEM_PK_Q4] = GEM_LAYOUT(4, 32, 8, 2),    [GEM_PK_Q5] = GEM_LAYOUT(5, 32, 16, 2),
        [GEM_PK_Q8] = GEM_LAYOUT(8, 32, 128, 2),  [GEM_PK_Q4M] = GEM_LAYOUT(4, 32, 0, 2),
        [GEM_PK_Q5M] = GEM_LAYOUT(5, 32, 0, 2),   [GEM_PK_Q4K] = GEM_LAYOUT(4, 32, 0, 1),
        [GEM_PK_Q4K16] = GEM_LAYOUT(4, 16, 0, 1), [GEM_PK_Q5K] = GEM_LAYOUT(5, 32, 0, 1),
        [GEM_PK_Q6K] = GEM_LAYOUT(6, 16, 32, 1),  [GEM_PK_Q8K] = GEM_LAYOUT(8, 32, 128, 1),
    };
    return layouts[kind];
}

/* Of codes of 5 or 6 bits, 4 columns from k have what is above nibbles in one field of the vectors that follow those of
 * nibbles: which, in which vector, and from which bit up. */
static inline int gem_field(int k) { return k % 16 / 4 * 2 + k / 16; }
static inline int gem_field_vector(struct gem_pack_layout l, int field) { return 4 + field * (l.bits - 4) / 8; }
static inline int gem_field_bit(struct gem_pack_layout l, int field) { return field * (l.bits - 4) % 8; }

/* From the start of a block to the 16 scales (which 0) or mins (1) of group g. */
static inline size_t gem_scales_offset(struct gem_pack_layout l, int g, int which)
{
    return l.code_bytes + (size_t)(l.implied ? g : 2 * g + which) * GEM_PANEL * l.scale_bytes;
}

/* The code of row `row`, column kk < 32 of a block. */
static inline int gem_panel_code(struct gem_pack_layout l, const uint8_t *codes, int row, int kk)
{
    const int lane = 4 * row + kk % 4;
    int code;

    if (l.bits == 8) return codes[kk / 4 * 64 + lane];
    code = codes[kk % 16 / 4 * 64 + lane] >> kk / 16 * 4 & 15;
    if (l.bits > 4) {
        const int field = gem_field(kk),
                  upper = codes[gem_field_vector(l, field) * 64 + lane] >> gem_field_bit(l, field);
        code |= (upper << 4) & ((1 << l.bits) - 1);
    }
    return code;
}

/* The scale (which 0) or min (1) of group g of a block, whose run begins at head. */
static inline float gem_panel_scale(struct gem_pack_layout l, const uint8_t *head, const uint8_t *block, int row, int g,
                                    int which)
{
    const uint8_t *scales = block + gem_scales_offset(l, g, which), *half = head + 32 * which;
    uint16_t h;

    memcpy(&h, (l.scale_bytes == 2 ? scales : half) + 2 * row, sizeof h);
    return l.scale_bytes == 2 ? gem_f16_to_f32(h) : gem_f16_to_f32(h) * (float)((scales[row] ^ 0x80) - 0x80);
}

/* All of them, for tables and instances. */
#define GEM_PACK_KINDS(X) X(Q4) X(Q8) X(Q4M) X(Q5) X(Q5M) X(Q4K) X(Q4K16) X(Q5K) X(Q6K) X(Q8K)

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

/* Where a tile stands in its activations: block of the first; those of the others lie `bytes` apart. */
struct gem_act_cursor {
    const char *block;
    size_t bytes;
};

/* On to the next block. The compiler must not see through these numbers: gcc 12 would keep a pointer for each
 * activation, run out of registers, and lose a quarter of the speed. */
GEM_INLINE void gem_act_next(struct gem_act_cursor *x)
{
    x->block += sizeof(struct gem_act_block);
    __asm__("" : "+r"(x->block), "+r"(x->bytes));
}

GEM_INLINE const struct gem_act_block *gem_act_at(const struct gem_act_cursor *x, int j)
{
    return (const struct gem_act_block *)(const void *)(x->block + (size_t)j * x->bytes);
}

/* Four values of activation j, as one number that vectors broadcast. */
GEM_INLINE int32_t gem_act_four(const struct gem_act_cursor *x, int j, int at)
{
    int32_t i;
    memcpy(&i, gem_act_at(x, j)->q + at, sizeof i);
    return i;
}

/* The sum of q over group g of the block. */
GEM_INLINE int32_t gem_act_sum(const struct gem_act_cursor *x, int j, int g, int group)
{
    const int32_t *sum = gem_act_at(x, j)->sum;
    return group == 32 ? sum[0] + sum[1] : sum[g];
}

/* -implied * (sum of q over group g) */
GEM_INLINE int32_t gem_act_offset(const struct gem_act_cursor *x, int j, int g, struct gem_pack_layout l)
{
    return l.group == 32 ? l.implied / 8 * gem_act_at(x, j)->offset : -l.implied * gem_act_sum(x, j, g, l.group);
}

/* Some panels, panel_bytes apart, times some activations; only the first n_rows rows of y are written. fresh: no tile
 * has read the panels just before, so that they may come from memory. */
typedef void gem_tile_fn(const uint8_t *panel, size_t panel_bytes, struct gem_act_cursor x, size_t n_blocks, float *y,
                         size_t ldy, size_t n_rows, bool fresh);

/* gemm_packed out of tiles[p * n_acts + j], which take p + 1 <= n_tile panels and j + 1 <= n_acts activations.
 * Activations go in blocks that fill about a third of a megabyte of L2 and stay there while all panels pass by; panels
 * then wait in L1 or L2 for the tiles of the block. */
static inline void gem_gemm_tiles(gem_tile_fn *const *tiles, size_t n_tile, size_t n_acts, uint64_t panel_bytes,
                                  const uint8_t *panels, size_t n_panels, size_t n_rows, const void *act, size_t m,
                                  float *y, size_t ldy, size_t k)
{
    const size_t act_bytes = gem_act_bytes(k), fit = ((size_t)320 << 10) / (act_bytes * n_acts);
    const size_t block = (fit ? fit : 1) * n_acts, used = (n_rows + GEM_PANEL - 1) / GEM_PANEL;

    if (n_panels > used) n_panels = used;
    if (m == 1) n_tile = 1; /* nothing to share: one stream of memory is read faster than two (37 against 30 GB/s) */
    for (size_t j0 = 0; j0 < m; j0 += block) {
        const size_t end = m - j0 < block ? m : j0 + block;
        for (size_t p = 0; p < n_panels; p += n_tile) {
            const size_t np = n_panels - p < n_tile ? n_panels - p : n_tile;
            for (size_t j = j0; j < end; j += n_acts) {
                const size_t n = end - j < n_acts ? end - j : n_acts;
                const struct gem_act_cursor x = {(const char *)act + j * act_bytes, act_bytes};
                tiles[(np - 1) * n_acts + n - 1](panels + p * panel_bytes, panel_bytes, x, k / GEM_ACT_BLOCK,
                                                 y + j * ldy + p * GEM_PANEL, ldy, n_rows - p * GEM_PANEL, j == j0);
            }
        }
    }
}

/* tile_<kind>_<np>_<m> out of a file's own tile(kind, np, m, ...), to which all three are constants. */
#define GEM_TILE(kind, np, m)                                                                                          \
    static void tile_##kind##_##np##_##m(const uint8_t *panel, size_t panel_bytes, struct gem_act_cursor x,            \
                                         size_t n_blocks, float *y, size_t ldy, size_t n_rows, bool fresh)             \
    {                                                                                                                  \
        tile(GEM_PK_##kind, np, m, panel, panel_bytes, x, n_blocks, y, ldy, n_rows, fresh);                            \
    }
/* gemm_<kind> out of its tiles. */
#define GEM_GEMM_OF_TILES(kind, n_tile, n_acts, ...)                                                                   \
    static void gemm_##kind(const uint8_t *panels, size_t n_panels, size_t n_rows, const void *act, size_t m,          \
                            float *y, size_t ldy, size_t k)                                                            \
    {                                                                                                                  \
        static gem_tile_fn *const tiles[(n_tile) * (n_acts)] = {__VA_ARGS__};                                          \
        gem_gemm_tiles(tiles, n_tile, n_acts, gem_panel_bytes(GEM_PK_##kind, k), panels, n_panels, n_rows, act, m, y,  \
                       ldy, k);                                                                                        \
    }

#endif
