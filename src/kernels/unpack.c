/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/unpack.c - rows out of panels (kernels.h, PANELS): for the lookup of embeddings, and for exact products
 * from a file that holds panels only. */
#include "kernels/packed.h"

#include <assert.h>

static void unpack_block(struct gem_pack_layout l, const uint8_t *head, const uint8_t *block, int row, float *dst)
{
    for (int g = 0; g < 32 / l.group; g++) {
        const float scale = gem_panel_scale(l, head, block, row, g, 0);
        const float min = l.implied ? 0 : gem_panel_scale(l, head, block, row, g, 1);
        for (int i = g * l.group; i < (g + 1) * l.group; i++)
            dst[i] = scale * (float)(gem_panel_code(l, block, row, i) - l.implied) - min;
    }
}

void gem_unpack_row(enum gem_type type, const uint8_t *panel, size_t row, size_t k, float *dst)
{
    const struct gem_pack_layout l = gem_pack_layout(gem_pack_kind_of(type));

    assert(l.group != 0 && row < GEM_PANEL && k % (l.n_blocks * 32u) == 0);
    for (size_t b = 0; b < k / 32; b++, dst += 32) {
        const size_t run_bytes = l.head_bytes + (size_t)l.n_blocks * l.block_bytes;
        const uint8_t *head = panel + b / l.n_blocks * run_bytes;
        unpack_block(l, head, head + l.head_bytes + b % l.n_blocks * l.block_bytes, (int)row, dst);
    }
}
