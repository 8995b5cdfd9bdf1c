/* SPDX-License-Identifier: Apache-2.0
 * src/model/stream.h - weights beyond a ceiling of memory. A pass uses mapped weights in a fixed order: those that fit
 * stay in memory, the others are dropped right after their use, and the system is asked to read the next ones
 * meanwhile. What is dropped stays in the page cache as long as nobody needs the memory. Experts go by use: one that
 * no token chose is not touched. */
#ifndef GEM_MODEL_STREAM_H
#define GEM_MODEL_STREAM_H

#include "model/weights.h"

struct gem_stream_range {
    const struct gem_map *map;
    const uint8_t *data;
    uint64_t n_bytes;
};

/* Units in the order of a pass: 0 the projection of per-layer embeddings, 1 + i layer i without its experts, last the
 * output head. */
struct gem_stream_unit {
    uint32_t first, n;              /* of ranges */
    uint64_t n_bytes, expert_bytes; /* expert_bytes: of one expert, which n_bytes does not count */
};

/* Zero-initialised is closed, and streams nothing. */
struct gem_stream {
    const struct gem_weights *w;
    struct gem_stream_range *ranges;
    struct gem_stream_unit *units; /* [n_units] */
    uint32_t n_units;
    uint32_t n_kept;                   /* leading units that stay; n_units: all, the experts too */
    uint64_t n_bytes, n_experts_bytes; /* of units; of all experts */
    uint64_t floor;                    /* the least memory in which units and experts can pass by */
};

/* The output head is so large that it goes by in slices of at most about this size. */
enum { GEM_STREAM_SLICE = 32 << 20 };

/* Everything that products read from mapped files; packs: the fast tier, where a packed copy is in memory. */
gem_status gem_stream_open(struct gem_stream *s, const struct gem_weights *w, const struct gem_hparams *h, bool packs,
                           gem_error *err);
void gem_stream_close(struct gem_stream *s);
/* Before a pass: how much memory mapped weights may take, at least s->floor. */
void gem_stream_plan(struct gem_stream *s, uint64_t n_bytes);

static inline bool gem_stream_drops(const struct gem_stream *s, uint32_t unit)
{
    return unit >= s->n_kept && s->n_units > 0;
}
/* Before and after the use of a unit. */
void gem_stream_enter(const struct gem_stream *s, uint32_t unit);
void gem_stream_leave(const struct gem_stream *s, uint32_t unit);
/* The same for expert i of a layer: ask for it, drop it. */
void gem_stream_want_expert(const struct gem_stream *s, const struct gem_experts *e, uint32_t i);
void gem_stream_drop_expert(const struct gem_stream *s, const struct gem_experts *e, uint32_t i);
/* The same for part of a unit. */
void gem_stream_drop(const struct gem_stream *s, const uint8_t *data, uint64_t n_bytes);

#endif
