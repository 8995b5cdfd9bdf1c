/* SPDX-License-Identifier: Apache-2.0
 * src/files/kv.c - typed reading of GGUF metadata. The parser has checked that every value lies in its file. */
#include "files/parse.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdio.h>

const struct gem_kv_type_info gem_kv_types[GEM_KV_N_TYPES] = {
    [GEM_KV_U8] = {"u8", 1},       [GEM_KV_I8] = {"i8", 1},     [GEM_KV_U16] = {"u16", 2},
    [GEM_KV_I16] = {"i16", 2},     [GEM_KV_U32] = {"u32", 4},   [GEM_KV_I32] = {"i32", 4},
    [GEM_KV_F32] = {"f32", 4},     [GEM_KV_BOOL] = {"bool", 1}, [GEM_KV_STRING] = {"string", 0},
    [GEM_KV_ARRAY] = {"array", 0}, [GEM_KV_U64] = {"u64", 8},   [GEM_KV_I64] = {"i64", 8},
    [GEM_KV_F64] = {"f64", 8},
};

static bool is_float(enum gem_kv_type type) { return type == GEM_KV_F32 || type == GEM_KV_F64; }

static bool is_integer(enum gem_kv_type type)
{
    return gem_kv_types[type].bytes && !is_float(type) && type != GEM_KV_BOOL;
}

static const uint8_t *element(const struct gem_kv *kv, uint64_t i)
{
    assert(i < kv->n);
    return kv->data + i * gem_kv_types[kv->element].bytes;
}

int64_t gem_kv_int(const struct gem_kv *kv, uint64_t i)
{
    const uint8_t *p = element(kv, i);
    uint64_t u;

    switch (kv->element) {
    case GEM_KV_U8:
    case GEM_KV_BOOL: return p[0];
    case GEM_KV_I8: return (int8_t)p[0];
    case GEM_KV_U16: return p[0] | p[1] << 8;
    case GEM_KV_I16: return (int16_t)(p[0] | p[1] << 8);
    case GEM_KV_U32: return gem_load_u32(p);
    case GEM_KV_I32: return (int32_t)gem_load_u32(p);
    case GEM_KV_I64: return (int64_t)gem_load_u64(p);
    case GEM_KV_U64: u = gem_load_u64(p); return u > INT64_MAX ? INT64_MAX : (int64_t)u;
    default: assert(!"an integer or a bool"); return 0;
    }
}

double gem_kv_float(const struct gem_kv *kv, uint64_t i)
{
    const uint8_t *p = element(kv, i);

    if (kv->element == GEM_KV_F32) {
        const uint32_t u = gem_load_u32(p);
        float f;
        memcpy(&f, &u, sizeof f);
        return (double)f;
    }
    if (kv->element == GEM_KV_F64) {
        const uint64_t u = gem_load_u64(p);
        double d;
        memcpy(&d, &u, sizeof d);
        return d;
    }
    if (kv->element == GEM_KV_U64) return (double)gem_load_u64(p);
    return (double)gem_kv_int(kv, i);
}

bool gem_kv_next_string(const struct gem_kv *kv, uint64_t *cursor, const char **s, size_t *n)
{
    assert(kv->element == GEM_KV_STRING);
    if (*cursor >= kv->n_bytes) return false;
    *n = (size_t)gem_load_u64(kv->data + *cursor);
    *s = (const char *)kv->data + *cursor + 8;
    *cursor += 8 + *n;
    return true;
}

/* ---- by key ------------------------------------------------------------------------------------------------ */

/* *kv is NULL, with GEM_OK, for a key that is absent and need not be there. */
static gem_status find(const struct gem_archive *a, const char *key, bool required, const struct gem_kv **kv,
                       gem_error *err)
{
    *kv = gem_archive_kv(a, key);
    if (*kv || !required) return GEM_OK;
    return gem_fail(err, GEM_E_FORMAT, 0, GEM_NAME ": metadata key '" GEM_NAME "' is missing",
                    a->n_files ? gem_archive_file_name(a, 0) : "no file", key);
}

static gem_status wrong(const struct gem_archive *a, const struct gem_kv *kv, const char *expected, gem_error *err)
{
    const char *type = gem_kv_types[kv->element].name;
    char found[64];

    if (kv->type == GEM_KV_ARRAY)
        snprintf(found, sizeof found, "an array of %llu %s", (unsigned long long)kv->n, type);
    else if (is_integer(kv->type))
        snprintf(found, sizeof found, "%s %lld", type, (long long)gem_kv_int(kv, 0));
    else if (is_float(kv->type))
        snprintf(found, sizeof found, "%s %g", type, gem_kv_float(kv, 0));
    else
        snprintf(found, sizeof found, "a %s", type);
    return gem_fail(err, GEM_E_FORMAT, kv->offset,
                    GEM_NAME ": metadata key '" GEM_NAME "' at byte %llu: expected %s, found %s",
                    gem_archive_file_name(a, kv->file), kv->key, (unsigned long long)kv->offset, expected, found);
}

gem_status gem_kv_to_u32(const struct gem_archive *a, const struct gem_kv *kv, uint32_t *out, gem_error *err)
{
    int64_t value = -1;

    if (is_integer(kv->type)) value = gem_kv_int(kv, 0);
    if (value < 0 || value > UINT32_MAX) return wrong(a, kv, "an integer from 0 to 4294967295", err);
    *out = (uint32_t)value;
    return GEM_OK;
}

gem_status gem_kv_get_u32(const struct gem_archive *a, const char *key, bool required, uint32_t *out, gem_error *err)
{
    const struct gem_kv *kv;
    gem_status st = find(a, key, required, &kv, err);

    return st || !kv ? st : gem_kv_to_u32(a, kv, out, err);
}

gem_status gem_kv_get_f32(const struct gem_archive *a, const char *key, bool required, float *out, gem_error *err)
{
    const struct gem_kv *kv;
    gem_status st = find(a, key, required, &kv, err);
    double value;

    if (st || !kv) return st;
    if (!is_float(kv->type)) return wrong(a, kv, "an f32", err);
    value = gem_kv_float(kv, 0);
    if (isfinite(value) && fabs(value) > FLT_MAX) return wrong(a, kv, "a number that float32 can hold", err);
    *out = (float)value;
    return GEM_OK;
}

gem_status gem_kv_get_bool(const struct gem_archive *a, const char *key, bool required, bool *out, gem_error *err)
{
    const struct gem_kv *kv;
    gem_status st = find(a, key, required, &kv, err);

    if (st || !kv) return st;
    if (kv->type != GEM_KV_BOOL) return wrong(a, kv, "a bool", err);
    *out = gem_kv_int(kv, 0) != 0;
    return GEM_OK;
}

gem_status gem_kv_get_string(const struct gem_archive *a, const char *key, bool required, const char **s, size_t *n,
                             gem_error *err)
{
    const struct gem_kv *kv;
    gem_status st = find(a, key, required, &kv, err);
    uint64_t cursor = 0;

    if (st || !kv) return st;
    if (kv->type != GEM_KV_STRING) return wrong(a, kv, "a string", err);
    gem_kv_next_string(kv, &cursor, s, n);
    return GEM_OK;
}

gem_status gem_kv_get_u32s(const struct gem_archive *a, const char *key, bool required, uint32_t *out, size_t n,
                           gem_error *err)
{
    const struct gem_kv *kv;
    gem_status st = find(a, key, required, &kv, err);
    char expected[80];

    if (st || !kv) return st;
    snprintf(expected, sizeof expected, "an integer from 0 to 4294967295, or an array of %zu", n);
    if (!is_integer(kv->element) && kv->element != GEM_KV_BOOL) return wrong(a, kv, expected, err);
    if (kv->type == GEM_KV_ARRAY && kv->n != n) return wrong(a, kv, expected, err);
    for (uint64_t i = 0; i < kv->n; i++) { /* all are checked before the first is written */
        const int64_t value = gem_kv_int(kv, i);
        if (value < 0 || value > UINT32_MAX) return wrong(a, kv, expected, err);
    }
    for (size_t i = 0; i < n; i++) out[i] = (uint32_t)gem_kv_int(kv, kv->type == GEM_KV_ARRAY ? i : 0);
    return GEM_OK;
}
