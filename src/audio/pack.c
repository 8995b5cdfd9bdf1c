/* SPDX-License-Identifier: Apache-2.0
 *
 * The fast tier: quantised matrices become panels; float ones stay as they are in the file, and on machines that
 * multiply bfloat16 activations are rounded to it (product.c).
 *
 * The attention's values and output and what comes before the blocks, a tenth of the work, take two numbers for each
 * activation: rounded once there too, soft tokens of a random tower of twelve layers were off by 2.1e-2 (mean of eight
 * sounds) instead of 1.3e-2. Of all groups of matrices these helped most; queries and keys did not help at all. So do
 * all matrices of the first layer, whose error every other one makes larger: 1.2e-2 instead of 2.4e-2 in the worst case
 * of tools/lab/make_sound_cases.py. */
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

enum { WHOLE = 3, PER_LAYER = 10 };

/* items [WHOLE + PER_LAYER * n_layers], zero; returns the bytes of all that is packed. */
static uint64_t plan_all(struct gem_audio_weights *w, const struct gem_kernels *kern, struct item *items, size_t n)
{
    uint64_t total = 0;

    plan(items++, &w->in, kern, 2);
    plan(items++, &w->out, kern, 1);
    plan(items++, &w->embed, kern, w->raw ? 2 : 1);
    for (uint32_t i = 0; i < w->n_layers; i++) {
        struct gem_audio_layer *l = &w->layers[i];
        struct gem_audio_linear *const all[PER_LAYER] = {&l->v,         &l->o,           &l->ffn[0].up, &l->ffn[0].down,
                                                         &l->ffn[1].up, &l->ffn[1].down, &l->q,         &l->k,
                                                         &l->start,     &l->end};
        for (size_t j = 0; j < PER_LAYER; j++) plan(items++, all[j], kern, j < 2 || i == 0 ? 2 : 1);
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
