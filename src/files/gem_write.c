/* SPDX-License-Identifier: Apache-2.0
 * src/files/gem_write.c - native files (gem.h) from a plan: where everything will lie is known before the first byte is
 * written; only checksums are filled in afterwards. */
#include "files/gem.h"
#include "files/parse.h"

#include "base/memory.h"

#include <assert.h>

static void put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> 8 * i);
}

static void put_u64(uint8_t *p, uint64_t v)
{
    put_u32(p, (uint32_t)v);
    put_u32(p + 4, (uint32_t)(v >> 32));
}

/* ---- where things lie -------------------------------------------------------------------------------------- */

enum { PAGE = 4096, LARGE = 64 * 1024 };

/* Takes n bytes of the file. Large tensors begin on pages, so that advice about one does not touch another. */
static uint64_t take_place(struct gem_native_writer *w, uint64_t n)
{
    const uint64_t align = n >= LARGE ? PAGE : GEM_NATIVE_ALIGN;
    const uint64_t offset = (w->file_bytes + align - 1) / align * align;

    w->file_bytes = offset + n;
    return offset;
}

static uint8_t *blob_entry(const struct gem_native_writer *w, size_t i)
{
    return w->head + GEM_NATIVE_HEADER + i * GEM_NATIVE_BLOB;
}

static uint8_t *tensor_entry(const struct gem_native_writer *w, size_t i)
{
    return blob_entry(w, w->n_blobs) + i * GEM_NATIVE_TENSOR;
}

static uint32_t type_name_bytes(const struct gem_tensor *t)
{
    return t->type == GEM_TYPE_OTHER ? (uint32_t)strlen(t->type_name) : 0;
}

static uint64_t directory_bytes(const struct gem_native_plan *plan)
{
    uint64_t n = plan->n_blobs * GEM_NATIVE_BLOB + plan->n_tensors * GEM_NATIVE_TENSOR;

    for (size_t i = 0; i < plan->n_blobs; i++) n += strlen(plan->blobs[i].name);
    for (size_t i = 0; i < plan->n_tensors; i++)
        n += strlen(plan->tensors[i].name) + type_name_bytes(&plan->tensors[i]);
    return n;
}

static uint8_t *put_name(uint8_t *p, const char *name, size_t n)
{
    if (n) memcpy(p, name, n);
    return p + n;
}

static void put_tensor(struct gem_native_writer *w, uint8_t *p, const struct gem_tensor *t)
{
    put_u64(p, take_place(w, t->n_bytes));
    put_u64(p + 8, t->n_bytes);
    for (int i = 0; i < 4; i++) put_u64(p + 24 + 8 * i, t->shape[i]);
    put_u32(p + 56, t->n_dims);
    put_u32(p + 60, t->type);
    put_u32(p + 64, t->layout);
    put_u32(p + 68, gem_native_layout_version(t->layout));
    put_u32(p + 72, (uint32_t)strlen(t->name));
    put_u32(p + 76, type_name_bytes(t));
}

static void put_head(struct gem_native_writer *w, const struct gem_native_plan *plan)
{
    uint8_t *p = w->head, *names = tensor_entry(w, w->n_tensors);

    memcpy(p, GEM_NATIVE_MAGIC, 8);
    put_u32(p + 8, 0x01020304);
    put_u32(p + 12, GEM_NATIVE_VERSION);
    put_u64(p + 24, w->head_bytes - GEM_NATIVE_HEADER);
    put_u32(p + 32, (uint32_t)w->n_blobs);
    put_u32(p + 36, (uint32_t)w->n_tensors);
    put_u32(p + 40, plan->source);
    for (size_t i = 0; i < plan->n_blobs; i++) {
        const struct gem_blob *blob = &plan->blobs[i];
        put_u64(blob_entry(w, i), take_place(w, blob->n_bytes));
        put_u64(blob_entry(w, i) + 8, blob->n_bytes);
        put_u64(blob_entry(w, i) + 16, gem_hash_of(blob->data, (size_t)blob->n_bytes));
        put_u32(blob_entry(w, i) + 24, (uint32_t)strlen(blob->name));
        names = put_name(names, blob->name, strlen(blob->name));
    }
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const struct gem_tensor *t = &plan->tensors[i];
        put_tensor(w, tensor_entry(w, i), t);
        names = put_name(names, t->name, strlen(t->name));
        names = put_name(names, t->type_name, type_name_bytes(t));
    }
    assert(names == w->head + w->head_bytes);
    put_u64(w->head + 16, w->file_bytes);
}

/* ---- writing ----------------------------------------------------------------------------------------------- */

/* Tensors that are complete, empty ones too, get their checksums. */
static void finish_tensors(struct gem_native_writer *w)
{
    while (w->current < w->n_tensors && w->done == gem_load_u64(tensor_entry(w, w->current) + 8)) {
        put_u64(tensor_entry(w, w->current) + 16, gem_hash_end(&w->hash));
        gem_hash_begin(&w->hash);
        w->done = 0;
        w->current++;
    }
}

gem_status gem_native_begin(struct gem_native_writer *w, const char *path, const struct gem_native_plan *plan,
                            gem_error *err)
{
    gem_status st = GEM_E_NOMEM;

    *w = (struct gem_native_writer){.n_blobs = plan->n_blobs, .n_tensors = plan->n_tensors};
    w->head_bytes = w->file_bytes = GEM_NATIVE_HEADER + directory_bytes(plan);
    if (!(w->head = gem_calloc((size_t)w->head_bytes, 1, "the directory of a file", err))) goto fail;
    put_head(w, plan);
    if ((st = gem_output_open(&w->out, path, w->file_bytes, err))) goto fail;
    for (size_t i = 0; i < plan->n_blobs; i++) {
        const struct gem_blob *blob = &plan->blobs[i];
        st = gem_output_write(&w->out, blob->data, blob->n_bytes, gem_load_u64(blob_entry(w, i)), err);
        if (st) goto fail;
    }
    gem_hash_begin(&w->hash);
    finish_tensors(w);
    return GEM_OK;
fail:
    gem_native_close(w);
    return st;
}

gem_status gem_native_write(struct gem_native_writer *w, const void *data, uint64_t n, gem_error *err)
{
    const uint8_t *entry = tensor_entry(w, w->current);
    gem_status st;

    assert(w->current < w->n_tensors && n <= gem_load_u64(entry + 8) - w->done);
    gem_hash_add(&w->hash, data, (size_t)n);
    if ((st = gem_output_write(&w->out, data, n, gem_load_u64(entry) + w->done, err))) return st;
    w->done += n;
    finish_tensors(w);
    return GEM_OK;
}

gem_status gem_native_commit(struct gem_native_writer *w, gem_error *err)
{
    gem_status st;

    assert(w->current == w->n_tensors);
    put_u64(w->head + 48, gem_hash_of(w->head + GEM_NATIVE_HEADER, (size_t)(w->head_bytes - GEM_NATIVE_HEADER)));
    put_u64(w->head + 56, gem_hash_of(w->head, 56));
    if ((st = gem_output_write(&w->out, w->head, w->head_bytes, 0, err))) return st;
    if ((st = gem_output_commit(&w->out, err))) return st;
    gem_native_close(w);
    return GEM_OK;
}

void gem_native_close(struct gem_native_writer *w)
{
    gem_output_close(&w->out);
    gem_free(w->head);
    *w = (struct gem_native_writer){0};
}

/* ---- metadata ---------------------------------------------------------------------------------------------- */

/* Keys of towers are the second archive's, where there is one. */
static bool is_kept(const struct gem_kv *kv, bool of_towers, bool has_towers)
{
    const bool names_towers = !strncmp(kv->key, "clip.", 5);

    return of_towers ? names_towers : strncmp(kv->key, "split.", 6) != 0 && !(has_towers && names_towers);
}

static uint64_t kv_bytes(const struct gem_kv *kv)
{
    return 8 + strlen(kv->key) + 4 + (kv->type == GEM_KV_ARRAY ? 12 : 0) + kv->n_bytes;
}

static uint8_t *put_kv(uint8_t *p, const struct gem_kv *kv)
{
    const size_t length = strlen(kv->key);

    put_u64(p, length);
    memcpy(p + 8, kv->key, length);
    put_u32(p + 8 + length, kv->type);
    p += 8 + length + 4;
    if (kv->type == GEM_KV_ARRAY) {
        put_u32(p, kv->element);
        put_u64(p + 4, kv->n);
        p += 12;
    }
    if (kv->n_bytes) memcpy(p, kv->data, (size_t)kv->n_bytes);
    return p + kv->n_bytes;
}

gem_status gem_native_metadata(const struct gem_archive *a, const struct gem_archive *towers, uint8_t **out,
                               uint64_t *n_bytes, gem_error *err)
{
    const struct gem_archive *const from[] = {a, towers};
    uint64_t n = 24, n_kv = 0;
    uint8_t *p;

    for (int k = 0; k < 2 && from[k]; k++)
        for (size_t i = 0; i < from[k]->n_kv; i++) {
            if (!is_kept(&from[k]->kv[i], k > 0, towers)) continue;
            n += kv_bytes(&from[k]->kv[i]);
            n_kv++;
        }
    if (!(*out = p = gem_calloc((size_t)n, 1, "metadata", err))) return GEM_E_NOMEM;
    *n_bytes = n;
    memcpy(p, "GGUF", 4);
    put_u32(p + 4, 3);
    put_u64(p + 16, n_kv);
    p += 24;
    for (int k = 0; k < 2 && from[k]; k++)
        for (size_t i = 0; i < from[k]->n_kv; i++)
            if (is_kept(&from[k]->kv[i], k > 0, towers)) p = put_kv(p, &from[k]->kv[i]);
    assert(p == *out + n);
    return GEM_OK;
}
