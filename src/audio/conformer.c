/* SPDX-License-Identifier: Apache-2.0
 *
 * One block, as spec/multimodal.md 5.3 and 5.4 have it:
 *
 *   x = FF(x);  x = x + norm(attention(norm(x)));  x = LConv(x);  x = FF(x);  x = norm(x)
 *
 * The reference also clamps to +-1e10 in seven places, for number formats with a smaller range: nothing here comes near
 * it that is not NaN or infinite soon after. */
#include "audio/audio.h"

enum { PAST = GEM_AUDIO_DISTANCES - 1, GLU_PAST = GEM_AUDIO_KERNEL - 1 };

static const float eps = GEM_AUDIO_EPS, logit_cap = 50.0f;
static const float key_scale = 1.8946361240f; /* ln(1 + e) / ln 2 */

struct job {
    struct gem_audio_encoder *e;
    const struct gem_audio_layer *l;
    const float *relative; /* [GEM_AUDIO_DISTANCES, hidden] */
    float *x;
    const float *in, *w;
    size_t n; /* floats of a row */
};

static void run(struct gem_audio_encoder *e, uint32_t n, gem_loop_fn *fn, struct job *job)
{
    gem_pool_run(e->products.pool, n, 4, fn, job);
}

/* ---- rows ---------------------------------------------------------------------------------------------------- */

static void norm_items(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;

    (void)thread;
    for (size_t i = begin; i < end; i++)
        j->e->products.kern->rms_norm(j->x + i * j->n, j->in + i * j->n, j->w, j->n, eps);
}

/* out = norm(in), in place when they are the same. */
static void norm(struct gem_audio_encoder *e, float *out, const float *in, const float *w, uint32_t n)
{
    struct job job = {.e = e, .x = out, .in = in, .w = w, .n = e->w->hidden};

    run(e, n, norm_items, &job);
}

static void join_items(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;

    (void)thread;
    for (size_t i = begin; i < end; i++) {
        float *branch = j->e->norm + i * j->n, *x = j->x + i * j->n;
        if (j->w) j->e->products.kern->rms_norm(branch, branch, j->w, j->n, eps);
        j->e->products.kern->add(x, branch, j->n);
    }
}

/* e->x += norm(e->norm); w NULL: as it is. */
static void join(struct gem_audio_encoder *e, const float *w, uint32_t n)
{
    struct job job = {.e = e, .x = e->x, .w = w, .n = e->w->hidden};

    run(e, n, join_items, &job);
}

/* ---- feed-forward -------------------------------------------------------------------------------------------- */

static void feed_forward(struct gem_audio_encoder *e, const struct gem_audio_ffn *ff, uint32_t n)
{
    gem_audio_feed_forward(e, e->norm, ff, e->x, n);
    join(e, ff->post_norm, n);
}

/* ---- attention ----------------------------------------------------------------------------------------------- */

/* One query against the newest n_keys keys, for all heads: out [hidden]. key, value, relative: the first of them. */
static void attend(const struct job *j, float *q, const float *key, const float *value, const float *relative,
                   size_t n_keys, float *scores, float *out)
{
    const struct gem_kernels *kern = j->e->products.kern;
    const size_t hidden = j->n, d = j->e->w->head_dim;
    float *distant = scores + GEM_ALIGN / sizeof *scores, max;

    memset(out, 0, hidden * sizeof *out);
    for (size_t at = 0; at < hidden; at += d) {
        float sum;

        for (size_t c = 0; c < d; c++) q[at + c] *= j->l->query_scale[c];
        kern->gemm_f32(key + at, hidden, q + at, hidden, scores, n_keys, n_keys, 1, d);
        kern->gemm_f32(relative + at, hidden, q + at, hidden, distant, n_keys, n_keys, 1, d);
        for (size_t i = 0; i < n_keys; i++) scores[i] = scores[i] * key_scale + distant[i];
        kern->softcap(scores, n_keys, logit_cap);
        sum = kern->softmax(scores, n_keys, &max);
        for (size_t i = 0; i < n_keys; i++) scores[i] /= sum;
        kern->value_f32(scores, n_keys, value + at, hidden, out + at, hidden, 1, n_keys, d);
    }
}

static void attend_items(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const struct gem_audio_encoder *e = j->e;
    float *scores = e->scores + thread * 2 * (GEM_ALIGN / sizeof *scores);

    for (size_t i = begin; i < end; i++) {
        const size_t seen = e->n_done + i + 1;
        const size_t n_keys = seen < GEM_AUDIO_DISTANCES ? seen : GEM_AUDIO_DISTANCES;
        const size_t first = GEM_AUDIO_DISTANCES - n_keys;

        attend(j, e->wide + i * j->n, e->k + (i + first) * j->n, e->v + (i + first) * j->n, j->relative + first * j->n,
               n_keys, scores, e->norm + i * j->n);
    }
}

/* Rows of the past go before those of this step, and the newest of both become the past. */
static void recall(float *rows, const float *past, size_t n_past, size_t width)
{
    memcpy(rows, past, n_past * width * sizeof *rows);
}

static void remember(float *past, const float *rows, size_t n_past, size_t n, size_t width)
{
    memcpy(past, rows + n * width, n_past * width * sizeof *past);
}

static void attention(struct gem_audio_encoder *e, const struct gem_audio_layer *l, uint32_t layer, uint32_t n)
{
    const size_t hidden = e->w->hidden;
    struct gem_audio_state *s = &e->states[layer];
    struct job job = {.e = e, .l = l, .n = hidden};

    job.relative = e->relative + (size_t)layer * GEM_AUDIO_DISTANCES * hidden;
    gem_audio_product(e, e->wide, &l->q, l->attn_norm, e->x, n);
    gem_audio_product(e, e->k + PAST * hidden, &l->k, l->attn_norm, e->x, n);
    gem_audio_product(e, e->v + PAST * hidden, &l->v, l->attn_norm, e->x, n);
    recall(e->k, s->k, PAST, hidden);
    recall(e->v, s->v, PAST, hidden);
    run(e, n, attend_items, &job);
    remember(s->k, e->k, PAST, n, hidden);
    remember(s->v, e->v, PAST, n, hidden);
    gem_audio_product(e, e->norm, &l->o, NULL, e->norm, n);
    join(e, l->post_attn_norm, n);
}

/* ---- convolution --------------------------------------------------------------------------------------------- */

/* [n, 2 hidden] -> [n, hidden]: the first half times the sigmoid of the second. */
static void glu_items(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;

    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const float *in = j->in + 2 * i * j->n;
        float *out = j->x + i * j->n;

        memcpy(out, in, j->n * sizeof *out);
        j->e->products.kern->sigmoid_mul(out, in + j->n, j->n);
    }
}

/* Depthwise and causal; then norm and SiLU. */
static void depthwise_items(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const struct gem_kernels *kern = j->e->products.kern;

    (void)thread;
    for (size_t i = begin; i < end; i++) {
        float *y = j->x + i * j->n;

        memset(y, 0, j->n * sizeof *y);
        for (size_t tap = 0; tap < GEM_AUDIO_KERNEL; tap++) {
            const float *w = j->l->conv + tap * j->n, *x = j->in + (i + tap) * j->n;
            for (size_t c = 0; c < j->n; c++) y[c] += w[c] * x[c];
        }
        kern->rms_norm(y, y, j->l->post_conv_norm, j->n, eps);
        kern->sigmoid_mul(y, y, j->n);
    }
}

static void convolution(struct gem_audio_encoder *e, const struct gem_audio_layer *l, uint32_t layer, uint32_t n)
{
    const size_t hidden = e->w->hidden;
    struct gem_audio_state *s = &e->states[layer];
    struct job glu = {.e = e, .x = e->glu + GLU_PAST * hidden, .in = e->wide, .n = hidden};
    struct job conv = {.e = e, .l = l, .x = e->wide, .in = e->glu, .n = hidden};

    gem_audio_product(e, e->wide, &l->start, l->conv_norm, e->x, n);
    run(e, n, glu_items, &glu);
    recall(e->glu, s->glu, GLU_PAST, hidden);
    run(e, n, depthwise_items, &conv);
    remember(s->glu, e->glu, GLU_PAST, n, hidden);
    gem_audio_product(e, e->norm, &l->end, NULL, e->wide, n);
    join(e, NULL, n);
}

void gem_audio_conformer(struct gem_audio_encoder *e, uint32_t layer, uint32_t n)
{
    const struct gem_audio_layer *l = &e->w->layers[layer];

    feed_forward(e, &l->ffn[0], n);
    attention(e, l, layer, n);
    convolution(e, l, layer, n);
    feed_forward(e, &l->ffn[1], n);
    norm(e, e->x, e->x, l->out_norm, n);
}
