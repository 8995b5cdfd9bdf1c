/* SPDX-License-Identifier: Apache-2.0
 * src/engine/internal.h - what stands behind the opaque types of gemmule.h. */
#ifndef GEM_ENGINE_INTERNAL_H
#define GEM_ENGINE_INTERNAL_H

#include "base/sha256.h"
#include "model/forward.h"
#include "tokenizer/tokenizer.h"
#include "vision/tower.h"

#include <pthread.h>

enum { GEM_MAX_STOP = 16 };

/* What sees, bound when the first image comes, so that users of text pay nothing. The only part of a model that changes
 * while it is open; the lock guards opening, after which it is immutable like the rest. */
struct gem_towers {
    pthread_mutex_t lock;
    bool vision_is_open;
    struct gem_vision vision;
};

struct gem_model {
    struct gem_archive archive;
    struct gem_archive mmproj;          /* closed when none was given */
    const struct gem_archive *sees;     /* the one that holds the vision tower, or NULL */
    struct gem_vision_hparams vision_h; /* of a folder */
    gem_error no_vision;                /* code GEM_OK, or why the folder's tower cannot be used */
    struct gem_towers *towers;
    struct gem_hparams h;
    struct gem_weights w;
    enum gem_role *roles; /* [archive.n_tensors] */
    struct gem_kernels kern;
    struct gem_tokenizer *tokenizer; /* NULL: the files have none that can be used */
    gem_error no_tokenizer;          /* why */
    gem_model_info info;
    char *name;
    int32_t bos;
    int32_t stop[GEM_MAX_STOP];
    size_t n_stop;
    gem_sampling sampling;
    gem_logit_bias *suppressed; /* [sampling.n_bias] */
    bool metadata_only;
};

/* SHA-256 of a content. Files and requests are hostile: with a hash that can be made to collide, one user's picture
 * could answer for another's. */
struct gem_digest {
    uint8_t bytes[32];
};

struct gem_media {
    const struct gem_model *model;
    gem_media_kind kind;
    uint32_t n_tokens;
    struct gem_digest digest;
    struct gem_image image; /* resized */
};

/* Soft tokens by content, least recently used first out. Entries that a call needs are pinned until it ends; beyond
 * those, bytes stay below the ceiling. */
struct gem_soft_entry {
    struct gem_digest digest;
    float *rows; /* [n_tokens, hidden] */
    uint64_t n_bytes, last_use;
    bool pinned;
};

struct gem_soft_cache {
    struct gem_soft_entry *entries;
    size_t n, cap;
    uint64_t n_bytes, ceiling, clock;
};

struct gem_engine {
    const struct gem_model *model;
    struct gem_pool *pool;
    struct gem_forward forward;
    uint32_t chunk;
    struct gem_soft_cache soft;
    struct gem_vision_scratch vision_scratch;
};

struct gem_session {
    struct gem_engine *engine;
    struct gem_cache cache;
    int32_t *tokens;   /* [context]; the first cache.n are computed */
    uint64_t *keys;    /* [context] the content at a position: of media, from their digest; of text, 0 */
    int32_t *sequence; /* [context] of gem_generate */
    float *logits;     /* [vocab] of the last token */
    uint32_t n_rows;   /* in the batch that is being computed */
    bool in_step;      /* guards against naming a session twice in one step */
};

/* config.json, generation_config.json and GGUF keys that say how to generate. */
gem_status gem_recommend_from_folder(struct gem_model *m, const char *folder, gem_error *err);
gem_status gem_recommend_from_gguf(struct gem_model *m, gem_error *err);

/* Soft tokens of an item, pinned until gem_soft_cache_release. rows may be NULL. *encoded: they were not in the cache.
 */
gem_status gem_soft_get(struct gem_engine *e, const gem_media *media, const float **rows, bool *encoded,
                        gem_error *err);
/* Keeps them from being forgotten while others are encoded; false when they are not there. */
bool gem_soft_pin(struct gem_soft_cache *c, const gem_media *media);
/* Those of a pinned item. */
const float *gem_soft_find(const struct gem_soft_cache *c, const gem_media *media);
void gem_soft_cache_release(struct gem_soft_cache *c);
void gem_soft_cache_close(struct gem_soft_cache *c);

/* gem_engine_advance, but only the first n_strict tokens of each sequence must have their placeholders covered: what a
 * model generates is not the caller's fault. */
gem_status gem_engine_step(struct gem_engine *e, gem_advance *items, size_t n_items, size_t n_strict,
                           gem_progress_fn *progress, void *progress_user, gem_error *err);

/* Bytes that this machine can give without swapping; UINT64_MAX when unknown. */
uint64_t gem_memory_available(void);

#endif
