/* SPDX-License-Identifier: Apache-2.0
 * src/engine/internal.h - what stands behind the opaque types of gemmule.h. */
#ifndef GEM_ENGINE_INTERNAL_H
#define GEM_ENGINE_INTERNAL_H

#include "audio/audio.h"
#include "base/sha256.h"
#include "chat/chat.h"
#include "generate/answer.h"
#include "generate/constraint.h"
#include "media/sound.h"
#include "model/coarse.h"
#include "model/forward.h"
#include "tokenizer/tokenizer.h"
#include "vision/tower.h"

#include <pthread.h>

#include <stdatomic.h>

enum { GEM_MAX_STOP = 16 };

/* Memory of a model, its engines and sessions, where there is a ceiling. It changes while the model does not. */
struct gem_ledger {
    uint64_t ceiling;    /* UINT64_MAX: none */
    uint64_t floor;      /* what mapped weights need at least */
    atomic_ullong taken; /* all but mapped weights */
};

/* The only part of an open model that changes: made once, when it is first wanted. */
struct gem_model_shared {
    pthread_mutex_t mutex;
    struct gem_trie *trie; /* of the vocabulary, for constraints */
};

/* What sees and hears, each bound when its first item comes, so that users of text pay nothing. The only part of a
 * model that changes while it is open; the lock guards opening, after which they are immutable like the rest. */
struct gem_towers {
    pthread_mutex_t lock;
    bool vision_is_open, audio_is_open;
    struct gem_vision vision;
    struct gem_audio_weights audio;
};

struct gem_model {
    struct gem_ledger *ledger;
    struct gem_archive archive;
    struct gem_archive mmproj;          /* closed when none was given */
    const struct gem_archive *sees;     /* the one that holds the vision tower, or NULL */
    const struct gem_archive *hears;    /* the one that holds the audio encoder, or NULL */
    struct gem_vision_hparams vision_h; /* of a folder */
    uint32_t image_budget;              /* that the files recommend; 0: none */
    gem_error no_vision, no_audio;      /* code GEM_OK, or why the folder's towers cannot be used */
    struct gem_towers *towers;
    struct gem_hparams h;
    struct gem_weights w;
    enum gem_role *roles; /* [archive.n_tensors] */
    struct gem_kernels kern;
    struct gem_tokenizer *tokenizer; /* NULL: the files have none that can be used */
    gem_error no_tokenizer;          /* why */
    struct gem_model_shared *shared;
    gem_model_info info;
    gem_chat_info chat;
    char *name;
    char *folder; /* where a Hugging Face checkpoint's other files lie; NULL: GGUF, native */
    int32_t bos;
    int32_t stop[GEM_MAX_STOP];
    size_t n_stop;
    gem_sampling sampling;
    gem_logit_bias *suppressed; /* [sampling.n_bias] */
    bool metadata_only;
    uint64_t fixed_bytes; /* memory without engines, sessions and mapped weights */
};

/* Takes n bytes for `what`, or GEM_E_LIMIT with the ceiling that would do, `later` bytes more being needed afterwards.
 */
gem_status gem_ledger_take(struct gem_ledger *l, uint64_t n, uint64_t later, const char *what, gem_error *err);
void gem_ledger_give(struct gem_ledger *l, uint64_t n);
/* What is left for mapped weights. */
uint64_t gem_ledger_left(const struct gem_ledger *l);

/* Flags of the instruction set `cpu` names, NULL: of all this machine has. */
gem_status gem_choose_cpu(unsigned *flags, const char *cpu, gem_error *err);

struct gem_media {
    const struct gem_model *model;
    gem_media_kind kind;
    uint32_t n_tokens;
    struct gem_digest digest;
    struct gem_image image; /* resized */
    struct gem_sound sound; /* of its piece */
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
    uint64_t taken, encoders_taken; /* of the ledger: for rows of tokens; for what encodes images and sounds */
    struct gem_pool *pool;
    struct gem_forward forward;
    uint32_t chunk;
    uint64_t ple_cap; /* bytes of per-layer embeddings that are kept */
    uint64_t n_batches, n_rows;
    struct gem_soft_cache soft;
    struct gem_vision_scratch vision_scratch;
    struct gem_audio_encoder ears; /* closed until the first sound */
};

struct gem_session {
    struct gem_engine *engine;
    uint64_t taken; /* of the ledger */
    struct gem_cache cache;
    int32_t *tokens;   /* [context]; the first cache.n are computed */
    uint64_t *keys;    /* [context] the content at a position: of media, from their digest; of text, 0 */
    int32_t *sequence; /* [context] of gem_generate */
    float *logits;     /* [vocab] of the last token */
    uint32_t n_rows;   /* in the batch that is being computed */
    bool in_step;      /* guards against naming a session twice in one step */
};

/* The weights of a forward pass are streamed where there is a ceiling. */
gem_status gem_engine_open_stream(const struct gem_engine *e, struct gem_forward *f, gem_error *err);

/* The file `name` that belongs to a Hugging Face checkpoint; as gem_archive_companion. */
gem_status gem_model_companion(const struct gem_model *m, const char *name, struct gem_map *map, char **label,
                               gem_error *err);

/* Opens the files of a checkpoint; m->folder is set for those of a folder. Nothing is read from them yet. */
gem_status gem_model_open_archive(struct gem_model *m, const char *path, gem_error *err);
/* The native copy beside `path`, made first where there is none that is right; gem_free *copy. */
gem_status gem_packed_copy(const char *path, const gem_model_options *o, char **copy, gem_error *err);

/* config.json, generation_config.json and GGUF keys that say how to generate. */
gem_status gem_recommend_from_folder(struct gem_model *m, gem_error *err);
gem_status gem_recommend_from_gguf(struct gem_model *m, gem_error *err);

/* How the checkpoint talks: by its vocabulary, and by its template as far as that is known. */
gem_status gem_chat_from_folder(struct gem_model *m, gem_error *err);
gem_status gem_chat_from_gguf(struct gem_model *m, gem_error *err);

/* Lives as long as the model. */
gem_status gem_model_trie(const gem_model *model, const struct gem_trie **out, gem_error *err);

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

/* What is known of an item by who generates. */
struct gem_ask {
    size_t n_strict; /* leading tokens whose placeholders must be covered: what a model generates is not the caller's
                        fault */
    uint32_t n_best; /* logits of the last token that matter; see struct gem_row */
    const gem_logit_bias *bias;
    uint32_t n_bias;
};

/* gem_engine_advance with asks [n_items]; NULL: all tokens, all logits. */
gem_status gem_engine_step(struct gem_engine *e, gem_advance *items, size_t n_items, const struct gem_ask *asks,
                           gem_progress_fn *progress, void *progress_user, gem_error *err);

/* Bytes that this machine can give without swapping; UINT64_MAX when unknown. */
uint64_t gem_memory_available(void);

#endif
