/* SPDX-License-Identifier: Apache-2.0
 *
 * gem_pack: a checkpoint as one native file, perhaps as a copy beside it; gem_model_verify: whether one is still what
 * was written. */
#include "engine/internal.h"

#include "model/store.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

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
    struct gem_blob blobs[N_COMPANIONS + 1];
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

/* Of an mmproj file that was named, or NULL. */
static const struct gem_archive *towers_of(const struct gem_model *m) { return m->mmproj.n_files ? &m->mmproj : NULL; }

static gem_status collect_metadata(const struct gem_model *m, struct metadata *d, gem_error *err)
{
    uint64_t n_bytes;
    gem_status st;

    if (!m->archive.is_gguf) return map_companions(m, d, err);
    if ((st = gem_native_metadata(&m->archive, towers_of(m), &d->gguf, &n_bytes, err))) return st;
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

/* extra: one more blob, or NULL. */
static gem_status store(struct gem_model *m, const char *output, const gem_pack_options *o,
                        const struct gem_blob *extra, gem_error *err)
{
    struct gem_store s = {.a = &m->archive,
                          .towers = towers_of(m),
                          .replaces = {m->sees == &m->mmproj, m->hears == &m->mmproj},
                          .roles = m->roles,
                          .w = &m->w,
                          .h = &m->h,
                          .progress = o->progress,
                          .user = o->progress_user};
    struct metadata d = {.n = 0};
    gem_status st;

    if ((st = find_type(o->type, &s.type, err))) return st;
    if (!(st = collect_metadata(m, &d, err)) && !(st = gem_pool_open(&s.pool, o->n_threads, err))) {
        if (extra) d.blobs[d.n++] = *extra;
        s.blobs = d.blobs;
        s.n_blobs = d.n;
        st = gem_store_write(&s, output, err);
        gem_pool_close(s.pool);
    }
    for (size_t i = 0; i < N_COMPANIONS; i++) gem_map_close(&d.maps[i]);
    gem_free(d.gguf);
    return st;
}

/* What is stored together must fit together: the towers of an mmproj file, which else are bound when they are first
 * used. */
static gem_status check_towers(const struct gem_model *m, gem_error *err)
{
    struct gem_vision vision = {0};
    struct gem_audio_weights audio = {0};
    gem_status st = GEM_OK;

    if (!towers_of(m)) return GEM_OK;
    if (!m->archive.is_gguf)
        return gem_fail(err, GEM_E_ARGUMENT, 0,
                        "%s: an mmproj file is stored with a GGUF file; a folder has its towers in it",
                        m->mmproj.paths[0]);
    if (m->sees == &m->mmproj) st = gem_vision_open(&vision, m->sees, NULL, m->h.hidden, err);
    if (!st && m->hears == &m->mmproj) st = gem_audio_bind(&audio, m->hears, m->h.hidden, err);
    gem_vision_close(&vision);
    gem_audio_weights_close(&audio);
    return st;
}

static gem_status pack(const char *path, const char *output, const gem_pack_options *o, const struct gem_blob *extra,
                       gem_error *err)
{
    const gem_model_options metadata = {.metadata_only = true, .mmproj = o->mmproj};
    gem_model *m;
    gem_status st = gem_model_open(&m, path, &metadata, err);

    if (!st && !(st = check_towers(m, err))) st = store(m, output, o, extra, err);
    gem_model_close(m);
    return st;
}

gem_status gem_pack(const char *path, const char *output, const gem_pack_options *options, gem_error *err)
{
    static const gem_pack_options defaults;

    return pack(path, output, options ? options : &defaults, NULL, err);
}

/* ---- a copy beside the checkpoint ---------------------------------------------------------------------------- */

#define SOURCE "source" /* the blob that says what a copy was made from: a line for each file */

struct text {
    char *p;
    size_t n;
};

/* "SIZE SECONDS.NANOSECONDS NAME" */
static gem_status add_file(struct text *t, const char *path, gem_error *err)
{
    struct stat info;
    size_t n;
    const char *name = gem_path_base(path, &n);
    char *grown, line[160];
    int length;

    if (stat(path, &info)) return gem_fail(err, GEM_E_IO, 0, "%s: %s", path, strerror(errno));
    length = snprintf(line, sizeof line, "%lld %lld.%09ld ", (long long)info.st_size, (long long)info.st_mtim.tv_sec,
                      info.st_mtim.tv_nsec);
    if (!(grown = gem_realloc(t->p, t->n + (size_t)length + n + 1, 1, "a list of files", err))) return GEM_E_NOMEM;
    t->p = grown;
    memcpy(grown + t->n, line, (size_t)length);
    memcpy(grown + t->n + length, name, n);
    grown[t->n + (size_t)length + n] = '\n';
    t->n += (size_t)length + n + 1;
    return GEM_OK;
}

static gem_status describe_source(struct text *t, const char *path, gem_error *err)
{
    struct gem_model m = {0};
    gem_status st = gem_model_open_archive(&m, path, err);

    for (uint32_t i = 0; i < m.archive.n_files && !st; i++) st = add_file(t, m.archive.paths[i], err);
    for (size_t i = 0; i < N_COMPANIONS && !st && m.folder; i++) {
        char *one = gem_path_join(m.folder, companions[i], err);
        if (!one)
            st = GEM_E_NOMEM;
        else if (gem_path_exists(one))
            st = add_file(t, one, err);
        gem_free(one);
    }
    gem_archive_close(&m.archive);
    gem_free(m.folder);
    return st;
}

/* NAME.gem for NAME.gguf, NAME.safetensors, NAME and NAME/. */
static char *copy_path(const char *path, gem_error *err)
{
    static const char *const ends[] = {".gguf", ".safetensors"};
    size_t n = strlen(path);
    char *out;

    while (n > 1 && path[n - 1] == '/') n--;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const size_t m = strlen(ends[i]);
        if (n > m && !memcmp(path + n - m, ends[i], m)) n -= m;
    }
    if (!(out = gem_calloc(n + sizeof ".gem", 1, "a path", err))) return NULL;
    memcpy(out, path, n);
    memcpy(out + n, ".gem", sizeof ".gem");
    return out;
}

static bool is_copy_of(const char *copy, const struct text *source)
{
    const struct gem_blob *blob;
    struct gem_archive a;
    bool yes = false;

    if (!gem_native_is(copy) || gem_native_open(&a, copy, NULL)) return false; /* damaged, another version: made anew */
    blob = gem_archive_blob(&a, SOURCE);
    yes = blob && source->p && blob->n_bytes == source->n && !memcmp(blob->data, source->p, source->n);
    gem_archive_close(&a);
    return yes;
}

/* Only what was once made as a copy is replaced: a native file of the same name may be somebody's own. */
static bool is_some_copy(const char *copy)
{
    struct gem_archive a;
    bool yes;

    if (!gem_native_is(copy)) return false;
    if (gem_native_open(&a, copy, NULL)) return true; /* a native file that cannot be read any more */
    yes = gem_archive_blob(&a, SOURCE) != NULL;
    gem_archive_close(&a);
    return yes;
}

gem_status gem_packed_copy(const char *path, const gem_model_options *o, char **copy, gem_error *err)
{
    const gem_pack_options how = {
        .n_threads = o->n_threads, .progress = o->progress, .progress_user = o->progress_user};
    struct text source = {0};
    struct gem_blob blob;
    gem_status st;

    *copy = NULL;
    if (gem_native_is(path)) return GEM_OK;
    if ((st = describe_source(&source, path, err))) goto out;
    st = GEM_E_NOMEM;
    if (!(*copy = copy_path(path, err))) goto out;
    st = GEM_OK;
    if (is_copy_of(*copy, &source)) goto out;
    blob = (struct gem_blob){.name = SOURCE, .data = (const uint8_t *)source.p, .n_bytes = source.n};
    st = gem_path_exists(*copy) && !is_some_copy(*copy)
             ? gem_fail(err, GEM_E_IO, 0, "%s: is in the way of a packed copy, and is none", *copy)
             : pack(path, *copy, &how, &blob, err);
out:
    gem_free(source.p);
    if (st) {
        gem_free(*copy);
        *copy = NULL;
    }
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
