/* SPDX-License-Identifier: Apache-2.0 */
#include "model/cache.h"

#include <assert.h>

/* n is at most a trained context, far from the type's limit. */
static uint32_t whole_spans(uint32_t n) { return (n + GEM_SPAN - 1) / GEM_SPAN * GEM_SPAN; }

uint32_t gem_cache_local_cap(const struct gem_hparams *h, uint32_t context, uint32_t slack, uint32_t chunk)
{
    const uint32_t batch = h->bidirectional_media && chunk < GEM_MAX_MEDIA_BLOCK ? GEM_MAX_MEDIA_BLOCK : chunk;
    const uint64_t cap = (uint64_t)h->window + (slack > batch ? slack : batch);

    return whole_spans(cap < context ? (uint32_t)cap : context);
}

static uint32_t layer_cap(const struct gem_hparams *h, uint32_t i, uint32_t context, uint32_t local_cap)
{
    return h->layers[i].global ? whole_spans(context) : local_cap;
}

size_t gem_cache_element(enum gem_cache_type type)
{
    return type == GEM_CACHE_F32 ? 4 : type == GEM_CACHE_BF16 ? 2 : 1;
}

/* What is not rotated are two runs of dimensions, which kernels take as pairs. */
static uint32_t key_dim(const struct gem_hparams *h, uint32_t i)
{
    const struct gem_layer_hparams *l = &h->layers[i];
    const uint32_t n_rot = l->global ? h->rope_global.n_rot : h->rope_local.n_rot;
    const bool shared = l->k_eq_v && h->value_norm;

    return shared && (l->head_dim / 2 - n_rot) % 2 == 0 ? 2 * n_rot : l->head_dim;
}

/* Of keys or values, `dim` elements a position. */
static uint64_t layer_bytes(const struct gem_hparams *h, uint32_t i, enum gem_cache_type type, uint32_t cap,
                            uint32_t dim)
{
    return gem_align_up((uint64_t)h->layers[i].n_kv_heads * cap * dim * gem_cache_element(type));
}

static uint64_t scale_bytes(const struct gem_hparams *h, uint32_t i, enum gem_cache_type type, uint32_t cap)
{
    return type == GEM_CACHE_INT8 ? gem_align_up((uint64_t)h->layers[i].n_kv_heads * cap * sizeof(float)) : 0;
}

uint64_t gem_cache_bytes(const struct gem_hparams *h, enum gem_cache_type type, uint32_t context, uint32_t local_cap)
{
    uint64_t n = gem_align_up(h->n_own * sizeof(struct gem_cache_layer));

    for (uint32_t i = 0; i < h->n_own; i++) {
        const uint32_t cap = layer_cap(h, i, context, local_cap);
        n += layer_bytes(h, i, type, cap, key_dim(h, i)) + layer_bytes(h, i, type, cap, h->layers[i].head_dim);
        n += 2 * scale_bytes(h, i, type, cap);
    }
    return n;
}

gem_status gem_cache_open(struct gem_cache *c, const struct gem_hparams *h, enum gem_cache_type type, uint32_t context,
                          uint32_t local_cap, gem_error *err)
{
    gem_status st;

    *c = (struct gem_cache){
        .type = type, .n_layers = h->n_own, .context = context, .local_cap = local_cap, .window = h->window};
    if ((st = gem_arena_open(&c->arena, gem_cache_bytes(h, type, context, local_cap), "a session's cache", err)))
        return st;
    memset(c->arena.base, 0, c->arena.cap); /* also takes the pages now: a step must not fail for want of memory */
    c->layers = gem_arena_take(&c->arena, h->n_own * sizeof *c->layers);
    for (uint32_t i = 0; i < h->n_own; i++) {
        const uint32_t cap = layer_cap(h, i, context, local_cap);
        const uint32_t dim = h->layers[i].head_dim, k_dim = key_dim(h, i);

        c->layers[i] = (struct gem_cache_layer){.cap = cap,
                                                .head_dim = dim,
                                                .n_kv_heads = h->layers[i].n_kv_heads,
                                                .key_dim = k_dim,
                                                .k_bytes = (size_t)layer_bytes(h, i, type, cap, k_dim),
                                                .v_bytes = (size_t)layer_bytes(h, i, type, cap, dim)};
        c->layers[i].k = gem_arena_take(&c->arena, c->layers[i].k_bytes);
        c->layers[i].v = gem_arena_take(&c->arena, c->layers[i].v_bytes);
        if (type != GEM_CACHE_INT8) continue;
        c->layers[i].k_scale = gem_arena_take(&c->arena, (size_t)scale_bytes(h, i, type, cap));
        c->layers[i].v_scale = gem_arena_take(&c->arena, (size_t)scale_bytes(h, i, type, cap));
    }
    return GEM_OK;
}

void gem_cache_close(struct gem_cache *c)
{
    gem_arena_close(&c->arena);
    *c = (struct gem_cache){0};
}

uint32_t gem_cache_keepable(const struct gem_cache *c, uint32_t n)
{
    const uint32_t first = n < c->window ? 0 : n - c->window + 1; /* that position n will look at */

    assert(n <= c->n);
    return n == c->n || first >= c->low ? n : 0;
}

void gem_cache_cut(struct gem_cache *c, uint32_t n)
{
    c->n = n;
    if (n == 0) c->low = 0;
}

void gem_cache_commit(struct gem_cache *c, uint32_t count)
{
    c->n += count;
    if (c->n > c->local_cap && c->n - c->local_cap > c->low) c->low = c->n - c->local_cap;
}

void gem_cache_clear(struct gem_cache *c)
{
    for (uint32_t i = 0; i < c->n_layers; i++) {
        const struct gem_cache_layer *l = &c->layers[i];

        memset(l->k, 0, l->k_bytes);
        memset(l->v, 0, l->v_bytes);
        if (c->type != GEM_CACHE_INT8) continue;
        memset(l->k_scale, 0, (size_t)l->n_kv_heads * l->cap * sizeof(float));
        memset(l->v_scale, 0, (size_t)l->n_kv_heads * l->cap * sizeof(float));
    }
    gem_cache_cut(c, 0);
}

/* Of the panel of position p, `dim` elements a position. */
static void copy_panel(uint8_t *out, const struct gem_cache_layer *to, const uint8_t *in,
                       const struct gem_cache_layer *from, uint32_t kv, uint32_t p, uint32_t dim, size_t element)
{
    memcpy(out + gem_cache_panel(to, kv, p, dim) * element, in + gem_cache_panel(from, kv, p, dim) * element,
           GEM_PANEL * dim * element);
}

static void copy_scales(const struct gem_cache_layer *to, const struct gem_cache_layer *from, uint32_t kv, uint32_t p)
{
    const size_t at = gem_cache_scale(to, kv, p), origin = gem_cache_scale(from, kv, p);

    memcpy(to->k_scale + at, from->k_scale + origin, GEM_PANEL * sizeof(float));
    memcpy(to->v_scale + at, from->v_scale + origin, GEM_PANEL * sizeof(float));
}

/* The newest panels, as many as both have. Returns the position of the first of them. */
static uint32_t copy_layer(const struct gem_cache *c, const struct gem_cache_layer *to,
                           const struct gem_cache_layer *from)
{
    const size_t element = gem_cache_element(c->type);
    const uint32_t cap = to->cap < from->cap ? to->cap : from->cap, end = gem_n_panels(c->n) * GEM_PANEL;
    const uint32_t first = end > cap ? end - cap : 0;

    for (uint32_t kv = 0; kv < to->n_kv_heads; kv++)
        for (uint32_t p = first; p < end; p += GEM_PANEL) {
            copy_panel(to->k, to, from->k, from, kv, p, to->key_dim, element);
            copy_panel(to->v, to, from->v, from, kv, p, to->head_dim, element);
            if (c->type == GEM_CACHE_INT8) copy_scales(to, from, kv, p);
        }
    return first;
}

void gem_cache_copy(struct gem_cache *to, const struct gem_cache *from)
{
    assert(from->n <= to->context && from->n_layers == to->n_layers && from->type == to->type);
    to->n = from->n;
    to->low = from->low;
    for (uint32_t i = 0; i < to->n_layers; i++) {
        const uint32_t first = copy_layer(to, &to->layers[i], &from->layers[i]);
        if (first > to->low) to->low = first;
    }
}

/* uint32_t stands for any element of four bytes, uint16_t for any of two, uint8_t for any of one. */
static void put_4(uint32_t *key, uint32_t *value, uint32_t lane, const uint32_t *k, const uint32_t *v, uint32_t k_dim,
                  uint32_t d)
{
    for (uint32_t i = 0; i < k_dim; i++) key[i * GEM_PANEL + lane] = k[i];
    memcpy(value + (size_t)lane * d, v, d * sizeof *v);
}

static void put_2(uint16_t *key, uint16_t *value, uint32_t lane, const uint16_t *k, const uint16_t *v, uint32_t k_dim,
                  uint32_t d)
{
    uint16_t *out = value + (size_t)(lane / 2) * 2 * d + lane % 2;

    for (uint32_t i = 0; i < k_dim; i++) key[(i / 2 * GEM_PANEL + lane) * 2 + i % 2] = k[i];
    for (uint32_t i = 0; i < d; i++) out[2 * i] = v[i];
}

static void put_1(uint8_t *key, uint8_t *value, uint32_t lane, const uint8_t *k, const uint8_t *v, uint32_t k_dim,
                  uint32_t d)
{
    uint8_t *out = value + (size_t)(lane / 2) * 2 * d + lane % 2;

    for (uint32_t i = 0; i < k_dim; i++) key[(i / 2 * GEM_PANEL + lane) * 2 + i % 2] = k[i];
    for (uint32_t i = 0; i < d; i++) out[2 * i] = v[i];
}

void gem_cache_put(const struct gem_cache *c, const struct gem_cache_layer *l, uint32_t kv, uint32_t p, const void *key,
                   const void *value)
{
    const size_t k_at = gem_cache_panel(l, kv, p, l->key_dim), v_at = gem_cache_panel(l, kv, p, l->head_dim);
    const uint32_t lane = p % GEM_PANEL, k_dim = l->key_dim, d = l->head_dim;

    switch (c->type) {
    case GEM_CACHE_F32: put_4((uint32_t *)l->k + k_at, (uint32_t *)l->v + v_at, lane, key, value, k_dim, d); return;
    case GEM_CACHE_BF16: put_2((uint16_t *)l->k + k_at, (uint16_t *)l->v + v_at, lane, key, value, k_dim, d); return;
    case GEM_CACHE_INT8: put_1(l->k + k_at, l->v + v_at, lane, key, value, k_dim, d); return;
    }
}
