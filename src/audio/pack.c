/* SPDX-License-Identifier: Apache-2.0
 *
 * The fast tier: quantised matrices become panels; float ones stay as they are in the file, and on machines that
 * multiply bfloat16 activations are rounded to it (product.c).
 *
 * Rounded once, activations put soft tokens of random towers of twelve layers 2e-2 to 3e-2 away from the exact ones,
 * more than the tier allows, so some matrices take two numbers for each activation. Every layer makes the error of
 * those before it larger: most is won in the first ones, and there by the attention, the convolution and the first
 * feed-forward. In all layers values and output of the attention, a tenth of the work, are worth it; queries and keys
 * are not. In narrow towers, where errors average out less and time is short, all matrices do (docs/performance.md). */
#include "audio/audio.h"

enum { WHOLE = 3, PER_LAYER = 10, EARLY_TWICE = 8, ALWAYS_TWICE = 2 };

/* Says how l is multiplied, and puts it at list[n] if it becomes panels; returns n then. */
static size_t plan(struct gem_audio_linear **list, size_t n, struct gem_audio_linear *l, bool has_bf16, unsigned parts)
{
    if (!l->w.data) return n; /* the 12B has one matrix only */
    if (l->w.kind != GEM_PK_NONE)
        list[n++] = l;
    else if (has_bf16)
        l->parts = parts;
    return n;
}

/* list [WHOLE + PER_LAYER * n_layers] */
static size_t plan_all(struct gem_audio_weights *w, bool has_bf16, struct gem_audio_linear **list)
{
    const bool narrow = w->raw || w->hidden < GEM_NARROW;
    size_t n = plan(list, 0, &w->in, has_bf16, 2);

    n = plan(list, n, &w->out, has_bf16, narrow ? 2 : 1);
    n = plan(list, n, &w->embed, has_bf16, narrow ? 2 : 1);
    for (uint32_t i = 0; i < w->n_layers; i++) {
        struct gem_audio_layer *l = &w->layers[i];
        /* Those first that gain most from two numbers. */
        struct gem_audio_linear *const all[PER_LAYER] = {&l->v,         &l->o,          &l->ffn[0].up, &l->ffn[0].down,
                                                         &l->q,         &l->k,          &l->start,     &l->end,
                                                         &l->ffn[1].up, &l->ffn[1].down};
        const size_t n_twice = narrow ? PER_LAYER : i < (w->n_layers + 3) / 4 ? EARLY_TWICE : ALWAYS_TWICE;
        for (size_t j = 0; j < PER_LAYER; j++) n = plan(list, n, all[j], has_bf16, j < n_twice ? 2 : 1);
    }
    return n;
}

gem_status gem_audio_pack(struct gem_audio_weights *w, const struct gem_kernels *kern, struct gem_pool *pool,
                          gem_error *err)
{
    const size_t most = WHOLE + (size_t)PER_LAYER * w->n_layers;
    struct gem_audio_linear **list = gem_calloc(most, sizeof *list, "a list of matrices", err);
    gem_status st = GEM_E_NOMEM;
    uint8_t *dst;
    size_t n;

    if (!list) return st;
    n = plan_all(w, kern->has_bf16, list);
    for (size_t i = 0; i < n; i++) w->packed_bytes += gem_align_up(gem_matrix_panel_bytes(&list[i]->w));
    if (w->packed_bytes && !(w->packed = gem_alloc_aligned(w->packed_bytes, "packed audio weights", err))) goto out;
    dst = w->packed;
    for (size_t i = 0; i < n; i++) {
        gem_matrix_pack(&list[i]->w, NULL, dst, pool);
        list[i]->w.panels = dst;
        dst += gem_align_up(gem_matrix_panel_bytes(&list[i]->w));
    }
    st = GEM_OK;
out:
    gem_free(list);
    return st;
}
