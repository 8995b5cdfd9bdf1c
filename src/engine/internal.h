/* SPDX-License-Identifier: Apache-2.0
 * src/engine/internal.h - what stands behind the opaque types of gemmule.h. */
#ifndef GEM_ENGINE_INTERNAL_H
#define GEM_ENGINE_INTERNAL_H

#include "generate/answer.h"
#include "generate/constraint.h"
#include "model/forward.h"
#include "tokenizer/tokenizer.h"

enum { GEM_MAX_STOP = 16 };

/* The only part of an open model that changes: made once, when it is first wanted. */
struct gem_model_shared {
    pthread_mutex_t mutex;
    struct gem_trie *trie; /* of the vocabulary, for constraints */
};

struct gem_model {
    struct gem_archive archive;
    struct gem_hparams h;
    struct gem_weights w;
    enum gem_role *roles; /* [archive.n_tensors] */
    struct gem_kernels kern;
    struct gem_tokenizer *tokenizer; /* NULL: the files have none that can be used */
    gem_error no_tokenizer;          /* why */
    struct gem_model_shared *shared;
    gem_model_info info;
    char *name;
    int32_t bos;
    int32_t stop[GEM_MAX_STOP];
    size_t n_stop;
    gem_sampling sampling;
    gem_logit_bias *suppressed; /* [sampling.n_bias] */
    bool metadata_only;
};

struct gem_engine {
    const struct gem_model *model;
    struct gem_pool *pool;
    struct gem_forward forward;
    uint32_t chunk;
};

struct gem_session {
    struct gem_engine *engine;
    struct gem_cache cache;
    int32_t *tokens;   /* [context]; the first cache.n are computed */
    int32_t *sequence; /* [context] of gem_generate */
    float *logits;     /* [vocab] of the last token */
    bool in_step;      /* guards against naming a session twice in one step */
};

/* config.json, generation_config.json and GGUF keys that say how to generate. */
gem_status gem_recommend_from_folder(struct gem_model *m, const char *folder, gem_error *err);
gem_status gem_recommend_from_gguf(struct gem_model *m, gem_error *err);

/* Lives as long as the model. */
gem_status gem_model_trie(const gem_model *model, const struct gem_trie **out, gem_error *err);

/* Bytes that this machine can give without swapping; UINT64_MAX when unknown. */
uint64_t gem_memory_available(void);

#endif
