/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrices of a tower on a block of rows, and their panels for the fast tier: 8 bits for those that are quantised in
 * the file, pairs of bfloat16 for the others. 8 bits with one scale for 32 weights put soft tokens 2.4e-2 away from the
 * exact ones after four layers (tests/golden, media-calm-e4b), more than the tier allows. */
#include "vision/tower.h"

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
        kern->gemm_packed[w->kind](w->panels, gem_n_panels(w->rows), w->rows, t->act, m, y, ldy, w->cols);
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

/* Weights that lie in panels of pairs rather than of 8 bits. */
static bool has_pairs(const struct gem_matrix *w) { return w->kind == GEM_PK_NONE; }

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

gem_status gem_vision_pack(struct gem_vision *v, const struct gem_kernels *kern, struct gem_pool *pool, gem_error *err)
{
    struct gem_vision_linear **list = gem_calloc((size_t)v->h.n_layers * 7, sizeof *list, "a list of matrices", err);
    gem_status st = GEM_E_NOMEM;
    uint8_t *dst;
    size_t n;

    if (!list) return st;
    v->pairs = kern->has_bf16;
    n = list_linears(v, list);
    for (size_t i = 0; i < n; i++) v->packed_bytes += gem_align_up(gem_matrix_panel_bytes(&list[i]->matrix));
    if (v->packed_bytes && !(v->packed = gem_alloc_aligned(v->packed_bytes, "a packed vision tower", err))) goto out;
    dst = v->packed;
    for (size_t i = 0; i < n; i++) {
        struct gem_matrix *m = &list[i]->matrix;

        gem_matrix_pack(m, kern, dst, pool);
        if (has_pairs(m))
            list[i]->pairs = (const uint16_t *)(const void *)dst;
        else
            m->panels = dst;
        dst += gem_align_up(gem_matrix_panel_bytes(m));
    }
    st = GEM_OK;
out:
    gem_free(list);
    return st;
}
