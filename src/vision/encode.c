/* SPDX-License-Identifier: Apache-2.0
 *
 * Read with spec/multimodal.md 2.3 and 2.4 beside it. A layer is two loops: over blocks of rows for all that a row does
 * by itself, from one attention to the next, and over heads and blocks of queries for attention. */
#include "vision/tower.h"

#include <math.h>

enum { ROWS = GEM_VISION_ROWS };

static const float eps = 1e-6f, layer_norm_eps = 1e-5f;

struct pass {
    const struct gem_vision *v;
    const struct gem_kernels *kern;
    const struct gem_image *image;
    uint32_t columns, rows, n;                     /* of patches, or of squares */
    const struct gem_vision_layer *finish, *begin; /* layers whose attention is over; that comes next */
    struct gem_vision_attention attention;
    float *x, *att;         /* [n, width], [n, heads * head_dim] */
    float *cos[2], *sin[2]; /* [columns or rows, head_dim / 4] of X and of Y */
    float *soft;
    struct gem_vision_buffers *threads;
};

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static size_t most(size_t a, size_t b) { return a > b ? a : b; }

static void take_buffers(struct gem_vision_buffers *t, struct gem_arena *a, const struct gem_vision_hparams *h)
{
    const size_t input = (size_t)(h->encoder_free ? GEM_CELL * GEM_CELL : GEM_PATCH * GEM_PATCH) * 3;
    const size_t attention = (size_t)h->n_heads * h->head_dim;
    const size_t wide = most(most(h->width, attention), input), widest = most(wide, h->ffn);
    const size_t padded = (widest + GEM_ACT_BLOCK - 1) / GEM_ACT_BLOCK * GEM_ACT_BLOCK;

    t->a = gem_vision_take(a, ROWS * wide, sizeof(float));
    t->b = gem_vision_take(a, ROWS * wide, sizeof(float));
    t->gate = gem_vision_take(a, (uint64_t)ROWS * h->ffn, sizeof(float));
    t->up = gem_vision_take(a, (uint64_t)ROWS * h->ffn, sizeof(float));
    t->clipped = gem_vision_take(a, h->clipped ? ROWS * widest : 0, sizeof(float));
    t->tile = gem_vision_take(a, GEM_VISION_TILE * padded, sizeof(float));
    t->act = gem_vision_take(a, ROWS, most(gem_act_bytes(padded), padded * sizeof(uint16_t)));
}

static void layout(struct pass *p, struct gem_arena *a, unsigned n_threads)
{
    const struct gem_vision_hparams *h = &p->v->h;
    const uint64_t n = p->n;

    if (!h->encoder_free) {
        p->x = gem_vision_take(a, n * h->width, sizeof(float));
        p->att = gem_vision_take(a, n * h->n_heads * h->head_dim, sizeof(float));
        gem_vision_attention_take(&p->attention, a);
        for (int axis = 0; axis < 2; axis++) {
            const uint64_t angles = (uint64_t)(axis ? p->rows : p->columns) * (h->head_dim / 4);
            p->cos[axis] = gem_vision_take(a, angles, sizeof(float));
            p->sin[axis] = gem_vision_take(a, angles, sizeof(float));
        }
    }
    p->threads = gem_vision_take(a, n_threads, sizeof *p->threads);
    for (unsigned i = 0; i < n_threads; i++) {
        struct gem_vision_buffers t;
        take_buffers(&t, a, h);
        if (!h->encoder_free) gem_vision_scores_take(&t.scores, &p->attention, a);
        if (p->threads) p->threads[i] = t;
    }
}

static void set_grid(struct pass *p, struct gem_size size)
{
    const uint32_t side = p->v->h.encoder_free ? GEM_CELL : GEM_PATCH;

    p->columns = size.width / side;
    p->rows = size.height / side;
    p->n = p->columns * p->rows;
    p->attention = (struct gem_vision_attention){
        .kern = p->kern, .n = p->n, .n_heads = p->v->h.n_heads, .d = p->v->h.head_dim, .pairs = p->v->pairs};
}

uint64_t gem_vision_scratch_bytes(const struct gem_vision *v, unsigned n_threads, struct gem_size size)
{
    struct pass p = {.v = v};
    struct gem_arena count = {0};

    set_grid(&p, size);
    layout(&p, &count, n_threads);
    return count.used;
}

gem_status gem_vision_scratch_fit(struct gem_vision_scratch *s, uint64_t n_bytes, gem_error *err)
{
    if (n_bytes <= s->arena.cap) return GEM_OK;
    gem_arena_close(&s->arena);
    return gem_arena_open(&s->arena, n_bytes, "encoding an image", err);
}

void gem_vision_scratch_close(struct gem_vision_scratch *s) { gem_arena_close(&s->arena); }

gem_status gem_vision_check(const struct gem_vision *v, struct gem_size size, gem_error *err)
{
    struct pass p = {.v = v};

    set_grid(&p, size);
    if (p.columns <= v->h.n_positions && p.rows <= v->h.n_positions) return GEM_OK;
    return gem_fail(err, GEM_E_LIMIT, 0, "an image of %u x %u patches, but the vision tower has %u positions on a side",
                    p.columns, p.rows, v->h.n_positions);
}

/* ---- input ------------------------------------------------------------------------------------------------------- */

/* (row, column, channel) to (channel, row, column) */
static void reorder(float *out, const float *in, uint32_t pixels)
{
    for (uint32_t c = 0; c < 3; c++)
        for (uint32_t i = 0; i < pixels; i++) *out++ = in[3 * i + c];
}

/* Patch or square i in the order that the first matrix wants; spare [as long]. */
static void load_square(const struct pass *p, uint32_t side, size_t i, float *out, float *spare)
{
    const uint32_t x = (uint32_t)(i % p->columns), y = (uint32_t)(i / p->columns);

    gem_vision_square(p->image, side, x, y, p->v->channel_first ? spare : out);
    if (p->v->channel_first) reorder(out, spare, side * side);
}

/* row [width] += T[x][X] + T[y][Y] */
static void add_position(const struct pass *p, size_t i, float *row, float *spare)
{
    const struct gem_vision *v = p->v;

    for (uint32_t axis = 0; axis < 2; axis++) {
        const uint32_t at = axis ? (uint32_t)(i / p->columns) : (uint32_t)(i % p->columns);
        gem_matrix_row(&v->position, v->axis_first ? axis * v->h.n_positions + at : 2 * at + axis, spare);
        p->kern->add(row, spare, v->h.width);
    }
}

static void embed_patches(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct pass *p = context;
    const struct gem_vision_buffers *t = &p->threads[thread];
    const struct gem_vision_linear patch = {.matrix = p->v->patch};
    const size_t n_in = (size_t)GEM_PATCH * GEM_PATCH * 3, width = p->v->h.width;

    for (size_t block = begin; block < end; block++) {
        const size_t first = block * ROWS, m = p->n - first < ROWS ? p->n - first : ROWS;

        for (size_t r = 0; r < m; r++) {
            float *in = t->a + r * n_in;
            load_square(p, GEM_PATCH, first + r, in, t->b);
            for (size_t j = 0; j < n_in; j++) in[j] = 2 * (in[j] - 0.5f);
        }
        gem_vision_apply(p->kern, t, &patch, t->a, n_in, m, p->x + first * width, width);
        for (size_t r = 0; r < m; r++) add_position(p, first + r, p->x + (first + r) * width, t->b);
    }
}

/* ---- rows of a layer --------------------------------------------------------------------------------------------- */

static void norm_rows(const struct pass *p, float *out, const float *in, size_t m, const float *w)
{
    const size_t n = p->v->h.width;

    for (size_t r = 0; r < m; r++) p->kern->rms_norm(out + r * n, in + r * n, w, n, eps);
}

/* x += rms(branch, w) */
static void join(const struct pass *p, float *x, float *branch, size_t m, const float *w)
{
    norm_rows(p, branch, branch, m, w);
    p->kern->add(x, branch, m * p->v->h.width);
}

/* One head of row i, turned by its position: the first half by X, the second by Y. */
static void rotate(const struct pass *p, size_t i, float *x)
{
    const uint32_t half = p->v->h.head_dim / 2, n_rot = half / 2;
    const size_t at[2] = {i % p->columns, i / p->columns};

    for (int axis = 0; axis < 2; axis++)
        p->kern->rope(x + (size_t)axis * half, 1, half, p->cos[axis] + at[axis] * n_rot,
                      p->sin[axis] + at[axis] * n_rot, n_rot);
}

typedef void put_fn(const struct gem_vision_attention *a, size_t head, size_t row, const float *x);

/* Heads of rows [m, heads * head_dim] to where attention wants them. norm NULL: values, which do not turn. */
static void put_heads(const struct pass *p, float *rows, size_t first, size_t m, const float *norm, put_fn *put)
{
    const size_t d = p->v->h.head_dim, n_heads = p->v->h.n_heads;

    for (size_t r = 0; r < m; r++)
        for (size_t h = 0; h < n_heads; h++) {
            float *x = rows + (r * n_heads + h) * d;
            p->kern->rms_norm(x, x, norm, d, eps);
            if (norm) rotate(p, first + r, x);
            put(&p->attention, h, first + r, x);
        }
}

static void begin_layer(const struct pass *p, const struct gem_vision_buffers *t, const struct gem_vision_layer *l,
                        size_t first, size_t m)
{
    const size_t width = p->v->h.width, attention = (size_t)p->v->h.n_heads * p->v->h.head_dim;

    norm_rows(p, t->a, p->x + first * width, m, l->attn_norm);
    gem_vision_apply(p->kern, t, &l->q, t->a, width, m, t->b, attention);
    put_heads(p, t->b, first, m, l->q_norm, gem_vision_put_query);
    gem_vision_apply(p->kern, t, &l->k, t->a, width, m, t->b, attention);
    put_heads(p, t->b, first, m, l->k_norm, gem_vision_put_key);
    gem_vision_apply(p->kern, t, &l->v, t->a, width, m, t->b, attention);
    put_heads(p, t->b, first, m, NULL, gem_vision_put_value);
}

static void finish_layer(const struct pass *p, const struct gem_vision_buffers *t, const struct gem_vision_layer *l,
                         size_t first, size_t m)
{
    const size_t width = p->v->h.width, ffn = p->v->h.ffn, attention = (size_t)p->v->h.n_heads * p->v->h.head_dim;
    float *x = p->x + first * width;

    gem_vision_apply(p->kern, t, &l->o, p->att + first * attention, attention, m, t->a, width);
    join(p, x, t->a, m, l->post_attn_norm);
    norm_rows(p, t->a, x, m, l->ffn_norm);
    gem_vision_apply(p->kern, t, &l->gate, t->a, width, m, t->gate, ffn);
    gem_vision_apply(p->kern, t, &l->up, t->a, width, m, t->up, ffn);
    p->kern->gelu_mul(t->gate, t->up, m * ffn);
    gem_vision_apply(p->kern, t, &l->down, t->gate, ffn, m, t->a, width);
    join(p, x, t->a, m, l->post_ffn_norm);
}

static void layer_rows(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct pass *p = context;
    const struct gem_vision_buffers *t = &p->threads[thread];

    for (size_t block = begin; block < end; block++) {
        const size_t first = block * ROWS, m = p->n - first < ROWS ? p->n - first : ROWS;
        if (p->finish) finish_layer(p, t, p->finish, first, m);
        if (p->begin) begin_layer(p, t, p->begin, first, m);
    }
}

/* ---- attention --------------------------------------------------------------------------------------------------- */

/* As the reference: inverse frequencies and angles in float32. */
static void make_angles(const struct pass *p)
{
    const uint32_t half = p->v->h.head_dim / 2, n_rot = half / 2;

    for (int axis = 0; axis < 2; axis++)
        for (uint32_t at = 0; at < (axis ? p->rows : p->columns); at++)
            for (uint32_t j = 0; j < n_rot; j++) {
                const float angle = (float)at * (float)(1 / pow(100, 2.0 * j / half));
                p->cos[axis][(size_t)at * n_rot + j] = (float)cos((double)angle);
                p->sin[axis][(size_t)at * n_rot + j] = (float)sin((double)angle);
            }
}

static void attend(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct pass *p = context;

    for (size_t i = begin; i < end; i++) gem_vision_attend(&p->attention, i, &p->threads[thread].scores, p->att);
}

/* ---- output ------------------------------------------------------------------------------------------------------ */

/* Mean of 3 x 3 patches times sqrt(width), standardised where the model is, and normalised. */
static void pool_cell(const struct pass *p, size_t cell, float *out)
{
    const size_t width = p->v->h.width, per_row = p->columns / GEM_POOL;
    const size_t x = cell % per_row * GEM_POOL, y = cell / per_row * GEM_POOL;
    const float root = (float)sqrt((double)width);

    memset(out, 0, width * sizeof *out);
    for (size_t dy = 0; dy < GEM_POOL; dy++)
        for (size_t dx = 0; dx < GEM_POOL; dx++)
            p->kern->add(out, p->x + ((y + dy) * p->columns + x + dx) * width, width);
    for (size_t i = 0; i < width; i++) out[i] = out[i] / (GEM_POOL * GEM_POOL) * root;
    for (size_t i = 0; i < width && p->v->h.standardized; i++)
        out[i] = (out[i] - p->v->std_bias[i]) * p->v->std_scale[i];
    p->kern->rms_norm(out, out, NULL, width, eps);
}

static void pool_cells(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct pass *p = context;
    const struct gem_vision_buffers *t = &p->threads[thread];
    const struct gem_vision_linear project = {.matrix = p->v->project};
    const size_t width = p->v->h.width, hidden = p->v->h.hidden, n = p->n / (GEM_POOL * GEM_POOL);

    for (size_t block = begin; block < end; block++) {
        const size_t first = block * ROWS, m = n - first < ROWS ? n - first : ROWS;
        for (size_t r = 0; r < m; r++) pool_cell(p, first + r, t->a + r * width);
        gem_vision_apply(p->kern, t, &project, t->a, width, m, p->soft + first * hidden, hidden);
    }
}

static void encode_patches(struct pass *p, struct gem_pool *pool)
{
    const uint32_t n_layers = p->v->h.n_layers;
    const size_t blocks = (p->n + ROWS - 1) / ROWS, items = gem_vision_attention_items(&p->attention);

    make_angles(p);
    gem_vision_attention_begin(&p->attention);
    gem_pool_run(pool, blocks, 1, embed_patches, p);
    for (uint32_t i = 0; i <= n_layers; i++) {
        p->finish = i > 0 ? &p->v->layers[i - 1] : NULL;
        p->begin = i < n_layers ? &p->v->layers[i] : NULL;
        gem_pool_run(pool, blocks, 1, layer_rows, p);
        if (i < n_layers) gem_pool_run(pool, items, 1, attend, p);
    }
    gem_pool_run(pool, (p->n / (GEM_POOL * GEM_POOL) + ROWS - 1) / ROWS, 1, pool_cells, p);
}

/* ---- without an encoder (spec 2.4) ------------------------------------------------------------------------------- */

static void layer_norm(float *x, size_t n, const struct gem_layer_norm *w)
{
    double sum = 0, squares = 0;
    float mean, scale;

    for (size_t i = 0; i < n; i++) sum += (double)x[i];
    mean = (float)(sum / (double)n);
    for (size_t i = 0; i < n; i++) squares += (double)(x[i] - mean) * (double)(x[i] - mean);
    scale = (float)(1 / sqrt(squares / (double)n + (double)layer_norm_eps));
    for (size_t i = 0; i < n; i++) x[i] = (x[i] - mean) * scale * w->weight[i] + w->bias[i];
}

static void embed_squares(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct pass *p = context;
    const struct gem_vision *v = p->v;
    const struct gem_vision_buffers *t = &p->threads[thread];
    const struct gem_vision_linear dense = {.matrix = v->patch}, project = {.matrix = v->project};
    const size_t n_in = (size_t)GEM_CELL * GEM_CELL * 3, width = v->h.width, hidden = v->h.hidden;

    for (size_t block = begin; block < end; block++) {
        const size_t first = block * ROWS, m = p->n - first < ROWS ? p->n - first : ROWS;

        for (size_t r = 0; r < m; r++) {
            load_square(p, GEM_CELL, first + r, t->a + r * n_in, t->b);
            layer_norm(t->a + r * n_in, n_in, &v->patch_norm);
        }
        gem_vision_apply(p->kern, t, &dense, t->a, n_in, m, t->b, width);
        for (size_t r = 0; r < m; r++) {
            float *row = t->b + r * width;
            p->kern->add(row, v->patch_bias, width);
            layer_norm(row, width, &v->dense_norm);
            add_position(p, first + r, row, t->a);
            layer_norm(row, width, &v->position_norm);
            p->kern->rms_norm(row, row, NULL, width, eps);
        }
        gem_vision_apply(p->kern, t, &project, t->b, width, m, p->soft + first * hidden, hidden);
    }
}

void gem_vision_encode(const struct gem_vision *v, const struct gem_kernels *kern, struct gem_pool *pool,
                       struct gem_vision_scratch *s, const struct gem_image *image, float *soft)
{
    struct pass p = {.v = v, .kern = kern, .image = image, .soft = soft};
    const size_t mark = gem_arena_mark(&s->arena);

    set_grid(&p, (struct gem_size){image->width, image->height});
    layout(&p, &s->arena, gem_pool_threads(pool));
    if (v->h.encoder_free)
        gem_pool_run(pool, (p.n + ROWS - 1) / ROWS, 1, embed_squares, &p);
    else
        encode_patches(&p, pool);
    gem_arena_rewind(&s->arena, mark);
}
