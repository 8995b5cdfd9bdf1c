/* SPDX-License-Identifier: Apache-2.0
 * tests/fuzz/archive_walk.h - reads everything that an archive offers, through its accessors, and traps where a promise
 * of files/archive.h is broken. For fuzz targets and for the unit test's damaged files. */
#ifndef GEM_TEST_ARCHIVE_WALK_H
#define GEM_TEST_ARCHIVE_WALK_H

#include "files/archive.h"

#define WALK_EXPECT(cond)                                                                                              \
    do {                                                                                                               \
        if (!(cond)) __builtin_trap();                                                                                 \
    } while (0)

static inline uint64_t walk_range(const struct gem_archive *a, uint32_t file, const void *data, uint64_t n)
{
    const uint8_t *p = data, *begin, *end;

    WALK_EXPECT(file < a->n_files);
    begin = a->maps[file].data;
    end = begin + a->maps[file].n_bytes;
    WALK_EXPECT(p >= begin && p <= end && n <= (uint64_t)(end - p));
    return n ? p[0] + p[n - 1] : 0u;
}

static inline uint64_t walk_strings(const struct gem_archive *a, const struct gem_kv *kv)
{
    uint64_t cursor = 0, count = 0, sum = 0;
    const char *s;
    size_t n;

    while (gem_kv_next_string(kv, &cursor, &s, &n)) {
        sum += walk_range(a, kv->file, s, n);
        count++;
    }
    WALK_EXPECT(count == kv->n && cursor == kv->n_bytes);
    return sum;
}

static inline uint64_t walk_kv(const struct gem_archive *a, const struct gem_kv *kv)
{
    uint64_t sum = walk_range(a, kv->file, kv->data, kv->n_bytes);
    double x = 0;

    WALK_EXPECT(gem_archive_kv(a, kv->key) == kv);
    WALK_EXPECT(kv->element != GEM_KV_ARRAY && (kv->type == GEM_KV_ARRAY || (kv->type == kv->element && kv->n == 1)));
    if (kv->element == GEM_KV_STRING) return sum + walk_strings(a, kv);
    for (uint64_t i = 0; i < kv->n; i++) {
        x += gem_kv_float(kv, i);
        if (kv->element != GEM_KV_F32 && kv->element != GEM_KV_F64) sum += (uint64_t)gem_kv_int(kv, i);
    }
    return sum + (x > 0);
}

/* Whatever the type, the typed getters answer or refuse. */
static inline uint64_t walk_getters(const struct gem_archive *a, const struct gem_kv *kv)
{
    uint32_t u = 0, several[3] = {0};
    gem_error err;
    float f = 0;
    bool b = false;
    const char *s = "";
    size_t n = 0;

    gem_kv_get_u32(a, kv->key, true, &u, &err);
    gem_kv_get_f32(a, kv->key, true, &f, &err);
    gem_kv_get_bool(a, kv->key, true, &b, &err);
    gem_kv_get_u32s(a, kv->key, true, several, 3, &err);
    if (gem_kv_get_string(a, kv->key, true, &s, &n, &err)) n = 0;
    return u + (f > 0) + b + several[2] + walk_range(a, kv->file, n ? s : (const char *)kv->data, n);
}

static inline uint64_t walk_tensor(const struct gem_archive *a, const struct gem_tensor *t)
{
    const struct gem_type_info *info = gem_type_info(t->type);
    uint64_t n = 1;

    WALK_EXPECT(gem_archive_tensor(a, t->name) == t && t->n_dims <= 4 && t->type_name);
    for (int i = 0; i < 4; i++) {
        WALK_EXPECT(i < (int)t->n_dims || t->shape[i] == 1);
        WALK_EXPECT(!__builtin_mul_overflow(n, t->shape[i], &n));
    }
    WALK_EXPECT(t->type == GEM_TYPE_OTHER || (info->name && n % info->block == 0));
    WALK_EXPECT(t->layout == 0 || (a->is_native && t->type != GEM_TYPE_OTHER && n > 0));
    WALK_EXPECT(t->layout || t->type == GEM_TYPE_OTHER || n / info->block * info->bytes == t->n_bytes);
    WALK_EXPECT(t->data == a->maps[t->file].data + t->offset);
    return walk_range(a, t->file, t->data, t->n_bytes);
}

static inline uint64_t archive_walk(const struct gem_archive *a)
{
    uint64_t sum = 0;
    gem_error err;

    for (size_t i = 0; i < a->n_kv; i++) sum += walk_kv(a, &a->kv[i]) + walk_getters(a, &a->kv[i]);
    for (size_t i = 0; i < a->n_tensors; i++) sum += walk_tensor(a, &a->tensors[i]);
    for (size_t i = 0; i < a->n_blobs; i++) {
        WALK_EXPECT(gem_archive_blob(a, a->blobs[i].name) == &a->blobs[i]);
        sum += walk_range(a, 0, a->blobs[i].data, a->blobs[i].n_bytes);
    }
    WALK_EXPECT(gem_archive_check(a, &err) == GEM_OK);
    return sum;
}

#endif
