/* SPDX-License-Identifier: Apache-2.0
 * src/model/cache.h - keys and values of one session.
 * Local layers keep the newest `cap` positions in a ring, global layers keep all; callers speak in absolute
 * positions. All memory is taken at creation: a step cannot run out half way. Elements are float32 in the exact
 * tier; in the fast one bfloat16, but for mixtures of experts, or int8 with a scale for each position and head.
 *
 * K = V. Where a layer's values are its keys before their norm's weight w and rotation, a dimension i of a key that is
 * not rotated is w[i] times that of the value. Such a layer keeps the rotated dimensions of keys only, a quarter of
 * them in Gemma 4; attention takes the others from the values (attention.c), in int8 with the value's scale. */
#ifndef GEM_MODEL_CACHE_H
#define GEM_MODEL_CACHE_H

#include "base/memory.h"
#include "kernels/kernels.h"
#include "model/hparams.h"

/* Positions that attention takes at a time. Spans begin at multiples of this position, so that the order of sums is a
 * function of the position alone; and a ring holds whole ones, so that none wraps around. */
enum { GEM_SPAN = 256 };

enum gem_cache_type { GEM_CACHE_F32, GEM_CACHE_BF16, GEM_CACHE_INT8 };

struct gem_cache_layer {
    /* [n_kv_heads, cap / 16] panels of key_dim and of head_dim (kernels.h; int8 lies as bfloat16 does) */
    uint8_t *k, *v;
    float *k_scale, *v_scale; /* [n_kv_heads, cap] of int8; else NULL */
    uint32_t cap;             /* positions held, a multiple of GEM_SPAN; position p lies at p % cap */
    uint32_t head_dim, n_kv_heads;
    uint32_t key_dim; /* head_dim, or of K = V the rotated dimensions: first all pairs' first ones, then the second */
    size_t k_bytes, v_bytes;
};

struct gem_cache {
    struct gem_arena arena;
    struct gem_cache_layer *layers; /* [n_layers]: those that own a cache */
    uint32_t n_layers;
    enum gem_cache_type type;
    uint32_t context; /* capacity in positions */
    uint32_t local_cap, window;
    uint32_t n;   /* positions [0, n) are computed */
    uint32_t low; /* local layers have lost positions below this one */
};

enum { GEM_MAX_MEDIA_BLOCK = 1120 }; /* soft tokens of one image or frame */

/* Positions that rings hold, in whole spans: the window, and as many more as a session may be taken back by, or one
 * chunk writes. A chunk has room for the largest image where its tokens see each other. */
uint32_t gem_cache_local_cap(const struct gem_hparams *h, uint32_t context, uint32_t slack, uint32_t chunk);
uint64_t gem_cache_bytes(const struct gem_hparams *h, enum gem_cache_type type, uint32_t context, uint32_t local_cap);
gem_status gem_cache_open(struct gem_cache *c, const struct gem_hparams *h, enum gem_cache_type type, uint32_t context,
                          uint32_t local_cap, gem_error *err);
void gem_cache_close(struct gem_cache *c);

/* The most positions, at most n, that can stay: n itself when the rings still hold the window before it, else 0. */
uint32_t gem_cache_keepable(const struct gem_cache *c, uint32_t n);
/* Forgets positions from n on; n as gem_cache_keepable gave it. */
void gem_cache_cut(struct gem_cache *c, uint32_t n);
/* Positions [n, n + count) have been written in every layer. */
void gem_cache_commit(struct gem_cache *c, uint32_t count);

/* Writes key [key_dim] and value [head_dim] of one head at position p, both of the cache's type. Scales of int8 are
 * written where gem_cache_scale says. */
void gem_cache_put(const struct gem_cache *c, const struct gem_cache_layer *l, uint32_t kv, uint32_t p, const void *key,
                   const void *value);
/* Bytes of an element. */
size_t gem_cache_element(enum gem_cache_type type);
/* Makes `to`, of the same shape and type and with room for from->n positions, hold what `from` holds, as far as its
 * rings do. */
void gem_cache_copy(struct gem_cache *to, const struct gem_cache *from);
/* Forgets everything, and values that are not finite with it: attention multiplies what it does not look at by 0. */
void gem_cache_clear(struct gem_cache *c);

/* Element offset of the panel that holds position p; dim: key_dim for keys, head_dim for values. */
static inline size_t gem_cache_panel(const struct gem_cache_layer *l, uint32_t kv, uint32_t p, uint32_t dim)
{
    return ((size_t)kv * l->cap + p % l->cap / GEM_PANEL * GEM_PANEL) * dim;
}

/* Where the scales of position p lie in k_scale and v_scale. */
static inline size_t gem_cache_scale(const struct gem_cache_layer *l, uint32_t kv, uint32_t p)
{
    return (size_t)kv * l->cap + p % l->cap;
}

#endif
