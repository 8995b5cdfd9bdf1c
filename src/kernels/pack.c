/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/pack.c - quantised rows of a file become panels (kernels.h, PANELS). */
#include "kernels/packed.h"

#include <assert.h>

/* What formats pack to. d: where a block has the float16 that its integer scales and mins are multiplied by. */
static const struct packing {
    uint8_t kind, d[2];
} packings[GEM_N_TYPES] = {
    [GEM_Q4_0] = {GEM_PK_Q4, {0}},    [GEM_Q4_1] = {GEM_PK_Q4M, {0}},    [GEM_Q5_0] = {GEM_PK_Q5, {0}},
    [GEM_Q5_1] = {GEM_PK_Q5M, {0}},   [GEM_Q8_0] = {GEM_PK_Q8, {0}},     [GEM_Q2_K] = {GEM_PK_Q4K16, {80, 82}},
    [GEM_Q3_K] = {GEM_PK_Q6K, {108}}, [GEM_Q4_K] = {GEM_PK_Q4K, {0, 2}}, [GEM_Q5_K] = {GEM_PK_Q5K, {0, 2}},
    [GEM_Q6_K] = {GEM_PK_Q6K, {208}}, [GEM_IQ4_NL] = {GEM_PK_Q8, {0}},   [GEM_IQ4_XS] = {GEM_PK_Q8K, {0}},
};

enum gem_pack_kind gem_pack_kind_of(enum gem_type type)
{
    return (uint32_t)type < GEM_N_TYPES ? (enum gem_pack_kind)packings[type].kind : GEM_PK_NONE;
}

static size_t run_bytes(const struct gem_pack_layout *l)
{
    return l->head_bytes + (size_t)l->n_blocks * l->block_bytes;
}

uint64_t gem_panel_bytes(enum gem_pack_kind kind, size_t k)
{
    const struct gem_pack_layout l = gem_pack_layout(kind);
    return l.group ? (uint64_t)k / (l.n_blocks * 32u) * run_bytes(&l) : 0;
}

/* Four codes plus `more`; no sum exceeds a byte. */
static uint32_t four_codes(const uint8_t *code, uint32_t more)
{
    uint32_t four;
    memcpy(&four, code, sizeof four);
    return four + more * 0x01010101;
}

static void put_four(uint32_t four, uint32_t vector, uint32_t row, uint8_t *block)
{
    memcpy(block + 64 * vector + 4 * row, &four, sizeof four);
}

/* The codes of one row and block, plus `more`, 4 at a time, to where their vectors want them. */
static void put_codes(const struct gem_pack_layout *l, const uint8_t *code, uint32_t more, uint32_t row, uint8_t *block)
{
    uint32_t upper[6] = {0};

    for (uint32_t v = 0; l->bits == 8 && v < 8; v++) put_four(four_codes(code + 4 * v, more), v, row, block);
    for (uint32_t v = 0; l->bits < 8 && v < 4; v++) {
        const int f = (int)(2 * v);
        const uint32_t low = four_codes(code + 4 * v, more), high = four_codes(code + 16 + 4 * v, more);
        put_four((low & 0x0f0f0f0f) | (high & 0x0f0f0f0f) << 4, v, row, block);
        if (l->bits == 4) continue;
        upper[gem_field_vector(*l, f)] |= (low >> 4 & 0x0f0f0f0f) << gem_field_bit(*l, f);
        upper[gem_field_vector(*l, f + 1)] |= (high >> 4 & 0x0f0f0f0f) << gem_field_bit(*l, f + 1);
    }
    for (uint32_t v = 4; v < l->bits && l->bits < 8; v++) put_four(upper[v], v, row, block);
}

/* The integer n of product = d * n, which is exact, so that the quotient is. Where d is 0 all n are as good; where it
 * is not finite, 1 keeps it so. */
static int8_t factor_of(float product, uint16_t d)
{
    const float f = gem_f16_to_f32(d);
    return (int8_t)(f == 0.0f ? 0.0f : isfinite(f) ? product / f : 1.0f);
}

/* A scale (which 0) or min (1) of one row and group, where d is the float16 of its super-block. */
static void put_scale(const struct gem_pack_layout *l, float value, uint16_t d, uint32_t row, uint8_t *scales)
{
    if (l->scale_bytes == 2) { /* was a float16 in the file and is one again */
        const uint16_t h = gem_f32_to_f16(value);
        memcpy(scales + 2 * row, &h, sizeof h);
    } else {
        const int8_t n = factor_of(value, d);
        memcpy(scales + row, &n, sizeof n);
    }
}

/* One block of the file to row `row` of a run. */
static void put_run(enum gem_type type, const uint8_t *src, uint32_t row, uint8_t *run)
{
    const struct gem_pack_layout l = gem_pack_layout(gem_pack_kind_of(type));
    const int n_sets = l.implied ? 1 : 2, n_groups = 32 / l.group;
    struct gem_block b;
    uint16_t d[2];

    gem_block_load(type, src, &b);
    assert(b.group == l.group && b.n == l.n_blocks * 32u && (l.implied ? l.implied >= b.offset : !b.offset));
    for (int set = 0; set < n_sets; set++) {
        d[set] = (uint16_t)(src[packings[type].d[set]] | src[packings[type].d[set] + 1] << 8);
        if (l.head_bytes) memcpy(run + 32 * set + 2 * row, &d[set], sizeof d[set]);
    }
    for (int i = 0; i < l.n_blocks; i++) {
        uint8_t *block = run + l.head_bytes + i * l.block_bytes;
        put_codes(&l, b.code + 32 * i, l.implied ? (uint32_t)(l.implied - b.offset) : 0, row, block);
        for (int g = 0; g < n_groups; g++)
            for (int set = 0; set < n_sets; set++)
                put_scale(&l, (set ? b.min : b.scale)[i * n_groups + g], d[set], row,
                          block + gem_scales_offset(l, g, set));
    }
}

/* Formats whose codes and scale lie in the panel as they do in the block, but for `flip`: n_words 4-byte words of codes
 * and a float16 in front of them. 4 bit: byte i of the block has elements i and 16 + i, which is the panel's order too.
 */
static void pack_copied(const uint8_t *rows, size_t row_bytes, size_t n_rows, size_t n_groups, uint32_t n_words,
                        uint32_t flip, uint8_t *dst)
{
    const uint32_t code_bytes = 64 * n_words, group_bytes = code_bytes + 2 * GEM_PANEL, block = 2 + 4 * n_words;

    for (size_t g = 0; g < n_groups; g++, dst += group_bytes) {
        for (size_t row = 0; row < n_rows; row++) {
            const uint8_t *src = rows + row * row_bytes + g * block;
            memcpy(dst + code_bytes + 2 * row, src, 2);
            for (uint32_t w = 0; w < n_words; w++) {
                uint32_t four;
                memcpy(&four, src + 2 + 4 * w, sizeof four);
                four ^= flip;
                memcpy(dst + 64 * w + 4 * row, &four, sizeof four);
            }
        }
    }
}

void gem_pack_panel(enum gem_type type, const uint8_t *rows, size_t row_bytes, size_t n_rows, size_t k, uint8_t *dst)
{
    const enum gem_pack_kind kind = gem_pack_kind_of(type);
    const struct gem_pack_layout l = gem_pack_layout(kind);
    const struct gem_type_info *t = gem_type_info(type);

    assert(l.group != 0 && n_rows <= GEM_PANEL && k % t->block == 0);
    if (n_rows < GEM_PANEL) memset(dst, 0, gem_panel_bytes(kind, k)); /* scale 0: padding rows are zero */
    if (type == GEM_Q4_0) {
        pack_copied(rows, row_bytes, n_rows, k / 32, 4, 0, dst);
        return;
    }
    if (type == GEM_Q8_0) {
        pack_copied(rows, row_bytes, n_rows, k / 32, 8, 0x80808080, dst);
        return;
    }
    for (size_t i = 0; i < k / t->block; i++)
        for (uint32_t row = 0; row < n_rows; row++)
            put_run(type, rows + row * row_bytes + i * t->bytes, row, dst + i * run_bytes(&l));
}
