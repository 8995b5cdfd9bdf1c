/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/pack.c - quantised rows of a file become panels (kernels.h, PANELS). */
#include "kernels/packed.h"

#include <assert.h>

enum gem_pack_kind gem_pack_kind_of(enum gem_type type)
{
    static const uint8_t kinds[GEM_N_TYPES] = {
        [GEM_Q4_0] = GEM_PK_Q4,    [GEM_Q8_0] = GEM_PK_Q8,    [GEM_Q4_1] = GEM_PK_Q4M,   [GEM_Q4_K] = GEM_PK_Q4M,
        [GEM_Q5_0] = GEM_PK_Q8,    [GEM_Q5_1] = GEM_PK_Q8M,   [GEM_Q5_K] = GEM_PK_Q8M,   [GEM_IQ4_NL] = GEM_PK_Q8,
        [GEM_IQ4_XS] = GEM_PK_Q8M, [GEM_Q2_K] = GEM_PK_Q8M16, [GEM_Q3_K] = GEM_PK_Q8M16, [GEM_Q6_K] = GEM_PK_Q8M16,
    };
    return (uint32_t)type < GEM_N_TYPES ? (enum gem_pack_kind)kinds[type] : GEM_PK_NONE;
}

uint64_t gem_panel_bytes(enum gem_pack_kind kind, size_t k)
{
    const struct gem_pack_layout l = gem_pack_layout(kind);
    return l.group ? (uint64_t)k / l.group * l.group_bytes : 0;
}

/* The codes of one row and group, plus `more`, 4 at a time, to where their vectors want them. */
static void put_codes(const struct gem_pack_layout *l, const uint8_t *code, uint32_t more, uint32_t row, uint8_t *group)
{
    for (uint32_t v = 0; v < l->code_bytes / 64u; v++) {
        uint32_t four, high;
        memcpy(&four, code + 4 * v, sizeof four);
        if (l->bits == 4) { /* codes below 16: no bit crosses into the next byte */
            memcpy(&high, code + 16 + 4 * v, sizeof high);
            four |= high << 4;
        }
        four += more * 0x01010101; /* no sum exceeds a byte */
        memcpy(group + 64 * v + 4 * row, &four, sizeof four);
    }
}

/* Scale and min of group g. Both are exact: a float32 has room for an offset of at most 8 bits more. */
static void put_scale(const struct gem_pack_layout *l, const struct gem_block *b, uint32_t g, uint32_t row,
                      uint8_t *group)
{
    const float min = b->min[g] + b->scale[g] * (float)b->offset;

    if (l->implied) { /* the scale was a float16 in the file and is one again */
        const uint16_t h = gem_f32_to_f16(b->scale[g]);
        memcpy(group + l->code_bytes + 2 * row, &h, sizeof h);
        return;
    }
    memcpy(group + l->code_bytes + 4 * row, &b->scale[g], sizeof b->scale[g]);
    memcpy(group + l->code_bytes + 64 + 4 * row, &min, sizeof min);
}

void gem_pack_panel(enum gem_type type, const uint8_t *rows, size_t row_bytes, size_t n_rows, size_t k, uint8_t *dst)
{
    const enum gem_pack_kind kind = gem_pack_kind_of(type);
    const struct gem_pack_layout l = gem_pack_layout(kind);
    const struct gem_type_info *t = gem_type_info(type);
    struct gem_block b;
    uint32_t more;

    assert(l.group != 0 && n_rows <= GEM_PANEL && k % t->block == 0);
    if (n_rows < GEM_PANEL) memset(dst, 0, gem_panel_bytes(kind, k)); /* scale 0: padding rows are zero */
    for (size_t i = 0; i < k / t->block; i++) {
        for (uint32_t row = 0; row < n_rows; row++) {
            uint8_t *group = dst + i * (t->block / l.group) * l.group_bytes;
            gem_block_load(type, rows + row * row_bytes + i * t->bytes, &b);
            more = l.implied ? l.implied - (uint32_t)b.offset : 0;
            assert(b.group == l.group && (l.bits == 8 || !more));
            for (uint32_t g = 0; g < b.n / b.group; g++, group += l.group_bytes) {
                put_codes(&l, b.code + g * b.group, more, row, group);
                put_scale(&l, &b, g, row, group);
            }
        }
    }
}
