/* SPDX-License-Identifier: Apache-2.0
 *
 * 8-bit panels for the fast tier. Quantised matrices are packed as they are; float ones become Q8_0 first: 32 weights
 * with one scale. */
#include "audio/audio.h"

#include "base/file.h"

#include <math.h>

enum { BLOCK = 32, BLOCK_BYTES = 34 };

/* n a multiple of 32. A block that holds NaN or infinity gets a scale of NaN, so that the damage shows in the result.
 */
static void to_q8_0(const float *x, size_t n, uint8_t *out)
{
    for (size_t at = 0; at < n; at += BLOCK, out += BLOCK_BYTES) {
        float max = 0.0f, inverse;
        bool finite = true;
        uint16_t scale;

        for (size_t i = 0; i < BLOCK; i++) {
            max = fmaxf(max, fabsf(x[at + i]));
            finite &= isfinite(x[at + i]) != 0;
        }
        scale = gem_f32_to_f16(finite ? max / 127.0f : NAN);
        inverse = finite && gem_f16_to_f32(scale) > 0.0f ? 1.0f / gem_f16_to_f32(scale) : 0.0f;
        memcpy(out, &scale, sizeof scale);
        for (size_t i = 0; i < BLOCK; i++) out[2 + i] = finite ? (uint8_t)(int8_t)lrintf(x[at + i] * inverse) : 0;
    }
}

struct packer {
    struct gem_matrix *m;
    enum gem_type type;
    uint8_t *dst;
    float *row;    /* [threads, widest] */
    uint8_t *rows; /* [threads, GEM_PANEL, widest as Q8_0] */
    size_t widest, rows_bytes;
};

/* Items are panels. */
static void pack_panels(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct packer *p = context;
    const struct gem_matrix *m = p->m;
    const size_t q8_bytes = m->cols / BLOCK * BLOCK_BYTES;
    float *row = p->row + thread * p->widest;
    uint8_t *rows = p->rows + thread * p->rows_bytes;

    for (size_t i = begin; i < end; i++) {
        const size_t first = i * GEM_PANEL, left = m->rows - first, n = left < GEM_PANEL ? left : GEM_PANEL;
        uint8_t *dst = p->dst + i * gem_panel_bytes(gem_pack_kind_of(p->type), m->cols);

        if (p->type == m->type) {
            gem_pack_panel(m->type, m->data + first * m->row_bytes, (size_t)m->row_bytes, n, m->cols, dst);
            continue;
        }
        for (size_t r = 0; r < n; r++) {
            gem_matrix_row(m, (uint32_t)(first + r), row);
            to_q8_0(row, m->cols, rows + r * q8_bytes);
        }
        gem_pack_panel(GEM_Q8_0, rows, q8_bytes, n, m->cols, dst);
    }
}

/* The type that a matrix is packed from; GEM_F32: it stays as it is. */
static enum gem_type packs_from(const struct gem_matrix *m)
{
    if (!m->data || m->cols % BLOCK) return GEM_F32;
    return gem_pack_kind_of(m->type) == GEM_PK_NONE ? GEM_Q8_0 : m->type;
}

static uint64_t n_panels(const struct gem_matrix *m) { return ((uint64_t)m->rows + GEM_PANEL - 1) / GEM_PANEL; }

static uint64_t packed_bytes(const struct gem_matrix *m)
{
    const enum gem_type type = packs_from(m);

    return type == GEM_F32 ? 0 : n_panels(m) * gem_panel_bytes(gem_pack_kind_of(type), m->cols);
}

enum { PER_LAYER = 10 };

/* out [3 + PER_LAYER * n_layers]; returns how many. */
static size_t list(struct gem_audio_weights *w, struct gem_matrix **out)
{
    size_t n = 0;

    out[n++] = &w->in.w;
    out[n++] = &w->out.w;
    out[n++] = &w->embed.w;
    for (uint32_t i = 0; i < w->n_layers; i++) {
        struct gem_audio_layer *l = &w->layers[i];
        struct gem_matrix *const all[PER_LAYER] = {
            &l->ffn[0].up.w, &l->ffn[0].down.w, &l->ffn[1].up.w, &l->ffn[1].down.w, &l->q.w,
            &l->k.w,         &l->v.w,           &l->o.w,         &l->start.w,       &l->end.w};
        for (size_t j = 0; j < PER_LAYER; j++) out[n++] = all[j];
    }
    return n;
}

gem_status gem_audio_pack(struct gem_audio_weights *w, struct gem_pool *pool, gem_error *err)
{
    const unsigned n_threads = gem_pool_threads(pool);
    struct packer p = {0};
    struct gem_matrix **all;
    uint64_t total = 0;
    size_t n;
    gem_status st = GEM_E_NOMEM;

    if (!(all = gem_calloc(3 + (size_t)PER_LAYER * w->n_layers, sizeof *all, "a list of matrices", err))) return st;
    n = list(w, all);
    for (size_t i = 0; i < n; i++) {
        total += packed_bytes(all[i]);
        if (all[i]->cols > p.widest) p.widest = all[i]->cols;
    }
    p.rows_bytes = GEM_PANEL * (p.widest / BLOCK + 1) * BLOCK_BYTES;
    if (!(p.row = gem_calloc(n_threads * p.widest, sizeof *p.row, "a row of weights", err))) goto out;
    if (!(p.rows = gem_calloc(n_threads, p.rows_bytes, "rows of weights", err))) goto out;
    if (total && !(w->packed = gem_alloc_aligned(total, "packed audio weights", err))) goto out;
    p.dst = w->packed;
    for (size_t i = 0; i < n; i++) {
        struct gem_matrix *m = p.m = all[i];

        p.type = packs_from(m);
        if (p.type == GEM_F32) continue;
        gem_map_prefetch(m->data, m->row_bytes * m->rows);
        gem_pool_run(pool, (size_t)n_panels(m), 4, pack_panels, &p);
        gem_map_release(m->data, m->row_bytes * m->rows);
        m->kind = gem_pack_kind_of(p.type);
        m->panels = p.dst;
        p.dst += packed_bytes(m);
    }
    w->packed_bytes = total;
    st = GEM_OK;
out:
    gem_free(p.rows);
    gem_free(p.row);
    gem_free(all);
    return st;
}
