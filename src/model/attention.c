/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention (spec/text-model.md 2.4) over the caches.
 *
 * Softmax runs over spans of keys, each with its own maximum, that are combined in order of position (Milakov and
 * Gimelshein 2018, "Online normalizer calculation for softmax"). A block is some consecutive rows of one session: its
 * queries that share a key/value head go through the keys together. Where there are many blocks, threads share blocks;
 * where there are few (decoding), threads share their spans and the parts are combined afterwards, in the same order.
 *
 * SAME BITS: a query's part of a span depends on the span alone. Keys that the query does not see, of which there may
 * be more or fewer at the ends, have a score of -infinity, which adds 0. */
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

/* One scale for all of a row; q in [-127, 127]. What is not finite makes the scale NaN, and with it every score. */
static float quantize_row(int8_t *q, const float *x, size_t n)
{
    float max = 0, inverse;

    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) return NAN;
        if (fabsf(x[i]) > max) max = fabsf(x[i]);
    }
    inverse = max > 0x1p-100f ? 127.0f / max : 0;
    for (size_t i = 0; i < n; i++) q[i] = (int8_t)lrintf(x[i] * inverse);
    return max / 127.0f;
}

/* Key and value of one head, as the cache of the row wants them; tmp: room for both. */
static void store_head(const struct gem_kernels *kern, const struct gem_cache *c, const struct gem_cache_layer *l,
                       uint32_t head, uint32_t position, const float *k, const float *v, void *tmp)
{
    const size_t d = l->head_dim, k_dim = l->key_dim, at = gem_cache_scale(l, head, position);
    uint16_t *half = tmp;
    int8_t *byte = tmp;

    switch (c->type) {
    case GEM_CACHE_F32: gem_cache_put(c, l, head, position, k, v); break;
    case GEM_CACHE_BF16:
        kern->to_bf16(half, k, k_dim);
        kern->to_bf16(half + k_dim, v, d);
        gem_cache_put(c, l, head, position, half, half + k_dim);
        break;
    case GEM_CACHE_INT8:
        memset(byte, 0, k_dim + d);
        l->k_scale[at] = quantize_row(byte, k, k_dim);
        l->v_scale[at] = quantize_row(byte + k_dim, v, d);
        gem_cache_put(c, l, head, position, byte, byte + k_dim);
        break;
    }
}

static void store_rows(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const struct gem_forward *f = j->f;
    const struct gem_layer_hparams *hl = &f->h->layers[j->layer];
    const size_t d = hl->head_dim, n = hl->n_kv_heads * d;

    for (size_t row = begin; row < end; row++) {
        const struct gem_row *r = &f->rows[row];
        const struct gem_cache_layer *cl = &r->cache->layers[j->layer];
        float *k = f->k + row * n, *v = f->v + row * n;

        for (uint32_t head = 0; head < hl->n_kv_heads; head++, k += d, v += d) {
            if (hl->k_eq_v) memcpy(v, k, d * sizeof *v); /* before norm and rotation */
            f->kern->rms_norm(k, k, f->w->layers[j->layer].k_norm, d, f->h->eps);
            if (f->h->value_norm) f->kern->rms_norm(v, v, NULL, d, f->h->eps);
            rotate(f, j->layer, row, k, 1);
            if (cl->key_dim < d) memmove(k + cl->key_dim / 2, k + d / 2, cl->key_dim / 2 * sizeof *k);
            store_head(f->kern, r->cache, cl, head, r->position, k, v, f->threads[thread].tile);
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

/* ---- queries ------------------------------------------------------------------------------------------------- */

/* Kernels want queries and probabilities of this cache as bfloat16. */
static bool is_narrow(const struct gem_forward *f, const struct gem_cache *c)
{
    return c->type != GEM_CACHE_F32 && f->kern->has_bf16;
}

/* Queries [n, d] of a layer whose keys are partly its values: first what is rotated, as the cache has it, then the
 * rest with the weight that makes values keys. */
static const float *fold_keys(float *out, const float *q, size_t n, size_t d, size_t n_rot, const float *k_norm)
{
    const size_t half = d / 2;
    float *o = out;

    for (; n > 0; n--, q += d) {
        for (size_t i = 0; i < n_rot; i++) *o++ = q[i];
        for (size_t i = 0; i < n_rot; i++) *o++ = q[half + i];
        for (size_t i = n_rot; i < half; i++) *o++ = q[i] * k_norm[i];
        for (size_t i = half + n_rot; i < d; i++) *o++ = q[i] * k_norm[i];
    }
    return out;
}

/* Queries go from f->q [rows, heads, d] to f->query [kv heads, rows, group, d], normalised, rotated and in the form
 * that kernels want; f->q then takes the results. */
static void prepare_queries(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const struct gem_forward *f = j->f;
    const struct gem_layer_hparams *hl = &f->h->layers[j->layer];
    const size_t d = hl->head_dim, group = f->h->n_heads / hl->n_kv_heads, n = group * d;
    const float *k_norm = f->w->layers[hl->kv_layer].k_norm;

    for (size_t row = begin; row < end; row++) {
        const size_t k_dim = f->rows[row].cache->layers[hl->kv_layer].key_dim;
        float *q = f->q + row * f->h->n_heads * d;

        for (uint32_t h = 0; h < f->h->n_heads; h++)
            f->kern->rms_norm(q + h * d, q + h * d, f->w->layers[j->layer].q_norm, d, f->h->eps);
        rotate(f, j->layer, row, q, f->h->n_heads);
        for (size_t kv = 0; kv < hl->n_kv_heads; kv++, q += n) {
            const size_t at = (kv * f->n_rows + row) * n;
            const float *x = k_dim < d ? fold_keys(f->threads[thread].tile, q, group, d, k_dim / 2, k_norm) : q;
            if (is_narrow(f, f->rows[row].cache))
                f->kern->to_bf16((uint16_t *)f->query + at, x, n);
            else
                memcpy((float *)f->query + at, x, n * sizeof *x);
        }
    }
}

/* ---- blocks and spans ------------------------------------------------------------------------------------------ */

/* Rows [first, first + n) of one session against one key/value head. */
struct block {
    const struct gem_forward *f;
    const struct gem_cache *cache;
    const struct gem_cache_layer *layer;
    bool global;
    uint32_t first, n, kv, group, d;
};

/* Positions [begin, end). */
struct range {
    uint32_t begin, end;
};

/* What a row sees: in local layers also what follows in its image. */
static struct range visible(const struct block *b, uint32_t row)
{
    const uint32_t p = b->f->rows[row].position, window = b->f->h->window;

    return (struct range){b->global || p < window ? 0 : p - window + 1,
                          b->global ? p + 1 : b->f->rows[row].sees_to + 1};
}

/* What any row of a block sees: both ends grow with the position. */
static struct range block_range(const struct block *b)
{
    return (struct range){visible(b, b->first).begin, visible(b, b->first + b->n - 1).end};
}

static uint32_t first_span(const struct block *b) { return block_range(b).begin / GEM_SPAN; }
static uint32_t n_spans(const struct block *b) { return (block_range(b).end - 1) / GEM_SPAN + 1 - first_span(b); }
static uint32_t n_queries(const struct block *b) { return b->n * b->group; }

/* Where the result of a block's query i goes: [d]. */
static float *result(const struct block *b, uint32_t i)
{
    const size_t row = b->first + i / b->group, head = (size_t)b->kv * b->group + i % b->group;

    return b->f->q + (row * b->f->h->n_heads + head) * b->d;
}

/* A block's queries in one span: maximum and sum of each softmax [queries], sum of values [queries, d]. */
struct part {
    float *top, *sum, *value;
};

/* The positions of a span that a block computes: whole panels around those that it sees. */
static struct range panels_of(const struct block *b, uint32_t span)
{
    const struct range r = block_range(b);
    const uint32_t start = span * GEM_SPAN, stop = start + GEM_SPAN;
    const uint32_t begin = r.begin > start ? r.begin : start, end = r.end < stop ? r.end : stop;

    return (struct range){begin / GEM_PANEL * GEM_PANEL, gem_n_panels(end) * GEM_PANEL};
}

/* Scores s of positions `all` become probabilities, those of positions that the row does not see 0. */
static void softmax_row(const struct block *b, uint32_t row, struct range all, float *s, float *top, float *sum)
{
    const struct range r = visible(b, row);

    for (uint32_t p = all.begin; p < all.end && p < r.begin; p++) s[p - all.begin] = -INFINITY;
    for (uint32_t p = all.end; p > all.begin && p > r.end; p--) s[p - 1 - all.begin] = -INFINITY;
    *sum = b->f->kern->softmax(s, all.end - all.begin, top);
}

/* x of each query by the scale of each of n positions from p on; scales: of the layer, NULL where there are none. */
static void scale_columns(const struct block *b, const float *scales, uint32_t p, uint32_t n, float *x)
{
    const float *scale;

    if (!scales) return;
    scale = scales + gem_cache_scale(b->layer, b->kv, p);
    for (uint32_t i = 0; i < n_queries(b); i++, x += GEM_SPAN)
        for (uint32_t j = 0; j < n; j++) x[j] *= scale[j];
}

/* n positions of keys or values, of dim elements each, in the type that kernels take; of int8 in `room`. */
static const uint8_t *panels(const struct block *b, const uint8_t *stored, uint32_t n, uint32_t dim, uint16_t *room)
{
    if (b->cache->type != GEM_CACHE_INT8) return stored;
    b->f->kern->int8_to_bf16(room, (const int8_t *)stored, (size_t)n * dim);
    return (const uint8_t *)room;
}

/* What n positions of values, as kernels take them, have of keys: the dimensions that are not rotated. Panels of them
 * begin `step` bytes apart. */
static void keys_of_values(const struct block *b, uint8_t *out, size_t step, const uint8_t *v, uint32_t n)
{
    const bool wide = b->cache->type == GEM_CACHE_F32;
    const size_t panel = GEM_PANEL * (wide ? sizeof(float) : sizeof(uint16_t)), two = sizeof(uint32_t);
    const size_t n_rot = b->layer->key_dim / 2, rest = b->d - b->layer->key_dim; /* two: a float32, or a pair */
    gem_transpose_fn *transpose = wide ? b->f->kern->transpose_f32 : b->f->kern->transpose_bf16;

    for (; n > 0; n -= GEM_PANEL, v += panel * b->d, out += step) {
        transpose(out, v + n_rot * two, b->d, rest / 2);
        transpose(out + panel * rest / 2, v + (b->d / 2 + n_rot) * two, b->d, rest / 2);
    }
}

/* Where a layer that keeps only the rotated dimensions of keys has those of n positions, and its values. */
struct shared_keys {
    const uint8_t *k, *v;
    uint32_t p, n;
    float *s; /* scores of the first query, those of others GEM_SPAN on */
};

/* Both parts of keys side by side, which have one scale: 1. */
static void score_joined(const struct block *b, const void *q, const struct shared_keys *x,
                         const struct gem_thread_scratch *t)
{
    const bool wide = b->cache->type == GEM_CACHE_F32;
    const size_t panel = GEM_PANEL * (wide ? sizeof(float) : sizeof(uint16_t)), k_bytes = panel * b->layer->key_dim;
    uint8_t *keys = (uint8_t *)t->panels;

    for (uint32_t i = 0; i < x->n / GEM_PANEL; i++) memcpy(keys + i * panel * b->d, x->k + i * k_bytes, k_bytes);
    keys_of_values(b, keys + k_bytes, panel * b->d, x->v, x->n);
    (wide ? b->f->kern->score_f32 : b->f->kern->score_bf16)(q, b->d, keys, x->s, GEM_SPAN, n_queries(b),
                                                            x->n / GEM_PANEL, b->d);
}

/* In int8 the two parts have scales of their own: two scores, each by the scale of its position, are added. Values are
 * in t->panels. */
static void score_apart(const struct block *b, const void *q, const struct shared_keys *x,
                        const struct gem_thread_scratch *t)
{
    const uint32_t k_dim = b->layer->key_dim, rest = b->d - k_dim, n_q = n_queries(b);
    const size_t at = gem_cache_scale(b->layer, b->kv, x->p), q_bytes = is_narrow(b->f, b->cache) ? 2 : 4;
    const float *k_scale = b->layer->k_scale + at, *v_scale = b->layer->v_scale + at;
    gem_score_fn *score = b->f->kern->score_bf16;

    score(q, b->d, panels(b, x->k, x->n, k_dim, t->joined), x->s, GEM_SPAN, n_q, x->n / GEM_PANEL, k_dim);
    keys_of_values(b, (uint8_t *)t->joined, GEM_PANEL * rest * sizeof(uint16_t), x->v, x->n);
    score((const char *)q + k_dim * q_bytes, b->d, t->joined, t->rest, GEM_JOINED, n_q, x->n / GEM_PANEL, rest);
    for (uint32_t i = 0; i < n_q; i++)
        for (uint32_t j = 0; j < x->n; j++)
            x->s[i * GEM_SPAN + j] = x->s[i * GEM_SPAN + j] * k_scale[j] + t->rest[i * GEM_JOINED + j] * v_scale[j];
}

/* Scores of the n positions from p on, by the scales of their keys; values: theirs, as kernels take them. */
static void score_span(const struct block *b, const void *q, uint32_t p, uint32_t n, const uint8_t *values,
                       const struct gem_thread_scratch *t)
{
    const struct gem_cache_layer *l = b->layer;
    const bool wide = b->cache->type == GEM_CACHE_F32;
    const size_t element = gem_cache_element(b->cache->type), v_step = b->d * (wide ? sizeof(float) : sizeof(uint16_t));
    const uint8_t *k = l->k + gem_cache_panel(l, b->kv, p, l->key_dim) * element;

    if (l->key_dim == b->d) {
        (wide ? b->f->kern->score_f32 : b->f->kern->score_bf16)(q, b->d, panels(b, k, n, b->d, t->panels), t->scores,
                                                                GEM_SPAN, n_queries(b), n / GEM_PANEL, b->d);
        scale_columns(b, l->k_scale, p, n, t->scores);
        return;
    }
    for (uint32_t at = 0; at < n; at += GEM_JOINED) {
        const struct shared_keys x = {.k = k + at * l->key_dim * element,
                                      .v = values + at * v_step,
                                      .p = p + at,
                                      .n = n - at < GEM_JOINED ? n - at : GEM_JOINED,
                                      .s = t->scores + at};
        (l->k_scale ? score_apart : score_joined)(b, q, &x, t);
    }
}

/* Keys of int8 that are kept whole take the place of values in t->panels, which then come there again. */
static void attend_span(const struct block *b, uint32_t span, const struct gem_thread_scratch *t, struct part out)
{
    const struct gem_kernels *kern = b->f->kern;
    const struct range all = panels_of(b, span);
    const uint32_t n = all.end - all.begin, n_q = n_queries(b);
    const uint8_t *stored =
        b->layer->v + gem_cache_panel(b->layer, b->kv, all.begin, b->d) * gem_cache_element(b->cache->type);
    const size_t query = ((size_t)b->kv * b->f->n_rows + b->first) * b->group * b->d;
    const bool wide = b->cache->type == GEM_CACHE_F32, narrow = is_narrow(b->f, b->cache);
    const bool whole = b->layer->key_dim == b->d;
    const void *q = narrow ? (const void *)((uint16_t *)b->f->query + query) : (float *)b->f->query + query;
    const uint8_t *values = whole ? stored : panels(b, stored, n, b->d, t->panels);

    score_span(b, q, all.begin, n, values, t);
    for (uint32_t i = 0; i < n_q; i++)
        softmax_row(b, b->first + i / b->group, all, t->scores + (size_t)i * GEM_SPAN, &out.top[i], &out.sum[i]);
    scale_columns(b, b->layer->v_scale, all.begin, n, t->scores);
    for (uint32_t i = 0; i < n_q && narrow; i++)
        kern->to_bf16(t->probs + (size_t)i * GEM_SPAN, t->scores + (size_t)i * GEM_SPAN, n);
    memset(out.value, 0, (size_t)n_q * b->d * sizeof *out.value);
    if (whole) values = panels(b, stored, n, b->d, t->panels);
    (wide ? kern->value_f32 : kern->value_bf16)(narrow ? (const void *)t->probs : t->scores, GEM_SPAN, values, b->d,
                                                out.value, b->d, n_q, n, b->d);
}

/* ---- combining spans ------------------------------------------------------------------------------------------- */

/* acc = acc * a + part * b */
static void blend(float *acc, float a, const float *part, float b, uint32_t d)
{
    for (uint32_t i = 0; i < d; i++) acc[i] = acc[i] * a + part[i] * b;
}

/* Adds the next span of query i to what its result and its softmax are so far. */
static void extend(const struct block *b, uint32_t i, struct gem_softmax_state *s, const struct part *part)
{
    const float top = part->top[i] > s->top ? part->top[i] : s->top;
    float keep, add;

    if (part->top[i] == -INFINITY) return; /* a span that another row of the block sees */
    keep = expf(s->top - top);             /* 0 for the first span */
    add = expf(part->top[i] - top);
    s->sum = s->sum * keep + part->sum[i] * add;
    s->top = top;
    blend(result(b, i), keep, part->value + (size_t)i * b->d, add, b->d);
}

static void begin_query(const struct block *b, uint32_t i, struct gem_softmax_state *s)
{
    *s = (struct gem_softmax_state){.top = -INFINITY};
    memset(result(b, i), 0, b->d * sizeof(float));
}

static void end_query(const struct block *b, uint32_t i, const struct gem_softmax_state *s)
{
    float *out = result(b, i);

    for (uint32_t k = 0; k < b->d; k++) out[k] /= s->sum;
}

/* ---- many blocks: one after the other ---------------------------------------------------------------------------- */

/* Item i is key/value head i / n_blocks of block i % n_blocks. */
static struct block block_of(const struct gem_forward *f, uint32_t layer, size_t i)
{
    const struct gem_layer_hparams *hl = &f->h->layers[layer];
    const struct gem_rows *rows = &f->blocks[i % f->n_blocks];
    const struct gem_cache *cache = f->rows[rows->first].cache;

    return (struct block){.f = f,
                          .cache = cache,
                          .layer = &cache->layers[hl->kv_layer],
                          .global = hl->global,
                          .first = rows->first,
                          .n = rows->n,
                          .kv = (uint32_t)(i / f->n_blocks),
                          .group = f->h->n_heads / hl->n_kv_heads,
                          .d = hl->head_dim};
}

static void attend_blocks(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const struct gem_thread_scratch *t = &j->f->threads[thread];

    for (size_t item = begin; item < end; item++) {
        const struct block b = block_of(j->f, j->layer, item);
        const struct part part = {t->top, t->sum, t->part};

        for (uint32_t i = 0; i < n_queries(&b); i++) begin_query(&b, i, &t->states[i]);
        for (uint32_t s = 0; s < n_spans(&b); s++) {
            attend_span(&b, first_span(&b) + s, t, part);
            for (uint32_t i = 0; i < n_queries(&b); i++) extend(&b, i, &t->states[i], &part);
        }
        for (uint32_t i = 0; i < n_queries(&b); i++) end_query(&b, i, &t->states[i]);
    }
}

/* ---- few blocks: spans side by side, in waves of as many as there is room for ----------------------------------- */

struct wave {
    struct job job;
    uint32_t first, n, most; /* spans of each item in this wave; the most queries of an item */
};

static struct part part_at(const struct wave *w, size_t item, uint32_t span)
{
    const struct gem_split *p = &w->job.f->split;
    const size_t at = (item * w->n + span) * w->most;

    return (struct part){p->top + at, p->sum + at, p->value + at * w->job.f->h->layers[w->job.layer].head_dim};
}

static void attend_wave(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct wave *w = context;

    for (size_t i = begin; i < end; i++) {
        const struct block b = block_of(w->job.f, w->job.layer, i / w->n);
        const uint32_t span = (uint32_t)(i % w->n);

        if (w->first + span < n_spans(&b))
            attend_span(&b, first_span(&b) + w->first + span, &w->job.f->threads[thread], part_at(w, i / w->n, span));
    }
}

static void combine_wave(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct wave *w = context;

    (void)thread;
    for (size_t at = begin; at < end; at++) {
        const size_t item = at / w->most;
        const uint32_t i = (uint32_t)(at % w->most);
        const struct block b = block_of(w->job.f, w->job.layer, item);
        struct gem_softmax_state *state = &w->job.f->split.states[at];

        if (i >= n_queries(&b) || w->first >= n_spans(&b)) continue;
        if (w->first == 0) begin_query(&b, i, state);
        for (uint32_t s = 0; s < w->n && w->first + s < n_spans(&b); s++) {
            const struct part part = part_at(w, item, s);
            extend(&b, i, state, &part);
        }
        if (w->first + w->n >= n_spans(&b)) end_query(&b, i, state);
    }
}

static void attend_waves(struct gem_forward *f, uint32_t layer, size_t n_items)
{
    struct wave w = {.job = {.f = f, .layer = layer}, .most = 1};
    uint32_t spans = 0;

    if (n_items == 0) return;
    for (size_t i = 0; i < n_items; i++) {
        const struct block b = block_of(f, layer, i);
        if (n_queries(&b) > w.most) w.most = n_queries(&b);
        if (n_spans(&b) > spans) spans = n_spans(&b);
    }
    w.n = (uint32_t)(f->split.n_queries / (n_items * w.most));
    if (w.n > spans) w.n = spans;
    if (w.n < 2) { /* nothing to share, or no room */
        gem_pool_run(f->pool, n_items, 1, attend_blocks, &w.job);
        return;
    }
    for (; w.first < spans; w.first += w.n) {
        gem_pool_run(f->pool, n_items * w.n, 1, attend_wave, &w);
        gem_pool_run(f->pool, n_items * w.most, 4, combine_wave, &w);
    }
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

/* Consecutive rows of a session, as many as GEM_QUERIES has room for. */
static void list_blocks(struct gem_forward *f, uint32_t group)
{
    const uint32_t most = GEM_QUERIES / group > 1 ? GEM_QUERIES / group : 1;

    f->n_blocks = 0;
    for (uint32_t r = 0; r < f->n_rows; r++) {
        struct gem_rows *last = f->n_blocks ? &f->blocks[f->n_blocks - 1] : NULL;
        const struct gem_row *before = last ? &f->rows[last->first + last->n - 1] : NULL;

        if (last && last->n < most && before->cache == f->rows[r].cache && before->position + 1 == f->rows[r].position)
            last->n++;
        else
            f->blocks[f->n_blocks++] = (struct gem_rows){r, 1};
    }
}

void gem_attention(struct gem_forward *f, uint32_t layer)
{
    const struct gem_layer *l = &f->w->layers[layer];
    const struct gem_layer_hparams *hl = &f->h->layers[layer];
    const size_t n = (size_t)f->h->n_heads * hl->head_dim;
    const unsigned n_threads = gem_pool_threads(f->pool);
    struct gem_act in = gem_act_of(f, f->norm, f->h->hidden, f->n_rows, f->h->hidden);
    struct gem_act out = gem_act_of(f, f->q, n, f->n_rows, (uint32_t)n);
    struct job job = {.f = f, .layer = layer};
    size_t n_items;

    gem_linear(f, f->q, n, &l->q, &in);
    gem_pool_run(f->pool, f->n_rows, 2, prepare_queries, &job);
    list_blocks(f, f->h->n_heads / hl->n_kv_heads);
    n_items = (size_t)f->n_blocks * hl->n_kv_heads;
    if (n_threads == 1 || n_items >= 4 * (size_t)n_threads)
        gem_pool_run(f->pool, n_items, 1, attend_blocks, &job);
    else
        attend_waves(f, layer, n_items);
    gem_linear(f, f->out, f->h->hidden, &l->o, &out);
}
