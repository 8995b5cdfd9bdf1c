/* SPDX-License-Identifier: Apache-2.0
 *
 * gem_pack: a checkpoint as one native file; gem_model_verify: whether one is still what was written. */
#include "engine/internal.h"

#include "model/store.h"

/* Files of a Hugging Face folder that belong to the model. What is not there is not missed. */
static const char *const companions[] = {
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
    "processor_config.json",
    "preprocessor_config.json",
    "image_processor_config.json",
    "video_preprocessor_config.json",
    "feature_extractor_config.json",
};
enum { N_COMPANIONS = sizeof companions / sizeof *companions };

struct metadata {
    struct gem_blob blobs[N_COMPANIONS];
    struct gem_map maps[N_COMPANIONS];
    size_t n;
    uint8_t *gguf;
};

static gem_status map_companions(const struct gem_model *m, struct metadata *d, gem_error *err)
{
    gem_status st = GEM_OK;

    for (size_t i = 0; i < N_COMPANIONS && !st; i++) {
        struct gem_map *map = &d->maps[d->n];
        char *label;

        st = gem_model_companion(m, companions[i], map, &label, err);
        if (!st && label)
            d->blobs[d->n++] = (struct gem_blob){.name = companions[i], .data = map->data, .n_bytes = map->n_bytes};
        gem_free(label);
    }
    return st;
}

static gem_status collect_metadata(const struct gem_model *m, struct metadata *d, gem_error *err)
{
    uint64_t n_bytes;
    gem_status st;

    if (!m->archive.is_gguf) return map_companions(m, d, err);
    if ((st = gem_native_metadata(&m->archive, &d->gguf, &n_bytes, err))) return st;
    d->blobs[d->n++] = (struct gem_blob){.name = GEM_NATIVE_METADATA, .data = d->gguf, .n_bytes = n_bytes};
    return GEM_OK;
}

static gem_status find_type(const char *name, enum gem_store_type *type, gem_error *err)
{
    static const char *const names[GEM_N_STORE_TYPES] = {"keep", "bf16", "q8_0", "q4_0"};

    for (int i = 0; i < GEM_N_STORE_TYPES; i++) {
        *type = (enum gem_store_type)i;
        if (!name || !strcmp(name, names[i])) return GEM_OK;
    }
    return gem_fail(err, GEM_E_ARGUMENT, 0, "type: '%s' is none of keep, bf16, q8_0, q4_0", name);
}

static gem_status store(struct gem_model *m, const char *output, const gem_pack_options *o, gem_error *err)
{
    struct gem_store s = {
        .a = &m->archive, .roles = m->roles, .w = &m->w, .h = &m->h, .progress = o->progress, .user = o->progress_user};
    struct metadata d = {.n = 0};
    gem_status st;

    if ((st = find_type(o->type, &s.type, err))) return st;
    if (!(st = collect_metadata(m, &d, err)) && !(st = gem_pool_open(&s.pool, o->n_threads, err))) {
        s.blobs = d.blobs;
        s.n_blobs = d.n;
        st = gem_store_write(&s, output, err);
        gem_pool_close(s.pool);
    }
    for (size_t i = 0; i < N_COMPANIONS; i++) gem_map_close(&d.maps[i]);
    gem_free(d.gguf);
    return st;
}

gem_status gem_pack(const char *path, const char *output, const gem_pack_options *options, gem_error *err)
{
    static const gem_pack_options defaults;
    const gem_model_options metadata = {.metadata_only = true};
    gem_model *m;
    gem_status st = gem_model_open(&m, path, &metadata, err);

    if (!st) st = store(m, output, options ? options : &defaults, err);
    gem_model_close(m);
    return st;
}

/* ---- verification ------------------------------------------------------------------------------------------ */

/* A piece of a tensor at a time, so that progress is shown and memory is given back. */
static gem_status verify_tensor(const struct gem_archive *a, const struct gem_tensor *t, uint64_t *done, uint64_t total,
                                gem_progress_fn *progress, void *user, gem_error *err)
{
    enum { PIECE = 16 << 20 };
    struct gem_hash hash;

    gem_hash_begin(&hash);
    for (uint64_t at = 0, n; at < t->n_bytes; at += n) {
        n = t->n_bytes - at < PIECE ? t->n_bytes - at : PIECE;
        if (progress && !progress(user, "verifying", *done, total))
            return gem_fail(err, GEM_E_CANCELLED, 0, "cancelled while verifying");
        gem_hash_add(&hash, t->data + at, (size_t)n);
        gem_map_release(t->data + at, n);
        *done += n;
    }
    if (gem_hash_end(&hash) == t->checksum) return GEM_OK;
    return gem_fail(err, GEM_E_FORMAT, t->offset,
                    "%.80s: damaged: tensor '%.80s' at byte %llu: its checksum does not match", a->paths[0], t->name,
                    (unsigned long long)t->offset);
}

gem_status gem_model_verify(const gem_model *m, gem_progress_fn *progress, void *user, gem_error *err)
{
    const struct gem_archive *a = &m->archive;
    uint64_t total = 0, done = 0;
    gem_status st = gem_archive_check(a, err);

    if (!a->is_native)
        return gem_fail(err, GEM_E_UNSUPPORTED, 0, "%s: only native files (.gem) have checksums", a->paths[0]);
    for (size_t i = 0; i < a->n_tensors; i++) total += a->tensors[i].n_bytes;
    for (size_t i = 0; i < a->n_tensors && !st; i++)
        st = verify_tensor(a, &a->tensors[i], &done, total, progress, user, err);
    return st;
}
