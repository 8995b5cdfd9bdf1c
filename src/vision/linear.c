/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrices of a tower on a block of rows, and 8-bit panels of quantised ones for the fast tier. Those that a file has
 * in 16 bits stay so: 8 bits with one scale for 32 weights put soft tokens 2.4e-2 away from the exact ones after four
 * layers (tests/golden, media-calm-e4b), more than the tier allows. */
#include "vision/tower.h"

#include <math.h>

static void clamp(float *y, const float *x, size_t n, float low, float high)
{
    for (size_t i = 0; i < n; i++) y[i] = x[i] < low ? low : x[i] > high ? high : x[i]; /* NaN stays */
}

static void quantize(const struct gem_kernels *kern, const struct gem_vision_buffers *t, const float *x, size_t ldx,
                     size_t m, size_t k)
{
    for (size_t r = 0; r < m; r++) kern->quantize(t->act + r * gem_act_bytes(k), x + r * ldx, k);
}

static void multiply(const struct gem_kernels *kern, const struct gem_vision_buffers *t, const struct gem_matrix *w,
                     const float *x, size_t ldx, size_t m, float *y, size_t ldy)
{
    gem_gemm_fn *gemm = w->type == GEM_F32    ? kern->gemm_f32
                        : w->type == GEM_F16  ? kern->gemm_f16
                        : w->type == GEM_BF16 ? kern->gemm_bf16
                                              : NULL;

    if (w->panels) {
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
        for (size_t r = 0; r < m; r++) clamp(t->clipped + r * w->cols, x + r * ldx, w->cols, c->in_min, c->in_max);
        x = t->clipped;
        ldx = w->cols;
    }
    multiply(kern, t, w, x, ldx, m, y, ldy);
    for (size_t r = 0; r < m && c->on; r++) clamp(y + r * ldy, y + r * ldy, w->rows, c->out_min, c->out_max);
}

/* ---- packing ------------------------------------------------------------------------------------------------------
 */

struct pack_job {
    const struct gem_matrix *w;
    uint8_t *dst;
};

static void pack_panels(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct pack_job *j = context;
    const struct gem_matrix *w = j->w;

    (void)thread;
    for (size_t p = begin; p < end; p++) {
        const size_t first = p * GEM_PANEL, left = w->rows - first, n = left < GEM_PANEL ? left : GEM_PANEL;
        gem_pack_panel(w->type, w->data + first * w->row_bytes, (size_t)w->row_bytes, n, w->cols,
                       j->dst + p * gem_panel_bytes(w->kind, w->cols));
    }
}

static uint64_t packed_bytes(const struct gem_matrix *w)
{
    return gem_align_up((w->rows + GEM_PANEL - 1) / GEM_PANEL * gem_panel_bytes(w->kind, w->cols));
}

/* Quantised matrices that many rows pass through. */
static void list_matrices(struct gem_vision *v, struct gem_matrix *out[], size_t *n)
{
    for (uint32_t i = 0; i < v->h.n_layers; i++) {
        struct gem_vision_layer *l = &v->layers[i];
        struct gem_vision_linear *const all[] = {&l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down};
        for (size_t j = 0; j < sizeof all / sizeof *all; j++)
            if (all[j]->matrix.kind != GEM_PK_NONE) out[(*n)++] = &all[j]->matrix;
    }
}

gem_status gem_vision_pack(struct gem_vision *v, struct gem_pool *pool, gem_error *err)
{
    struct gem_matrix **list = gem_calloc((size_t)v->h.n_layers * 7, sizeof *list, "a list of matrices", err);
    uint64_t total = 0, done = 0;
    size_t n = 0;
    gem_status st = GEM_E_NOMEM;

    if (!list) return st;
    list_matrices(v, list, &n);
    for (size_t i = 0; i < n; i++) total += packed_bytes(list[i]);
    if (total && !(v->packed = gem_alloc_aligned(total, "a packed vision tower", err))) goto out;
    for (size_t i = 0; i < n; i++) {
        struct pack_job job = {.w = list[i], .dst = v->packed + done};
        gem_pool_run(pool, (list[i]->rows + GEM_PANEL - 1) / GEM_PANEL, 4, pack_panels, &job);
        list[i]->panels = job.dst;
        done += packed_bytes(list[i]);
    }
    v->packed_bytes = total;
    st = GEM_OK;
out:
    gem_free(list);
    return st;
}
