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

#include "base/file.h"

struct item {
    struct gem_audio_linear *l;
    enum gem_pack_kind kind; /* GEM_PK_NONE: stays as it is */
    uint64_t panel_bytes;
    size_t n_panels;
    uint8_t *dst;
};

static void plan(struct item *it, struct gem_audio_linear *l, const struct gem_kernels *kern, unsigned parts)
{
    const struct gem_matrix *m = &l->w;

    if (!m->data) return; /* the 12B has one matrix only */
    it->l = l;
    it->kind = m->cols % GEM_ACT_BLOCK == 0 ? gem_pack_kind_of(m->type) : GEM_PK_NONE;
    if (it->kind != GEM_PK_NONE) {
        it->panel_bytes = gem_panel_bytes(it->kind, m->cols);
        it->n_panels = ((size_t)m->rows + GEM_PANEL - 1) / GEM_PANEL;
    } else if (gem_pack_kind_of(m->type) == GEM_PK_NONE && kern->has_bf16) {
        l->parts = parts;
    }
}

static void pack_panels(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct item *it = context;
    const struct gem_matrix *m = &it->l->w;

    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const size_t first = i * GEM_PANEL, left = m->rows - first;
        gem_pack_panel(m->type, m->data + first * m->row_bytes, (size_t)m->row_bytes,
                       left < GEM_PANEL ? left : GEM_PANEL, m->cols, it->dst + i * it->panel_bytes);
    }
}

static void pack(struct gem_pool *pool, struct item *it)
{
    struct gem_matrix *m = &it->l->w;

    gem_map_prefetch(m->data, m->row_bytes * m->rows);
    gem_pool_run(pool, it->n_panels, 4, pack_panels, it);
    gem_map_release(m->data, m->row_bytes * m->rows);
    m->kind = it->kind;
    m->panels = it->dst;
}

enum { WHOLE = 3, PER_LAYER = 10, EARLY_TWICE = 8, ALWAYS_TWICE = 2 };

/* items [WHOLE + PER_LAYER * n_layers], zero; returns the bytes of all that is packed. */
static uint64_t plan_all(struct gem_audio_weights *w, const struct gem_kernels *kern, struct item *items, size_t n)
{
    const bool narrow = w->raw || w->hidden < GEM_NARROW;
    uint64_t total = 0;

    plan(items++, &w->in, kern, 2);
    plan(items++, &w->out, kern, narrow ? 2 : 1);
    plan(items++, &w->embed, kern, narrow ? 2 : 1);
    for (uint32_t i = 0; i < w->n_layers; i++) {
        struct gem_audio_layer *l = &w->layers[i];
        /* Those first that gain most from two numbers. */
        struct gem_audio_linear *const all[PER_LAYER] = {&l->v,         &l->o,          &l->ffn[0].up, &l->ffn[0].down,
                                                         &l->q,         &l->k,          &l->start,     &l->end,
                                                         &l->ffn[1].up, &l->ffn[1].down};
        const size_t n_twice = narrow ? PER_LAYER : i < (w->n_layers + 3) / 4 ? EARLY_TWICE : ALWAYS_TWICE;
        for (size_t j = 0; j < PER_LAYER; j++) plan(items++, all[j], kern, j < n_twice ? 2 : 1);
    }
    for (items -= n; n > 0; n--, items++) total += gem_align_up(items->n_panels * items->panel_bytes);
    return total;
}

gem_status gem_audio_pack(struct gem_audio_weights *w, const struct gem_kernels *kern, struct gem_pool *pool,
                          gem_error *err)
{
    const size_t n = WHOLE + (size_t)PER_LAYER * w->n_layers;
    struct item *items;
    uint8_t *dst;
    gem_status st = GEM_E_NOMEM;

    if (!(items = gem_calloc(n, sizeof *items, "a list of matrices", err))) return st;
    w->packed_bytes = plan_all(w, kern, items, n);
    if (w->packed_bytes && !(w->packed = gem_alloc_aligned(w->packed_bytes, "packed audio weights", err))) goto out;
    dst = w->packed;
    for (size_t i = 0; i < n; i++) {
        if (items[i].kind == GEM_PK_NONE) continue;
        items[i].dst = dst;
        dst += gem_align_up(items[i].n_panels * items[i].panel_bytes);
        pack(pool, &items[i]);
    }
    st = GEM_OK;
out:
    gem_free(items);
    return st;
}
