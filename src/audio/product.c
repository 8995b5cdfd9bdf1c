/* SPDX-License-Identifier: Apache-2.0
 *
 * Clipped linears, in one of three kinds of arithmetic:
 *   float32 activations                        the exact tier; in the fast one where the next line does not hold
 *   bfloat16 activations, or two of them       fast, float weights (pack.c), where there is an instruction
 *   two int8 rows for each row of activations  fast, quantised weights (struct gem_act)
 * A single int8 row is not enough: with it, soft tokens were off by 3e-2 after two layers and by 0.11 after twelve. */
#include "audio/audio.h"

struct job {
    struct gem_audio_encoder *e;
    const struct gem_audio_linear *l, *next; /* next: y goes to it through SiLU, rather than to y */
    const float *x, *norm;
    bool silu;
    float *y;
    uint32_t n;             /* rows of x and y */
    uint16_t *in, *next_in; /* bfloat16: blocks of [n, cols], as many as parts; of [n, next->cols] */
};

/* A row as the matrix sees it. */
static void prepare(const struct job *j, size_t i, float *row)
{
    const struct gem_kernels *kern = j->e->products.kern;
    const size_t k = j->l->w.cols;
    const float *x = j->x + i * k;

    if (j->norm) {
        kern->rms_norm(row, x, j->norm, k, GEM_AUDIO_EPS);
        x = row;
    }
    if (j->silu) {
        memcpy(row, x, k * sizeof *row);
        kern->sigmoid_mul(row, row, k);
        x = row;
    }
    kern->clamp(row, x, j->l->in_min, j->l->in_max, k);
}

/* ---- float32 and int8 ---------------------------------------------------------------------------------------- */

static void clip_in(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;

    (void)thread;
    for (size_t i = begin; i < end; i++) prepare(j, i, j->e->clip + i * j->l->w.cols);
}

static void clip_out(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const size_t k = j->l->w.rows;

    (void)thread;
    j->e->products.kern->clamp(j->y + begin * k, j->y + begin * k, j->l->out_min, j->l->out_max, (end - begin) * k);
}

static void multiply(struct job *j)
{
    const struct gem_matrix *w = &j->l->w;
    struct gem_forward *f = &j->e->products;
    struct gem_act act = gem_act_of(f, j->e->clip, w->cols, j->n, w->cols);

    gem_pool_run(f->pool, j->n, 8, clip_in, j);
    gem_linear(f, j->y, w->rows, w, &act);
    gem_pool_run(f->pool, j->n, 8, clip_out, j);
}

/* ---- bfloat16 ------------------------------------------------------------------------------------------------ */

/* What blocks leave over of row r. */
static void subtract_blocks(const uint16_t *blocks, float *row, size_t r, size_t m, size_t k)
{
    for (size_t at = 0; at < k; at += GEM_BLOCK_COLUMNS) {
        const uint16_t *had = blocks + gem_block_at(r, at, m, k);
        const size_t n = k - at < GEM_BLOCK_COLUMNS ? k - at : GEM_BLOCK_COLUMNS;

        for (size_t c = 0; c < n; c++) row[at + c] -= gem_bf16_to_f32(had[c]);
    }
}

static void round_rows(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const struct gem_kernels *kern = j->e->products.kern;
    const size_t k = j->l->w.cols;
    float *row = j->e->products.threads[thread].tile;

    for (size_t i = begin; i < end; i++) {
        prepare(j, i, row);
        gem_block_row(kern, j->in, row, i, j->n, k);
        if (j->l->parts == 1) continue;
        subtract_blocks(j->in, row, i, j->n, k);
        gem_block_row(kern, j->in + j->n * gem_even(k), row, i, j->n, k);
    }
}

/* Columns first to first + n of y, side by side in tile. */
static void store(const struct job *j, float *tile, size_t first, size_t n)
{
    const struct gem_kernels *kern = j->e->products.kern;
    const struct gem_audio_linear *l = j->l;

    if (!j->next) {
        for (size_t r = 0; r < j->n; r++)
            kern->clamp(j->y + r * l->w.rows + first, tile + r * n, l->out_min, l->out_max, n);
        return;
    }
    kern->clamp(tile, tile, l->out_min, l->out_max, j->n * n);
    kern->sigmoid_mul(tile, tile, j->n * n);
    kern->clamp(tile, tile, j->next->in_min, j->next->in_max, j->n * n);
    for (size_t r = 0; r < j->n; r++)
        kern->to_bf16(j->next_in + gem_block_at(r, first, j->n, j->next->w.cols), tile + r * n, n);
}

/* Items are stripes of that many rows of the matrix. Outputs wait side by side, since rows of y lie at powers of two,
 * which caches dislike. */
enum { ROWS = GEM_AUDIO_STRIPE };
_Static_assert(GEM_BLOCK_COLUMNS % ROWS == 0, "a stripe of outputs lies in one block of inputs");

static void half_stripes(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const struct gem_matrix *w = &j->l->w;
    float *tile = j->e->products.threads[thread].tile;

    for (size_t i = begin; i < end; i++) {
        const size_t first = i * ROWS, left = w->rows - first, n = left < ROWS ? left : ROWS;

        for (size_t part = 0; part < j->l->parts; part++)
            gem_gemm_rows(j->e->products.kern, w->data + first * w->row_bytes, w->type, w->row_bytes, n,
                          j->in + part * j->n * gem_even(w->cols), j->n, tile, n, w->cols, part > 0);
        store(j, tile, first, n);
    }
}

static void multiply_half(struct job *j)
{
    gem_pool_run(j->e->products.pool, (j->l->w.rows + ROWS - 1) / ROWS, 1, half_stripes, j);
}

/* ---- all of them --------------------------------------------------------------------------------------------- */

static void run(struct job *j)
{
    if (!j->l->parts) {
        multiply(j);
        return;
    }
    gem_pool_run(j->e->products.pool, j->n, 4, round_rows, j);
    multiply_half(j);
}

void gem_audio_product(struct gem_audio_encoder *e, float *y, const struct gem_audio_linear *l, const float *norm,
                       const float *x, uint32_t n)
{
    struct job j = {.e = e, .l = l, .x = x, .norm = norm, .y = y, .n = n, .in = (uint16_t *)(void *)e->products.act};

    run(&j);
}

void gem_audio_feed_forward(struct gem_audio_encoder *e, float *y, const struct gem_audio_ffn *ff, const float *x,
                            uint32_t n)
{
    uint16_t *in = (uint16_t *)(void *)e->products.act, *wide = in + (size_t)n * gem_even(e->w->hidden);
    struct job up = {.e = e, .l = &ff->up, .x = x, .norm = ff->norm, .y = e->wide, .n = n, .in = in};
    struct job down = {.e = e, .l = &ff->down, .x = e->wide, .silu = true, .y = y, .n = n, .in = in};

    if (ff->up.parts == 1 && ff->down.parts == 1) {
        up.next = down.l;
        up.next_in = down.in = wide;
        run(&up);
        multiply_half(&down);
        return;
    }
    run(&up);
    run(&down);
}
