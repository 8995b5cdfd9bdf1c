/* SPDX-License-Identifier: Apache-2.0
 * src/files/archive.c - the archive as a container: files, names, tensors and keys, and how they are found. Names are
 * found by binary search over sorted pointers: n log n for any input, where a hash table without a secret could be
 * filled with collisions. */
#include "files/parse.h"

#include "base/memory.h"

#include <stdlib.h>

/* Names are many and small: blocks of them. */
struct name_block {
    struct name_block *next;
    size_t used, cap;
    char bytes[];
};

struct gem_archive_index {
    struct gem_tensor **tensors; /* [n_tensors] by name */
    struct gem_kv **kv;          /* [n_kv] by key, then by file */
    size_t cap_tensors, cap_kv;  /* of the archive's own arrays */
    struct name_block *names;
};

gem_status gem_archive_begin(struct gem_archive *a, bool is_gguf, gem_error *err)
{
    *a = (struct gem_archive){.is_gguf = is_gguf};
    a->index = gem_calloc(1, sizeof *a->index, "the index of a checkpoint", err);
    return a->index ? GEM_OK : GEM_E_NOMEM;
}

void gem_archive_close(struct gem_archive *a)
{
    for (uint32_t i = 0; i < a->n_files; i++) {
        gem_map_close(&a->maps[i]);
        gem_free(a->paths[i]);
    }
    if (a->index) {
        for (struct name_block *b = a->index->names, *next; b; b = next) {
            next = b->next;
            gem_free(b);
        }
        gem_free(a->index->tensors);
        gem_free(a->index->kv);
    }
    gem_free(a->index);
    gem_free(a->paths);
    gem_free(a->maps);
    gem_free(a->tensors);
    gem_free(a->kv);
    gem_free(a->blobs);
    *a = (struct gem_archive){0};
}

/* ---- files ------------------------------------------------------------------------------------------------- */

static gem_status add_map(struct gem_archive *a, const char *path, const struct gem_map *map, gem_error *err)
{
    const size_t n = (size_t)a->n_files + 1;
    char **paths = gem_realloc(a->paths, n, sizeof *paths, "the names of files", err);
    struct gem_map *maps;

    if (!paths) return GEM_E_NOMEM;
    a->paths = paths;
    maps = gem_realloc(a->maps, n, sizeof *maps, "a list of files", err);
    if (!maps) return GEM_E_NOMEM;
    a->maps = maps;
    paths[n - 1] = gem_strndup(path, strlen(path), err);
    if (!paths[n - 1]) return GEM_E_NOMEM;
    maps[n - 1] = *map;
    a->n_files++;
    return GEM_OK;
}

gem_status gem_archive_add_file(struct gem_archive *a, const char *path, gem_error *err)
{
    struct gem_map map;
    gem_status st;

    if ((st = gem_map_open(&map, path, err))) return st;
    if ((st = add_map(a, path, &map, err))) gem_map_close(&map);
    return st;
}

gem_status gem_archive_add_memory(struct gem_archive *a, const char *name, const uint8_t *data, uint64_t n_bytes,
                                  gem_error *err)
{
    const struct gem_map map = {.data = data, .n_bytes = n_bytes};

    return add_map(a, name, &map, err);
}

const char *gem_archive_file_name(const struct gem_archive *a, uint32_t file)
{
    const char *slash = strrchr(a->paths[file], '/');

    return slash ? slash + 1 : a->paths[file];
}

gem_status gem_archive_check(const struct gem_archive *a, gem_error *err)
{
    gem_status st = GEM_OK;

    for (uint32_t i = 0; i < a->n_files && !st; i++) st = gem_map_check(&a->maps[i], a->paths[i], err);
    return st;
}

gem_status gem_archive_companion(const struct gem_archive *a, const char *folder, const char *name, struct gem_map *map,
                                 char **label, gem_error *err)
{
    const struct gem_blob *blob = gem_archive_blob(a, name);

    *map = (struct gem_map){0};
    if (!(*label = gem_path_join(a->is_native ? a->paths[0] : folder, name, err))) return GEM_E_NOMEM;
    if (!a->is_native && gem_path_exists(*label)) return gem_map_open(map, *label, err);
    if (blob) {
        *map = (struct gem_map){.data = blob->data, .n_bytes = blob->n_bytes};
    } else {
        gem_free(*label);
        *label = NULL;
    }
    return GEM_OK;
}

static bool begins_with(const struct gem_map *map, const char *s)
{
    const size_t n = strlen(s);

    return map->n_bytes >= n && !memcmp(map->data, s, n);
}

gem_status gem_archive_fail_kind(const struct gem_archive *a, uint32_t file, const char *otherwise, gem_error *err)
{
    static const struct {
        const char *begin, *message;
    } kinds[] = {
        {"version https://git-lfs", "a Git LFS pointer, not the file itself: fetch it with 'git lfs pull'"},
        {"<", "a web page or XML, not a checkpoint: the download went wrong"},
        {"PK\x03\x04", "a ZIP archive (a PyTorch checkpoint?): use the model's safetensors or GGUF files"},
        {"GGUF", "a GGUF file, not a safetensors file"},
        {"\x89GEM", "a native file that is damaged at its very beginning: a transfer as text?"},
        {"{", "JSON, not a checkpoint: of a model with an index name the folder"},
    };
    const struct gem_map *map = &a->maps[file];
    const char *message = map->n_bytes ? otherwise : "the file is empty";

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (begins_with(map, kinds[i].begin)) message = kinds[i].message;
    return gem_fail(err, GEM_E_FORMAT, 0, GEM_NAME ": %s", gem_archive_file_name(a, file), message);
}

/* ---- growing ----------------------------------------------------------------------------------------------- */

const char *gem_archive_add_name(struct gem_archive *a, const char *s, size_t n, gem_error *err)
{
    enum { BLOCK = 16 * 1024 };
    struct name_block *b = a->index->names;
    char *copy;

    if (!b || b->cap - b->used <= n) {
        const size_t cap = n < BLOCK ? BLOCK : n + 1;
        if (!(b = gem_calloc(sizeof *b + cap, 1, "names", err))) return NULL;
        b->cap = cap;
        b->next = a->index->names;
        a->index->names = b;
    }
    copy = b->bytes + b->used;
    if (n) memcpy(copy, s, n);
    copy[n] = '\0';
    b->used += n + 1;
    return copy;
}

/* The array with room for one more than n, or NULL. */
static void *room(void *array, size_t n, size_t *cap, size_t size, const char *what, gem_error *err)
{
    const size_t bigger = *cap ? *cap * 2 : 64;
    void *p;

    if (n < *cap) return array;
    p = gem_realloc(array, bigger, size, what, err);
    if (p) *cap = bigger;
    return p;
}

struct gem_tensor *gem_archive_add_tensor(struct gem_archive *a, gem_error *err)
{
    struct gem_tensor *t =
        room(a->tensors, a->n_tensors, &a->index->cap_tensors, sizeof *t, "the list of tensors", err);

    if (!t) return NULL;
    a->tensors = t;
    t += a->n_tensors++;
    *t = (struct gem_tensor){.file = a->n_files - 1};
    return t;
}

struct gem_kv *gem_archive_add_kv(struct gem_archive *a, gem_error *err)
{
    struct gem_kv *kv = room(a->kv, a->n_kv, &a->index->cap_kv, sizeof *kv, "the list of metadata", err);

    if (!kv) return NULL;
    a->kv = kv;
    kv += a->n_kv++;
    *kv = (struct gem_kv){.file = a->n_files - 1};
    return kv;
}

/* ---- placing tensors in their file -------------------------------------------------------------------------- */

bool gem_shape_elements(const uint64_t *shape, uint64_t *n)
{
    uint64_t product = 1;
    bool empty = false;

    for (int i = 0; i < 4; i++) {
        empty |= shape[i] == 0;
        if (__builtin_mul_overflow(product, shape[i] ? shape[i] : 1, &product) || product > INT64_MAX) return false;
    }
    *n = empty ? 0 : product;
    return true;
}

static int by_offset(const void *p, const void *q)
{
    const struct gem_tensor *a = *(struct gem_tensor *const *)p, *b = *(struct gem_tensor *const *)q;

    if (a->offset != b->offset) return a->offset < b->offset ? -1 : 1;
    if (a->n_bytes != b->n_bytes) return a->n_bytes < b->n_bytes ? -1 : 1; /* empty ones before what begins there */
    return a < b ? -1 : a > b;
}

/* Offsets from here on are absolute, and offset + n_bytes does not overflow. */
static gem_status make_absolute(struct gem_archive *a, uint32_t file, size_t first, uint64_t base, uint64_t *end,
                                gem_error *err)
{
    *end = base;
    for (size_t i = first; i < a->n_tensors; i++) {
        struct gem_tensor *t = &a->tensors[i];
        uint64_t last;
        if (__builtin_add_overflow(t->offset, base, &t->offset) || __builtin_add_overflow(t->offset, t->n_bytes, &last))
            return gem_fail(err, GEM_E_FORMAT, base, GEM_NAME ": tensor '" GEM_NAME "': offset or size overflows",
                            gem_archive_file_name(a, file), t->name);
        if (last > *end) *end = last;
    }
    return GEM_OK;
}

/* One tensor, where all before it end at `cursor`; the last one ends at `end`. */
static gem_status place(const struct gem_archive *a, struct gem_tensor *t, uint64_t cursor, uint64_t end, bool dense,
                        gem_error *err)
{
    const struct gem_map *map = &a->maps[t->file];
    const char *name = gem_archive_file_name(a, t->file);
    const unsigned long long begin = t->offset, last = t->offset + t->n_bytes, prior = cursor, size = map->n_bytes;

    if (begin < prior && (t->n_bytes || dense))
        return gem_fail(err, GEM_E_FORMAT, begin,
                        GEM_NAME ": tensor '" GEM_NAME "' begins at byte %llu, inside another that ends at %llu", name,
                        t->name, begin, prior);
    if (begin > prior && dense)
        return gem_fail(err, GEM_E_FORMAT, prior,
                        GEM_NAME ": tensor '" GEM_NAME "' begins at byte %llu, %llu expected: a hole", name, t->name,
                        begin, prior);
    if (last > size)
        return gem_fail(err, GEM_E_FORMAT, size,
                        GEM_NAME ": truncated: tensor '" GEM_NAME
                                 "' ends at byte %llu but the file has %llu (whole: %llu)",
                        name, t->name, last, size, (unsigned long long)end);
    t->data = map->data + t->offset;
    return GEM_OK;
}

gem_status gem_archive_place(struct gem_archive *a, uint32_t file, size_t first, uint64_t base, bool dense,
                             gem_error *err)
{
    const size_t n = a->n_tensors - first;
    struct gem_tensor **sorted = gem_calloc(n, sizeof *sorted, "the order of tensors", err);
    uint64_t cursor = base, end;
    gem_status st = GEM_E_NOMEM;

    if (!sorted) return st;
    if ((st = make_absolute(a, file, first, base, &end, err))) goto done;
    for (size_t i = 0; i < n; i++) sorted[i] = &a->tensors[first + i];
    qsort(sorted, n, sizeof *sorted, by_offset);
    for (size_t i = 0; i < n && !st; i++) {
        st = place(a, sorted[i], cursor, end, dense, err);
        if (sorted[i]->n_bytes) cursor = sorted[i]->offset + sorted[i]->n_bytes;
    }
    if (!st && dense && cursor != a->maps[file].n_bytes)
        st = gem_fail(
            err, GEM_E_FORMAT, cursor, GEM_NAME ": the last tensor ends at byte %llu but the file has %llu bytes",
            gem_archive_file_name(a, file), (unsigned long long)cursor, (unsigned long long)a->maps[file].n_bytes);
done:
    gem_free(sorted);
    return st;
}

/* ---- names ------------------------------------------------------------------------------------------------- */

static int by_name(const void *p, const void *q)
{
    const struct gem_tensor *a = *(struct gem_tensor *const *)p, *b = *(struct gem_tensor *const *)q;
    const int order = strcmp(a->name, b->name);

    return order ? order : a < b ? -1 : a > b;
}

static int by_key(const void *p, const void *q)
{
    const struct gem_kv *a = *(struct gem_kv *const *)p, *b = *(struct gem_kv *const *)q;
    const int order = strcmp(a->key, b->key);

    return order ? order : a < b ? -1 : a > b; /* addresses are in file order */
}

static gem_status finish_tensors(struct gem_archive *a, gem_error *err)
{
    const size_t n = a->n_tensors;
    struct gem_tensor **sorted = gem_calloc(n, sizeof *sorted, "the index of tensors", err);

    if (!sorted) return GEM_E_NOMEM;
    a->index->tensors = sorted;
    for (size_t i = 0; i < n; i++) sorted[i] = &a->tensors[i];
    qsort(sorted, n, sizeof *sorted, by_name);
    for (size_t i = 1; i < n; i++) {
        const struct gem_tensor *t = sorted[i - 1], *u = sorted[i];
        if (strcmp(t->name, u->name)) continue;
        return gem_fail(
            err, GEM_E_FORMAT, u->offset, "%.60s: tensor '" GEM_NAME "' at byte %llu is also in %.60s at byte %llu",
            gem_archive_file_name(a, u->file), u->name, (unsigned long long)u->offset,
            t->file == u->file ? "this file" : gem_archive_file_name(a, t->file), (unsigned long long)t->offset);
    }
    return GEM_OK;
}

static void sort_keys(struct gem_archive *a)
{
    for (size_t i = 0; i < a->n_kv; i++) a->index->kv[i] = &a->kv[i];
    qsort(a->index->kv, a->n_kv, sizeof *a->index->kv, by_key);
}

static bool same_value(const struct gem_kv *p, const struct gem_kv *q)
{
    return p->type == q->type && p->element == q->element && p->n == q->n && p->n_bytes == q->n_bytes &&
           !memcmp(p->data, q->data, p->n_bytes);
}

/* A key that the entry before it in order has too. */
static gem_status check_repeated(const struct gem_archive *a, const struct gem_kv *p, const struct gem_kv *q,
                                 gem_error *err)
{
    const char *name = gem_archive_file_name(a, q->file);

    if (p->file == q->file)
        return gem_fail(err, GEM_E_FORMAT, q->offset,
                        GEM_NAME ": metadata key '" GEM_NAME "' twice: values at bytes %llu and %llu", name, q->key,
                        (unsigned long long)p->offset, (unsigned long long)q->offset);
    if (!same_value(p, q) && strcmp(q->key, "split.no"))
        return gem_fail(err, GEM_E_FORMAT, q->offset,
                        "%.60s: metadata key '" GEM_NAME "' at byte %llu differs from %.60s: parts of different files",
                        name, q->key, (unsigned long long)q->offset, gem_archive_file_name(a, p->file));
    return GEM_OK;
}

static gem_status finish_keys(struct gem_archive *a, gem_error *err)
{
    struct gem_archive_index *index = a->index;
    gem_status st = GEM_OK;
    size_t kept = 0;
    bool *repeated = gem_calloc(a->n_kv, sizeof *repeated, "the index of metadata", err);

    if (!repeated) return GEM_E_NOMEM;
    index->kv = gem_calloc(a->n_kv, sizeof(struct gem_kv *), "the index of metadata", err);
    if (!index->kv)
        st = GEM_E_NOMEM;
    else
        sort_keys(a);
    for (size_t i = 1; i < a->n_kv && !st; i++) {
        if (strcmp(index->kv[i - 1]->key, index->kv[i]->key)) continue;
        repeated[index->kv[i] - a->kv] = true;
        st = check_repeated(a, index->kv[i - 1], index->kv[i], err);
    }
    if (!st) {
        for (size_t i = 0; i < a->n_kv; i++)
            if (!repeated[i]) a->kv[kept++] = a->kv[i];
        if (kept < a->n_kv) {
            a->n_kv = kept;
            sort_keys(a);
        }
    }
    gem_free(repeated);
    return st;
}

gem_status gem_archive_finish(struct gem_archive *a, gem_error *err)
{
    gem_status st = finish_tensors(a, err);

    return st ? st : finish_keys(a, err);
}

static int find_tensor(const void *name, const void *p) { return strcmp(name, (*(struct gem_tensor *const *)p)->name); }

const struct gem_tensor *gem_archive_tensor(const struct gem_archive *a, const char *name)
{
    struct gem_tensor **p = NULL;

    if (a->n_tensors) p = bsearch(name, a->index->tensors, a->n_tensors, sizeof *p, find_tensor);
    return p ? *p : NULL;
}

static int find_key(const void *key, const void *p) { return strcmp(key, (*(struct gem_kv *const *)p)->key); }

const struct gem_kv *gem_archive_kv(const struct gem_archive *a, const char *key)
{
    struct gem_kv **p = NULL;

    if (a->n_kv) p = bsearch(key, a->index->kv, a->n_kv, sizeof *p, find_key);
    return p ? *p : NULL;
}

const struct gem_blob *gem_archive_blob(const struct gem_archive *a, const char *name)
{
    for (size_t i = 0; i < a->n_blobs; i++) /* a few, and searched for a few times */
        if (!strcmp(a->blobs[i].name, name)) return &a->blobs[i];
    return NULL;
}
