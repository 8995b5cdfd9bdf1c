/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrices of a tower on a block of rows, and their panels for the fast tier: 8 bits for those that are quantised in
 * the file, pairs of bfloat16 for the others. 8 bits with one scale for 32 weights put soft tokens 2.4e-2 away from the
 * exact ones after four layers (tests/golden, media-calm-e4b), more than the tier allows. */
#include "vision/tower.h"

#include "base/file.h"

static void quantize(const struct gem_kernels *kern, const struct gem_vision_buffers *t, const float *x, size_t ldx,
                     size_t m, size_t k)
{
    for (size_t r = 0; r < m; r++) kern->quantize(t->act + r * gem_act_bytes(k), x + r * ldx, k);
}

/* Rows as bfloat16, an odd number of columns filled up with a zero. */
static void narrow(const struct gem_kernels *kern, uint16_t *out, const float *x, size_t ldx, size_t m, size_t k)
{
    for (; m > 0; m--, out += gem_even(k), x += ldx) {
        kern->to_bf16(out, x, k);
        if (k % 2) out[k] = 0;
    }
}

static void multiply(const struct gem_kernels *kern, const struct gem_vision_buffers *t,
                     const struct gem_vision_linear *l, const float *x, size_t ldx, size_t m, float *y, size_t ldy)
{
    const struct gem_matrix *w = &l->matrix;
    gem_gemm_fn *gemm = w->type == GEM_F32    ? kern->gemm_f32
                        : w->type == GEM_F16  ? kern->gemm_f16
                        : w->type == GEM_BF16 ? kern->gemm_bf16
                                              : NULL;

    if (l->pairs) {
        uint16_t *rows = (uint16_t *)(void *)t->act;
        narrow(kern, rows, x, ldx, m, w->cols);
        kern->gemm_pairs(l->pairs, w->rows, rows, gem_even(w->cols), m, y, ldy, w->cols, false);
    } else if (w->panels) {
        quantize(kern, t, x, ldx, m, w->cols);
        kern->gemm_packed[w->kind](w->panels, (w->rows + GEM_PANEL - 1) / GEM_PANEL, w->rows, t->act, m, y, ldy,
                                   w->cols);
    } else if (gemm) {
        gemm(w->data, w->cols, x, ldx, y, ldy, w->rows, m, w->cols);
    } else {
        for (uint32_t at = 0, n; at < w->rows; at += n) {
            n = w->rows - at < GEM_VISION_TILE ? w->rows - at : GEM_VISION_TILE;
            for (uint32_t r = 0; r < n; r++) gem_matrix_row(w, at + r, t->tile + (size_t)r * w->cols);
            kern->gemm_f32(t->tile, w->cols, x, ldx, y + at, ldy, n, m, w->cols);
        }
    }
}

void gem_vision_apply(const struct gem_kernels *kern, const struct gem_vision_buffers *t,
                      const struct gem_vision_linear *l, const float *x, size_t ldx, size_t m, float *y, size_t ldy)
{
    const struct gem_matrix *w = &l->matrix;
    const struct gem_clip *c = &l->clip;

    if (c->on) {
        for (size_t r = 0; r < m; r++)
            kern->clamp(t->clipped + r * w->cols, x + r * ldx, c->in_min, c->in_max, w->cols);
        x = t->clipped;
        ldx = w->cols;
    }
    multiply(kern, t, l, x, ldx, m, y, ldy);
    for (size_t r = 0; r < m && c->on; r++) kern->clamp(y + r * ldy, y + r * ldy, c->out_min, c->out_max, w->rows);
}

/* ---- packing ----------------------------------------------------------------------------------------------------- */

struct pack_job {
    const struct gem_vision_linear *l;
    const struct gem_kernels *kern;
    uint8_t *dst;
};

/* Weights that lie in panels of pairs rather than of 8 bits. */
static bool has_pairs(const struct gem_matrix *w) { return w->kind == GEM_PK_NONE; }

static uint64_t panel_bytes(const struct gem_matrix *w)
{
    return has_pairs(w) ? gem_pairs_bytes(w->cols) : gem_panel_bytes(w->kind, w->cols);
}

static uint64_t n_panels(const struct gem_matrix *w) { return (w->rows + GEM_PANEL - 1) / GEM_PANEL; }

static void pack_panels(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct pack_job *j = context;
    const struct gem_matrix *w = &j->l->matrix;

    (void)thread;
    for (size_t p = begin; p < end; p++) {
        const size_t first = p * GEM_PANEL, left = w->rows - first, n = left < GEM_PANEL ? left : GEM_PANEL;
        const uint8_t *rows = w->data + first * w->row_bytes;
        uint8_t *dst = j->dst + p * panel_bytes(w);

        if (has_pairs(w))
            j->kern->pack_pairs((uint16_t *)(void *)dst, rows, w->type, w->row_bytes, n, w->cols);
        else
            gem_pack_panel(w->type, rows, (size_t)w->row_bytes, n, w->cols, dst);
    }
}

/* Those that many rows pass through, and that have a faster form. */
static size_t list_linears(struct gem_vision *v, struct gem_vision_linear *out[])
{
    size_t n = 0;

    for (uint32_t i = 0; i < v->h.n_layers; i++) {
        struct gem_vision_layer *l = &v->layers[i];
        struct gem_vision_linear *const all[] = {&l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down};
        for (size_t j = 0; j < sizeof all / sizeof *all; j++)
            if (v->pairs || !has_pairs(&all[j]->matrix)) out[n++] = all[j];
    }
    return n;
}

static void pack_linear(struct gem_vision_linear *l, struct pack_job *job, struct gem_pool *pool)
{
    const struct gem_matrix *w = &l->matrix;

    job->l = l;
    gem_map_prefetch(w->data, w->row_bytes * w->rows);
    gem_pool_run(pool, (size_t)n_panels(w), 4, pack_panels, job);
    gem_map_release(w->data, w->row_bytes * w->rows);
    if (has_pairs(w))
        l->pairs = (const uint16_t *)(const void *)job->dst;
    else
        l->matrix.panels = job->dst;
    job->dst += gem_align_up(n_panels(w) * panel_bytes(w));
}

gem_status gem_vision_pack(struct gem_vision *v, const struct gem_kernels *kern, struct gem_pool *pool, gem_error *err)
{
    struct gem_vision_linear **list = gem_calloc((size_t)v->h.n_layers * 7, sizeof *list, "a list of matrices", err);
    struct pack_job job = {.kern = kern};
    size_t n;

    if (!list) return GEM_E_NOMEM;
    v->pairs = kern->has_bf16;
    n = list_linears(v, list);
    for (size_t i = 0; i < n; i++)
        v->packed_bytes += gem_align_up(n_panels(&list[i]->matrix) * panel_bytes(&list[i]->matrix));
    if (v->packed_bytes && !(v->packed = gem_alloc_aligned(v->packed_bytes, "a packed vision tower", err))) {
        gem_free(list);
        return GEM_E_NOMEM;
    }
    job.dst = v->packed;
    for (size_t i = 0; i < n; i++) pack_linear(list[i], &job, pool);
    gem_free(list);
    return GEM_OK;
}
