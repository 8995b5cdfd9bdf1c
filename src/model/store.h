/* SPDX-License-Identifier: Apache-2.0
 * src/model/store.h - a model's weights into a native file (files/gem.h), perhaps quantised on the way. */
#ifndef GEM_MODEL_STORE_H
#define GEM_MODEL_STORE_H

#include "files/gem.h"
#include "model/weights.h"

/* What becomes of weights that are float numbers in the source. Quantised ones stay as they are: their scales may have
 * been trained, and a second rounding only loses. Norms, scales, routers, towers, and rows that blocks of 32 do not
 * fit are never quantised. */
enum gem_store_type {
    GEM_STORE_KEEP,
    GEM_STORE_BF16,
    GEM_STORE_Q8_0,
    GEM_STORE_Q4_0, /* Q8_0 for the token table and head and for all that makes per-layer embeddings */
    GEM_N_STORE_TYPES
};

struct gem_store {
    const struct gem_archive *a;
    const struct gem_archive *towers; /* NULL, or an mmproj file, whose tensors are stored too */
    bool replaces[2]; /* of a's towers those that see; those that hear: left out, as `towers` has them */
    const enum gem_role *roles;
    struct gem_weights *w; /* bound to a; not packed */
    const struct gem_hparams *h;
    enum gem_store_type type;
    const struct gem_blob *blobs;
    size_t n_blobs;
    struct gem_pool *pool;
    gem_progress_fn *progress;
    void *user;
};

/* Writes the file at path, whole or not at all. Dead tensors are left out. GEM_E_ARGUMENT when a type is asked for and
 * no weight is a float number; GEM_E_NONFINITE names a tensor that cannot be quantised. */
gem_status gem_store_write(const struct gem_store *s, const char *path, gem_error *err);

#endif
