/* SPDX-License-Identifier: Apache-2.0 */
#include "model/coarse.h"

#include <float.h>
#include <math.h>
#include <stdatomic.h>

static bool is_float(enum gem_type type) { return type == GEM_F32 || type == GEM_F16 || type == GEM_BF16; }

static uint64_t vector_bytes(const struct gem_matrix *m) { return gem_n_panels(m->rows) * GEM_PANEL * sizeof(float); }

uint64_t gem_coarse_bytes(const struct gem_matrix *head)
{
    if (!is_float(head->type) || head->cols % GEM_ACT_BLOCK) return 0;
    return gem_n_panels(head->rows) * gem_panel_bytes(GEM_PK_Q8, head->cols) + 2 * vector_bytes(head);
}

/* ---- the copy ---------------------------------------------------------------------------------------------- */

struct maker {
    const struct gem_matrix *from;
    struct gem_coarse *to;
    uint8_t *panels;
    uint8_t *scratch; /* scratch_bytes a thread: two rows of floats, then GEM_PANEL rows of Q8_0 */
    uint64_t scratch_bytes;
    size_t first; /* the panel that item 0 is */
};

enum { Q8_BYTES = 34 }; /* of a block of Q8_0: its float16 scale, 32 codes */

/* At least the root of a sum of n squares in double, as a float. */
static float round_up(double sum) { return (float)(sqrt(sum) * (1 + 4 * FLT_EPSILON)); }

enum { SUMS = 8 };

static double add_up(const double sum[SUMS])
{
    double all = 0;

    for (int i = 0; i < SUMS; i++) all += sum[i];
    return all;
}

/* The row's two norms. n is a multiple of 32. */
static void measure(float *left, float *norm, const float *w, const float *c, size_t n)
{
    double l[SUMS] = {0}, s[SUMS] = {0};

    for (size_t i = 0; i < n; i += SUMS)
        for (size_t j = 0; j < SUMS; j++) {
            const double copy = c[i + j], d = w[i + j] - copy;
            l[j] += d * d;
            s[j] += copy * copy;
        }
    *left = round_up(add_up(l));
    *norm = round_up(add_up(s));
}

/* A block of Q8_0 and what it decodes to; false: infinite, NaN or too large. As gem_encode_row, but halves go to even:
 * compilers make vectors of it, 8 bits in a quarter of the time. */
static bool encode_block(const float *w, uint8_t *q8, float *copy)
{
    const float magic = 0x1.8p23f; /* added and taken away, it rounds what is smaller than 2^22 to a whole number */
    int8_t code[GEM_ACT_BLOCK];
    float most = 0, d, inverse;
    uint16_t h;
    int bad = 0;

    for (int i = 0; i < GEM_ACT_BLOCK; i++) bad |= !(fabsf(w[i]) < INFINITY);
    for (int i = 0; i < GEM_ACT_BLOCK; i++) most = fabsf(w[i]) > most ? fabsf(w[i]) : most;
    h = gem_f32_to_f16(most / 127);
    if (bad || (h & 0x7c00) == 0x7c00) return false;
    d = gem_f16_to_f32(h);
    inverse = most >= 0x1p-100f ? 127 / most : 0;
    for (int i = 0; i < GEM_ACT_BLOCK; i++) {
        const float q = w[i] * inverse + magic - magic;
        code[i] = (int8_t)q;
        copy[i] = q * d;
    }
    q8[0] = (uint8_t)h;
    q8[1] = (uint8_t)(h >> 8);
    memcpy(q8 + 2, code, sizeof code);
    return true;
}

static void make_row(const struct maker *k, uint32_t row, uint8_t *q8, float *w, float *c)
{
    const uint32_t n = k->from->cols;

    bool ok = true;

    gem_decode_row(k->from->type, k->from->data + row * k->from->row_bytes, w, n);
    for (uint32_t i = 0; i < n / GEM_ACT_BLOCK; i++)
        ok &= encode_block(w + i * GEM_ACT_BLOCK, q8 + i * Q8_BYTES, c + i * GEM_ACT_BLOCK);
    if (!ok) {
        memset(q8, 0, (size_t)gem_row_bytes(GEM_Q8_0, n));
        k->to->left[row] = INFINITY;
        k->to->norm[row] = 0;
        return;
    }
    measure(&k->to->left[row], &k->to->norm[row], w, c, n);
}

/* Items are panels from `first` on. */
static void make_panels(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct maker *k = context;
    const uint32_t rows = k->from->rows, cols = k->from->cols;
    const size_t row_bytes = (size_t)gem_row_bytes(GEM_Q8_0, cols);
    float *w = (float *)(void *)(k->scratch + thread * k->scratch_bytes), *c = w + cols;
    uint8_t *q8 = (uint8_t *)(c + cols);

    for (size_t i = k->first + begin; i < k->first + end; i++) {
        const uint32_t first = (uint32_t)(i * GEM_PANEL), n = rows - first < GEM_PANEL ? rows - first : GEM_PANEL;

        for (uint32_t r = 0; r < n; r++) make_row(k, first + r, q8 + r * row_bytes, w, c);
        gem_pack_panel(GEM_Q8_0, q8, row_bytes, n, cols, k->panels + i * gem_panel_bytes(GEM_PK_Q8, cols));
    }
}

/* Pages of the table are given back slice by slice: a ceiling of memory holds while the copy is made, too. */
static void make_all(struct maker *k, struct gem_pool *pool)
{
    enum { SLICE = 32 << 20 };
    const struct gem_matrix *m = k->from;
    const size_t n = gem_n_panels(m->rows), step = SLICE / (GEM_PANEL * m->row_bytes) + 1;

    for (; k->first < n; k->first += step) {
        const size_t here = n - k->first < step ? n - k->first : step, row = k->first * GEM_PANEL;
        const size_t rows = m->rows - row < here * GEM_PANEL ? m->rows - row : here * GEM_PANEL;

        gem_map_prefetch(m->data + row * m->row_bytes, rows * m->row_bytes);
        gem_pool_run(pool, here, 8, make_panels, k);
        gem_map_release(m->data + row * m->row_bytes, rows * m->row_bytes);
    }
}

static float largest_norm(const struct gem_coarse *c)
{
    float most = 0;

    for (uint32_t i = 0; i < c->head.rows; i++)
        if (c->left[i] < INFINITY && c->left[i] + c->norm[i] > most) most = c->left[i] + c->norm[i];
    return most * (1 + 4 * FLT_EPSILON);
}

gem_status gem_coarse_open(struct gem_coarse **out, const struct gem_matrix *head, struct gem_pool *pool,
                           gem_error *err)
{
    const uint64_t q8_bytes = gem_row_bytes(GEM_Q8_0, head->cols), panels = gem_n_panels(head->rows);
    struct gem_coarse *c = gem_calloc(1, sizeof *c, "a copy of the output head", err);
    struct maker k = {.from = head, .to = c};

    *out = NULL;
    if (!c) return GEM_E_NOMEM;
    k.scratch_bytes = gem_align_up(2 * head->cols * sizeof(float) + GEM_PANEL * q8_bytes);
    c->head = (struct gem_matrix){.type = GEM_Q8_0, .rows = head->rows, .cols = head->cols, .kind = GEM_PK_Q8};
    k.scratch = gem_alloc_aligned(k.scratch_bytes * gem_pool_threads(pool), "a packing buffer", err);
    if (k.scratch) k.panels = gem_alloc_aligned(gem_coarse_bytes(head), "a copy of the output head", err);
    if (!k.panels) {
        gem_free(k.scratch);
        gem_free(c);
        return GEM_E_NOMEM;
    }
    c->head.panels = k.panels;
    c->left = (float *)(void *)(k.panels + panels * gem_panel_bytes(GEM_PK_Q8, head->cols));
    c->norm = c->left + panels * GEM_PANEL;
    memset(c->left, 0, (size_t)(2 * vector_bytes(head)));
    make_all(&k, pool);
    gem_free(k.scratch);
    c->most = largest_norm(c);
    *out = c;
    return GEM_OK;
}

void gem_coarse_close(struct gem_coarse *c)
{
    if (!c) return;
    gem_free((void *)(uintptr_t)c->head.panels); /* the start of the block that was taken */
    gem_free(c);
}

/* ---- the bound --------------------------------------------------------------------------------------------- */

struct gem_coarse_error gem_coarse_bound(const struct gem_coarse *c, const float *x, const void *act)
{
    const size_t k = c->head.cols;
    const struct gem_act_block *first = act;
    const struct gem_act_block *second = (const void *)((const uint8_t *)act + gem_act_bytes(k));
    const double g = (8 + (double)k / 8) * FLT_EPSILON, h = (8 + (double)k / 16) * FLT_EPSILON;
    const double up = 1 + 16 * FLT_EPSILON; /* roundings of these numbers and of what is computed with them */
    double xx = 0, aa = 0, bb = 0, dd = 0, tiny, norm, rest;

    for (size_t i = 0; i < k; i++) {
        const struct gem_act_block *p = &first[i / GEM_ACT_BLOCK], *q = &second[i / GEM_ACT_BLOCK];
        const double a = (double)p->scale * p->q[i % GEM_ACT_BLOCK], b = (double)q->scale * q->q[i % GEM_ACT_BLOCK];
        const double d = x[i] - a - b;

        xx += (double)x[i] * x[i];
        aa += a * a;
        bb += b * b;
        dd += d * d;
    }
    norm = sqrt(xx);
    /* Adding the two products, and error to logit: each a rounding of at most FLT_EPSILON / 2 of |c| (|a| + |b|). */
    rest = sqrt(dd) + g * norm + (h + 4 * FLT_EPSILON) * (sqrt(aa) + sqrt(bb));
    /* Factors below 2^-126 may count as 0, products that small too. */
    tiny = (double)k * 0x1p-110 * (1 + norm + c->most);
    return (struct gem_coarse_error){.x = (float)(norm * (1 + g) * up),
                                     .rest = (float)(rest * up),
                                     .tiny = (float)(tiny * up),
                                     .usable = norm > 0 && norm < 1e18 && c->most < 1e18 && norm * c->most < 1e36};
}
