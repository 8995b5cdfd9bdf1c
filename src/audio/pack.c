/* SPDX-License-Identifier: Apache-2.0
 *
 * The fast tier: quantised matrices become panels; on machines that multiply bfloat16, most float ones are used as
 * bfloat16 (product.c), for which other float types are converted.
 *
 * Not so the attention's values and output and what comes before the blocks, a tenth of the work: with them in bfloat16
 * too, soft tokens of a random tower of twelve layers were off by 2.1e-2 (mean of eight sounds) instead of 1.3e-2. Of
 * all groups of matrices these helped most; queries and keys did not help at all. */
#include "audio/audio.h"

#include "base/file.h"

/* A linear, and how it goes: as panels of a kind, as bfloat16, or neither. */
struct item {
    struct gem_audio_linear *l;
    bool half;
    bool converts; /* to bfloat16 */
    enum gem_pack_kind kind;
    uint64_t unit_bytes; /* of a panel or of a row */
    size_t n_units;
    uint8_t *dst;
};

struct packer {
    const struct gem_kernels *kern;
    const struct item *item;
    float *row; /* [threads, widest] */
    size_t widest;
};

static void plan(struct item *it, const struct gem_kernels *kern, bool sensitive)
{
    const struct gem_matrix *m = &it->l->w;
    const enum gem_pack_kind kind = gem_pack_kind_of(m->type);

    if (kind != GEM_PK_NONE && m->cols % GEM_ACT_BLOCK == 0) {
        it->kind = kind;
        it->unit_bytes = gem_panel_bytes(kind, m->cols);
        it->n_units = ((size_t)m->rows + GEM_PANEL - 1) / GEM_PANEL;
    } else if (kind == GEM_PK_NONE && kern->has_bf16 && !sensitive) {
        it->half = true;
        it->converts = m->type != GEM_BF16;
        it->unit_bytes = m->cols * sizeof(uint16_t);
        it->n_units = it->converts ? m->rows : 0;
    }
}

static void pack_units(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct packer *p = context;
    const struct item *it = p->item;
    const struct gem_matrix *m = &it->l->w;
    float *row = p->row + thread * p->widest;

    for (size_t i = begin; i < end; i++) {
        const size_t first = i * GEM_PANEL, left = m->rows - first;
        uint8_t *dst = it->dst + i * it->unit_bytes;

        if (it->converts) {
            gem_matrix_row(m, (uint32_t)i, row);
            p->kern->to_bf16((uint16_t *)(void *)dst, row, m->cols);
        } else {
            gem_pack_panel(m->type, m->data + first * m->row_bytes, (size_t)m->row_bytes,
                           left < GEM_PANEL ? left : GEM_PANEL, m->cols, dst);
        }
    }
}

static void pack(struct packer *p, struct gem_pool *pool, struct item *it)
{
    struct gem_matrix *m = &it->l->w;

    it->l->half = it->half;
    if (it->n_units == 0) return;
    p->item = it;
    gem_map_prefetch(m->data, m->row_bytes * m->rows);
    gem_pool_run(pool, it->n_units, 4, pack_units, p);
    gem_map_release(m->data, m->row_bytes * m->rows);
    if (it->converts) {
        m->type = GEM_BF16;
        m->data = it->dst;
        m->row_bytes = it->unit_bytes;
    } else {
        m->kind = it->kind;
        m->panels = it->dst;
    }
}

enum { WHOLE = 3, PER_LAYER = 10 };

/* items [WHOLE + PER_LAYER * n_layers], planned; returns the bytes of all that is packed. */
static uint64_t plan_all(struct gem_audio_weights *w, const struct gem_kernels *kern, struct item *items)
{
    struct gem_audio_linear *const whole[WHOLE] = {&w->in, &w->out, &w->embed};
    uint64_t total = 0;
    size_t n = 0;

    for (size_t i = 0; i < WHOLE; i++) {
        items[n].l = whole[i];
        if (whole[i]->w.data) plan(&items[n], kern, i == 0 || w->raw);
        n++;
    }
    for (uint32_t i = 0; i < w->n_layers; i++) {
        struct gem_audio_layer *l = &w->layers[i];
        struct gem_audio_linear *const all[PER_LAYER] = {&l->v,         &l->o,           &l->ffn[0].up, &l->ffn[0].down,
                                                         &l->ffn[1].up, &l->ffn[1].down, &l->q,         &l->k,
                                                         &l->start,     &l->end};
        for (size_t j = 0; j < PER_LAYER; j++) {
            items[n].l = all[j];
            plan(&items[n++], kern, j < 2);
        }
    }
    for (size_t i = 0; i < n; i++) total += gem_align_up(items[i].n_units * items[i].unit_bytes);
    return total;
}

gem_status gem_audio_pack(struct gem_audio_weights *w, const struct gem_kernels *kern, struct gem_pool *pool,
                          gem_error *err)
{
    const size_t n = WHOLE + (size_t)PER_LAYER * w->n_layers;
    struct packer p = {.kern = kern};
    struct item *items;
    uint64_t total, at = 0;
    gem_status st = GEM_E_NOMEM;

    if (!(items = gem_calloc(n, sizeof *items, "a list of matrices", err))) return st;
    total = plan_all(w, kern, items);
    for (size_t i = 0; i < n; i++)
        if (items[i].l->w.cols > p.widest) p.widest = items[i].l->w.cols;
    if (!(p.row = gem_calloc(gem_pool_threads(pool) * p.widest, sizeof *p.row, "a row of weights", err))) goto out;
    if (total && !(w->packed = gem_alloc_aligned(total, "packed audio weights", err))) goto out;
    for (size_t i = 0; i < n; i++) {
        items[i].dst = total ? w->packed + at : NULL;
        at += gem_align_up(items[i].n_units * items[i].unit_bytes);
        pack(&p, pool, &items[i]);
    }
    w->packed_bytes = total;
    st = GEM_OK;
out:
    gem_free(p.row);
    gem_free(items);
    return st;
}
