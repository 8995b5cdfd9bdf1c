/* SPDX-License-Identifier: Apache-2.0
 * config.json: whatever is accepted must be a model whose sizes can be computed without overflow. */
#include "model/forward.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct gem_hparams h;
    gem_error err = {0};

    if (gem_hparams_from_config(&h, "config.json", data, size, &err)) {
        if (err.code == GEM_OK || err.message[0] == 0) abort(); /* a failure must say why */
        return 0;
    }
    for (uint32_t i = 0; i < h.n_layers; i++) {
        const struct gem_layer_hparams *l = &h.layers[i];
        if (l->kv_layer >= h.n_own || h.n_heads % l->n_kv_heads || l->head_dim % 2) abort();
        if (h.layers[l->kv_layer].head_dim != l->head_dim || h.layers[l->kv_layer].global != l->global) abort();
    }
    if (h.rope_local.n_rot > 2048 || h.rope_global.n_rot > 2048 || h.placeholders[0] >= (int64_t)h.vocab) abort();
    if (gem_forward_bytes(&h, 4096, 256) == 0) abort();
    if (gem_cache_bytes(&h, GEM_CACHE_F32, h.context, h.context) == 0) abort();
    gem_hparams_size_label(&h);
    return 0;
}
