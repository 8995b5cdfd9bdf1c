/* SPDX-License-Identifier: Apache-2.0
 * src/vision/attention.h - attention of all patches to all patches. Heads lie one after the other, so that a head
 * streams its keys and values in order. Scores exist for one block of queries at a time: memory grows with the patches,
 * not with their square. In float32, or, where the machine multiplies pairs of bfloat16, in panels of those (kernels.h,
 * PAIRS). */
#ifndef GEM_VISION_ATTENTION_H
#define GEM_VISION_ATTENTION_H

#include "base/memory.h"
#include "kernels/kernels.h"

enum { GEM_VISION_QUERIES = 30, GEM_VISION_MAX_HEAD = 1024 };

struct gem_vision_attention {
    const struct gem_kernels *kern;
    uint32_t n, n_heads, d; /* patches; head_dim */
    bool pairs;
    float *q, *k, *v;          /* [n_heads, n, d] */
    uint16_t *q16, *k16, *v16; /* [n_heads, n, even d]; panels of keys; panels of values' columns */
};

/* Memory of one thread. */
struct gem_vision_scores {
    float *scores;   /* [GEM_VISION_QUERIES, n] */
    uint16_t *probs; /* [GEM_VISION_QUERIES, even n], with pairs */
};

/* Takes memory from the arena, or only counts while it has none. kern, n, n_heads, d and pairs are set. */
void gem_vision_attention_take(struct gem_vision_attention *a, struct gem_arena *arena);
void gem_vision_scores_take(struct gem_vision_scores *s, const struct gem_vision_attention *a, struct gem_arena *arena);
/* One piece of an arena, likewise. */
void *gem_vision_take(struct gem_arena *arena, uint64_t n, uint64_t size);

/* Where an odd number of patches leaves half a pair, values must be zero; before the first row is put. */
void gem_vision_attention_begin(struct gem_vision_attention *a);
/* x [d] of one head and patch. Rows 2i and 2i + 1 of values are put by one thread. */
void gem_vision_put_query(const struct gem_vision_attention *a, size_t head, size_t row, const float *x);
void gem_vision_put_key(const struct gem_vision_attention *a, size_t head, size_t row, const float *x);
void gem_vision_put_value(const struct gem_vision_attention *a, size_t head, size_t row, const float *x);

/* Items of a loop: head i % n_heads, block i / n_heads of queries. */
size_t gem_vision_attention_items(const struct gem_vision_attention *a);
/* out [n, n_heads * d] = softmax(q K) V for one item. */
void gem_vision_attend(const struct gem_vision_attention *a, size_t item, const struct gem_vision_scores *s,
                       float *out);

#endif
