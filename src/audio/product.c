/* SPDX-License-Identifier: Apache-2.0
 *
 * Clipped linears, in one of three kinds of arithmetic:
 *   float32 activations                        the exact tier; in the fast one where the next line does not hold
 *   bfloat16 activations                       fast, most float weights (pack.c), where there is an instruction
 *   two int8 rows for each row of activations  fast, quantised weights (struct gem_act)
 * A single int8 row is not enough: with it, soft tokens were off by 3e-2 after two layers and by 0.11 after twelve. */
#include "audio/audio.h"

#include <math.h>

struct job {
    struct gem_audio_encoder *e;
    const struct gem_audio_linear *l;
    const float *x;
    float *silu; /* x, when SiLU comes first; else NULL */
    float *y;
    uint32_t n;     /* rows of x and y */
    uint16_t *half; /* [n, cols] */
};

static void silu(const struct job *j, size_t row)
{
    float *x = j->silu + row * j->l->w.cols;

    j->e->products.kern->sigmoid_mul(x, x, j->l->w.cols);
}

/* ---- float32 and int8 ---------------------------------------------------------------------------------------- */

static void clamp_in(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const size_t k = j->l->w.cols;

    (void)thread;
    for (size_t i = begin; i < end; i++) {
        if (j->silu) silu(j, i);
        j->e->products.kern->clamp(j->e->clip + i * k, j->x + i * k, j->l->in_min, j->l->in_max, k);
    }
}

static void clamp_out(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const size_t k = j->l->w.rows;

    (void)thread;
    j->e->products.kern->clamp(j->y + begin * k, j->y + begin * k, j->l->out_min, j->l->out_max, (end - begin) * k);
}

static void product(struct job *j)
{
    const struct gem_audio_linear *l = j->l;
    struct gem_forward *f = &j->e->products;
    const bool clips_in = l->in_min > -INFINITY || l->in_max < INFINITY || j->silu;
    struct gem_act act = gem_act_of(f, clips_in ? j->e->clip : j->x, l->w.cols, j->n, l->w.cols);

    if (clips_in) gem_pool_run(f->pool, j->n, 8, clamp_in, j);
    gem_linear(f, j->y, l->w.rows, &l->w, &act);
    if (l->out_min > -INFINITY || l->out_max < INFINITY) gem_pool_run(f->pool, j->n, 8, clamp_out, j);
}

/* ---- bfloat16 ------------------------------------------------------------------------------------------------ */

static void round_rows(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const size_t k = j->l->w.cols;
    float *row = j->e->products.threads[thread].tile;

    for (size_t i = begin; i < end; i++) {
        if (j->silu) silu(j, i);
        j->e->products.kern->clamp(row, j->x + i * k, j->l->in_min, j->l->in_max, k);
        j->e->products.kern->to_bf16(j->half + i * k, row, k);
    }
}

enum { BLOCK_ROWS = 128 };

/* Items are tiles of GEM_TILE rows of the matrix. Activations go in blocks that stay in the second-level cache; outputs
 * wait side by side until a block is done, since rows of y lie at powers of two, which caches dislike. */
static void half_tiles(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const struct gem_matrix *w = &j->l->w;
    const size_t fit = ((size_t)512 << 10) / (w->cols * sizeof *j->half + 1) + 1;
    const size_t block = fit < BLOCK_ROWS ? fit : BLOCK_ROWS;
    const struct gem_kernels *kern = j->e->products.kern;
    float tile[BLOCK_ROWS * GEM_TILE];

    (void)thread;
    for (size_t at = 0; at < j->n; at += block) {
        const size_t m = j->n - at < block ? j->n - at : block;

        for (size_t i = begin; i < end; i++) {
            const size_t first = i * GEM_TILE, left = w->rows - first, n = left < GEM_TILE ? left : GEM_TILE;
            float *y = j->y + at * w->rows + first;

            kern->gemm_bf16_bf16((const uint16_t *)(const void *)(w->data + first * w->row_bytes), w->cols,
                                 j->half + at * w->cols, w->cols, tile, GEM_TILE, n, m, w->cols);
            for (size_t r = 0; r < m; r++)
                kern->clamp(y + r * w->rows, tile + r * GEM_TILE, j->l->out_min, j->l->out_max, n);
        }
    }
}

static void run(struct job *j)
{
    struct gem_pool *pool = j->e->products.pool;

    if (!j->l->half) {
        product(j);
        return;
    }
    gem_pool_run(pool, j->n, 4, round_rows, j);
    gem_pool_run(pool, (j->l->w.rows + GEM_TILE - 1) / GEM_TILE, 4, half_tiles, j);
}

void gem_audio_product(struct gem_audio_encoder *e, float *y, const struct gem_audio_linear *l, const float *x,
                       uint32_t n)
{
    struct job job = {.e = e, .l = l, .x = x, .y = y, .n = n, .half = (uint16_t *)(void *)e->products.act};

    run(&job);
}

void gem_audio_product_silu(struct gem_audio_encoder *e, float *y, const struct gem_audio_linear *l, float *x,
                            uint32_t n)
{
    struct job job = {.e = e, .l = l, .x = x, .silu = x, .y = y, .n = n};

    job.half = (uint16_t *)(void *)e->products.act;
    run(&job);
}
