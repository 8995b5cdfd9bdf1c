/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/unpack.c - rows out of panels (kernels.h, PANELS): for the lookup of embeddings, and for exact products
 * from a file that holds panels only. */
#include "kernels/packed.h"

#include <assert.h>

/* The codes of one row and group: the inverse of put_codes in pack.c. */
static void take_codes(const struct gem_pack_layout *l, const uint8_t *group, size_t row, uint8_t *code)
{
    for (uint32_t v = 0; v < l->code_bytes / 64u; v++) {
        const uint8_t *four = group + 64 * v + 4 * row;
        for (int i = 0; i < 4; i++) {
            code[4 * v + i] = l->bits == 4 ? four[i] & 15 : four[i];
            if (l->bits == 4) code[16 + 4 * v + i] = four[i] >> 4;
        }
    }
}

/* Scale and min of w = scale * (code - offset) - min. A panel's min has scale * offset in it, which is exact, and so
 * is taking it out again. */
static void take_scale(const struct gem_pack_layout *l, const uint8_t *group, size_t row, int32_t offset, float *scale,
                       float *min)
{
    uint16_t h;

    if (l->implied) {
        memcpy(&h, group + l->code_bytes + 2 * row, sizeof h);
        *scale = gem_f16_to_f32(h);
        *min = 0;
        return;
    }
    memcpy(scale, group + l->code_bytes + 4 * row, sizeof *scale);
    memcpy(min, group + l->code_bytes + 64 + 4 * row, sizeof *min);
    if (offset) *min -= *scale * (float)offset;
}

void gem_unpack_row(enum gem_type type, const uint8_t *panel, size_t row, size_t k, float *dst)
{
    const struct gem_pack_layout l = gem_pack_layout(gem_pack_kind_of(type));
    const int32_t offset = gem_block_offset(type);
    uint8_t code[32];
    float scale, min;

    assert(l.group != 0 && row < GEM_PANEL && k % l.group == 0);
    for (size_t at = 0; at < k; at += l.group, panel += l.group_bytes) {
        take_codes(&l, panel, row, code);
        take_scale(&l, panel, row, offset, &scale, &min);
        for (uint32_t i = 0; i < l.group; i++) dst[at + i] = scale * (float)(code[i] - offset) - min;
    }
}
