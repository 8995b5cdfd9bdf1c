/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products, split over threads by rows of the matrix: every output is computed whole by one thread, by a kernel
 * whose order of sums is a function of the row's length alone. */
#include "model/forward.h"

struct gem_act gem_act_of(struct gem_forward *f, const float *x, size_t ldx, uint32_t m, uint32_t k)
{
    return (struct gem_act){.x = x, .ldx = ldx, .m = m, .k = k, .other = f->act, .wide = f->wide, .twice = f->twice};
}

struct job {
    const struct gem_forward *f;
    const struct gem_matrix *mat;
    const struct gem_act *act;
    float *y;
    size_t ldy;
};

/* What an int8 row left over of x. */
static void residual(float *out, const float *x, const void *q8, size_t k)
{
    const struct gem_act_block *end = (const struct gem_act_block *)q8 + k / GEM_ACT_BLOCK;

    for (const struct gem_act_block *b = q8; b < end; b++, x += GEM_ACT_BLOCK, out += GEM_ACT_BLOCK)
        for (int i = 0; i < GEM_ACT_BLOCK; i++) out[i] = x[i] - b->scale * (float)b->q[i];
}

static void quantize_rows(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const struct gem_act *a = j->act;
    const size_t bytes = gem_act_bytes(a->k);
    float *left = j->f->threads[thread].tile;

    for (size_t i = begin; i < end; i++) {
        const float *x = a->x + i * a->ldx;
        uint8_t *q8 = a->other + (a->wide ? 2 * i : i) * bytes;

        j->f->kern->quantize(q8, x, a->k);
        if (!a->wide) continue;
        residual(left, x, q8, a->k);
        j->f->kern->quantize(q8 + bytes, left, a->k);
    }
}

static void narrow_rows(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const struct gem_act *a = j->act;
    uint16_t *rows = (uint16_t *)(void *)a->other;
    float *left = j->f->threads[thread].tile;

    for (size_t i = begin; i < end; i++) {
        const float *x = a->x + i * a->ldx;
        uint16_t *half = rows + (a->twice ? 2 * i : i) * a->k;

        j->f->kern->to_bf16(half, x, a->k);
        if (!a->twice) continue;
        for (size_t c = 0; c < a->k; c++) left[c] = x[c] - gem_bf16_to_f32(half[c]);
        j->f->kern->to_bf16(half + a->k, left, a->k);
    }
}

/* The rows that a kind of product wants, once for all that want the same. */
static void prepare(struct job *j, struct gem_act *act, int form)
{
    if ((int)act->form == form) return;
    gem_pool_run(j->f->pool, act->m, 1, form == GEM_ACT_INT8 ? quantize_rows : narrow_rows, j);
    act->form = form;
}

/* Activation rows of one block stay in the second-level cache while panels pass by. */
enum { ACT_BLOCK_ROWS = 96 };

/* Items are panels. */
static void packed_panels(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const struct gem_matrix *mat = j->mat;
    const uint32_t k = mat->cols;
    const size_t first = begin * GEM_PANEL;
    const size_t n_rows = mat->rows - first < (end - begin) * GEM_PANEL ? mat->rows - first : (end - begin) * GEM_PANEL;
    const uint8_t *panels = mat->panels + begin * gem_panel_bytes(mat->kind, k);

    (void)thread;
    for (uint32_t at = 0; at < j->act->m; at += ACT_BLOCK_ROWS) {
        const uint32_t left = j->act->m - at, m = left < ACT_BLOCK_ROWS ? left : ACT_BLOCK_ROWS;
        j->f->kern->gemm_packed[mat->kind](panels, end - begin, n_rows, j->act->other + at * gem_act_bytes(k), m,
                                           j->y + at * j->ldy + first, j->ldy, k);
    }
}

/* How many panels share the load of a pair of activations; one row alone reads a single stream of weights faster. */
enum { WIDE_PANELS = 2 };

/* y [m, n] = the sums of rows 2r and 2r + 1 of pairs. */
static void add_pairs(float *y, size_t ldy, const float *pairs, size_t ld_pairs, uint32_t m, size_t n)
{
    for (uint32_t r = 0; r < m; r++, y += ldy, pairs += 2 * ld_pairs)
        for (size_t i = 0; i < n; i++) y[i] = pairs[i] + pairs[ld_pairs + i];
}

/* The same with pairs of int8 rows, whose products are added. */
static void packed_panels_wide(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const struct gem_matrix *mat = j->mat;
    const uint32_t k = mat->cols;
    const size_t step = j->act->m == 1 ? 1 : WIDE_PANELS;
    float pairs[ACT_BLOCK_ROWS][WIDE_PANELS * GEM_PANEL];

    (void)thread;
    for (uint32_t at = 0; at < j->act->m; at += ACT_BLOCK_ROWS / 2) {
        const uint32_t left = j->act->m - at, m = left < ACT_BLOCK_ROWS / 2 ? left : ACT_BLOCK_ROWS / 2;

        for (size_t p = begin; p < end; p += step) {
            const size_t np = end - p < step ? end - p : step, first = p * GEM_PANEL, rest = mat->rows - first;
            const size_t n = rest < np * GEM_PANEL ? rest : np * GEM_PANEL;

            j->f->kern->gemm_packed[mat->kind](mat->panels + p * gem_panel_bytes(mat->kind, k), np, n,
                                               j->act->other + 2 * at * gem_act_bytes(k), 2 * m, pairs[0],
                                               WIDE_PANELS * GEM_PANEL, k);
            add_pairs(j->y + at * j->ldy + first, j->ldy, pairs[0], WIDE_PANELS * GEM_PANEL, m, n);
        }
    }
}

static gem_gemm_fn *float_gemm(const struct gem_kernels *kern, enum gem_type type)
{
    return type == GEM_F32    ? kern->gemm_f32
           : type == GEM_F16  ? kern->gemm_f16
           : type == GEM_BF16 ? kern->gemm_bf16
                              : NULL;
}

/* Items are tiles of GEM_TILE rows. */
static void float_tiles(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const struct gem_matrix *mat = j->mat;
    const struct gem_act *a = j->act;
    gem_gemm_fn *gemm = float_gemm(j->f->kern, mat->type);
    float *tile = j->f->threads[thread].tile;

    for (size_t i = begin; i < end; i++) {
        const size_t first = i * GEM_TILE, left = mat->rows - first, n = left < GEM_TILE ? left : GEM_TILE;
        const void *w = mat->data + first * mat->row_bytes;

        if (!gemm) { /* exact products with a quantised matrix: decode, then multiply in float32 */
            for (size_t r = 0; r < n; r++) gem_matrix_row(mat, (uint32_t)(first + r), tile + r * mat->cols);
            w = tile;
        }
        (gemm ? gemm : j->f->kern->gemm_f32)(w, mat->cols, a->x, a->ldx, j->y + first, j->ldy, n, a->m, mat->cols);
    }
}

/* Both bfloat16. Items are tiles of GEM_TILE rows. */
static void bf16_tiles(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const struct gem_matrix *mat = j->mat;
    const size_t first = begin * GEM_TILE, last = end * GEM_TILE < mat->rows ? end * GEM_TILE : mat->rows;
    const uint16_t *w = (const uint16_t *)(const void *)(mat->data + first * mat->row_bytes);

    (void)thread;
    j->f->kern->gemm_bf16_bf16(w, mat->cols, (const uint16_t *)j->act->other, mat->cols, j->y + first, j->ldy,
                               last - first, j->act->m, mat->cols);
}

/* The same with pairs of rows, whose products are added. */
static void bf16_tiles_twice(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const struct gem_matrix *mat = j->mat;
    const uint32_t k = mat->cols;
    const uint16_t *x = (const uint16_t *)(const void *)j->act->other;
    float pairs[ACT_BLOCK_ROWS][GEM_TILE];

    (void)thread;
    for (uint32_t at = 0; at < j->act->m; at += ACT_BLOCK_ROWS / 2) {
        const uint32_t rest = j->act->m - at, m = rest < ACT_BLOCK_ROWS / 2 ? rest : ACT_BLOCK_ROWS / 2;

        for (size_t t = begin; t < end; t++) {
            const size_t first = t * GEM_TILE, left = mat->rows - first, n = left < GEM_TILE ? left : GEM_TILE;

            j->f->kern->gemm_bf16_bf16((const uint16_t *)(const void *)(mat->data + first * mat->row_bytes), k,
                                       x + (size_t)2 * at * k, k, pairs[0], GEM_TILE, n, 2 * m, k);
            add_pairs(j->y + at * j->ldy + first, j->ldy, pairs[0], GEM_TILE, m, n);
        }
    }
}

/* Where that is faster; not where experts are chosen, for the reason that struct gem_act gives. */
static bool is_bf16(const struct gem_forward *f, const struct gem_matrix *mat, const struct gem_act *act)
{
    return !f->exact && mat->type == GEM_BF16 && f->kern->has_bf16 && !act->wide;
}

/* About eight pieces a thread: even shares, few trips to the shared counter. */
static size_t grain(const struct gem_forward *f, size_t n)
{
    const size_t g = n / ((size_t)gem_pool_threads(f->pool) * 8);

    return g ? g : 1;
}

void gem_linear(struct gem_forward *f, float *y, size_t ldy, const struct gem_matrix *mat, struct gem_act *act)
{
    struct job job = {.f = f, .mat = mat, .act = act, .y = y, .ldy = ldy};
    const size_t n = gem_n_panels(mat->rows);

    _Static_assert((int)GEM_PANEL == (int)GEM_TILE, "one count of items serves both");
    if (mat->panels) {
        prepare(&job, act, GEM_ACT_INT8);
        gem_pool_run(f->pool, n, grain(f, n), act->wide ? packed_panels_wide : packed_panels, &job);
    } else if (is_bf16(f, mat, act)) {
        prepare(&job, act, GEM_ACT_BF16);
        gem_pool_run(f->pool, n, grain(f, n), act->twice ? bf16_tiles_twice : bf16_tiles, &job);
    } else {
        gem_pool_run(f->pool, n, grain(f, n), float_tiles, &job);
    }
}

/* ---- some rows of a float matrix ------------------------------------------------------------------------------ */

struct some_job {
    const struct gem_forward *f;
    const struct gem_matrix *mat;
    const struct gem_act *act;
    const uint32_t *rows;
    uint32_t column;
    float *y;
    bool bf16;
};

/* One row at a time gives the bits of a whole product, in which a row's order of sums depends on its length alone. */
static void some_rows(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct some_job *j = context;
    const struct gem_matrix *mat = j->mat;
    const struct gem_act *a = j->act;
    gem_gemm_fn *gemm = float_gemm(j->f->kern, mat->type);
    const uint16_t *x = (const uint16_t *)(const void *)a->other + (size_t)j->column * a->k;

    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const void *w = mat->data + j->rows[i] * mat->row_bytes;

        if (j->bf16)
            j->f->kern->gemm_bf16_bf16(w, mat->cols, x, mat->cols, j->y + i, 1, 1, 1, mat->cols);
        else
            gemm(w, mat->cols, a->x + j->column * a->ldx, a->ldx, j->y + i, 1, 1, 1, mat->cols);
    }
}

void gem_linear_some(struct gem_forward *f, float *y, const struct gem_matrix *mat, const struct gem_act *act,
                     uint32_t column, const uint32_t *rows, size_t n)
{
    struct some_job job = {f, mat, act, rows, column, y, act->form == GEM_ACT_BF16};

    gem_pool_run(f->pool, n, 16, some_rows, &job);
}

const float *gem_linear_input(struct gem_forward *f, const struct gem_matrix *mat, struct gem_act *act, float *out)
{
    struct job job = {.f = f, .mat = mat, .act = act};

    if (!is_bf16(f, mat, act)) return act->x;
    prepare(&job, act, GEM_ACT_BF16);
    gem_decode_row(GEM_BF16, act->other, out, (size_t)act->m * act->k);
    return out;
}
