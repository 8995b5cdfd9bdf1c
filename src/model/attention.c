/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention (spec/text-model.md 2.4) over the caches. Softmax runs over spans of keys, each with its own maximum, that
 * are combined in order of position (Milakov and Gimelshein 2018, "Online normalizer calculation for softmax"). */
#include "model/forward.h"

#include <math.h>

/* ---- rotary tables --------------------------------------------------------------------------------------------- */

/* As the reference computes angles: inverse frequencies and their product with the position in float32. */
static void rope_row(const struct gem_rope_hparams *r, uint32_t head_dim, uint32_t position, float *cos_out,
                     float *sin_out)
{
    for (uint32_t i = 0; i < r->n_rot; i++) {
        const float inverse = (float)(1 / pow((double)r->base, 2.0 * i / head_dim)) / r->factor;
        const float angle = (float)position * inverse;
        cos_out[i] = (float)cos((double)angle);
        sin_out[i] = (float)sin((double)angle);
    }
}

static void rope_rows(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct gem_forward *f = context;
    const struct gem_hparams *h = f->h;
    uint32_t dim[2] = {0, 0};

    (void)thread;
    for (uint32_t i = 0; i < h->n_layers; i++) dim[h->layers[i].global] = h->layers[i].head_dim;
    for (size_t i = begin; i < end; i++)
        for (int global = 0; global < 2; global++) {
            const struct gem_rope_hparams *r = global ? &h->rope_global : &h->rope_local;
            if (dim[global])
                rope_row(r, dim[global], f->rows[i].position, f->cos[global] + i * r->n_rot,
                         f->sin[global] + i * r->n_rot);
        }
}

void gem_rope_rows(struct gem_forward *f) { gem_pool_run(f->pool, f->n_rows, 4, rope_rows, f); }

struct job {
    const struct gem_forward *f;
    uint32_t layer;
};

static void rotate(const struct gem_forward *f, uint32_t layer, size_t row, float *x, uint32_t n_heads)
{
    const struct gem_layer_hparams *l = &f->h->layers[layer];
    const uint32_t n_rot = l->global ? f->h->rope_global.n_rot : f->h->rope_local.n_rot;

    f->kern->rope(x, n_heads, l->head_dim, f->cos[l->global] + row * n_rot, f->sin[l->global] + row * n_rot, n_rot);
}

/* ---- keys and values ------------------------------------------------------------------------------------------- */

static void store(const struct gem_forward *f, const struct gem_cache *c, uint8_t *base, size_t at, const float *x,
                  size_t n)
{
    if (c->type == GEM_F32)
        memcpy((float *)base + at, x, n * sizeof(float));
    else
        f->kern->to_bf16((uint16_t *)base + at, x, n);
}

static void store_rows(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const struct gem_forward *f = j->f;
    const struct gem_layer_hparams *hl = &f->h->layers[j->layer];
    const size_t d = hl->head_dim, n = hl->n_kv_heads * d;

    (void)thread;
    for (size_t row = begin; row < end; row++) {
        const struct gem_row *r = &f->rows[row];
        const struct gem_cache_layer *cl = &r->cache->layers[j->layer];
        float *k = f->k + row * n, *v = f->v + row * n;

        for (uint32_t head = 0; head < hl->n_kv_heads; head++) {
            float *kh = k + head * d, *vh = v + head * d;
            const size_t at = gem_cache_at(cl, head, r->position);

            if (hl->k_eq_v) memcpy(vh, kh, d * sizeof *vh); /* before norm and rotation */
            f->kern->rms_norm(kh, kh, f->w->layers[j->layer].k_norm, d, f->h->eps);
            if (f->h->value_norm) f->kern->rms_norm(vh, vh, NULL, d, f->h->eps);
            rotate(f, j->layer, row, kh, 1);
            store(f, r->cache, cl->k, at, kh, d);
            store(f, r->cache, cl->v, at, vh, d);
        }
    }
}

void gem_store_kv(struct gem_forward *f, uint32_t layer)
{
    const struct gem_layer *l = &f->w->layers[layer];
    const size_t n = (size_t)f->h->layers[layer].n_kv_heads * f->h->layers[layer].head_dim;
    struct gem_act act = gem_act_of(f, f->norm, f->h->hidden, f->n_rows, f->h->hidden);
    struct job job = {.f = f, .layer = layer};

    gem_linear(f, f->k, n, &l->k, &act);
    if (!f->h->layers[layer].k_eq_v) gem_linear(f, f->v, n, &l->v, &act);
    gem_pool_run(f->pool, f->n_rows, 4, store_rows, &job);
}

/* ---- queries against keys -------------------------------------------------------------------------------------- */

/* All query heads of one row that share a key/value head. */
struct query {
    const struct gem_forward *f;
    const struct gem_cache *cache;
    const struct gem_cache_layer *layer;
    const float *q; /* [group, d] */
    uint32_t kv, group, d;
};

/* Scores of positions [a, b), which may wrap around the ring once. */
static void score_span(const struct query *q, uint32_t a, uint32_t b, float *s)
{
    gem_score_fn *score = q->cache->type == GEM_F32 ? q->f->kern->score_f32 : q->f->kern->score_bf16;
    const size_t bytes = gem_row_bytes(q->cache->type, 1);

    for (uint32_t p = a, n; p < b; p += n) {
        const uint32_t run = q->layer->cap - p % q->layer->cap;
        n = b - p < run ? b - p : run;
        score(q->q, q->d, q->layer->k + gem_cache_at(q->layer, q->kv, p) * bytes, q->d, s + (p - a), GEM_SPAN, q->group,
              n, q->d);
    }
}

static void value_span(const struct query *q, uint32_t a, uint32_t b, const float *s, float *out)
{
    gem_value_fn *value = q->cache->type == GEM_F32 ? q->f->kern->value_f32 : q->f->kern->value_bf16;
    const size_t bytes = gem_row_bytes(q->cache->type, 1);

    memset(out, 0, (size_t)q->group * q->d * sizeof *out);
    for (uint32_t p = a, n; p < b; p += n) {
        const uint32_t run = q->layer->cap - p % q->layer->cap;
        n = b - p < run ? b - p : run;
        value(s + (p - a), GEM_SPAN, q->layer->v + gem_cache_at(q->layer, q->kv, p) * bytes, q->d, out, q->d, q->group,
              n, q->d);
    }
}

/* acc = acc * a + part * b */
static void blend(float *acc, float a, const float *part, float b, uint32_t d)
{
    for (uint32_t i = 0; i < d; i++) acc[i] = acc[i] * a + part[i] * b;
}

/* Running state of the softmax of one head: maximum and sum so far, and the factors that the values gathered so far and
 * those of the newest span get. */
struct softmax_state {
    float top, sum, keep, add;
};

static void extend(struct softmax_state *s, float top, float sum)
{
    const float new_top = top > s->top ? top : s->top;

    s->keep = expf(s->top - new_top); /* 0 for the first span: the old maximum is -infinity */
    s->add = expf(top - new_top);
    s->sum = s->sum * s->keep + sum * s->add;
    s->top = new_top;
}

/* out [group, d] = softmax(q K) V over positions [first, last]. */
static void attend(const struct query *q, uint32_t first, uint32_t last, const struct gem_thread_scratch *t, float *out)
{
    struct softmax_state state[GEM_MAX_HEADS];

    for (uint32_t h = 0; h < q->group; h++) state[h] = (struct softmax_state){.top = -INFINITY};
    memset(out, 0, (size_t)q->group * q->d * sizeof *out);
    for (uint32_t a = first, b; a <= last; a = b) {
        b = (a / GEM_SPAN + 1) * GEM_SPAN;
        if (b > last + 1) b = last + 1;
        score_span(q, a, b, t->scores);
        for (uint32_t h = 0; h < q->group; h++) {
            float top;
            const float sum = q->f->kern->softmax(t->scores + (size_t)h * GEM_SPAN, b - a, &top);
            extend(&state[h], top, sum);
        }
        value_span(q, a, b, t->scores, t->part);
        for (uint32_t h = 0; h < q->group; h++)
            blend(out + (size_t)h * q->d, state[h].keep, t->part + (size_t)h * q->d, state[h].add, q->d);
    }
    for (uint32_t h = 0; h < q->group; h++)
        for (uint32_t i = 0; i < q->d; i++) out[(size_t)h * q->d + i] /= state[h].sum;
}

static void prepare_queries(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const struct gem_forward *f = j->f;
    const uint32_t d = f->h->layers[j->layer].head_dim, n_heads = f->h->n_heads;

    (void)thread;
    for (size_t row = begin; row < end; row++) {
        float *q = f->q + row * n_heads * d;
        for (uint32_t h = 0; h < n_heads; h++)
            f->kern->rms_norm(q + (size_t)h * d, q + (size_t)h * d, f->w->layers[j->layer].q_norm, d, f->h->eps);
        rotate(f, j->layer, row, q, n_heads);
    }
}

/* Item i is key/value head i % n of row i / n. */
static void attend_items(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const struct gem_forward *f = j->f;
    const struct gem_layer_hparams *hl = &f->h->layers[j->layer];
    const uint32_t group = f->h->n_heads / hl->n_kv_heads, d = hl->head_dim;

    for (size_t i = begin; i < end; i++) {
        const size_t row = i / hl->n_kv_heads, kv = i % hl->n_kv_heads;
        const size_t at = (row * f->h->n_heads + kv * group) * d;
        const uint32_t last = f->rows[row].position;
        const struct query q = {.f = f,
                                .cache = f->rows[row].cache,
                                .layer = &f->rows[row].cache->layers[hl->kv_layer],
                                .q = f->q + at,
                                .kv = (uint32_t)kv,
                                .group = group,
                                .d = d};
        const uint32_t first = hl->global || last < f->h->window ? 0 : last - f->h->window + 1;

        attend(&q, first, hl->global ? last : f->rows[row].sees_to, &f->threads[thread], f->att + at);
    }
}

void gem_attention(struct gem_forward *f, uint32_t layer)
{
    const struct gem_layer *l = &f->w->layers[layer];
    const struct gem_layer_hparams *hl = &f->h->layers[layer];
    const size_t n = (size_t)f->h->n_heads * hl->head_dim;
    struct gem_act in = gem_act_of(f, f->norm, f->h->hidden, f->n_rows, f->h->hidden);
    struct gem_act out = gem_act_of(f, f->att, n, f->n_rows, (uint32_t)n);
    struct job job = {.f = f, .layer = layer};

    gem_linear(f, f->q, n, &l->q, &in);
    gem_pool_run(f->pool, f->n_rows, 2, prepare_queries, &job);
    gem_pool_run(f->pool, (size_t)f->n_rows * hl->n_kv_heads, 1, attend_items, &job);
    gem_linear(f, f->out, f->h->hidden, &l->o, &out);
}
